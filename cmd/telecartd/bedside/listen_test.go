package bedside

import (
	"context"
	"encoding/binary"
	"math"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"telecart/device"
	"telecart/device/kit"
)

type microphone struct{ c *cart }

func (m microphone) Run(context.Context) error { return nil }
func (m microphone) Listen() device.Ear        { m.c.views <- "listen"; return ear(m) }

type ear struct{ c *cart }

func (e ear) Close() { e.c.views <- "close" }
func (e ear) Next(ctx context.Context) (device.Sound, error) {
	select {
	case s := <-e.c.sounds:
		return s, nil
	case <-ctx.Done():
		return device.Sound{}, ctx.Err()
	}
}

// tone is one second of a sine at half of full scale.
func tone(hz float64) device.Sound {
	s := device.Sound{RateHz: 8000, Values: make([]int16, 8000)}
	for i := range s.Values {
		s.Values[i] = int16(16384 * math.Sin(2*math.Pi*hz*float64(i)/8000))
	}
	return s
}

// loudness is the level of the second half, against the tone's.
func loudness(b []byte) float64 {
	var sum float64
	n := 0
	for i := len(b) / 2; i+1 < len(b); i += 2 {
		v := float64(int16(binary.LittleEndian.Uint16(b[i:])))
		sum += v * v
		n++
	}
	return math.Sqrt(sum/float64(n)) / (16384 / math.Sqrt2)
}

func TestListen(t *testing.T) {
	p := newPage(t, kit.System{})
	for _, c := range []struct {
		path      string
		hz        float64
		low, high float64
	}{
		{"/api/sound/stethoscope", 700, 0.999, 1.001},
		{"/api/sound/stethoscope?filter=bell", 60, 0.9, 1.1},
		{"/api/sound/stethoscope?filter=bell", 1000, 0, 0.01},
		{"/api/sound/stethoscope?filter=lung", 30, 0, 0.05},
	} {
		ws := p.dial(c.path)
		ws.SetReadLimit(1 << 20)
		p.cart.sounds <- tone(c.hz)
		if _, b, err := ws.Read(t.Context()); err != nil || string(b) != "8000" {
			t.Fatalf("%s: %q, %v", c.path, b, err)
		}
		kind, b, err := ws.Read(t.Context())
		if got := loudness(b); err != nil || kind != websocket.MessageBinary || len(b) != 16000 || got < c.low || got > c.high {
			t.Errorf("%s: %g of a tone of %g Hz, %d bytes, %v", c.path, got, c.hz, len(b), err)
		}
		ws.CloseNow()
		if a, b := <-p.cart.views, <-p.cart.views; a != "listen" || b != "close" { // nobody listens: the microphone may close
			t.Error(a, b)
		}
	}
	for path, status := range map[string]int{"/api/sound/stethoscope?filter=loud": http.StatusBadRequest, "/api/sound/kazoo": http.StatusNotFound} {
		r, err := p.http.Get(p.srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != status {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}
