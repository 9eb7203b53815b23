package nonin

import (
	"slices"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/oximeter/line"
)

func TestShortVectors(t *testing.T) {
	for _, c := range []struct {
		bytes      string
		rate, spo2 int
		ok         bool
	}{
		{"80 48 61", 72, 97, true},
		{"81 16 61", 150, 97, true},
		{"80 48 61 00", 72, 97, true},
		{"81 16 61 20", 150, 97, true},
		{"C3 7F 7F", 511, 127, true},
		{"82 41 64", 321, 100, true},
		{"82 42 64", 322, 100, false},
		{"80 11 61", 17, 97, false},
		{"80 48 65", 72, 101, false},
		{"80 48 00", 72, 0, false},
		{"00 48 61", 72, 97, false},
		{"80 C8 61", 72, 97, false},
		{"80 48 E1", 72, 97, false},
		{"80 48 61 80", 72, 97, false},
		{"80 48", 0, 0, false},
		{"80 48 61 00 00", 0, 0, false},
		{"", 0, 0, false},
	} {
		s, ok := parseShort(unhex(c.bytes))
		if ok != c.ok || ok && (s.Rate != c.rate || s.Saturation != c.spo2) {
			t.Errorf("%s: %+v, %v", c.bytes, s, ok)
		}
		if ok && !slices.Equal(s.Append(nil), unhex(c.bytes)) {
			t.Errorf("%s written again: % x", c.bytes, s.Append(nil))
		}
	}
}

const (
	live    = "health live"
	good    = "oxygen-saturation 97% good-perfusion"
	rate72  = "pulse-rate 72/min good-perfusion"
	noSpo2  = "oxygen-saturation absent "
	noRate  = "pulse-rate absent "
	settles = "health settling "
)

// locked is a session that has found format 1 or 8.
func locked(t *testing.T, packet string) *bench {
	t.Helper()
	b := newBench()
	for range 3 {
		b.expect(t)
		b.after(time.Second, unhex(packet))
	}
	b.after(400*time.Millisecond, nil)
	b.expect(t)
	b.after(tick, nil)
	if n := len(b.numbers()); n != 2 || b.lines[0] != live {
		t.Fatalf("%d numbers, %q", n, b.lines)
	}
	b.lines = nil
	return b
}

func TestThreePacketsThenNumbers(t *testing.T) {
	for packet, f := range map[string]Format{"80 48 61": Format1, "80 48 61 00": Format8} {
		b := locked(t, packet)
		if b.s.Found() != f || len(b.readings) != 2 {
			t.Errorf("found %d, %d readings", b.s.Found(), len(b.readings))
		}
		r := b.readings[0]
		if r.Period != device.Duration(time.Second) || r.StaleAfter() != 3*time.Second {
			t.Errorf("period %v, stale after %v", r.Period, r.StaleAfter())
		}
		if late := b.clock.Now().Sub(r.At.Wall); late != 500*time.Millisecond {
			t.Errorf("stamped %v before it was told: want the moment of its last byte", late)
		}
		if len(b.samples) > 0 {
			t.Error("pleth without pleth")
		}
	}
}

func TestShortStates(t *testing.T) {
	both := func(health, why string) []string { return []string{health + why, noSpo2 + why, noRate + why} }
	for _, c := range []struct {
		name, bytes string
		want        []string
	}{
		{"sensor disconnected", "C3 7F 7F", both("health faulty ", "no-sensor")},
		{"sensor disconnected, old numbers", "C0 48 61", both("health faulty ", "no-sensor")},
		{"out of track", "A0 48 61", both(settles, "low-signal")},
		{"no values", "83 7F 7F", both(settles, "low-signal")},
		{"no rate", "83 7F 61", []string{settles + "low-signal", "oxygen-saturation 97% good-perfusion", noRate + "low-signal"}},
		{"one artifact", "84 48 61", []string{live, "oxygen-saturation 97% artifact", "pulse-rate 72/min artifact"}},
		{"low perfusion", "90 48 61", []string{live, "oxygen-saturation 97% low-perfusion", "pulse-rate 72/min low-perfusion"}},
		{"marginal perfusion", "88 48 61", []string{live, "oxygen-saturation 97% marginal-perfusion", "pulse-rate 72/min marginal-perfusion"}},
	} {
		for _, f := range []Format{Format1, Format8} {
			also := ""
			if f == Format8 {
				also = " 00"
			}
			b := locked(t, "80 48 61"+also)
			b.after(500*time.Millisecond, unhex(c.bytes+also))
			b.after(500*time.Millisecond, nil)
			if !slices.Equal(b.lines, c.want) {
				t.Errorf("%s: %q, want %q", c.name, b.lines, c.want)
			}
		}
	}
	for bits, want := range map[string][]string{"08": both(settles, "no-finger"), "24": {live, good, rate72},
		"01": {"health live battery-low", good, rate72}, "02": {"health live battery-low", good, rate72}} {
		b := locked(t, "80 48 61 00")
		b.after(500*time.Millisecond, unhex("80 48 61 "+bits))
		b.after(500*time.Millisecond, nil)
		b.expect(t, want...)
	}
}

// What breaks the row before the format is sure.
func TestNoLock(t *testing.T) {
	for _, c := range []struct {
		name string
		gap  time.Duration
		seq  []string
	}{
		{"two packets only", time.Second, []string{"80 48 61", "80 48 61"}},
		{"too fast", 600 * time.Millisecond, []string{"80 48 61", "80 48 61", "80 48 61", "80 48 61", "80 48 61"}},
		{"too slow", 1500 * time.Millisecond, []string{"80 48 61", "80 48 61", "80 48 61", "80 48 61", "80 48 61"}},
		{"a wrong one in between", time.Second, []string{"80 48 61", "80 48 61", "00 48 61", "80 48 61", "80 48 61"}},
		{"one byte in between", time.Second, []string{"80 48 61", "80 48 61", "06", "80 48 61", "80 48 61"}},
		{"noise in the pauses", 550 * time.Millisecond, []string{"80 48 61", "06", "80 48 61", "06", "80 48 61", "06", "80 48 61"}},
		{"two packets at once", time.Second, []string{"80 48 61", "80 48 61 80 48 61", "80 48 61", "80 48 61"}},
		{"formats in turn", time.Second, []string{"80 48 61", "80 48 61 00", "80 48 61", "80 48 61 00", "80 48 61"}},
		{"saturations that don't go together", time.Second, []string{"80 48 61", "80 48 41", "80 48 61", "80 48 41", "80 48 61"}},
		{"rates that don't go together", time.Second, []string{"80 48 61", "81 48 61", "80 48 61", "81 48 61", "80 48 61"}},
		{"nothing that an oximeter sends", time.Second, []string{"80 05 61", "80 05 61", "80 05 61", "80 05 61"}},
	} {
		b := newBench()
		for _, bytes := range c.seq {
			b.after(c.gap, unhex(bytes))
		}
		b.after(time.Second, nil)
		if b.s.Found() != 0 || len(b.readings) > 0 {
			t.Errorf("%s: found format %d, %q", c.name, b.s.Found(), b.lines)
		}
	}
	b := newBench()
	for range 5 { // a damaged byte is no packet, though the others look like one
		b.after(time.Second, nil)
		b.take(line.Chunk{Bytes: unhex("80 48 61"), Damaged: 1})
	}
	b.after(time.Second, nil)
	if b.s.Found() != 0 {
		t.Error("found a format in damaged bytes")
	}
	b = newBench()
	for range 5 { // nor are bytes that trickle in
		b.after(800*time.Millisecond, unhex("80"))
		b.after(tick, unhex("48"))
		b.after(tick, unhex("61"))
	}
	b.after(time.Second, nil)
	if b.s.Found() != 0 {
		t.Error("found a format in bytes that trickle in")
	}
}

// One flipped bit is nothing for a second, not a number; a change that stays is believed the second time.
func TestShortJumps(t *testing.T) {
	b := locked(t, "80 48 61")
	next := func(bytes string, want ...string) {
		t.Helper()
		b.after(500*time.Millisecond, unhex(bytes))
		b.after(500*time.Millisecond, nil)
		b.expect(t, want...)
	}
	next("80 48 41", settles+"not-yet", noSpo2+"not-yet", rate72) // 97 with a bit flipped is 65
	next("80 48 61", live, good, rate72)
	next("81 48 61", settles+"not-yet", good, noRate+"not-yet") // 72 with a bit flipped is 200
	next("80 48 61", live, good, rate72)
	next("80 48 58", settles+"not-yet", noSpo2+"not-yet", rate72)
	next("80 48 57", live, "oxygen-saturation 87% good-perfusion", rate72)
	next("80 4F 56", live, "oxygen-saturation 86% good-perfusion", "pulse-rate 79/min good-perfusion")
	next("83 7F 7F", settles+"low-signal", noSpo2+"low-signal", noRate+"low-signal")
	next("80 48 61", settles+"not-yet", noSpo2+"not-yet", "pulse-rate 72/min good-perfusion") // 79 spoke for it
	next("80 48 61", live, good, rate72)
}

func TestShortLockIsLost(t *testing.T) {
	b := locked(t, "80 48 61 00")
	for _, bytes := range []string{"80 48 61", "80 48", "00 48 61 00", "80 48 61 00 00"} { // nothing of this is told
		b.after(600*time.Millisecond, unhex(bytes))
	}
	b.expect(t)
	b.after(time.Second, nil)
	b.expect(t, "health absent no-data")
	b.after(time.Second, unhex("80 48 61 00"))
	b.after(500*time.Millisecond, nil)
	b.expect(t) // three again
	if b.s.Found() != 0 {
		t.Errorf("found %d", b.s.Found())
	}
}

// Another oximeter is plugged into the cable of a format 8: its first whole packet tells.
func TestShortGivesWayToFrames(t *testing.T) {
	b := locked(t, "80 48 61 00")
	b.after(500*time.Millisecond, packet(Format7, isGreen, 88, 93).Append(nil)[3:])
	b.after(packetPeriod, sent(packet(Format7, isGreen, 88, 93)))
	b.expect(t, live, "oxygen-saturation 93% good-perfusion", "pulse-rate 88/min good-perfusion")
	if b.s.Found() != Format7 {
		t.Errorf("found %d", b.s.Found())
	}
}
