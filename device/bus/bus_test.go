package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c"

	"telecart/device/bus"
	"telecart/device/bus/simbus"
	"telecart/device/bus/transcript"
)

const port = "/dev/i2c-1"

// cell is a chip that reads its own tag, and fails when told to.
type cell struct {
	tag byte

	mu   sync.Mutex
	fail []error
}

func (c *cell) Tx(_ uint16, _, r []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.fail) > 0 {
		err := c.fail[0]
		c.fail = c.fail[1:]
		if err != nil {
			return err
		}
	}
	for i := range r {
		r[i] = c.tag
	}
	return nil
}

var errNACK = fmt.Errorf("cell: %w", syscall.ENXIO)

// recorded gives a simulated bus that is written down.
func recorded(sim *simbus.Bus) (*bus.Buses, *strings.Builder) {
	text := &strings.Builder{}
	return bus.Simulated(func(port string) (i2c.BusCloser, error) {
		b, err := sim.Open(port)
		if err != nil {
			return nil, err
		}
		return transcript.Record(b, text), nil
	}), text
}

func open(t *testing.T, buses *bus.Buses, mux string, addr uint16, who string) *bus.Chip {
	t.Helper()
	c, err := buses.Open(port, mux, addr, who)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// read reads the chip's tag.
func read(c *bus.Chip) (byte, error) {
	var b [1]byte
	err := c.Tx([]byte{0x00}, b[:])
	return b[0], err
}

func want(t *testing.T, c *bus.Chip, tag byte) {
	t.Helper()
	if got, err := read(c); err != nil || got != tag {
		t.Errorf("read %#02x, %v; want %#02x", got, err, tag)
	}
}

func same(t *testing.T, text *strings.Builder, want string) {
	t.Helper()
	got := strings.TrimSpace(text.String())
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Error(diff)
	}
	text.Reset()
}

func TestTrunk(t *testing.T) {
	sim := &simbus.Bus{}
	sim.Attach(0x48, &cell{tag: 1})
	sim.Attach(0x49, &cell{tag: 2})
	buses, text := recorded(sim)
	a, b := open(t, buses, "", 0x48, "a"), open(t, buses, "", 0x49, "b")
	want(t, a, 1)
	want(t, b, 2)
	same(t, text, "48 w 00 r 01\n49 w 00 r 02") // nothing but what was asked for
	if sim.Users() != 1 {
		t.Errorf("%d connections: want one, shared", sim.Users())
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	want(t, b, 2)
	if _, err := read(a); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	b.Close()
	if sim.Users() != 0 {
		t.Errorf("%d connections after the last chip was closed", sim.Users())
	}
	want(t, open(t, buses, "", 0x48, "a"), 1) // and it can be had again
}

// Every byte that goes to the muxes: two chips of the same address on two muxes, and one beside them.
func TestMux(t *testing.T) {
	sim := &simbus.Bus{}
	m71, m72 := sim.Mux(0x71), sim.Mux(0x72)
	m71.Attach(0, 0x48, &cell{tag: 10})
	m71.Attach(3, 0x48, &cell{tag: 13})
	m72.Attach(7, 0x48, &cell{tag: 27})
	sim.Attach(0x57, &cell{tag: 99})
	m72.Set(0x80) // left open by a program before us
	buses, text := recorded(sim)
	if err := buses.Claim(port, "0x72.7", 0x48, "c"); err != nil {
		t.Fatal(err)
	}
	a, b := open(t, buses, "0x71.0", 0x48, "a"), open(t, buses, "0x71.3", 0x48, "b")
	want(t, a, 10)
	same(t, text, "72 w 00\n72 r 00\n71 w 01\n71 r 01\n48 w 00 r 0a")
	want(t, a, 10)
	same(t, text, "48 w 00 r 0a")
	want(t, b, 13)
	same(t, text, "71 w 08\n71 r 08\n48 w 00 r 0d")
	want(t, open(t, buses, "0x72.7", 0x48, "c"), 27)
	same(t, text, "71 w 00\n71 r 00\n72 w 80\n72 r 80\n48 w 00 r 1b")
	want(t, open(t, buses, "", 0x57, "d"), 99)
	same(t, text, "57 w 00 r 63")
	if sim.Clashes() != 0 {
		t.Errorf("%d clashes", sim.Clashes())
	}
}

func TestMuxFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(own, other *simbus.Mux, chip *cell)
		want error // of the next transaction
		text string
	}{
		{"brown-out: selected again, and the transaction made once more", func(own, _ *simbus.Mux, _ *cell) { own.Set(0) }, nil,
			"48 w 00 r ?? ! simbus: nobody at 0x48: no such device or address\n71 r 00\n72 w 00\n72 r 00\n71 w 08\n71 r 08\n48 w 00 r 0d"},
		{"the chip itself: not made again", func(_, _ *simbus.Mux, chip *cell) { chip.fail = []error{errNACK} }, syscall.ENXIO,
			"48 w 00 r ?? ! cell: no such device or address\n71 r 08"},
		{"brown-out, and the mux misses a message", func(own, _ *simbus.Mux, _ *cell) { own.Set(0); own.NACK(1) }, nil,
			"48 w 00 r ?? ! simbus: nobody at 0x48: no such device or address\n71 r ?? ! simbus: mux: no such device or address\n" +
				"72 w 00\n72 r 00\n71 w 08\n71 r 08\n48 w 00 r 0d"},
		{"a mux that keeps nothing", func(own, _ *simbus.Mux, _ *cell) { own.Set(0); own.Deafen() }, bus.ErrMux,
			"48 w 00 r ?? ! simbus: nobody at 0x48: no such device or address\n71 r 00\n72 w 00\n72 r 00\n71 w 08\n71 r 00\n" +
				"72 w 00\n72 r 00"},
		{"the mux is gone", func(own, _ *simbus.Mux, _ *cell) { own.Unplug() }, bus.ErrMux, ""},
		{"another mux is gone", func(own, other *simbus.Mux, chip *cell) { other.Unplug(); own.Set(0) }, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim := &simbus.Bus{}
			own, other := sim.Mux(0x71), sim.Mux(0x72)
			chip := &cell{tag: 13}
			own.Attach(3, 0x48, chip)
			other.Attach(3, 0x48, &cell{tag: 23})
			buses, text := recorded(sim)
			if err := buses.Claim(port, "0x72.3", 0x48, "other"); err != nil {
				t.Fatal(err)
			}
			x := open(t, buses, "0x71.3", 0x48, "own")
			want(t, x, 13)
			text.Reset()
			c.do(own, other, chip)
			got, err := read(x)
			if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) || err == nil && got != 13 {
				t.Errorf("read %d, %v; want %v", got, err, c.want)
			}
			if c.text != "" && c.want != bus.ErrMux {
				same(t, text, c.text)
			}
			if sim.Clashes() != 0 {
				t.Errorf("%d clashes", sim.Clashes())
			}
		})
	}
}

// What went before a lost channel may be lost, too: a later transaction of a Do is not made again on its own.
func TestDoIsNotResumed(t *testing.T) {
	sim := &simbus.Bus{}
	m := sim.Mux(0x71)
	m.Attach(3, 0x48, &cell{tag: 13})
	buses, _ := recorded(sim)
	x := open(t, buses, "0x71.3", 0x48, "x")
	err := x.Do(func(tx func(w, r []byte) error) error {
		if err := tx([]byte{1}, nil); err != nil {
			t.Fatal(err)
		}
		m.Set(0)
		return tx([]byte{2}, nil)
	})
	if !errors.Is(err, syscall.ENXIO) {
		t.Errorf("got %v", err)
	}
	want(t, x, 13)
}

func TestStuck(t *testing.T) {
	sim := &simbus.Bus{}
	chip := &cell{tag: 1}
	sim.Attach(0x48, chip)
	sim.Mux(0x71).Attach(0, 0x49, &cell{tag: 2})
	buses, text := recorded(sim)
	x, y := open(t, buses, "", 0x48, "x"), open(t, buses, "0x71.0", 0x49, "y")
	want(t, y, 2)
	sim.Hold()
	text.Reset()
	for _, c := range []*bus.Chip{x, y} {
		_, err := read(c)
		if !errors.Is(err, bus.ErrStuck) || !errors.Is(err, syscall.ETIMEDOUT) || !strings.Contains(err.Error(), port) {
			t.Errorf("held low: %v", err)
		}
	}
	same(t, text, `48 w 00 r ?? ! simbus: connection timed out
03 r ?? ! simbus: connection timed out
71 w 01 ! simbus: connection timed out
03 r ?? ! simbus: connection timed out`)
	sim.Release()
	want(t, x, 1)
	want(t, y, 2)
	// One chip that stretches the clock for ever is not a stuck bus.
	chip.fail = []error{fmt.Errorf("sysfs-i2c: %v", syscall.ETIMEDOUT)}
	if _, err := read(x); err == nil || errors.Is(err, bus.ErrStuck) {
		t.Errorf("one slow chip: %v", err)
	}
}

// A data line that is held low acknowledges everything and reads as zeros: those are not a chip's, though a chip may read zero.
func TestDataLineHeld(t *testing.T) {
	sim := &simbus.Bus{}
	chip := &cell{tag: 0}
	sim.Attach(0x48, chip)
	sim.Mux(0x71).Attach(0, 0x49, &cell{tag: 2})
	buses, text := recorded(sim)
	x, y := open(t, buses, "", 0x48, "x"), open(t, buses, "0x71.0", 0x49, "y")
	want(t, x, 0)
	same(t, text, "48 w 00 r 00\n03 r ?? ! simbus: nobody at 0x03: no such device or address")
	want(t, y, 2)
	sim.HoldData()
	text.Reset()
	for _, c := range []*bus.Chip{x, y, y} { // y with its channel known, and not
		if _, err := read(c); !errors.Is(err, bus.ErrStuck) {
			t.Errorf("held low: %v", err)
		}
	}
	same(t, text, "48 w 00 r 00\n03 r 00\n71 w 01\n71 r 00\n03 r 00\n71 w 01\n71 r 00\n03 r 00")
	sim.Release()
	want(t, x, 0)
	want(t, y, 2)
}

// usb is what the kernel's i2c-tiny-usb makes of a bus: it says EIO for a clock that is held, and for an adapter that is gone.
type usb struct {
	i2c.BusCloser
	gone bool
}

func (u *usb) Gone() bool { return u.gone }

func (u *usb) Tx(addr uint16, w, r []byte) error {
	err := u.BusCloser.Tx(addr, w, r)
	if u.gone || errors.Is(err, syscall.ETIMEDOUT) {
		return fmt.Errorf("sysfs-i2c: %v", syscall.EIO)
	}
	return err
}

func TestAdapterThatSaysEIO(t *testing.T) {
	sim := &simbus.Bus{}
	chip := &cell{tag: 1}
	sim.Attach(0x48, chip)
	sim.Attach(0x49, &cell{tag: 2})
	var adapter *usb
	buses := bus.Simulated(func(port string) (i2c.BusCloser, error) {
		b, err := sim.Open(port)
		adapter = &usb{BusCloser: b}
		return adapter, err
	})
	a, b := open(t, buses, "", 0x48, "a"), open(t, buses, "", 0x49, "b")
	want(t, a, 1)
	sim.Hold()
	if _, err := read(a); !errors.Is(err, bus.ErrStuck) {
		t.Errorf("held low: %v", err)
	}
	sim.Release()
	want(t, a, 1)
	chip.fail = []error{fmt.Errorf("sysfs-i2c: %v", syscall.EIO)}
	if _, err := read(a); err == nil || errors.Is(err, bus.ErrStuck) || errors.Is(err, bus.ErrGone) {
		t.Errorf("one chip: %v", err)
	}
	adapter.gone = true
	if _, err := read(a); !errors.Is(err, bus.ErrGone) || sim.Users() != 0 {
		t.Errorf("unplugged: %v, %d connections are held", err, sim.Users())
	}
	if _, err := read(b); !errors.Is(err, bus.ErrGone) {
		t.Errorf("the other: %v", err)
	}
	want(t, open(t, buses, "", 0x48, "a"), 1)
}

// An adapter on USB is unplugged: whoever holds the bus lets go at once (the kernel waits for that), and what is
// opened later is the new one.
func TestAdapterUnplugged(t *testing.T) {
	sim := &simbus.Bus{}
	sim.Attach(0x48, &cell{tag: 1})
	sim.Attach(0x49, &cell{tag: 2})
	buses, _ := recorded(sim)
	a, b := open(t, buses, "", 0x48, "a"), open(t, buses, "", 0x49, "b")
	sim.Unplug()
	if _, err := read(a); !errors.Is(err, bus.ErrGone) {
		t.Errorf("got %v", err)
	}
	if sim.Users() != 0 {
		t.Error("the bus is still held")
	}
	if _, err := buses.Open(port, "", 0x48, "a"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v", err)
	}
	sim.Plug()
	again := open(t, buses, "", 0x48, "a")
	want(t, again, 1)
	if _, err := read(b); !errors.Is(err, bus.ErrGone) {
		t.Errorf("a chip of before the unplugging: %v", err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	want(t, again, 1)
	again.Close()
	if sim.Users() != 0 {
		t.Errorf("%d connections left", sim.Users())
	}
}

// Errors that periph's sysfs passes on as text are known all the same.
func TestKernelErrorsAsText(t *testing.T) {
	sim := &simbus.Bus{}
	chip := &cell{}
	sim.Attach(0x48, chip)
	buses, _ := recorded(sim)
	for errno, gone := range map[syscall.Errno]bool{syscall.ENODEV: true, syscall.ENXIO: false, syscall.EREMOTEIO: false} {
		x := open(t, buses, "", 0x48, "x")
		chip.fail = []error{fmt.Errorf("sysfs-i2c: %v", errno)}
		if _, err := read(x); err == nil || errors.Is(err, bus.ErrGone) != gone {
			t.Errorf("%v: %v; gone must be %v", errno, err, gone)
		}
		x.Close()
	}
}
