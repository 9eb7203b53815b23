package agent

import (
	"context"
	"errors"
	"image"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/camera/scene"
	"telecart/device/kit"
	"telecart/uplink/hub/room"
	"telecart/uplink/link"
	"telecart/uplink/live"
	"telecart/uplink/live/fmp4"
)

// filming is a specialist's camera: it gives H.264.
type filming struct {
	device.Instrument
	film *scene.Film
	n    uint64
}

func (f *filming) Watch() device.View               { return f }
func (f *filming) WatchCoded() (device.View, error) { return f, nil }
func (f *filming) Close()                           {}
func (f *filming) Next(ctx context.Context) (device.Frame, error) {
	select {
	case <-ctx.Done():
		return device.Frame{}, ctx.Err()
	case <-kit.System{}.After(33 * time.Millisecond):
	}
	f.n++
	at := kit.Stamp{Wall: time.Unix(int64(f.n), 0), Mono: int64(f.n) * int64(33*time.Millisecond)}
	return device.Frame{Seq: f.n, At: at, Format: device.H264, Data: f.film.Unit(f.n, at.Wall)}, nil
}

// openRoom is a hub's room that lets everyone in.
func openRoom(t *testing.T) (*httptest.Server, *room.Room) {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	hall, err := room.New(room.Options{UDP: udp, Authorize: func(context.Context, string, string, room.Action) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(hall.Handler())
	t.Cleanup(func() {
		srv.Close()
		if err := hall.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv, hall
}

// A specialist's picture is given to the page while the consult is live and they show it, and to nobody before or after.
func TestFace(t *testing.T) {
	srv, _ := openRoom(t)
	a := newRig(t).enrolled()
	agent := a.start()
	agent.consult.sound.hub = func() (string, *http.Client, error) { return srv.URL, srv.Client(), nil }
	a.do("open", `{}`)

	film := scene.NewFilm(320, 240)
	film.KeyEvery = 15
	cam := &filming{film: film}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- live.Publish(ctx, live.Options{Endpoint: srv.URL + "/v1/whip/ada", Token: "t", HTTP: srv.Client(), Camera: cam, Coded: cam,
			Decode: func(device.Frame) (image.Image, error) { return nil, errors.New("it is coded") }})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	none := func(fmp4.Segment) error { t.Error("something is shown"); return nil }
	w := link.Consult{ID: "c-1", Encounter: agent.state().Encounter.ID, By: "Dr. Ada",
		Hear: []link.Voice{{Stream: link.Stream{Instrument: "@ada", Endpoint: "/v1/whep/ada", Token: "t"}, Name: "Dr. Ada", Seen: true}}}
	say := func(faces int) {
		t.Helper()
		next := w
		agent.receive(link.Message{Desired: &link.Desired{Consult: &next}})
		a.until("whom she can see", func(s State) bool { return s.Consult != nil && len(s.Consult.Faces) == faces })
	}
	say(0)
	if err := agent.Face(t.Context(), "@ada", none); !errors.Is(err, errNoFace) {
		t.Errorf("before the nurse's touch: %v", err)
	}
	w.Accepted = true
	say(1)
	if err := agent.Face(t.Context(), "@ben", none); !errors.Is(err, errNoFace) {
		t.Errorf("somebody else: %v", err)
	}
	enough := errors.New("enough")
	begun, shown := 0, 0
	err := agent.Face(ctx, "@ada", func(g fmp4.Segment) error {
		if g.Codec != "" {
			begun++
		} else if shown++; shown == 20 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || begun != 1 {
		t.Errorf("%d beginnings, %d pictures: %v", begun, shown, err)
	}
	seen := make(chan bool, 1)
	over := make(chan error, 1)
	go func() {
		over <- agent.Face(ctx, "@ada", func(fmp4.Segment) error {
			select {
			case seen <- true:
			default:
			}
			return nil
		})
	}()
	<-seen
	a.do("answer", `{"answer":"pause"}`)
	if err := <-over; !errors.Is(err, errNoFace) {
		t.Errorf("paused: %v", err)
	}
}

// A token that is renewed costs nothing: the session goes on, and the next one takes it.
func TestTokenRenewed(t *testing.T) {
	srv, hall := openRoom(t)
	a := newRig(t).enrolled()
	agent := a.start()
	agent.consult.sound.hub = func() (string, *http.Client, error) { return srv.URL, srv.Client(), nil }
	a.do("open", `{}`)
	w := link.Consult{ID: "c-1", Encounter: agent.state().Encounter.ID, By: "Dr. Ada", Accepted: true,
		Publish: []link.Stream{{Instrument: "room camera", Endpoint: "/v1/whip/room", Token: "first"}}}
	say := func() {
		next := w
		next.Publish = slices.Clone(w.Publish)
		agent.receive(link.Message{Desired: &link.Desired{Consult: &next}})
	}
	say()
	a.until("the picture on its way", func(State) bool { all := hall.Streams(); return len(all) == 1 && all[0].Publishing })
	since := hall.Streams()[0].Since
	w.Publish[0].Token = "second"
	say()
	agent.consult.reconcile(t.Context())
	agent.consult.mu.Lock()
	s := agent.consult.sending["room camera"]
	token := s.stream.Token
	agent.consult.mu.Unlock()
	select {
	case <-s.done:
		t.Error("the session ended")
	default:
	}
	if now := hall.Streams()[0]; token != "second" || !now.Publishing || !now.Since.Equal(since) {
		t.Errorf("token %q, %+v, publishing since %v", token, now, since)
	}
}
