package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"image"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"telecart/uplink/live/h264dec"
)

// stream is n access units as RTP, every tenth a key frame.
func stream(n int) (pkts []*rtp.Packet) {
	var pay codecs.H264Payloader
	seq := uint16(65530) // wraps early
	for i := range n {
		au := append([]byte{0, 0, 0, 1, 0x41}, bytes.Repeat([]byte{byte(i), 7}, 900)...)
		if i%10 == 0 {
			au = []byte{0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1, 0x65}
			au = append(au, bytes.Repeat([]byte{byte(i), 9}, 2000)...)
		}
		parts := pay.Payload(1000, au)
		for k, b := range parts {
			pkts = append(pkts, &rtp.Packet{Payload: b, Header: rtp.Header{
				Version: 2, SequenceNumber: seq, Timestamp: uint32(i) * 3000, Marker: k == len(parts)-1,
			}})
			seq++
		}
	}
	return pkts
}

func TestAssembler(t *testing.T) {
	all := stream(40)
	without := func(f func(*rtp.Packet) bool) []*rtp.Packet { return slices.DeleteFunc(slices.Clone(all), f) }
	at := func(frame int) func(*rtp.Packet) bool {
		return func(p *rtp.Packet) bool { return p.Timestamp == uint32(frame)*3000 }
	}
	swapped := slices.Clone(all)
	for i := 3; i+1 < len(swapped); i += 4 {
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
	}
	var doubled []*rtp.Packet
	for _, p := range all {
		doubled = append(doubled, p, p)
	}
	long := stream(400)
	for name, c := range map[string]struct {
		in          []*rtp.Packet
		frames      int
		first, lost int
	}{
		"all":                  {all, 40, 0, 0},
		"out of order":         {swapped, 40, 0, 0},
		"twice":                {doubled, 40, 0, 0},
		"joined in the middle": {without(func(p *rtp.Packet) bool { return p.Timestamp < 3*3000 }), 30, 10, 0},
		// Frame 105 never comes: everything until the next key frame, 110, is held back.
		"one lost": {slices.DeleteFunc(slices.Clone(long), at(105)), 395, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			lost := 0
			a := &assembler{onLost: func() { lost++ }}
			var got []Frame
			for _, p := range c.in {
				a.push(p, time.Unix(1, 0), func(f Frame) { got = append(got, f) })
			}
			if len(got) != c.frames || lost != c.lost {
				t.Fatalf("%d frames, %d losses; want %d, %d", len(got), lost, c.frames, c.lost)
			}
			if got[0].Timestamp != uint32(c.first)*3000 {
				t.Errorf("begins with frame %d", got[0].Timestamp/3000)
			}
			for i, f := range got {
				if f.Key != (f.Timestamp/3000%10 == 0) || i > 0 && f.Timestamp <= got[i-1].Timestamp {
					t.Errorf("frame %d: key %v", f.Timestamp/3000, f.Key)
				}
			}
		})
	}
}

// What is seen at the far end is what the camera saw.
func TestPicture(t *testing.T) {
	h := newHall(t)
	pics := scene(320, 240, 1)
	o := h.options(newCamera(jpegs(t, pics), 30))
	o.Bitrate = 2_000_000
	start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	frames := make(chan Frame, 1000)
	h.watch(t, func(f Frame) { frames <- f })
	dec, err := h264dec.New()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	var m *image.YCbCr
	for range 10 { // the first ones are coarse
		if m, err = dec.Decode(want(t, "a frame", frames).Data); err != nil {
			t.Fatal(err)
		}
	}
	if m.Rect != pics[0].Rect {
		t.Fatalf("a picture of %v", m.Rect)
	}
	sum := 0
	for y := range 240 {
		for x := range 320 {
			d := int(m.Y[y*m.YStride+x]) - int(pics[0].Y[y*pics[0].YStride+x])
			sum += d * d
		}
	}
	if mse := float64(sum) / (320 * 240); mse > 65 { // 30 dB
		t.Errorf("mean square error %.1f", mse)
	}
}

func FuzzAssembler(f *testing.F) {
	pack := func(pkts []*rtp.Packet) (b []byte) {
		for _, p := range pkts {
			raw, _ := p.Marshal()
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(raw))), raw...)
		}
		return b
	}
	f.Add(pack(stream(2)))
	f.Add(pack([]*rtp.Packet{{Payload: []byte{0x78, 0, 9, 0x67}}, {Payload: []byte{0x7c, 0x85}}, {Payload: []byte{0x5c}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := &assembler{}
		frames, pkts := 0, 0
		for len(b) > 2 {
			n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			var p rtp.Packet
			if p.Unmarshal(b[2:2+n]) == nil {
				pkts++
				startsKey(p.Payload)
				a.push(&p, time.Time{}, func(f Frame) {
					frames++
					if frames == 1 && !f.Key {
						t.Error("the first frame is not a key frame")
					}
				})
			}
			b = b[2+n:]
		}
		if frames > pkts {
			t.Errorf("%d frames from %d packets", frames, pkts)
		}
	})
}
