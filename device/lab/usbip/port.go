// Package usbip plugs emulated USB devices into a stock Linux kernel.
//
// Parties: a device model (a camera, an adapter) is a Handler that answers control transfers, and sends on Pipes what it
// has for its other IN endpoints. The kernel's vhci_hcd is the host; it speaks USB/IP on its end of a socket pair,
// so that the kernel's own drivers make real device nodes. No network, no usbipd.
//
// Invariants: every transfer is answered exactly once: a RET_SUBMIT after its RET_UNLINK makes vhci_hcd drop the whole
// device, so a buffer is taken and answered under one lock. Transfers other than endpoint 0's wait, as a real device NAKs,
// until the model has something. Isochronous transfers are not carried: nothing here needs them.
package usbip

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// ErrStall is what a Handler returns for a request that it doesn't support; any other error stalls as well.
var ErrStall = errors.New("usbip: stall")

// ErrNAK is what a Handler returns to answer nothing at all, as a device does whose program is busy: the host waits until its
// time is up, and cancels.
var ErrNAK = errors.New("usbip: no answer")

// ErrStopped: the host no longer reads this pipe, or the cable was pulled.
var ErrStopped = errors.New("usbip: pipe stopped")

// Handler answers a control transfer at once: data for the host, or taking what the host sent. An error but ErrNAK stalls it.
type Handler func(p *Port, s Setup, out []byte) ([]byte, error)

// unanswered marks what is no pipe's buffer.
const unanswered = 1 << 8

// waiting is a transfer that was not answered yet: a buffer that the host offers, as a rule.
type waiting struct {
	seq  uint32
	size int
}

// Port is a device while plugged in.
type Port struct {
	sock    io.ReadWriteCloser
	handler Handler
	number  int // of vhci_hcd's root hub; -1 in tests

	mu    sync.Mutex // guards what follows, and writing
	cond  *sync.Cond
	wait  map[uint32][]waiting // by endpoint
	pipes map[uint32]*Pipe     // by endpoint
	takes map[uint32]func([]byte)
	hung  bool
	err   error
	done  chan struct{}
}

// Serve answers the host at the other end of sock until that end is closed.
func Serve(sock io.ReadWriteCloser, h Handler) *Port { return serve(sock, h, -1) }

func serve(sock io.ReadWriteCloser, h Handler, number int) *Port {
	p := &Port{sock: sock, handler: h, number: number,
		wait: map[uint32][]waiting{}, pipes: map[uint32]*Pipe{}, takes: map[uint32]func([]byte){}, done: make(chan struct{})}
	p.cond = sync.NewCond(&p.mu)
	go p.run()
	return p
}

// Done is closed when the host has let go of the device.
func (p *Port) Done() <-chan struct{} { return p.done }

// Err says why the port was closed: nil for an ordinary unplug.
func (p *Port) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *Port) run() {
	err := p.loop()
	p.sock.Close()
	p.locked(func() {
		if p.err = err; errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
			p.err = nil
		}
		for ep := range p.pipes {
			p.stop(ep)
		}
		close(p.done)
	})
}

func (p *Port) loop() error {
	for {
		var head [headSize]byte
		if _, err := io.ReadFull(p.sock, head[:]); err != nil {
			return err
		}
		r, err := parseRequest(&head)
		if err != nil {
			return err
		}
		if r.cmd == cmdUnlink {
			err = p.unlink(r)
		} else {
			err = p.submit(r)
		}
		if err != nil {
			return err
		}
	}
}

func (p *Port) submit(r request) error {
	var out []byte
	if !r.in {
		out = make([]byte, r.size)
		if _, err := io.ReadFull(p.sock, out); err != nil {
			return err
		}
	}
	p.mu.Lock()
	take := p.takes[r.ep]
	if parked := r.ep != 0 && r.in || p.hung; parked {
		p.park(r)
		p.mu.Unlock()
		return nil
	}
	p.mu.Unlock()
	data, err := []byte(nil), ErrStall
	switch {
	case r.ep == 0:
		data, err = p.handler(p, r.setup, out)
	case take != nil:
		take(out)
		err = nil
	}
	status, moved := syscall.Errno(0), r.size
	if r.in {
		data = data[:min(len(data), r.size)]
		moved = len(data)
	} else {
		data = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case errors.Is(err, ErrNAK):
		p.park(r)
		return nil
	case err != nil:
		status, moved, data = syscall.EPIPE, 0, nil
	}
	return p.send(reply(retSubmit, r.seq, status, moved, data))
}

// park keeps a transfer that waits: of an IN endpoint as its buffer, of any other to be cancelled. It needs mu.
func (p *Port) park(r request) {
	ep := r.ep
	if !r.in {
		ep |= unanswered
	}
	p.wait[ep] = append(p.wait[ep], waiting{r.seq, r.size})
	p.cond.Broadcast()
}

// unlink cancels a waiting transfer. If it was answered already, the kernel wants to hear 0.
func (p *Port) unlink(r request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := syscall.Errno(0)
	for ep, q := range p.wait {
		for i, w := range q {
			if w.seq == r.victim {
				p.wait[ep], status = append(q[:i:i], q[i+1:]...), syscall.ECONNRESET
				break
			}
		}
	}
	return p.send(reply(retUnlink, r.seq, status, 0, nil))
}

// send needs mu.
func (p *Port) send(b []byte) error {
	if _, err := p.sock.Write(b); err != nil {
		return fmt.Errorf("usbip: %w", err)
	}
	return nil
}

// locked runs f under the lock and wakes the pipes to look again.
func (p *Port) locked(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.cond.Broadcast()
}

// Hang makes the device answer nothing at all until Resume; the host may still cancel. Freezing the emulator instead
// would leave the host's driver waiting in the kernel for ever.
func (p *Port) Hang() { p.locked(func() { p.hung = true }) }

// Resume ends Hang. What the host asked meanwhile stays unanswered, and times out there.
func (p *Port) Resume() { p.locked(func() { p.hung = false }) }

// Receive has take called, by one goroutine, with what the host sends to an OUT endpoint other than 0; without it that stalls.
func (p *Port) Receive(ep uint32, take func(data []byte)) {
	p.locked(func() { p.takes[ep] = take })
}

// Pipe is what a device sends on one IN endpoint other than 0.
type Pipe struct {
	port *Port
	ep   uint32
	done chan struct{}
}

// Open begins a new pipe on an endpoint, and stops the one before.
func (p *Port) Open(ep uint32) *Pipe {
	pipe := &Pipe{port: p, ep: ep, done: make(chan struct{})}
	p.locked(func() {
		p.stop(ep)
		select {
		case <-p.done:
			close(pipe.done)
		default:
			p.pipes[ep] = pipe
		}
	})
	return pipe
}

// Stop ends the endpoint's pipe, if there is one.
func (p *Port) Stop(ep uint32) { p.locked(func() { p.stop(ep) }) }

// stop needs mu.
func (p *Port) stop(ep uint32) {
	if pipe := p.pipes[ep]; pipe != nil {
		close(pipe.done)
		delete(p.pipes, ep)
	}
}

// Done is closed when the pipe is stopped or the port closed.
func (w *Pipe) Done() <-chan struct{} { return w.done }

// Send sends data as one USB transfer: over as many of the host's buffers as it takes, the last one short (perhaps empty).
func (w *Pipe) Send(data []byte) error {
	p := w.port
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for p.pipes[w.ep] == w && (len(p.wait[w.ep]) == 0 || p.hung) {
			p.cond.Wait()
		}
		if p.pipes[w.ep] != w {
			return ErrStopped
		}
		b := p.wait[w.ep][0]
		p.wait[w.ep] = p.wait[w.ep][1:]
		n := min(b.size, len(data))
		if err := p.send(reply(retSubmit, b.seq, 0, n, data[:n])); err != nil {
			return err
		}
		if data = data[n:]; n < b.size {
			return nil
		}
	}
}
