package link

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

func (h *fakeHub) urgent(n int) outbox.Saved {
	h.t.Helper()
	s, err := h.box.Put(h.t.Context(), h.key, 1, wire.Urgent, make([]byte, n))
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// greeted makes the client ready for Step, without a socket.
func (h *fakeHub) greeted() {
	h.t.Helper()
	hello, err := h.client.Greeting()
	if err == nil {
		err = h.client.Welcome(h.t.Context(), hello, Welcome{Protocol: 1, Hub: "hub.example", Store: storeID, Keys: h.keys})
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *fakeHub) step(lane Lane) bool {
	h.t.Helper()
	worked, err := h.client.Step(h.t.Context(), storeID, lane)
	if err != nil {
		h.t.Fatal(err)
	}
	return worked
}

// Urgent before routine, newest first within urgent, oldest first within routine; entries before all of them; long items by
// the other lane.
func TestOrderOut(t *testing.T) {
	h := newHub(t, kit.System{})
	var got []ledger.Hash
	h.put = func(w http.ResponseWriter, r *http.Request, in *upload) {
		if len(h.entries) == 0 {
			t.Error("an item came before the entries")
		}
		got = append(got, in.manifest.Hash())
		h.receive(w, r, in)
	}
	clip, one, early, two, late := h.save(3*wire.ChunkSize), h.save(10), h.urgent(10), h.save(10), h.urgent(10)
	if _, err := h.client.Step(t.Context(), storeID, LaneSmall); err != ErrStore {
		t.Errorf("before any welcome: %v", err)
	}
	h.greeted()
	for range 4 {
		if !h.step(LaneSmall) {
			t.Error("there was more")
		}
	}
	if h.step(LaneSmall) {
		t.Error("there was no more")
	}
	if !h.step(LaneBulk) || h.step(LaneBulk) {
		t.Error("one long item")
	}
	if want := []ledger.Hash{late.Hash, early.Hash, one.Hash, two.Hash, clip.Hash}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := h.client.Step(t.Context(), ledger.ID{9}, LaneSmall); err != ErrStore {
		t.Errorf("another store: %v", err)
	}
}

// A vital sign whose request the network swallows is receipted all the same: it goes out again on another connection.
func TestHedge(t *testing.T) {
	h := newHub(t, kit.System{})
	var tries atomic.Int32
	swallowed, release := make(chan struct{}), make(chan struct{})
	defer func() { close(release) }()
	h.put = func(w http.ResponseWriter, r *http.Request, in *upload) {
		if tries.Add(1) == 1 {
			close(swallowed)
			<-release
		}
		h.receive(w, r, in)
	}
	s := h.urgent(10)
	h.run()
	next(t, "the first", swallowed)
	h.until("the receipt", func() bool { sent, _ := h.box.Sent(s.Hash); return sent })
	if n := tries.Load(); n != 2 {
		t.Errorf("%d tries", n)
	}
}

// A transfer that hangs while the link is up ends by itself, and the item goes out again.
func TestStall(t *testing.T) {
	clock := kit.NewManual(start)
	h := newHub(t, clock)
	h.put = func(_ http.ResponseWriter, r *http.Request, in *upload) {
		if _, err := io.Copy(io.Discard, in.body); err == nil { // a server sees that its client is gone only once it has read all
			<-r.Context().Done()
		}
	}
	h.save(10)
	h.greeted()
	d := h.client.out
	j, _ := d.pick(&worker{lane: LaneSmall})
	failed := make(chan error)
	go func() { _, err := d.fetch(t.Context(), j); failed <- err }()
	for range 2 { // it had moved by the first
		clock.AwaitWaiters(1)
		clock.Advance(stallWait)
	}
	if err := next(t, "the end", failed); !errors.Is(err, errStalled) {
		t.Fatal(err)
	}
}

// What nobody waits for is sent once, however slow.
func TestNoHedge(t *testing.T) {
	clock := kit.NewManual(start)
	h := newHub(t, clock)
	var mu sync.Mutex
	tries := map[ledger.Hash]int{}
	h.put = func(w http.ResponseWriter, r *http.Request, in *upload) {
		mu.Lock()
		tries[in.manifest.Hash()]++
		mu.Unlock()
		clock.Advance(10 * hedgeAfter)
		h.receive(w, r, in)
	}
	s := h.save(10)
	h.greeted()
	d := h.client.out
	j, _ := d.pick(&worker{lane: LaneSmall})
	if err := d.hedged(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if sent, _ := h.box.Sent(s.Hash); !sent || tries[s.Hash] != 1 {
		t.Errorf("%t, %d tries", sent, tries[s.Hash])
	}
}

// The share holds items back, not vital signs; what changes it is noticed.
func TestShare(t *testing.T) {
	h := newHub(t, kit.System{})
	var share atomic.Int64
	h.client.opt.Share = func() int { return int(share.Load()) }
	routine, clip := h.save(10), h.save(3*wire.ChunkSize)
	h.run()
	vital := h.urgent(10)
	h.until("the vital sign", func() bool { sent, _ := h.box.Sent(vital.Hash); return sent })
	for _, s := range []outbox.Saved{routine, clip} {
		if sent, _ := h.box.Sent(s.Hash); sent {
			t.Error("sent without a share")
		}
	}
	share.Store(100 << 20)
	h.until("the rest", func() bool { return h.box.Stats().Held == 0 })
}

// A share of so many bytes a second is kept, and what was not used is not saved up.
func TestTurns(t *testing.T) {
	clock := kit.NewManual(start)
	d := &delivery{c: &Client{opt: Options{Clock: clock}}}
	took := func(slot time.Duration) time.Duration {
		for waited := time.Duration(0); ; waited += time.Millisecond {
			if d.turn(slot) <= 0 {
				return waited
			}
			clock.Advance(time.Millisecond)
		}
	}
	total := time.Duration(0)
	for range 10 {
		total += took(20 * time.Millisecond)
	}
	if total != 180*time.Millisecond {
		t.Errorf("ten turns of 20 ms began within %s", total)
	}
	clock.Advance(time.Hour)
	if a, b := took(20*time.Millisecond), took(20*time.Millisecond); a != 0 || b == 0 {
		t.Errorf("after a rest: %s, %s", a, b)
	}
}

// Once a request has ended nothing reads its body any more, and a body that waits for room ends with its context.
func TestBodyEnds(t *testing.T) {
	h := newHub(t, kit.System{})
	h.save(3 * wire.ChunkSize)
	h.client.opt.Share = func() int { return 0 }
	h.greeted()
	d := h.client.out
	j, _ := d.pick(&worker{lane: LaneBulk})
	m, err := j.box.Manifest(j.ref.Hash)
	if err != nil {
		t.Fatal(err)
	}
	header, err := wire.UnmarshalHeader(m.Header)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b := (&transfer{d: d, job: j, manifest: m, header: header}).open(ctx)
	done := make(chan error, 1)
	go func() { _, err := b.Read(make([]byte, 10)); done <- err }()
	cancel()
	if err := next(t, "the end", done); err == nil {
		t.Error("it gave something")
	}
	b.Close()
	if _, err := b.Read(make([]byte, 10)); err != errClosed {
		t.Errorf("%v", err)
	}
}

// A hub that refuses entries gets items all the same, is asked again after a while, and keeps its link.
func TestEntriesRefused(t *testing.T) {
	for _, p := range []*wire.Problem{wire.NewProblem(507, "disk-full", "Full", ""), wire.NewProblem(429, "busy", "Busy", "")} {
		clock := kit.NewManual(start)
		h := newHub(t, clock)
		refuse := p
		h.post = func() *wire.Problem { return refuse }
		h.save(10)
		h.greeted()
		if !h.step(LaneSmall) || h.box.Stats().Held != 0 || len(h.box.Entries()) == 0 {
			t.Fatalf("%s: %+v, %d entries", p.Code, h.box.Stats(), len(h.box.Entries()))
		}
		refuse = nil
		clock.Advance(retryMin - 1)
		if h.step(LaneSmall); len(h.entries) != 1 {
			t.Fatalf("%s: asked %d times at once", p.Code, len(h.entries))
		}
		clock.Advance(1)
		if h.step(LaneSmall); len(h.entries) != 2 || len(h.box.Entries()) != 0 {
			t.Fatalf("%s: asked %d times, %d entries", p.Code, len(h.entries), len(h.box.Entries()))
		}
	}
	h := newHub(t, kit.System{})
	var asked atomic.Int32
	h.post = func() *wire.Problem {
		if asked.Add(1) < 3 {
			return wire.NewProblem(507, "disk-full", "Full", "")
		}
		return nil
	}
	h.run()
	for range 3 {
		next(t, "the entries", h.entries)
	}
	if len(h.dials) != 1 || !h.client.Status().Up {
		t.Errorf("%d dials, %+v", len(h.dials), h.client.Status())
	}
}

// While the entries are on their way an item does not wait for them.
func TestEntriesHang(t *testing.T) {
	h := newHub(t, kit.System{})
	release := make(chan struct{})
	h.post = func() *wire.Problem { <-release; return nil }
	h.run()
	next(t, "the entries", h.entries)
	h.urgent(10)
	h.until("the vital sign", func() bool { return h.box.Stats().Held == 0 })
	if len(h.box.Entries()) == 0 {
		t.Error("the hub has not answered yet")
	}
	close(release)
}

// What can't be read at the moment is looked at again, though nobody says that it can be.
func TestLookAgain(t *testing.T) {
	h := newHub(t, kit.System{})
	s := h.save(10)
	old, _ := filepath.Glob(filepath.Join(h.opt.Dir, "0*"))
	if err := h.box.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if h.box, err = outbox.Open(t.Context(), h.opt); err != nil {
		t.Fatal(err)
	}
	h.until("all is loaded", func() bool { return h.box.Stats().Loading == 0 })
	move := func(from, to string) {
		for _, f := range old {
			if err := os.Rename(f+from, f+to); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	h.greeted()
	d := h.client.out
	if _, err := h.box.Manifest(s.Hash); err != nil { // now it is known where all lies
		t.Fatal(err)
	}
	move("", ".away")
	if j, wait := d.pick(&worker{lane: LaneBulk}); j.box != nil || wait != 0 {
		t.Errorf("the other lane: %s", wait)
	}
	if j, wait := d.pick(&worker{lane: LaneSmall}); j.box != nil || wait != retryMax || h.box.Stats().Held != 1 {
		t.Errorf("wait %s, %+v", wait, h.box.Stats())
	}
	move(".away", "")
	if !h.step(LaneSmall) || h.box.Stats().Held != 0 {
		t.Errorf("%+v", h.box.Stats())
	}
}
