package ledgercmd

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/uplink/courier"
	"telecart/uplink/outbox/reader/author"
	"telecart/uplink/wire"
)

var carts = ledger.Book{Tenant: "north", Cart: "cart-1"}

func check(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// state is a cart's folder with two runs in two segments and a log; 1 to 4 and 6 to 9 are items, 3 and 8 stills of three chunks.
type state struct {
	t     *testing.T
	dir   string
	a     *author.Author
	items map[uint64]author.Item
}

func newState(t *testing.T) *state {
	dir := t.TempDir()
	a, err := author.New(filepath.Join(dir, "care"), carts)
	check(t, err)
	s := &state{t, dir, a, map[uint64]author.Item{}}
	one := []author.Record{a.Began(1)}
	for range 4 {
		one = append(one, s.put(1)...)
	}
	run, err := a.Run()
	check(t, err)
	run.Attempt |= 2 << 32
	two := []author.Record{run}
	for range 2 {
		two = append(two, s.put(2)...)
	}
	check(t, a.Segment(1, one), a.Segment(2, two), a.Log(2, 0, 512<<10, author.Batch(2, 0, 0, s.put(2)...), author.Batch(2, 0, 1, s.put(2)...)))
	s.head()
	s.receipts(1, 2, 3)
	s.identity()
	b, err := json.Marshal(a.Signed)
	check(t, err, os.WriteFile(filepath.Join(dir, "keys.json"), b, 0o600))
	return s
}

func (s *state) put(seg uint32) []author.Record {
	n, kind, size := s.a.Chain.Next, capture.Reading, 0
	if n == 3 || n == 8 {
		kind, size = capture.Still, 140_000
	}
	it, err := s.a.Put(seg, kind, wire.Routine, noise(size))
	check(s.t, err)
	s.items[n] = it
	return it.All()
}

func (s *state) head() {
	h, err := s.a.Head()
	check(s.t, err, s.a.JSON("head", h))
}

func (s *state) receipts(numbers ...uint64) {
	var rs []*wire.Receipt
	for _, n := range numbers {
		r := s.a.Sign(s.items[n].Manifest.Entry, wire.Received)
		rs = append(rs, &r)
	}
	check(s.t, s.a.Receipts(1, 8, rs...))
}

// identity writes what enrolment leaves: the certificate of the cart and of the hub's root that signed it.
func (s *state) identity() {
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(s.t, err)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub.example"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: at, NotAfter: at.AddDate(20, 0, 0)}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, ca.Public(), ca)
	check(s.t, err)
	cart := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "cart-1"}, NotBefore: at, NotAfter: at.AddDate(0, 1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, cart, root, s.a.Device.Public(), ca)
	check(s.t, err)
	text := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	b, err := json.Marshal(map[string]any{"tenant": "north", "cart": "cart-1", "keys_root": []byte(s.a.Root.Public().(ed25519.PublicKey)), "root": text(rootDER), "certificate": text(der)})
	check(s.t, err, os.MkdirAll(filepath.Join(s.dir, "identity"), 0o700), os.WriteFile(filepath.Join(s.dir, "identity/identity.json"), b, 0o600))
}

func (s *state) path(name string) string { return filepath.Join(s.dir, "care", name) }

// edit changes records of a segment with right checksums, as a forger would.
func (s *state) edit(seg string, change func(r *author.Record) (keep bool)) {
	check(s.t, author.Edit(s.path(seg), func(k, v []byte) []byte {
		r := author.Record{Type: v[8], Payload: slices.Clone(v[26 : len(v)-4])}
		for _, c := range k[:8] {
			r.Attempt = r.Attempt<<8 | uint64(c)
		}
		r.Chunk, r.Slice = uint32(k[8])<<24|uint32(k[9])<<16|uint32(k[10])<<8|uint32(k[11]), k[12]
		if !change(&r) {
			return nil
		}
		return r.Bytes()
	}))
}

func (s *state) verify() *Verdict {
	s.t.Helper()
	before := stamps(s.t, s.dir)
	v, err := Verify(s.t.Context(), s.dir, Options{})
	check(s.t, err)
	if after := stamps(s.t, s.dir); before != after {
		s.t.Errorf("the folder was touched:\n%s\n%s", before, after)
	}
	var out bytes.Buffer
	check(s.t, v.print(&out, time.Unix(0, 0), "test"))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if last := lines[len(lines)-1]; last != "VERDICT: "+v.Sentence {
		s.t.Errorf("the last line is %q", last)
	}
	return v
}

// stamps are names, times and hashes of all that lies in a folder.
func stamps(t testing.TB, dir string) string {
	var out strings.Builder
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		out.WriteString(path + " " + st.ModTime().String() + " " + st.Mode().String())
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			sum := sha256.Sum256(b)
			out.WriteString(hex.EncodeToString(sum[:]))
			return err
		}
		return nil
	}))
	return out.String()
}

func manifest(t testing.TB, r *author.Record) wire.Manifest {
	m, _, _, err := wire.UnmarshalManifest(r.Payload)
	check(t, err)
	return m
}

// TestVerdictOfACart: a whole folder, and each way of tampering with it, named rightly.
func TestVerdictOfACart(t *testing.T) {
	flip := func(s *state, name string, at func(b []byte) int) {
		b, err := os.ReadFile(s.path(name))
		check(t, err)
		b[at(b)] ^= 1
		check(t, os.WriteFile(s.path(name), b, 0o600))
	}
	for name, c := range map[string]struct {
		tamper func(s *state)
		want   []string // problems: code and number
		says   string   // in the verdict
	}{
		"whole": {func(*state) {}, nil, "Complete and unaltered. Ledger of care of cart cart-1 of north: up to number 9 "},
		"a tail not signed yet": {func(s *state) {
			check(t, s.a.Log(2, 1, 64<<10, author.Batch(2, 1, 0, s.put(2)...)))
		}, nil, "The 1 numbers after it are here and follow, and are not signed yet."},
		"an agent that runs on another release's file": {func(s *state) { check(t, os.WriteFile(s.path("spare"), nil, 0o600)) }, nil, "Complete"},
		"a bit in a chunk": {func(s *state) {
			flip(s, "00000001.seg", func(b []byte) int { return bytes.Index(b, s.items[3].Slices[9].Payload) + 77 })
		}, []string{"altered 3"}, "Number 3, the item"},
		"a bit in a chunk in the log": {func(s *state) {
			flip(s, "00000002.0000.log", func(b []byte) int { return bytes.Index(b, s.items[8].Slices[9].Payload) + 77 })
		}, []string{"altered 8", "damaged"}, "Number 8, the item"},
		"a chunk's bytes with a right checksum": {func(s *state) {
			s.edit("00000001.seg", func(r *author.Record) bool {
				if r.Type == 'C' && r.Attempt == s.items[3].Attempt && r.Chunk == 1 && r.Slice == 2 {
					r.Payload[5]++
				}
				return true
			})
		}, []string{"altered 3"}, "these are not what their hashes say: [1]"},
		"an entry dropped": {func(s *state) {
			s.edit("00000001.seg", func(r *author.Record) bool { return r.Type != 'M' || r.Attempt != s.items[2].Attempt })
		}, []string{"missing 2"}, "Missing: number 2"},
		"a run's entry dropped": {func(s *state) {
			s.edit("00000002.seg", func(r *author.Record) bool { return r.Type != 'E' })
		}, []string{"missing 5"}, "Missing: number 5"},
		"two items swapped": {func(s *state) { // each takes the other's number
			x, y := s.items[1].Manifest.Entry, s.items[2].Manifest.Entry
			s.edit("00000001.seg", func(r *author.Record) bool {
				if r.Type != 'M' || r.Attempt != s.items[1].Attempt && r.Attempt != s.items[2].Attempt {
					return true
				}
				m := manifest(t, r)
				if e := m.Entry; e.Number == 1 {
					m.Entry.Number, m.Entry.Prev = 2, y.Prev
				} else {
					m.Entry.Number, m.Entry.Prev = 1, x.Prev
				}
				r.Payload = m.Marshal()
				return true
			})
		}, []string{"altered 1", "altered 2", "altered 1", "altered 2"}, "Number 2 was altered"},
		"an item put in another's place, chained anew": {func(s *state) { // everything after it would have to be made anew, and signed
			it, err := s.a.Put(1, capture.Note, wire.Routine, nil)
			check(t, err)
			s.edit("00000001.seg", func(r *author.Record) bool {
				if r.Type == 'M' && r.Attempt == s.items[4].Attempt {
					m := it.Manifest
					m.Entry.Number, m.Entry.Prev, m.Entry.Run = 4, s.items[4].Manifest.Entry.Prev, s.items[4].Manifest.Entry.Run
					r.Payload = m.Marshal()
				}
				return true
			})
		}, []string{"altered 4", "altered 4"}, "Number 4 was altered"},
		"a number used twice": {func(s *state) {
			e := s.items[4].Manifest.Entry
			e.Kind, e.Body = ledger.Run, ledger.Hash{}
			check(t, s.a.Log(1, 0, 8192, author.Batch(1, 0, 0, author.Entry(1<<32|999, e))))
		}, []string{"doubled 4"}, "Number 4 was used twice"},
		"a receipt changed": {func(s *state) {
			r := s.a.Sign(s.items[2].Manifest.Entry, wire.Received)
			r.Sequence = 999
			check(t, s.a.Receipts(1, 8, &r))
		}, []string{"forged 2"}, "A receipt for number 2 is not good"},
		"a receipt for something else": {func(s *state) {
			e := s.items[2].Manifest.Entry
			e.Body[0]++
			r := s.a.Sign(e, wire.Received)
			check(t, s.a.Receipts(1, 8, &r))
		}, []string{"altered 2"}, "The hub signed for number 2 as the item"},
		"a receipt's slot torn": {func(s *state) { check(t, s.a.Receipts(1, 8, nil)) }, nil, "Complete"},
		"an older copy of the segments": {func(s *state) {
			check(t, os.Remove(s.path("00000002.seg")), os.Remove(s.path("00000002.0000.log")))
		}, []string{"missing 5-9"}, "Missing: numbers 5 to 9."},
		"an older copy, head and all, but for the receipts": {func(s *state) {
			check(t, os.Remove(s.path("00000002.seg")), os.Remove(s.path("00000002.0000.log")), os.Remove(s.path("head")))
			s.receipts(1, 2, 6)
		}, []string{"unsigned", "missing 6"}, "No head"},
		"the log cut off": {func(s *state) {
			b, err := os.ReadFile(s.path("00000002.0000.log"))
			check(t, err)
			clear(b[bytes.LastIndex(b, []byte("TCLB")):])
			check(t, os.WriteFile(s.path("00000002.0000.log"), b, 0o600))
		}, []string{"missing 9"}, "Missing: number 9."},
		"a head by another key": {func(s *state) {
			k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			check(t, err)
			h, err := s.a.Chain.Sign(carts, k)
			check(t, err, s.a.JSON("head", h))
		}, []string{"forged 9", "unsigned"}, "is not signed by the cart's device key"},
		"no head": {func(s *state) { check(t, os.Remove(s.path("head"))) }, []string{"unsigned"}, "No head of incarnation"},
		"erased after receipt": {func(s *state) {
			check(t, os.Remove(s.path("00000001.seg")))
			c := ledger.Chain{Incarnation: s.a.Chain.Incarnation}.Advance(s.items[4].Manifest.Entry)
			h, err := c.Sign(carts, s.a.Device)
			check(t, err, s.a.Checkpoint(1, h))
		}, nil, "Complete"},
		"erased without a checkpoint": {func(s *state) { check(t, os.Remove(s.path("00000001.seg"))) }, []string{"missing 0-4"}, "Missing: numbers 0 to 4."},
		"gone on in a new incarnation": {func(s *state) {
			fork := s.a.Fork(3, s.a.Chain.Head)
			check(t, s.a.Segment(3, append([]author.Record{fork}, s.put(3)...)))
			s.head()
		}, nil, "names as its forerunner"},
		"a segment's pages damaged": {func(s *state) {
			flip(s, "00000001.seg", func([]byte) int { return 16 + 20 })
			flip(s, "00000001.seg", func([]byte) int { return 65536 + 16 + 20 })
		}, nil, "Complete"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newState(t)
			c.tamper(s)
			v := s.verify()
			var got []string
			for _, p := range v.Books[0].Problems {
				x := p.Code
				if p.First != nil && *p.First == *p.Last {
					x += " " + jsonOf(t, *p.First)
				} else if p.First != nil {
					x += " " + jsonOf(t, *p.First) + "-" + jsonOf(t, *p.Last)
				}
				got = append(got, x)
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) || v.Complete != (len(c.want) == 0) || !strings.Contains(v.Sentence, c.says) {
				t.Errorf("problems %q, want %q; complete %t\n%s", got, c.want, v.Complete, jsonOf(t, v))
			}
		})
	}
}

// TestWithoutCare: what is left says nothing about the patients' ledger, so the verdict is never "complete".
func TestWithoutCare(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *state)
		says   string // "": it can't be read
	}{
		"nothing but an identity": {func(s *state) { check(t, os.RemoveAll(s.path(""))) }, "Only a cart that was claimed and has never captured has none"},
		"emptied": {func(s *state) {
			check(t, os.RemoveAll(s.path("")), os.Mkdir(s.path(""), 0o700))
		}, "care/ is not here, or nothing is in it"},
		"practice is left": {func(s *state) { check(t, os.RemoveAll(s.path(""))); s.practice() }, "practice/ is here, and a cart makes both"},
		"practice is left, and no identity": {func(s *state) {
			check(t, os.RemoveAll(s.path("")), os.RemoveAll(filepath.Join(s.dir, "identity")))
			s.practice()
		}, "practice/ is here, and a cart makes both"},
		"wiped, and nothing left": {func(s *state) { s.wiped(); check(t, os.RemoveAll(s.path(""))) }, "all that was captured of patients is missing"},
		"no cart's at all":        {func(s *state) { check(t, os.RemoveAll(s.path("")), os.RemoveAll(filepath.Join(s.dir, "identity"))) }, ""},
	} {
		s := newState(t)
		c.change(s)
		if c.says == "" {
			if v, err := Verify(t.Context(), s.dir, Options{}); err == nil {
				t.Errorf("%s: %s", name, v.Sentence)
			}
			continue
		}
		v := s.verify()
		if p := v.Books[0].Problems; v.Complete || len(p) != 1 || p[0].Code != "missing" || !strings.HasPrefix(v.Sentence, "NOT complete. Ledger of care of cart cart-1 of north: care/ is not here") ||
			!strings.Contains(v.Sentence, c.says) {
			t.Errorf("%s: %s", name, jsonOf(t, v))
		}
	}
}

// practice adds the other book, whole and signed.
func (s *state) practice() {
	a, err := author.New(filepath.Join(s.dir, "practice"), ledger.Book{Tenant: carts.Tenant, Cart: carts.Cart, Practice: true})
	check(s.t, err)
	a.Device = s.a.Device
	record := a.Began(1)
	h, err := a.Head()
	check(s.t, err, a.Segment(1, []author.Record{record}), a.JSON("head", h))
}

// wiped does what a wipe does to a folder: another key takes the place of the one that signed.
func (s *state) wiped() {
	print, err := courier.Fingerprint(&s.a.Device.PublicKey)
	check(s.t, err)
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(s.t, err)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	check(s.t, err, os.Remove(filepath.Join(s.dir, "identity/identity.json")), os.Remove(filepath.Join(s.dir, "keys.json")),
		os.WriteFile(filepath.Join(s.dir, "identity/key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(s.dir, "wiped.json"), []byte(`{"tenant":"north","cart":"cart-1","device":"`+print+`"}`), 0o600))
}

// TestAfterAWipe: nothing is called forged or missing because the key is gone, and by the old key's SHA-256 all is shown.
func TestAfterAWipe(t *testing.T) {
	s := newState(t)
	check(t, os.Remove(s.path("00000001.seg"))) // erased after receipt
	h, err := ledger.Chain{Incarnation: s.a.Chain.Incarnation}.Advance(s.items[4].Manifest.Entry).Sign(carts, s.a.Device)
	check(t, err, s.a.Checkpoint(1, h))
	s.wiped()
	print, err := courier.Fingerprint(&s.a.Device.PublicKey)
	check(t, err)
	v := s.verify()
	for _, p := range v.Books[0].Problems {
		if p.Code != "unsigned" || !strings.Contains(p.Text, "give --key") {
			t.Errorf("[%s] %s", p.Code, p.Text)
		}
	}
	if v.Complete || len(v.Books[0].Problems) != 2 || !strings.Contains(v.Key, "wiped") || !strings.Contains(v.Key, print) {
		t.Errorf("%s\n%s", v.Key, v.Sentence)
	}
	// The same without the mark: a key that nobody certified is nobody's.
	check(t, os.Remove(filepath.Join(s.dir, "wiped.json")))
	if v := s.verify(); v.Complete || strings.Contains(jsonOf(t, v), "forged") || !strings.Contains(v.Key, "give --key") {
		t.Errorf("%s\n%s", v.Key, v.Sentence)
	}
	for key, want := range map[string]bool{print: true, strings.Repeat("0", 64): false} {
		v, err := Verify(t.Context(), s.dir, Options{Key: key})
		if check(t, err); v.Complete != want || strings.Contains(jsonOf(t, v), "forged") == want {
			t.Errorf("%s: %s", key, v.Sentence)
		}
	}
}

// TestAfterAWipeAndAClaim: what the old key signed is the cart's, if the folder says that it was its key, and the verdict says by
// what; another's key is forged as ever.
func TestAfterAWipeAndAClaim(t *testing.T) {
	s := newState(t)
	print, err := courier.Fingerprint(&s.a.Device.PublicKey)
	check(t, err)
	s.a.Device, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	s.identity()
	for former, want := range map[string]bool{`["` + print + `"]`: true, `["` + strings.Repeat("0", 64) + `", "no"]`: false, "{": false} {
		check(t, os.WriteFile(filepath.Join(s.dir, formerFile), []byte(former), 0o600))
		v := s.verify()
		if v.Complete != want || strings.Contains(jsonOf(t, v), "forged") == want || strings.Contains(v.Key, print) != want {
			t.Errorf("%s: %s\n%s", former, v.Key, v.Sentence)
		}
	}
}

// TestABookByItself: named from within, too.
func TestABookByItself(t *testing.T) {
	s := newState(t)
	t.Chdir(s.path(""))
	for _, dir := range []string{s.path(""), ".", s.path("") + "/"} {
		if v, err := Verify(t.Context(), dir, Options{}); err != nil || !v.Complete || len(v.Books) != 1 || v.Books[0].Practice {
			t.Errorf("%s: %+v %v", dir, v, err)
		}
	}
}

func jsonOf(t testing.TB, v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	check(t, err)
	return string(b)
}
