package kit

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	june  = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	epoch = time.Unix(0, 0).UTC()
	y2038 = time.Unix(1<<31-1, 0).UTC()
)

// cart is a machine: the manual clock is the truth, which it sees through a crystal, and as well as its wall clock was set.
type cart struct {
	truth  *Manual
	booted time.Time
	boots  int
	ppm    int64
	set    time.Time     // what the wall clock was set to
	at     time.Duration // uptime then
	synced bool
	path   string
	keeper *Timekeeper
}

func newCart(t *testing.T) *cart {
	c := &cart{truth: NewManual(june), path: filepath.Join(t.TempDir(), "floor")}
	c.reboot(june)
	return c
}

func (c *cart) Now() time.Time                         { return c.set.Add(c.Uptime() - c.at) }
func (c *cart) After(d time.Duration) <-chan time.Time { return c.truth.After(d) }
func (c *cart) Uptime() time.Duration {
	up := c.truth.Now().Sub(c.booted)
	return up + up/1_000_000*time.Duration(c.ppm)
}

func (c *cart) setWall(wall time.Time) { c.set, c.at = wall, c.Uptime() }
func (c *cart) boot() string           { return fmt.Sprintf("boot-%d", c.boots) }

func (c *cart) reboot(wall time.Time) {
	c.booted, c.synced = c.truth.Now(), false
	c.boots++
	c.setWall(wall)
	c.restart()
}

// restart is the agent's, not the machine's.
func (c *cart) restart() {
	c.keeper = newTimekeeper(TimekeeperOptions{Path: c.path, Clock: c, Synchronised: func() bool { return c.synced }}, c.boot())
}

func (c *cart) told(t *testing.T) {
	t.Helper()
	if err := c.keeper.Authenticated(c.truth.Now(), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
}

// off is how wrong the stamps are.
func (c *cart) off() time.Duration { return c.keeper.Now().Wall.Sub(c.truth.Now()).Abs() }

func TestTrust(t *testing.T) {
	const day = 24 * time.Hour
	for name, x := range map[string]struct {
		do      func(*cart)
		wall    time.Time // of the stamp
		trusted bool
	}{
		"a new cart":                   {func(c *cart) {}, june, false},
		"a new cart, synchronised":     {func(c *cart) { c.synced = true }, june, true},
		"a new cart in 1970":           {func(c *cart) { c.setWall(epoch) }, Built(), false},
		"a new cart in 1970, synced":   {func(c *cart) { c.setWall(epoch); c.synced = true }, Built(), false},
		"a new cart in 2038":           {func(c *cart) { c.setWall(y2038) }, Built(), false},
		"a new cart in 2050, synced":   {func(c *cart) { c.setWall(june.AddDate(24, 0, 0)); c.synced = true }, Built(), false},
		"a new cart with a battery":    {func(c *cart) { c.keeper.BatteryClock(june, true) }, june, false},
		"told":                         {func(c *cart) { c.told(t) }, june, true},
		"told too vaguely":             {func(c *cart) { c.keeper.Authenticated(june, 5*time.Second) }, june, false},
		"told, then vaguely":           {func(c *cart) { c.told(t); c.keeper.Authenticated(june.Add(3*time.Second), 5*time.Second) }, june, true},
		"told a week ago":              {func(c *cart) { c.told(t); c.truth.Advance(7 * day) }, june.Add(7 * day), true},
		"told longer ago":              {func(c *cart) { c.told(t); c.truth.Advance(7*day + 1) }, june.Add(7*day + 1), false},
		"told, the agent restarted":    {func(c *cart) { c.told(t); c.restart() }, june, true},
		"told, 1.9 s off":              {func(c *cart) { c.told(t); c.setWall(june.Add(1900 * time.Millisecond)) }, june.Add(1900 * time.Millisecond), true},
		"told, 2 s off":                {func(c *cart) { c.told(t); c.setWall(june.Add(-2 * time.Second)) }, june.Add(-2 * time.Second), false},
		"told, 20 s off, synced":       {func(c *cart) { c.told(t); c.setWall(june.Add(20 * time.Second)); c.synced = true }, june.Add(20 * time.Second), true},
		"told, an hour ahead, synced":  {func(c *cart) { c.told(t); c.setWall(june.Add(time.Hour)); c.synced = true }, june, false},
		"told, an hour behind, synced": {func(c *cart) { c.told(t); c.setWall(june.Add(-time.Hour)); c.synced = true }, june, false},
		"told, then 1970":              {func(c *cart) { c.told(t); c.truth.Advance(day); c.setWall(epoch); c.synced = true }, june.Add(day), false},
		"told, then 2038":              {func(c *cart) { c.told(t); c.truth.Advance(day); c.setWall(y2038); c.synced = true }, june.Add(day), false},
		"told, then 2038 and back":     {func(c *cart) { c.told(t); c.setWall(y2038); c.setWall(june) }, june, true},
		"told a month ago, then synced": {func(c *cart) {
			c.told(t)
			c.ppm = 50
			c.truth.Advance(30 * day)
			c.synced = true
			c.setWall(c.truth.Now())
		}, june.Add(30 * day), true},
		"rebooted into 1970":             {func(c *cart) { c.told(t); c.truth.Advance(day); c.reboot(epoch); c.truth.Advance(time.Hour) }, june.Add(time.Hour), false},
		"rebooted into 2038, synced":     {func(c *cart) { c.told(t); c.reboot(y2038); c.synced = true }, june, false},
		"rebooted, right":                {func(c *cart) { c.told(t); c.truth.Advance(day); c.reboot(june.Add(day)) }, june.Add(day), false},
		"rebooted, right, synced":        {func(c *cart) { c.told(t); c.truth.Advance(day); c.reboot(june.Add(day)); c.synced = true }, june.Add(day), true},
		"399 days off, synced":           {func(c *cart) { c.told(t); c.truth.Advance(399 * day); c.reboot(c.truth.Now()); c.synced = true }, june.Add(399 * day), true},
		"402 days off, synced":           {func(c *cart) { c.told(t); c.truth.Advance(402 * day); c.reboot(c.truth.Now()); c.synced = true }, june, false},
		"rebooted, its battery was good": {func(c *cart) { c.told(t); c.reboot(june); c.keeper.BatteryClock(june.Add(-time.Second), true) }, june, true},
		"rebooted, its battery was not":  {func(c *cart) { c.told(t); c.reboot(june); c.keeper.BatteryClock(june, false) }, june, false},
		"the battery says otherwise":     {func(c *cart) { c.told(t); c.reboot(june); c.keeper.BatteryClock(june.Add(4*time.Second), true) }, june, false},
		"the battery was asked long ago": {func(c *cart) {
			c.told(t)
			c.reboot(june)
			c.keeper.BatteryClock(june, true)
			c.truth.Advance(6 * time.Minute)
		}, june.Add(6 * time.Minute), false},
		"the hub was in the future": {func(c *cart) {
			c.keeper.Authenticated(june.AddDate(5, 0, 0), 0)
			c.truth.Advance(time.Hour)
			c.told(t)
		}, june.Add(time.Hour), true},
	} {
		c := newCart(t)
		x.do(c)
		if s := c.keeper.Now(); !s.Wall.Equal(x.wall) || s.Trusted != x.trusted || c.keeper.Trusted() != x.trusted {
			t.Errorf("%s: %s, trusted %v; want %s, %v", name, s.Wall, s.Trusted, x.wall, x.trusted)
		}
	}
}

func TestRefusesToBeTold(t *testing.T) {
	c := newCart(t)
	for _, x := range []struct {
		wall      time.Time
		uncertain time.Duration
		want      error
	}{
		{epoch, 0, ErrImpossible},
		{june.AddDate(25, 0, 0), 0, ErrImpossible},
		{june, 2 * time.Minute, ErrVague},
		{june, -1, ErrVague},
	} {
		if err := c.keeper.Authenticated(x.wall, x.uncertain); !errors.Is(err, x.want) {
			t.Errorf("%s +- %s: %v", x.wall, x.uncertain, err)
		}
	}
	if _, err := os.Stat(c.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it laid a floor: %v", err)
	}
	c.path = filepath.Join(t.TempDir(), "no", "such", "folder")
	c.restart()
	if err := c.keeper.Authenticated(june, 0); err == nil {
		t.Error("a floor that could not be written")
	}
	if !c.keeper.Trusted() {
		t.Error("a disk that fails is no reason to forget the time")
	}
}

func TestFloorIsWrittenSeldom(t *testing.T) {
	c := newCart(t)
	var last []byte
	writes := 0
	for range 120 { // an hour
		c.told(t)
		if b, err := os.ReadFile(c.path); err != nil {
			t.Fatal(err)
		} else if !bytes.Equal(b, last) {
			writes, last = writes+1, b
		}
		c.truth.Advance(30 * time.Second)
	}
	if writes != 12 {
		t.Errorf("%d writes in an hour", writes)
	}
}

func TestDamagedFloor(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":        func([]byte) []byte { return nil },
		"cut":          func(b []byte) []byte { return b[:len(b)/2] },
		"zeros":        func(b []byte) []byte { return make([]byte, len(b)) },
		"another year": func(b []byte) []byte { return bytes.Replace(b, []byte("2026"), []byte("2036"), 1) },
		"huge":         func(b []byte) []byte { return append(bytes.Repeat([]byte(" "), 1<<20), b...) },
		"far future":   func([]byte) []byte { return floor{Wall: june.AddDate(30, 0, 0)}.encode() },
		"not vague":    func([]byte) []byte { return floor{Wall: june, Uncertain: -1}.encode() },
	} {
		c := newCart(t)
		c.told(t)
		b, err := os.ReadFile(c.path)
		if err != nil {
			t.Fatal(err)
		}
		b = damage(b)
		os.WriteFile(c.path, b, 0o600)
		c.reboot(epoch)
		if s := c.keeper.Now(); !s.Wall.Equal(Built()) || s.Trusted {
			t.Errorf("%s: %s, trusted %v", name, s.Wall, s.Trusted)
		}
		if kept, err := os.ReadFile(c.path + ".damaged"); err != nil || !bytes.Equal(kept, b) {
			t.Errorf("%s: put aside: %v", name, err)
		}
		c.told(t) // work goes on
		c.restart()
		if c.off() > time.Second {
			t.Errorf("%s: after a new floor %s off", name, c.off())
		}
	}
}

// An older program's floor is no reason to go back before this one was built.
func TestFloorFromBefore(t *testing.T) {
	c := newCart(t)
	os.WriteFile(c.path, floor{Wall: Built().AddDate(-1, 0, 0), Boot: "old"}.encode(), 0o600)
	c.reboot(epoch)
	c.truth.Advance(time.Minute)
	if s := c.keeper.Now(); !s.Wall.Equal(Built().Add(time.Minute)) || s.Trusted {
		t.Errorf("%s, trusted %v", s.Wall, s.Trusted)
	}
}

func TestStamperFor(t *testing.T) {
	c := newCart(t)
	c.told(t)
	c.setWall(y2038)
	c.truth.Advance(time.Minute)
	want := Stamp{Wall: june.Add(time.Minute), Mono: int64(time.Minute), Boot: "boot-1"}
	if got := NewStamperFor(c.keeper).Now(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// On the machine's own clock both sorts of stamper agree.
	k := NewTimekeeper(TimekeeperOptions{Clock: System{}})
	a, b := NewStamper(System{}, nil).Now(), NewStamperFor(k).Now()
	if a.Boot == "" || a.Boot != b.Boot {
		t.Errorf("boots %q and %q", a.Boot, b.Boot)
	}
	if gap := time.Duration(b.Mono - a.Mono); gap < -time.Millisecond || gap > time.Minute { // a suspend would be between them
		t.Errorf("%s apart", gap)
	}
	if k := NewTimekeeper(TimekeeperOptions{Clock: NewManual(june)}); k.Now().Mono != 0 {
		t.Error("a manual clock's boot is when it was first looked at")
	}
}

func TestManyAtOnce(t *testing.T) {
	c := newCart(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				c.told(t)
				c.keeper.BatteryClock(june, true)
				if s := c.keeper.Now(); !s.Trusted || !s.Wall.Equal(june) {
					t.Errorf("%+v", s)
				}
			}
		})
	}
	wg.Wait()
}

// Whatever happens to a cart, in any order.
func TestAnyLife(t *testing.T) {
	trusts := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		c := newCart(t)
		c.ppm = int64(r.IntN(101) - 50)
		w := &life{cart: c, t: t, rand: r, wrote: -writeWait}
		for range 150 {
			name := w.step()
			w.check(name)
			if t.Failed() {
				t.Fatalf("seed %d: %q", seed, w.story)
			}
		}
		trusts += w.trusts
	}
	if trusts < 1000 {
		t.Errorf("trusted only %d times: the rest says little", trusts)
	}
}

type life struct {
	*cart
	t      *testing.T
	rand   *rand.Rand
	story  []string
	lies   bool // the time server does
	last   Stamp
	disk   []byte
	wrote  time.Duration
	told   time.Time     // by the hub in this boot, in truth
	vague  time.Duration // the vaguest of its words: an agent that restarts has the one on disk
	floors bool          // a floor is known
	trusts int
}

func (w *life) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rand.Int64N(int64(b-a)))
}

func (w *life) step() string {
	steps := []struct {
		name string
		do   func()
	}{
		{"time goes by", func() { w.truth.Advance(w.between(0, time.Hour)) }},
		{"time goes by", func() { w.truth.Advance(w.between(0, time.Minute)) }},
		{"suspend", func() { w.truth.Advance(w.between(time.Hour, 72*time.Hour)) }},
		{"1970", func() { w.unsync(); w.setWall(epoch) }},
		{"2038", func() { w.unsync(); w.setWall(y2038) }},
		{"somewhere", func() { w.unsync(); w.setWall(w.truth.Now().Add(w.between(-1e6*time.Hour/100, 1e6*time.Hour/100))) }},
		{"a little off", func() { w.unsync(); w.setWall(w.truth.Now().Add(w.between(-5*time.Second, 5*time.Second))) }},
		{"set right", func() { w.unsync(); w.setWall(w.truth.Now()) }},
		{"synchronised", func() { w.lies, w.synced = false, true }},
		{"not any more", w.unsync},
		{"a time server lies", func() {
			if w.floors {
				w.setWall([]time.Time{epoch, y2038}[w.rand.IntN(2)])
				w.lies, w.synced = true, true
			}
		}},
		{"reboot, battery", func() { w.off(); w.reboot(w.truth.Now()) }},
		{"reboot, 1970", func() { w.off(); w.reboot(epoch) }},
		{"reboot, frozen", func() { was := w.Now(); w.off(); w.reboot(was) }},
		{"reboot, 2038", func() { w.off(); w.reboot(y2038) }},
		{"told", func() { w.tell(w.between(0, time.Second)) }},
		{"told", func() { w.tell(w.between(0, 100*time.Millisecond)) }},
		{"told vaguely", func() { w.tell(w.between(0, vaguest)) }},
		{"restart", w.restart},
		{"battery is good", func() { w.keeper.BatteryClock(w.truth.Now().Truncate(time.Second), true) }},
		{"battery is dead", func() { w.keeper.BatteryClock(epoch, false) }},
		{"the floor is damaged", func() {
			if w.rand.IntN(10) == 0 && w.floors {
				os.WriteFile(w.path, []byte("?"), 0o600)
				w.unsync()
				w.restart()
				w.floors, w.disk, w.told, w.wrote = false, nil, time.Time{}, -writeWait
			}
		}},
	}
	s := steps[w.rand.IntN(len(steps))]
	before := w.boots
	s.do()
	w.story = append(w.story, s.name)
	if w.boots != before || s.name == "restart" {
		w.wrote = -writeWait
	}
	if w.boots != before {
		w.told, w.vague, w.lies = time.Time{}, 0, false
	}
	if w.synced && !w.lies {
		w.setWall(w.truth.Now())
	}
	return s.name
}

func (w *life) unsync() { w.lies, w.synced = false, false }
func (w *life) off()    { w.truth.Advance(w.between(time.Second, 10*24*time.Hour)) }

func (w *life) tell(uncertain time.Duration) {
	wrong := time.Duration(w.rand.Int64N(2*int64(uncertain)+1)) - uncertain
	if err := w.keeper.Authenticated(w.truth.Now().Add(wrong), uncertain); err != nil {
		w.t.Error(err)
	}
	w.told, w.vague, w.floors = w.truth.Now(), max(w.vague, uncertain), true
}

func (w *life) check(step string) {
	s, truth := w.keeper.Now(), w.truth.Now()
	off := s.Wall.Sub(truth).Abs()
	if s.Wall.Before(Built()) || s.Wall.Year() >= 2038 {
		w.t.Errorf("%s: a record would be of %s", step, s.Wall)
	}
	if s.Mono != int64(w.Uptime()) || s.Boot != w.boot() || s.Boot == w.last.Boot && s.Mono < w.last.Mono {
		w.t.Errorf("%s: %+v after %+v", step, s, w.last)
	}
	w.last = s
	// A week of a crystal 50 ppm off, and what each word of the hub's may be off.
	if s.Trusted && off > 40*time.Second {
		w.t.Errorf("%s: trusted, and %s off", step, off)
	}
	if s.Trusted {
		w.trusts++
	}
	if since := truth.Sub(w.told); !w.told.IsZero() && off > 2*w.vague+slack+since/900 {
		w.t.Errorf("%s: %s off, though told in this boot", step, off)
	}
	if !w.told.IsZero() && w.synced && !w.lies && !s.Trusted {
		w.t.Errorf("%s: synchronised, told, and not trusted", step)
	}
	w.disked(step)
}

// disked looks after the file: only the hub's word changes it, and seldom.
func (w *life) disked(step string) {
	b, err := os.ReadFile(w.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	if bytes.Equal(b, w.disk) {
		return
	}
	up := w.Uptime()
	if !slices.Contains([]string{"told", "told vaguely"}, step) || up-w.wrote < writeWait {
		w.t.Errorf("%s: the floor was rewritten, %s after the last time", step, up-w.wrote)
	}
	w.disk, w.wrote = b, up
}

// Whatever stands in the file, a floor that is taken can be; and one wrong bit is never another time.
func FuzzFloor(f *testing.F) {
	good := floor{Wall: june.Add(123456789), Uncertain: 80 * time.Millisecond, Boot: "9b1d3c58-6f0a-4d43-9b05-3d6a0d1f2a77", Mono: 5 * time.Hour}
	f.Add(good.encode(), 0)
	f.Add([]byte(`{"wall":"9999-12-31T23:59:59Z","sum":1}`), 7)
	f.Add([]byte("null"), 40)
	f.Fuzz(func(t *testing.T, b []byte, bit int) {
		if got, err := parseFloor(b); err == nil {
			if got.Wall.After(Built().Add(lifetime)) || got.Uncertain < 0 || got.Mono < 0 || got.Sum != got.sum() {
				t.Fatalf("taken: %+v", got)
			}
			again, err := parseFloor(got.encode())
			if err != nil || *again != *got {
				t.Fatalf("%+v came back as %+v, %v", got, again, err)
			}
		}
		flipped := good.encode()
		bit = int(uint(bit) % uint(8*len(flipped)))
		flipped[bit/8] ^= 1 << (bit % 8)
		if got, err := parseFloor(flipped); err == nil && (!got.Wall.Equal(good.Wall) || got.Uncertain != good.Uncertain || got.Boot != good.Boot || got.Mono != good.Mono) {
			t.Fatalf("bit %d makes %+v of %+v", bit, got, good)
		}
	})
}
