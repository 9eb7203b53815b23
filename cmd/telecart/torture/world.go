package torture

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox"
)

const grace = 72 * time.Hour

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// world is one run.
type world struct {
	seed    uint64
	rng     *rand.Rand
	dir     string
	keys    *keys
	vfs     *vfs
	blank   []byte // the hub's database, to begin with
	check   outbox.Checker
	verbose bool
	story   io.Writer
	telling sync.Mutex

	truth   *kit.Manual // the time as it is, and as the hub has it
	clock   *kit.Manual // as the cart has it
	trusted bool        // somebody vouches for the cart's clock: then it is right

	books   int   // 1: care; 2: practice too
	segment int64 // sizes
	logSize int64
	lying   bool // the cart's disk is damaged: that may cost what was damaged, and it must be named (harm)

	hub    *hub
	cart   *cart
	oracle *oracle
	kills  int
	found  []Finding
	result Report
}

// Finding is one thing that must not be.
type Finding struct {
	Seed uint64 `json:"seed"`
	What string `json:"what"` // a code: lost, duplicated, unverifiable, ...
	Text string `json:"text"`
}

func (f Finding) String() string { return fmt.Sprintf("seed %d: %s: %s", f.Seed, f.What, f.Text) }

func newWorld(seed uint64, dir string, p *player, story io.Writer) *world {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x7e1eca27)), dir: dir, keys: p.keys, blank: p.blank, vfs: p.vfs, check: p.check.Check,
		verbose: story != nil, story: story, truth: kit.NewManual(start), clock: kit.NewManual(start), trusted: true, books: 1, segment: 2 << 20}
	if w.rng.IntN(5) == 0 {
		w.books = 2
	}
	w.logSize = []int64{64 << 10, 128 << 10, 512 << 10}[w.rng.IntN(3)]
	w.lying = w.rng.IntN(8) == 0
	w.oracle = newOracle(w)
	w.hub = newHub(w)
	w.cart = newCart(w, "cart")
	return w
}

// stream is another source of choices that depends on the seed alone.
func (w *world) stream() *rand.Rand { return rand.New(rand.NewPCG(w.rng.Uint64(), w.rng.Uint64())) }

// long is a hash or an id: of no interest.
var long = regexp.MustCompile(`[0-9a-f]{32,}`)

func (w *world) say(format string, args ...any) {
	if w.verbose {
		w.telling.Lock()
		defer w.telling.Unlock()
		fmt.Fprintln(w.story, long.ReplaceAllString(strings.ReplaceAll(fmt.Sprintf(format, args...), w.dir, ""), "#"))
	}
}

// log is what one of the programs would log.
func (w *world) log(who string) *slog.Logger {
	if !w.verbose {
		return slog.New(slog.DiscardHandler)
	}
	h := slog.NewTextHandler(sayer{w}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return slog.New(h).With("at", who)
}

// sayer is a log that becomes part of the story.
type sayer struct{ w *world }

func (s sayer) Write(b []byte) (int, error) {
	s.w.say("  %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

func (w *world) fail(what, text string) {
	if len(w.found) < 20 {
		w.found = append(w.found, Finding{w.seed, what, strings.ReplaceAll(text, w.dir, "")})
	}
	w.say("FOUND %s: %s", what, text)
}

func (w *world) duplicated(text string) {
	w.result.Duplicated++
	w.fail("duplicated", text)
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.truth.Advance(d)
	w.clock.Advance(d)
}

// setClock has the cart's clock show another time; right is to set it, and to vouch for it.
func (w *world) setClock(to time.Time, trusted bool) {
	w.clock.Advance(to.Sub(w.clock.Now()))
	w.trusted = trusted
}

// bookOf is the book that a request names.
func (w *world) bookOf(url string) ledger.Book {
	b := w.cart.book(0)
	b.Practice = strings.HasSuffix(url, "practice=1")
	return b
}

// open makes folders and starts both ends.
func (w *world) open() error {
	if err := os.MkdirAll(w.hub.dir, 0o700); err != nil {
		return fmt.Errorf("torture: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.hub.dir, database), w.blank, 0o600); err != nil {
		return fmt.Errorf("torture: %w", err)
	}
	w.hub.begin()
	w.cart.begin()
	return nil
}

func (w *world) close() {
	w.cart.close()
	w.cart.disk.revive()
	if w.hub.store != nil {
		w.hub.store.Close()
	}
	os.RemoveAll(w.dir)
}

// run plays one seed.
func (w *world) run() (Report, []Finding) {
	give := borrowRandom(w.seed)
	defer give()
	defer w.close()
	if err := w.open(); err != nil {
		w.fail("harness", err.Error())
	} else {
		w.play()
		w.finish()
	}
	r := w.result
	r.Runs, r.Kills, r.Items, r.Quarantined = 1, w.kills, w.oracle.saves, len(w.cart.quarantine)
	if len(w.found) > 0 {
		r.FailedSeeds = []uint64{w.seed}
	}
	return r, w.found
}

func tempRoot(dir string) string {
	if dir != "" {
		return dir
	}
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return filepath.Clean(os.TempDir())
}
