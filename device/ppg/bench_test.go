package ppg

import (
	"testing"

	"telecart/device/ppg/synth"
)

// BenchmarkSecond is one second of both channels at 100 Hz: what a cart pays all the time.
func BenchmarkSecond(b *testing.B) {
	f := synth.New(synth.Recipe{RateHz: 100, PulseRate: 72, Perfusion: 0.01, Noise: 0.0001})
	o, err := NewOximeter(100, 1)
	if err != nil {
		b.Fatal(err)
	}
	light := make([][2]float64, 6000)
	for i := range light {
		red, ir := f.Next()
		light[i] = [2]float64{0.6 * red, 0.6 * ir}
	}
	n := 0
	for b.Loop() {
		for range 100 {
			o.Push(light[n%len(light)][0], light[n%len(light)][1])
			n++
		}
	}
}
