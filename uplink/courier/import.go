package courier

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// Paths of the hub's door for couriers, on its control socket. Below Path + TENANT/CART lie the paths of a cart's door.
const (
	Path      = "/courier/"
	AboutPath = "/about" // GET: About
	KnownPath = "/known" // POST Known, gives those that the hub has
	HeadPath  = "/head"  // POST ledger.Head
	// VoidParameter with the value 1, after HeadPath: the operator trusts keys that were revoked.
	VoidParameter = "void"

	itemPath = "/v1/items/"
	postPath = "/v1/ledger"
)

// About is what the hub says about a cart.
type About struct {
	Keys      []string           `json:"keys"`           // fingerprints of device keys that it certified
	Void      []string           `json:"void,omitempty"` // of those that it has revoked since
	Revoked   bool               `json:"revoked"`        // and no key is certified now
	List      wire.SignedKeyList `json:"list"`
	Watermark *wire.Watermark    `json:"watermark,omitempty"`
}

// MaxKnown bounds one question.
const MaxKnown = 1000

// maxHeads bounds the heads of a book: one is written for each segment that was retired.
const maxHeads = 4096

// Known asks which of these hashes of a book the hub's own ledger leads to: it has the entry, or one that names it as the one before.
type Known struct {
	Practice bool          `json:"practice"`
	Hashes   []ledger.Hash `json:"hashes"`
}

// Import says what to import.
type Import struct {
	From   string // the stick's folder
	Client *http.Client
	Base   string // of the hub's control door, "http://hub"
	Trust  Trust
	Disk   kit.Disk
}

// Trust says what an operator lets in.
type Trust uint8

const (
	Signed   Trust = 0 // what a signed head of an enrolled cart leads to
	Unsigned Trust = 1 // also what no head leads to
	Revoked  Trust = 2 // also what keys signed that were revoked since
)

// ImportedBook is what became of one book.
type ImportedBook struct {
	ledger.Book
	Refused  string   `json:"refused,omitempty"` // the whole book, and why
	Items    int      `json:"items"`             // receipted
	Not      int      `json:"not_opened"`        // refused by the hub's signed word
	Unsigned int      `json:"unsigned"`          // left out
	Entries  int      `json:"entries"`
	Void     int      `json:"void,omitempty"` // heads taken that a revoked key signed
	Problems []Damage `json:"problems,omitempty"`
}

// Imported is what became of an import.
type Imported struct {
	Books   []ImportedBook `json:"books"`
	Damaged []Damage       `json:"damaged,omitempty"`
	Files   []string       `json:"files"` // of receipts, on the stick
}

// Run imports everything on the stick and writes receipts back to it. It may be repeated. What goes wrong with one item, or one
// book, is told and costs that alone; an error means that the hub or the stick could not be used.
func (x Import) Run(ctx context.Context) (out Imported, err error) {
	books, damage, err := readStick(x.From, cartExt, cartExt+cutExt)
	if err != nil {
		return out, err
	}
	out.Damaged = damage
	for _, c := range books {
		b := &bookImport{x: x, c: c, base: x.Base + Path + c.book.Tenant + "/" + c.book.Cart, out: ImportedBook{Book: c.book}}
		if err := b.run(ctx); err != nil {
			return out, err
		}
		out.Books = append(out.Books, b.out)
		if b.file != "" {
			out.Files = append(out.Files, b.file)
		}
	}
	return out, nil
}

type bookImport struct {
	x     Import
	c     *content
	base  string
	about About
	out   ImportedBook
	file  string

	sure     map[ledger.Hash]bool // entries that a signed head, or the hub's own ledger, leads to
	receipts []wire.Receipt
}

func (b *bookImport) run(ctx context.Context) error {
	err := b.call(ctx, http.MethodGet, AboutPath, nil, &b.about)
	if p := (*wire.Problem)(nil); errors.As(err, &p) && p.Status == http.StatusNotFound {
		b.out.Refused = "this cart is not enrolled at this hub"
		return nil
	}
	if err != nil {
		return err
	}
	if b.about.Revoked && b.x.Trust&Revoked == 0 {
		b.out.Refused = "this cart was revoked; if you know that the stick is the cart's own, import with --revoked"
		return nil
	}
	heads := b.heads()
	if err := b.follow(ctx, heads); err != nil {
		return err
	}
	if err := b.entries(ctx); err != nil {
		return err
	}
	path := HeadPath
	if b.x.Trust&Revoked != 0 {
		path += "?" + VoidParameter + "=1"
	}
	for _, h := range heads { // after the entries: a head for which something else is here is a fork, and is told
		if err := b.call(ctx, http.MethodPost, path, h, nil); err != nil {
			b.problem("", fmt.Sprintf("the head of number %d: %v", h.Number, err))
		}
	}
	for _, it := range b.c.items {
		if err := b.item(ctx, it); err != nil {
			return err
		}
	}
	b.writeBack()
	return nil
}

func (b *bookImport) problem(file, what string) {
	b.out.Problems = append(b.out.Problems, Damage{filepath.Base(file), what})
}

// heads are those that the cart's device key signed.
func (b *bookImport) heads() (good []ledger.Head) {
	for _, h := range b.c.heads[max(0, len(b.c.heads)-maxHeads):] {
		if slices.ContainsFunc(good, func(g ledger.Head) bool {
			return g.Incarnation == h.Incarnation && g.Number == h.Number && g.Hash == h.Hash
		}) {
			continue
		}
		if b.believed(h) {
			good = append(good, h)
		}
	}
	return good
}

// believed says whether a head may lead to entries; if not, it is told why.
func (b *bookImport) believed(h ledger.Head) bool {
	if _, _, err := DeviceKey(h, b.about.Keys); err == nil {
		return true
	}
	_, _, err := DeviceKey(h, b.about.Void)
	switch {
	case err != nil:
		b.problem("", fmt.Sprintf("a head that claims number %d is not signed by a key that this hub certified", h.Number))
	case b.x.Trust&Revoked == 0:
		b.problem("", fmt.Sprintf("the head of number %d is signed by a key that was revoked; if you know that the stick is the cart's own, import with --revoked", h.Number))
	default:
		b.out.Void++
		return true
	}
	return false
}

// follow finds the entries that can be believed: each names the hash of the one before, from a signed head down; a fork names
// the end of the ledger that it took over from. Where that breaks off, because what is between was delivered and erased, the
// hub's own ledger may go on from there.
func (b *bookImport) follow(ctx context.Context, heads []ledger.Head) error {
	b.sure = map[ledger.Hash]bool{}
	var from []ledger.Hash
	for _, h := range heads {
		from = append(from, h.Hash)
	}
	b.walk(from)
	var ends []ledger.Hash
	for h := range b.c.entries {
		if !b.sure[h] {
			ends = append(ends, h)
		}
	}
	for ask := range slices.Chunk(ends, MaxKnown) {
		var known []ledger.Hash
		if err := b.call(ctx, http.MethodPost, KnownPath, Known{b.c.book.Practice, ask}, &known); err != nil {
			return err
		}
		b.walk(known)
	}
	return nil
}

func (b *bookImport) walk(from []ledger.Hash) {
	for len(from) > 0 {
		h := from[len(from)-1]
		from = from[:len(from)-1]
		e, ok := b.c.entries[h]
		if !ok || b.sure[h] {
			continue
		}
		b.sure[h] = true
		from = append(from, e.Prev)
		if e.Kind == ledger.Fork {
			from = append(from, e.Body)
		}
	}
}

func (b *bookImport) practice() string {
	if b.c.book.Practice {
		return "?practice=1"
	}
	return "?practice=0"
}

// entries tells the hub of the entries that are no items; those come with their items.
func (b *bookImport) entries(ctx context.Context) error {
	var plain []ledger.Entry
	for h, e := range b.c.entries {
		if b.sure[h] && e.Kind != ledger.Item {
			plain = append(plain, e)
		}
	}
	slices.SortFunc(plain, func(x, y ledger.Entry) int { return int(int64(x.Number) - int64(y.Number)) })
	for es := range slices.Chunk(plain, entriesInFrame) {
		var body []byte
		for _, e := range es {
			body = append(body, e.Marshal()...)
		}
		resp, err := b.do(ctx, http.MethodPost, postPath+b.practice(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		resp.Body.Close()
		b.out.Entries += len(es)
	}
	return nil
}

// item offers one item as its cart would.
func (b *bookImport) item(ctx context.Context, it carried) error {
	name := fmt.Sprintf("number %d, item %s", it.manifest.Entry.Number, it.manifest.Entry.Body)
	switch {
	case it.header.Book() != b.c.book:
		b.problem(it.file, name+": it is of another cart than the file says")
		return nil
	case !b.sure[it.manifest.Entry.Hash()] && b.x.Trust&Unsigned == 0:
		b.out.Unsigned++
		b.problem(it.file, name+": no signed head leads to it, so it may be anybody's; it was left out")
		return nil
	}
	f, err := os.Open(it.file)
	if err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	defer f.Close()
	body := &onStick{from: io.NewSectionReader(f, it.frame.offset, it.frame.length)}
	resp, err := b.do(ctx, http.MethodPut, itemPath+it.manifest.Entry.Body.String()+b.practice(), body)
	if bad := body.bad.Load(); bad != nil {
		if err == nil {
			resp.Body.Close()
		}
		b.problem(it.file, name+fmt.Sprintf(": the stick can't be read there (%v); what was read is kept, and the rest may come by another stick or the link", *bad))
		return nil
	}
	const partly = ": some of it is missing on the stick; what is there is kept, and the rest may come by another stick or the link"
	if p := (*wire.Problem)(nil); errors.As(err, &p) && p.Code == "stream-cut" {
		b.problem(it.file, name+partly)
		return nil
	} else if p != nil {
		b.problem(it.file, name+": "+p.Error())
		return nil
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "application/octet-stream" {
		b.problem(it.file, name+partly)
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxReceipt+1))
	if err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	r, err := wire.UnmarshalReceipt(raw)
	if err != nil {
		return err
	}
	b.receipts = append(b.receipts, r)
	if r.Verdict == wire.Received {
		b.out.Items++
	} else {
		b.out.Not++
		b.problem(it.file, name+": it does not open; the hub refused it, and it stays on the cart")
	}
	return nil
}

// onStick tells an error of the stick from one of the hub. It is read by the request's own goroutine.
type onStick struct {
	from io.Reader
	bad  atomic.Pointer[error]
}

func (r *onStick) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		r.bad.Store(&err)
	}
	return n, err
}

// writeBack puts the receipts on the stick, for the cart. If it can't be written to, what went in is in the hub all the same, and
// the next book is imported.
func (b *bookImport) writeBack() {
	file := NameOf(b.c.book) + receiptExt
	if err := WriteReceipts(b.x.Disk, b.x.From, b.c.book, b.about.List, b.about.Watermark, b.receipts); err != nil {
		b.problem(file, fmt.Sprintf("the receipts could not be written to the stick (%v). What went in is in the hub all the same, and the cart does not know it: "+
			"copy the folder %s to a stick that has room and can be written to, and import that one", err, Folder))
		return
	}
	b.file = file
}

// do sends one request; a problem comes back as an error, but for a refusal, which is a receipt.
func (b *bookImport) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("courier: %w", err)
	}
	resp, err := b.x.Client.Do(req)
	if p := (*url.Error)(nil); errors.As(err, &p) {
		err = p.Err
	}
	if err != nil {
		return nil, fmt.Errorf("courier: the hub does not answer: %w", err)
	}
	if resp.StatusCode < 400 || resp.Header.Get("Content-Type") == "application/octet-stream" {
		return resp, nil
	}
	defer resp.Body.Close()
	p := wire.NewProblem(resp.StatusCode, "http", resp.Status, "")
	_ = json.NewDecoder(io.LimitReader(resp.Body, maxSmall)).Decode(p) // what can't be read leaves the status
	return nil, p
}

func (b *bookImport) call(ctx context.Context, method, path string, q, a any) error {
	var body io.Reader
	if q != nil {
		raw, err := json.Marshal(q)
		if err != nil {
			return fmt.Errorf("courier: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	resp, err := b.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if a == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxSmall)).Decode(a); err != nil {
		return fmt.Errorf("courier: the hub's answer can't be read: %w", err)
	}
	return nil
}
