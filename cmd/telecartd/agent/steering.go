package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"telecart/device"
	"telecart/uplink/link"
	"telecart/uplink/steer"
)

// receive takes steering messages. They count only while a consult is live.
func (c *consults) receive(m link.Message) {
	c.mu.Lock()
	ok := c.live() && !c.mustTap
	c.mu.Unlock()
	switch {
	case m.Release != nil:
		c.deliver(m.Release.Instrument, steer.Release{Request: *m.Release})
	case !ok:
	case m.Lease != nil:
		c.deliver(m.Lease.Instrument, *m.Lease)
	case m.Setpoint != nil:
		c.deliver(m.Setpoint.Instrument, *m.Setpoint)
		c.readAgain(m.Setpoint.Instrument)
	case m.Act != nil:
		c.deliver(m.Act.Instrument, *m.Act)
	}
}

func (c *consults) deliver(instrument string, ev steer.Event) {
	if sh := c.shell(instrument); sh != nil {
		sh.Deliver(ev)
	}
}

// say passes on what a lease machine says.
func (c *consults) say(act steer.Action) {
	switch x := act.(type) {
	case steer.ActResult:
		c.a.currentLink().Send(link.Message{Result: &x})
	case steer.Refused:
		c.a.currentLink().Send(link.Message{Refused: &x})
	}
	go c.a.change() // the machine's lock is held here, and State asks for the lease
}

// act does what a specialist asked for, at most once.
func (c *consults) act(ctx context.Context, act steer.Act) (string, error) {
	if act.Kind != "still" {
		return "", fmt.Errorf("%w: %q", errVerb, act.Kind)
	}
	s, err := c.a.still(ctx, act.Instrument, "", "", act.Who)
	return s.Item.String(), err
}

// takeBack is the nurse's: whoever steers stops at once.
func (c *consults) takeBack(instrument string) error {
	if c.shell(instrument) == nil {
		return fmt.Errorf("%w: %q can't be steered", errInstrument, instrument)
	}
	c.deliver(instrument, steer.TakeBack{})
	c.a.change()
	return nil
}

func (c *consults) giveBack(instrument string) error {
	if c.shell(instrument) == nil {
		return fmt.Errorf("%w: %q can't be steered", errInstrument, instrument)
	}
	c.deliver(instrument, steer.GiveBack{})
	c.a.change()
	return nil
}

// axes is what is known of a camera's axes.
func (c *consults) axes(name string) []device.Axis {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[name]
}

// readAgain asks for a camera's axes to be read: they are moving.
func (c *consults) readAgain(name string) {
	select {
	case c.axesC <- name:
	default:
	}
}

// readAxes keeps the axes known without ever making a screen wait for a motor.
func (c *consults) readAxes(ctx context.Context) {
	read := func(name string) {
		dev, ok := c.a.sup.Steerable(name)
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		axes, err := dev.Axes(ctx)
		c.mu.Lock()
		same := err == nil && slices.Equal(axes, c.known[name])
		if err == nil {
			c.known[name] = axes
		} else {
			delete(c.known, name)
		}
		c.mu.Unlock()
		if !same {
			c.a.change()
		}
	}
	all := func() {
		for _, name := range c.steered() {
			read(name)
		}
	}
	all()
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-c.axesC:
			read(name)
		case <-c.a.clock.After(2 * time.Second):
			all()
		}
	}
}
