package v4l2

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	wishedBuffers = 4
	maxBroken     = 60  // unusable pictures in a row after which the stream is given up: two seconds of a usual camera
	maxSpurious   = 100 // wake-ups without a picture, likewise
)

// Frame is one picture, or one access unit of a coded stream.
type Frame struct {
	Data     []byte        // the caller's own
	Sequence uint32        // the driver's number; gaps are lost pictures
	Age      time.Duration // how long ago it was captured
}

// Counters count what became of pictures since the stream began.
type Counters struct {
	Frames  uint64 // delivered
	Flagged uint64 // dropped: the kernel said they are damaged
	Broken  uint64 // dropped: not a whole picture, though the kernel did not say so
	Lost    uint64 // never seen: gaps in the sequence
}

// Stream is a camera that streams.
type Stream struct {
	Info     Info
	Mode     Mode // as the camera took it
	n        node
	now      func() time.Duration // CLOCK_MONOTONIC
	bufs     [][]byte
	stride   int
	row      int // of bufs that count
	counters Counters
	next     uint32
	began    bool
	bad      int // unusable pictures in a row
}

// Open starts streaming pictures in the offered mode nearest to the wished size (pixels) and rate (pictures a second);
// MJPEG is preferred. Close it to give the camera back.
func Open(path string, width, height int, fps float64) (*Stream, error) {
	return Start(path, Pictures(width, height, fps))
}

// Start starts streaming what is wished for.
func Start(path string, w Wish) (*Stream, error) {
	n, err := openNode(path)
	if err != nil {
		return nil, err
	}
	return start(n, monotonic, w)
}

func monotonic() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func start(n node, now func() time.Duration, w Wish) (_ *Stream, err error) {
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	s := &Stream{n: n, now: now}
	if s.Info, err = describe(n); err != nil {
		return nil, err
	}
	if s.Mode, err = choose(n, w); err != nil {
		return nil, err
	}
	if err = s.setMode(); err != nil {
		return nil, err
	}
	req := requestBuffers{Count: wishedBuffers, Type: typeCapture, Memory: memoryMMAP}
	if err = n.ioctl(reqBuffers, unsafe.Pointer(&req)); err != nil {
		return nil, failed("ask for buffers", err)
	}
	if req.Count < 2 || req.Count > 32 {
		return nil, fmt.Errorf("v4l2: the driver gave %d buffers, %d were asked for", req.Count, wishedBuffers)
	}
	for i := range req.Count {
		b := buffer{Index: i, Type: typeCapture, Memory: memoryMMAP}
		if err = n.ioctl(reqQueryBuf, unsafe.Pointer(&b)); err != nil {
			return nil, failed("query a buffer", err)
		}
		m, err := n.mmap(int64(uint32(b.Offset)), int(b.Length))
		if err != nil {
			return nil, failed("map a buffer", err)
		}
		s.bufs = append(s.bufs, m)
		if err = s.queue(i); err != nil {
			return nil, err
		}
	}
	kind := int32(typeCapture)
	if err = n.ioctl(reqStreamOn, unsafe.Pointer(&kind)); err != nil {
		return nil, failed("start the stream", err)
	}
	return s, nil
}

func (s *Stream) setMode() error {
	f := format{Type: typeCapture, Width: uint32(s.Mode.Width), Height: uint32(s.Mode.Height), PixelFormat: uint32(s.Mode.Format), Field: fieldNone}
	if err := s.n.ioctl(reqSetFmt, unsafe.Pointer(&f)); err != nil {
		return failed("set "+s.Mode.String(), err)
	}
	if f.PixelFormat != uint32(s.Mode.Format) {
		return fmt.Errorf("%w: asked for %v, got %v", ErrNoFormat, s.Mode.Format, PixelFormat(f.PixelFormat))
	}
	if f.Width == 0 || f.Height == 0 || f.Width > 1<<14 || f.Height > 1<<14 {
		return fmt.Errorf("v4l2: the driver set an impossible size, %dx%d", f.Width, f.Height)
	}
	s.Mode.Width, s.Mode.Height = int(f.Width), int(f.Height)
	s.row, s.stride = 2*s.Mode.Width, max(int(f.BytesPerLine), 2*s.Mode.Width)
	if s.Mode.Format == jpeg {
		s.Mode.Format = MJPEG
	}
	if s.Mode.Num == 0 {
		return nil
	}
	p := streamParm{Type: typeCapture, Capability: canTimePerFrame, TimePerFrame: fraction{s.Mode.Num, s.Mode.Den}}
	switch err := s.n.ioctl(reqSetParm, unsafe.Pointer(&p)); {
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EINVAL):
		s.Mode.Num, s.Mode.Den = 0, 0 // no choice of rate
	case err != nil:
		return failed("set the frame rate", err)
	default:
		s.Mode.Num, s.Mode.Den = p.TimePerFrame.Num, p.TimePerFrame.Den
	}
	return nil
}

func (s *Stream) queue(i uint32) error {
	b := buffer{Index: i, Type: typeCapture, Memory: memoryMMAP}
	return failed("queue a buffer", s.n.ioctl(reqQBuf, unsafe.Pointer(&b)))
}

// Counters is how the stream has fared. Like Next it belongs to the stream's goroutine.
func (s *Stream) Counters() Counters { return s.counters }

// Next waits for the next whole picture. It returns the context's error when that ends, ErrUnplugged when the camera is
// gone, ErrStalled when the driver gave up and ErrBroken when nothing but damaged pictures came for about two seconds.
func (s *Stream) Next(ctx context.Context) (Frame, error) {
	for spurious := 0; spurious < maxSpurious; {
		if err := s.n.wait(ctx); err != nil {
			return Frame{}, err
		}
		b := buffer{Type: typeCapture, Memory: memoryMMAP}
		switch err := s.n.ioctl(reqDQBuf, unsafe.Pointer(&b)); {
		case errors.Is(err, unix.EAGAIN):
			spurious++
			continue
		case errors.Is(err, unix.EINVAL): // unplugging ends the stream under a waiting reader
			return Frame{}, fmt.Errorf("%w (stream ended)", ErrUnplugged)
		case errors.Is(err, unix.EIO):
			if _, err := describe(s.n); errors.Is(err, ErrUnplugged) {
				return Frame{}, err
			}
			return Frame{}, fmt.Errorf("%w: %w", ErrStalled, err)
		case err != nil:
			return Frame{}, failed("dequeue a buffer", err)
		}
		if int(b.Index) >= len(s.bufs) {
			return Frame{}, fmt.Errorf("%w: the driver gave buffer %d of %d", ErrStalled, b.Index, len(s.bufs))
		}
		f, ok := s.take(&b)
		if err := s.queue(b.Index); err != nil {
			return Frame{}, err
		}
		if ok {
			return f, nil
		}
		if s.bad++; s.bad >= maxBroken {
			return Frame{}, ErrBroken
		}
	}
	return Frame{}, fmt.Errorf("%w: woken %d times without a picture", ErrStalled, maxSpurious)
}

// take copies a picture out, or counts why not.
func (s *Stream) take(b *buffer) (Frame, bool) {
	if gap := b.Sequence - s.next; s.began && gap < 1<<31 {
		s.counters.Lost += uint64(gap)
	}
	s.began, s.next = true, b.Sequence+1
	if b.Flags&bufError != 0 {
		s.counters.Flagged++
		return Frame{}, false
	}
	f := Frame{Sequence: b.Sequence}
	if b.Flags&bufTimestampMask == bufMonotonic {
		f.Age = s.now() - time.Duration(b.Sec)*time.Second - time.Duration(b.Usec)*time.Microsecond
		if f.Age < 0 || f.Age > 10*time.Second { // a wrong clock: better none than that
			f.Age = 0
		}
	}
	if raw := s.bufs[b.Index]; int64(b.BytesUsed) <= int64(len(raw)) {
		f.Data = s.copyOut(raw[:b.BytesUsed])
	}
	if f.Data == nil {
		s.counters.Broken++
		return Frame{}, false
	}
	s.counters.Frames++
	s.bad = 0
	return f, true
}

// copyOut returns nil for what is not a whole picture.
func (s *Stream) copyOut(raw []byte) []byte {
	if s.Mode.Format != YUYV {
		data := append([]byte(nil), raw...) // copied first: mapped memory can be slow to read twice
		if s.Mode.Format == H264 {
			return data // nil if there is none; what is in it is the caller's to judge
		}
		if _, err := ScanJPEG(data); err != nil {
			return nil
		}
		return data
	}
	h := s.Mode.Height
	if len(raw) < s.stride*(h-1)+s.row {
		return nil
	}
	data := make([]byte, 0, s.row*h)
	for y := range h {
		data = append(data, raw[y*s.stride:][:s.row]...)
	}
	return data
}

// Close stops streaming and gives the camera back.
func (s *Stream) Close() error {
	kind := int32(typeCapture)
	err := failed("stop the stream", s.n.ioctl(reqStreamOff, unsafe.Pointer(&kind)))
	if errors.Is(err, ErrUnplugged) {
		err = nil
	}
	return errors.Join(err, s.n.Close())
}
