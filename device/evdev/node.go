package evdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"telecart/device"
	"telecart/device/kit"
)

// Reasons for the health of an instrument behind a node.
const (
	KeyHeld      device.Reason = "key-held"      // a key is down: it must be let go before the node can be grabbed
	NoPermission device.Reason = "no-permission" // the node is not ours to open
	Busy         device.Reason = "busy"          // another program has grabbed it
	SameSerial   device.Reason = "same-serial"   // two of them: each must be named by its socket
)

// Errors of a node.
var (
	ErrGone    = errors.New("evdev: the input device is gone")
	ErrNotKeys = errors.New("evdev: not an input device with keys")
)

const (
	buffered = 64                    // events, as many as the kernel keeps at least
	heldPoll = 50 * time.Millisecond // how often a held key is looked at
)

// controls is what a node can be asked and told, besides giving its events.
type controls interface {
	name() string
	held() (bool, error)  // whether any key is down
	has(code uint16) bool // whether there is such a key
	grab() error          // from now on nobody else gets its events
	release() error
}

// Node is an open input event node. Close must be called in the end.
type Node struct {
	controls
	path    string
	file    io.ReadCloser
	events  chan Event
	closing chan struct{}
	ended   chan struct{}
	err     error // why reading ended; once events is closed
	grabbed bool
	once    sync.Once
	result  error // of Close
}

// Open opens a node and begins to read it. What has no keys is refused with ErrNotKeys.
func Open(path string) (*Node, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		err = fmt.Errorf("evdev: open %s: %w", path, err)
		if errors.Is(err, fs.ErrPermission) {
			return nil, device.Fault{Health: device.Health{State: device.Faulty, Reason: NoPermission}, Err: err}
		}
		return nil, err
	}
	k, err := newKernel(f, path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return newNode(path, f, k), nil
}

func newNode(path string, f io.ReadCloser, c controls) *Node {
	n := &Node{controls: c, path: path, file: f, events: make(chan Event, buffered),
		closing: make(chan struct{}), ended: make(chan struct{})}
	go n.read()
	return n
}

// Name is what the device calls itself.
func (n *Node) Name() string { return n.name() }

// Has says whether the device has all of these keys.
func (n *Node) Has(keys ...uint16) bool {
	for _, k := range keys {
		if !n.has(k) {
			return false
		}
	}
	return true
}

// Events gives what happens, in order. It is closed when the node failed (Err says how) or was closed.
func (n *Node) Events() <-chan Event { return n.events }

// Err is why Events was closed.
func (n *Node) Err() error { return n.err }

// Grab keeps the node's events from everybody else until Close. It waits until no key is down, and calls held first if it
// has to: the other programs must see every key come up that they saw go down.
func (n *Node) Grab(ctx context.Context, clock kit.Clock, held func()) error {
	for told := false; ; {
		ok, err := n.tryGrab()
		if ok || err != nil {
			return err
		}
		if !told {
			told = true
			held()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-clock.After(heldPoll):
		}
	}
}

// tryGrab looks again once it has the node: a key may have gone down between the look and the grab.
func (n *Node) tryGrab() (bool, error) {
	down, err := n.held()
	if err != nil || down {
		return false, err
	}
	if err := n.grab(); err != nil {
		return false, err
	}
	if down, err = n.held(); err != nil || down {
		return false, errors.Join(err, n.release())
	}
	n.grabbed = true
	return true, nil
}

// Close releases the node. It may be called again.
func (n *Node) Close() error {
	n.once.Do(func() {
		close(n.closing)
		if n.grabbed {
			n.release() // closing does it too; of a node that is gone nothing can be released
		}
		if err := n.file.Close(); err != nil {
			n.result = fmt.Errorf("evdev: close %s: %w", n.path, err)
		}
		<-n.ended
	})
	return n.result
}

// read is the node's goroutine.
func (n *Node) read() {
	defer close(n.ended)
	defer close(n.events)
	var d Decoder
	var buf [buffered * eventLen]byte
	for {
		k, err := n.file.Read(buf[:])
		for _, e := range d.Write(buf[:k]) {
			select {
			case n.events <- e:
			case <-n.closing:
				return
			}
		}
		if err != nil {
			n.err = readError(n.path, err)
			return
		}
	}
}

// readError says what the end of reading means.
func readError(path string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EIO) {
		return fmt.Errorf("%w: %s", ErrGone, path)
	}
	return fmt.Errorf("evdev: read %s: %w", path, err)
}

// clean makes a device's own words fit to be shown.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s))
}
