package nonin

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// syncFrame is a frame that begins a packet: it lets the packet before it be whole.
func syncFrame(f Format) []byte { return appendFrame(nil, f, statusMark|statusSync, 0, 0) }

// filled lengthens real frames to a packet with plain ones.
func filled(f Format, frames string) []byte {
	b := unhex(frames)
	for len(b) < packetLen {
		b = appendFrame(b, f, statusMark, 0x64, 0)
	}
	return b
}

func TestVectors(t *testing.T) {
	for _, c := range []struct {
		name       string
		format     Format
		frames     string
		rate, spo2 int
		noSensor   bool
	}{
		{"72 a minute, 97 %", Format2, "01 83 64 00 E8 01 80 65 48 2E 01 80 66 61 48", 72, 97, false},
		{"sensor off", Format2, "01 C1 00 03 C5 01 C0 00 7F 40 01 C0 00 7F 40", 511, 127, true},
		{"above 127 a minute", Format2, "01 81 64 01 E7 01 80 64 16 FB 01 80 64 61 46", 150, 97, false},
		{"format 7", Format7, "81 7F 20 00 20 80 7F 21 48 68 80 7F 22 61 82", 72, 97, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := NewDecoder(c.format).Write(append(filled(c.format, c.frames), syncFrame(c.format)...))
			if len(got) != 1 {
				t.Fatalf("%d packets", len(got))
			}
			p := got[0]
			if r, s := p.rate(atRate), int(p.Data[atSaturation]&0x7F); r != c.rate || s != c.spo2 || p.any(statusNoSensor) != c.noSensor {
				t.Errorf("rate %d, saturation %d, no sensor %v", r, s, p.any(statusNoSensor))
			}
			if !bytes.Equal(p.Append(nil)[:15], unhex(c.frames)) {
				t.Errorf("written again: % x", p.Append(nil)[:15])
			}
		})
	}
	if p := NewDecoder(Format7).Write(append(filled(Format7, "81 7F 20 00 20"), syncFrame(Format7)...)); p[0].Pleth[0] != 0x7F20 {
		t.Errorf("pleth %#x", p[0].Pleth[0])
	}
}

func TestDisplayValues(t *testing.T) {
	var p Packet
	p.Data[atRate], p.Data[atRate+1], p.Data[atSaturation] = 0, 60, 90
	p.Data[19], p.Data[20], p.Data[8] = 2, 0x2C, 0x80|98
	if p.Rate() != 300 || p.Saturation() != 98 {
		t.Errorf("rate %d, saturation %d", p.Rate(), p.Saturation())
	}
}

func TestPacketIsValidOnlyWhole(t *testing.T) {
	for _, f := range []Format{Format2, Format7} {
		s := NewStream(f, 7)
		a, b := s.Bytes(Healthy), s.Bytes(Healthy)
		for _, c := range []struct {
			name  string
			spoil func([]byte) []byte
			want  int // packets, of two
		}{
			{"whole", func(b []byte) []byte { return b }, 2},
			{"24 frames", func(b []byte) []byte { return append(b[:60:60], b[65:]...) }, 1},
			{"26 frames", func(b []byte) []byte { return append(b[:65:65], b[60:]...) }, 1},
			{"a byte lost", func(b []byte) []byte { return append(b[:61:61], b[62:]...) }, 1},
			{"a byte too many within a frame", func(b []byte) []byte { return slices.Insert(b, 61, 0x15) }, 1},
			{"an acknowledgement between two", func(b []byte) []byte { return slices.Insert(b, 60, 0x06) }, 2},
			{"a refusal between two", func(b []byte) []byte { return slices.Insert(b, 60, 0x15) }, 2},
			{"a lone 02 between two", func(b []byte) []byte { return slices.Insert(b, 60, 0x02) }, 2},
			{"the time between two", func(b []byte) []byte { return slices.Insert(b, 60, unhex("02 F2 06 1A 03 01 08 00 00 03")...) }, 2},
			{"three of them at once", func(b []byte) []byte { return slices.Insert(b, 60, unhex("06 02 F4 01 80 03 15")...) }, 2},
			{"one before the next packet", func(b []byte) []byte { return append(b, 0x06) }, 2},
			{"something like a reply", func(b []byte) []byte { return slices.Insert(b, 60, unhex("02 F2 01 80 07")...) }, 1},
			{"more replies than anybody gives", func(b []byte) []byte {
				return slices.Insert(b, 60, bytes.Repeat(append(append([]byte{0x02, 0xF4, 26}, make([]byte, 26)...), 0x03), 3)...)
			}, 1},
			{"any other byte between two", func(b []byte) []byte { return slices.Insert(b, 60, 0x07) }, 1},
			{"more than anybody says", func(b []byte) []byte { return slices.Insert(b, 60, bytes.Repeat([]byte{0x06}, maxControl+1)...) }, 1},
			{"a bit flipped", func(b []byte) []byte { b[63] ^= 4; return b }, 1},
			{"SYNC in the middle", func(b []byte) []byte {
				at := 60
				if f == Format2 {
					at++
				}
				b[at] ^= 1
				b[64] ^= (b[64] + 1) ^ b[64] // and a checksum to match
				return b
			}, 1},
		} {
			stream := append(c.spoil(slices.Clone(a)), append(slices.Clone(b), syncFrame(f)...)...)
			for _, chunk := range []int{1, 7, len(stream)} {
				d, got := NewDecoder(f), 0
				for piece := range slices.Chunk(stream, chunk) {
					got += len(d.Write(piece))
				}
				if got != c.want {
					t.Errorf("format %d, %s, by %d bytes: %d packets, want %d", f, c.name, chunk, got, c.want)
				}
			}
		}
	}
}

// One format is never taken for the other, at whatever byte one begins to listen.
func TestFormatsDoNotMix(t *testing.T) {
	for _, c := range [][2]Format{{Format2, Format7}, {Format7, Format2}} {
		s := NewStream(c[0], 3)
		var b []byte
		for range 200 {
			b = append(b, s.Bytes(Healthy)...)
		}
		if got := NewDecoder(c[1]).Write(b); len(got) > 0 {
			t.Errorf("format %d read as %d: %d packets", c[0], c[1], len(got))
		}
	}
}

func TestGarbageCostsNoWholePacket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom([]Format{Format2, Format7}).Draw(t, "format")
		s := NewStream(f, rapid.Uint64().Draw(t, "seed"))
		garbage := rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "garbage")
		tail := s.Bytes(Healthy) // a stream that was joined in its middle is garbage too
		garbage = append(garbage, tail[rapid.IntRange(0, packetLen).Draw(t, "joined"):]...)
		want := s.Packet(Healthy)
		stream := append(want.Append(garbage), syncFrame(f)...)

		d := NewDecoder(f)
		var got []Packet
		for len(stream) > 0 {
			n := rapid.IntRange(1, len(stream)).Draw(t, "chunk")
			got = append(got, d.Write(stream[:n])...)
			stream = stream[n:]
		}
		if len(got) == 0 || !cmp.Equal(got[len(got)-1], want) {
			t.Errorf("the whole packet was not found; got %d", len(got))
		}
	})
}

func FuzzDecoder(f *testing.F) {
	f.Add(append(filled(Format2, "01 83 64 00 E8 01 80 65 48 2E 01 80 66 61 48"), syncFrame(Format2)...), uint8(1))
	f.Add(append(filled(Format2, "01 C1 00 03 C5 01 C0 00 7F 40"), syncFrame(Format2)...), uint8(7))
	f.Add(append(filled(Format7, "81 7F 20 00 20"), syncFrame(Format7)...), uint8(64))
	f.Add(unhex("80 48 61 00 02 06 15 81 16 61 02 F4 04 31 32 33 34 03 02 F4"), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, chunk uint8) {
		for _, format := range []Format{Format2, Format7} {
			whole := NewDecoder(format).Write(b)
			d := NewDecoder(format)
			var pieces []Packet
			for piece := range slices.Chunk(b, int(chunk)+1) {
				pieces = append(pieces, d.Write(piece)...)
				if len(d.buf) >= packetLen+frameLen+maxControl {
					t.Fatalf("%d bytes kept", len(d.buf))
				}
			}
			if !slices.Equal(whole, pieces) {
				t.Fatal("packets depend on how the bytes were cut")
			}
			rest := b
			for i := range whole {
				for frame := range slices.Chunk(whole[i].Append(nil), frameLen) {
					at := bytes.Index(rest, frame)
					if at < 0 {
						t.Fatal("a packet that never was sent")
					}
					rest = rest[at+frameLen:]
				}
			}
			// Whatever came, the packet after it is found.
			s := NewStream(format, 5)
			want := s.Packet(Healthy)
			got := d.Write(append(want.Append(nil), syncFrame(format)...))
			if len(got) == 0 || got[len(got)-1] != want {
				t.Fatal("the next packet was not found")
			}
		}
	})
}
