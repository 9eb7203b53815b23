package max30205

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"telecart/device/bus/wiring"
	"telecart/device/kit"
	"telecart/device/tmp117"
)

// lm75 is a chip with the same registers, whose configuration keeps five bits.
type lm75 struct{ config byte }

func (l *lm75) Tx(_ uint16, w, r []byte) error {
	if len(w) == 2 && w[0] == regConfig {
		l.config = w[1] & 0x1F
	}
	for i := range r {
		r[i] = 0x19
		if w[0] == regConfig {
			r[i] = l.config
		}
	}
	return nil
}

func TestAnotherChip(t *testing.T) {
	clock := kit.NewManual(start)
	other := tmp117.NewTwin(clock, 0x48)
	if err := on(t, with(other), clock, &log{}).Run(t.Context()); !errors.Is(err, wiring.ErrWrongChip) {
		t.Errorf("a TMP117: %v", err)
	}
	simple := &lm75{config: 0x1A}
	err := on(t, with(simple), clock, &log{}).Run(t.Context())
	if !errors.Is(err, wiring.ErrWrongChip) || !strings.Contains(err.Error(), "0x19 after 0x79") {
		t.Errorf("an LM75: %v", err)
	}
	if simple.config != 0x1A {
		t.Errorf("its configuration was %#02x, and is now %#02x", 0x1A, simple.config)
	}
}

// What keeps any byte is not yet a thermometer.
func TestProbeReadsABedsideTemperature(t *testing.T) {
	for milli, want := range map[int]error{
		9_900: wiring.ErrWrongChip, 10_100: context.Canceled, 59_900: context.Canceled, 60_100: wiring.ErrWrongChip,
	} {
		clock := kit.NewManual(start)
		twin := NewTwin(clock, 0x48)
		twin.SetTemperature(milli)
		if err := twin.Write([]byte{regConfig, 0x1A}); err != nil {
			t.Fatal(err)
		}
		err := drive(on(t, with(twin), clock, &log{}), clock, 200*time.Millisecond, nothing)
		if !errors.Is(err, want) {
			t.Errorf("%d mCel: %v, want %v", milli, err, want)
		}
		b := []byte{0}
		if want == wiring.ErrWrongChip {
			if err := twin.Read(b); err != nil || b[0] != 0x1A {
				t.Errorf("the configuration is %#02x, %v: it must be put back", b[0], err)
			}
		}
	}
}
