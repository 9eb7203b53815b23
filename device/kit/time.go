package kit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// What a Timekeeper goes by.
const (
	builtUnix = 1767225600                // 2026-01-01T00:00:00Z: no cart ran this program before
	lifetime  = 20 * 365 * 24 * time.Hour // nor does one after, whatever a time server says
	unknown   = 10 * 365 * 24 * time.Hour // less, if nothing vouches for the clock: not as far as 2038
	longOff   = 400 * 24 * time.Hour      // how long a cart may have been switched off since the floor was laid

	slack     = 30 * time.Second   // two good sources may differ by so much
	slew      = 2000               // a clock is wrong by a 2000th at most: 500 ppm, as far as the kernel slews (adjtimex(2))
	agree     = 2 * time.Second    // closer than this to the time that the hub told is trusted
	tick      = time.Second        // what a battery-backed clock counts in
	stands    = 7 * 24 * time.Hour // how long the hub's word makes a clock trusted: a crystal is half a minute off by then
	fresh     = 5 * time.Minute    // how long a reading of the battery-backed clock counts
	vaguest   = time.Minute        // the hub's word is no use if it is less exact
	writeWait = 5 * time.Minute    // between writes of the floor: flash wears out
)

// Built is before any time that a record can bear.
func Built() time.Time { return time.Unix(builtUnix, 0).UTC() }

// What time from the hub can be refused for.
var (
	ErrVague      = errors.New("kit: the time that was told is too uncertain to be of use")
	ErrImpossible = errors.New("kit: the time that was told can't be: the hub's own clock is wrong")
)

// Timekeeper knows what time it can be, from the last time that was authenticated (the floor) and what went by since. Time
// servers and batteries can lie; the hub, over a link that both ends proved themselves on, is taken at its word, back in time
// too: a hub that was in the future for an hour must not hold its carts there. Its methods may be called from any goroutine.
type Timekeeper struct {
	clock  Clock
	uptime func() time.Duration
	boot   string
	synced func() bool
	path   string
	log    *slog.Logger

	saving sync.Mutex // held while writing: stamps don't wait for a disk
	saved  time.Duration
	ever   bool // saved is of this run

	mu    sync.Mutex
	known knowledge
}

// knowledge is what a judgement is made from.
type knowledge struct {
	floor     *floor
	battery   time.Time // as of batteryAt, if it is sound
	sound     bool
	batteryAt time.Duration
}

// floor is the last time that was authenticated, and the monotonic time then.
type floor struct {
	Wall      time.Time     `json:"wall"`
	Uncertain time.Duration `json:"uncertain_ns"`
	Boot      string        `json:"boot"`
	Mono      time.Duration `json:"mono_ns"`
	Sum       uint32        `json:"sum"` // CRC-32 of the rest: a year with one wrong bit is a year too
}

// TimekeeperOptions is what a Timekeeper needs to know.
type TimekeeperOptions struct {
	Path  string // of the floor's file; "": it lasts as long as the program
	Clock Clock  // if it has an Uptime() time.Duration, like System's, that is what went by since boot
	// Synchronised says whether a time server disciplines the wall clock; nil: the kernel is asked.
	Synchronised func() bool
	Log          *slog.Logger
}

// NewTimekeeper reads the floor. A damaged file is put aside, and work goes on without.
func NewTimekeeper(o TimekeeperOptions) *Timekeeper { return newTimekeeper(o, bootID()) }

func newTimekeeper(o TimekeeperOptions, boot string) *Timekeeper {
	k := &Timekeeper{clock: o.Clock, boot: boot, synced: o.Synchronised, path: o.Path, log: o.Log}
	if k.synced == nil {
		k.synced = ClockSynchronised
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if u, ok := o.Clock.(interface{ Uptime() time.Duration }); ok {
		k.uptime = u.Uptime
	} else {
		start := bootTime(o.Clock)
		k.uptime = func() time.Duration { return o.Clock.Now().Sub(start) }
	}
	if k.path != "" {
		k.load()
	}
	return k
}

func (k *Timekeeper) load() {
	f, err := readFloor(k.path)
	switch {
	case err == nil:
		k.known.floor = f
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, errFloor):
		aside := k.path + ".damaged"
		err = errors.Join(err, os.Rename(k.path, aside))
		k.log.Warn("the clock's floor was damaged and put aside", "as", aside, "err", err)
	default:
		k.log.Warn("the clock's floor can't be read", "err", err)
	}
}

// Authenticated takes the time as the hub told it just now over a link that it proved itself on. It alone moves the floor.
func (k *Timekeeper) Authenticated(wall time.Time, uncertainty time.Duration) error {
	if uncertainty < 0 || uncertainty > vaguest {
		return fmt.Errorf("%w: +- %s, at most %s", ErrVague, uncertainty, vaguest)
	}
	if wall.Before(Built()) || wall.After(Built().Add(lifetime)) {
		return fmt.Errorf("%w: %s", ErrImpossible, wall.UTC().Format(time.RFC3339))
	}
	k.saving.Lock()
	defer k.saving.Unlock()
	up := k.uptime()
	next := floor{Wall: wall.UTC().Round(0), Uncertain: uncertainty, Boot: k.boot, Mono: up}
	k.mu.Lock()
	// A vaguer word that fits what is known already confirms it, no more.
	if w := k.known.window(k.boot, up); w.counted && w.wrong <= uncertainty && wall.Sub(w.best).Abs() <= uncertainty {
		next.Wall, next.Uncertain = w.best, w.wrong
	}
	k.known.floor = &next
	k.mu.Unlock()
	if k.path == "" || k.ever && up-k.saved < writeWait {
		return nil
	}
	if err := WriteFile(k.path, next.encode(), 0o600); err != nil {
		return err
	}
	k.saved, k.ever = up, true
	return nil
}

// BatteryClock takes what the battery-backed clock shows at this moment, and whether it is sound: it never stopped since it was
// set.
func (k *Timekeeper) BatteryClock(shows time.Time, sound bool) {
	up := k.uptime()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known.battery, k.known.sound, k.known.batteryAt = shows, sound, up
}

// Trusted says whether the wall clock is to be believed now.
func (k *Timekeeper) Trusted() bool { return k.Now().Trusted }

// Now is this moment. A wall time that can't be is replaced by the likeliest, and is not trusted.
func (k *Timekeeper) Now() Stamp {
	k.mu.Lock()
	known := k.known
	k.mu.Unlock()
	wall, up := k.clock.Now().UTC().Round(0), k.uptime()
	wall, trusted := known.judge(wall, k.boot, up, k.synced)
	return Stamp{Wall: wall, Mono: int64(up), Boot: k.boot, Trusted: trusted}
}

// window is what time it can be.
type window struct {
	low, best, high time.Time
	wrong           time.Duration // how much best can be, if it was counted
	counted         bool          // up from the floor, within this boot
}

// window needs no wall clock: only how long the machine has been up.
func (k knowledge) window(boot string, up time.Duration) window {
	f := k.floor
	if f == nil {
		return window{low: Built(), best: Built().Add(up), high: Built().Add(lifetime)}
	}
	since, off := up, longOff
	counted := f.Boot == boot && boot != "" && up >= f.Mono
	if counted {
		since, off = up-f.Mono, 0
	}
	wrong := f.Uncertain + since/slew
	best := f.Wall.Add(since)
	if least := Built().Add(since); best.Before(least) { // a floor from an older program
		best = least
	}
	return window{best.Add(-wrong - slack), best, best.Add(wrong + slack + off), wrong, counted}
}

func (k knowledge) judge(wall time.Time, boot string, up time.Duration, synced func() bool) (time.Time, bool) {
	w, vouched := k.window(boot, up), synced()
	if k.floor == nil && !vouched {
		w.high = Built().Add(unknown)
	}
	if wall.Before(w.low) || wall.After(w.high) {
		return w.best, false
	}
	told := w.counted && up-k.floor.Mono <= stands && k.floor.Uncertain <= agree && wall.Sub(w.best).Abs() < agree
	since := up - k.batteryAt
	kept := k.floor != nil && k.sound && since >= 0 && since <= fresh && wall.Sub(k.battery.Add(since)).Abs() < agree+tick
	return wall, vouched || told || kept
}

var errFloor = errors.New("kit: the floor's file is damaged")

func readFloor(path string) (*floor, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("kit: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil {
		return nil, fmt.Errorf("kit: %w", err)
	}
	return parseFloor(b)
}

func parseFloor(b []byte) (*floor, error) {
	var f floor
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", errFloor, err)
	}
	switch {
	case f.Sum != f.sum():
		return nil, fmt.Errorf("%w: the sum is wrong", errFloor)
	case f.Wall.After(Built().Add(lifetime)), f.Uncertain < 0, f.Uncertain > vaguest, f.Mono < 0:
		return nil, fmt.Errorf("%w: %+v can't be", errFloor, f)
	}
	f.Wall = f.Wall.UTC()
	return &f, nil
}

func (f floor) sum() uint32 {
	return crc32.ChecksumIEEE(fmt.Appendf(nil, "%s %d %q %d", f.Wall.UTC().Format(time.RFC3339Nano), f.Uncertain, f.Boot, f.Mono))
}

func (f floor) encode() []byte {
	f.Sum = f.sum()
	var b bytes.Buffer
	_ = json.NewEncoder(&b).Encode(f) // of times and numbers: it can't fail
	return b.Bytes()
}
