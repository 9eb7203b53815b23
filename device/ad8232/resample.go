package ad8232

import "time"

// resampler makes samples at equal distances of ones that were taken at measured times, by straight lines between them. It
// is a step machine.
type resampler struct {
	step   time.Duration
	widest time.Duration // further apart two samples are a gap
	begun  bool
	at     time.Time // of the last sample
	value  float64
	due    time.Time // of the next one that is made
}

// add takes a sample and returns what can be made now, and whether there was a gap before it.
func (r *resampler) add(at time.Time, v float64) (made []float64, gap bool) {
	if !r.begun {
		r.begun, r.at, r.value, r.due = true, at, v, at.Add(r.step)
		return []float64{v}, false
	}
	apart := at.Sub(r.at)
	if apart <= 0 {
		return nil, false
	}
	if apart > r.widest {
		r.begun = false
		made, _ = r.add(at, v)
		return made, true
	}
	for !r.due.After(at) {
		part := float64(r.due.Sub(r.at)) / float64(apart)
		made = append(made, r.value+part*(v-r.value))
		r.due = r.due.Add(r.step)
	}
	r.at, r.value = at, v
	return made, false
}

// rateMeter measures a converter's rate from the numbers and times of its conversions.
type rateMeter struct {
	marks []mark // at least markEvery apart
	last  mark
}

type mark struct {
	n  int64
	at time.Duration
}

const (
	markEvery = 500 * time.Millisecond
	markMost  = 21              // ten seconds
	measure   = 2 * time.Second // until there is a rate
)

func (m *rateMeter) add(n int64, at time.Duration) {
	m.last = mark{n, at}
	if len(m.marks) > 0 && at-m.marks[len(m.marks)-1].at < markEvery {
		return
	}
	if len(m.marks) == markMost {
		m.marks = m.marks[:copy(m.marks, m.marks[1:])]
	}
	m.marks = append(m.marks, m.last)
}

// hz is 0 until it was measured for long enough.
func (m *rateMeter) hz() float64 {
	if len(m.marks) == 0 {
		return 0
	}
	span := m.last.at - m.marks[0].at
	if span < measure {
		return 0
	}
	return float64(m.last.n-m.marks[0].n) / span.Seconds()
}
