package stethoscope

import (
	"encoding/binary"
	"testing"
)

// FuzzDrawing: whatever the converter gives, in whatever pieces, the line is bounded, keeps its rate and hides no value that is
// louder than it shows.
func FuzzDrawing(f *testing.F) {
	f.Add([]byte{0xFF, 0x7F, 0x00, 0x80, 0xFF, 0x7F, 0x00, 0x80}, uint8(3))
	f.Add(make([]byte, 4000), uint8(200))
	f.Fuzz(func(t *testing.T, b []byte, chunk uint8) {
		d, err := newDrawing(48000)
		if err != nil {
			t.Fatal(err)
		}
		values := make([]int16, len(b)/2)
		for i := range values {
			values[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
		}
		points := 0
		for rest := values; len(rest) > 0; {
			n := min(int(chunk)+1, len(rest))
			line, _ := d.add(rest[:n])
			rest = rest[n:]
			points += len(line)
			for _, y := range line {
				if y < -2*32768 || y > 2*32768 {
					t.Fatalf("a point at %d", y)
				}
			}
		}
		if points += len(d.line); points != 2*(len(values)/d.width()) {
			t.Fatalf("%d points from %d values", points, len(values))
		}
	})
}
