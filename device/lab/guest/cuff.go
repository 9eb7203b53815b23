package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"telecart/device"
	"telecart/device/lab/acm"
	"telecart/device/lab/usbip"
	"telecart/device/suntech"
)

// cuff is a blood pressure module of its own supply at the far end of a serial cable: pulling it doesn't switch it off.
type cuff struct {
	cord
	twin *suntech.Twin
	line *os.File // the twin's port
	end  chan struct{}
}

const quicker = 4 // times: a measurement takes 8 s

func (b *bench) newCuff() (*cuff, error) {
	twin, err := suntech.NewTwin(b.clock, suntech.Arm{Faster: quicker})
	if err != nil {
		return nil, err
	}
	line, err := os.OpenFile(twin.Port(), os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Join(err, twin.Unplug())
	}
	id := usbip.Identity{Vendor: 0x1d6b, Product: 0x0104, Name: "Cuff", Serial: "BP-1"}
	port := acm.New(id, func(b []byte) { _, _ = line.Write(b) })
	c := &cuff{cord: cord{bench: b, handler: port.Handle, serial: "BP-1", class: "tty"}, twin: twin, line: line, end: make(chan struct{})}
	go func() {
		defer close(c.end)
		var buf [64]byte
		for {
			n, err := line.Read(buf[:])
			if err != nil {
				return
			}
			_, _ = port.Write(buf[:n]) // never fails
		}
	}()
	return c, nil
}

// away ends the cuff after a check.
func (c *cuff) away(err *error) {
	c.out(err)
	*err = errors.Join(*err, c.line.Close(), c.twin.Unplug())
	<-c.end
}

// run plugs the cuff in and waits until it rests. No number of its instrument may be other than the arm's.
func (c *cuff) run(ctx context.Context) (*rig, error) {
	if _, err := c.plug(ctx); err != nil {
		return nil, err
	}
	r, err := c.startJudged(ctx, suntech.Driver(), device.Settings{Port: "usb:BP-1"}, func(o device.Observation) error {
		x, ok := o.(device.Reading)
		if !ok || x.Absent != "" {
			return nil
		}
		want, ok := map[string]int64{"systolic-pressure": 115, "diastolic-pressure": 74, "mean-pressure": 88, "pulse-rate": 85}[x.Quantity]
		if v := x.Value.Float(); ok && v != float64(want) || !ok && (v < 0 || v > 185) {
			return fmt.Errorf("%s %s of an arm with 115 over 74, mean 88, 85 a minute", x.Quantity, x.Value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := r.is(ctx, device.Live, ""); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// inflate starts a measurement and waits until the arm is pressed.
func (c *cuff) inflate(ctx context.Context, r *rig) (device.Triggerable, error) {
	t, ok := r.Instrument.(device.Triggerable)
	if !ok {
		return nil, errors.New("it can't be started")
	}
	for err := device.ErrTooSoon; err != nil; {
		// A cuff that was slow to say that it is empty is taken for one that was full, and the arm is given its pause.
		if err = t.Start(ctx, "adult"); err != nil && !errors.Is(err, device.ErrTooSoon) {
			return nil, err
		}
		select {
		case <-c.clock.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	_, err := r.reading(ctx, named("cuff-pressure", between(60, 185)))
	return t, err
}

// emptied waits until nothing presses the arm any more.
func (c *cuff) emptied(ctx context.Context) error {
	for c.twin.Pressure() >= 20 {
		select {
		case <-c.clock.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%.0f mmHg in the cuff: %w", c.twin.Pressure(), ctx.Err())
		}
	}
	return nil
}

// cuffMeasures: a whole measurement through /dev/ttyACMN.
func cuffMeasures(ctx context.Context, b *bench) (seen string, err error) {
	c, err := b.newCuff()
	if err != nil {
		return "", err
	}
	defer c.away(&err)
	r, err := c.run(ctx)
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	if c.twin.Starts > 0 {
		return "", errors.New("it measured without being told to")
	}
	if _, err := c.inflate(ctx, r); err != nil {
		return "", err
	}
	for _, q := range []string{"systolic-pressure", "diastolic-pressure", "mean-pressure", "pulse-rate"} {
		got, err := r.reading(ctx, named(q, anything))
		if err != nil {
			return "", err
		}
		if got.Absent != "" {
			return "", fmt.Errorf("%s: %s", q, got.Absent)
		}
		seen += fmt.Sprintf("%s %s, ", q, got.Value)
	}
	return seen + "and the cuff is empty", c.emptied(ctx)
}

// cuffAbort lets the air out in the middle.
func cuffAbort(ctx context.Context, b *bench) (seen string, err error) {
	c, err := b.newCuff()
	if err != nil {
		return "", err
	}
	defer c.away(&err)
	r, err := c.run(ctx)
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	t, err := c.inflate(ctx, r)
	if err != nil {
		return "", err
	}
	at, pressed := c.clock.Now(), c.twin.Pressure()
	if err := t.Abort(ctx); err != nil {
		return "", err
	}
	if err := c.emptied(ctx); err != nil {
		return "", err
	}
	took := c.clock.Now().Sub(at)
	stopped := func(x device.Reading) bool { return x.Absent == suntech.NotMeasured }
	if _, err := r.reading(ctx, named("systolic-pressure", stopped)); err != nil {
		return "", err
	}
	return fmt.Sprintf("from %.0f mmHg to empty in %.1f s (the arm is %d times as quick), no values", pressed,
		took.Seconds(), quicker), nil
}

// cuffUnplug pulls the cable while the arm is pressed, of a module that would press for ever. Nothing can be told to it then; the
// first thing that it hears when the cable is back is to let go.
func cuffUnplug(ctx context.Context, b *bench) (seen string, err error) {
	c, err := b.newCuff()
	if err != nil {
		return "", err
	}
	defer c.away(&err)
	r, err := c.run(ctx)
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	c.twin.Set(suntech.NeverReady)
	if _, err := c.inflate(ctx, r); err != nil {
		return "", err
	}
	pulled := c.clock.Now()
	if err := c.pull(ctx); err != nil {
		return "", err
	}
	if err := r.failure(ctx); err != nil {
		return "", err
	}
	noticed := c.clock.Now().Sub(pulled)
	select {
	case <-c.clock.After(2 * time.Second):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	pressed := c.twin.Pressure()
	if pressed < 50 {
		return "", fmt.Errorf("%.0f mmHg: the module was to go on", pressed)
	}
	plugged := c.clock.Now()
	again, err := c.run(ctx) // waits for the cuff to be empty
	if err != nil {
		return "", err
	}
	defer again.done(&err)
	if p := c.twin.Pressure(); p >= 20 {
		return "", fmt.Errorf("it says that it rests, with %.0f mmHg in the cuff", p)
	}
	return fmt.Sprintf("noticed after %.1f s; the module, which has its own supply, went on at %.0f mmHg; "+
		"empty %.1f s after the cable was back", noticed.Seconds(), pressed, c.clock.Now().Sub(plugged).Seconds()), nil
}
