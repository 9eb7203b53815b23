package supervisor

import (
	"context"
	"errors"
	"testing"

	"telecart/device"
)

var errPlain = errors.New("eye: no encoder")

// encoder is a camera that may have an encoder.
type encoder struct {
	*eye
	plain bool
	asked chan struct{}
}

func (e *encoder) WatchCoded() (device.View, error) {
	if e.plain {
		return nil, errPlain
	}
	return e.Watch(), nil
}

func (e *encoder) KeyFrame(context.Context) error { e.asked <- struct{}{}; return nil }

func TestCoded(t *testing.T) {
	f := newFake("x", forever)
	e := &encoder{eye: &eye{life: 5, unplug: make(chan struct{}), views: make(chan string, 10), waits: make(chan struct{}, 10)}, asked: make(chan struct{}, 10)}
	run := f.New
	f.New = func(s device.Settings, out device.Outlet) (device.Instrument, error) {
		i, err := run(s, out)
		return struct {
			device.Instrument
			device.Coded
			*keys
		}{i, e, &keys{e}}, err
	}
	r := start(t, 1, f)
	if _, ok := r.Coded("y"); ok {
		t.Error("y is not there")
	}
	r.expect("x live", "a=97")
	c, ok := r.Coded("x")
	if !ok {
		t.Fatal("x may have one")
	}
	v, err := c.WatchCoded()
	if err != nil {
		t.Fatal(err)
	}
	if f, err := v.Next(t.Context()); err != nil || f.Seq != 5 {
		t.Error(f.Seq, err)
	}
	if err := c.(interface{ KeyFrame(context.Context) error }).KeyFrame(t.Context()); err != nil || len(e.asked) != 1 {
		t.Errorf("%v, asked %d times", err, len(e.asked))
	}
	e.plain = true
	if _, err := c.WatchCoded(); !errors.Is(err, errPlain) {
		t.Errorf("refused: %v", err)
	}
	r.stop()
	if _, err := v.Next(t.Context()); !errors.Is(err, device.ErrGone) {
		t.Error(err)
	}
	if _, err := c.WatchCoded(); !errors.Is(err, device.ErrGone) {
		t.Error(err)
	}
	v.Close()
}

type keys struct{ e *encoder }

func (k *keys) KeyFrame(ctx context.Context) error { return k.e.KeyFrame(ctx) }
