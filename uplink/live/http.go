package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Sentinels for what the room's answer means to the caller.
var (
	// ErrRefused: the token is not, or no longer, good for this stream. Redialling with it is of no use.
	ErrRefused = errors.New("live: refused")
	// ErrFailed: the session ended although nobody ended it. Redial.
	ErrFailed = errors.New("live: connection failed")
)

const (
	maxAnswer   = 64 << 10 // bytes of SDP
	byeTimeout  = 2 * time.Second
	dialTimeout = 10 * time.Second // from the offer to the first byte of media's handshake done
	gatherTime  = 6 * time.Second  // for addresses from TURN servers; then it has to go without
)

// negotiate makes the offer, posts it (RFC 9725 4.2) and applies the answer. It returns the session's URL, and tells t what the
// answer says of ways.
func negotiate(ctx context.Context, t *try, pc *webrtc.PeerConnection, c *http.Client, endpoint, token string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return "", fmt.Errorf("live: offer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err = pc.SetLocalDescription(offer); err != nil {
		return "", fmt.Errorf("live: offer: %w", err)
	}
	select {
	case <-gathered:
	case <-t.clock.After(gatherTime):
	case <-ctx.Done():
		return "", fmt.Errorf("live: gathering addresses: %w", ctx.Err())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader([]byte(pc.LocalDescription().SDP)))
	if err != nil {
		return "", fmt.Errorf("live: %w", err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	from := t.clock.Now()
	res, err := c.Do(req)
	if err != nil {
		return "", fmt.Errorf("live: %w", err)
	}
	t.took, t.told = t.clock.Now().Sub(from), iceServers(res.Header)
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("live: answer: %w", err)
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return "", fmt.Errorf("%w: %s", ErrRefused, res.Status)
	case res.StatusCode != http.StatusCreated:
		return "", fmt.Errorf("live: the room answered %s", res.Status)
	case len(body) > maxAnswer:
		return "", fmt.Errorf("live: answer of more than %d bytes", maxAnswer)
	}
	if t, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); t != "application/sdp" {
		return "", fmt.Errorf("live: answer of type %q, want application/sdp", t)
	}
	// Location may be relative to where the request ended up (RFC 9110 10.2.2).
	session, err := url.Parse(res.Header.Get("Location"))
	if err != nil || res.Header.Get("Location") == "" {
		return "", fmt.Errorf("live: answer without a usable Location")
	}
	t.bare = !bytes.Contains(body, []byte("a=candidate:"))
	at := res.Request.URL.ResolveReference(session).String()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(body)}); err != nil {
		return at, fmt.Errorf("live: answer: %w", err)
	}
	return at, nil
}

// bye ends the session at the other end (RFC 9725 4.2): best effort, on its own short time, since ctx is over by then.
func bye(ctx context.Context, c *http.Client, session, token string) {
	if session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), byeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, session, nil)
	if err != nil {
		return
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if res, err := c.Do(req); err == nil {
		res.Body.Close()
	}
}

// states are channels that close when a connection gets there: path when ICE has found one, connected with the first
// handshake, failed at the end of it.
type states struct{ path, connected, failed <-chan struct{} }

func watchState(pc *webrtc.PeerConnection) states {
	path, up, down := make(chan struct{}), make(chan struct{}), make(chan struct{})
	found, isUp, isDown := sync.OnceFunc(func() { close(path) }), sync.OnceFunc(func() { close(up) }), sync.OnceFunc(func() { close(down) }) // pion calls from several goroutines
	pc.OnICEConnectionStateChange(func(s webrtc.ICEConnectionState) {
		if s == webrtc.ICEConnectionStateConnected || s == webrtc.ICEConnectionStateCompleted {
			found()
		}
	})
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			isUp()
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			isDown()
		}
	})
	return states{path, up, down}
}
