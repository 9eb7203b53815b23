package uvc_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/lab/usbip"
	"telecart/device/lab/usbip/usbiptest"
	"telecart/device/lab/uvc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sight is a picture in words: what the camera told it, as text.
type sight struct {
	size uvc.Size
	set  map[string]int
}

func (s *sight) Axes() []device.Axis {
	return []device.Axis{
		{Name: "pan", Min: -36000, Max: 36000, Step: 3600},
		{Name: "tilt", Min: -36000, Max: 36000, Step: 3600},
		{Name: "zoom", Min: 100, Max: 500, Step: 1, Default: 100, Value: 100},
		{Name: "exposure", Min: 3, Max: 2047, Step: 1, Default: 250, Value: 250},
		{Name: "exposure-auto", Min: 0, Max: 1, Step: 1, Default: 1, Value: 1},
	}
}
func (s *sight) Set(axis string, v int) { s.set[axis] = v }
func (s *sight) JPEG(seq uint64, _ time.Time) []byte {
	return fmt.Appendf(nil, "%dx%d #%d pan=%d zoom=%d", s.size.Width, s.size.Height, seq, s.set["pan"], s.set["zoom"])
}

const (
	camera, processing = 1 << 8, 2 << 8
	classIn, classOut  = 0xa1, 0x21
	setCur             = 0x01
	getCur             = 0x81
	getMin, getMax     = 0x82, 0x83
	getRes, getInf     = 0x84, 0x86
	getDef             = 0x87

	expMode, expTime, zoom, panTilt, brightness = 0x0200, 0x0400, 0x0b00, 0x0d00, 0x0200
	probe, commit                               = 0x0100, 0x0200
)

func plug(t *testing.T) (*uvc.Camera, *usbiptest.Host, *kit.Manual) {
	clock := kit.NewManual(time.Unix(1e9, 0))
	c := uvc.New("CAM-A", clock, func(s uvc.Size) uvc.Picture { return &sight{s, map[string]int{}} })
	return c, usbiptest.Plug(t, c.Handle), clock
}

// layout walks a camera's configuration descriptor, and says what is in it. The lengths inside must add up, or uvcvideo sees
// half a camera.
func layout(t *testing.T, h *usbiptest.Host) (kinds string, frames int) {
	t.Helper()
	conf, st := h.Get(0x80, 6, 0x0200, 0, 1024)
	if st != 0 || int(binary.LittleEndian.Uint16(conf[2:])) != len(conf) {
		t.Fatalf("configuration: %v, %d bytes, says %d", st, len(conf), binary.LittleEndian.Uint16(conf[2:]))
	}
	var words []string
	inside, vc := 0, false // bytes left of a class-specific header's total; in the control interface
	collection, streams := 0, 0
	for b := conf; len(b) > 0; b = b[b[0]:] {
		if int(b[0]) < 3 || int(b[0]) > len(b) {
			t.Fatalf("a descriptor of %d bytes in %d", b[0], len(b))
		}
		kind := fmt.Sprintf("%02x", b[1])
		switch {
		case b[1] == 0x24:
			kind += fmt.Sprintf("/%d", b[2])
			switch {
			case b[2] == 1 && vc:
				inside, collection = int(binary.LittleEndian.Uint16(b[5:])), int(b[11])
				if int(b[0]) != 12+int(b[11]) {
					t.Errorf("a header of %d bytes for %d interfaces", b[0], b[11])
				}
			case b[2] == 1: // VS input header
				inside = int(binary.LittleEndian.Uint16(b[4:]))
				streams++
				if int(b[0]) != 13+int(b[3]) {
					t.Errorf("a header of %d bytes for %d formats", b[0], b[3])
				}
			case !vc && (b[2] == 7 || b[2] == 0x11):
				frames++
				w, ht := binary.LittleEndian.Uint16(b[5:]), binary.LittleEndian.Uint16(b[7:])
				rates := b[25]
				if b[2] == 0x11 {
					rates = b[21]
				}
				if s := fmt.Sprintf("%dx%d", w, ht); !strings.Contains("640x480 1280x720 1920x1080", s) || b[0] != 26+4*rates {
					t.Errorf("frame %s of %d bytes, %d intervals", s, b[0], rates)
				}
			case !vc && b[2] == 0x10 && (b[0] != 28 || string(b[5:9]) != "H264" || b[27] != 1):
				t.Errorf("format % x", b[:b[0]])
			}
			inside -= int(b[0])
		case inside != 0:
			t.Errorf("at %s: %d bytes of the class's own descriptors unaccounted for", kind, inside)
		case b[1] == 4:
			vc = b[6] == 1
		}
		words = append(words, kind)
	}
	if collection != streams {
		t.Errorf("%d streaming interfaces, %d in the collection", streams, collection)
	}
	return strings.Join(words, " "), frames
}

func TestDescriptors(t *testing.T) {
	_, h, _ := plug(t)
	want := "02 0b 04 24/1 24/2 24/5 24/3 05 25 04 24/1 24/6 24/7 24/7 24/7 24/13 05"
	if got, frames := layout(t, h); got != want || frames != 3 {
		t.Errorf("descriptors\n got %s\nwant %s", got, want)
	}
	serial, _ := h.Get(0x80, 6, 0x0303, 0x0409, 255)
	if !bytes.Equal(serial, []byte("\x0c\x03C\x00A\x00M\x00-\x00A\x00")) {
		t.Errorf("serial number % x", serial)
	}
	if _, st := h.Get(0x80, 6, 0x0600, 0, 10); st != syscall.EPIPE {
		t.Errorf("a device qualifier: %v", st)
	}
}

func TestControls(t *testing.T) {
	_, h, _ := plug(t)
	for _, c := range []struct {
		name         string
		req          byte
		value, index uint16
		want         string
	}{
		{"zoom now", getCur, zoom, camera, "6400"},
		{"zoom max", getMax, zoom, camera, "f401"},
		{"pan and tilt min", getMin, panTilt, camera, "6073ffff6073ffff"},
		{"pan and tilt step", getRes, panTilt, camera, "100e0000100e0000"},
		{"exposure default", getDef, expTime, camera, "fa000000"},
		{"exposure modes", getRes, expMode, camera, "09"},
		{"exposure mode: aperture priority", getCur, expMode, camera, "08"},
		{"exposure is locked", getInf, expTime, camera, "07"},
		{"zoom is free", getInf, zoom, camera, "03"},
	} {
		if b, st := h.Get(classIn, c.req, c.value, c.index, 8); st != 0 || fmt.Sprintf("%x", b) != c.want {
			t.Errorf("%s: %x, %v, want %s", c.name, b, st, c.want)
		}
	}
}

func TestSetControls(t *testing.T) {
	cam, h, _ := plug(t)
	for _, c := range []struct {
		name         string
		value, index uint16
		data         string
		reason       byte // 0: accepted
	}{
		{"zoom", zoom, camera, "\x2c\x01", 0},
		{"zoom beyond", zoom, camera, "\xf5\x01", 4},
		{"zoom far beyond, no sign", zoom, camera, "\xff\xff", 4},
		{"half a zoom", zoom, camera, "\x01", 7},
		{"pan right, tilt down", panTilt, camera, "\x10\x0e\x00\x00\xf0\xf1\xff\xff", 0},
		{"tilt beyond: pan stays as well", panTilt, camera, "\x00\x00\x00\x00\x61\x73\x01\x00", 4},
		{"exposure while automatic", expTime, camera, "\x64\x00\x00\x00", 2},
		{"exposure mode that isn't there", expMode, camera, "\x02", 4},
		{"exposure by hand", expMode, camera, "\x01", 0},
		{"exposure", expTime, camera, "\x64\x00\x00\x00", 0},
		{"no such control", brightness, processing, "\x00\x00", 6},
	} {
		want := syscall.EPIPE
		if c.reason == 0 {
			want = 0
		}
		if st := h.Set(classOut, setCur, c.value, c.index, []byte(c.data)); st != want {
			t.Errorf("%s: %v, want %v", c.name, st, want)
		}
		if why, _ := h.Get(classIn, getCur, 0x0200, 0, 1); len(why) != 1 || why[0] != c.reason {
			t.Errorf("%s: error code %v, want %d", c.name, why, c.reason)
		}
	}
	got := map[string]int{}
	for _, a := range cam.Axes() {
		got[a.Name] = a.Value
	}
	want := map[string]int{"pan": 3600, "tilt": -3600, "zoom": 300, "exposure": 100, "exposure-auto": 0}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// ask is a probe for a frame size and an interval in 100 ns.
func ask(frame byte, interval uint32) []byte {
	p := make([]byte, 34)
	p[2], p[3] = 1, frame
	binary.LittleEndian.PutUint32(p[4:], interval)
	return p
}

func TestProbe(t *testing.T) {
	_, h, _ := plug(t)
	for _, c := range []struct {
		name     string
		frame    byte
		interval uint32
		wantSize byte
		want     uint32
		payload  uint32
	}{
		{"as offered", 2, 333333, 2, 333333, 1280*720*2 + 2},
		{"too fast", 1, 1, 1, 333333, 640*480*2 + 2},
		{"between", 1, 700000, 1, 666666, 640*480*2 + 2},
		{"no such size", 9, 1000000, 1, 1000000, 640*480*2 + 2},
	} {
		if st := h.Set(classOut, setCur, probe, 1, ask(c.frame, c.interval)); st != 0 {
			t.Errorf("%s: %v", c.name, st)
		}
		p, st := h.Get(classIn, getCur, probe, 1, 34)
		if st != 0 || len(p) != 34 {
			t.Fatalf("%s: % x, %v", c.name, p, st)
		}
		le := binary.LittleEndian
		if p[3] != c.wantSize || le.Uint32(p[4:]) != c.want || le.Uint32(p[22:]) != c.payload {
			t.Errorf("%s: size %d, interval %d, payload %d", c.name, p[3], le.Uint32(p[4:]), le.Uint32(p[22:]))
		}
	}
}

// After commit frames come in the negotiated size, numbered by the clock, drawn with what was set; a cleared halt ends it.
func TestStream(t *testing.T) {
	cam, h, clock := plug(t)
	next := func() (flags byte, frame string) {
		t.Helper()
		h.Submit(2, usbip.Setup{}, 512, nil)
		b := h.Reply(usbiptest.In).Data
		return b[1], string(b[2:])
	}
	tick := func(d time.Duration) { clock.AwaitWaiters(1); clock.Advance(d) }
	h.Set(classOut, setCur, commit, 1, ask(2, 333333))
	if flags, frame := next(); flags != 0x82 || frame != "1280x720 #0 pan=0 zoom=100" {
		t.Errorf("first frame: %02x %q", flags, frame)
	}
	clock.AwaitWaiters(1)
	h.Set(classOut, setCur, zoom, camera, []byte("\x2c\x01"))
	clock.Advance(34 * time.Millisecond)
	if flags, frame := next(); flags != 0x83 || frame != "1280x720 #1 pan=0 zoom=300" {
		t.Errorf("second frame: %02x %q", flags, frame)
	}
	tick(34 * time.Millisecond)
	cam.Break(uvc.Erring)
	_, frame := next() // drawn before or after Break: only its number counts
	if !strings.HasPrefix(frame, "1280x720 #2") {
		t.Errorf("third frame: %q", frame)
	}
	tick(time.Second)
	if flags, _ := next(); flags != 0xc3 {
		t.Errorf("erring frame: %02x", flags)
	}
	h.Set(0x02, 1, 0, 0x82, nil) // CLEAR_FEATURE(ENDPOINT_HALT)
	seq := h.Submit(2, usbip.Setup{}, 512, nil)
	h.Unlink(seq)
	if r := h.Reply(usbiptest.Out); r.Status != syscall.ECONNRESET {
		t.Errorf("a stopped stream must send nothing: %+v", r)
	}
	if cam.Frames() < 4 {
		t.Errorf("%d frames", cam.Frames())
	}
}

// Settings outlive the cable.
func TestReplug(t *testing.T) {
	cam, h, _ := plug(t)
	h.Set(classOut, setCur, zoom, camera, []byte("\x2c\x01"))
	h.Unplug()
	again := usbiptest.Plug(t, cam.Handle)
	if b, _ := again.Get(classIn, getCur, zoom, camera, 2); string(b) != "\x2c\x01" {
		t.Errorf("zoom after replug: % x", b)
	}
}

func TestButton(t *testing.T) {
	cam, h, _ := plug(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := cam.Press(h.Port); err != nil {
			t.Error(err)
		}
	})
	for i, want := range []string{"\x02\x01\x00\x01", "\x02\x01\x00\x00"} {
		h.Submit(1, usbip.Setup{}, 16, nil)
		if r := h.Reply(usbiptest.In); string(r.Data) != want {
			t.Errorf("event %d: % x", i, r.Data)
		}
	}
	wg.Wait()
}

// words is a film in words.
type words struct{ size uvc.Size }

func (f words) Unit(seq uint64, _ time.Time) []byte {
	return fmt.Appendf(nil, "film %dx%d #%d", f.size.Width, f.size.Height, seq)
}

func plugCoded(t *testing.T, e uvc.Encoder) (*uvc.Camera, *usbiptest.Host) {
	clock := kit.NewManual(time.Unix(1e9, 0))
	c := uvc.NewCoded("CAM-C", clock, func(s uvc.Size) uvc.Picture { return &sight{s, map[string]int{}} }, e,
		func(s uvc.Size) uvc.Film { return words{s} })
	return c, usbiptest.Plug(t, c.Handle)
}

func TestCodedDescriptors(t *testing.T) {
	for name, x := range map[string]struct {
		uvc.Encoder
		want   string
		frames int
	}{
		"one node": {uvc.SameNode, "02 0b 04 24/1 24/2 24/5 24/3 05 25 04 24/1 24/6 24/7 24/7 24/7 24/13 24/16 24/17 24/17 24/17 24/13 05", 6},
		"two nodes": {uvc.OwnNode, "02 0b 04 24/1 24/2 24/5 24/3 24/3 05 25 04 24/1 24/6 24/7 24/7 24/7 24/13 05 " +
			"04 24/1 24/16 24/17 24/17 24/17 24/13 05", 6},
	} {
		_, h := plugCoded(t, x.Encoder)
		if got, frames := layout(t, h); got != x.want || frames != x.frames {
			t.Errorf("%s\n got %s\nwant %s", name, got, x.want)
		}
	}
}

// On one node the format that was committed is sent; on two both at the same time.
func TestCodedStreams(t *testing.T) {
	next := func(h *usbiptest.Host, ep uint32) string {
		h.Submit(ep, usbip.Setup{}, 512, nil)
		return string(h.Reply(usbiptest.In).Data[2:])
	}
	inFormat := func(p []byte, format byte) []byte { p[2] = format; return p }

	_, h := plugCoded(t, uvc.SameNode)
	h.Set(classOut, setCur, probe, 1, inFormat(ask(2, 333333), 2))
	if p, st := h.Get(classIn, getCur, probe, 1, 34); st != 0 || p[2] != 2 || p[3] != 2 {
		t.Errorf("probe: % x, %v", p, st)
	}
	h.Set(classOut, setCur, commit, 1, inFormat(ask(2, 333333), 2))
	if got := next(h, 2); got != "film 1280x720 #0" {
		t.Errorf("coded: %q", got)
	}
	h.Set(0x02, 1, 0, 0x82, nil) // CLEAR_FEATURE(ENDPOINT_HALT)
	h.Set(classOut, setCur, commit, 1, inFormat(ask(1, 333333), 1))
	if got := next(h, 2); !strings.HasPrefix(got, "640x480 #0") {
		t.Errorf("pictures: %q", got)
	}
	if _, st := h.Get(classIn, getCur, probe, 2, 34); st != syscall.EPIPE {
		t.Errorf("a second streaming interface: %v", st)
	}

	cam, h := plugCoded(t, uvc.OwnNode)
	h.Set(classOut, setCur, commit, 1, ask(2, 333333))
	h.Set(classOut, setCur, commit, 2, inFormat(ask(1, 333333), 9)) // no such format: its first
	if got := next(h, 2); !strings.HasPrefix(got, "1280x720 #0") {
		t.Errorf("pictures: %q", got)
	}
	if got := next(h, 3); got != "film 640x480 #0" {
		t.Errorf("coded: %q", got)
	}
	if p, _ := h.Get(classIn, getCur, probe, 1, 34); p[3] != 2 {
		t.Errorf("the pictures' size is now %d", p[3])
	}
	h.Set(0x02, 1, 0, 0x83, nil)
	seq := h.Submit(3, usbip.Setup{}, 512, nil)
	h.Unlink(seq)
	if r := h.Reply(usbiptest.Out); r.Status != syscall.ECONNRESET {
		t.Errorf("a stopped stream must send nothing: %+v", r)
	}
	if cam.Frames() < 2 {
		t.Errorf("%d frames", cam.Frames())
	}
}

// Two of one model are told apart by their socket alone: all their descriptors are the same.
func TestTwoOfOneModel(t *testing.T) {
	for _, serial := range []string{"0001", ""} {
		var all [2]string
		for i := range all {
			c := uvc.New(serial, kit.NewManual(time.Unix(1e9, 0)), func(s uvc.Size) uvc.Picture { return &sight{s, map[string]int{}} })
			h := usbiptest.Plug(t, c.Handle)
			for _, d := range []uint16{0x0100, 0x0200, 0x0301, 0x0302, 0x0303} {
				b, st := h.Get(0x80, 6, d, 0x0409, 1024)
				if d == 0x0100 && (b[16] != 0) != (serial != "") {
					t.Errorf("serial %q: its string is number %d", serial, b[16])
				}
				all[i] += fmt.Sprintf("%x %v\n", b, st)
			}
		}
		if all[0] != all[1] {
			t.Errorf("they differ:\n%s%s", all[0], all[1])
		}
	}
}

// FuzzClass throws class requests at the camera: it answers or stalls each, and goes on.
func FuzzClass(f *testing.F) {
	f.Add(byte(setCur), uint16(panTilt), uint16(camera), []byte("\x10\x0e\x00\x00\xf0\xf1\xff\xff"))
	f.Add(byte(setCur), uint16(probe), uint16(1), ask(2, 333333))
	f.Add(byte(getCur), uint16(expMode), uint16(camera), []byte{})
	f.Fuzz(func(t *testing.T, req byte, value, index uint16, data []byte) {
		cam, h := plugCoded(t, uvc.OwnNode)
		h.Set(classOut, req, value, index, data)
		h.Get(classIn, req, value, index, 64)
		for _, a := range cam.Axes() {
			if a.Value < a.Min || a.Value > a.Max {
				t.Errorf("%s is %d, beyond %d to %d", a.Name, a.Value, a.Min, a.Max)
			}
		}
		if _, st := h.Get(0x80, 6, 0x0100, 0, 18); st != 0 {
			t.Errorf("dead after the request: %v", st)
		}
	})
}
