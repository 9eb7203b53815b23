package nonin

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// spot is a record as the reference describes it, written out by hand: 1 March 2026 08:15:30.25, 97 %, 72 a minute.
func spot(status string, rate, spo2 string, more string) []byte {
	data := unhex("14 1A 03 01 08 0F 1E 19" + status + rate + "00" + spo2 + more)
	b := append(unhex("00 02 00 02 00"), byte(len(data)))
	b = append(b, data...)
	return append(b, sum(data), 0x03)
}

func TestRecordVector(t *testing.T) {
	// 14+1A+03+01+08+0F+1E+19 +02+00 +00+48 +00+61 = 12B
	b := unhex("00 02 00 02 00 0E 14 1A 03 01 08 0F 1E 19 02 00 00 48 00 61 2B 03")
	if !bytes.Equal(b, spot("0200", "0048", "61", "")) {
		t.Fatalf("% x", spot("0200", "0048", "61", ""))
	}
	want := Record{Type: 2, Measured: time.Date(2026, 3, 1, 8, 15, 30, 250e6, time.UTC), Status: recordSmartPoint, Rate: 72, Saturation: 97}
	if r, answer := findRecord(b); r != want || answer != ack {
		t.Errorf("%+v, %#x", r, answer)
	}
	if !bytes.Equal(want.Append(nil), b) {
		t.Errorf("written again: % x", want.Append(nil))
	}
	if r, answer := findRecord(spot("0200", "0048", "61", "AA BB CC")); r != want || answer != ack {
		t.Errorf("a longer one: %+v, %#x", r, answer)
	}
	if r, _ := findRecord(append(unhex("00 02 00 02 00 0E 14 1A 02 1E 08 0F 1E 19 02 00 00 48 00 61"), 0x47, 3)); r.Rate != 72 || !r.Measured.IsZero() {
		t.Errorf("30 February: %+v", r)
	}
}

func TestAnswers(t *testing.T) {
	good := spot("0200", "0048", "61", "")
	change := func(at int, to byte) []byte {
		b := slices.Clone(good)
		b[at] = to
		return b
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		want  []byte
	}{
		{"whole", good, []byte{ack}},
		{"whole, after noise", append(unhex("00 02 06 FF 00"), good...), []byte{ack}},
		{"whole, after much noise", append(bytes.Repeat([]byte{0, 2}, 500), good...), []byte{ack}},
		{"a value damaged", change(19, 0x41), []byte{nak}},
		{"the check damaged", change(20, 0x41), []byte{nak}},
		{"the end damaged", change(21, 0x41), []byte{nak}},
		{"check and end damaged", append(good[:20:20], 0, 0), nil},
		{"the beginning damaged", change(1, 0x03), nil},
		{"the length damaged", change(5, 0x0F), nil},
		{"too short a length", change(5, 0x0D), nil},
		{"a byte lost", slices.Delete(slices.Clone(good), 9, 10), nil},
		{"half of it", good[:11], nil},
		{"something after it", append(slices.Clone(good), 0x03), nil},
		{"nothing like it", unhex("80 48 61"), nil},
	} {
		b := newBench()
		b.after(time.Second, nil)
		for piece := range slices.Chunk(c.bytes, 7) {
			b.after(time.Millisecond, piece)
			if len(b.answers) > 0 {
				t.Errorf("%s: answered before it was whole", c.name)
			}
		}
		b.after(3*tick, nil)
		if !bytes.Equal(b.answers, c.want) {
			t.Errorf("%s: answered % x, want % x", c.name, b.answers, c.want)
		}
	}
}

func TestRecordsAreToldOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes []byte
		want  []string
	}{
		{"good", spot("0200", "0048", "61", ""), []string{"health live", "oxygen-saturation 97%", "pulse-rate 72/min"}},
		{"low battery", spot("0201", "0048", "61", ""), []string{"health live battery-low", "oxygen-saturation 97%", "pulse-rate 72/min"}},
		{"no SmartPoint", spot("0000", "0048", "61", ""), []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal"}},
		{"no measurement", spot("0300", "0048", "61", ""), []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal"}},
		{"missing", spot("0200", "01FF", "7F", ""), []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal"}},
		{"missing, by 7 bits", spot("0200", "037F", "7F", ""), []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal"}},
		{"above 127", spot("0200", "0096", "61", ""), []string{"health live", "oxygen-saturation 97%", "pulse-rate 150/min"}},
		{"150 or 278", spot("0200", "0116", "61", ""), []string{"health settling low-signal", "oxygen-saturation 97%", "pulse-rate absent low-signal"}},
		{"impossible", spot("0200", "0048", "E1", ""), []string{"health faulty sensor-fault", "oxygen-saturation absent sensor-fault", "pulse-rate 72/min"}},
		{"from memory", spot("0210", "0048", "61", ""), []string{"health settling from-memory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench()
			b.after(time.Second, c.bytes)
			b.after(tick, nil)
			b.expect(t, c.want...)
			for _, r := range b.readings {
				if !r.Once() {
					t.Errorf("%+v: a spot check is no stream", r)
				}
			}
			b.after(time.Second, c.bytes) // our answer was lost
			b.after(tick, nil)
			b.expect(t)
			for range 100 { // silence is its nature
				b.after(tick, nil)
			}
			b.expect(t)
		})
	}
}

// What was told, and whose acknowledgement was lost, is no news when it comes again as one from memory.
func TestRecordFromMemory(t *testing.T) {
	b := newBench()
	for i, c := range []struct {
		bytes []byte
		want  []string
	}{
		{spot("0200", "0048", "61", ""), []string{"health live", "oxygen-saturation 97%", "pulse-rate 72/min"}},
		{spot("0210", "0048", "61", ""), nil},
		{spot("0210", "0050", "5F", ""), []string{"health settling from-memory"}},
		{spot("0200", "0048", "61", ""), []string{"health live", "oxygen-saturation 97%", "pulse-rate 72/min"}},
	} {
		b.after(time.Second, c.bytes)
		b.after(tick, nil)
		b.expect(t, c.want...)
		if len(b.answers) != i+1 || b.answers[i] != ack {
			t.Errorf("answered % x", b.answers)
		}
	}
}

func TestSpotCheckOximeterIsSilentByNature(t *testing.T) {
	b := newBench(Format13)
	for range 200 {
		b.after(tick, nil)
	}
	b.expect(t)
	b.after(tick, bytes.Repeat([]byte{0x55}, packetLen))
	for range 50 {
		b.after(tick, nil)
	}
	b.expect(t, "health faulty unknown-format")

	b = newBench() // and another oximeter may follow it
	b.after(time.Second, spot("0200", "0048", "61", ""))
	b.after(time.Minute, nil)
	b.lines = nil
	b.after(packetPeriod, sent(packet(Format2, isGreen, 88, 93)))
	b.expect(t, "health live", "oxygen-saturation 93% good-perfusion", "pulse-rate 88/min good-perfusion")
}

// Nothing is said to an oximeter that sends a stream, whatever looks like a record in it.
func TestNoAnswerWithinAStream(t *testing.T) {
	b := newBench()
	b.after(packetPeriod, sent(packet(Format7, isGreen, 88, 93)))
	b.after(packetPeriod, spot("0200", "0048", "61", ""))
	b.after(2*tick, nil)
	if len(b.answers) > 0 {
		t.Errorf("answered % x", b.answers)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(spot("0200", "0048", "61", ""), uint8(5))
	f.Add(spot("0310", "01FF", "7F", "AA BB"), uint8(30))
	f.Add(append(unhex("00 02 00"), spot("0200", "0048", "61", "")...), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, chunk uint8) {
		bench := newBench()
		for piece := range slices.Chunk(b, int(chunk)+1) {
			bench.after(time.Millisecond, piece)
		}
		bench.after(3*tick, nil)
		if n := len(bench.answers); n > 1 {
			t.Fatalf("%d answers to one burst", n)
		}
		if bytes.Contains(bench.answers, []byte{ack}) && b[len(b)-1] != etx {
			t.Fatal("acknowledged what has no end")
		}
		if len(bench.numbers()) > 0 && !bytes.Contains(bench.answers, []byte{ack}) && bench.s.Found() == Format13 {
			t.Fatal("a number from what was not acknowledged")
		}
		// Whatever came, the record after it is found.
		if bench.s.Found() == Format2 || bench.s.Found() == Format7 {
			return
		}
		bench.answers = nil
		bench.after(time.Second, spot("0200", "0048", "61", ""))
		bench.after(2*tick, nil)
		if !bytes.Equal(bench.answers, []byte{ack}) {
			t.Fatalf("answered % x to the next record", bench.answers)
		}
		if len(bench.s.burst.bytes) > maxRecord {
			t.Fatal("too much is kept")
		}
	})
}
