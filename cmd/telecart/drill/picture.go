package drill

import (
	"context"
	"errors"
	"image"
	"net/http"
	"sync"
	"time"

	"telecart/uplink/live"
	"telecart/uplink/live/h264dec"
)

// picture is the specialist's eye: it decodes the live picture and knows how bright it is.
type picture struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	last    seen
	changed chan struct{}
	errs    []error
}

// seen is one decoded frame: when its last packet came, and its mean luma.
type seen struct {
	at   time.Time
	luma float64
	n    int
}

// watch keeps a WHEP session up; ask gives the endpoint and a fresh token for each dial.
func watch(ctx context.Context, c *http.Client, ask func(context.Context) (endpoint, token string, err error)) *picture {
	ctx, cancel := context.WithCancel(ctx)
	p := &picture{cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(p.done)
		for ctx.Err() == nil {
			if err := p.session(ctx, c, ask); err != nil && ctx.Err() == nil {
				p.mu.Lock()
				p.errs = append(p.errs, err)
				p.mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
		}
	}()
	return p
}

func (p *picture) session(ctx context.Context, c *http.Client, ask func(context.Context) (string, string, error)) error {
	endpoint, token, err := ask(ctx)
	if err != nil {
		return err
	}
	dec, err := h264dec.New()
	if err != nil {
		return err
	}
	defer dec.Close()
	return live.Watch(ctx, live.WatchOptions{Endpoint: endpoint, Token: token, HTTP: c, OnFrame: func(f live.Frame) {
		img, err := dec.Decode(f.Data)
		if errors.Is(err, h264dec.ErrNoPicture) || err != nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.last = seen{f.Received, luma(img), p.last.n + 1}
		close(p.changed)
		p.changed = make(chan struct{})
	}})
}

// luma is the mean brightness below the machine-readable rows on top.
func luma(img *image.YCbCr) float64 {
	sum, n := 0, 0
	for y := img.Rect.Min.Y + img.Rect.Dy()/8; y < img.Rect.Max.Y; y += 8 {
		for x := img.Rect.Min.X; x < img.Rect.Max.X; x += 8 {
			sum += int(img.Y[img.YOffset(x, y)])
			n++
		}
	}
	return float64(sum) / float64(max(n, 1))
}

// await waits for a frame of which ok says so.
func (p *picture) await(ctx context.Context, ok func(seen) bool) (seen, error) {
	for {
		p.mu.Lock()
		s, c := p.last, p.changed
		p.mu.Unlock()
		if s.n > 0 && ok(s) {
			return s, nil
		}
		select {
		case <-c:
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			return s, errors.Join(append([]error{ctx.Err()}, p.errs...)...)
		}
	}
}

func (p *picture) close() {
	p.cancel()
	<-p.done
}
