package alsa

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Player is a converter that plays, as raw as Capture hears: with it the lab feeds a loopback card with tones it knows.
type Player struct {
	Setup
	n node
}

// OpenPlayer opens /dev/snd/pcmC1D0p for card 1, device 0, with 16 bits. It starts when half of its buffer of a second is full.
func OpenPlayer(card, device, rateHz, channels int) (*Player, error) {
	n, err := openNode(fmt.Sprintf("/dev/snd/pcmC%dD%dp", card, device))
	if err != nil {
		return nil, err
	}
	p, err := choose(n, []int{rateHz}, channels)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	s, err := set(n, p)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	soft := swParams{StampMode: stampEnabled, PeriodStep: 1, AvailMin: uint64(s.Period), StartThreshold: uint64(s.Buffer / 2),
		StopThreshold: uint64(s.Buffer), Proto: protocol, StampType: stampMonotonic}
	err = failed("set when to wake", n.ioctl(reqSoft, unsafe.Pointer(&soft)))
	if err == nil {
		err = failed("prepare", n.ioctl(reqPrepare, nil))
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return &Player{s, n}, nil
}

// Write plays values on the first channel, silence on the others, and waits while the buffer is full. After an underrun it
// begins anew.
func (p *Player) Write(ctx context.Context, values []int16) error {
	raw := make([]byte, 2*len(values)*p.Channels)
	for i, v := range values {
		binary.LittleEndian.PutUint16(raw[2*i*p.Channels:], uint16(v))
	}
	for len(raw) > 0 {
		n, err := p.n.write(raw)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if err := p.n.wait(ctx, unix.POLLOUT, silence); err != nil {
				return err
			}
		case errors.Is(err, unix.EPIPE):
			if err := p.n.ioctl(reqPrepare, nil); err != nil {
				return failed("prepare", err)
			}
		case err != nil:
			return failed("write", err)
		default:
			raw = raw[n:]
		}
	}
	return nil
}

// Tone plays a sine, of an amplitude in parts of full scale, until ctx ends.
func (p *Player) Tone(ctx context.Context, hz, amplitude float64) error {
	for at := 0; ; {
		part := make([]int16, p.Period)
		for i := range part {
			part[i] = int16(math.Round(32767 * amplitude * math.Sin(2*math.Pi*hz*float64(at)/float64(p.RateHz))))
			at++
		}
		if err := p.Write(ctx, part); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// Close stops at once.
func (p *Player) Close() error {
	return errors.Join(failed("stop", p.n.ioctl(reqDrop, nil)), p.n.Close())
}
