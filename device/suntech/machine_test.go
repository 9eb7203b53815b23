package suntech

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/device"
)

// bench is a machine whose every word is written down.
type bench struct {
	*machine
	t     *testing.T
	now   time.Time
	story []string
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	b.machine = newMachine(b.now, func(p []byte) {
		b.story = append(b.story, map[byte]string{0x20: "START", 0x79: map[byte]string{1: "ABORT", 3: "result?", 5: "pressure?"}[p[min(2, len(p)-1)]]}[p[1]])
	}, func(h device.Health, values ...value) {
		words := []string{strings.TrimSpace(fmt.Sprint(h.State, " ", h.Reason))}
		for _, v := range values {
			words = append(words, strings.TrimSuffix(fmt.Sprintf("%s=%d/%s", v.quantity, v.n, v.why), "/"))
		}
		b.story = append(b.story, strings.Join(words, " "))
	})
	return b
}

// after lets time pass in steps that the shell would make, with this pressure in the cuff.
func (b *bench) after(d time.Duration, mmHg int) (err error) {
	for end := b.now.Add(d); b.now.Before(end) && err == nil; {
		b.now = b.now.Add(50 * time.Millisecond)
		if mmHg >= 0 {
			b.packet(b.now, []byte{byte(mmHg), byte(mmHg >> 8)})
		}
		err = b.tick(b.now)
	}
	return err
}

func (b *bench) said(what string) bool { return slices.Contains(b.story, what) }

// tells takes the story so far, without its repetitions.
func (b *bench) tells(want ...string) {
	b.t.Helper()
	var got []string
	for _, s := range b.story {
		if !slices.Contains(got, s) {
			got = append(got, s)
		}
	}
	b.story = nil
	if !slices.Equal(got, want) {
		b.t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// ready brings it to rest.
func (b *bench) ready() *bench {
	if err := b.after(time.Second, 0); err != nil || b.phase != idle {
		b.t.Fatal(err, b.phase)
	}
	b.story = nil
	return b
}

const nothing = "systolic-pressure=0/%[1]s diastolic-pressure=0/%[1]s mean-pressure=0/%[1]s pulse-rate=0/%[1]s"

func TestMeasurement(t *testing.T) {
	b := newBench(t)
	b.tells("ABORT", "pressure?")
	if err := b.start(b.now, "adult"); !errors.Is(err, device.ErrBusy) {
		t.Error("before it is known that the cuff is empty:", err)
	}
	b.after(100*time.Millisecond, 3)
	b.tells("settling settling cuff-pressure=0/not-measured", "live")
	if err := b.start(b.now, "adult"); err != nil {
		t.Fatal(err)
	}
	b.tells("START", "live measuring "+fmt.Sprintf(nothing, NotMeasured))
	b.packet(b.now, []byte{'O'})
	b.after(150*time.Millisecond, 120)
	b.tells("live measuring cuff-pressure=120", "pressure?")
	if err := b.start(b.now, "adult"); !errors.Is(err, device.ErrBusy) {
		t.Error(err)
	}
	b.packet(b.now, []byte{'K'})
	b.tells("result?")
	b.packet(b.now, resultVector[2:23])
	b.tells("live systolic-pressure=115 diastolic-pressure=74 mean-pressure=88 pulse-rate=85 cuff-pressure=0/not-measured")
	err := b.start(b.now.Add(29*time.Second), "adult")
	if !errors.Is(err, device.ErrTooSoon) || !strings.Contains(err.Error(), "1s") {
		t.Error(err)
	}
	if err := b.start(b.now.Add(30*time.Second), "adult"); err != nil {
		t.Error(err)
	}
}

func TestSizes(t *testing.T) {
	b := newBench(t).ready()
	for _, mode := range []string{"newborn", "child", "", "Adult", "elephant"} {
		if err := b.start(b.now, mode); !errors.Is(err, device.ErrMode) {
			t.Errorf("%q: %v", mode, err)
		}
	}
	b.tells() // not a byte was sent
}

// Every way in which a measurement is stopped: the abort is sent at once, again and again until the pressure is gone, and
// no number comes of it.
func TestStops(t *testing.T) {
	for _, c := range []struct {
		why  device.Reason
		do   func(b *bench)
		says string
	}{
		{NotMeasured, func(b *bench) { b.stop(b.now, NotMeasured) }, "live"},
		{OverPressure, func(b *bench) { b.packet(b.now, []byte{0x2D, 0x01}) }, "live over-pressure"}, // 301 mmHg
		{TooLong, func(b *bench) { b.after(181*time.Second, 100) }, "live too-long"},
		{NoResult, func(b *bench) { b.packet(b.now, []byte{'A'}) }, "live no-result"},
	} {
		b := newBench(t).ready()
		if err := b.start(b.now, "adult"); err != nil {
			t.Fatal(err)
		}
		b.after(time.Second, 100)
		if b.said("ABORT") {
			t.Fatalf("%s: stopped too early", c.why)
		}
		c.do(b)
		if !b.said("ABORT") || b.phase != emptying {
			t.Fatalf("%s: not stopped", c.why)
		}
		b.story = nil
		b.after(time.Second, 60)
		if n := len(b.story); !b.said("ABORT") || n < 4 {
			t.Errorf("%s: the abort is not repeated while there is pressure: %v", c.why, b.story)
		}
		b.after(1500*time.Millisecond, 10)
		b.after(100*time.Millisecond, 30) // it rises again: the stop was not heard
		if b.after(1900*time.Millisecond, 10); b.phase != emptying {
			t.Errorf("%s: believed too soon", c.why)
		}
		b.story = nil
		b.after(200*time.Millisecond, 10)
		b.tells("live measuring cuff-pressure=10", c.says+" "+fmt.Sprintf(nothing, c.why)+" cuff-pressure=0/not-measured")
		if err := b.start(b.now, "adult"); !errors.Is(err, device.ErrTooSoon) {
			t.Errorf("%s: no pause after it: %v", c.why, err)
		}
	}
}

func TestStillFull(t *testing.T) {
	b := newBench(t).ready()
	_ = b.start(b.now, "adult")
	b.after(time.Second, 150)
	b.stop(b.now, NotMeasured)
	b.story = nil
	if err := b.after(16*time.Second, 150); err != nil || !b.said("ABORT") {
		t.Error(err, b.story)
	}
	b.story = nil
	b.after(time.Second, 150)
	b.tells("faulty still-full cuff-pressure=150", "ABORT", "pressure?") // and nothing else in between
}

// A stop that comes before there is pressure, and is not heard, must not leave the arm to itself.
func TestInflatesUnasked(t *testing.T) {
	b := newBench(t).ready()
	_ = b.start(b.now, "adult")
	b.after(200*time.Millisecond, 5)
	b.stop(b.now, NotMeasured)
	if b.after(3*time.Second, 5); b.phase != idle {
		t.Fatal(b.phase)
	}
	b.story = nil
	b.after(6*time.Second, 120)
	if b.phase != emptying || !b.said("ABORT") {
		t.Error(b.phase, b.story)
	}
	if err := b.start(b.now, "adult"); !errors.Is(err, device.ErrBusy) {
		t.Error(err)
	}
}

func TestSilence(t *testing.T) {
	b := newBench(t).ready()
	if err := b.after(14*time.Second, -1); err != nil {
		t.Error("at rest it is asked every five seconds:", err)
	}
	if err := b.after(2*time.Second, -1); !errors.Is(err, ErrSilent) {
		t.Error(err)
	}
	b = newBench(t) // it hangs from the beginning: as if it had hung while it measured
	var first device.Fault
	if err := b.after(16*time.Second, -1); !errors.As(err, &first) || first.Health.Reason != CuffSilent || b.said("settling settling") {
		t.Error(err, b.story)
	}
	b = newBench(t).ready()
	_ = b.start(b.now, "adult")
	b.after(time.Second, 100)
	b.story = nil
	err := b.after(2100*time.Millisecond, -1)
	var f device.Fault
	if !errors.As(err, &f) || f.Health.Reason != CuffSilent || !errors.Is(err, ErrSilent) || !b.said("ABORT") {
		t.Error(err, b.story)
	}
}

func TestFullWhenWeCome(t *testing.T) {
	b := newBench(t)
	b.packet(b.now, []byte{140, 0})
	b.after(time.Second, 140) // the agent was killed while it measured
	if b.phase != asking || !b.said("ABORT") {
		t.Fatal(b.story)
	}
	b.after(time.Second, 0)
	if err := b.start(b.now, "adult"); !errors.Is(err, device.ErrTooSoon) {
		t.Error(err)
	}
}

func TestBadResults(t *testing.T) {
	failed, upside, fast := resultVector[2:23], resultVector[2:23], resultVector[2:23]
	failed, upside, fast = slices.Clone(failed), slices.Clone(upside), slices.Clone(fast)
	failed[18] = 2
	upside[0], upside[2] = 74, 115
	fast[14] = 5
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"error code":         {failed, "live no-result " + fmt.Sprintf(nothing, NoResult) + " cuff-pressure=0/not-measured"},
		"systole < diastole": {upside, "live no-result " + fmt.Sprintf(nothing, NoResult) + " cuff-pressure=0/not-measured"},
		"pulse 5":            {fast, "live systolic-pressure=115 diastolic-pressure=74 mean-pressure=88 pulse-rate=0/no-result cuff-pressure=0/not-measured"},
	} {
		b := newBench(t).ready()
		_ = b.start(b.now, "adult")
		b.packet(b.now, resultVector[2:23]) // before it is asked for: not ours
		b.packet(b.now, []byte{'O'})
		b.packet(b.now, []byte{'K'})
		b.story = nil
		b.packet(b.now, c.data)
		t.Run(name, func(t *testing.T) { b.t = t; b.tells(c.says) })
	}
}

// FuzzMachine: whatever the module says, nothing inflates unasked, and no number is shown that is no result.
func FuzzMachine(f *testing.F) {
	f.Add([]byte("\x01O\x02\x78\x00\x01K\x15s\x00J\x00\x1e\x01\x00\x00\x00\x00\x00\x001\x07U\x00X\x00\x00\x00\x00"))
	f.Add([]byte("\x01A\x02\x00\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		b := newBench(t)
		starts := 0
		for len(script) > 0 {
			n := min(int(script[0]%32), len(script)-1)
			switch {
			case script[0] == 0xFF:
				if b.start(b.now, "adult") == nil {
					starts++
				}
			case script[0] == 0xFE:
				b.stop(b.now, NotMeasured)
			default:
				b.packet(b.now, script[1:1+n])
			}
			script = script[1+n:]
			b.now = b.now.Add(40 * time.Millisecond)
			if b.tick(b.now) != nil {
				break
			}
		}
		sent := 0
		for _, s := range b.story {
			if s == "START" {
				sent++
			}
		}
		if sent != starts {
			t.Fatalf("%d starts were sent, %d wanted", sent, starts)
		}
	})
}
