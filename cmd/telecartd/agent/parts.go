package agent

import (
	"slices"
	"sync"
	"time"

	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
)

// broadcast ticks everyone who joined; a tick that was not taken yet stands for all later ones.
type broadcast struct {
	mu   sync.Mutex
	next int
	all  map[int]chan struct{}
}

func (b *broadcast) join() (<-chan struct{}, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[int]chan struct{}{}
	}
	n, c := b.next, make(chan struct{}, 1)
	b.next++
	b.all[n] = c
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.all, n)
	}
}

func (b *broadcast) tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.all {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// waves keeps the last waveSeconds of every waveform, and hands pieces on as they come.
type waves struct {
	mu   sync.Mutex
	last map[waveID]device.Samples
	next int
	all  map[int]chan device.Samples
}

type waveID struct{ instrument, quantity string }

const waveSeconds = 30

func newWaves() *waves {
	return &waves{last: map[waveID]device.Samples{}, all: map[int]chan device.Samples{}}
}

func (w *waves) add(s device.Samples) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := waveID{s.Instrument.Name, s.Quantity}
	old := w.last[id]
	kept := s
	kept.Values = slices.Clone(s.Values) // the instrument's own are shared
	gap := float64(s.At.Mono-old.At.Mono)/1e9*s.RateHz - float64(len(s.Values))
	if old.At.Boot == s.At.Boot && old.RateHz == s.RateHz && gap < s.RateHz/2 { // no more than half a second is missing
		kept.Values = append(old.Values, s.Values...)
	}
	if most := int(waveSeconds * s.RateHz); len(kept.Values) > most {
		kept.Values = append([]int32(nil), kept.Values[len(kept.Values)-most:]...)
	}
	w.last[id] = kept
	for _, c := range w.all {
		select {
		case c <- s:
		default: // a page that does not keep up misses a piece
		}
	}
}

// wipe forgets all of it.
func (w *waves) wipe() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.last)
}

// freshWave is how long ago a waveform's last value may be: what an unplugged instrument drew is not how the patient is.
const freshWave = 3 * time.Second

// tail is the last stretch of an instrument's waveform, if it is still being drawn.
func (w *waves) tail(instrument string, seconds int, now kit.Stamp) (device.Samples, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, s := range w.last {
		if n := int(float64(seconds) * s.RateHz); id.instrument == instrument && len(s.Values) >= n &&
			s.At.Boot == now.Boot && time.Duration(now.Mono-s.At.Mono) < freshWave {
			s.Values = append([]int32(nil), s.Values[len(s.Values)-n:]...)
			return s, true
		}
	}
	return device.Samples{}, false
}

func (w *waves) join() (<-chan device.Samples, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, c := w.next, make(chan device.Samples, 32)
	w.next++
	w.all[n] = c
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, n)
	}
}

// review keeps the blobs of this encounter's items, up to reviewMost bytes; the oldest go first. Memory only.
type review struct {
	bytes int
	order []ledger.Hash
	blobs map[ledger.Hash]Blob
}

// Blob is something that the nurse can look at again.
type Blob struct {
	Type  string
	Bytes []byte
}

const reviewMost = 24 << 20

func (r *review) keep(h ledger.Hash, b Blob) {
	if len(b.Bytes) == 0 || len(b.Bytes) > reviewMost {
		return
	}
	if r.blobs == nil {
		r.blobs = map[ledger.Hash]Blob{}
	}
	for r.bytes+len(b.Bytes) > reviewMost {
		r.bytes -= len(r.blobs[r.order[0]].Bytes)
		delete(r.blobs, r.order[0])
		r.order = r.order[1:]
	}
	r.blobs[h] = b
	r.order = append(r.order, h)
	r.bytes += len(b.Bytes)
}

// wipe forgets all of it.
func (r *review) wipe() {
	for _, b := range r.blobs {
		clear(b.Bytes)
	}
	*r = review{}
}
