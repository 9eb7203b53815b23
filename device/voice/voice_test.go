package voice

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/gen2brain/malgo"
	"go.uber.org/goleak"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func epoch() time.Time { return time.Unix(1_700_000_000, 0) }

func settings(clock kit.Clock) device.Settings {
	return device.Settings{Name: "voice", Driver: "voice", Port: "twin", Clock: clock, Stamp: kit.NewStamper(clock, nil)}
}

// silent is miniaudio's own card without a cable: the real library, at the real pace.
func silent() []malgo.Backend { return []malgo.Backend{malgo.BackendNull + 1} } // malgo 0.11.24 leaves one out before it (ma_backend_custom)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Case{Name: "twin", Start: func(out device.Outlet) (conformance.Rig, error) {
		clock := kit.NewManual(epoch())
		tw, i := NewTwin(settings(clock), out)
		return conformance.Rig{Instrument: i, Clock: clock, Step: stretch, Unplug: tw.Unplug}, nil
	}})
	conformance.Run(t, conformance.Case{Name: "miniaudio", Start: func(out device.Outlet) (conformance.Rig, error) {
		i := newInstrument(settings(kit.System{}), out, func() (source, error) { return openCard(silent()) })
		return conformance.Rig{Instrument: i}, nil
	}})
}

type deaf struct{}

func (deaf) Observe(device.Observation) {}

// run has an instrument at work until the test ends.
func run(t *testing.T, i device.Instrument) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func level(values []int16, hz float64) float64 {
	w := 2 * math.Cos(2*math.Pi*hz/RateHz)
	var a, b float64
	for _, v := range values {
		a, b = float64(v)+w*a-b, a
	}
	return 2 * math.Sqrt(max(0, a*a+b*b-w*a*b)) / float64(len(values))
}

// What the twin says tells by its tone when it was said, and every value comes once.
func TestBursts(t *testing.T) {
	const every = RateHz * 6 / 10
	for burst := range int64(bursts) {
		values := make([]int16, every/2)
		for i := range values {
			values[i] = said(7*bursts*every + burst*every + int64(i))
		}
		for other := range int64(spoken) {
			got, want := level(values, BurstHz(other)), 0.0
			if other == burst {
				want = 9000
			}
			if math.Abs(got-want) > 900 && !(want == 0 && BurstHz(burst) > 0 && got < 900) {
				t.Errorf("burst %d: %.0f of tone %d, want %.0f", burst, got, other, want)
			}
		}
		if said(burst*every+every/2+10) != 0 {
			t.Errorf("burst %d does not end", burst)
		}
	}
}

// live tells when the instrument is.
type live chan struct{}

func (l live) Observe(o device.Observation) {
	if h, ok := o.(device.Health); ok && h.State == device.Live {
		l <- struct{}{}
	}
}

func onTwin(t *testing.T, o options) (*Twin, *instrument, *kit.Manual) {
	clock, news := kit.NewManual(epoch()), make(live, 1)
	tw := newTwin(clock, o)
	i := newInstrument(settings(clock), news, tw.open)
	run(t, i)
	<-news
	return tw, i, clock
}

// Every value is heard once, in order, stamped when its stretch was whole; a pause of the microphone is a jump.
func TestHeard(t *testing.T) {
	_, i, clock := onTwin(t, options{})
	hear := func(e device.Ear) device.Sound {
		clock.AwaitFor(stretch)
		clock.Advance(stretch)
		x, err := e.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	e := i.Listen()
	for n := range 60 {
		x := hear(e)
		if x.Seq != uint64(n*piece) || x.RateHz != RateHz || len(x.Values) != piece || !x.At.Wall.Equal(clock.Now()) {
			t.Fatalf("stretch %d: %d, %d values of %d Hz at %v", n, x.Seq, len(x.Values), x.RateHz, x.At.Wall)
		}
		for k, v := range x.Values {
			if v != said(int64(n*piece+k)) {
				t.Fatalf("stretch %d, value %d: %d", n, k, v)
			}
		}
	}
	e.Close()
	if _, err := e.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	clock.AwaitFor(linger)
	clock.Advance(linger) // the microphone goes off
	for len(i.Counters()) == 0 || !i.off() {
		clock.AwaitFor(glance)
		clock.Advance(glance)
	}
	second := i.Listen()
	defer second.Close()
	if x := hear(second); x.Seq <= 60*piece {
		t.Errorf("after a pause it goes on at %d", x.Seq)
	}
}

func (s *instrument) off() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.offAt.IsZero()
}

// full is closed when no mouth waits for its owner.
func (s *instrument) full() <-chan struct{} {
	c := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.mouths {
		if len(m.queue) < piece {
			return nil
		}
	}
	close(c)
	return c
}

// Two mouths are heard together, as loud as can be at most; who writes too fast waits; the file has what was played.
func TestSpoken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "said.wav")
	tw, i, clock := onTwin(t, options{record: path})
	tone := func(hz, loud float64) []int16 {
		out := make([]int16, 2*RateHz)
		for k := range out {
			out[k] = int16(loud * math.Sin(2*math.Pi*hz*float64(k)/RateHz))
		}
		return out
	}
	wrote := make(chan error, 2)
	for _, hz := range []float64{400, 900} {
		m := i.Speak()
		go func() {
			wrote <- m.Write(t.Context(), tone(hz, 20000))
			m.Close()
		}()
	}
	for done := 0; done < 2; {
		select {
		case err := <-wrote:
			if done++; err != nil {
				t.Fatal(err)
			}
		case <-i.full():
			clock.AwaitFor(stretch)
			clock.Advance(stretch)
		default:
			runtime.Gosched()
		}
	}
	played := tw.Played()[RateHz/2 : 3*RateHz/2]
	loudest := int16(0)
	for _, v := range played {
		loudest = max(loudest, v)
	}
	if a, b, c := level(played, 400), level(played, 900), level(played, 650); a < 15000 || b < 15000 || c > 200 || loudest != math.MaxInt16 {
		t.Errorf("400 Hz at %.0f, 900 Hz at %.0f, 650 Hz at %.0f, loudest %d", a, b, c, loudest)
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) < 44+2*RateHz || binary.LittleEndian.Uint32(b[40:]) != uint32(len(b)-44) {
		t.Errorf("%d bytes in the file, %v", len(b), err)
	}
}

// What is gone is said to those who wait, and who comes meanwhile is served when it is back.
func TestGone(t *testing.T) {
	clock, news := kit.NewManual(epoch()), make(live, 1)
	tw, i := NewTwin(settings(clock), news)
	ear, mouth := i.(device.Microphone).Listen(), i.(device.Loudspeaker).Speak()
	defer ear.Close()
	defer mouth.Close()
	if _, err := ear.Next(t.Context()); !errors.Is(err, device.ErrGone) {
		t.Error(err)
	}
	if err := mouth.Write(t.Context(), make([]int16, piece)); !errors.Is(err, device.ErrGone) {
		t.Error(err)
	}
	done := make(chan error, 1)
	go func() { done <- i.Run(t.Context()) }()
	<-news
	tw.Unplug()
	err := <-done
	var f device.Fault
	if !errors.As(err, &f) || f.Health.State != device.Absent || !errors.Is(err, ErrUnplugged) {
		t.Errorf("unplugged: %v", err)
	}
	if _, err := ear.Next(t.Context()); !errors.Is(err, device.ErrGone) {
		t.Error(err)
	}
}

// The real library: it asks for what is to be played and gives what it hears, here silence, until it is told to stop.
func TestMiniaudio(t *testing.T) {
	i := newInstrument(settings(kit.System{}), deaf{}, func() (source, error) { return openCard(silent()) })
	run(t, i)
	e, m := i.Listen(), i.Speak()
	defer e.Close()
	defer m.Close()
	for heard := 0; heard < 5; {
		x, err := e.Next(t.Context())
		if err == nil {
			heard++
			if len(x.Values) != piece || x.RateHz != RateHz {
				t.Errorf("%d values of %d Hz", len(x.Values), x.RateHz)
			}
		} else if !errors.Is(err, device.ErrGone) {
			t.Fatal(err)
		}
	}
	if err := m.Write(t.Context(), make([]int16, RateHz/4)); err != nil {
		t.Error(err)
	}
	if c := i.Counters(); c["values_heard"] < 5*piece || c["values_played"] == 0 {
		t.Error(c)
	}
}

func TestSettings(t *testing.T) {
	for name, spoil := range map[string]func(*device.Settings){
		"port": func(s *device.Settings) { s.Port = "hw:1,0" }, "address": func(s *device.Settings) { s.Address = 3 },
		"option":                 func(s *device.Settings) { s.Options = map[string]string{"gain": "3"} },
		"a record beside itself": func(s *device.Settings) { s.Options = map[string]string{"record": "x.wav"} },
		"a record of people": func(s *device.Settings) {
			s.Port, s.Options = "default", map[string]string{"record": "/tmp/x.wav"}
		},
	} {
		s := settings(kit.System{})
		spoil(&s)
		if _, err := Driver().New(s, deaf{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
