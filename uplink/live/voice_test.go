package live

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/voice"
	"telecart/uplink/live/jitter"
)

// talker is the twin of a room's voice, at work.
type talker struct {
	*voice.Twin
	device.Instrument
}

type ready chan struct{}

func (r ready) Observe(o device.Observation) {
	if h, ok := o.(device.Health); ok && h.State == device.Live {
		r <- struct{}{}
	}
}

func newTalker(t testing.TB) talker {
	t.Helper()
	there := make(ready, 1)
	tw, i := voice.NewTwin(device.Settings{Name: "voice", Port: "twin", Clock: kit.System{}, Stamp: kit.NewStamper(kit.System{}, nil)}, there)
	start(t, i.Run)
	want(t, "the twin", there)
	return talker{tw, i}
}

func (k talker) mic() device.Microphone      { return k.Instrument.(device.Microphone) }
func (k talker) speaker() device.Loudspeaker { return k.Instrument.(device.Loudspeaker) }

func level(values []int16, hz float64) float64 {
	w := 2 * math.Cos(2*math.Pi*hz/voice.RateHz)
	var a, b float64
	for _, v := range values {
		a, b = float64(v)+w*a-b, a
	}
	return 2 * math.Sqrt(max(0, a*a+b*b-w*a*b)) / float64(max(1, len(values)))
}

// bursts are how loud each of the twin's tones is anywhere in a sound: the loudest 100 ms.
func bursts(values []int16) (loud []float64) {
	for k := range int64(8) {
		most := 0.0
		for from := 0; from+4800 <= len(values); from += 2400 {
			most = max(most, level(values[from:from+4800], voice.BurstHz(k)))
		}
		loud = append(loud, most)
	}
	return loud
}

func (h hall) speak(t testing.TB, o SpeakOptions) (stop func() error) {
	o.Endpoint, o.Token, o.HTTP = h.url+"/v1/whip/voice", "good", h.Client
	return start(t, func(ctx context.Context) error { return Speak(ctx, o) })
}

func (h hall) hear(t testing.TB, o HearOptions) (stop func() error) {
	o.Endpoint, o.Token, o.HTTP = h.url+"/v1/whep/voice", "viewer", h.Client
	return start(t, func(ctx context.Context) error { return Hear(ctx, o) })
}

// awaitSound waits until the loudspeaker of a twin has played what is asked for.
func awaitSound(t testing.TB, what string, k talker, ok func([]int16) bool) {
	t.Helper()
	for range 200 {
		if ok(k.Played()) {
			return
		}
		<-time.After(100 * time.Millisecond) // the twin plays at its own pace
	}
	t.Fatalf("waited 20 s for %s; loudness %.0f", what, bursts(k.Played()))
}

// What one says the other hears, tone for tone; muted, nothing; and again when no longer. Someone who goes and comes is heard again.
func TestVoice(t *testing.T) {
	h := newHall(t)
	here, there := newTalker(t), newTalker(t)
	var muted atomic.Bool
	up := make(chan struct{}, 2)
	speak := SpeakOptions{Microphone: here.mic(), Muted: muted.Load, Up: func() { up <- struct{}{} }}
	stop := h.speak(t, speak)
	h.hear(t, HearOptions{Loudspeaker: there.speaker()})
	want(t, "the voice to be on its way", up)
	allTones := func(values []int16) bool { return slices.Min(bursts(values)) > 3000 }
	awaitSound(t, "all tones", there, allTones)
	muted.Store(true)
	silent := func(seconds int) func([]int16) bool {
		return func(values []int16) bool {
			n := seconds * voice.RateHz
			return len(values) >= n && slices.Max(bursts(values[len(values)-n:])) < 50
		}
	}
	awaitSound(t, "two seconds of nothing", there, silent(2))
	muted.Store(false)
	awaitSound(t, "the voice again", there, func(v []int16) bool { return slices.Max(bursts(v[len(v)-voice.RateHz:])) > 3000 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	awaitSound(t, "nothing without a speaker", there, silent(2))
	h.speak(t, speak)
	awaitSound(t, "the voice of the second session", there, func(v []int16) bool { return slices.Max(bursts(v[len(v)-voice.RateHz:])) > 3000 })
}

func TestVoiceRefused(t *testing.T) {
	h, k := newHall(t), newTalker(t)
	if err := Speak(t.Context(), SpeakOptions{Endpoint: h.url + "/v1/whip/voice", Token: "viewer", HTTP: h.Client, Microphone: k.mic()}); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	if err := Hear(t.Context(), HearOptions{Endpoint: h.url + "/v1/whep/voice", Token: "bad", HTTP: h.Client, Loudspeaker: k.speaker()}); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	if Speak(t.Context(), SpeakOptions{Endpoint: "x"}) == nil || Speak(t.Context(), SpeakOptions{Microphone: k.mic()}) == nil ||
		Hear(t.Context(), HearOptions{Endpoint: "x"}) == nil || Hear(t.Context(), HearOptions{Loudspeaker: k.speaker()}) == nil {
		t.Error("half of the options were enough")
	}
}

// A narrow share is kept to, headers and all; the wider ones are used.
func TestPlans(t *testing.T) {
	for share, frame := range map[int]time.Duration{0: 60 * time.Millisecond, 20_000: 60 * time.Millisecond, 36_000: 40 * time.Millisecond, 64_000: 20 * time.Millisecond} {
		p := PlanVoice(share)
		if p.Frame != frame || p.Wire() > max(share, 20_000) {
			t.Errorf("%d b/s: %v, %d on the wire", share, p, p.Wire())
		}
	}
}

// A frame is changed by one pitch period, without a step that would be heard.
func TestFit(t *testing.T) {
	const hz = 150.0
	x := make([]int16, 2880)
	for i := range x {
		x[i] = int16(8000 * math.Sin(2*math.Pi*hz*float64(i)/voice.RateHz))
	}
	for how, sign := range map[jitter.Fit]int{jitter.Longer: 1, jitter.Shorter: -1, jitter.AsItIs: 0} {
		y := fit(x, how)
		if periods := float64(len(y)-len(x)) / (voice.RateHz / hz); math.Abs(periods-float64(sign)) > 0.03 {
			t.Errorf("%v: %.2f periods more", how, periods)
		}
		for i := 1; i < len(y); i++ {
			if d := int(y[i]) - int(y[i-1]); d > 200 || d < -200 { // the sine's own steepest is 157
				t.Fatalf("%v: a step of %d at %d", how, d, i)
			}
		}
	}
	if y := fit(x[:960], jitter.Shorter); len(y) != 960 {
		t.Errorf("%d values of a frame that is too short", len(y))
	}
}
