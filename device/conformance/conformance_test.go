package conformance

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

// fake is a good instrument with one flaw to choose.
type fake struct {
	flaw  string
	clock *kit.Manual
	stamp *kit.Stamper
	out   device.Outlet
	gone  chan struct{}
}

func (f *fake) Run(ctx context.Context) error {
	if f.flaw != "never settles" {
		f.out.Observe(device.Health{State: device.Settling})
	}
	for range 5 {
		select {
		case <-ctx.Done():
			return f.end(ctx)
		case <-f.clock.After(time.Second):
		}
	}
	f.out.Observe(device.Health{State: device.Live})
	for {
		if f.flaw != "silent" {
			f.out.Observe(f.reading())
		}
		select {
		case <-ctx.Done():
			return f.end(ctx)
		case <-f.gone:
			if f.flaw == "unplug is no error" {
				return nil
			}
			return errors.New("fake: unplugged")
		case <-f.clock.After(time.Second):
		}
	}
}

func (f *fake) end(ctx context.Context) error {
	switch f.flaw {
	case "leak":
		done := f.clock.After(time.Hour)
		go func() { <-done }()
	case "late":
		due := f.clock.After(30 * time.Second)
		go func() {
			<-due
			f.out.Observe(f.reading())
		}()
	case "bad end":
		return errors.New("fake: oops")
	}
	return ctx.Err()
}

func (f *fake) reading() device.Reading {
	r := device.Reading{Quantity: "q", Unit: "1", Value: device.Decimal{Coef: 1}, At: f.stamp.Now(),
		Instrument: device.Identity{Name: "n", Kind: "k", Driver: "d", Port: "p"}}
	switch f.flaw {
	case "unit":
		r.Unit = ""
	case "time":
		r.At = kit.Stamp{}
	case "identity":
		r.Instrument.Port = ""
	case "site":
		r.Site = "axilla"
	case "absent number":
		r.Absent = device.NotYet
	case "quantity":
		r.Quantity = "r"
	}
	return r
}

func theCase(flaw string) Case {
	return Case{Name: "fake", Quantities: []string{"q"}, Start: func(out device.Outlet) (Rig, error) {
		clock := kit.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		f := &fake{flaw: flaw, clock: clock, stamp: kit.NewStamper(clock, nil), out: out, gone: make(chan struct{})}
		return Rig{Instrument: f, Clock: clock, Step: time.Second, Unplug: func() { close(f.gone) },
			Close: func() { clock.Advance(time.Minute) }}, nil
	}}
}

func TestGoodInstrumentPasses(t *testing.T) { Run(t, theCase("")) }

// A suite that passes everything proves nothing: each flaw must be found, and named.
func TestFlawsAreFound(t *testing.T) {
	for flaw, want := range map[string]string{
		"never settles":      "settling must come before live",
		"unplug is no error": "must say what happened",
		"bad end":            "oops",
		"leak":               "unexpected goroutines",
		"late":               "1 observations after Run returned",
		"unit":               "without a unit",
		"time":               "no time",
		"identity":           "not complete",
		"site":               "guesses site",
		"quantity":           "doesn't list",
		"absent number":      "carries a number",
		"silent":             "no live with a value",
	} {
		t.Run(flaw, func(t *testing.T) {
			c := theCase(flaw)
			var errs []error
			for _, r := range c.rules() {
				errs = append(errs, c.check(r))
			}
			if err := errors.Join(errs...); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("found %v, want %q", err, want)
			}
		})
	}
}
