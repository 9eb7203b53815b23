package ladder

import (
	"slices"
	"testing"
	"time"

	"telecart/uplink/link/emulator"
)

const seeds = 3

func mbit(kb int, rtt time.Duration) emulator.Path {
	return emulator.Path{Rate: kb * 1000 / 8, Delay: rtt / 2}
}

// when says when a decision was made first after some time.
func (w *world) when(after time.Time, c ...Code) (time.Duration, bool) {
	for _, d := range w.l.Log() {
		if at := w.begin.Add(d.At); !at.Before(after) && slices.Contains(c, d.Code) {
			return at.Sub(after), true
		}
	}
	return 0, false
}

// The issue's own figures: 2 Mb/s, then 300 kb/s, then 2 Mb/s.
func TestRateStep(t *testing.T) {
	for seed := range uint64(seeds) {
		w := newWorld(t, mbit(2000, 20*time.Millisecond), seed)
		w.run(20*time.Second, nil)
		if p := w.l.Plan(); p.Step != Full || p.Bitrate < 1_400_000 {
			t.Fatalf("seed %d: %+v at 2 Mb/s", seed, p)
		}
		w.longest = 0
		w.set(mbit(300, 20*time.Millisecond))
		at := w.now
		var fits time.Duration
		w.run(30*time.Second, func() {
			if fits == 0 && w.l.Estimate() <= 300_000 {
				fits = w.now.Sub(at)
			}
		})
		if fits == 0 || fits > time.Second || w.longest > 300*time.Millisecond {
			t.Errorf("seed %d: fits after %s, a queue of %s", seed, fits, w.longest)
		}
		if d, ok := w.when(at, ToStills); !ok || d > 1500*time.Millisecond {
			t.Errorf("seed %d: stills after %s, %t", seed, d, ok)
		}
		if s := w.l.Plan().Step; s != Stills {
			t.Errorf("seed %d: %s at 300 kb/s", seed, s)
		}
		w.set(mbit(2000, 20*time.Millisecond))
		at = w.now
		var up time.Duration
		w.run(15*time.Second, func() {
			if up == 0 && w.l.Plan().Bitrate >= 1_500_000 {
				up = w.now.Sub(at)
			}
		})
		if up == 0 || up > 10*time.Second {
			t.Errorf("seed %d: back after %s; %+v", seed, up, w.l.Log())
		}
	}
}

// What says nothing of the rate must not lower it: losses, jitter, little movement in the picture.
func TestHoldsOn(t *testing.T) {
	const rate, rtt = 250_000, 60 * time.Millisecond
	for name, p := range map[string]emulator.Path{
		"2 % loss": {Rate: rate, Delay: rtt / 2, Loss: 0.02},
		"5 % loss": {Rate: rate, Delay: rtt / 2, Loss: 0.05},
		"jitter":   {Rate: rate, Delay: rtt / 2, Jitter: 20 * time.Millisecond},
		"reorder":  {Rate: rate, Delay: rtt / 2, Reorder: 0.02},
	} {
		for seed := range uint64(seeds) {
			w := newWorld(t, p, seed)
			w.run(20*time.Second, nil)
			before := w.frames - w.skipped
			served := w.served
			w.run(20*time.Second, nil)
			if got := (w.served - served) * 8 / 20; w.l.Plan().Step != Full || got < 1_200_000 || w.frames-w.skipped-before < 500 {
				t.Errorf("%s, seed %d: %d b/s, %d frames in 20 s, %+v", name, seed, got, w.frames-w.skipped-before, w.l.Log())
			}
		}
	}
	w := newWorld(t, mbit(2000, rtt), 1)
	w.run(10*time.Second, nil)
	before := w.l.Estimate()
	w.lazy = true
	w.run(30*time.Second, nil)
	if w.l.Estimate() < before*9/10 {
		t.Errorf("%d, then %d while little moved", before, w.l.Estimate())
	}
}

// 100 kb/s over a satellite: stills, without a queue, and the backlog gets what there is.
func TestNarrow(t *testing.T) {
	p := emulator.Path{Rate: 12_500, Delay: 300 * time.Millisecond, Loss: 0.02}
	for seed := range uint64(seeds) {
		w := newWorld(t, p, seed)
		w.run(10*time.Second, nil)
		w.longest = 0
		w.backlog = 1 << 20
		w.want(1)
		w.run(50*time.Second, nil)
		if e := w.l.Estimate(); w.l.Plan().Step != Stills || e < 60_000 || e > 140_000 {
			t.Errorf("seed %d: %d b/s, %+v", seed, e, w.l.Log())
		}
		if got := w.moved * 8 / 50; got < 40_000 {
			t.Errorf("seed %d: the backlog got %d b/s", seed, got)
		}
		if w.longest > time.Second {
			t.Errorf("seed %d: a queue of %s", seed, w.longest)
		}
	}
}

// Around the limit pictures don't come and go all the time.
func TestNoFlapping(t *testing.T) {
	for kb := 380; kb <= 560; kb += 30 {
		w := newWorld(t, mbit(kb, 60*time.Millisecond), uint64(kb))
		changes, stopped := 0, false
		w.run(2*time.Minute, func() {
			if now := w.l.Plan().Step == Stills; now != stopped {
				changes, stopped = changes+1, now
			}
		})
		if changes > 12 {
			t.Errorf("%d kb/s: %d changes in two minutes", kb, changes)
		}
	}
}

func TestOutage(t *testing.T) {
	w := newWorld(t, mbit(2000, 40*time.Millisecond), 1)
	w.run(10*time.Second, nil)
	down := mbit(2000, 40*time.Millisecond)
	down.Down = true
	at := w.now
	w.set(down)
	w.run(8*time.Second, nil)
	if d, ok := w.when(at, Silent); !ok || d > 1500*time.Millisecond {
		t.Errorf("silent after %s, %t", d, ok)
	}
	if w.l.Plan().Step != Stills {
		t.Errorf("%+v", w.l.Plan())
	}
	w.set(mbit(2000, 40*time.Millisecond))
	at = w.now
	w.run(10*time.Second, nil)
	if d, ok := w.when(at, ToPictures); !ok || d > 8*time.Second || w.l.Plan().Step != Full {
		t.Errorf("back after %s, %t: %+v", d, ok, w.l.Log())
	}
}

// A longer way is no queue, or the picture would be lost for half a minute.
func TestRoute(t *testing.T) {
	for seed := range uint64(seeds) {
		w := newWorld(t, mbit(2000, 40*time.Millisecond), seed)
		w.run(10*time.Second, nil)
		w.set(mbit(2000, 140*time.Millisecond))
		w.run(10*time.Second, nil)
		if p := w.l.Plan(); p.Step == Stills || p.Bitrate < 900_000 {
			t.Errorf("seed %d: %+v", seed, w.l.Log())
		}
	}
}

func TestShares(t *testing.T) {
	now := time.Unix(0, 0)
	for _, c := range []struct {
		rate float64
		d    Demand
		want Shares
	}{
		{2_000_000, Demand{}, Shares{Steering: steering}},
		{2_000_000, Demand{Backlog: true}, Shares{Steering: steering, Backlog: 1_988_000}},
		{100_000, Demand{Voice: 20_000, Stethoscope: 40_000, Still: 300_000, Pictures: 1, Picture: 2_000_000, Backlog: true},
			Shares{Steering: steering, Voice: 20_000, Stethoscope: 40_000, Still: 28_000, Backlog: trickle}},
		{1_000_000, Demand{Voice: 20_000, Still: 200_000, Pictures: 1, Picture: 2_000_000, Backlog: true},
			Shares{Steering: steering, Voice: 20_000, Still: 200_000, Video: 768_000, Backlog: trickle}},
		{3_000_000, Demand{Voice: 40_000, Pictures: 2, Picture: 1_000_000, Backlog: true},
			Shares{Steering: steering, Voice: 40_000, Video: 2_000_000, Backlog: 948_000}},
		{700_000, Demand{Pictures: 2, Picture: 2_000_000}, Shares{Steering: steering}}, // 344 kb/s each: none
		{least, Demand{Voice: 40_000}, Shares{Steering: steering, Voice: 18_000}},
		{300_000, Demand{Pictures: 1, Picture: 200_000}, Shares{Steering: steering, Video: 200_000}}, // it wants no more
	} {
		l := New(now, Options{})
		l.est.rate = c.rate
		l.Want(now, c.d)
		if s := l.Shares(); s != c.want {
			t.Errorf("%.0f, %+v: %+v", c.rate, c.d, s)
		}
	}
}

// Steps down at once, up when there is room to spare, and more slowly for who falls again.
func TestSteps(t *testing.T) {
	l := New(time.Unix(0, 0), Options{})
	d := Demand{Pictures: 1, Picture: 2_000_000}
	l.Want(l.start, d)
	now := time.Duration(0)
	until := func(rate float64, level int, limit time.Duration) time.Duration {
		t.Helper()
		l.est.rate = rate
		for from := now; ; now += 50 * time.Millisecond {
			l.Want(l.start.Add(now), d)
			if l.steps.level == level {
				return now - from
			}
			if now-from > limit {
				t.Fatalf("level %d after %s at %.0f", l.steps.level, limit, rate)
			}
		}
	}
	now = 20 * time.Second
	until(2e6, 4, 2*time.Second)
	if d := until(3e5, 0, time.Second); d < downAfter || d > downAfter+100*time.Millisecond {
		t.Errorf("stills after %s", d)
	}
	wait := holdMin
	for range 3 {
		if d := until(7e5, 2, time.Minute); d < wait || d > wait+100*time.Millisecond {
			t.Errorf("pictures after %s, want %s", d, wait)
		}
		until(3e5, 0, time.Second)
		wait *= 2
	}
	l.est.rate = 4.5e5 // not enough to spare
	for range 1000 {
		now += 50 * time.Millisecond
		l.Want(l.start.Add(now), d)
	}
	if l.steps.level != 0 {
		t.Error("came back at 450 kb/s")
	}
}

// Without media the items' goodput is what is known; a picture that starts then starts there.
func TestItems(t *testing.T) {
	now := time.Unix(0, 0)
	l := New(now, Options{})
	l.Want(now, Demand{Backlog: true})
	for i := range 100 {
		l.Items(now.Add(time.Duration(i)*250*time.Millisecond), int64(i)*100_000)
	}
	if e := l.Estimate(); e < 3_000_000 || e > 3_400_000 {
		t.Errorf("%d", e)
	}
	for i := range 100 {
		l.Items(now.Add(time.Duration(100+i)*250*time.Millisecond), int64(1e7)+int64(i)*5_000)
	}
	if e := l.Estimate(); e > 600_000 {
		t.Errorf("%d while 160 kb/s came through", e)
	}
}

// Whatever a hostile or broken far end reports, the machine's figures stay within bounds.
func FuzzReport(f *testing.F) {
	f.Add(uint16(0), []byte{1, 2, 0, 4, 200, 255}, uint8(3))
	f.Add(uint16(65530), []byte{0, 0, 0, 0, 0, 0, 0, 0, 9}, uint8(200))
	f.Fuzz(func(t *testing.T, first uint16, b []byte, n uint8) {
		now := time.Unix(0, 0)
		l := New(now, Options{})
		tr := l.Join(now)
		l.Want(now, Demand{Pictures: 1, Picture: 2_000_000, Backlog: true})
		for i := range int(n) {
			l.Sent(tr, now.Add(time.Duration(i)*5*time.Millisecond), 1200, Packet(i%2))
		}
		for i := 0; i+8 < len(b); i += 8 {
			r := Report{First: first + uint16(b[i])}
			for _, x := range b[i+1 : i+8] {
				r.Arrivals = append(r.Arrivals, Arrival{Lost: x%5 == 0, At: time.Duration(int8(x)) * time.Duration(b[i]) * time.Hour})
			}
			at := now.Add(time.Duration(i) * 20 * time.Millisecond)
			l.Report(tr, at, r)
			l.Tick(at)
			if e := l.Estimate(); e < least || e > most {
				t.Fatalf("estimate %d", e)
			}
			if d := l.Wait(at, 1200); d < 0 || d > time.Minute {
				t.Fatalf("wait %s", d)
			}
			if tr.flying < 0 || len(l.est.past) > kept {
				t.Fatalf("%d flying, %d remembered", tr.flying, len(l.est.past))
			}
		}
	})
}
