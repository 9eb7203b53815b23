package camera

import (
	"context"
	"fmt"
	"time"

	"telecart/device/kit"
)

// pump is one stream of a lens: it runs while somebody wants it, and a linger longer. It belongs to the goroutine of Run.
type pump struct {
	clock  kit.Clock
	flow   func(context.Context) error
	wanted func() bool
	count  func() uint64 // what has come so far; nil: nothing is expected, so neither silence nor a linger counts

	off   context.CancelFunc
	ended chan error       // gives flow's end; nil while off
	seen  uint64           // count when the watch began
	watch <-chan time.Time // over silence
	idle  <-chan time.Time // the end of the linger
}

func (p *pump) on() bool { return p.ended != nil }

// adjust turns it on if it is wanted, and begins the linger if it no longer is.
func (p *pump) adjust(ctx context.Context) {
	switch wanted := p.wanted(); {
	case wanted && !p.on():
		p.start(ctx)
	case wanted:
		p.idle = nil
	case p.on() && p.count == nil:
		p.stop()
	case p.on() && p.idle == nil:
		p.idle = p.clock.After(linger)
	}
}

func (p *pump) start(ctx context.Context) {
	ctx, p.off = context.WithCancel(ctx)
	ended := make(chan error, 1)
	p.ended = ended
	if p.count != nil {
		p.seen, p.watch = p.count(), p.clock.After(silence)
	}
	go func() { ended <- p.flow(ctx); close(ended) }()
}

// stop turns it off and waits until it is.
func (p *pump) stop() {
	if p.on() {
		p.off()
		for range p.ended {
		}
	}
	p.off, p.ended, p.watch, p.idle = nil, nil, nil, nil
}

// leave ends the linger.
func (p *pump) leave() {
	if !p.wanted() {
		p.stop()
	}
}

// check is for when the watch is over.
func (p *pump) check() error {
	n := p.count()
	if n == p.seen {
		return fmt.Errorf("%w within %v", ErrSilent, silence)
	}
	p.seen, p.watch = n, p.clock.After(silence)
	return nil
}
