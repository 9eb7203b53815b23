package v4l2

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStream(t *testing.T) {
	good := picture(t, 64, 48)
	n := newFake()
	s, err := begin(n)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.queued) != wishedBuffers || !n.streamed || s.Mode.String() != "MJPG 1280x720 at 30/s" {
		t.Fatalf("began with %v queued, streaming %v, %v", n.queued, n.streamed, s.Mode)
	}
	n.script = []arrival{
		{data: good, seq: 7, age: 40 * time.Millisecond},
		{err: unix.EAGAIN},
		{data: good, seq: 8, flags: bufError},
		{data: good[:len(good)/2], seq: 9},
		{data: good[1:], seq: 10},
		{data: good, seq: 11, used: 1 << 30},
		{data: nil, seq: 12},
		{data: append(slices.Clip(good), 0, 0, 0), seq: 15, age: -time.Second},
		{err: unix.EINVAL},
	}
	first, err := s.Next(context.Background())
	if err != nil || !bytes.Equal(first.Data, good) || first.Sequence != 7 || first.Age != 40*time.Millisecond {
		t.Fatalf("first: %d bytes, sequence %d, age %v, %v", len(first.Data), first.Sequence, first.Age, err)
	}
	second, err := s.Next(context.Background())
	if err != nil || !bytes.Equal(second.Data, append(slices.Clip(good), 0, 0, 0)) || second.Sequence != 15 || second.Age != 0 {
		t.Fatalf("second: %d bytes, sequence %d, age %v, %v", len(second.Data), second.Sequence, second.Age, err)
	}
	if !bytes.Equal(first.Data, good) {
		t.Error("the first picture changed when the second came")
	}
	if want := (Counters{Frames: 2, Flagged: 1, Broken: 4, Lost: 2}); s.Counters() != want {
		t.Errorf("counters %+v, want %+v", s.Counters(), want)
	}
	if len(n.queued) != wishedBuffers {
		t.Errorf("%d buffers are queued: one leaked", len(n.queued))
	}
	if _, err := s.Next(context.Background()); !errors.Is(err, ErrUnplugged) {
		t.Errorf("after unplugging: %v", err)
	}
	n.gone = true
	if err := s.Close(); err != nil || !n.closed {
		t.Errorf("close: %v, closed %v", err, n.closed)
	}
}

func TestStreamFailures(t *testing.T) {
	good := picture(t, 16, 16)
	repeat := func(n int, a arrival) (list []arrival) { return slices.Repeat([]arrival{a}, n) }
	for _, x := range []struct {
		name   string
		script []arrival
		gone   bool
		want   error
	}{
		{"ENODEV", []arrival{{err: unix.ENODEV}}, false, ErrUnplugged},
		{"EIO and gone", []arrival{{err: unix.EIO}}, true, ErrUnplugged},
		{"EIO and there", []arrival{{err: unix.EIO}}, false, ErrStalled},
		{"other", []arrival{{err: unix.ENOMEM}}, false, unix.ENOMEM},
		{"only broken", repeat(maxBroken, arrival{data: good[:40]}), false, ErrBroken},
		{"only flagged", repeat(maxBroken, arrival{data: good, flags: bufError}), false, ErrBroken},
		{"wakes for nothing", repeat(maxSpurious, arrival{err: unix.EAGAIN}), false, ErrStalled},
		{"impossible buffer", []arrival{{data: good, index: 9}}, false, ErrStalled},
	} {
		n := newFake()
		s, err := begin(n)
		if err != nil {
			t.Fatal(err)
		}
		n.script, n.goneAfter = x.script, x.gone
		if _, err := s.Next(context.Background()); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
		s.Close()
	}
}

func TestStreamCancel(t *testing.T) {
	n := newFake()
	s, err := begin(n)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.ended = cancel // it waits: now leave
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.Close(); err != nil || n.streamed {
		t.Errorf("close: %v, streaming %v", err, n.streamed)
	}
}

func TestYUYVStride(t *testing.T) {
	n := newFake()
	n.formats = []PixelFormat{YUYV}
	n.setFmt = func(f *format) error { f.Width, f.Height, f.BytesPerLine = 4, 2, 12; return nil }
	s, err := begin(n)
	if err != nil {
		t.Fatal(err)
	}
	n.script = []arrival{{data: []byte("abcdefgh....ijklmnop"), seq: 1}, {data: []byte("abcdefgh....ijklmno"), seq: 2}, {err: unix.ENODEV}}
	f, err := s.Next(context.Background())
	if err != nil || string(f.Data) != "abcdefghijklmnop" {
		t.Errorf("%q, %v", f.Data, err)
	}
	if _, err := s.Next(context.Background()); !errors.Is(err, ErrUnplugged) || s.Counters().Broken != 1 {
		t.Errorf("truncated: %v, %+v", err, s.Counters())
	}
}

func TestStartFailures(t *testing.T) {
	for _, x := range []struct {
		name   string
		change func(*fakeNode)
		want   error
	}{
		{"busy", func(n *fakeNode) { n.setFmt = func(*format) error { return unix.EBUSY } }, ErrBusy},
		{"gone", func(n *fakeNode) { n.gone = true }, ErrUnplugged},
		{"other format", func(n *fakeNode) { n.setFmt = func(f *format) error { f.PixelFormat = 1; return nil } }, ErrNoFormat},
		{"gone between", func(n *fakeNode) { n.setParm = unix.ENODEV }, ErrUnplugged},
	} {
		n := newFake()
		x.change(n)
		if _, err := begin(n); !errors.Is(err, x.want) || !n.closed {
			t.Errorf("%s: %v, closed %v", x.name, err, n.closed)
		}
	}
	n := newFake()
	n.setParm = unix.ENOTTY
	if s, err := begin(n); err != nil || s.Mode.FPS() != 0 {
		t.Errorf("a camera without a choice of rate: %v", err)
	}
}

func TestScanJPEG(t *testing.T) {
	good := picture(t, 64, 48)
	j, err := ScanJPEG(good)
	if err != nil || j.Width != 64 || j.Height != 48 || !j.Huffman || good[j.Scan+1] != 0xda {
		t.Fatalf("%+v, %v", j, err)
	}
	for cut := range good { // every truncation is seen
		if _, err := ScanJPEG(good[:cut]); err == nil {
			t.Fatalf("cut to %d of %d bytes passes", cut, len(good))
		}
	}
	intervals := func(marks ...byte) []byte {
		b := append(slices.Clip(good[:len(good)-2]), 0)
		for _, m := range marks {
			b = append(b, 0xff, 0xd0|m, 1, 2)
		}
		return append(b, 0xff, 0xd9)
	}
	for _, x := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"padded", append(slices.Clip(good), 0, 0), true},
		{"restarts in order", intervals(0, 1, 2, 3, 4, 5, 6, 7, 0), true},
		{"restart lost", intervals(0, 1, 3), false},
		{"empty", nil, false},
		{"SOI EOI", []byte{0xff, 0xd8, 0xff, 0xd9}, false},
		{"two starts", append([]byte{0xff, 0xd8}, good...), false},
		{"glued", append(slices.Clip(good[:len(good)-30]), good...), false},
		{"no marker", []byte{0xff, 0xd8, 1, 2, 3}, false},
	} {
		if _, err := ScanJPEG(x.b); (err == nil) != x.ok {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

func FuzzScanJPEG(f *testing.F) {
	good := picture(f, 16, 16)
	f.Add(good)
	f.Add(good[:40])
	f.Add([]byte{0xff, 0xd8, 0xff, 0xda, 0, 2, 0xff, 0xd0, 0xff, 0xd9})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		j, err := ScanJPEG(b)
		if !bytes.Equal(b, before) {
			t.Fatal("it changed the picture")
		}
		if err == nil && (j.Scan < 2 || j.Scan+2 > len(b) || b[j.Scan+1] != 0xda || j.Width < 1) {
			t.Fatalf("%+v of %d bytes passes", j, len(b))
		}
	})
}

// A coded stream's buffers come as they are, and are numbered; what is in them is not this package's to judge.
func TestCodedStream(t *testing.T) {
	n := newFake()
	n.formats = []PixelFormat{YUYV, MJPEG, H264}
	s, err := begun(n, Coded(1280, 720, 30))
	if err != nil || s.Mode.String() != "H264 1280x720 at 30/s" || s.Info.Card != "Test Camera" {
		t.Fatalf("%+v, %v", s, err)
	}
	n.script = []arrival{{data: []byte{0, 0, 0, 1, 0x67}, seq: 3}, {data: nil, seq: 4}, {data: []byte("x"), flags: bufError, seq: 5}, {data: []byte{1}, seq: 6}}
	for _, want := range []struct {
		data []byte
		seq  uint32
	}{{[]byte{0, 0, 0, 1, 0x67}, 3}, {[]byte{1}, 6}} {
		if f, err := s.Next(context.Background()); err != nil || !bytes.Equal(f.Data, want.data) || f.Sequence != want.seq {
			t.Errorf("% x, %d, %v; want %v", f.Data, f.Sequence, err, want)
		}
	}
	if want := (Counters{Frames: 2, Flagged: 1, Broken: 1}); s.Counters() != want {
		t.Errorf("counters %+v, want %+v", s.Counters(), want)
	}
}

func TestLook(t *testing.T) {
	n := newFake()
	n.formats = []PixelFormat{YUYV, H264, 'x'}
	o, err := inquire(n)
	if err != nil || o.Info.Card != "Test Camera" || len(o.Formats) != 3 || len(o.Sizes) != 2 {
		t.Fatalf("%+v, %v", o, err)
	}
	if m, err := o.Fit(Pictures(0, 0, 0)); err != nil || m.Format != YUYV || m.Width != 1920 {
		t.Errorf("largest picture: %v, %v", m, err)
	}
	if len(n.queued) > 0 || slices.Contains(n.calls, reqSetFmt) {
		t.Errorf("to look it called %#x: nothing may be set", n.calls)
	}
	if _, err := Look("/dev/null"); !errors.Is(err, ErrNotCamera) {
		t.Error(err)
	}
}
