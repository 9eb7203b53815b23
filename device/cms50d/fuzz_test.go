package cms50d

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"telecart/device/oximeter/line"
)

func FuzzSession(f *testing.F) {
	f.Add(unhex("85 3C 03 48 61 C5 3C 43 16 61 80"), uint8(3))
	f.Add(bytes.Repeat(unhex("85 3C 03 48 61"), 90), uint8(4))
	f.Add(bytes.Repeat(unhex("95 00 73 7F 7F"), 70), uint8(9))
	f.Add(unhex("01 83 64 00 E8 01 80 65 48 2E 81 7F 20 00 20"), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, chunk uint8) {
		bench := newBench()
		for piece := range slices.Chunk(b, int(chunk)+1) {
			bench.clock.Advance(time.Duration(len(piece)) * time.Second / (packetLen * perSecond))
			bench.take(line.Chunk{Bytes: piece})
			if len(bench.s.pleth) >= plethSpan {
				t.Fatal("too much is kept")
			}
		}
		for _, r := range bench.readings { // every number stood in at least a quarter of a second of packets
			if r.Absent != "" {
				continue
			}
			n := 0
			for _, p := range scan(b) {
				if r.Quantity == saturation && int64(p.Saturation) == r.Value.Coef || r.Quantity == pulseRate && int64(p.Rate) == r.Value.Coef {
					n++
				}
			}
			if n < agreeing {
				t.Fatalf("%s %s, which was in %d packets", r.Quantity, r.Value, n)
			}
		}
		// Whatever came, the packet after it is found.
		garbage := append(slices.Clone(b), append(good.Append(nil), syncBit)...)
		if got := scan(garbage); len(got) == 0 || got[len(got)-1] != good {
			t.Fatal("the next packet was not found")
		}
	})
}
