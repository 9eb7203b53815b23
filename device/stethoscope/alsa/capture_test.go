package alsa

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The layouts are those that the C compiler makes of sound/asound.h on amd64; the size is part of each request's number.
func TestLayouts(t *testing.T) {
	for _, x := range []struct {
		name      string
		got, want uintptr
	}{
		{"hw_params", unsafe.Sizeof(hwParams{}), 608}, {"sw_params", unsafe.Sizeof(swParams{}), 136},
		{"status", unsafe.Sizeof(status{}), 152}, {"card_info", unsafe.Sizeof(cardInfo{}), 376},
		{"elem_list", unsafe.Sizeof(elemList{}), 80}, {"elem_info", unsafe.Sizeof(elemInfo{}), 272},
		{"elem_value", unsafe.Sizeof(elemValue{}), 1224}, {"elem_id", unsafe.Sizeof(elemID{}), 64},
		{"hw_params.intervals", unsafe.Offsetof(hwParams{}.Intervals), 260}, {"hw_params.rmask", unsafe.Offsetof(hwParams{}.RMask), 512},
		{"hw_params.rate_num", unsafe.Offsetof(hwParams{}.RateNum), 528}, {"hw_params.fifo_size", unsafe.Offsetof(hwParams{}.FIFO), 536},
		{"sw_params.avail_min", unsafe.Offsetof(swParams{}.AvailMin), 16}, {"sw_params.start", unsafe.Offsetof(swParams{}.StartThreshold), 32},
		{"sw_params.stop", unsafe.Offsetof(swParams{}.StopThreshold), 40}, {"sw_params.boundary", unsafe.Offsetof(swParams{}.Boundary), 64},
		{"sw_params.proto", unsafe.Offsetof(swParams{}.Proto), 72}, {"status.trigger", unsafe.Offsetof(status{}.Trigger), 8},
		{"status.avail", unsafe.Offsetof(status{}.Avail), 64}, {"card_info.name", unsafe.Offsetof(cardInfo{}.Name), 40},
		{"elem_list.pids", unsafe.Offsetof(elemList{}.IDs), 16}, {"elem_info.type", unsafe.Offsetof(elemInfo{}.Type), 64},
		{"elem_info.value", unsafe.Offsetof(elemInfo{}.Min), 80}, {"elem_value.value", unsafe.Offsetof(elemValue{}.Values), 72},
	} {
		if x.got != x.want {
			t.Errorf("%s: %d, the kernel's is %d", x.name, x.got, x.want)
		}
	}
	for req, size := range map[uint]uintptr{reqRefine: 608, reqParams: 608, reqSoft: 136, reqStatus: 152, reqCard: 376,
		reqElemList: 80, reqElemInfo: 272, reqElemRead: 1224, reqElemWrite: 1224} {
		if uintptr(req>>16&0x3FFF) != size {
			t.Errorf("request %#x is for %d bytes, want %d", req, req>>16&0x3FFF, size)
		}
	}
}

func TestChoice(t *testing.T) {
	for _, x := range []struct {
		name   string
		change func(*fakeNode)
		want   Setup
		err    error
	}{
		{"usual", func(*fakeNode) {}, Setup{48000, 1, 960, 48000}, nil},
		{"44.1 kHz alone", func(n *fakeNode) { n.rates = []uint32{8000, 44100} }, Setup{44100, 1, 882, 44100}, nil},
		{"stereo alone", func(n *fakeNode) { n.minChannels, n.maxChan = 2, 2 }, Setup{48000, 2, 960, 48000}, nil},
		{"small buffer", func(n *fakeNode) { n.maxBuffer = 8192; n.maxPeriod = 4096 }, Setup{48000, 1, 480, 8192}, nil},
		{"odd periods", func(n *fakeNode) { n.minPeriod = 6000; n.maxBuffer = 12000 }, Setup{48000, 1, 6000, 12000}, nil},
		{"24 bits alone", func(n *fakeNode) { n.formats = []int{32} }, Setup{}, ErrFormat},
		{"other rates", func(n *fakeNode) { n.rates = []uint32{8000, 96000} }, Setup{}, ErrFormat},
		{"no microphone but an array", func(n *fakeNode) { n.minChannels, n.maxChan = 64, 64 }, Setup{}, ErrFormat},
		{"it slips to another rate", func(n *fakeNode) {
			n.slip = func(p *hwParams) { p.Intervals[rate] = interval{Min: 44100, Max: 44100} }
		}, Setup{}, ErrFormat},
		{"it slips to a rate in between", func(n *fakeNode) {
			n.slip = func(p *hwParams) { p.RateNum, p.RateDen = 47999, 1 }
		}, Setup{}, ErrFormat},
		{"it slips to floats", func(n *fakeNode) { n.slip = func(p *hwParams) { p.only(format, 14) } }, Setup{}, ErrFormat},
		{"gone", func(n *fakeNode) { n.gone = true }, Setup{}, ErrUnplugged},
		{"busy", func(n *fakeNode) { n.fail = map[uint]error{reqParams: unix.EBUSY} }, Setup{}, ErrBusy},
		{"won't start", func(n *fakeNode) { n.fail = map[uint]error{reqStart: unix.EIO} }, Setup{}, unix.EIO},
	} {
		t.Run(x.name, func(t *testing.T) {
			n := usual()
			x.change(n)
			c, err := begin(n)
			if !errors.Is(err, x.err) || (err == nil) != (c != nil) {
				t.Fatalf("%v, %v; want %v", c, err, x.err)
			}
			if err != nil {
				if !n.closed {
					t.Error("the node stays open")
				}
				return
			}
			if c.Setup != x.want || n.state != stateRunning {
				t.Errorf("%v in state %d, want %v, running", c.Setup, n.state, x.want)
			}
			if n.soft.StopThreshold != uint64(x.want.Buffer) || n.soft.AvailMin != uint64(x.want.Period) || n.set.Flags&noResample == 0 {
				t.Errorf("soft %+v, flags %#x", n.soft, n.set.Flags)
			}
			if err := c.Close(); err != nil || !n.closed {
				t.Errorf("close: %v, closed %v", err, n.closed)
			}
		})
	}
}

func TestRead(t *testing.T) {
	n := usual()
	n.minChannels, n.maxChan = 2, 2
	c, err := begin(n)
	if err != nil {
		t.Fatal(err)
	}
	n.script = []arrival{{err: unix.EAGAIN}, {data: frames(1, -1, 2, -2, -32768, 5)}, {data: frames(7, 0)}}
	buf := make([]int16, 4)
	got, lost, err := c.Read(context.Background(), buf)
	if want := []int16{1, 2, -32768}; err != nil || lost != 0 || !slices.Equal(buf[:got], want) {
		t.Fatalf("%v, lost %d, %v; want the left channel %v", buf[:got], lost, err, want)
	}
	if got, _, err := c.Read(context.Background(), buf); err != nil || got != 1 || buf[0] != 7 {
		t.Fatalf("%v, %v", buf[:got], err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.ended = cancel
	if _, _, err := c.Read(ctx, buf); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// An overrun loses what the kernel held, and what came until the new start.
func TestOverrun(t *testing.T) {
	n := usual()
	c, err := begin(n)
	if err != nil {
		t.Fatal(err)
	}
	n.stopped = status{Avail: 48000, Trigger: timespec{100, 999_000_000}}
	n.now = timespec{101, 249_000_000}
	n.script = []arrival{{err: unix.EPIPE}, {data: frames(9)}}
	buf := make([]int16, 4)
	got, lost, err := c.Read(context.Background(), buf)
	if want := uint64(48000 + 12000); err != nil || got != 1 || lost != want || n.starts != 2 {
		t.Errorf("%d values, lost %d, %v, %d starts; want %d lost, started again", got, lost, err, n.starts, want)
	}
	n.now = timespec{50, 0} // a stamp that can't be
	n.script = []arrival{{err: unix.EPIPE}, {data: frames(9)}}
	if _, lost, err := c.Read(context.Background(), buf); err != nil || lost != 48000 {
		t.Errorf("lost %d, %v: want what the kernel held", lost, err)
	}
	n.stopped.Avail, n.stopped.Trigger, n.now = 0, timespec{}, timespec{}
	n.script = []arrival{{err: unix.EPIPE}, {data: frames(9)}}
	if _, lost, err := c.Read(context.Background(), buf); err != nil || lost == 0 {
		t.Errorf("lost %d, %v: an overrun is never nothing", lost, err)
	}
}

func TestReadFailures(t *testing.T) {
	for _, x := range []struct {
		name   string
		script []arrival
		state  int32
		fail   map[uint]error
		want   error
	}{
		{"unplugged", []arrival{{err: unix.ENODEV}}, 0, nil, ErrUnplugged},
		{"being unplugged", []arrival{{err: unix.EBADFD}}, stateDisconnected, nil, ErrUnplugged},
		{"suspended", []arrival{{err: unix.ESTRPIPE}}, stateSuspended, nil, ErrStalled},
		{"hardware", []arrival{{err: unix.EIO}}, 0, nil, ErrStalled},
		{"overrun, then gone", []arrival{{err: unix.EPIPE}}, 0, map[uint]error{reqPrepare: unix.ENODEV}, ErrUnplugged},
		{"woken for nothing", slices.Repeat([]arrival{{err: unix.EAGAIN}}, maxSpurious), 0, nil, ErrStalled},
		{"overrun for ever", slices.Repeat([]arrival{{err: unix.EPIPE}}, maxSpurious), 0, nil, ErrStalled},
	} {
		n := usual()
		c, err := begin(n)
		if err != nil {
			t.Fatal(err)
		}
		n.script, n.fail = x.script, x.fail
		if x.state != 0 {
			n.state = x.state
		}
		if _, _, err := c.Read(context.Background(), make([]int16, 8)); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
		if err := c.Close(); err != nil || !n.closed {
			t.Errorf("%s: close: %v, closed %v", x.name, err, n.closed)
		}
	}
}

// What the kernel's node does with poll, on a file that behaves alike.
func TestWait(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[1])
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	n := &kernelNode{fd: p[0], wake: wake}
	if err := n.wait(context.Background(), unix.POLLIN, time.Millisecond); !errors.Is(err, ErrStalled) {
		t.Errorf("nothing comes: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	if err := n.wait(ctx, unix.POLLIN, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	unix.Write(p[1], []byte{1})
	if err := n.wait(context.Background(), unix.POLLIN, time.Minute); err != nil {
		t.Errorf("something is there: %v; an earlier cancel must not be remembered", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := openNode("/dev/snd/no-such-node"); !errors.Is(err, ErrUnplugged) {
		t.Errorf("no node: %v", err)
	}
}
