package scale

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Reports as scales on the market send them: 03 STATUS UNIT SCALING LOW HIGH.
func TestReports(t *testing.T) {
	for _, c := range []struct {
		report, want string
	}{
		{"03 04 03 FF D5 02", "72.5"},  // kg, x 0.1
		{"03 04 03 FE 52 1C", "72.50"}, // kg, x 0.01
		{"03 04 03 00 48 00", "72"},    //
		{"03 04 02 00 7A 0D", "3.450"}, // g: a newborn
		{"03 04 02 01 59 01", "3.45"},  // g, x 10
		{"03 04 02 FF 90 00", "0.0144"},
		{"03 04 01 00 90 00", "0.000144"}, // mg
		{"03 04 0C FF 3F 06", "72.53"},    // 159.9 lb = 72.529419963 kg
		{"03 04 0C 00 A0 00", "72.6"},     // 160 lb = 72.5747792 kg
		{"03 04 0C FE 01 00", "0.005"},    // 0.01 lb = 0.0045359237 kg
		{"03 04 0C FF 01 00", "0.05"},     // 0.1 lb = 0.045359237 kg
		{"03 04 0B FF 34 19", "18.291"},   // 645.2 oz, of a parcel scale's own documents: 18.29111... kg
		{"03 04 0B 00 01 00", "0.03"},     // 1 oz = 0.028349523125 kg
		{"03 04 0B FF 01 00", "0.003"},
	} {
		r, other, err := parseReport(unhex(t, c.report), 3)
		if err != nil || other {
			t.Fatalf("%s: %v", c.report, err)
		}
		if kg, ok := r.kilograms(); !ok || kg.String() != c.want {
			t.Errorf("%s: %s kg, %v; want %s", c.report, kg, ok, c.want)
		}
	}
}

// The definitions: 1 lb = 0.45359237 kg, 16 oz = 1 lb.
func TestUnits(t *testing.T) {
	kg := func(u unit) *big.Rat {
		coef, exp, _ := u.kilograms()
		return new(big.Rat).Mul(big.NewRat(coef, 1), ten(int64(exp)))
	}
	if got := kg(pound).FloatString(9); got != "0.453592370" {
		t.Errorf("1 lb = %s kg", got)
	}
	if lb := new(big.Rat).Mul(kg(ounce), big.NewRat(16, 1)); lb.Cmp(kg(pound)) != 0 {
		t.Errorf("16 oz = %s kg", lb.FloatString(12))
	}
	for u, n := range map[unit]int64{kilogram: 1, gram: 1000, milligram: 1_000_000} {
		if kg(u).Cmp(big.NewRat(1, n)) != 0 {
			t.Errorf("unit %d is not 1/%d kg", u, n)
		}
	}
}

func TestWhatIsNoWeight(t *testing.T) {
	for _, c := range []struct {
		why string
		r   report
	}{
		{"stones", report{stable, 13, 0, 10}}, {"no unit", report{stable, 0, 0, 10}}, {"tons", report{stable, 9, 0, 1}},
		{"more than any person", report{stable, kilogram, 0, 1001}}, {"10 kg a step", report{stable, kilogram, 1, 7}},
		{"nonsense in the scaling", report{stable, kilogram, -128, 7}}, {"and the other way", report{stable, gram, 127, 7}},
		{"too fine", report{stable, milligram, -1, 7}}, {"too fine", report{stable, pound, -6, 7}},
	} {
		if kg, ok := c.r.kilograms(); ok {
			t.Errorf("%s: %s kg", c.why, kg)
		}
	}
	if kg, ok := (report{stable, kilogram, 0, 1000}).kilograms(); !ok || kg.String() != "1000" {
		t.Errorf("1000 kg: %s, %v", kg, ok)
	}
}

func TestParseReport(t *testing.T) {
	for _, c := range []struct {
		name, hex string
		id        uint8
		other     bool
		bad       bool
	}{
		{"numbered", "03 02 03 FF 00 00", 3, false, false},
		{"not numbered", "02 03 FF 00 00", 0, false, false},
		{"another id", "03 04 03 FF 00 00", 4, true, false},
		{"of another report", "01 04", 3, true, false},
		{"short", "03 04 03 FF 00", 3, false, true},
		{"long", "03 04 03 FF 00 00 00", 3, false, true},
		{"empty", "", 3, false, true},
		{"empty, not numbered", "", 0, false, true},
		{"status 0", "03 00 03 FF 00 00", 3, false, true},
		{"status 9", "03 09 03 FF 00 00", 3, false, true},
	} {
		_, other, err := parseReport(unhex(t, c.hex), c.id)
		if other != c.other || (err != nil) != c.bad || err != nil && !errors.Is(err, errReport) {
			t.Errorf("%s: %v, %v", c.name, other, err)
		}
	}
}

func TestDescriptor(t *testing.T) {
	numbered := Descriptor()
	plain := slices.Concat(numbered[:6], bytes.ReplaceAll(numbered[21:], []byte{0x85, dataID}, nil)) // no attribute report
	mouse := unhex(t, "05 01 09 02 A1 01 09 01 A1 00 05 09 19 01 29 03 15 00 25 01 95 03 75 01 81 02 95 01 75 05 81 01 "+
		"05 01 09 30 09 31 15 81 25 7F 75 08 95 02 81 06 C0 C0")
	for _, c := range []struct {
		name string
		desc []byte
		want layout
		bad  bool
	}{
		{"a scale", numbered, layout{true, 3, 40}, false},
		{"one without report ids", plain, layout{true, 0, 40}, false},
		{"a mouse", mouse, layout{}, false},
		{"nothing", nil, layout{}, false},
		{"another place for the weight", unhex(t, "05 8D 09 01 A1 01 85 07 09 40 75 20 95 01 81 02 C0"), layout{true, 7, 32}, false},
		{"usage with its page, pages pushed",
			unhex(t, "05 8D 09 20 A1 01 A4 05 01 B4 85 09 0B 40 00 8D 00 75 10 95 01 81 02 C0"), layout{true, 9, 16}, false},
		{"a long item within", unhex(t, "FE 02 F0 AA BB 05 8D 09 20 A1 01 C0"), layout{true, 0, 0}, false},
		{"a scale inside of something else", unhex(t, "05 01 09 06 A1 01 05 8D 09 20 A1 02 C0 C0"), layout{}, false},
		{"cut off", numbered[:len(numbered)-2], layout{true, 3, 40}, false}, // open collections harm nobody
		{"cut within an item", unhex(t, "05 8D 27 FF FF"), layout{}, true},
		{"cut within a long item", unhex(t, "FE 09 01 00"), layout{}, true},
		{"ends without a beginning", unhex(t, "C0"), layout{}, true},
		{"pop without push", unhex(t, "B4"), layout{}, true},
		{"id 0", unhex(t, "85 00"), layout{}, true},
		{"nested without end", bytes.Repeat([]byte{0xA1, 0x00}, 40), layout{}, true},
		{"pushed without end", bytes.Repeat([]byte{0xA4}, 40), layout{}, true},
		{"too long", make([]byte, 4097), layout{}, true},
	} {
		got, err := parseDescriptor(c.desc)
		if (err != nil) != c.bad || got != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add(unhex(f, "03 04 03 FF D5 02"), uint8(3))
	f.Add(unhex(f, "03 04 0B FF 34 19"), uint8(3))
	f.Add(unhex(f, "04 0C FE FF FF"), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, id uint8) {
		r, other, err := parseReport(b, id)
		if other || err != nil {
			return
		}
		if again := r.appendTo(nil, id); !bytes.Equal(again[1:], b[len(b)-5:]) {
			t.Fatalf("% x is written % x", b, again)
		}
		kg, ok := r.kilograms()
		if !ok {
			if kg.Exp == 0 && r.unit == kilogram && r.scaling == 0 && r.raw <= heaviest {
				t.Fatalf("% x is no weight", b)
			}
			return
		}
		// The same by exact arithmetic: never further off than half of the last digit, and that digit is no larger than
		// a step.
		coef, exp, _ := r.unit.kilograms()
		step := new(big.Rat).Mul(big.NewRat(coef, 1), ten(int64(exp)+int64(r.scaling)))
		exact := new(big.Rat).Mul(step, big.NewRat(int64(r.raw), 1))
		last := ten(int64(kg.Exp))
		off := new(big.Rat).Sub(new(big.Rat).Mul(big.NewRat(kg.Coef, 1), last), exact)
		if off.Abs(off).Cmp(new(big.Rat).Mul(last, big.NewRat(1, 2))) > 0 {
			t.Fatalf("%s kg is %s off", kg, off.FloatString(12))
		}
		if last.Cmp(step) > 0 || new(big.Rat).Mul(last, big.NewRat(10, 1)).Cmp(step) <= 0 {
			t.Fatalf("%s kg for a step of %s", kg, step.FloatString(12))
		}
		if kg.Coef < 0 || exact.Cmp(big.NewRat(1001, 1)) > 0 {
			t.Fatalf("%s kg", kg)
		}
	})
}

func ten(n int64) *big.Rat {
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(max(n, -n)), nil)
	if n < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), p)
	}
	return new(big.Rat).SetInt(p)
}

func FuzzDescriptor(f *testing.F) {
	f.Add(Descriptor())
	f.Add(unhex(f, "05 01 09 06 A1 01 05 8D 09 20 A1 02 C0 C0"))
	f.Add(unhex(f, "FE 02 F0 AA BB 05 8D 09 20 A1 01 C0"))
	f.Add(bytes.Repeat([]byte{0x09, 0x32}, 2000))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseDescriptor(b)
		if err != nil {
			if l != (layout{}) {
				t.Fatalf("%+v, and %v", l, err)
			}
			return
		}
		if l.scale && !bytes.Contains(b, []byte{0x8D}) {
			t.Fatal("a scale without its usage page")
		}
		// What follows an understood descriptor's end is understood as if it stood alone, unless something is left open.
		if both, err := parseDescriptor(slices.Concat(Descriptor(), b)); err == nil && len(b) > 0 && (!both.scale || both.data != 3) {
			t.Fatalf("after a scale's: %+v", both)
		}
	})
}
