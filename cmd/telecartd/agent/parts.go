package agent

import (
	"slices"
	"sync"
	"time"

	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
)

// waves keeps the last waveSeconds of every waveform, and hands pieces on as they come.
type waves struct {
	mu   sync.Mutex
	last map[waveID]device.Samples
	all  fan[device.Samples]
}

type waveID struct{ instrument, quantity string }

const waveSeconds = 30

func newWaves() *waves {
	return &waves{last: map[waveID]device.Samples{}}
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
	w.all.tell(s)
}

// wipe forgets all of it.
func (w *waves) wipe() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.last {
		clear(s.Values)
	}
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

func (w *waves) join() (<-chan device.Samples, func()) { return w.all.join(32) }

// fan hands what comes to everyone who joined; who does not keep up misses some.
type fan[T any] struct {
	mu   sync.Mutex
	next int
	all  map[int]chan T
}

func (f *fan[T]) join(buffer int) (<-chan T, func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[int]chan T{}
	}
	n, c := f.next, make(chan T, buffer)
	f.next++
	f.all[n] = c
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.all, n)
	}
}

func (f *fan[T]) tell(x T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.all {
		select {
		case c <- x:
		default:
		}
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
		clear(r.blobs[r.order[0]].Bytes)
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
