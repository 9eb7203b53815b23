package rtc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/kit"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// story is an outlet that writes down what it hears.
type story struct {
	lines []string
	heard func(string) // if set
}

func (s *story) Observe(o device.Observation) {
	defer func() {
		if s.heard != nil {
			s.heard(s.lines[len(s.lines)-1])
		}
	}()
	switch o := o.(type) {
	case device.Health:
		s.lines = append(s.lines, strings.TrimSpace(fmt.Sprintf("%s %s", o.State, o.Reason)))
	case device.About:
		s.lines = append(s.lines, "model "+o.Model)
	default:
		s.lines = append(s.lines, fmt.Sprintf("%T", o))
	}
}

func settings(port string, clock kit.Clock) device.Settings {
	return device.Settings{Name: "clock", Driver: "rtc", Port: port, Clock: clock, Stamp: kit.NewStamper(clock, nil)}
}

// on makes the driver of a node, and gives it a twin in the kernel's place.
func on(t *testing.T, twin *Twin, by kit.Clock, out device.Outlet) device.Instrument {
	t.Helper()
	inst, err := Driver().New(settings("/dev/rtc0", by), out)
	if err != nil {
		t.Fatal(err)
	}
	inst.(*clock).runOn(twin)
	return inst
}

func TestHealth(t *testing.T) {
	const good, bad = "live", "faulty clock-not-set"
	polls := map[string]int{"glitches": 7}
	for name, c := range map[string]struct {
		do   map[int]func(*Twin) // before the poll of that number
		want []string
	}{
		"good":          {nil, []string{good, good, good, good}},
		"forgets":       {map[int]func(*Twin){2: (*Twin).Forget}, []string{good, good, bad, bad}},
		"was in 2000":   {map[int]func(*Twin){0: (*Twin).ForgetSilently}, []string{bad, bad, bad, bad}},
		"in 2099":       {map[int]func(*Twin){0: func(w *Twin) { w.Set(start.AddDate(73, 0, 0)) }}, []string{bad, bad, bad, bad}},
		"stops":         {map[int]func(*Twin){2: (*Twin).Stop}, []string{good, good, "faulty rtc-stopped", "faulty rtc-stopped"}},
		"never went":    {map[int]func(*Twin){-1: (*Twin).Stop}, []string{"faulty rtc-stopped", "faulty rtc-stopped", "faulty rtc-stopped", "faulty rtc-stopped"}},
		"is set":        {map[int]func(*Twin){-1: (*Twin).Forget, 1: func(w *Twin) { w.Set(start) }}, []string{bad, good, good, good}},
		"is set back":   {map[int]func(*Twin){1: func(w *Twin) { w.Set(start.Add(-time.Hour)) }}, []string{good, good, good, good}},
		"battery low":   {map[int]func(*Twin){1: func(w *Twin) { w.Battery(Low) }}, []string{good, "live rtc-battery-low", "live rtc-battery-low", "live rtc-battery-low"}},
		"battery empty": {map[int]func(*Twin){2: func(w *Twin) { w.Battery(Empty) }, 3: func(w *Twin) { w.Battery(Full) }}, []string{good, good, "faulty rtc-battery-low", good}},
		"glitches": {map[int]func(*Twin){1: func(w *Twin) { w.Fail(unix.EIO, unix.EREMOTEIO) }, 4: func(w *Twin) { w.Fail(unix.EIO, unix.EIO) }},
			[]string{good, good, good}},
		"flag alone": {map[int]func(*Twin){2: func(w *Twin) { w.flags = dataInvalid }}, []string{good, good, bad, bad}},
		"no flags":   {map[int]func(*Twin){1: func(w *Twin) { w.mute = true; w.Battery(Low) }}, []string{good, good, good, good}},
	} {
		by, out := kit.NewManual(start), &story{}
		twin := NewTwin(by)
		if before := c.do[-1]; before != nil {
			before(twin)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		inst := on(t, twin, by, out)
		go func() { ended <- inst.Run(ctx) }()
		for poll := range max(4, polls[name]) {
			by.AwaitWaiters(1)
			if do := c.do[poll]; do != nil {
				do(twin)
			}
			if poll == 0 {
				by.Advance(first)
			} else {
				by.Advance(30 * time.Second)
			}
		}
		by.AwaitWaiters(1)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: ended with %v", name, err)
		}
		if diff := cmp.Diff(append([]string{"model rtc-twin", "settling settling"}, c.want...), out.lines); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestFaults(t *testing.T) {
	busy := func(w *Twin) { w.held = true }
	for name, c := range map[string]struct {
		first, later func(*Twin)
		want         device.Health
		is           error
		words        string
		polls        int // until it ends
	}{
		"absent":        {first: (*Twin).Unplug, want: device.Health{State: device.Absent, Reason: NoClock}, is: ErrAbsent, words: "/dev/rtc0"},
		"goes":          {later: (*Twin).Unplug, want: device.Health{State: device.Absent, Reason: NoClock}, is: ErrAbsent, polls: 2},
		"held":          {later: busy, want: device.Health{State: device.Faulty, Reason: Held}, is: ErrBusy, polls: 4},
		"not permitted": {first: func(w *Twin) { w.Fail(unix.EACCES) }, want: device.Health{State: device.Faulty, Reason: "no-permission"}, is: os.ErrPermission},
		"no clock":      {first: func(w *Twin) { w.Fail(unix.ENOTTY) }, is: ErrNotRTC},
		"bus fails":     {later: func(w *Twin) { w.Fail(unix.EIO, unix.EIO, unix.EIO) }, is: unix.EIO, polls: 4},
	} {
		by, out := kit.NewManual(start), &story{}
		twin := NewTwin(by)
		if c.first != nil {
			c.first(twin)
		}
		polls := 0
		inst := on(t, twin, by, out)
		ended := make(chan error, 1)
		go func() {
			ended <- inst.Run(t.Context())
			by.After(1 << 62) // it waits for nothing any more
		}()
		var err error
		for err == nil && polls < 10 {
			by.AwaitWaiters(1)
			select {
			case err = <-ended:
				continue
			default:
			}
			if polls++; polls == 2 && c.later != nil {
				c.later(twin)
			}
			by.Advance(30 * time.Second)
		}
		if polls != c.polls {
			t.Errorf("%s: ended after %d polls, want %d", name, polls, c.polls)
		}
		var f device.Fault
		errors.As(err, &f)
		if f.Health != c.want || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, %v; want %v, %v", name, f.Health, err, c.want, c.is)
		}
	}
}

// The kernel's node itself: here there is none.
func TestKernelNode(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "rtc0")); !errors.Is(err, ErrAbsent) {
		t.Errorf("no node: %v", err)
	}
	if _, err := Read("/dev/null"); !errors.Is(err, ErrNotRTC) {
		t.Errorf("/dev/null: %v", err)
	}
	if got := kernelName("/dev/null"); got != "" {
		t.Errorf("it is called %q", got)
	}
	if unix.RTC_RD_TIME != 0x80247009 || unix.RTC_VL_READ != 0x80047013 {
		t.Error("this is another machine's ioctl numbering")
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   unix.RTCTime
		want string
	}{
		{unix.RTCTime{Year: 126, Mon: 10, Mday: 22, Hour: 2, Min: 22, Sec: 42, Wday: 7, Yday: 9, Isdst: 1}, "2026-11-22T02:22:42Z"},
		{unix.RTCTime{Year: 128, Mon: 1, Mday: 29}, "2028-02-29T00:00:00Z"},
		{unix.RTCTime{Year: 100, Mday: 1}, "2000-01-01T00:00:00Z"},
		{unix.RTCTime{Year: 126, Mon: 1, Mday: 29}, ""},
		{unix.RTCTime{Year: 126, Mon: 12, Mday: 1}, ""},
		{unix.RTCTime{Year: 126}, ""},
		{unix.RTCTime{Year: 126, Mday: 1, Hour: 24}, ""},
		{unix.RTCTime{Year: 126, Mday: 1, Sec: 85}, ""}, // 0xFF in BCD, a bus that nobody drives
		{unix.RTCTime{Year: 126, Mday: 1, Min: -1}, ""},
	} {
		got, err := parse(c.in)
		if (err != nil) != (c.want == "") || err == nil && got.Format(time.RFC3339) != c.want {
			t.Errorf("%+v: %s, %v; want %s", c.in, got, err, c.want)
		}
	}
}

// Whatever the registers hold: what is taken is a time of the calendar, and only that one.
func FuzzParse(f *testing.F) {
	f.Add(int32(126), int32(10), int32(22), int32(2), int32(22), int32(42))
	f.Add(int32(165), int32(165), int32(165), int32(165), int32(165), int32(165))
	f.Add(int32(1<<31-1), int32(-1<<31), int32(0), int32(0), int32(0), int32(0))
	f.Fuzz(func(t *testing.T, year, mon, day, hour, minute, sec int32) {
		in := unix.RTCTime{Year: year, Mon: mon, Mday: day, Hour: hour, Min: minute, Sec: sec}
		at, err := parse(in)
		if err != nil {
			return
		}
		if render(at) != in || mon < 0 || mon > 11 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || sec < 0 || sec > 59 {
			t.Fatalf("%+v is %s", in, at)
		}
		if s := (State{Shows: at}); s.Set() && (at.Year() < 2026 || at.Year() > 2046) {
			t.Fatalf("%s counts as set", at)
		}
	})
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		s    device.Settings
		want string
	}{
		{device.Settings{Port: "/dev/rtc0"}, ""},
		{device.Settings{Port: "/dev/rtc"}, ""},
		{device.Settings{Port: "twin", Clock: kit.NewManual(start)}, ""},
		{device.Settings{Port: "/dev/i2c-1"}, "like /dev/rtc0"},
		{device.Settings{Port: "/dev/../etc/rtc0"}, "like /dev/rtc0"},
		{device.Settings{}, "like /dev/rtc0"},
		{device.Settings{Port: "/dev/rtc0", Address: 0x68}, "0x68"},
		{device.Settings{Port: "/dev/rtc0", Mux: "0x71.3"}, "0x71.3"},
		{device.Settings{Port: "/dev/rtc0", Options: map[string]string{"battery": "1"}}, `"battery"`},
	} {
		_, err := Driver().New(c.s, &story{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.s, err, c.want)
		}
	}
}

func TestConformance(t *testing.T) {
	for name, port := range map[string]string{"driver": "/dev/rtc0", "twin": "twin"} {
		conformance.Run(t, conformance.Case{Name: name, Start: func(out device.Outlet) (conformance.Rig, error) {
			by := kit.NewManual(start)
			inst, err := Driver().New(settings(port, by), out)
			rig := conformance.Rig{Instrument: inst, Clock: by, Step: first}
			if err == nil && port != "twin" {
				twin := NewTwin(by)
				inst.(*clock).runOn(twin)
				rig.Unplug = twin.Unplug
			}
			return rig, err
		}})
	}
}
