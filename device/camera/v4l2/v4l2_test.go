package v4l2

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The numbers are the kernel's on 64-bit machines; the size of an ioctl's argument is in bits 16 to 29 of its number.
func TestLayouts(t *testing.T) {
	for _, x := range []struct {
		name string
		req  uint
		want uint
		size uintptr
	}{
		{"QUERYCAP", reqQueryCap, 0x80685600, unsafe.Sizeof(capability{})},
		{"ENUM_FMT", reqEnumFmt, 0xC0405602, unsafe.Sizeof(fmtDesc{})},
		{"S_FMT", reqSetFmt, 0xC0D05605, unsafe.Sizeof(format{})},
		{"REQBUFS", reqBuffers, 0xC0145608, unsafe.Sizeof(requestBuffers{})},
		{"QUERYBUF", reqQueryBuf, 0xC0585609, unsafe.Sizeof(buffer{})},
		{"QBUF", reqQBuf, 0xC058560F, unsafe.Sizeof(buffer{})},
		{"DQBUF", reqDQBuf, 0xC0585611, unsafe.Sizeof(buffer{})},
		{"STREAMON", reqStreamOn, 0x40045612, 4},
		{"STREAMOFF", reqStreamOff, 0x40045613, 4},
		{"S_PARM", reqSetParm, 0xC0CC5616, unsafe.Sizeof(streamParm{})},
		{"QUERYCTRL", reqQueryCtrl, 0xC0445624, 68},
		{"QUERYCTRL", reqQueryCtrl, 0xC0445624, unsafe.Sizeof(queryCtrl{})},
		{"QUERYMENU", reqQueryMenu, 0xC02C5625, unsafe.Sizeof(queryMenu{})},
		{"G_EXT_CTRLS", reqGetExtCtrls, 0xC0205647, unsafe.Sizeof(extControls{})},
		{"S_EXT_CTRLS", reqSetExtCtrls, 0xC0205648, 32},
		{"ENUM_FRAMESIZES", reqEnumFrameSizes, 0xC02C564A, unsafe.Sizeof(frameSizeEnum{})},
		{"ENUM_FRAMEINTERVALS", reqEnumIntervals, 0xC034564B, unsafe.Sizeof(intervalEnum{})},
		{"QUERY_EXT_CTRL", reqQueryExtCtrl, 0xC0E85667, unsafe.Sizeof(queryExtCtrl{})},
	} {
		if x.req != x.want || uintptr(x.req>>16&0x3fff) != x.size {
			t.Errorf("%s is %#x with %d bytes; the kernel's is %#x", x.name, x.req, x.size, x.want)
		}
	}
	if s := unsafe.Sizeof(extControl{}); s != 20 {
		t.Errorf("an extended control has %d bytes, the kernel's has 20", s)
	}
	for name, off := range map[string][2]uintptr{
		"buffer.timestamp":     {unsafe.Offsetof(buffer{}.Sec), 24},
		"buffer.sequence":      {unsafe.Offsetof(buffer{}.Sequence), 56},
		"buffer.m":             {unsafe.Offsetof(buffer{}.Offset), 64},
		"ext_controls.pointer": {unsafe.Offsetof(extControls{}.Controls), 24},
		"ext_control.value":    {unsafe.Offsetof(extControl{}.Value), 12},
		"query_ext.flags":      {unsafe.Offsetof(queryExtCtrl{}.Flags), 72},
		"format.pix":           {unsafe.Offsetof(format{}.Width), 8},
		"parm.timeperframe":    {unsafe.Offsetof(streamParm{}.TimePerFrame), 12},
	} {
		if off[0] != off[1] {
			t.Errorf("%s is at %d, want %d", name, off[0], off[1])
		}
	}
}

func TestRefusesOtherNodes(t *testing.T) {
	for name, caps := range map[string]uint32{"metadata": capMetaCapture, "codec": capVideoCapture | capM2M, "planar codec": capM2MPlanar, "radio": 0x10000} {
		n := newFake()
		n.caps = caps
		if _, err := newControls(n); !errors.Is(err, ErrNotCamera) || !n.closed {
			t.Errorf("%s: %v, closed %v", name, err, n.closed)
		}
		n = newFake()
		n.caps = caps
		if _, err := begin(n); !errors.Is(err, ErrNotCamera) || !n.closed {
			t.Errorf("%s: stream: %v, closed %v", name, err, n.closed)
		}
	}
}

// These run on the real kernel, without a camera.
func TestKernelNode(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "video0"), 1, 1, 1); !errors.Is(err, ErrUnplugged) {
		t.Errorf("no node: %v", err)
	}
	if _, err := OpenControls("/dev/null"); !errors.Is(err, ErrNotCamera) {
		t.Errorf("/dev/null: %v", err)
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	n := &kernelNode{fd: p[0], wake: wake}
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan error)
	go func() { got <- n.wait(ctx) }()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled wait: %v", err)
	}
	// A cancelled wait leaves nothing behind: the next one waits for data, and sees them.
	go func() { got <- n.wait(context.Background()) }()
	select {
	case err := <-got:
		t.Errorf("wait without data returned %v", err)
	default:
	}
	unix.Write(p[1], []byte{1})
	if err := <-got; err != nil {
		t.Errorf("wait with data: %v", err)
	}
	unix.Close(p[1])
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func TestChoose(t *testing.T) {
	ranges := []frameSizeEnum{{Type: 3, MinW: 320, MaxW: 3840, StepW: 16, MinH: 180, MaxH: 2160, StepH: 8}}
	for _, x := range []struct {
		name   string
		change func(*fakeNode)
		w, h   int
		fps    float64
		want   string
	}{
		{"exact", func(*fakeNode) {}, 1280, 720, 30, "MJPG 1280x720 at 30/s"},
		{"nearest", func(*fakeNode) {}, 1600, 1000, 20, "MJPG 1920x1080 at 15/s"},
		{"smallest", func(*fakeNode) {}, 10, 10, 1, "MJPG 640x480 at 15/s"},
		{"only YUYV", func(n *fakeNode) { n.formats = []PixelFormat{YUYV} }, 640, 480, 30, "YUYV 640x480 at 30/s"},
		{"JPEG", func(n *fakeNode) { n.formats = []PixelFormat{YUYV, jpeg} }, 640, 480, 30, "JPEG 640x480 at 30/s"},
		{"range", func(n *fakeNode) { n.sizes = ranges }, 1000, 700, 30, "MJPG 1008x700 at 30/s"},
		{"no sizes", func(n *fakeNode) { n.sizes = nil }, 1000, 700, 30, "MJPG 1000x700 at 30/s"},
		{"range of rates", func(n *fakeNode) {
			n.intervals = []intervalEnum{{Type: 2, Min: fraction{1, 120}, Max: fraction{1, 1}}}
		}, 640, 480, 25, "MJPG 640x480 at 25/s"},
		{"out of the range of rates", func(n *fakeNode) {
			n.intervals = []intervalEnum{{Type: 2, Min: fraction{1, 20}, Max: fraction{1, 1}}}
		}, 640, 480, 25, "MJPG 640x480 at 20/s"},
		{"no rates", func(n *fakeNode) { n.intervals = nil }, 640, 480, 25, "MJPG 640x480 at 0/s"},
		{"nonsense rate", func(n *fakeNode) { n.intervals = []intervalEnum{{Type: discrete}} }, 640, 480, 25, "MJPG 640x480 at 0/s"},
	} {
		n := newFake()
		x.change(n)
		m, err := choose(n, Pictures(x.w, x.h, x.fps))
		if err != nil || m.String() != x.want {
			t.Errorf("%s: %v, %v; want %s", x.name, m, err, x.want)
		}
	}
	n := newFake()
	n.formats = []PixelFormat{H264}
	if _, err := choose(n, Pictures(640, 480, 30)); !errors.Is(err, ErrNoFormat) || !strings.Contains(err.Error(), "H264") {
		t.Errorf("H.264 only: %v", err)
	}
	if m, err := choose(n, Coded(640, 480, 30)); err != nil || m.String() != "H264 640x480 at 30/s" {
		t.Errorf("H.264: %v, %v", m, err)
	}
}

// A still is wished for in the largest size there is.
func TestLargest(t *testing.T) {
	for _, x := range []struct {
		name  string
		sizes []frameSizeEnum
		want  string
	}{
		{"of a list in any order", []frameSizeEnum{{Type: discrete, MinW: 640, MaxW: 480}, {Type: discrete, MinW: 2592, MaxW: 1944}, {Type: discrete, MinW: 1920, MaxW: 1080}}, "MJPG 2592x1944 at 30/s"},
		{"of a range", []frameSizeEnum{{Type: 3, MinW: 320, MaxW: 3850, StepW: 16, MinH: 180, MaxH: 2160, StepH: 8}}, "MJPG 3840x2156 at 30/s"},
		{"of none", nil, "MJPG 8192x8192 at 30/s"}, // S_FMT makes the nearest of it
	} {
		n := newFake()
		n.sizes = x.sizes
		if m, err := choose(n, Pictures(0, 0, 30)); err != nil || m.String() != x.want {
			t.Errorf("%s: %v, %v; want %s", x.name, m, err, x.want)
		}
	}
}

func TestFit(t *testing.T) {
	for _, x := range []struct{ v, lo, hi, step, want int }{
		{5000, -36000, 36000, 3600, 3600}, {5400, -36000, 36000, 3600, 7200}, {99999, -36000, 36000, 3600, 36000},
		{-99999, -36000, 36000, 3600, -36000}, {52, 0, 250, 5, 50}, {53, 0, 250, 5, 55}, {10, 0, 11, 4, 8}, {11, 0, 11, 4, 8},
		{3, 1, 10, 0, 3}, {7, 7, 7, 1, 7}, {1 << 40, -1 << 31, 1<<31 - 1, 1, 1<<31 - 1},
	} {
		if got := Fit(x.v, x.lo, x.hi, x.step); got != x.want {
			t.Errorf("Fit(%d, %d, %d, %d) = %d, want %d", x.v, x.lo, x.hi, x.step, got, x.want)
		}
	}
}
