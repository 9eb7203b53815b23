package stethoscope

import (
	"context"
	"fmt"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/stethoscope/alsa"
)

// inHand is for how long the twin, like the kernel, keeps values that nobody takes.
const inHand = time.Second

// flaw is what is wrong with a twin.
type flaw int

const (
	sane    flaw = iota // nothing
	loud                // eight times too loud: cut off at full scale
	silent              // the values are all 0, as behind a mute switch
	stalled             // no values come any more
)

// twin is a stethoscope on a chest that does not tire. It beats by the clock, whether anybody listens or not.
type twin struct {
	clock kit.Clock
	hz    int
	began time.Time

	mu    sync.Mutex
	heart *heart
	flaw  flaw
	skip  int64 // values that the next read loses
	gone  bool
	pull  chan struct{} // closed when it is unplugged
}

func newTwin(clock kit.Clock, hz int, o options) *twin {
	if clock == nil {
		clock = kit.System{}
	}
	return &twin{clock: clock, hz: hz, began: clock.Now(), heart: newHeart(hz, o.beats, o.murmur), pull: make(chan struct{})}
}

// Unplug pulls the cable.
func (t *twin) Unplug() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone {
		t.gone = true
		close(t.pull)
	}
}

// Spoil makes the flaw the one it has from now on.
func (t *twin) Spoil(f flaw) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flaw = f
}

// Overrun loses the next values on their way.
func (t *twin) Overrun(values int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skip += int64(values)
}

func (t *twin) open() (source, error) { return t, t.alive() }
func (t *twin) Close() error          { return nil }
func (t *twin) about() device.About   { return device.About{Model: "Twin"} }

func (t *twin) alive() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return fmt.Errorf("%w (twin)", alsa.ErrUnplugged)
	}
	return nil
}

// due is the number of the first value that is not yet there.
func (t *twin) due() int64 {
	since := t.clock.Now().Sub(t.began)
	return int64(since/time.Second)*int64(t.hz) + int64(since%time.Second)*int64(t.hz)/int64(time.Second)
}

func (t *twin) listen() (stream, error) {
	if err := t.alive(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heart.at, t.skip = t.due(), 0
	return twinStream{t}, nil
}

type twinStream struct{ *twin }

func (t twinStream) rate() int { return t.hz }

// read gives whole buffers, as the kernel does whose period it is.
func (t twinStream) read(ctx context.Context, dst []int16) (n int, lost uint64, err error) {
	for {
		if err := t.alive(); err != nil {
			return 0, 0, err
		}
		wait := t.ahead(len(dst))
		if wait <= 0 {
			break
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-t.pull:
		case <-t.clock.After(wait):
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flaw == stalled {
		return 0, 0, fmt.Errorf("%w (twin)", alsa.ErrStalled)
	}
	if late := t.due() - t.heart.at; late > int64(inHand.Seconds()*float64(t.hz)) {
		t.skip += late - int64(len(dst))
	}
	t.heart.at += t.skip
	lost, t.skip = uint64(t.skip), 0
	for i := range dst {
		dst[i] = t.value()
	}
	return len(dst), lost, nil
}

// ahead is how long until n values are there.
func (t twinStream) ahead(n int) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	missing := t.heart.at + t.skip + int64(n) - t.due()
	return time.Duration((missing*int64(time.Second) + int64(t.hz) - 1) / int64(t.hz)) // rounded up, to be there when it is over
}

// value is the converter's next one.
func (t twinStream) value() int16 {
	x := t.heart.next()
	switch t.flaw {
	case loud:
		x *= 8
	case silent:
		x = 0
	}
	return quantise(x)
}
