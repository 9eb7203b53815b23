package stethoscope

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/stethoscope/filter"
)

// listenFor hears the twin for some seconds.
func listenFor(t *testing.T, o options, seconds int) []int16 {
	b, _ := onTwin(t, o)
	var all []int16
	for range seconds * stretches {
		x := b.tick()
		if x.Seq != uint64(len(all)) {
			t.Fatalf("Seq %d after %d values", x.Seq, len(all))
		}
		all = append(all, x.Values...)
	}
	return all
}

// level is the RMS of a band between two times after each first sound, over all beats.
func level(t *testing.T, all []int16, o options, band filter.Band, from, to float64) float64 {
	f, err := filter.New(band, slow)
	if err != nil {
		t.Fatal(err)
	}
	var sum, n float64
	period := 60 / o.beats
	for i, v := range all {
		y := f.Step(float64(v) / 32768)
		at := math.Mod(float64(i)/slow-0.1+period, period)
		if i > slow && at >= from && at < to {
			sum += y * y
			n++
		}
	}
	return math.Sqrt(sum / n)
}

// The twin's heart is what the reference says: a first sound of 50 Hz, a second of 70 Hz, silence between, at the rate asked for.
func TestHeart(t *testing.T) {
	for _, o := range []options{{beats: 72, murmur: quiet}, {beats: 150, murmur: quiet}, {beats: 40, murmur: quiet}} {
		all := listenFor(t, o, 12)
		low, second := filter.Band{LowHz: 25, HighHz: 100}, 0.22+6/o.beats
		s1, s2 := level(t, all, o, low, 0, 0.02), level(t, all, o, low, second, second+0.02)
		between := level(t, all, o, low, second/2-0.02, second/2+0.02)
		if !(s1 > 5*between && s2 > 5*between && s1 > s2) {
			t.Errorf("%g/min: first sound %.4f, second %.4f, between %.4f", o.beats, s1, s2, between)
		}
		if beats := count(t, all); beats != 1+int(11.9*o.beats/60) {
			t.Errorf("%g/min: %d first sounds in 12 s", o.beats, beats)
		}
		// Half a period of each tone around its middle: where it is 0, and what sign it has.
		for _, x := range []struct{ at, hz float64 }{{0, 50}, {second, 70}} {
			if hz := tone(all, int((0.1+60/o.beats+x.at)*slow)); math.Abs(hz-x.hz) > 8 {
				t.Errorf("%g/min: the sound at %.2f s is of %.1f Hz, want %g", o.beats, x.at, hz, x.hz)
			}
		}
	}
}

// count counts first sounds: what is above 0.26 of full scale without the breath, once in 200 ms.
func count(t *testing.T, all []int16) (n int) {
	f, err := filter.New(filter.Band{LowHz: 10, HighHz: 150}, slow)
	if err != nil {
		t.Fatal(err)
	}
	last := -slow
	for i, v := range all {
		if f.Step(float64(v)/32768) > 0.26 && i-last > slow/5 {
			n++
			last = i
		}
	}
	return n
}

// tone is the frequency of the sound around a moment, by the distance of the two dips beside its peak.
func tone(all []int16, at int) float64 {
	dip := func(part []int16) int {
		return slices.Index(part, slices.Min(part))
	}
	left, right := dip(all[at-117:at]), dip(all[at:at+117])
	return slow / float64(117-left+right)
}

func TestMurmur(t *testing.T) {
	blood := filter.Band{LowHz: 150, HighHz: 400}
	in := func(m murmur, from, to float64) float64 {
		o := options{beats: 72, murmur: m}
		return level(t, listenFor(t, o, 8), o, blood, from, to)
	}
	systole, diastole := [2]float64{0.1, 0.22}, [2]float64{0.42, 0.7}
	for _, x := range []struct {
		murmur murmur
		there  [2]float64
		not    [2]float64
	}{{systolic, systole, diastole}, {diastolic, diastole, systole}} {
		with, without := in(x.murmur, x.there[0], x.there[1]), in(quiet, x.there[0], x.there[1])
		elsewhere := in(x.murmur, x.not[0], x.not[1])
		if !(with > 2*without && with > 2*elsewhere && with < 0.1) {
			t.Errorf("%s: %.4f with, %.4f without, %.4f elsewhere", x.murmur, with, without, elsewhere)
		}
	}
}

// It beats by the clock, not by how often it is asked; what nobody took in a second is lost, and said to be.
func TestTwinTime(t *testing.T) {
	clock := kit.NewManual(epoch())
	tw := newTwin(clock, 44100, options{beats: 72})
	s, err := tw.listen()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]int16, 882)
	got, gone := 0, uint64(0)
	read := func() {
		t.Helper()
		n, lost, err := s.read(context.Background(), buf)
		if err != nil {
			t.Fatal(err)
		}
		got, gone = got+n, gone+lost
	}
	clock.Advance(500 * time.Millisecond)
	for range 25 {
		read()
	}
	if got != 22050 || gone != 0 {
		t.Errorf("half a second: %d values, %d lost", got, gone)
	}
	clock.Advance(3 * time.Second)
	read()
	if want := 7 * 44100 / 2; got+int(gone) != want {
		t.Errorf("3 s without a read: %d values and %d lost, want %d in all", got, gone, want)
	}
	tw.Overrun(1000)
	clock.Advance(time.Second)
	before := gone
	read()
	if gone-before != 1000 {
		t.Errorf("%d lost in an overrun of 1000", gone-before)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	clock2 := kit.NewManual(epoch())
	s2, _ := newTwin(clock2, 48000, options{beats: 72}).listen()
	if _, _, err := s2.read(ctx, buf); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOverrun(t *testing.T) {
	b, tw := onTwin(t, options{beats: 72})
	first := b.tick()
	b.clock.AwaitWaiters(1)
	tw.Overrun(80)
	b.clock.Advance(tick)
	b.clock.AwaitWaiters(1)
	b.clock.Advance(tick)
	second := b.hear(b.ear)
	if gap := second.Seq - first.Seq - uint64(len(first.Values)); gap != 80 {
		t.Errorf("a gap of %d in Seq, want 80", gap)
	}
}

func TestPhonogram(t *testing.T) {
	f := newFed()
	b := start(t, kit.NewManual(epoch()), f.open)
	for i := range stretches { // an offset, and one click of one value in every stretch
		v := make([]int16, 960)
		for j := range v {
			v[j] = 5000
		}
		v[(i*37+100)%960] = 15000
		f.give(piece{values: v})
		b.hear(b.ear)
	}
	b.end(nil)
	lines := b.notes.lines()
	if len(lines) != 10 {
		t.Fatalf("%d pieces of line in a second, want 10", len(lines))
	}
	clicks := 0
	for i, l := range lines {
		if l.Quantity != quantity || l.Unit != "1" || l.RateHz != 400 || len(l.Values) != 40 || l.Instrument.Model != "Steth One" {
			t.Fatalf("piece %d: %+v", i, l)
		}
		for _, v := range l.Values {
			switch { // of the click 1/24 is below 1 kHz, and the offset is not drawn at all
			case v > 300:
				clicks++
			case v < -200:
				t.Errorf("piece %d: %d, of the offset?", i, v)
			}
		}
	}
	if clicks < stretches-1 || clicks > stretches+3 { // the last comes out too late, some lie across two columns
		t.Errorf("the line shows %d clicks of %d", clicks, stretches)
	}
}

func TestDrawingOrder(t *testing.T) {
	d, err := newDrawing(48000)
	if err != nil {
		t.Fatal(err)
	}
	wave := func(sign float64) (v []int16) {
		for i := range 240 {
			v = append(v, quantise(0.5*sign*math.Sin(2*math.Pi*float64(i)/240)))
		}
		return v
	}
	var line []int32
	for range 10 {
		for _, sign := range []float64{1, 1} {
			if l, ok := d.add(wave(sign)); ok {
				line = append(line, l...)
			}
		}
	}
	if len(line) != 40 || line[20] < 10000 || line[21] > -10000 {
		t.Errorf("a wave that rises first is drawn %v", line)
	}
	other, _ := newDrawing(44100)
	if r := other.rate(); math.Abs(r-400.9) > 0.1 {
		t.Errorf("44.1 kHz is drawn at %g points a second", r)
	}
	d.restart()
	if l, ok := d.add(make([]int16, 4799)); ok {
		t.Errorf("after a gap the line begins anew; got %d points", len(l))
	}
}

// Nobody listens: nothing is drawn.
func TestNobodyListens(t *testing.T) {
	clock := kit.NewManual(epoch())
	tw := newTwin(clock, 48000, options{beats: 72})
	var n notes
	s := newInstrument(settings(clock), &n, tw.open)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for range 10 {
		clock.AwaitWaiters(1)
		clock.Advance(glance)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(n.lines()) > 0 || s.Counters()["values"] > 0 {
		t.Errorf("%d pieces of line, counters %v", len(n.lines()), s.Counters())
	}
	if h := n.health(); !slices.Equal(h, []device.Health{{State: device.Settling}, {State: device.Live}}) {
		t.Errorf("health went %v", h)
	}
}
