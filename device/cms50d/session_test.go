package cms50d

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/oximeter/line"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// scan gives the packets in bytes.
func scan(b []byte) (out []Packet) {
	var s scanner
	for _, x := range b {
		if p, did := s.take(x); did == packet {
			out = append(out, p)
		}
	}
	return out
}

func TestVectors(t *testing.T) {
	for _, c := range []struct {
		bytes      string
		rate, spo2 int
		why        device.Reason
	}{
		{"85 3C 03 48 61", 72, 97, ""},
		{"C5 3C 43 16 61", 150, 97, ""}, // with beep
		{"A5 3C 03 48 61", 72, 97, ""},  // SpO2 dropping
		{"95 3C 03 48 61", 72, 97, device.NoFinger},
		{"85 3C 23 48 61", 72, 97, device.NotYet},
		{"85 3C 13 48 61", 72, 97, device.SensorFault},
		{"95 00 73 7F 7F", 255, 127, device.SensorFault},
		{"80 00 00 00 00", 0, 0, ""},
	} {
		got := scan(append(unhex(c.bytes), syncBit))
		if len(got) != 1 || got[0].Rate != c.rate || got[0].Saturation != c.spo2 || got[0].Why != c.why {
			t.Errorf("%s: %+v", c.bytes, got)
			continue
		}
		if again := scan(append(got[0].Append(nil), syncBit)); len(again) != 1 || again[0] != got[0] {
			t.Errorf("%s written again: %+v", c.bytes, again)
		}
	}
	if b := (Packet{Rate: 72, Saturation: 97, Pleth: 0x1C, Strength: 5}).Append(nil); !bytes.Equal(b, unhex("85 1C 03 48 61")) {
		t.Errorf("% x", b)
	}
}

func TestFiveBytesAndNoOther(t *testing.T) {
	const good = "85 3C 03 48 61"
	for _, c := range []struct {
		name, bytes string
		want        int
	}{
		{"two", good + good + "80", 2},
		{"the second not yet ended", good + good, 1},
		{"joined in the middle", "03 48 61" + good + "80", 1},
		{"a byte lost", "85 3C 03 48" + good + "80", 1},
		{"a byte too many", good + "00" + good + "80", 1},
		{"many too many", good + "00 01 02 03 04 05 06 07 08 09" + good + "80", 1},
		{"the beginning lost", good + "3C 03 48 61" + good + "80", 1},
		{"nothing but beginnings", "85 85 85 85 85 85", 0},
	} {
		if got := scan(unhex(c.bytes)); len(got) != c.want {
			t.Errorf("%s: %d packets, want %d", c.name, len(got), c.want)
		}
	}
}

// bench is a session, the time it lives in, and what it told.
type bench struct {
	s        *Session
	clock    *kit.Manual
	lines    []string
	readings []device.Reading
	samples  []device.Samples
}

func newBench() *bench {
	b := &bench{clock: kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))}
	b.s = NewSession(device.Identity{Name: "oximeter", Grade: device.Consumer}, kit.NewStamper(b.clock, nil), b, b.clock.Now())
	return b
}

func (b *bench) Observe(o device.Observation) {
	line := ""
	switch o := o.(type) {
	case device.Health:
		line = strings.TrimSpace(fmt.Sprintf("health %s %s", o.State, o.Reason))
	case device.Samples:
		o.Values = slices.Clone(o.Values)
		b.samples = append(b.samples, o)
		return
	case device.Reading:
		b.readings = append(b.readings, o)
		if line = fmt.Sprintf("%s %s%s", o.Quantity, o.Value, o.Unit); o.Absent != "" {
			line = o.Quantity + " absent " + string(o.Absent)
		}
	}
	b.lines = append(b.lines, line)
}

func (b *bench) take(c line.Chunk) {
	if answer, err := b.s.Take(b.clock.Now(), c); err != nil || len(answer) > 0 {
		panic("it answers")
	}
}

// send sends packets, one every sixtieth of a second.
func (b *bench) send(n int, p Packet) {
	for range n {
		b.clock.Advance(time.Second / perSecond)
		b.take(line.Chunk{Bytes: p.Append(nil)})
	}
}

// silence lets time pass as a line does.
func (b *bench) silence(d time.Duration) {
	for ; d > 0; d -= line.Wait {
		b.clock.Advance(min(d, line.Wait))
		b.take(line.Chunk{})
	}
}

func (b *bench) expect(t *testing.T, lines ...string) {
	t.Helper()
	if !slices.Equal(b.lines, lines) {
		t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(b.lines, "\n\t"), strings.Join(lines, "\n\t"))
	}
	b.lines = nil
}

var good = Packet{Rate: 72, Saturation: 97, Pleth: 60, Strength: 5}

func told(state string) []string {
	return []string{state, "oxygen-saturation 97%", "pulse-rate 72/min"}
}

// found is a session that has found its oximeter.
func found(t *testing.T) *bench {
	t.Helper()
	b := newBench()
	b.send(59, good)
	b.expect(t)
	b.send(3, good)
	b.expect(t, told("health live")...)
	return b
}

func TestOnceASecond(t *testing.T) {
	b := found(t)
	b.send(600, good)
	if n := len(b.readings); n < 20 || n > 22 {
		t.Errorf("%d readings in 11 s: want two a second", n)
	}
	for _, r := range b.readings {
		if r.Period != device.Duration(time.Second) || r.Instrument.Grade != device.Consumer || r.Quality != "" {
			t.Errorf("%+v", r)
		}
	}
	values := 0
	for _, x := range b.samples {
		if values += len(x.Values); x.RateHz != 60 || x.Unit != "1" || x.Instrument.Grade != device.Consumer {
			t.Errorf("%+v", x)
		}
	}
	if values < 580 || values > 602 {
		t.Errorf("%d values of pleth in 10 s: want about 600", values)
	}
}

func TestWhatIsAbsent(t *testing.T) {
	both := func(state string, why device.Reason) []string {
		return []string{fmt.Sprintf("health %s %s", state, why), "oxygen-saturation absent " + string(why), "pulse-rate absent " + string(why)}
	}
	for _, c := range []struct {
		name  string
		p     Packet
		want  []string
		waves int
	}{
		{"finger out", Packet{Rate: 72, Saturation: 97, Why: device.NoFinger}, both("settling", device.NoFinger), 0},
		{"searching", Packet{Rate: 72, Saturation: 97, Why: device.NotYet}, both("settling", device.NotYet), 3},
		{"probe error", Packet{Rate: 72, Saturation: 97, Why: device.SensorFault}, both("faulty", device.SensorFault), 0},
		{"zeros", Packet{}, both("settling", device.LowSignal), 3},
		{"all ones", Packet{Rate: 255, Saturation: 127}, both("settling", device.LowSignal), 3},
		{"no rate", Packet{Saturation: 97}, []string{"health settling low-signal", "oxygen-saturation 97%", "pulse-rate absent low-signal"}, 3},
		{"no saturation", Packet{Rate: 72}, []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate 72/min"}, 3},
		{"impossible", Packet{Rate: 29, Saturation: 101}, both("faulty", device.SensorFault), 3},
		{"impossible too", Packet{Rate: 251, Saturation: 34}, both("faulty", device.SensorFault), 3},
		{"low, and possible", Packet{Rate: 30, Saturation: 35}, []string{"health live", "oxygen-saturation 35%", "pulse-rate 30/min"}, 3},
		{"high, and possible", Packet{Rate: 250, Saturation: 100}, []string{"health live", "oxygen-saturation 100%", "pulse-rate 250/min"}, 3},
	} {
		b := found(t)
		b.samples, b.s.pleth = nil, nil
		b.send(62, c.p)
		if !slices.Equal(b.lines, c.want) || len(b.samples) != c.waves {
			t.Errorf("%s: %q and %d stretches of pleth, want %q and %d", c.name, b.lines, len(b.samples), c.want, c.waves)
		}
		b = newBench() // one that never had a value is found all the same, unless it says what can't be
		b.send(62, c.p)
		if strings.HasPrefix(c.name, "impossible") == b.s.Found() {
			t.Errorf("%s: found is %v", c.name, b.s.Found())
		}
	}
}

// One packet is nothing: a quarter of a second must agree.
func TestNothingIsBelievedAtOnce(t *testing.T) {
	b := found(t)
	b.send(50, good)
	b.send(12, Packet{Rate: 72, Saturation: 33}) // the second is over
	b.expect(t)
	b.send(14, good) // and begins to agree again
	b.expect(t)
	b.send(1, good)
	b.send(1, good)
	b.expect(t, told("health live")...)

	for range 70 { // it never agrees
		b.send(1, good)
		b.send(1, Packet{Rate: 73, Saturation: 97})
	}
	b.expect(t, "health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal")
}

// A line that loses every third packet is no source of numbers, whatever the others say.
func TestTooFewPackets(t *testing.T) {
	b := found(t)
	for range 60 {
		b.send(2, good)
		b.clock.Advance(time.Second / perSecond)
		b.take(line.Chunk{Bytes: []byte{0x85, 0x3C}})
	}
	if !slices.Contains(b.lines, "oxygen-saturation absent low-signal") || slices.Contains(b.lines, "oxygen-saturation 97%") {
		t.Errorf("told %q", b.lines)
	}
	b = newBench() // nor is one found on it
	for range 200 {
		b.send(2, good)
		b.clock.Advance(time.Second / perSecond)
	}
	if b.s.Found() {
		t.Error("found")
	}
}

func TestDamagedByteBreaksTheRow(t *testing.T) {
	b := found(t)
	for range 20 {
		b.send(8, good)
		b.take(line.Chunk{Damaged: 1})
	}
	for range 20 { // nor does a byte that nobody missed on the way
		b.send(8, good)
		b.clock.Advance(time.Second / perSecond)
		b.take(line.Chunk{Bytes: good.Append(nil)[:4]})
	}
	if slices.Contains(b.lines, "oxygen-saturation 97%") {
		t.Errorf("told %q", b.lines)
	}
}

func TestSilence(t *testing.T) {
	b := found(t)
	b.silence(2900 * time.Millisecond)
	b.expect(t)
	b.silence(200 * time.Millisecond)
	b.expect(t, "health absent no-data")
	if b.s.Found() {
		t.Error("still found")
	}
	b.silence(20 * time.Second)
	b.lines = nil
	for i := 0; !b.s.Found() && i < 185; i++ { // the parity may change under it once
		b.send(1, good)
	}
	b.expect(t, told("health live")...)

	b = newBench()
	for range 90 { // nine seconds
		b.clock.Advance(100 * time.Millisecond)
		b.take(line.Chunk{Bytes: bytes.Repeat([]byte{0x55, 0xAA}, 10)})
	}
	b.expect(t, "health faulty unknown-format")
}

// Both parities are tried in turn, until there are packets; then it stays.
func TestParity(t *testing.T) {
	b := newBench()
	var seen []line.Parity
	for range 90 {
		if m := b.s.Mode(); m.Baud != 19200 {
			t.Fatalf("mode %v", m)
		} else if len(seen) == 0 || seen[len(seen)-1] != m.Parity {
			seen = append(seen, m.Parity)
		}
		b.silence(100 * time.Millisecond)
	}
	if !slices.Equal(seen, []line.Parity{line.Odd, line.None, line.Odd, line.None, line.Odd}) {
		t.Errorf("tried %v in 9 s", seen)
	}
	for b.s.Mode().Parity != line.None {
		b.silence(100 * time.Millisecond)
	}
	b.send(600, good)
	if b.s.Mode().Parity != line.None {
		t.Error("it went on searching")
	}
}

// The wrong parity damages the bytes with an odd number of ones (or with an even one): what comes through is right, or nothing.
func TestWrongParityGivesNoWrongNumber(t *testing.T) {
	for seed := range uint64(20) {
		b, s := newBench(), NewStream(seed)
		sent := map[string]bool{}
		for i := range 1200 {
			if i%100 == 0 {
				s.rate, s.spo2 = 30+s.rng.IntN(220), 80+s.rng.IntN(20)
			}
			p := s.Packet(Healthy)
			sent[fmt.Sprintf("oxygen-saturation %d%%", p.Saturation)], sent[fmt.Sprintf("pulse-rate %d/min", p.Rate)] = true, true
			c := line.Chunk{}
			for _, x := range p.Append(nil) {
				if ones := x ^ x>>4; (ones^ones>>2^ones>>1^ones>>3)&1 == byte(seed&1) {
					c.Bytes = append(c.Bytes, x)
				} else {
					c.Damaged++
				}
			}
			b.clock.Advance(time.Second / perSecond)
			b.take(c)
		}
		for _, l := range b.lines {
			if !sent[l] && !strings.HasPrefix(l, "health") && !strings.Contains(l, "absent") {
				t.Fatalf("seed %d: told %q, which was never sent", seed, l)
			}
		}
	}
}

// Noise that nothing marks: there are fewer numbers, not wrong ones.
func TestNoise(t *testing.T) {
	b, s := newBench(), NewStream(7)
	for range 15 * 600 {
		b.clock.Advance(batch * time.Second / perSecond)
		b.take(line.Chunk{Bytes: s.Bytes(Noise)})
	}
	numbers := 0
	for _, r := range b.readings {
		low, high := int64(78), int64(90)
		if r.Quantity == saturation {
			low, high = 95, 98
		}
		if r.Absent == "" {
			numbers++
			if r.Value.Coef < low || r.Value.Coef > high {
				t.Errorf("%s %s", r.Quantity, r.Value)
			}
		}
	}
	if numbers < 600 {
		t.Errorf("%d numbers in 10 minutes", numbers)
	}
}
