package stethoscope

import (
	"math"
	"math/rand/v2"

	"telecart/device/stethoscope/filter"
)

// heart is a chest as the twin's converter hears it: first and second heart sound, breath, on wish a murmur, and the
// converter's own noise. It is made sound by sound from when it began, so a heart goes on beating while nobody listens.
type heart struct {
	rate   int
	period float64 // of a beat, in seconds
	murmur murmur
	at     int64 // number of the next value
	random *rand.Rand
	breath *filter.Filter
	blow   *filter.Filter // the murmur's colour
}

// murmur is between which heart sounds blood is heard to rush.
type murmur string

const (
	quiet     murmur = "none"
	systolic  murmur = "systolic"
	diastolic murmur = "diastolic"
)

// Loudness, as a part of full scale. Sounds are those of the reference: 50 Hz for 100 ms and 70 Hz for 80 ms, Gaussian.
const (
	firstPeak   = 0.30
	secondPeak  = 0.22
	breathLevel = 0.012 // RMS at the height of a breath in
	murmurLevel = 0.030 // RMS in its middle
	noiseLevel  = 2.0 / 32768
	breaths     = 15.0 / 60 // a second
)

func newHeart(rate int, beats float64, m murmur) *heart {
	h := &heart{rate: rate, period: 60 / beats, murmur: m, random: rand.New(rand.NewPCG(50, 70))}
	h.breath, _ = filter.New(filter.Band{LowHz: 150, HighHz: 600}, rate) // both bands fit every rate that a twin may have
	h.blow, _ = filter.New(filter.Band{LowHz: 120, HighHz: 400}, rate)
	return h
}

// systole is the time from the first to the second sound; a fast heart shortens mostly the other part.
func (h *heart) systole() float64 { return 0.22 + 0.1*h.period }

// next is the next value, 1 being full scale; it may be beyond.
func (h *heart) next() float64 {
	t := float64(h.at) / float64(h.rate)
	h.at++
	beat := math.Mod(t, h.period)
	x := burst(beat-0.1, 0.1, 50, firstPeak) + burst(beat-0.1-h.systole(), 0.08, 70, secondPeak)
	x += burst(beat-0.1-h.period, 0.1, 50, firstPeak) // the next beat's rise
	white := h.random.NormFloat64()
	air := math.Sin(2 * math.Pi * breaths * t)
	x += breathLevel * max(air, -0.5*air) * 5 * h.breath.Step(white) // breathing out is softer; 5 makes up for the band
	x += murmurLevel * h.rush(beat) * 7 * h.blow.Step(white)
	return x + noiseLevel*h.random.NormFloat64()
}

// rush is how loud the murmur is at a moment of the beat, 0 to 1.
func (h *heart) rush(beat float64) float64 {
	from, to := 0.1, 0.1+h.systole()
	switch h.murmur {
	case systolic:
	case diastolic:
		from, to = to, h.period
	default:
		return 0
	}
	if beat < from || beat > to {
		return 0
	}
	return math.Sin(math.Pi * (beat - from) / (to - from))
}

// burst is a tone that swells and fades within long seconds, t after its middle.
func burst(t, long, hz, peak float64) float64 {
	sigma := long / 5 // at the ends of the burst it is at 4 % of its height
	if math.Abs(t) > 2*long {
		return 0
	}
	return peak * math.Exp(-t*t/(2*sigma*sigma)) * math.Cos(2*math.Pi*hz*t)
}

// quantise is what the converter makes of a value.
func quantise(x float64) int16 {
	return int16(min(max(math.Round(x*32768), math.MinInt16), math.MaxInt16))
}
