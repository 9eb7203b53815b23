package suntech

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/kit"
)

var all = []string{systolic, diastolic, mean, pulse, cuffPressure}

func settings(port string) device.Settings {
	return device.Settings{Name: "cuff", Driver: "suntech", Port: port, Clock: kit.System{}, Stamp: kit.NewStamper(kit.System{}, nil)}
}

func TestConformance(t *testing.T) {
	trigger := func(i device.Instrument) func(context.Context) error {
		return func(ctx context.Context) error { return i.(device.Triggerable).Start(ctx, "adult") }
	}
	conformance.Run(t, conformance.Case{Name: "twin", Quantities: all, Start: func(out device.Outlet) (conformance.Rig, error) {
		i, err := Driver().New(settings("twin"), out)
		i.(*cuff).arm.Faster = 50
		return conformance.Rig{Instrument: i, Trigger: trigger(i)}, err
	}})
	conformance.Run(t, conformance.Case{Name: "line", Quantities: all, Start: func(out device.Outlet) (conformance.Rig, error) {
		twin, err := NewTwin(kit.System{}, Arm{Faster: 50})
		if err != nil {
			return conformance.Rig{}, err
		}
		i, err := Driver().New(settings(twin.Port()), out)
		return conformance.Rig{Instrument: i, Trigger: trigger(i), Unplug: func() { twin.Unplug() }, Close: func() { twin.Unplug() }}, err
	}})
}

// outlet keeps the last word on everything.
type outlet struct {
	mu     sync.Mutex
	health device.Health
	values map[string]device.Reading
	news   chan struct{}
}

func (o *outlet) Observe(x device.Observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch x := x.(type) {
	case device.Health:
		o.health = x
	case device.Reading:
		o.values[x.Quantity] = x
	}
	select {
	case o.news <- struct{}{}:
	default:
	}
}

func (o *outlet) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		o.mu.Lock()
		done := ok()
		o.mu.Unlock()
		if done {
			return
		}
		select {
		case <-o.news:
		case <-limit:
			t.Fatalf("no %s: %+v %+v", what, o.health, o.values)
		}
	}
}

// rig is a driver on a module behind a real serial line.
func rig(t *testing.T, arm Arm) (*Twin, *cuff, *outlet, func() error) {
	t.Helper()
	twin, err := NewTwin(kit.System{}, arm)
	if err != nil {
		t.Fatal(err)
	}
	out := &outlet{values: map[string]device.Reading{}, news: make(chan struct{}, 1)}
	i, err := Driver().New(settings(twin.Port()), out)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { stop(); twin.Unplug() })
	out.until(t, "rest", func() bool { return out.health == device.Health{State: device.Live} })
	return twin, i.(*cuff), out, stop
}

func TestPressureOnTheWay(t *testing.T) {
	twin, c, out, _ := rig(t, Arm{Systolic: 98, Diastolic: 61, Mean: 74, Rate: 131, Faster: 20})
	if err := c.Start(t.Context(), "newborn"); !errors.Is(err, device.ErrMode) || twin.Pressure() != 0 {
		t.Error(err)
	}
	if err := c.Start(t.Context(), "adult"); err != nil {
		t.Fatal(err)
	}
	out.until(t, "pressure", func() bool { return out.values[cuffPressure].Value.Coef > 50 && out.health.Reason == Measuring })
	out.until(t, "result", func() bool { return out.values[systolic].Absent == "" && out.values[systolic].Value.Coef == 98 })
	for q, want := range map[string]string{systolic: "98", diastolic: "61", mean: "74", pulse: "131"} {
		if r := out.values[q]; r.Value.String() != want || r.Method != oscillometric || !r.Once() {
			t.Errorf("%s %+v", q, r)
		}
	}
	if err := c.Start(t.Context(), "adult"); !errors.Is(err, device.ErrTooSoon) || twin.Starts != 1 {
		t.Error(err)
	}
}

// However the program ends, the arm is let go.
func TestStopLetsGo(t *testing.T) {
	for name, end := range map[string]func(c *cuff, stop func() error) error{
		"abort": func(c *cuff, _ func() error) error { return c.Abort(t.Context()) },
		"end":   func(_ *cuff, stop func() error) error { _ = stop(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			twin, c, out, stop := rig(t, Arm{Faster: 5})
			if err := c.Start(t.Context(), "adult"); err != nil {
				t.Fatal(err)
			}
			out.until(t, "pressure", func() bool { return out.values[cuffPressure].Value.Coef > 50 })
			if err := end(c, stop); err != nil {
				t.Fatal(err)
			}
			for limit := time.Now().Add(10 * time.Second); twin.Pressure() > 0; {
				if time.Now().After(limit) {
					t.Fatalf("%g mmHg are left", twin.Pressure())
				}
			}
		})
	}
}

func TestGarbledLine(t *testing.T) {
	twin, c, out, _ := rig(t, Arm{Faster: 50})
	twin.Set(Garbled)
	if err := c.Start(t.Context(), "adult"); err != nil {
		t.Fatal(err)
	}
	out.until(t, "result", func() bool { return out.values[systolic].Value.Coef == 115 })
}

func TestStuckValve(t *testing.T) {
	twin, c, out, _ := rig(t, Arm{Faster: 20})
	twin.Set(Stubborn)
	if err := c.Start(t.Context(), "adult"); err != nil {
		t.Fatal(err)
	}
	out.until(t, "limit", func() bool { return out.values[cuffPressure].Value.Coef > 300 }) // seen, and stopped: it stays up
	if out.values[systolic].Absent == "" {
		t.Error("a number")
	}
}

func TestSettings(t *testing.T) {
	for want, s := range map[string]device.Settings{
		"no-such":  {Port: "twin", Options: map[string]string{"no-such": "1"}},
		"address":  {Port: "twin", Address: 3},
		"ttyUSB0 ": {Port: "ttyUSB0 "},
	} {
		if _, err := Driver().New(s, &outlet{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}
