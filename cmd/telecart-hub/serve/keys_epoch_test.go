package serve

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/hub/store"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// epochs is a hub whose keys are rotated and destroyed, with its carts.
type epochs struct {
	t                      *testing.T
	state, offline, backup string
	hub                    *running
}

func newEpochs(t *testing.T) *epochs {
	state := initState(t)
	e := &epochs{t: t, state: state, offline: filepath.Join(filepath.Dir(state), "offline"), backup: filepath.Join(t.TempDir(), "backup")}
	e.run()
	if err := Backup(t.Context(), e.state, e.backup); err != nil {
		t.Fatal(err)
	}
	return e
}

// run starts the hub, at another port than before.
func (e *epochs) run(carts ...*cart) {
	e.t.Helper()
	e.hub = start(e.t, e.state)
	for _, c := range carts {
		moved(e.t, c, e.hub)
	}
}

func (e *epochs) stop() { e.hub.stop() }

func (e *epochs) rotate() {
	e.t.Helper()
	e.stop()
	err := RotateKeys(e.t.Context(), RotateRequest{State: e.state, Backup: e.backup, Offline: e.offline}, time.Now(), io.Discard)
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *epochs) destroy(epoch uint32) error {
	e.t.Helper()
	e.stop()
	return DestroyKeys(e.t.Context(), DestroyRequest{State: e.state, Backup: e.backup, Epoch: epoch}, io.Discard)
}

// note puts a note and says what it was sealed to.
func (e *epochs) note(c *cart, text string) ledger.Hash {
	e.t.Helper()
	return c.put(capture.Body{Kind: capture.Note, Note: &capture.NoteInfo{Text: text}, Blob: []byte(text)})
}

// greet connects a cart again, which then says which list it holds and whether all of it is here.
func (e *epochs) greet(c *cart, empty bool) {
	e.t.Helper()
	before := c.keys.Version
	c.empty = empty
	c.dial()
	if c.keys.Version != before {
		c.key = nil // a cart seals by the new list from here on
	}
}

// blocked is who keeps an epoch alive, asked of the running hub.
func (e *epochs) blocked(epoch uint32) []Blocker {
	e.t.Helper()
	r, err := KeysStatus(e.t.Context(), e.state)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, l := range r.Epochs {
		if l.Epoch == epoch {
			return l.Blocked
		}
	}
	e.t.Fatalf("no epoch %d: %+v", epoch, r)
	return nil
}

// view opens an item as the console does, and gives its blob.
func (e *epochs) view(state string, item ledger.Hash) (string, error) {
	e.t.Helper()
	f, err := openFolder(e.t.Context(), state, store.Options{Clock: kit.System{}})
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.store.Close()
	records, _, err := readKeys(state, f.list)
	if err != nil {
		e.t.Fatal(err)
	}
	var out bytes.Buffer
	err = blobs{f.store, f.opener(e.t.Context(), records)}.Blob(e.t.Context(), "north", item, &out)
	return out.String(), err
}

func privateOf(t *testing.T, dir string, epoch uint32) (out [][]byte) {
	t.Helper()
	keys, err := readPrivate(filepath.Join(dir, keysFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys.Records {
		if k.Epoch == epoch {
			out = append(out, k.Private)
		}
	}
	return out
}

// From rotation to destruction: a cart that is away keeps the old epoch alive until all it sealed to it is here; then the key
// goes, what came under it stays to be seen, and what never came can't be opened by anybody.
func TestEpochEndsWhenAllCartsAreAccountedFor(t *testing.T) {
	e := newEpochs(t)
	home, away := e.hub.enrolAs("cart-1", t.TempDir()), e.hub.enrolAs("cart-2", t.TempDir())
	home.dial()
	first := e.note(home, "first")
	away.dial()
	second := e.note(away, "second")
	oldPublic, err := away.keys.Record(false)
	if err != nil {
		t.Fatal(err)
	}

	if err := RotateKeys(t.Context(), RotateRequest{State: e.state, Backup: e.backup, Offline: e.offline}, time.Now(), io.Discard); !errors.Is(err, errRunning) {
		t.Fatalf("rotated under a running hub: %v", err)
	}
	if err := e.destroy(1); err == nil || errors.Is(err, ErrNotAccounted) {
		t.Fatalf("the epoch in use: %v", err)
	}
	e.rotate()
	if err := e.destroy(1); !errors.Is(err, ErrNotAccounted) || !strings.Contains(err.Error(), "cart-1") || !strings.Contains(err.Error(), "cart-2") {
		t.Fatalf("nobody has the new list: %v", err)
	}

	e.run(home)
	e.greet(home, false)
	if home.keys.Version != 2 {
		t.Fatalf("list %d", home.keys.Version)
	}
	third := e.note(home, "third")
	e.greet(home, true)
	if err := e.destroy(1); !errors.Is(err, ErrNotAccounted) || strings.Contains(err.Error(), "cart-1") || !strings.Contains(err.Error(), "cart-2") {
		t.Fatalf("one is away: %v", err)
	}

	e.run(away)
	away.empty = true // so it says, but of the time when it still sealed to epoch 1
	away.dial()
	if b := e.blocked(1); len(b) != 1 || b[0].Cart != "cart-2" {
		t.Fatalf("an empty cart with the old list: %v", b)
	}
	fourth := e.note(away, "fourth") // sealed to epoch 1 while it was away
	away.key = nil
	away.store = ledger.ID{9} // by the receipts of another store all of it is there: that proves nothing here
	e.greet(away, true)
	if b := e.blocked(1); len(b) != 1 || !strings.Contains(b[0].Why, "not yet said") {
		t.Fatalf("empty by another store's receipts: %v", b)
	}
	e.greet(away, true)
	status, err := KeysStatus(t.Context(), e.state)
	if err != nil || len(status.Epochs) != 2 || status.Epochs[0].Items != 3 || status.Epochs[1].Items != 1 || status.Epochs[0].Only != 3-1 && status.Epochs[0].Only != 3 {
		t.Fatalf("%+v %v", status, err)
	}
	private := privateOf(t, e.state, 1)
	if len(private) != 2 || len(privateOf(t, e.backup, 1)) != 2 {
		t.Fatalf("%d private keys of epoch 1", len(private))
	}
	if err := e.destroy(1); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{e.state, e.backup} {
		if left := privateOf(t, dir, 1); len(left) != 0 {
			t.Errorf("%s: epoch 1 is still there", dir)
		}
		if name := holding(t, dir, private); name != "" {
			t.Errorf("%s holds a destroyed key", name)
		}
	}
	if err := e.destroy(1); err == nil {
		t.Error("destroyed twice")
	}
	for item, want := range map[ledger.Hash]string{first: "first", second: "second", third: "third", fourth: "fourth"} {
		for _, state := range []string{e.state, e.restored()} {
			if got, err := e.view(state, item); err != nil || got != want {
				t.Errorf("%s: %q %v, want %q", filepath.Base(state), got, err, want)
			}
		}
	}
	e.leaked(oldPublic)

	// The same again: what came under epoch 1 outlives epoch 2 too.
	e.rotate()
	e.run(home, away)
	for _, c := range []*cart{home, away} {
		e.greet(c, false)
		e.greet(c, true)
	}
	if err := e.destroy(2); err != nil {
		t.Fatal(err)
	}
	for item, want := range map[ledger.Hash]string{first: "first", third: "third"} {
		if got, err := e.view(e.state, item); err != nil || got != want {
			t.Errorf("after two: %q %v, want %q", got, err, want)
		}
	}
	_, list, _, err := readList(e.state)
	if err != nil || slices.ContainsFunc(list.Records, func(k wire.RecordKey) bool { return k.Epoch == 1 }) {
		t.Errorf("the list still names what was destroyed: %+v %v", list, err)
	}
}

// restored is the backup, brought to a folder of its own.
func (e *epochs) restored() string {
	e.t.Helper()
	to := filepath.Join(e.t.TempDir(), "restored")
	if err := os.CopyFS(to, os.DirFS(e.backup)); err != nil {
		e.t.Fatal(err)
	}
	return to
}

// leaked makes an item that never came, under the destroyed epoch.
func (e *epochs) leaked(public wire.RecordKey) {
	e.t.Helper()
	s, err := seal.NewSealer(ledger.Book{Tenant: "north", Cart: "cart-2"}, ledger.NewID(), public)
	if err != nil {
		e.t.Fatal(err)
	}
	key, err := s.NewKey(ledger.NewID())
	if err != nil {
		e.t.Fatal(err)
	}
	var chunks [][]byte
	item, err := key.Seal(1, wire.Routine, []byte("never came"), func(_ int, p []byte) error { chunks = append(chunks, bytes.Clone(p)); return nil })
	if err != nil {
		e.t.Fatal(err)
	}
	f, err := openFolder(e.t.Context(), e.state, store.Options{Clock: kit.System{}})
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.store.Close()
	records, _, err := readKeys(e.state, f.list)
	if err != nil {
		e.t.Fatal(err)
	}
	err = f.opener(e.t.Context(), records).Open(key.Wrap(), item.Bytes, item.Header, func(i int) ([]byte, error) { return chunks[i], nil }, func([]byte) error { return nil })
	if !errors.Is(err, seal.ErrNoKey) {
		e.t.Errorf("a wrap to a destroyed epoch: %v", err)
	}
}

// holding names a file below dir that has one of the secrets in it, raw or as JSON writes bytes.
func holding(t *testing.T, dir string, secrets [][]byte) (name string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, s := range secrets {
			if bytes.Contains(b, s) || bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString(s))) {
				name = path
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// What can't be accounted for is named, and only an operator's audited word lets the key go.
func TestWriteOff(t *testing.T) {
	e := newEpochs(t)
	c := e.hub.enrolAs("cart-1", t.TempDir())
	c.dial()
	first := e.note(c, "first")
	c.chain = c.chain.Advance(c.chain.Entry(ledger.Item, ledger.Hash{1})) // saved, signed for, and never sent
	e.rotate()
	e.run(c)
	e.greet(c, true)
	e.greet(c, true)
	b := e.blocked(1)
	if len(b) != 1 || !strings.Contains(b[0].Why, "numbers 1-1 are missing") {
		t.Fatalf("an item that never came: %v", b)
	}
	c.keys.Version = 1 // another card with the same key, from before
	c.dial()
	if b := e.blocked(1); len(b) != 2 || !strings.Contains(b[0].Why, "older key list") {
		t.Fatalf("its list went back: %v", b)
	}
	e.greet(c, true)
	if b := e.blocked(1); len(b) != 2 {
		t.Fatalf("that is forgotten: %v", b)
	}
	for _, r := range []WriteOffRequest{{Tenant: "north", Cart: "cart-1"}, {Tenant: "north", Cart: "cart-9", Reason: "lost"}, {Tenant: "north", Cart: "cart-1", Device: "zz", Reason: "lost"}} {
		if err := WriteOffKeys(t.Context(), e.state, r); err == nil {
			t.Errorf("%+v was written off", r)
		}
	}
	device := WriteOffRequest{Tenant: "north", Cart: "cart-1", Device: e.device(), Reason: "the old card was burnt"}
	if err := WriteOffKeys(t.Context(), e.state, device); err != nil {
		t.Fatal(err)
	}
	if b := e.blocked(1); len(b) != 1 || !strings.Contains(b[0].Why, "missing") {
		t.Fatalf("one device is written off, its ledger's gap is not: %v", b)
	}
	if err := WriteOffKeys(t.Context(), e.state, WriteOffRequest{Tenant: "north", Cart: "cart-1", Reason: "drowned"}); err != nil {
		t.Fatal(err)
	}
	if err := e.destroy(1); err != nil {
		t.Fatal(err)
	}
	if got, err := e.view(e.state, first); err != nil || got != "first" {
		t.Errorf("%q %v", got, err)
	}
	f, err := openFolder(t.Context(), e.state, store.Options{Clock: kit.System{}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.store.Close()
	lines, err := f.store.Audit(t.Context(), "north", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, l := range lines {
		if l.Who == operator {
			actions = append(actions, l.Action)
		}
	}
	if want := []string{"keys-installed", "keys-written-off", "keys-written-off", "keys-destroyed"}; !slices.Equal(actions, want) {
		t.Errorf("the trail says %v", actions)
	}
}

// device is the only one, as the status shows it.
func (e *epochs) device() string {
	t := e.t
	t.Helper()
	r, err := KeysStatus(t.Context(), e.state)
	if err != nil || len(r.Carts) != 1 {
		t.Fatalf("%+v %v", r, err)
	}
	var out bytes.Buffer
	if err := r.Print(&out, time.Now()); err != nil || !strings.Contains(out.String(), r.Carts[0].Device[:16]) {
		t.Fatalf("%s %v", out.String(), err)
	}
	return r.Carts[0].Device[:16]
}

// The root signs elsewhere: the list goes out, and comes back.
func TestSignedElsewhere(t *testing.T) {
	e := newEpochs(t)
	e.stop()
	file := func(name string) string { return filepath.Join(filepath.Dir(e.state), name) }
	var hubSays, rootSays bytes.Buffer
	for range 2 { // asked twice, it draws once
		hubSays.Reset()
		if err := RotateKeys(t.Context(), RotateRequest{State: e.state, Backup: e.backup, Out: file("list"), Receipt: true}, time.Now(), &hubSays); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(privateOf(t, e.state, 2)); n != 2 || len(privateOf(t, e.state, 3)) != 0 {
		t.Fatalf("%d keys of epoch 2", n)
	}
	if _, list, _, err := readList(e.state); err != nil || list.Version != 1 {
		t.Fatalf("something is in use that nobody signed: %+v %v", list, err)
	}
	if err := SignKeys(e.offline, file("list"), file("signed"), &rootSays); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hubSays.String(), rootSays.String()) || !strings.Contains(rootSays.String(), "epoch 2") {
		t.Errorf("the hub says\n%s\nthe root\n%s", hubSays.String(), rootSays.String())
	}
	good, err := os.ReadFile(file("signed"))
	if err != nil {
		t.Fatal(err)
	}
	if err := InstallKeys(t.Context(), e.state, file("list"), io.Discard); err == nil {
		t.Error("an unsigned list is in use")
	}
	e.installs(good, true)
	_, list, _, err := readList(e.state)
	if err != nil || list.Version != 2 || len(list.Records) != 4 || len(list.Receipts) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	e.installs(good, true) // again: it is the same
	root, err := readRoot(e.offline)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*wire.KeyList){
		"older": func(l *wire.KeyList) { l.Version = 1 }, "another of the same version": func(l *wire.KeyList) { l.Expires = l.Expires.Add(1) },
		"another hub's": func(l *wire.KeyList) { l.Version, l.Hub = 3, "hub.other" },
		"an epoch that is not here": func(l *wire.KeyList) {
			l.Version, l.Records = 3, append(slices.Clone(l.Records), wire.RecordKey{Epoch: 9, KEM: x25519, Public: make([]byte, 32)})
		},
		"back to the first epoch": func(l *wire.KeyList) { l.Version, l.Records = 3, l.Records[:2] },
		"no receipt key of ours":  func(l *wire.KeyList) { l.Version, l.Receipts = 3, nil },
	} {
		l := list
		change(&l)
		signed, err := wire.SignKeyList(l, root)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(signed)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		e.installs(b, false)
	}
	e.run()
	c := e.hub.enrolAs("cart-1", t.TempDir())
	c.dial()
	e.note(c, "under epoch 2, with receipt key 2")
}

func (e *epochs) installs(b []byte, want bool) {
	e.t.Helper()
	path := filepath.Join(e.t.TempDir(), "signed")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		e.t.Fatal(err)
	}
	if err := InstallKeys(e.t.Context(), e.state, path, io.Discard); (err == nil) != want {
		e.t.Errorf("installed: %t, %v", err == nil, err)
	}
}

// A crash between the two halves of a replacement leaves nothing of the old keys behind.
func TestReplacingCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), keysFile)
	old := hubKeys{Records: []seal.RecordKey{{Epoch: 1, Private: bytes.Repeat([]byte{1}, 32)}}}
	if err := replaceKeys(path, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, path+goneSuffix); err != nil { // cut short before the new file came
		t.Fatal(err)
	}
	if err := finishReplacing(path); err != nil {
		t.Fatal(err)
	}
	if keys, err := readPrivate(path); err != nil || keys.newest() != 1 {
		t.Fatalf("%+v %v: nothing had been replaced", keys, err)
	}
	if err := os.Link(path, path+goneSuffix); err != nil {
		t.Fatal(err)
	}
	inode, err := os.Open(path) // what the disk's blocks hold, whatever their name
	if err != nil {
		t.Fatal(err)
	}
	defer inode.Close()
	if err := kit.WriteFile(path, []byte(`{"records":[{"epoch":2,"private":"AA=="}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := finishReplacing(path); err != nil { // cut short after it came
		t.Fatal(err)
	}
	b, err := io.ReadAll(inode)
	if err != nil || bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString(old.Records[0].Private))) {
		t.Errorf("the old blocks still hold the key: %q %v", b, err)
	}
	if _, err := os.Lstat(path + goneSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
