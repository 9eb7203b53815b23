package bedside

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"telecart/device/kit"
	"telecart/uplink/live/fmp4"
)

// faces shows one picture of "@ada" and waits.
type faces chan error

func (f faces) Face(ctx context.Context, id string, show func(fmp4.Segment) error) error {
	if id != "@ada" {
		return errors.New("nobody")
	}
	if err := errors.Join(show(fmp4.Segment{Codec: "avc1.42e01f", Data: []byte("beginning")}), show(fmp4.Segment{Data: []byte("picture")})); err != nil {
		return err
	}
	<-ctx.Done()
	f <- ctx.Err()
	return nil
}

func TestFace(t *testing.T) {
	p := newPage(t, kit.System{})
	res, err := p.http.Get(p.srv.URL + "/api/face/@ada")
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != http.StatusNotFound {
		t.Errorf("a cart that shows nobody: %s", res.Status)
	}
	f := make(faces, 1)
	p.s.opt.Faces = f
	ws := p.dial("/api/face/@ada")
	for _, want := range []struct {
		kind websocket.MessageType
		text string
	}{{websocket.MessageText, "avc1.42e01f"}, {websocket.MessageBinary, "beginning"}, {websocket.MessageBinary, "picture"}} {
		if kind, b, err := ws.Read(t.Context()); err != nil || kind != want.kind || string(b) != want.text {
			t.Fatalf("%v %q, %v; want %q", kind, b, err, want.text)
		}
	}
	ws.CloseNow()
	<-f // it ends with the page
	ws = p.dial("/api/face/@ben")
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("nobody: %v", err)
	}
}
