package agent

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/sound"
	"telecart/device"
)

// puppet is an instrument that the test speaks through.
type puppet struct {
	device.Driver
	says  chan device.Observation
	calls chan string // "start adult", "abort", "steer 40"
}

func newPuppet(name string, kind device.Kind, quantities ...string) *puppet {
	p := &puppet{says: make(chan device.Observation), calls: make(chan string, 16)}
	p.Driver = device.Driver{Name: name, Kind: kind, Quantities: quantities, New: func(_ device.Settings, out device.Outlet) (device.Instrument, error) {
		return &hand{p, out}, nil
	}}
	return p
}

func (p *puppet) say(r *rig, o device.Observation) {
	select {
	case p.says <- o:
	case <-r.t.Context().Done():
	}
}

// hand makes a puppet move.
type hand struct {
	*puppet
	out device.Outlet
}

func (s *hand) Run(ctx context.Context) error {
	s.out.Observe(device.Health{State: device.Live})
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case o := <-s.says:
			s.out.Observe(o)
		}
	}
}

func (s *hand) Modes() []string { return []string{"adult"} }

func (s *hand) Start(_ context.Context, mode string) error {
	if mode != "adult" {
		return device.ErrMode
	}
	s.calls <- "start " + mode
	return nil
}

func (s *hand) Abort(context.Context) error { s.calls <- "abort"; return nil }

// number is one value of a quantity, measured once.
func number(quantity, unit, value string) device.Reading {
	d, err := device.ParseDecimal(value)
	if err != nil {
		panic(err)
	}
	return device.Reading{Quantity: quantity, Unit: unit, Value: d}
}

func TestMeasure(t *testing.T) {
	r := newRig(t).enrolled()
	cuff := newPuppet("cuff", device.KindCuff, "systolic-pressure", "cuff-pressure")
	r.extra = []device.Driver{cuff.Driver}
	r.start()
	shows := func(q string) func(State) bool {
		return func(s State) bool {
			for _, i := range s.Instrument {
				for _, x := range i.Readings {
					if x.Quantity == q && x.Text != "" {
						return true
					}
				}
			}
			return false
		}
	}
	r.until("the cuff", func(s State) bool { return len(s.Instrument) == 3 && s.Instrument[2].Health.State == device.Live })
	r.refused("measure", `{"instrument":"cuff","mode":"adult"}`, "no-encounter")
	r.do("open", `{}`)
	r.refused("measure", `{"instrument":"oximeter","mode":"adult"}`, "instrument-gone")
	r.refused("measure", `{"instrument":"cuff"}`, "choose-mode")
	r.do("measure", `{"instrument":"cuff","mode":"adult"}`)
	if got := <-cuff.calls; got != "start adult" {
		t.Error(got)
	}
	cuff.say(r, number("cuff-pressure", "mm[Hg]", "120"))
	r.until("the pressure", shows("cuff-pressure"))
	r.refused("reading", `{"instrument":"cuff"}`, "nothing-to-save") // the pressure on the way is no result
	cuff.say(r, number("systolic-pressure", "mm[Hg]", "115"))
	r.until("the result", shows("systolic-pressure"))
	if items := r.do("reading", `{"instrument":"cuff"}`); len(items) != 1 {
		t.Errorf("%+v", items)
	}
	// The next patient must not see it, and no arm is pressed any more.
	r.do("close", `{}`)
	if got := <-cuff.calls; got != "abort" {
		t.Error(got)
	}
	if s := r.a.state(); shows("systolic-pressure")(s) {
		t.Error("the last patient's pressure still stands there")
	}
	r.do("stop-measure", `{"instrument":"cuff"}`) // at any time
	if got := <-cuff.calls; got != "abort" {
		t.Error(got)
	}
}

func TestByHand(t *testing.T) {
	r := newRig(t).enrolled()
	r.start()
	r.refused("by-hand", `{"values":[{"quantity":"respiratory-rate","value":"32"}]}`, "no-encounter")
	r.do("open", `{}`)
	for args, code := range map[string]string{
		`{"values":[]}`: "bad-argument",
		`{"values":[{"quantity":"respiratory-rate","value":"320"}]}`:                                                 "out-of-range",
		`{"values":[{"quantity":"respiratory-rate","value":"x"}]}`:                                                   "bad-argument",
		`{"values":[{"quantity":"respiratory-rate","value":"NaN"}]}`:                                                 "bad-argument",
		`{"values":[{"quantity":"body-temperature","value":"36.66"}]}`:                                               "bad-argument",
		`{"values":[{"quantity":"body-temperature","value":"98.6"}]}`:                                                "out-of-range", // Fahrenheit
		`{"values":[{"quantity":"cuff-pressure","value":"98"}]}`:                                                     "bad-argument",
		`{"values":[{"quantity":"pleth","value":"98"}]}`:                                                             "bad-argument",
		`{"values":[{"quantity":"battery-charge","value":"98"}]}`:                                                    "bad-argument",
		`{"values":[{"quantity":"systolic-pressure","value":"80"},{"quantity":"diastolic-pressure","value":"120"}]}`: "out-of-range",
		`{"values":[{"quantity":"body-weight","value":"14.35"},{"quantity":"body-height","value":"2"}]}`:             "out-of-range",
	} {
		r.refused("by-hand", args, code)
	}
	if got := readings(r.a); len(got) != 0 {
		t.Fatalf("refused, and saved: %+v", got)
	}
	r.do("by-hand", `{"values":[{"quantity":"systolic-pressure","value":"118"},{"quantity":"diastolic-pressure","value":"74"}],"device":" Aneroid 3 ","side":"left","site":"arm"}`)
	r.do("by-hand", `{"values":[{"quantity":"pain-score","value":"0"}]}`)
	r.do("by-hand", `{"values":[{"quantity":"body-weight","value":"14.30"}]}`)
	got := readings(r.a)
	if len(got) != 4 || got[0].Text != "14.30" || got[0].Unit != "kg" || got[1].Text != "0" || got[3].Text != "118" || got[3].Side != "left" || got[3].Instrument != "by hand" {
		t.Errorf("%+v", got)
	}
}

// readings are the saved readings, newest first.
func readings(a *Agent) (out []Item) {
	for _, i := range a.state().Items {
		if i.Kind == capture.Reading {
			out = append(out, i)
		}
	}
	return out
}

func TestUncalibratedIsForPracticeAlone(t *testing.T) {
	r := newRig(t).enrolled()
	ppg := newPuppet("ppg", device.KindOximeter, "oxygen-saturation")
	ppg.Grade = device.Uncalibrated
	r.extra = []device.Driver{ppg.Driver}
	r.start()
	value := func() {
		ppg.say(r, number("oxygen-saturation", "%", "97"))
		r.until("the value", func(s State) bool {
			return len(s.Instrument) == 3 && len(s.Instrument[2].Readings) == 1 && s.Instrument[2].Readings[0].Text == "97"
		})
	}
	r.do("open", `{}`)
	value()
	r.refused("reading", `{"instrument":"ppg"}`, "practice-only")
	r.do("close", `{}`)
	r.do("open", `{"practice":true}`)
	value()
	if items := r.do("reading", `{"instrument":"ppg"}`); len(items) != 1 {
		t.Errorf("%+v", items)
	}
}

func TestBattery(t *testing.T) {
	r := newRig(t).enrolled()
	power := newPuppet("battery", device.KindPower, "battery-left")
	r.extra = []device.Driver{power.Driver}
	r.start()
	left := number("battery-left", "min", "84")
	left.Period = device.Duration(10e9)
	power.say(r, left)
	r.until("minutes", func(s State) bool { return s.Battery != nil && *s.Battery == 84 })
	r.do("open", `{}`)
	r.refused("reading", `{"instrument":"battery"}`, "nothing-to-save") // it is no patient's
	power.say(r, device.Health{State: device.Live, Reason: device.BatteryCritical})
	r.until("the notice", func(s State) bool { return len(s.Notices) == 1 && s.Notices[0].Code == "battery-empty" })
	r.refused("clip", `{"instrument":"room camera","seconds":2}`, "battery-empty")
	r.do("still", `{"instrument":"room camera"}`)
	power.say(r, device.Health{State: device.Live})
	r.until("mains again", func(State) bool { return !r.a.lastGasp.Load() })
	r.do("clip", `{"instrument":"room camera","seconds":1}`)
}

func TestScans(t *testing.T) {
	r := newRig(t).enrolled()
	r.start()
	for text, code := range map[string]string{
		"01095060001343521726041410ABC": "product-scanned",
		"]d2010950600013435210ABC123":   "product-scanned",
		"]d2010950600013435310ABC123":   "check-digit",
		"hello":                         "not-a-wristband",
		"":                              "bad-code",
	} {
		b, _ := json.Marshal(map[string]string{"code": text})
		r.refused("scan", string(b), code)
	}
	r.do("scan", `{"code":"ABC-1234"}`)
	if s := r.a.state(); s.Patient == nil || s.Patient.ID != "ABC-1234" {
		t.Errorf("%+v", s.Patient)
	}
}

func TestSound(t *testing.T) {
	r := newRig(t).enrolled()
	r.twins = []device.Settings{{Name: "stethoscope", Driver: "stethoscope", Port: "twin"}}
	r.start()
	r.refused("sound", `{"instrument":"stethoscope","seconds":2}`, "no-encounter")
	r.do("open", `{}`)
	r.refused("sound", `{"instrument":"oximeter","seconds":2}`, "instrument-gone")
	r.refused("sound", `{"instrument":"stethoscope","seconds":61}`, "bad-argument")
	items := r.do("sound", `{"instrument":"stethoscope","seconds":2,"site":"mitral"}`)
	if len(items) != 1 {
		t.Fatalf("%+v", items)
	}
	media, file, ok := r.a.Review(items[0].Item)
	if !ok || media != sound.Type {
		t.Fatalf("%q, %v", media, ok)
	}
	got, err := sound.Decode(file)
	if err != nil || got.RateHz != 48000 || got.Duration() < 2*time.Second || got.Duration() > 3*time.Second || len(got.Gaps) != 0 {
		t.Errorf("%d Hz, %s, gaps %v, %v", got.RateHz, got.Duration(), got.Gaps, err)
	}
	r.a.lastGasp.Store(true)
	r.refused("sound", `{"instrument":"stethoscope","seconds":2}`, "battery-empty")
}

func TestInputsReachThePage(t *testing.T) {
	r := newRig(t).enrolled()
	scanner := newPuppet("scanner", device.KindScanner)
	r.extra = []device.Driver{scanner.Driver}
	r.start()
	inputs, leave := r.a.Inputs()
	defer leave()
	scanner.say(r, device.Input{Act: device.Scanned, Text: "SECRET-77"})
	if i := <-inputs; i.Text != "SECRET-77" || i.Instrument.Name != "scanner" {
		t.Errorf("%+v", i)
	}
	r.stop()
	if strings.Contains(r.log.String(), "SECRET-77") {
		t.Error("what was scanned is in the log")
	}
}
