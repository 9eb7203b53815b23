package alsa

import (
	"context"
	"encoding/binary"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fakeNode is a pcm node as the kernel behaves, at the level of its ioctls: refining, starting, overruns, unplugging.
type fakeNode struct {
	formats              []int
	rates                []uint32
	minChannels, maxChan uint32
	minPeriod, maxPeriod uint32
	maxBuffer            uint32
	slip                 func(*hwParams) // what the hardware makes of what it was told

	set     hwParams
	soft    swParams
	state   int32
	starts  int
	script  []arrival
	stopped status // what STATUS says after an overrun
	now     timespec
	gone    bool
	closed  bool
	ended   func() // called when the script is at its end
	fail    map[uint]error
}

// arrival is what one read gives.
type arrival struct {
	data []byte
	err  error
}

// usual is a mono USB microphone.
func usual() *fakeNode {
	return &fakeNode{formats: []int{formatS16}, rates: []uint32{44100, 48000}, minChannels: 1, maxChan: 1, minPeriod: 48, maxPeriod: 48000,
		maxBuffer: 96000}
}

func (n *fakeNode) ioctl(req uint, arg unsafe.Pointer) error {
	if n.gone {
		return unix.ENODEV
	}
	if err := n.fail[req]; err != nil {
		return err
	}
	switch req {
	case reqRefine:
		return n.refine((*hwParams)(arg))
	case reqParams:
		p := (*hwParams)(arg)
		if err := n.refine(p); err != nil {
			return err
		}
		// snd_pcm_hw_params_choose: the first of masks, the least of intervals, but the largest buffer.
		for i := range p.Intervals {
			p.Intervals[i].Max = p.Intervals[i].Min
		}
		p.Intervals[bufferSize].Min = min(n.maxBuffer, n.set.Intervals[bufferSize].Max)
		p.Intervals[bufferSize].Max = p.Intervals[bufferSize].Min
		p.RateNum, p.RateDen = p.Intervals[rate].Min, 1
		if n.slip != nil {
			n.slip(p)
		}
		n.set = *p
	case reqSoft:
		n.soft = *(*swParams)(arg)
	case reqPrepare:
		n.state = 2
	case reqStart:
		if n.state != 2 {
			return unix.EBADFD
		}
		n.state = stateRunning
		n.starts++
	case reqDrop:
		if n.state == stateDisconnected {
			return unix.EBADFD
		}
	case reqStatus:
		s := (*status)(arg)
		if *s = n.stopped; n.state == stateRunning {
			*s = status{Trigger: n.now}
		}
		s.State = n.state
	default:
		return unix.ENOTTY
	}
	return nil
}

func (n *fakeNode) refine(p *hwParams) error {
	n.set = *p
	mask := func(i int, have ...int) bool {
		var left [8]uint32
		for _, v := range have {
			left[v/32] |= p.Masks[i][v/32] & (1 << (v % 32))
		}
		p.Masks[i] = left
		return left != [8]uint32{}
	}
	within := func(i int, low, high uint32) bool {
		p.Intervals[i].Min, p.Intervals[i].Max = max(p.Intervals[i].Min, low), min(p.Intervals[i].Max, high)
		return p.Intervals[i].Min <= p.Intervals[i].Max
	}
	ok := mask(access, accessInterleaved, 0) && mask(format, n.formats...) && mask(subformat, 0) &&
		within(channels, n.minChannels, n.maxChan) && within(rate, slices.Min(n.rates), slices.Max(n.rates)) &&
		within(periodSize, n.minPeriod, n.maxPeriod) && within(bufferSize, 2*n.minPeriod, n.maxBuffer)
	if r := p.Intervals[rate]; !ok || r.Min == r.Max && !slices.Contains(n.rates, r.Min) {
		return unix.EINVAL
	}
	return nil
}

func (n *fakeNode) read(p []byte) (int, error) {
	if n.gone {
		return 0, unix.ENODEV
	}
	if len(n.script) == 0 {
		return 0, unix.EAGAIN
	}
	a := n.script[0]
	n.script = n.script[1:]
	if a.err != nil {
		if a.err == unix.EPIPE {
			n.state = stateXrun
		}
		return 0, a.err
	}
	return copy(p, a.data), nil
}

func (n *fakeNode) write(p []byte) (int, error) { return 0, unix.EBADFD }

func (n *fakeNode) wait(ctx context.Context, _ int16, _ time.Duration) error {
	if len(n.script) == 0 && n.ended != nil {
		n.ended()
	}
	return ctx.Err()
}

func (n *fakeNode) Close() error {
	n.closed = true
	return nil
}

func frames(values ...int16) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}
