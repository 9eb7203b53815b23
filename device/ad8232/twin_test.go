package ad8232

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device/ecg/synth"
	"telecart/device/kit"
)

var (
	_ i2c.Bus = (*Twin)(nil)
	_ gpio    = (*Twin)(nil)
)

func reg(t testing.TB, w *Twin, r byte) uint16 {
	t.Helper()
	var b [2]byte
	if err := w.Tx(defaultAddress, []byte{r}, b[:]); err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint16(b[:])
}

func set(t testing.TB, w *Twin, r byte, v uint16) {
	t.Helper()
	if err := w.Tx(defaultAddress, binary.BigEndian.AppendUint16([]byte{r}, v), nil); err != nil {
		t.Fatal(err)
	}
}

func silentTwin(clock kit.Clock) *Twin {
	w := NewTwinOf(clock, defaultAddress, synth.Recipe{Silent: true})
	w.Oscillator(1)
	return w
}

func TestTwinPowerOn(t *testing.T) {
	clock := kit.NewManual(start)
	w := silentTwin(clock)
	clock.Advance(time.Second)
	for r, want := range map[byte]uint16{0: 0, 1: 0x8583, 2: 0x8000, 3: 0x7FFF} {
		if got := reg(t, w, r); got != want {
			t.Errorf("register %d = %#04x, want %#04x: it sleeps", r, got, want)
		}
	}
}

func TestTwinConverts(t *testing.T) {
	clock := kit.NewManual(start)
	w := silentTwin(clock)
	for _, c := range []struct {
		config uint16
		want   int // 1.65 V on AIN0
	}{
		{0x42A0, 13200}, // 125 uV a step
		{0x40A0, 8800},  // 187.5 uV
		{0x44A0, 26400}, // 62.5 uV
		{0x46A0, 32767}, // 1.024 V: too much
		{0x52A0, 0},     // AIN1
		{0x02A0, 13200}, // AIN0 - AIN1
	} {
		set(t, w, regConfig, c.config)
		clock.Advance(3999 * time.Microsecond)
		before := w.total
		clock.Advance(time.Microsecond)
		if got := int(int16(reg(t, w, regConversion))); got != c.want || w.total != before+1 {
			t.Errorf("config %#04x: %d after %d conversions, want %d", c.config, got, w.total-before, c.want)
		}
		if got := reg(t, w, regConfig); got != c.config {
			t.Errorf("config %#04x reads %#04x: it converts for ever", c.config, got)
		}
	}
	set(t, w, regConfig, 0xC3A3) // one conversion at 250/s
	if got := reg(t, w, regConfig); got != 0x43A3 {
		t.Errorf("config %#04x while converting", got)
	}
	clock.Advance(time.Second)
	if got := reg(t, w, regConfig); got != 0xC3A3 {
		t.Errorf("config %#04x when done", got)
	}
	total := w.total
	clock.Advance(time.Minute)
	if reg(t, w, regConversion); w.total != total {
		t.Error("a single shot went on")
	}
}

// The oscillator's error is in the number of conversions and nowhere else.
func TestTwinOscillator(t *testing.T) {
	for _, speed := range []float64{0.9, 1.03, 1.1} {
		clock := kit.NewManual(start)
		w := silentTwin(clock)
		set(t, w, regConfig, 0x42A0)
		w.Oscillator(speed)
		before := w.total
		clock.Advance(100 * time.Second)
		reg(t, w, regConversion)
		if got := float64(w.total-before) / 100; math.Abs(got/(250*speed)-1) > 1e-4 {
			t.Errorf("speed %g: %g a second", speed, got)
		}
	}
}

func TestTwinReadyLine(t *testing.T) {
	for _, c := range []struct {
		name              string
		config, low, high uint16
		pulses            bool
	}{
		{"as the data sheet says", 0x42A0, 0x0000, 0x8000, true},
		{"comparator off", 0x42A3, 0x0000, 0x8000, false},
		{"thresholds of power-on", 0x42A0, 0x8000, 0x7FFF, false},
		{"asleep", 0x43A0, 0x0000, 0x8000, false},
	} {
		clock := kit.NewManual(start)
		w := silentTwin(clock)
		set(t, w, regLow, c.low)
		set(t, w, regHigh, c.high)
		set(t, w, regConfig, c.config)
		p, err := w.Pulses(line{})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			e, err := p.Next(t.Context())
			if err == nil && e.at != 4*time.Millisecond {
				err = errors.New(e.at.String())
			}
			got <- err
		}()
		clock.AwaitWaiters(1)
		clock.Advance(time.Second) // its newest edge would be late
		err = <-got
		if late := err != nil && err.Error() == time.Second.String(); c.pulses != late || !c.pulses && !errors.Is(err, errQuiet) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTwinElectrode(t *testing.T) {
	clock := kit.NewManual(start)
	w := silentTwin(clock)
	set(t, w, regConfig, 0x42A0)
	l, err := w.Level(line{})
	if err != nil {
		t.Fatal(err)
	}
	look := func() (int, bool) {
		high, err := l.High()
		if err != nil {
			t.Fatal(err)
		}
		return int(int16(reg(t, w, regConversion))), high
	}
	clock.Advance(time.Second)
	on, high := look()
	w.Detach()
	clock.Advance(time.Second)
	off, highOff := look()
	w.Attach()
	clock.Advance(100 * time.Millisecond)
	again, highAgain := look()
	clock.Advance(5 * time.Second)
	settled, _ := look()
	if on != 13200 || high || off < 26000 || !highOff || again < 16000 || highAgain || settled < 13190 || settled > 13210 {
		t.Errorf("on %d %v, off %d %v, on again %d %v, then %d", on, high, off, highOff, again, highAgain, settled)
	}
}

func TestTwinFaults(t *testing.T) {
	clock := kit.NewManual(start)
	w := silentTwin(clock)
	if err := w.Tx(0x48, []byte{0}, nil); !errors.Is(err, ErrNACK) {
		t.Errorf("another address: %v", err)
	}
	w.NACK(1)
	if err := w.Tx(defaultAddress, []byte{0}, nil); !errors.Is(err, ErrNACK) {
		t.Errorf("injected: %v", err)
	}
	set(t, w, regConfig, 0x42A0)
	w.Unplug()
	if err := w.Tx(defaultAddress, []byte{0}, nil); !errors.Is(err, ErrNACK) {
		t.Errorf("unplugged: %v", err)
	}
	w.Plug()
	if got := reg(t, w, regConfig); got != porConfig {
		t.Errorf("plugged in again: %#04x", got)
	}
}

// Any message at all may come over the bus; the chip answers, and can be told to convert afterwards.
func FuzzTwin(f *testing.F) {
	f.Add([]byte{1, 0x42, 0xA0}, []byte{2, 0, 0}, uint8(2))
	f.Add([]byte{1, 0xC3, 0x83}, []byte{0}, uint8(4))
	f.Add([]byte{1, 0x0F, 0xFF, 9}, []byte{}, uint8(1))
	f.Fuzz(func(t *testing.T, a, b []byte, n uint8) {
		clock := kit.NewManual(start)
		w := silentTwin(clock)
		for _, message := range [][]byte{a, b, a} {
			if err := w.Tx(defaultAddress, message, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			clock.Advance(time.Second)
		}
		c := chip{bus: at49{w}}
		if err := c.start(5, onReady); err != nil {
			t.Fatal(err)
		}
		clock.Advance(10 * time.Millisecond)
		if v, err := c.conversion(); err != nil || v != 13200 {
			t.Fatalf("%d, %v", v, err)
		}
		if lost, err := c.lost(); err != nil || lost {
			t.Fatalf("lost %v, %v", lost, err)
		}
	})
}

type at49 struct{ *Twin }

func (a at49) Tx(w, r []byte) error { return a.Twin.Tx(defaultAddress, w, r) }
