// Package suntech is the SunTech Advantage family of blood pressure modules on a serial port.
//
// Parties: the module at 9600 8N1, which inflates a cuff when told to; the nurse, whose touch alone starts it
// (device.Triggerable); the supervisor, which runs the instrument; the outlet it was made with. Twin is a module with an
// arm, simulated byte by byte behind a pseudo-terminal.
//
// Invariants: nothing inflates without Start, and Start refuses without a patient size whose command is documented. A
// measurement is stopped by Abort, above the pressure and beyond the time that its size allows, when the module falls
// silent, when the instrument is told to stop, and once when it is started, in case the program before it was killed. Between
// two measurements the arm has a pause. A result is shown whole or not at all. All of this is a second line: the module's own safety
// circuit is the first (IEC 80601-2-30).
//
// Not confirmed by a manual: the abort command and the status letters but 'K'. So a stop is not believed until the
// pressure has fallen.
package suntech

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.bug.st/serial"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

const (
	systolic     = "systolic-pressure"
	diastolic    = "diastolic-pressure"
	mean         = "mean-pressure"
	pulse        = "pulse-rate"
	cuffPressure = "cuff-pressure"
)

// oscillometric is the method of all that a cuff measures by itself.
const oscillometric device.Method = "oscillometric"

// ErrSilent: the module doesn't talk.
var ErrSilent = errors.New("suntech: the module is silent")

// readWait is how long a read may hold up a stop; longer than a byte takes at 9600 bit/s.
const readWait = 20 * time.Millisecond

// Driver is this package's line in the table. It has no options. What it makes is a device.Triggerable.
func Driver() device.Driver {
	return device.Driver{Name: "suntech", Kind: device.KindCuff,
		Quantities: []string{systolic, diastolic, mean, pulse, cuffPressure}, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	for name := range s.Options {
		return nil, fmt.Errorf("suntech: unknown option %q: there are none", name)
	}
	if s.Address != 0 || s.Mux != "" {
		return nil, fmt.Errorf("suntech: address %d, mux %q: a serial port has none; remove them", s.Address, s.Mux)
	}
	if !s.Twin() {
		if err := hotplug.CheckPort(s.Port); err != nil {
			return nil, fmt.Errorf("suntech: %w", err)
		}
	}
	return &cuff{id: device.Identity{Name: s.Name, Kind: device.KindCuff, Driver: "suntech", Port: s.Port, Twin: s.Twin()},
		clock: s.Clock, stamp: s.Stamp, out: out, orders: make(chan order), gone: make(chan struct{})}, nil
}

type cuff struct {
	id     device.Identity
	clock  kit.Clock
	stamp  *kit.Stamper
	out    device.Outlet
	orders chan order
	gone   chan struct{} // Run has ended
	arm    Arm           // the twin's
}

// order is what a person wants; done takes the answer.
type order struct {
	mode string // "" is abort
	done chan error
}

// Modes are the patient sizes that there are.
func (c *cuff) Modes() []string { return modes() }

// Start begins a measurement for a patient of that size.
func (c *cuff) Start(ctx context.Context, mode string) error {
	if mode == "" {
		return fmt.Errorf("suntech: %w: choose the patient's size first", device.ErrMode)
	}
	return c.ask(ctx, mode)
}

// Abort lets the air out.
func (c *cuff) Abort(ctx context.Context) error { return c.ask(ctx, "") }

func (c *cuff) ask(ctx context.Context, mode string) error {
	o := order{mode, make(chan error, 1)}
	select {
	case c.orders <- o:
		return <-o.done
	case <-c.gone:
		return device.ErrGone
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run opens the port and serves until ctx ends or the module fails.
func (c *cuff) Run(ctx context.Context) (err error) {
	defer close(c.gone)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !c.id.Twin {
		n, err := hotplug.Find("tty", c.id.Port)
		if err != nil {
			return fmt.Errorf("suntech: %w", err)
		}
		return c.serve(ctx, n.Path)
	}
	twin, err := NewTwin(c.clock, c.arm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, twin.Unplug()) }()
	return c.serve(ctx, twin.Port())
}

func (c *cuff) serve(ctx context.Context, path string) (err error) {
	port, err := serial.Open(path, &serial.Mode{BaudRate: 9600, DataBits: 8, Parity: serial.NoParity, StopBits: serial.OneStopBit})
	if err != nil {
		return fmt.Errorf("suntech: open %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, port.Close()) }()
	if err := port.SetReadTimeout(readWait); err != nil {
		return fmt.Errorf("suntech: %s: %w", path, err)
	}
	var lost error
	send := func(b []byte) {
		if _, err := port.Write(b); err != nil && lost == nil {
			lost = fmt.Errorf("suntech: %s is gone: %w", path, err)
		}
	}
	m := newMachine(c.clock.Now(), send, c.observe)
	// Whatever ends this, no arm stays pressed: the abort is the last thing that is sent.
	defer func() {
		if m.phase != idle {
			send(request(abort))
			err = errors.Join(err, port.Drain())
			c.read(value{cuffPressure, 0, NotMeasured}) // what is in the cuff is not known any more
		}
	}()
	var d decoder
	var buf [256]byte
	for ctx.Err() == nil && lost == nil {
		n, err := port.Read(buf[:])
		if err != nil {
			return fmt.Errorf("suntech: %s is gone: %w", path, err)
		}
		now := c.clock.Now()
		packets := d.write(buf[:n])
		if n == 0 {
			packets = append(packets, d.pause()...)
		}
		for _, p := range packets {
			m.packet(now, p)
		}
		select {
		case o := <-c.orders:
			o.done <- c.obey(m, now, o, send)
		default:
		}
		if err := m.tick(now); err != nil {
			return err
		}
	}
	if lost != nil {
		return lost
	}
	return ctx.Err()
}

func (c *cuff) obey(m *machine, now time.Time, o order, send func([]byte)) error {
	if o.mode != "" {
		return m.start(now, o.mode)
	}
	m.stop(now, NotMeasured)
	send(request(abort)) // also if we think that it rests
	return nil
}

// observe passes on what the machine says. All its values count as measured once: the pressure on the way too, for it ends
// with the measurement and not by growing old.
func (c *cuff) observe(h device.Health, values ...value) {
	c.out.Observe(h)
	for _, v := range values {
		c.read(v)
	}
}

func (c *cuff) read(v value) {
	r := device.Reading{Quantity: v.quantity, Unit: "mm[Hg]", Method: oscillometric, Instrument: c.id, At: c.stamp.Now(), Absent: v.why}
	if v.quantity == pulse {
		r.Unit = "/min"
	}
	if v.why == "" {
		r.Value = device.Decimal{Coef: int64(v.n)}
	}
	c.out.Observe(r)
}
