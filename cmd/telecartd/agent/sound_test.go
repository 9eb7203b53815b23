package agent

import (
	"context"
	"encoding/binary"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/voice"
	"telecart/uplink/hub/room"
	"telecart/uplink/link"
	"telecart/uplink/live"
)

// louder is the loudest of the twin's tones in the last second of a sound.
func louder(values []int16) (most float64) {
	values = values[max(0, len(values)-voice.RateHz):]
	for k := range int64(8) {
		w := 2 * math.Cos(2*math.Pi*voice.BurstHz(k)/voice.RateHz)
		for from := 0; from+4800 <= len(values); from += 2400 {
			var a, b float64
			for _, v := range values[from : from+4800] {
				a, b = float64(v)+w*a-b, a
			}
			most = max(most, 2*math.Sqrt(max(0, a*a+b*b-w*a*b))/4800)
		}
	}
	return most
}

// recorded is what the agent's twin played lately.
func recorded(path string) (values []int16) {
	b, err := os.ReadFile(path)
	for b = b[min(len(b), 44):]; err == nil && len(b) > 1; b = b[2:] {
		values = append(values, int16(binary.LittleEndian.Uint16(b)))
	}
	return values
}

// A live consult has two voices, which the nurse's touch begins; mute ends hers alone, pause and the encounter's end both.
func TestVoices(t *testing.T) {
	srv, hall := openRoom(t)

	r := newRig(t)
	wav := filepath.Join(t.TempDir(), "said.wav")
	r.twins = []device.Settings{{Name: "voice", Driver: "voice", Port: "twin", Options: map[string]string{"record": wav}}}
	a := r.enrolled().start()
	a.consult.sound.hub = func() (string, *http.Client, error) { return srv.URL, srv.Client(), nil }
	r.do("open", `{}`)
	r.refused("mute", `{}`, "no-consult")

	// The specialist: speaks on a stream of their own, and hears the cart.
	tw, ada := voice.NewTwin(device.Settings{Name: "ada", Port: "twin", Clock: kit.System{}}, quietly{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	go func() { ended <- ada.Run(ctx) }()
	go func() {
		ended <- live.Speak(ctx, live.SpeakOptions{Endpoint: srv.URL + "/v1/whip/ada", Token: "t", HTTP: srv.Client(), Microphone: ada.(device.Microphone)})
	}()
	go func() {
		ended <- live.Hear(ctx, live.HearOptions{Endpoint: srv.URL + "/v1/whep/cart", Token: "t", HTTP: srv.Client(), Loudspeaker: ada.(device.Loudspeaker)})
	}()
	defer func() {
		cancel()
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()
	await := func(what string, ok func() bool) {
		t.Helper()
		limit := time.After(20 * time.Second)
		for !ok() {
			select {
			case <-time.After(100 * time.Millisecond): // the twins speak at their own pace
			case <-limit:
				t.Fatalf("in vain: %s; %+v; here %.0f, there %.0f", what, a.state().Consult, louder(recorded(wav)), louder(tw.Played()))
			}
		}
	}
	publishing := func() bool {
		return slices.ContainsFunc(hall.Streams(), func(s room.Stream) bool { return s.Name == "cart" && s.Publishing })
	}
	w := link.Consult{ID: "c-1", Encounter: a.state().Encounter.ID, By: "Dr. Ada",
		Publish: []link.Stream{{Instrument: "voice", Endpoint: "/v1/whip/cart", Token: "t"}},
		Hear:    []link.Voice{{Stream: link.Stream{Instrument: "@ada", Endpoint: "/v1/whep/ada", Token: "t"}, Name: "Dr. Ada"}}}
	say := func() {
		next := w
		a.receive(link.Message{Desired: &link.Desired{Consult: &next}})
	}
	say()
	if c := a.state().Consult; c.Phase != "offered" || c.Voice != nil || publishing() {
		t.Fatalf("before the nurse's touch: %+v", c)
	}
	w.Accepted = true
	say()
	await("the nurse is heard there", func() bool { return louder(tw.Played()) > 3000 })
	await("the specialist is heard here", func() bool { return louder(recorded(wav)) > 3000 })
	if v := a.state().Consult.Voice; v == nil || !v.Sent || v.Muted || !slices.Equal(v.Heard, []string{"Dr. Ada"}) {
		t.Errorf("%+v", v)
	}
	if c, _ := a.consult.presence(); !slices.Equal(c.Publishing, []string{"voice"}) || c.Muted {
		t.Errorf("the hub is told %+v", c)
	}
	r.do("mute", `{}`)
	await("muted, silence there", func() bool { return louder(tw.Played()) < 50 })
	if v := a.state().Consult.Voice; v.Sent || !v.Muted || louder(recorded(wav)) < 3000 {
		t.Errorf("%+v; she hears %.0f", v, louder(recorded(wav)))
	}
	if c, _ := a.consult.presence(); len(c.Publishing) != 0 || !c.Muted {
		t.Errorf("the hub is told %+v", c)
	}
	r.do("unmute", `{}`)
	await("heard again", func() bool { return louder(tw.Played()) > 3000 })
	w.Hear[0].Muted = true
	say()
	await("nobody is named who is muted", func() bool { return len(a.state().Consult.Voice.Heard) == 0 })
	r.do("answer", `{"answer":"pause"}`)
	await("paused, nothing is sent", func() bool { return !publishing() && a.state().Consult.Voice == nil })
	await("paused, silence here", func() bool { // the loudspeaker goes off, and what it played last stays in the file
		a.consult.sound.mu.Lock()
		defer a.consult.sound.mu.Unlock()
		return len(a.consult.sound.lines) == 0
	})
	a.consult.want(nil)
	w.ID = "c-2"
	say()
	await("the next consult", publishing)
	if v := a.state().Consult.Voice; v == nil || v.Muted {
		t.Errorf("%+v", v)
	}
	r.do("close", `{}`)
	await("the encounter's end ends it", func() bool { return !publishing() })
}

type quietly struct{}

func (quietly) Observe(device.Observation) {}
