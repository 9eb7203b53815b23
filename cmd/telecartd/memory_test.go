package main

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"telecart/cmd/telecart/stage"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// build makes programs as the Makefile does.
func build(t *testing.T, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", dir + "/"}
	for _, n := range names {
		args = append(args, "telecart/cmd/"+n)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOEXPERIMENT=runtimesecret")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// page is the nurse's screen: it sends a command and reads on until the answer.
type page struct {
	ctx   context.Context
	t     *testing.T
	ws    *websocket.Conn
	http  *http.Client
	next  int
	state struct {
		Encounter *struct {
			ID string `json:"id"`
		} `json:"encounter"`
		Instruments []struct {
			Name   string `json:"name"`
			Health struct {
				State string `json:"state"`
			} `json:"health"`
		} `json:"instruments"`
		Link struct {
			State string `json:"state"`
		} `json:"link"`
	}
}

func openPage(ctx context.Context, t *testing.T, address, host string) *page {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &page{ctx: ctx, t: t, http: &http.Client{Jar: jar}}
	p.get(address)
	p.ws, _, err = websocket.Dial(ctx, "ws://"+host+"/api/ws", &websocket.DialOptions{HTTPClient: p.http, HTTPHeader: http.Header{"Origin": {"http://" + host}}})
	if err != nil {
		t.Fatal(err)
	}
	p.ws.SetReadLimit(1 << 20)
	t.Cleanup(func() { p.ws.CloseNow() })
	return p
}

func (p *page) get(address string) []byte {
	p.t.Helper()
	resp, err := p.http.Get(address)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s, %v", address, resp.Status, err)
	}
	return b
}

// read takes one message of the agent's; it returns a reply's number, or 0.
func (p *page) read() (reply int, ok bool, rest []byte) {
	p.t.Helper()
	_, b, err := p.ws.Read(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	var m struct {
		State json.RawMessage `json:"state"`
		Reply int             `json:"reply"`
		OK    bool            `json:"ok"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		p.t.Fatal(err)
	}
	if m.State != nil {
		p.state.Encounter = nil
		if err := json.Unmarshal(m.State, &p.state); err != nil {
			p.t.Fatal(err)
		}
	}
	return m.Reply, m.OK, b
}

// do gives a command and returns the item that it saved.
func (p *page) do(verb string, args map[string]any) (item string) {
	p.t.Helper()
	p.next++
	m := map[string]any{"id": p.next, "verb": verb}
	for k, v := range args {
		m[k] = v
	}
	b, err := json.Marshal(m)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.ws.Write(p.ctx, websocket.MessageText, b); err != nil {
		p.t.Fatal(err)
	}
	for {
		n, ok, b := p.read()
		if n != p.next {
			continue
		}
		if !ok {
			p.t.Fatalf("%s: %s", verb, b)
		}
		var r struct {
			Result struct {
				Item string `json:"item"`
			} `json:"result"`
		}
		if err := json.Unmarshal(b, &r); err != nil {
			p.t.Fatal(err)
		}
		return r.Result.Item
	}
}

func (p *page) await(ok func() bool) {
	p.t.Helper()
	for !ok() {
		p.read()
	}
}

// manifests finds the manifests of an encounter's items in the outbox's files, by the marks of their records (FORMAT.md).
func manifests(t *testing.T, dir, encounter string) (out []wire.Manifest) {
	t.Helper()
	mark := []byte{0x8d, 'T', 'C', 'R', 'E', 'C', '1', '\n', 'M'}
	const head = 8 + 1 + 8 + 4 + 1
	everyFile(t, dir, func(path string, b []byte) {
		for {
			i := bytes.Index(b, mark)
			if i < 0 || len(b) < i+head+4 {
				return
			}
			b = b[i:]
			n := int(b[head])<<24 | int(b[head+1])<<16 | int(b[head+2])<<8 | int(b[head+3])
			if n <= len(b)-head-4 {
				if m, h, _, err := wire.UnmarshalManifest(b[head+4 : head+4+n]); err == nil && h.Encounter.String() == encounter {
					out = append(out, m)
				}
			}
			b = b[len(mark):]
		}
	})
	return out
}

// everyFile reads all files below some folders.
func everyFile(t *testing.T, dir string, f func(path string, b []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		f(path, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// dataKey unwraps a data key with the hub's record key (RFC 9180), by nothing but the standard library.
func dataKey(t *testing.T, keys string, w wire.Wrap) []byte {
	t.Helper()
	b, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Records []seal.RecordKey `json:"records"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	for _, r := range list.Records {
		if r.Epoch != w.Epoch || r.Practice != w.Practice {
			continue
		}
		kem, err := hpke.NewKEM(r.KEM)
		if err != nil {
			t.Fatal(err)
		}
		private, err := kem.NewPrivateKey(r.Private)
		if err != nil {
			t.Fatal(err)
		}
		recipient, err := hpke.NewRecipient(w.Enc, private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), w.Info())
		if err != nil {
			t.Fatal(err)
		}
		key, err := recipient.Open(nil, w.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	t.Fatal("the hub has no record key of that epoch")
	return nil
}

// itemKeys derives what belongs to one item.
func itemKeys(t *testing.T, key []byte, h wire.Header) (prk, item []byte) {
	t.Helper()
	prk, err := hkdf.Extract(sha256.New, key, h.Salt[:])
	if err != nil {
		t.Fatal(err)
	}
	item, err = hkdf.Expand(sha256.New, prk, "telecart item key v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	return prk, item
}

// The real agent's memory holds the data key while the encounter is open, and afterwards neither that key, nor one derived
// from it, nor a picture. Its disk and its log never hold any of them, nor what was written or who it is about.
func TestMemoryAndDisk(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	tmp := t.TempDir()
	dir, err := os.MkdirTemp("", "telecart-memory-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(dir, "cart.log")); t.Failed() && err == nil {
			t.Logf("the agent's log: %s", log[max(0, len(log)-4000):])
		}
		os.RemoveAll(dir)
	})
	s := &stage.Stage{Dir: dir, Bin: build(t, "telecartd", "telecart-hub"), Tenant: "north", Cart: "cart-1", Site: "Memory"}
	link, err := stage.NewLink(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	t.Cleanup(s.Close)
	p := startStage(ctx, t, s, tmp)

	unique := rand.Text()
	note, name, number := "Otorrhoe "+unique, "Zebulon "+unique, "MRN-"+strconv.Itoa(1e8+int(time.Now().UnixNano()%1e8))
	p.do("scan", map[string]any{"code": number + "|" + name + "|1961-03-04"})
	p.do("note", map[string]any{"text": note})
	pictures := [][]byte{}
	for range 2 {
		item := p.do("still", map[string]any{"instrument": "room camera"})
		pictures = append(pictures, p.get("http://"+s.Bedside+"/api/review/"+item))
	}
	clip := p.get("http://" + s.Bedside + "/api/review/" + p.do("clip", map[string]any{"instrument": "room camera", "seconds": 1}))
	p.await(func() bool { return p.state.Encounter != nil })
	ms := manifests(t, filepath.Join(s.CartDir(), "care"), p.state.Encounter.ID)
	if len(ms) < 6 { // opened, bound, a note, two stills, a clip
		t.Fatalf("%d items in the outbox's files", len(ms))
	}

	// What must be gone: keys and pictures. What is told: text, which the page and libraries have had in their hands.
	gone, text := map[string][]byte{}, map[string][]byte{"note": []byte(note), "name": []byte(name), "number": []byte(number)}
	for _, m := range ms {
		h, err := wire.UnmarshalHeader(m.Header)
		if err != nil {
			t.Fatal(err)
		}
		w, err := wire.UnmarshalWrap(m.Wrap)
		if err != nil {
			t.Fatal(err)
		}
		key := dataKey(t, filepath.Join(s.HubDir(), "keys.json"), w)
		if have := gone["data key"]; have != nil && !bytes.Equal(have, key) {
			t.Fatal("two data keys in one encounter and run")
		}
		prk, item := itemKeys(t, key, h)
		id := hex.EncodeToString(h.Salt[:4])
		gone["data key"], gone["prk "+id], gone["item key "+id] = key, prk, item
	}
	// The twin puts its pictures together from tiles that it keeps; what is one picture's own is the row of cells that tells the time.
	gone["picture 0"], gone["picture 1"] = ownPart(pictures[0], pictures[1])
	begin := []byte{0xff, 0xd8, 0xff}
	frames := bytes.SplitN(clip, begin, 4)
	gone["clip's frame 0"], gone["clip's frame 1"] = ownPart(frames[1], frames[2])
	all := map[string][]byte{"control": []byte(s.CartDir())}
	for _, m := range []map[string][]byte{gone, text} {
		for k, v := range m {
			all[k] = v
		}
	}

	open := scan(ctx, t, search{s.CartPID(), all})
	for _, what := range []string{"control", "data key", "note", "name", "picture 0", "picture 1", "clip's frame 0"} {
		if len(open.Hits[what]) == 0 {
			t.Errorf("%s is not in the agent's memory while the encounter is open: this test can't find anything", what)
		}
	}
	for what := range gone {
		if strings.HasPrefix(what, "prk ") && len(open.Hits[what]) > 0 {
			t.Errorf("%s was left in memory by a Seal that had returned: %v", what, open.Hits[what])
		}
	}
	checkFiles(t, open.Files, s.Dir, tmp)

	p.do("close", nil)
	p.await(func() bool { return p.state.Encounter == nil })
	closed := time.Now()
	for {
		f := scan(ctx, t, search{s.CartPID(), all})
		left := []string{}
		for what, where := range f.Hits {
			if _, must := gone[what]; must {
				left = append(left, what+" in "+strings.Join(where, ", "))
			}
		}
		slices.Sort(left)
		if len(f.Hits["control"]) == 0 {
			t.Fatal("the control was not found: the scan is worth nothing")
		}
		if len(left) == 0 {
			t.Logf("%d MB searched for %d things; keys and pictures gone after %v", f.Bytes/1e6, len(all), time.Since(closed).Round(time.Millisecond))
			for what := range text {
				t.Logf("%s: %d places while open, %d after (%v)", what, len(open.Hits[what]), len(f.Hits[what]), f.Hits[what])
			}
			break
		}
		if time.Since(closed) > 15*time.Second {
			t.Fatalf("still in memory:\n%s", strings.Join(left, "\n"))
		}
		p.read() // the state comes each second
	}

	s.Close()
	for _, place := range []string{s.CartDir(), tmp, filepath.Join(dir, "cart.log")} {
		everyFile(t, place, func(path string, b []byte) {
			for what, needle := range all {
				if what != "control" && bytes.Contains(b, needle) {
					t.Errorf("%s lies readable in %s", what, path)
				}
			}
		})
	}
}

// ownPart is what tells two pictures of one camera apart, from where they differ first.
func ownPart(a, b []byte) (ofA, ofB []byte) {
	i := 0
	for a[i] == b[i] {
		i++
	}
	return a[i-8 : i+500], b[i-8 : i+500]
}

// startStage starts hub and cart, and waits until the cart can be used. The cart's temporary files, if it has any, go to tmp.
func startStage(ctx context.Context, t *testing.T, s *stage.Stage, tmp string) *page {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.MakeHub(ctx, nil))
	must(s.MakeCart())
	must(s.StartHub(ctx))
	code, err := s.Claim(ctx)
	must(err)
	t.Setenv("TMPDIR", tmp)
	address, err := s.StartCart(ctx, code)
	must(err)
	p := openPage(ctx, t, address, s.Bedside)
	p.await(func() bool {
		live := 0
		for _, i := range p.state.Instruments {
			if i.Health.State == "live" {
				live++
			}
		}
		return p.state.Link.State == "up" && live > 0
	})
	return p
}

// checkFiles: the agent has no regular file open that is not searched later, above all no deleted one.
func checkFiles(t *testing.T, files []string, places ...string) {
	t.Helper()
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && !st.Mode().IsRegular() {
			continue // a device
		}
		if strings.HasPrefix(f, "/sys/") || strings.HasPrefix(f, "/proc/") {
			continue // the kernel's
		}
		if !slices.ContainsFunc(places, func(p string) bool { return strings.HasPrefix(f, p+"/") }) || strings.HasSuffix(f, " (deleted)") {
			t.Errorf("the agent has %s open: nobody searches that", f)
		}
	}
}
