package ledgercmd

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"telecart/capture/ledger"
	"telecart/uplink/courier"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// errNoKey: nothing here says by what key a signature is to be checked.
var errNoKey = errors.New("ledger verify: no key")

// keeper is what a cart's folder says about whose it is.
type keeper struct {
	tenant, cart string
	device       *ecdsa.PublicKey
	print        string   // the device key's SHA-256, if that alone is known
	former       []string // the SHA-256 of those it had before a wipe
	said         string   // of the key, in words
	list         wire.KeyList
	listSaid     string
	listErr      error
}

// isCart says whether dir is a cart's state, or one of its books.
func isCart(dir string) bool {
	for _, pattern := range []string{"care", "practice", identityFile, wipedFile, "*.seg", "*.checkpoint", "receipts/*.rcp"} {
		if names, err := filepath.Glob(filepath.Join(dir, pattern)); err == nil && len(names) > 0 {
			return true
		}
	}
	return false
}

// What lies in a cart's state folder, beside its books.
const (
	identityFile = "identity/identity.json"
	wipedFile    = "wiped.json"
	formerFile   = "former.json"
)

// isState says whether dir is a cart's state, and no book by itself.
func isState(dir string) bool {
	return slices.ContainsFunc([]string{"care", "practice", identityFile, wipedFile}, func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	})
}

// verifyCart reads a cart's state folder, or one of its books.
func verifyCart(dir string, o Options) (*Verdict, error) {
	v := &Verdict{Kind: "cart", Dir: dir}
	state, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("ledger verify: %w", err)
	}
	names, whole := []string{"care", "practice"}, isState(state)
	if !whole {
		names, state = []string{filepath.Base(state)}, filepath.Dir(state)
	}
	me, err := readIdentity(state, o)
	if err != nil {
		return nil, err
	}
	v.Key, v.List = me.said, me.listSaid
	sums := sha256.New()
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(state, name)); err != nil {
			continue
		}
		e, err := me.read(v, sums, state, name)
		if err != nil {
			return nil, err
		}
		if e.book.Cart == "" || len(e.lines)+len(e.heads)+len(e.receipts)+len(e.damage) == 0 {
			continue // practice was never used
		}
		v.Books = append(v.Books, audit(e))
	}
	v.SHA256 = hex.EncodeToString(sums.Sum(nil))
	if whole && !slices.ContainsFunc(v.Books, func(b *Book) bool { return !b.Practice }) && me.cart != "" {
		v.Books = append([]*Book{me.withoutCare(len(v.Books) > 0)}, v.Books...)
	}
	if len(v.Books) == 0 {
		return nil, fmt.Errorf("ledger verify: %s holds no ledger that can be read", dir)
	}
	return v, nil
}

// read reads a book.
func (me *keeper) read(v *Verdict, sums io.Writer, state, name string) (*evidence, error) {
	e := &evidence{book: ledger.Book{Tenant: me.tenant, Cart: me.cart, Practice: name == "practice"}, items: map[ledger.Hash]*itemEvidence{}}
	for f, err := range outbox.Inspect(filepath.Join(state, name)) {
		if err != nil {
			return nil, err
		}
		if f.File != nil {
			fmt.Fprintf(sums, "%s/%s %d %s\n", name, f.File.Name, f.File.Size, f.File.SHA256)
			v.Files, v.Bytes = v.Files+1, v.Bytes+f.File.Size
		}
		me.take(e, name, f)
	}
	return e, nil
}

// withoutCare is the verdict about a cart whose patients' ledger is not here. Whether there ever was one nobody can see any more: so
// that is never "complete".
func (me *keeper) withoutCare(practice bool) *Book {
	text := "care/ is not here, or nothing is in it: all that was captured of patients is missing. Only a cart that was claimed and has never captured has none."
	if practice {
		text = "care/ is not here, or nothing is in it: all that was captured of patients is missing. It was taken away: practice/ is here, and a cart makes both."
	}
	return &Book{Book: ledger.Book{Tenant: me.tenant, Cart: me.cart}, Problems: []Problem{{Code: "missing", Text: text}}}
}

// take puts a finding where the audit looks for it.
func (me *keeper) take(e *evidence, name string, f outbox.Finding) {
	switch {
	case f.Entry != nil:
		e.lines = append(e.lines, line{Entry: f.Entry.Entry, hash: f.Entry.Entry.Hash(), segment: f.Entry.Segment, salvaged: f.Entry.Salvaged})
	case f.Item != nil:
		me.item(e, f.Item)
	case f.Receipt != nil:
		r := f.Receipt.Receipt
		me.name(e, r.Book)
		e.receipts = append(e.receipts, receiptEvidence{r, me.receipt(e.book, r)})
	case f.Head != nil:
		h := f.Head.Head
		me.name(e, h.Book)
		err := me.verify(h)
		if h.Book != e.book {
			err = fmt.Errorf("it is of %s/%s", h.Tenant, h.Cart)
		}
		e.heads = append(e.heads, headEvidence{Head: h, segment: f.Head.Segment, err: err})
	case f.Damage != nil:
		d := damageEvidence{name + "/" + f.Damage.File, f.Damage.Segment, f.Damage.What, lossy}
		if strings.HasPrefix(f.Damage.File, "receipts") || strings.HasSuffix(f.Damage.File, ".gone") {
			d.harm = harmless
		}
		e.damage = append(e.damage, d)
	}
}

// verify checks a head by the device key, or by what is known of it.
func (me *keeper) verify(h ledger.Head) error {
	switch {
	case me.device != nil:
		err := h.Verify(me.device)
		if _, _, before := courier.DeviceKey(h, me.former); err != nil && before == nil {
			return nil
		}
		return err
	case me.print != "":
		_, _, err := courier.DeviceKey(h, []string{me.print})
		return err
	}
	return errNoKey
}

// name learns whose ledger it is from what lies in it, when no identity says so.
func (me *keeper) name(e *evidence, b ledger.Book) {
	if e.book.Cart == "" && b.Practice == e.book.Practice {
		e.book, me.tenant, me.cart = b, b.Tenant, b.Cart
	}
}

func (me *keeper) item(e *evidence, f *outbox.FoundItem) {
	me.name(e, f.Header.Book())
	it := &itemEvidence{kind: f.Header.Kind, chunks: len(f.Manifest.Chunks), bad: f.Bad()}
	if b := f.Header.Book(); b != e.book {
		it.problem = fmt.Sprintf("it is of %s/%s, practice %t: another ledger's", b.Tenant, b.Cart, b.Practice)
	}
	h := f.Entry.Hash()
	if have := e.items[h]; have == nil || len(it.bad) < len(have.bad) { // a condemned segment's items are written again
		e.items[h] = it
	}
}

func (me *keeper) receipt(b ledger.Book, r wire.Receipt) error {
	if me.listErr != nil {
		return errNoKey
	}
	return r.Verify(me.list, b, ledger.Entry{Incarnation: r.Incarnation, Number: r.Number, Prev: r.Prev, Body: r.Item})
}

// readIdentity finds the cart's name and keys. A key without a certificate is not the cart's: it may have been drawn since, as a
// wipe does, and what the cart signed would look forged.
func readIdentity(state string, o Options) (*keeper, error) {
	me := &keeper{said: "no certificate says which it is: signatures of heads can't be checked (give --key)"}
	var root []byte
	var file struct {
		Tenant      string `json:"tenant"`
		Cart        string `json:"cart"`
		KeysRoot    []byte `json:"keys_root"`
		Root        string `json:"root"`
		Certificate string `json:"certificate"`
	}
	b, err := os.ReadFile(filepath.Join(state, identityFile))
	if err == nil && json.Unmarshal(b, &file) == nil {
		me.tenant, me.cart, root = file.Tenant, file.Cart, file.KeysRoot
		me.certified(file.Certificate, file.Root)
	}
	me.wiped(state)
	me.formerly(state)
	if err := me.given(o.Key); err != nil {
		return nil, err
	}
	if o.Root != "" {
		if root, err = readRoot(o.Root); err != nil {
			return nil, err
		}
	}
	me.keys(filepath.Join(state, "keys.json"), root)
	return me, nil
}

// wiped reads what a wipe left: whose the items are, and which key was destroyed.
func (me *keeper) wiped(state string) {
	b, err := os.ReadFile(filepath.Join(state, wipedFile))
	if err != nil {
		return
	}
	var was struct{ Tenant, Cart, Device string }
	if json.Unmarshal(b, &was) == nil && me.cart == "" && wire.ValidName(was.Tenant) && wire.ValidName(was.Cart) {
		me.tenant, me.cart = was.Tenant, was.Cart
	}
	if me.device != nil {
		return // the wipe was cut short, or the claim that followed: what it was for is still here
	}
	sum := "nobody wrote down"
	if raw, err := hex.DecodeString(was.Device); err == nil && len(raw) == sha256.Size {
		sum = "was " + was.Device
	}
	me.said = fmt.Sprintf("destroyed: this cart was wiped, and signatures of heads can't be checked. The key's SHA-256 %s, by %s. "+
		"Ask the hub for it (telecart-hub keys status --json: device), and give it, the key or its certificate: --key", sum, wipedFile)
}

// formerly reads which keys the cart had before it was wiped and claimed again.
func (me *keeper) formerly(state string) {
	var prints []string
	b, err := os.ReadFile(filepath.Join(state, formerFile))
	if err != nil || json.Unmarshal(b, &prints) != nil || me.device == nil {
		return
	}
	for _, p := range prints {
		if raw, err := hex.DecodeString(p); err == nil && len(raw) == sha256.Size {
			me.former = append(me.former, p)
			me.said += fmt.Sprintf("; before a wipe SHA-256 %s, by %s: compare with the hub's (telecart-hub keys status --json: device)", p, formerFile)
		}
	}
}

// given takes the key that the auditor brought: 64 hexadecimal digits, or a file.
func (me *keeper) given(key string) error {
	if key == "" {
		return nil
	}
	me.device, me.print, me.former = nil, "", nil
	if raw, err := hex.DecodeString(key); err == nil && len(raw) == sha256.Size {
		me.print, me.said = hex.EncodeToString(raw), fmt.Sprintf("P-256, SHA-256 %x, as given", raw)
		return nil
	}
	b, err := os.ReadFile(key)
	if err != nil {
		return fmt.Errorf("ledger verify: --key: %w", err)
	}
	if !me.bare(b, "from "+key+", as given") {
		return fmt.Errorf("ledger verify: --key: %s holds no P-256 key or certificate in PEM", key)
	}
	return nil
}

func readRoot(s string) ([]byte, error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == 32 {
		return b, nil
	}
	b, err := os.ReadFile(s)
	if err != nil || len(b) != 32 {
		return nil, errors.Join(fmt.Errorf("ledger verify: --root %s: give 64 hexadecimal digits, or a file of 32 bytes", s), err)
	}
	return b, nil
}

// certified takes the key of the cart's certificate, if the hub's root signed that.
func (me *keeper) certified(certificate, root string) {
	c, err1 := parseCertificate(certificate)
	r, err2 := parseCertificate(root)
	if err1 != nil || err2 != nil {
		return
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return
	}
	by := "signed by the hub's root, SHA-256 " + hexSum(r.Raw)
	if c.CheckSignatureFrom(r) != nil {
		by = "NOT signed by the hub's root beside it"
	}
	me.device = key
	me.said = fmt.Sprintf("P-256, SHA-256 %s, from the certificate of %s in identity/identity.json, %s", fingerprint(key), c.Subject.CommonName, by)
}

func parseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// bare takes a key without a certificate that vouches for it.
func (me *keeper) bare(b []byte, from string) bool {
	block, _ := pem.Decode(b)
	if block == nil {
		return false
	}
	var key crypto.PublicKey
	if c, err := x509.ParseCertificate(block.Bytes); err == nil {
		key = c.PublicKey
	} else if k, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		key = k
	} else if k, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		key = k.Public()
	} else if k, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if s, ok := k.(crypto.Signer); ok {
			key = s.Public()
		}
	}
	k, ok := key.(*ecdsa.PublicKey)
	if ok {
		me.device, me.said = k, fmt.Sprintf("P-256, SHA-256 %s, %s", fingerprint(k), from)
	}
	return ok
}

func fingerprint(k *ecdsa.PublicKey) string {
	s, err := courier.Fingerprint(k)
	if err != nil {
		return "unknown"
	}
	return s
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// keys opens the list of keys that receipts are checked with.
func (me *keeper) keys(path string, root []byte) {
	var signed wire.SignedKeyList
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &signed)
	}
	if err == nil {
		me.list, err = signed.Open(root, 0)
	}
	if me.listErr = err; err != nil {
		me.listSaid = fmt.Sprintf("none that can be trusted (%v): receipts were not checked", err)
		return
	}
	me.listSaid = fmt.Sprintf("version %d of hub %s, %d receipt keys, signed by the offline root %s that the cart's claim pinned",
		me.list.Version, me.list.Hub, len(me.list.Receipts), hex.EncodeToString(root))
}
