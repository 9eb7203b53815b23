package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"telecart/capture"
	"telecart/device"
)

// HandValue is what a person measured and entered: a quantity's name and the number as it was entered.
type HandValue struct {
	Quantity string `json:"quantity"`
	Value    string `json:"value"`
}

const (
	orderWait   = 5 * time.Second // for an instrument to take an order
	maxByHand   = 8               // values at once
	maxDevice   = 80              // bytes of the name of the clinic's own device
	pressureNow = "cuff-pressure" // while a cuff works; no result
)

// measure starts what measures only when told to: a cuff. The nurse's touch is the only way here.
func (a *Agent) measure(ctx context.Context, instrument, mode string) error {
	t, ok := a.sup.Triggerable(instrument)
	if !ok {
		return fmt.Errorf("%w: %q does not measure on demand", errInstrument, instrument)
	}
	if _, _, err := a.body(capture.Reading); err != nil { // a result must belong to somebody
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, orderWait)
	defer cancel()
	return t.Start(ctx, mode)
}

func (a *Agent) stopMeasure(ctx context.Context, instrument string) error {
	t, ok := a.sup.Triggerable(instrument)
	if !ok {
		return fmt.Errorf("%w: %q does not measure on demand", errInstrument, instrument)
	}
	ctx, cancel := context.WithTimeout(ctx, orderWait)
	defer cancel()
	return t.Abort(ctx)
}

// letGo stops every measurement: its patient is gone.
func (a *Agent) letGo(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, s := range a.sup.Snapshot() {
		if t, ok := a.sup.Triggerable(s.Name); ok {
			if err := t.Abort(ctx); err != nil && !errors.Is(err, device.ErrGone) {
				a.log.Warn("agent: measurement not stopped", "instrument", s.Name, "err", err)
			}
		}
	}
}

// adjust is the nurse's hand on what a touch sets: an exam light. Cameras are steered under a lease.
func (a *Agent) adjust(ctx context.Context, instrument string, set map[string]int) error {
	for _, s := range a.sup.Snapshot() {
		if s.Name == instrument && s.Kind != device.KindLight {
			return fmt.Errorf("%w: %q is no light", errArgument, instrument)
		}
	}
	dev, ok := a.sup.Steerable(instrument)
	if !ok {
		return fmt.Errorf("%w: %q can't be set", errInstrument, instrument)
	}
	err := dev.Steer(ctx, set)
	a.consult.readAgain(instrument)
	return err
}

// byHand saves what a person measured. Values that belong together (systolic and diastolic) come together, and are all
// checked before one is saved.
func (a *Agent) byHand(ctx context.Context, values []HandValue, model, site, side string) ([]Saved, error) {
	b, _, err := a.body(capture.Reading)
	if err != nil {
		return nil, err
	}
	if len(values) == 0 || len(values) > maxByHand || len(model) > maxDevice {
		return nil, fmt.Errorf("%w: 1 to %d values, and a device's name of at most %d bytes", errArgument, maxByHand, maxDevice)
	}
	at := a.stamp.Now()
	id := device.Identity{Name: "by hand", Kind: device.KindHand, Driver: "by-hand", Port: "by hand", Model: strings.TrimSpace(model)}
	readings := make([]device.Reading, len(values))
	for i, v := range values {
		q, value, err := handValue(v)
		if err != nil {
			return nil, err
		}
		readings[i] = device.Reading{Quantity: q.Name, Unit: q.Unit, Value: value, Method: device.ByHand, Instrument: id, Site: site, Side: side, At: at}
	}
	if err := pressures(readings); err != nil {
		return nil, err
	}
	var out []Saved
	for i := range readings {
		one := b
		one.At, one.Reading, one.Site, one.Side, one.Instrument = at, &readings[i], site, side, &readings[i].Instrument
		s, err := a.save(ctx, one)
		if err != nil {
			return out, err
		}
		out = append(out, s)
	}
	return out, nil
}

// handValue checks one value against what the quantity's table allows.
func handValue(v HandValue) (capture.Quantity, device.Decimal, error) {
	q, ok := capture.LookUp(v.Quantity)
	if !ok || q.High == 0 {
		return q, device.Decimal{}, fmt.Errorf("%w: %q is not entered by hand", errArgument, v.Quantity)
	}
	d, err := device.ParseDecimal(v.Value)
	if err != nil {
		return q, d, fmt.Errorf("%w: %s: %v", errArgument, q.Name, err)
	}
	if x := d.Float(); x < q.Low || x > q.High || math.IsNaN(x) {
		return q, d, fmt.Errorf("%w: %s is %s; from %g to %g %s can be", errRange, q.Name, d, q.Low, q.High, q.Unit)
	}
	if int(-d.Exp) > q.Digits {
		return q, d, fmt.Errorf("%w: %s is %s; it has at most %d digits after the point", errArgument, q.Name, d, q.Digits)
	}
	return q, d, nil
}

// pressures: a diastolic pressure above the systolic one is a slip of the finger.
func pressures(readings []device.Reading) error {
	var sys, dia float64
	for _, r := range readings {
		switch r.Quantity {
		case "systolic-pressure":
			sys = r.Value.Float()
		case "diastolic-pressure":
			dia = r.Value.Float()
		}
	}
	if sys != 0 && dia != 0 && dia >= sys {
		return fmt.Errorf("%w: a diastolic pressure of %g is not below the systolic one of %g", errRange, dia, sys)
	}
	return nil
}

// mayKeep: research values are no patient's.
func mayKeep(r device.Reading, practice bool) error {
	if r.Instrument.Grade == device.Uncalibrated && !practice {
		return fmt.Errorf("%w: %s", errPractice, r.Instrument.Name)
	}
	return nil
}

// ofCart says whether a quantity tells of the cart and not of a patient.
func ofCart(quantity string) bool {
	q, ok := capture.LookUp(quantity)
	return ok && q.Cart
}
