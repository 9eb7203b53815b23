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
	"os"
	"path/filepath"
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
	said         string // of the key, in words
	list         wire.KeyList
	listSaid     string
	listErr      error
}

// isCart says whether dir is a cart's state, or one of its books.
func isCart(dir string) bool {
	for _, pattern := range []string{"care", "practice", "identity/identity.json", "*.seg", "*.checkpoint", "receipts/*.rcp"} {
		if names, err := filepath.Glob(filepath.Join(dir, pattern)); err == nil && len(names) > 0 {
			return true
		}
	}
	return false
}

// verifyCart reads a cart's state folder.
func verifyCart(dir string, o Options) (*Verdict, error) {
	v := &Verdict{Kind: "cart", Dir: dir}
	books := map[string]bool{"care": false, "practice": true}
	state := dir
	if _, err := os.Stat(filepath.Join(dir, "care")); err != nil {
		if _, err := os.Stat(filepath.Join(dir, "practice")); err != nil { // a book by itself
			state, books = filepath.Dir(filepath.Clean(dir)), map[string]bool{filepath.Base(dir): filepath.Base(dir) == "practice"}
		}
	}
	me, err := readIdentity(state, o)
	if err != nil {
		return nil, err
	}
	v.Key, v.List = me.said, me.listSaid
	sums := sha256.New()
	for _, name := range []string{"care", "practice", filepath.Base(dir)} {
		practice, ok := books[name]
		folder := filepath.Join(state, name)
		if _, err := os.Stat(folder); !ok || err != nil {
			continue
		}
		delete(books, name)
		e := &evidence{book: ledger.Book{Tenant: me.tenant, Cart: me.cart, Practice: practice}, items: map[ledger.Hash]*itemEvidence{}}
		for f, err := range outbox.Inspect(folder) {
			if err != nil {
				return nil, err
			}
			if f.File != nil {
				fmt.Fprintf(sums, "%s/%s %d %s\n", name, f.File.Name, f.File.Size, f.File.SHA256)
				v.Files, v.Bytes = v.Files+1, v.Bytes+f.File.Size
			}
			me.take(e, name, f)
		}
		if e.book.Cart == "" || len(e.lines)+len(e.heads)+len(e.receipts)+len(e.damage) == 0 {
			continue // practice was never used
		}
		v.Books = append(v.Books, audit(e))
	}
	v.SHA256 = hex.EncodeToString(sums.Sum(nil))
	if len(v.Books) == 0 {
		return nil, fmt.Errorf("ledger verify: %s holds no ledger that can be read", dir)
	}
	return v, nil
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
		err := errNoKey
		if me.device != nil {
			err = h.Verify(me.device)
		}
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

// readIdentity finds the cart's name and keys.
func readIdentity(state string, o Options) (*keeper, error) {
	me := &keeper{said: "no device key was found: signatures of heads can't be checked (give --key)"}
	var root []byte
	var file struct {
		Tenant      string `json:"tenant"`
		Cart        string `json:"cart"`
		KeysRoot    []byte `json:"keys_root"`
		Root        string `json:"root"`
		Certificate string `json:"certificate"`
	}
	b, err := os.ReadFile(filepath.Join(state, "identity/identity.json"))
	if err == nil && json.Unmarshal(b, &file) == nil {
		me.tenant, me.cart, root = file.Tenant, file.Cart, file.KeysRoot
		me.certified(file.Certificate, file.Root)
	}
	if me.device == nil && o.Key == "" {
		if b, err := os.ReadFile(filepath.Join(state, "identity/key.pem")); err == nil {
			me.bare(b, "the public half of identity/key.pem; no certificate says whose it is")
		}
	}
	if o.Key != "" {
		b, err := os.ReadFile(o.Key)
		if err != nil {
			return nil, fmt.Errorf("ledger verify: --key: %w", err)
		}
		if me.device = nil; !me.bare(b, "from "+o.Key+", as given") {
			return nil, fmt.Errorf("ledger verify: --key: %s holds no P-256 key or certificate in PEM", o.Key)
		}
	}
	if o.Root != "" {
		if root, err = readRoot(o.Root); err != nil {
			return nil, err
		}
	}
	me.keys(filepath.Join(state, "keys.json"), root)
	return me, nil
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
