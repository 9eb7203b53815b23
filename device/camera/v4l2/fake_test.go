package v4l2

import (
	"bytes"
	"context"
	"encoding/binary"
	"image"
	imagejpeg "image/jpeg"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arrival is what a dequeue finds.
type arrival struct {
	data  []byte
	seq   uint32
	flags uint32
	age   time.Duration
	err   error
	used  uint32 // if not 0: bytesused, whatever the data
	index int    // if not 0: the buffer's index, whatever is queued
}

const fakeNow = 100 * time.Second

// fakeNode plays a driver: it answers ioctls as the kernel documents them and keeps account of the buffers.
type fakeNode struct {
	caps      uint32
	gone      bool
	goneAfter bool // gone after the next dequeue
	formats   []PixelFormat
	sizes     []frameSizeEnum
	intervals []intervalEnum
	setFmt    func(*format) error
	setParm   error
	controls  []queryExtCtrl
	menus     map[[2]uint32]queryMenu
	values    map[uint32]int32
	locked    map[uint32]bool
	oldKernel bool
	block     chan struct{} // if not nil: control calls wait for it

	mu       sync.Mutex
	script   []arrival
	bufs     [][]byte
	queued   []uint32
	calls    []uint
	groups   [][]uint32 // ids that were set together
	streamed bool
	closed   bool
	ended    func() // called when the script has ended
}

func newFake() *fakeNode {
	return &fakeNode{caps: capVideoCapture, formats: []PixelFormat{YUYV, MJPEG},
		sizes:     []frameSizeEnum{{Type: discrete, MinW: 640, MaxW: 480}, {Type: discrete, MinW: 1280, MaxW: 720}, {Type: discrete, MinW: 1920, MaxW: 1080}},
		intervals: []intervalEnum{{Type: discrete, Min: fraction{1, 30}}, {Type: discrete, Min: fraction{1, 15}}},
		menus:     map[[2]uint32]queryMenu{}, values: map[uint32]int32{}, locked: map[uint32]bool{}}
}

func (n *fakeNode) ioctl(req uint, arg unsafe.Pointer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, req)
	if n.gone {
		return unix.ENODEV
	}
	switch req {
	case reqQueryCap:
		c := (*capability)(arg)
		c.Capabilities, c.DeviceCaps = 0x84A00001, n.caps
		copy(c.Driver[:], "uvcvideo")
		copy(c.Card[:], "Test Camera")
		copy(c.Bus[:], "usb-1.2")
	case reqEnumFmt:
		d := (*fmtDesc)(arg)
		if int(d.Index) >= len(n.formats) {
			return unix.EINVAL
		}
		d.PixelFormat = uint32(n.formats[d.Index])
	case reqEnumFrameSizes:
		d := (*frameSizeEnum)(arg)
		if int(d.Index) >= len(n.sizes) {
			return unix.EINVAL
		}
		*d = n.sizes[d.Index]
	case reqEnumIntervals:
		d := (*intervalEnum)(arg)
		if int(d.Index) >= len(n.intervals) {
			return unix.EINVAL
		}
		*d = n.intervals[d.Index]
	case reqSetFmt:
		f := (*format)(arg)
		f.BytesPerLine = 2 * f.Width
		if n.setFmt != nil {
			return n.setFmt(f)
		}
	case reqSetParm:
		return n.setParm
	case reqBuffers:
		n.bufs = make([][]byte, (*requestBuffers)(arg).Count)
	case reqQueryBuf:
		b := (*buffer)(arg)
		b.Length, b.Offset = 1<<17, uint64(b.Index)<<17
	case reqQBuf:
		n.queued = append(n.queued, (*buffer)(arg).Index)
	case reqDQBuf:
		return n.dequeue((*buffer)(arg))
	case reqStreamOn:
		n.streamed = true
	case reqStreamOff:
		n.streamed = false
	default:
		return n.control(req, arg)
	}
	return nil
}

func (n *fakeNode) dequeue(b *buffer) error {
	a := n.script[0]
	n.script, n.gone = n.script[1:], n.goneAfter
	if a.err != nil {
		return a.err
	}
	b.Index, b.Sequence, b.Flags = n.queued[0], a.seq, a.flags|bufMonotonic
	n.queued = n.queued[1:]
	b.BytesUsed = uint32(copy(n.bufs[b.Index], a.data))
	if a.used > 0 {
		b.BytesUsed = a.used
	}
	if a.index > 0 {
		b.Index = uint32(a.index)
	}
	at := fakeNow - a.age
	b.Sec, b.Usec = int64(at/time.Second), int64(at%time.Second/time.Microsecond)
	return nil
}

func (n *fakeNode) control(req uint, arg unsafe.Pointer) error {
	if n.block != nil {
		n.mu.Unlock()
		<-n.block
		n.mu.Lock()
	}
	switch req {
	case reqQueryExtCtrl:
		if n.oldKernel {
			return unix.ENOTTY
		}
		k, err := n.find((*queryExtCtrl)(arg).ID)
		*(*queryExtCtrl)(arg) = k
		return err
	case reqQueryCtrl:
		k, err := n.find((*queryCtrl)(arg).ID)
		*(*queryCtrl)(arg) = queryCtrl{ID: k.ID, Type: k.Type, Name: k.Name, Min: int32(k.Min), Max: int32(k.Max), Step: int32(k.Step), Default: int32(k.Default), Flags: k.Flags}
		return err
	case reqQueryMenu:
		q := (*queryMenu)(arg)
		m, ok := n.menus[[2]uint32{q.ID, q.Index}]
		if !ok {
			return unix.EINVAL
		}
		*q = m
		return nil
	case reqGetExtCtrls, reqSetExtCtrls:
		all := (*extControls)(arg)
		list := unsafe.Slice((*extControl)(all.Controls), all.Count)
		var ids []uint32
		for i := range list {
			id := list[i].ID
			ids = append(ids, id)
			all.ErrorIdx = uint32(i)
			if _, ok := n.values[id]; !ok {
				return unix.EINVAL
			}
			if req == reqGetExtCtrls {
				list[i].Value = n.values[id]
			} else if n.locked[id] {
				return unix.EACCES
			} else {
				n.values[id] = list[i].Value
			}
		}
		if req == reqSetExtCtrls {
			n.groups = append(n.groups, ids)
		}
		return nil
	}
	return unix.ENOTTY
}

func (n *fakeNode) find(id uint32) (queryExtCtrl, error) {
	for _, k := range n.controls {
		if id&nextCtrl == 0 && k.ID == id || id&nextCtrl != 0 && k.ID > id&^nextCtrl {
			return k, nil
		}
	}
	return queryExtCtrl{}, unix.EINVAL
}

func (n *fakeNode) mmap(offset int64, length int) ([]byte, error) {
	b := make([]byte, length)
	n.bufs[offset>>17] = b
	return b, nil
}

func (n *fakeNode) wait(ctx context.Context) error {
	n.mu.Lock()
	left := len(n.script)
	n.mu.Unlock()
	if left == 0 {
		if n.ended != nil {
			n.ended()
		}
		<-ctx.Done()
	}
	return ctx.Err()
}

func (n *fakeNode) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	return nil
}

func named(s string) (b [32]byte) {
	copy(b[:], s)
	return b
}

func integer(v int64) (b [32]byte) {
	binary.LittleEndian.PutUint64(b[:], uint64(v))
	return b
}

// picture is a real JPEG.
func picture(t testing.TB, w, h int) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = byte(i * 7)
	}
	var b bytes.Buffer
	if err := imagejpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func begin(n *fakeNode) (*Stream, error) {
	return begun(n, Pictures(1280, 720, 30))
}

func begun(n *fakeNode, w Wish) (*Stream, error) {
	return start(n, func() time.Duration { return fakeNow }, w)
}
