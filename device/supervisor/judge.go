package supervisor

import (
	"cmp"
	"slices"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

// Far above any instrument (an oximeter sends 9 events a second), far below what hurts.
const (
	maxRate    = 200 // events a second
	maxBurst   = 400
	maxSamples = 4096 // in one event
	maxText    = 4096 // bytes of one scan
)

// held is the latest reading of a quantity.
type held struct {
	device.Reading
	gen       *generation
	got       time.Time
	withdrawn bool
}

// age goes by when it was observed if that is known, and by when it came if not.
func (h *held) age(now time.Time, stamp kit.Stamp) time.Duration {
	age := now.Sub(h.got)
	if h.At.Boot == stamp.Boot {
		age = max(age, time.Duration(stamp.Mono-h.At.Mono))
	}
	return age
}

// Observe implements device.Outlet.
func (g *generation) Observe(o device.Observation) {
	switch o := o.(type) {
	case device.Reading:
		g.reading(o)
	case device.Samples:
		g.samples(o)
	case device.Health:
		g.healthy(o)
	case device.About:
		g.about(o)
	case device.Input:
		g.input(o)
	}
}

func (g *generation) reading(r device.Reading) {
	u := g.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if !g.admit(r.Quantity, r.Unit, 1) {
		return
	}
	u.id = u.identity(r.Instrument)
	r.Instrument = u.id
	if r.At == (kit.Stamp{}) {
		r.At = u.s.stamp.Now()
	}
	if r.Absent != "" {
		r.Value = device.Decimal{} // meaningless, so let nobody see it
	}
	h := &held{Reading: r, gen: g, got: u.s.clock.Now()}
	u.latest[r.Quantity] = h
	if h.age(h.got, u.s.stamp.Now()) > r.StaleAfter() {
		u.withdraw(h)
		return
	}
	u.silent = false
	u.s.hub.publish(Event{Reading: &r})
	u.show()
}

func (g *generation) samples(x device.Samples) {
	u := g.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if !g.admit(x.Quantity, x.Unit, len(x.Values)) {
		return
	}
	u.id = u.identity(x.Instrument)
	x.Instrument, x.Values = u.id, slices.Clone(x.Values)
	if x.At == (kit.Stamp{}) {
		x.At = u.s.stamp.Now()
	}
	u.s.hub.publish(Event{Samples: &x})
}

func (g *generation) healthy(h device.Health) {
	u := g.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.gen != g || h == u.said {
		return // saying the same again is no news, and no flood
	}
	if g.afford() {
		u.said = h
		u.show()
	}
}

func (g *generation) about(a device.About) {
	u := g.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.gen == g && g.afford() {
		u.id = u.identity(device.Identity{Model: a.Model, Serial: a.Serial, Grade: a.Grade})
	}
}

func (g *generation) input(i device.Input) {
	u := g.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.gen != g || !g.afford() || len(i.Text) > maxText {
		return
	}
	u.id = u.identity(i.Instrument)
	i.Instrument = u.id
	if i.At == (kit.Stamp{}) {
		i.At = u.s.stamp.Now()
	}
	u.s.hub.publish(Event{Input: &i})
}

// admit says whether the generation may speak, and of this.
func (g *generation) admit(quantity, unit string, values int) bool {
	if g.u.gen != g || !g.afford() {
		return false
	}
	if values > maxSamples {
		g.failLocked(ErrFlood)
		return false
	}
	return unit != "" && values > 0 && slices.Contains(g.u.driver.Quantities, quantity)
}

func (g *generation) afford() bool {
	if g.limit.AllowN(g.u.s.clock.Now(), 1) {
		return true
	}
	g.failLocked(ErrFlood)
	return false
}

// identity keeps of what the driver says only what the settings can't know.
func (u *unit) identity(said device.Identity) device.Identity {
	return device.Identity{Name: u.settings.Name, Kind: u.driver.Kind, Driver: u.driver.Name, Port: u.settings.Port,
		Twin: u.settings.Twin(), Grade: worst(u.driver.Grade, said.Grade, u.id.Grade), Model: cmp.Or(said.Model, u.id.Model), Serial: cmp.Or(said.Serial, u.id.Serial)}
}

// worst: a driver's line says the best that its instruments can be; one of them may be less.
func worst(grades ...device.Grade) (w device.Grade) {
	for _, g := range grades {
		if w != device.Uncalibrated && g != "" {
			w = g
		}
	}
	return w
}

// watch finds out whether the instrument has fallen silent.
func (u *unit) watch() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.expire()
}

// expire withdraws what is too old. An instrument all of whose streams have stopped isn't live, whatever it says.
func (u *unit) expire() {
	now, stamp := u.s.clock.Now(), u.s.stamp.Now()
	streams, current := 0, 0
	for _, q := range u.driver.Quantities {
		h := u.latest[q]
		if h == nil {
			continue
		}
		if h.age(now, stamp) > h.StaleAfter() {
			u.withdraw(h)
		}
		if h.Period > 0 && h.gen == u.gen { // one that was just restarted isn't silent yet
			streams++
			if !h.withdrawn {
				current++
			}
		}
	}
	u.silent = streams > 0 && current == 0
	u.show()
}

// withdraw takes a number back.
func (u *unit) withdraw(h *held) {
	if h.withdrawn {
		return
	}
	h.withdrawn = true
	h.Value, h.Quality = device.Decimal{}, ""
	if h.Absent == "" {
		h.Absent = device.NoData
	}
	r := h.Reading
	u.s.hub.publish(Event{Reading: &r})
}

func (u *unit) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for q, h := range u.latest {
		if h.Once() {
			u.withdraw(h)
			delete(u.latest, q)
		}
	}
}

// show makes the health public. Readings don't outlive it.
func (u *unit) show() {
	h := u.said
	if u.silent && h.State == device.Live {
		h = device.Health{State: device.Absent, Reason: device.NoData}
	}
	if h == u.health || h == (device.Health{}) {
		return
	}
	u.health, u.since = h, u.s.clock.Now()
	if h.State == device.Live {
		u.logged = ""
	}
	if h.State == device.Absent || h.State == device.Faulty {
		for _, q := range u.driver.Quantities {
			if held := u.latest[q]; held != nil && !held.Once() {
				u.withdraw(held)
			}
		}
	}
	u.s.hub.publish(Event{Health: &HealthChange{Name: u.settings.Name, Kind: u.driver.Kind, Health: h}})
}

func (u *unit) status() Status {
	modes, counters := u.modes(), u.counters()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.expire() // between two watches a number may have become too old
	st := Status{Name: u.settings.Name, Kind: u.driver.Kind, Identity: u.id, Health: u.health, Since: u.since.UTC().Round(0),
		Readings: []ReadingState{}, Restarts: u.restarts, LastError: u.lastErr, Modes: modes, Counters: counters}
	for _, q := range u.driver.Quantities {
		if h := u.latest[q]; h != nil {
			st.Readings = append(st.Readings, ReadingState{Reading: h.Reading, Stale: h.withdrawn})
		}
	}
	return st
}
