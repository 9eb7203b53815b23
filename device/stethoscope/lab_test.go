//go:build lab

package stethoscope

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/stethoscope/alsa"
)

// The driver's own path on a kernel, where there is one with a loopback card as card 0. In the lab:
//
//	go test -c -tags lab -o /tmp/steth.test ./device/stethoscope
//	device/lab/labvm -- bash -c 'modprobe snd-aloop pcm_substreams=1; /tmp/steth.test -test.run Lab -test.v'
//
// What is played on device 0 is heard on device 1.

// loop is the driver at work on the loopback card, with a player that feeds it.
type loop struct {
	*bench
	player *alsa.Player
}

func looped(t *testing.T, rateHz, channels int) *loop {
	p, err := alsa.OpenPlayer(0, 0, rateHz, channels)
	if err != nil {
		t.Fatal(err)
	}
	set := settings(kit.System{})
	set.Port = "hw:0,1"
	inst, err := Driver().New(set, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &bench{T: t, s: inst.(*instrument), stop: cancel, ended: make(chan error, 1)}
	b.ear = b.s.Listen()
	go func() { b.ended <- b.s.Run(ctx) }()
	return &loop{b, p}
}

// play plays until the test ends.
func (l *loop) play(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	l.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, alsa.ErrUnplugged) {
			l.Errorf("player: %v", err)
		}
		if err := l.player.Close(); err != nil && !errors.Is(err, alsa.ErrUnplugged) {
			l.Errorf("player: %v", err)
		}
	})
}

// record hears so many seconds once the driver is there; skip so many before.
func (l *loop) record(skip, seconds int) (all []int16) {
	l.Helper()
	want := uint64(0)
	for first := true; len(all) < (skip+seconds)*l.player.RateHz; {
		x, err := next(l.ear)
		if errors.Is(err, device.ErrGone) && first {
			time.Sleep(time.Millisecond) // the driver opens the card
			continue
		}
		if err != nil {
			l.Fatal(err)
		}
		if x.RateHz != l.player.RateHz || !first && x.Seq != want {
			l.Fatalf("%d values a second, Seq %d after %d: want %d, without a gap", x.RateHz, x.Seq, want, l.player.RateHz)
		}
		first, want = false, x.Seq+uint64(len(x.Values))
		all = append(all, x.Values...)
	}
	return all[skip*l.player.RateHz:]
}

func TestLabTones(t *testing.T) {
	for _, x := range []struct {
		hz             float64
		rate, channels int
	}{{30, 48000, 1}, {1000, 48000, 1}, {20, 48000, 2}, {2000, 44100, 2}} {
		t.Run(fmt.Sprintf("%g Hz at %d on %d", x.hz, x.rate, x.channels), func(t *testing.T) {
			l := looped(t, x.rate, x.channels)
			l.play(func(ctx context.Context) error { return l.player.Tone(ctx, x.hz, 0.5) })
			all := l.record(2, 1)
			var in, across, power float64
			for i, v := range all {
				y, w := float64(v)/32767, 2*math.Pi*x.hz*float64(i)/float64(x.rate)
				in, across, power = in+y*math.Sin(w), across+y*math.Cos(w), power+y*y
			}
			n := float64(len(all))
			gain := 20 * math.Log10(2*math.Hypot(in, across)/n/0.5)
			pure := 2 * (in*in + across*across) / n / power
			t.Logf("gain %.4f dB, %.5f of the power is in the tone", gain, pure)
			if math.Abs(gain) > 1 || pure < 0.999 {
				t.Error("want within 1 dB, and nothing else")
			}
			l.end(nil)
		})
	}
}

// Noise comes out value for value: nothing resamples, scales or dithers it.
func TestLabRaw(t *testing.T) {
	l := looped(t, 48000, 1)
	random := rand.New(rand.NewPCG(3, 4))
	noise := make([]int16, 48000)
	for i := range noise {
		noise[i] = int16(random.Uint32())
	}
	l.play(func(ctx context.Context) error {
		for {
			if err := l.player.Write(ctx, noise); err != nil {
				return err
			}
		}
	})
	all := l.record(2, 2)
	at := slices.IndexFunc(noise, func(v int16) bool { return v == all[0] })
	for ; at < len(noise); at++ {
		same := 0
		for same < len(all) && all[same] == noise[(at+same)%len(noise)] {
			same++
		}
		if same == len(all) {
			t.Logf("%d values, bit for bit", same)
			l.end(nil)
			return
		}
	}
	t.Error("what is heard is not what was played")
}

func TestLabBusy(t *testing.T) {
	c, err := alsa.Open(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	set := settings(kit.System{})
	set.Port = "hw:0,1"
	inst, err := Driver().New(set, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	var f device.Fault
	if err := inst.Run(context.Background()); !errors.As(err, &f) || f.Health.Reason != "busy" {
		t.Errorf("with another program at it: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// The last one: it takes the card away while it is listened to.
func TestLabUnplug(t *testing.T) {
	l := looped(t, 48000, 1)
	l.play(func(ctx context.Context) error { return l.player.Tone(ctx, 100, 0.5) })
	l.record(0, 1)
	began := time.Now()
	go os.WriteFile("/sys/bus/platform/drivers/snd_aloop/unbind", []byte("snd_aloop.0"), 0) // returns when all have let go
	l.over(alsa.ErrUnplugged)
	t.Logf("ended %v after the card went", time.Since(began))
}
