package voice

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

// What the twin's microphone hears: bursts like syllables, of a tone each and another above. Which tone says which burst it is, and
// so when it was said: by that a listener knows how long the sound took. Two of ten are silent: a pause for breath.
const (
	BurstEvery = 600 * time.Millisecond
	BurstLasts = 300 * time.Millisecond
	bursts     = 10 // after which they begin again
	spoken     = 8  // of them
)

// BurstHz is the tone of a burst, by its number; 0: it is silent.
func BurstHz(burst int64) float64 {
	if k := burst % bursts; k >= 0 && k < spoken {
		return 500 + 100*float64(k)
	}
	return 0
}

const edge = 10 * time.Millisecond // in which a burst comes and goes

// said is the value with this number.
func said(n int64) int16 {
	const every, lasts, rise = RateHz * int64(BurstEvery) / int64(time.Second), RateHz * int64(BurstLasts) / int64(time.Second), RateHz * int64(edge) / int64(time.Second)
	burst, at := n/every, n%every
	hz := BurstHz(burst)
	if hz == 0 || at >= lasts {
		return 0
	}
	loud := 9000 * min(1, float64(at)/float64(rise), float64(lasts-at)/float64(rise))
	w := 2 * math.Pi * hz * float64(at) / RateHz
	return int16(loud * (math.Sin(w) + 0.3*math.Sin(2.5*w)))
}

const recorded = 10 * RateHz // values that the loudspeaker remembers

// Twin is a room with somebody in it who does not tire of speaking, and a loudspeaker that remembers what it played.
type Twin struct {
	clock  kit.Clock
	began  time.Time
	record string

	mu   sync.Mutex
	gone bool
	pull chan struct{} // closed when it is unplugged
	last []int16       // that were played
}

func newTwin(clock kit.Clock, o options) *Twin {
	if clock == nil {
		clock = kit.System{}
	}
	return &Twin{clock: clock, began: clock.Now(), record: o.record, pull: make(chan struct{})}
}

// NewTwin makes one by itself: its instrument is what the table's driver would make.
func NewTwin(s device.Settings, out device.Outlet) (*Twin, device.Instrument) {
	t := newTwin(s.Clock, options{})
	return t, newInstrument(s, out, t.open)
}

// Began is when the first burst was.
func (t *Twin) Began() time.Time { return t.began }

// Played is what the loudspeaker played lately, at most ten seconds of it.
func (t *Twin) Played() []int16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]int16(nil), t.last...)
}

// Unplug pulls the cable.
func (t *Twin) Unplug() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone {
		t.gone = true
		close(t.pull)
	}
}

func (t *Twin) open() (source, error) { return t, t.alive() }
func (t *Twin) Close() error          { return nil }
func (t *Twin) about() device.About   { return device.About{Model: "Twin"} }

func (t *Twin) alive() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return fmt.Errorf("%w (twin)", ErrUnplugged)
	}
	return nil
}

// every calls f for each stretch of the clock's time, with its number: those that nobody came for in time are left out.
func (t *Twin) every(ctx context.Context, f func(n int64) error) error {
	number := func() int64 { return int64(t.clock.Now().Sub(t.began) / stretch) }
	for n := number(); ; n++ {
		if late := number() - n; late > int64(time.Second/stretch) {
			n += late
		}
		if wait := t.began.Add(time.Duration(n+1) * stretch).Sub(t.clock.Now()); wait > 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-t.pull:
				return t.alive()
			case <-t.clock.After(wait):
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if err := f(n); err != nil {
			return err
		}
	}
}

func (t *Twin) hear(ctx context.Context, take func([]int16)) error {
	values := make([]int16, piece)
	return t.every(ctx, func(n int64) error {
		for i := range values {
			values[i] = said(n*piece + int64(i))
		}
		take(values)
		return t.alive()
	})
}

func (t *Twin) play(ctx context.Context, fill func([]int16)) error {
	values, calls := make([]int16, piece), 0
	return t.every(ctx, func(int64) error {
		fill(values)
		t.keep(values)
		if calls++; t.record != "" && calls%int(time.Second/stretch) == 0 {
			if err := t.write(); err != nil {
				return err
			}
		}
		return t.alive()
	})
}

func (t *Twin) keep(values []int16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if over := len(t.last) + len(values) - recorded; over > 0 {
		t.last = t.last[:copy(t.last, t.last[over:])]
	}
	t.last = append(t.last, values...)
}

// write makes the file anew: who reads it finds a whole one, if an older one.
func (t *Twin) write() error {
	values := t.Played()
	var b bytes.Buffer
	n := uint32(2 * len(values))
	b.WriteString("RIFF")
	binary.Write(&b, binary.LittleEndian, n+36)
	b.WriteString("WAVEfmt ")
	binary.Write(&b, binary.LittleEndian, struct {
		Size          uint32
		Format, Count uint16
		Hz, BytesHz   uint32
		Frame, Bits   uint16
	}{16, 1, 1, RateHz, 2 * RateHz, 2, 16})
	b.WriteString("data")
	binary.Write(&b, binary.LittleEndian, n)
	binary.Write(&b, binary.LittleEndian, values)
	if err := os.WriteFile(t.record+".new", b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("voice: option record: %w", err)
	}
	if err := os.Rename(t.record+".new", t.record); err != nil {
		return fmt.Errorf("voice: option record: %w", err)
	}
	return nil
}
