package mlx90614

import (
	"errors"
	"sync/atomic"
	"testing"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/simbus"
)

// The reference's vectors; the first three are those of the datasheet's examples.
func TestPEC(t *testing.T) {
	for _, c := range []struct {
		name string
		got  byte
		want byte
	}{
		{"read 07 -> D2 3A", readPEC(0x5A, 0x07, 0xD2, 0x3A), 0x30},
		{"write 22 <- 07 C8", writePEC(0x5A, 0x22, 0x07, 0xC8), 0x48},
		{"sleep", writePEC(0x5A, 0xFF), 0xE8},
		{"read 07 -> 5A 3C", readPEC(0x5A, 0x07, 0x5A, 0x3C), 0x3C},
		{"write 24 <- 00 00", writePEC(0x5A, 0x24, 0x00, 0x00), 0x28},
		{"write 24 <- E1 FA", writePEC(0x5A, 0x24, 0xE1, 0xFA), 0x96},
		{"123456789", crc8([]byte("123456789")...), 0xF4},
		{"all bytes, by hand", crc8(0xB4, 0x07, 0xB5, 0xD2, 0x3A), 0x30},
	} {
		if c.got != c.want {
			t.Errorf("%s: %#02x, want %#02x", c.name, c.got, c.want)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		raw   uint16
		value string // "" is none
		why   device.Reason
	}{
		{0x3C5A, "35.85", ""}, // the reference's vector
		{0x3AD2, "28.01", ""},
		{0x3E14, "44.69", ""},
		{0x3943, "20.03", ""},
		{0x3942, "20.01", ""},
		{0x3941, "", NoSkin}, // 19.99
		{0x3E23, "44.99", ""},
		{0x3E24, "", NoSkin}, // 45.01
		{0x0000, "", NoSkin}, // -273.15: no data yet
		{0x7FFF, "", NoSkin},
		{0x8000 | 0x3C5A, "", device.SensorFault},
		{0xFFFF, "", device.SensorFault},
	} {
		d, why := judge(c.raw)
		if why != c.why || c.value == "" && d != (device.Decimal{}) || c.value != "" && d.String() != c.value {
			t.Errorf("%#04x = %s %q, want %s %q", c.raw, d, why, c.value, c.why)
		}
	}
}

// parrot is a chip that answers whatever it was given.
type parrot struct{ answers []byte }

func (p *parrot) Tx(_ uint16, _, r []byte) error {
	for i := range r {
		r[i] = 0xFF
	}
	p.answers = p.answers[copy(r, p.answers):]
	return nil
}

// Of arbitrary answers: a word is believed only if its own checksum is right, within three tries; a value is in range, exact, and
// alone or with a reason.
func FuzzRead(f *testing.F) {
	f.Add(uint8(0x5A), uint8(0x07), []byte{0xD2, 0x3A, 0x30})
	f.Add(uint8(0x5A), uint8(0x07), []byte{0x5A, 0x3C, 0x3D, 0x5A, 0x3C, 0x3C})
	f.Add(uint8(0x5A), uint8(0x24), []byte{0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Fuzz(func(t *testing.T, addr, cmd uint8, answers []byte) {
		addr = 0x08 + addr%(0x78-0x08)
		sim := &simbus.Bus{}
		sim.Attach(uint16(addr), &parrot{answers})
		opened, err := bus.Simulated(sim.Open).Open("/dev/i2c-1", "", uint16(addr), "x")
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		var broken atomic.Uint64
		word, err := chip{Chip: opened, addr: uint16(addr), check: strict, broken: &broken}.read(cmd)

		padded := append(append([]byte{}, answers...), 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)
		first := -1
		for i := range tries {
			if b := padded[3*i:]; crc8(addr<<1, cmd, addr<<1|1, b[0], b[1], b[2]) == 0 { // a code over its own code is 0
				first = i
				break
			}
		}
		switch {
		case first < 0:
			if !errors.Is(err, ErrPEC) || broken.Load() != tries {
				t.Fatalf("% x gave %#04x, %v, %d broken", answers, word, err, broken.Load())
			}
			return
		case err != nil || word != uint16(padded[3*first+1])<<8|uint16(padded[3*first]) || broken.Load() != uint64(first):
			t.Fatalf("% x gave %#04x, %v, %d broken", answers, word, err, broken.Load())
		}
		d, why := judge(word)
		switch {
		case why != "" && d != (device.Decimal{}):
			t.Fatalf("%#04x is absent (%s) and %s", word, why, d)
		case why == "" && (d.Exp != -2 || d.Coef < 2000 || d.Coef > 4500 || d.Coef+27315 != 2*int64(word)):
			t.Fatalf("%#04x is %s", word, d)
		}
	})
}

// One wrong bit is always seen.
func FuzzPEC(f *testing.F) {
	f.Add([]byte{0xB4, 0x07, 0xB5, 0xD2, 0x3A}, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, bit uint8) {
		if len(b) == 0 || len(b) > 14 { // 127 bits with the code, within which two wrong ones are seen, too
			return
		}
		whole := append(append([]byte{}, b...), crc8(b...))
		if crc8(whole...) != 0 {
			t.Fatalf("% x", whole)
		}
		i := int(bit) % (8 * len(whole))
		whole[i/8] ^= 0x80 >> (i % 8)
		if crc8(whole...) == 0 {
			t.Fatalf("bit %d of % x goes unseen", i, whole)
		}
	})
}
