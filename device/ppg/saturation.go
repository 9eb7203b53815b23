package ppg

import (
	"fmt"
	"math"
	"slices"

	"telecart/device"
)

const (
	darkest, brightest = 0.10, 0.90 // of the converter's range, reference 7
	clipped            = 0.98       // of it: a peak may be missing
	minPerfusion       = 0.2        // per cent, reference 7
	maxSpread          = 0.10       // of the beats' ratios, reference 7
	maxError           = 0.8        // standard error of the saturation, per cent
	minCoherence       = 0.95       // between the mean beats of red and infrared
	bestRatio          = 0.337      // where the calibration has its maximum; below, it falls again
	minRatio           = 0.03       // the calibration's first,
	minSaturation      = 50         // and what it gives at a ratio far from any that it was made with
	lastPart           = 2.0        // seconds whose light counts as the light now
	sharp              = 0.02       // seconds; the bell through which the height of a pulse is taken
)

// Vitals is what red and infrared light together tell after one more second.
type Vitals struct {
	Result                     // from infrared, unless the light won't do
	Saturation   float64       // per cent
	NoSaturation device.Reason // why it is absent, or ""
	Ratio        float64       // R, when there is a saturation
	Perfusion    float64       // infrared pulse from valley to peak, per cent of the steady light
	NoPerfusion  device.Reason // why it is absent, or ""
}

// Oximeter is a chain for red and infrared light, whose zero is darkness.
type Oximeter struct {
	in        intake
	fullScale float64
	watch     watch
	steady    steady
}

// NewOximeter makes one for a converter that ends at fullScale.
func NewOximeter(rateHz, fullScale float64) (*Oximeter, error) {
	if !(fullScale > 0) || math.IsInf(fullScale, 0) {
		return nil, fmt.Errorf("ppg: full scale %g: give the greatest sample there can be", fullScale)
	}
	in, err := newIntake(rateHz, 2)
	if err != nil {
		return nil, err
	}
	return &Oximeter{in: in, fullScale: fullScale}, nil
}

// Retime corrects the sampling rate, once it was measured, by a few per cent; nothing is forgotten.
func (o *Oximeter) Retime(rateHz float64) { o.in.retime(rateHz) }

// Gap says that samples are missing here: what was before is forgotten.
func (o *Oximeter) Gap() {
	o.in.reset()
	o.watch, o.steady = watch{}, steady{}
}

// Push takes one sample of each. Once in every second of signal it has vitals.
func (o *Oximeter) Push(red, ir float64) (v Vitals, ok bool) {
	if !o.in.take(red, ir) {
		return Vitals{}, false
	}
	v = o.vitals()
	v.Seconds = o.in.seconds
	return v, true
}

// none is the absence of everything.
func none(why device.Reason) Vitals {
	return Vitals{Result: Result{Absent: why}, NoSaturation: why, NoPerfusion: why}
}

func (o *Oximeter) vitals() Vitals {
	red, ir := o.in.last(0, window), o.in.last(1, window)
	if why := o.light(red, ir); why != "" {
		o.watch, o.steady = watch{}, steady{}
		return none(why)
	}
	o.logs(red)
	o.logs(ir)
	p := o.watch.judge(o.in.look(ir))
	if p.absent == "" && (o.clips(red, p) || o.clips(ir, p)) {
		p.absent = TooBright
	}
	if p.absent != "" {
		o.steady.judge(0, p.absent)
		return none(p.absent)
	}
	v := Vitals{Result: Result{Rate: p.rate, Match: p.match}, Perfusion: 100 * p.height(ir, o.in.hz)}
	if v.Perfusion < minPerfusion {
		o.steady.judge(0, device.LowSignal)
		return Vitals{Result: Result{Absent: device.LowSignal}, NoSaturation: device.LowSignal, Perfusion: v.Perfusion}
	}
	ratio, percent, why := p.saturation(slopes(red, o.in.hz, p.blur))
	if v.NoSaturation = o.steady.judge(percent, why); v.NoSaturation == "" {
		v.Ratio, v.Saturation = ratio, percent
	}
	return v
}

// light says what is wrong with the light itself.
func (o *Oximeter) light(channels ...[]float64) device.Reason {
	for _, x := range channels {
		if len(x) == 0 {
			return young(o.in.cut)
		}
		now := mean(x[max(0, len(x)-int(lastPart*o.in.hz)):]) / o.fullScale
		switch {
		case now < darkest:
			return TooDark
		case now > brightest:
			return TooBright
		}
	}
	return ""
}

// logs takes logarithms: a change is then a share of the light, however bright it is. There is none of darkness.
func (o *Oximeter) logs(x []float64) {
	for i, v := range x {
		x[i] = math.Log(max(v, o.fullScale/1e3))
	}
}

// clips says that the converter was at its end while the pulse beat, so that a top may be missing.
func (o *Oximeter) clips(logs []float64, p pulse) bool {
	from := p.beats[0] + reach(p.blur*o.in.hz) - int(p.period/2)
	return slices.Max(logs[max(0, from):]) > math.Log(clipped*o.fullScale)
}

// height is the mean beat's, from valley to peak.
func (p *pulse) height(x []float64, hz float64) float64 {
	lead, b := reach(p.blur*hz), bell(sharp*hz)
	before, after := int(0.35*p.period), int(0.65*p.period)
	sum, n := make([]float64, before+after), 0.0
	for _, at := range p.beats {
		from, to := at+lead-before, at+lead+after
		if from < 0 || to > len(x) {
			continue
		}
		drift := (x[to-1] - x[from]) / float64(to-from)
		for i := range sum {
			sum[i] += x[from+i] - x[from] - drift*float64(i)
		}
		n++
	}
	if n == 0 {
		return 0
	}
	low, high := math.Inf(1), math.Inf(-1)
	for i := range sum {
		s := sum[i] * b[0]
		for k := 1; k < len(b); k++ {
			s += b[k] * (sum[max(0, i-k)] + sum[min(len(sum)-1, i+k)])
		}
		low, high = min(low, s), max(high, s)
	}
	return (high - low) / n
}

// saturation compares the slopes of red with those of infrared, beat for beat. Each beat is measured by the mean of the others: its own
// noise, which is in no other beat, then makes its ratio uncertain but not smaller, as a plain fit to infrared would.
func (p *pulse) saturation(red []float64) (ratio, percent float64, why device.Reason) {
	before, after := int(0.25*p.period), int(0.65*p.period)
	var rs, is [][]float64
	for _, b := range p.beats {
		if b-before >= 0 && b+after < min(len(red), len(p.slope)) {
			rs, is = append(rs, red[b-before:b+after]), append(is, p.slope[b-before:b+after])
		}
	}
	if len(is) < minIntervals {
		return 0, 0, device.LowSignal
	}
	meanRed, meanIR := total(rs), total(is)
	if correlation(meanRed, meanIR) < minCoherence {
		return 0, 0, device.LowSignal
	}
	var sumRed, sumIR float64
	ratios := make([]float64, len(is))
	for i := range is {
		others := make([]float64, len(meanIR))
		for k := range others {
			others[k] = meanIR[k] - is[i][k]
		}
		m := mean(others)
		var a, b float64
		for k := range others {
			a += rs[i][k] * (others[k] - m)
			b += is[i][k] * (others[k] - m)
		}
		sumRed, sumIR = sumRed+a, sumIR+b
		ratios[i] = a / b
	}
	ratio = sumRed / sumIR
	spread := deviation(ratios)
	slope := math.Abs(-2*45.060*max(ratio, bestRatio) + 30.354)
	switch {
	case !(ratio >= minRatio):
		return 0, 0, Unlikely
	case spread > maxSpread || math.Abs(ratio-median(ratios)) > maxSpread/2,
		slope*spread/math.Sqrt(float64(len(ratios)-2)) > maxError: // of few beats the spread is itself uncertain
		return 0, 0, Unlike
	}
	if percent = Saturation(ratio); percent < minSaturation {
		return 0, 0, Unlikely
	}
	return ratio, percent, ""
}

// Saturation is the calibration of Maxim's reference design MAXREFDES117, of the ratio R: reference 7. It is another maker's optics
// on other people: no finger of ours was ever compared with a blood sample. Below its maximum it is held there.
func Saturation(ratio float64) float64 {
	r := max(ratio, bestRatio)
	return -45.060*r*r + 30.354*r + 94.845
}

func total(beats [][]float64) []float64 {
	sum := make([]float64, len(beats[0]))
	for _, b := range beats {
		for i, s := range b {
			sum[i] += s
		}
	}
	return sum
}
