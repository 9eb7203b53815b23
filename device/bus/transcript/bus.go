package transcript

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// Errors of a Player.
var (
	ErrDiffers = errors.New("transcript: not what was recorded")
	ErrOver    = errors.New("transcript: more than was recorded")
)

// Recorder is a bus that writes down what goes over it.
type Recorder struct {
	i2c.BusCloser

	mu  sync.Mutex
	to  io.Writer
	err error
}

// Record makes a recorder of a bus.
func Record(b i2c.BusCloser, to io.Writer) *Recorder { return &Recorder{BusCloser: b, to: to} }

// Tx implements i2c.Bus.
func (r *Recorder) Tx(addr uint16, w, read []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.BusCloser.Tx(addr, w, read)
	t := Transaction{Addr: addr, W: w, R: read}
	if err != nil {
		t.Err = err.Error()
	}
	if _, werr := fmt.Fprintln(r.to, t); werr != nil && r.err == nil {
		r.err = fmt.Errorf("transcript: %w", werr)
	}
	return err
}

// Err says whether everything could be written.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Player is a bus on which a transcript happens again.
type Player struct {
	mu     sync.Mutex
	all    []Transaction
	next   int
	failed error
}

var _ i2c.BusCloser = (*Player)(nil)

// Play makes a player.
func Play(all []Transaction) *Player { return &Player{all: slices.Clone(all)} }

// Tx implements i2c.Bus.
func (p *Player) Tx(addr uint16, w, r []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return p.failed
	}
	got := Transaction{Addr: addr, W: w, R: r}
	if p.next == len(p.all) {
		p.failed = fmt.Errorf("%w: %s", ErrOver, asked(got))
		return p.failed
	}
	want := p.all[p.next]
	if want.Addr != addr || !bytes.Equal(want.W, w) || len(want.R) != len(r) {
		p.failed = fmt.Errorf("%w: %s, where %s is number %d", ErrDiffers, asked(got), asked(want), p.next+1)
		return p.failed
	}
	p.next++
	if want.Err != "" {
		return fmt.Errorf("transcript: %s", want.Err)
	}
	copy(r, want.R)
	return nil
}

// asked is a transaction without its answer.
func asked(t Transaction) string {
	s := fmt.Sprintf("%02x w %x", t.Addr, t.W)
	if len(t.R) > 0 {
		s += fmt.Sprintf(" r %d bytes", len(t.R))
	}
	return s
}

// Left is nil if the whole transcript was played, and otherwise says what is missing or went wrong.
func (p *Player) Left() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil && p.next < len(p.all) {
		return fmt.Errorf("transcript: %d of %d not played; next is %s", len(p.all)-p.next, len(p.all), asked(p.all[p.next]))
	}
	return p.failed
}

// Close implements i2c.BusCloser.
func (p *Player) Close() error { return nil }

// SetSpeed implements i2c.Bus.
func (p *Player) SetSpeed(physic.Frequency) error { return nil }

func (p *Player) String() string { return "transcript" }
