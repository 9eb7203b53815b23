package ledgercmd

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/uplink/courier"
	"telecart/uplink/hub/store"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// hubFolder finds the store in a hub's state folder, or in dir itself; "": it is neither.
func hubFolder(dir string) string {
	for _, d := range []string{dir, filepath.Join(dir, "store")} {
		if _, err := os.Stat(filepath.Join(d, "hub.db")); err == nil {
			return d
		}
	}
	return ""
}

type hubReader struct {
	i       *store.Inspection
	me      keeper // the key list
	records *seal.Records
	v       *Verdict
	known   map[string]bool // items that the database has
}

// verifyHub reads a hub's folder.
func verifyHub(ctx context.Context, dir, folder string, o Options) (v *Verdict, err error) {
	i, err := store.Inspect(ctx, folder)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := i.Close(); cerr != nil {
			v, err = nil, errors.Join(err, cerr)
		}
	}()
	h := &hubReader{i: i, v: &Verdict{Kind: "hub", Dir: dir, Key: "each cart's own, named below"}, known: map[string]bool{}}
	if err := h.keys(filepath.Dir(folder), o); err != nil {
		return nil, err
	}
	books, err := i.Books(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range books {
		e, key, err := h.book(ctx, b)
		if err != nil {
			return nil, err
		}
		out := audit(e)
		out.Notes = append([]string{key}, out.Notes...)
		h.v.Books = append(h.v.Books, out)
	}
	h.state()
	err = i.Files(func(tenant string, item ledger.Hash) {
		if !h.known[tenant+item.String()] {
			h.v.Notes = append(h.v.Notes, fmt.Sprintf("The item %s of %s lies in the folder, and the database knows nothing of it: it was cut off on its way in, or the database is an older copy.", item, tenant))
		}
	})
	if len(h.v.Books) == 0 {
		return nil, errors.Join(err, fmt.Errorf("ledger verify: no cart has delivered anything to %s yet", dir))
	}
	return h.v, err
}

func (h *hubReader) state() {
	switch {
	case h.i.Running:
		h.v.Notes = append(h.v.Notes, "A hub was at work on this folder; what it received since is not in this verdict.")
	case h.i.Moved:
		h.v.Notes = append(h.v.Notes, "This database is not the one that last ran in this folder: it was restored or copied. What came after the copy was made is not in it; the carts still have it, or kept the receipts.")
	}
	h.v.Notes = append(h.v.Notes, fmt.Sprintf("The store's incarnation is %s.", h.i.Store))
}

func (h *hubReader) keys(state string, o Options) (err error) {
	root, where := []byte(nil), "root.pub beside it: compare it with what the carts' claims pinned"
	if b, err := os.ReadFile(filepath.Join(state, "root.pub")); err == nil {
		root = b
	}
	if o.Root != "" {
		if root, err = readRoot(o.Root); err != nil {
			return err
		}
		where = "as given"
	}
	h.me.keys(filepath.Join(state, "keylist.json"), root)
	if h.v.List = h.me.listSaid; h.me.listErr == nil {
		h.v.List = fmt.Sprintf("version %d of hub %s, %d receipt keys, signed by the offline root %s (%s)", h.me.list.Version, h.me.list.Hub, len(h.me.list.Receipts),
			hex.EncodeToString(root), where)
	}
	if o.Records == "" {
		return nil
	}
	var keys struct {
		Records []seal.RecordKey `json:"records"`
	}
	b, err := os.ReadFile(o.Records)
	if err == nil {
		err = json.Unmarshal(b, &keys)
	}
	if err == nil {
		h.records, err = seal.NewRecords(keys.Records)
	}
	if err != nil {
		return fmt.Errorf("ledger verify: --records: %w", err)
	}
	return nil
}

func (h *hubReader) book(ctx context.Context, b ledger.Book) (e *evidence, key string, err error) {
	e = &evidence{book: b, items: map[ledger.Hash]*itemEvidence{}}
	entries, err := h.i.Entries(ctx, b)
	if err != nil {
		return nil, "", err
	}
	of := map[ledger.Hash][]ledger.Hash{} // entries about an item: it can have been entered twice
	for _, l := range entries {
		e.lines = append(e.lines, line{Entry: l.Entry, hash: l.Entry.Hash(), recorded: l.Hash})
		if l.Kind == ledger.Item {
			of[l.Body] = append(of[l.Body], l.Entry.Hash())
		}
	}
	items, err := h.i.Items(ctx, b)
	if err != nil {
		return nil, "", err
	}
	for _, it := range items {
		x := h.item(b, it)
		for _, hash := range of[it.Item] {
			e.items[hash] = x
		}
	}
	raw, err := h.i.Receipts(ctx, b)
	if err != nil {
		return nil, "", err
	}
	for _, p := range raw {
		r, err := wire.UnmarshalReceipt(p)
		if err == nil {
			err = h.me.receipt(b, r)
		}
		e.receipts = append(e.receipts, receiptEvidence{r, err})
	}
	key, err = h.heads(ctx, b, e)
	return e, key, err
}

// heads verifies the signed heads with a key whose fingerprint the hub's table of carts has.
func (h *hubReader) heads(ctx context.Context, b ledger.Book, e *evidence) (said string, err error) {
	prints, err := h.i.Fingerprints(ctx, b.Tenant, b.Cart)
	if err != nil {
		return "", err
	}
	heads, err := h.i.SignedHeads(ctx, b)
	if err != nil {
		return "", err
	}
	said = fmt.Sprintf("The hub knows %d device keys of this cart and no signed head.", len(prints))
	for _, x := range heads {
		he := headEvidence{Head: x.Head, disputed: x.Disputed}
		var print string
		if _, print, he.err = courier.DeviceKey(x.Head, prints); he.err == nil {
			said = fmt.Sprintf("Heads of this cart are signed by the P-256 key with the SHA-256 %s, which the hub's table of carts names.", print)
		} else if kept, err := x509.ParsePKIXPublicKey(x.Key); err == nil && x.Verify(kept) == nil {
			k, _ := kept.(*ecdsa.PublicKey)
			he.err = fmt.Errorf("it is signed by a key that no certificate of this cart names: %s", fingerprint(k))
		}
		e.heads = append(e.heads, he)
	}
	return said, nil
}

// item checks the sealed file of an item, and what is in it if the record keys are given.
func (h *hubReader) item(b ledger.Book, it store.InspectedItem) *itemEvidence {
	x := &itemEvidence{kind: it.Kind, refused: it.Verdict != wire.Received}
	h.known[b.Tenant+it.Item.String()] = true
	if x.refused {
		return x
	}
	f, err := h.i.OpenItem(b.Tenant, it.Item)
	if err != nil {
		x.problem = fmt.Sprintf("its sealed file is not here, or is another (%v)", err)
		return x
	}
	defer f.Close()
	h.v.Files++
	h.v.Bytes += int64(f.Header.Length)
	x.chunks = len(f.Manifest.Chunks)
	if f.Header.Book() != b || f.Header.Kind != it.Kind {
		x.problem = "the database has it under another cart, or as another kind"
	}
	for i := range f.Manifest.Chunks {
		if _, err := f.Chunk(i); err != nil {
			x.bad = append(x.bad, i)
		}
	}
	if h.records != nil && len(x.bad) == 0 && x.problem == "" {
		x.problem = h.open(f, it)
	}
	return x
}

// open compares what an item says with what the database says that it does.
func (h *hubReader) open(f *store.Sealed, it store.InspectedItem) string {
	sum, size, head := sha256.New(), int64(0), []byte(nil)
	err := h.records.Open(f.Wrap, f.Manifest.Header, f.Header, f.Chunk, func(p []byte) error {
		sum.Write(p)
		size += int64(len(p))
		if n := 4 + capture.MaxMeta - len(head); n > 0 {
			head = append(head, p[:min(n, len(p))]...)
		}
		return nil
	})
	switch {
	case errors.Is(err, seal.ErrNoKey):
		h.v.Unopened++
		return ""
	case err != nil:
		return fmt.Sprintf("it does not open (%v)", err)
	}
	h.v.Opened++
	switch {
	case ledger.Hash(sum.Sum(nil)) != it.Plain || size != it.Size:
		return "what is in it is not what the database says that was in it"
	case len(head) < 4 || uint64(binary.BigEndian.Uint32(head)) > uint64(len(head)-4) || string(head[4:4+binary.BigEndian.Uint32(head)]) != it.Meta:
		return "the database describes it otherwise than it does itself"
	}
	return ""
}
