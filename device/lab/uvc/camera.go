// Package uvc emulates a USB camera (UVC 1.1, MJPEG and perhaps H.264, bulk transfers) to the byte, for the kernel's own
// uvcvideo.
//
// Parties: Camera answers the host's requests through a usbip.Port; a Picture, made by the caller, draws what the camera
// sees, and a Film what its encoder makes. The picture obeys the controls: what the host sets reaches the picture before
// the next frame. The film does not.
//
// Invariants: a Camera outlives its cable: plugged in again it has the same serial number and settings. Frame numbers
// follow the clock, as a sensor's do: when the host is slow, numbers are missing. A control locked by automatic control
// refuses to be set.
package uvc

import (
	"sync"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/lab/usbip"
)

// Picture is what the camera sees. Its methods may be called from any goroutine.
type Picture interface {
	Axes() []device.Axis
	Set(axis string, value int)
	JPEG(seq uint64, at time.Time) []byte
}

// Film is what a camera's encoder makes: the access unit of the picture with this number and time. The first is a key frame.
type Film interface {
	Unit(seq uint64, at time.Time) []byte
}

// Encoder is how a camera offers its coded stream.
type Encoder int

const (
	NoEncoder Encoder = iota
	SameNode          // as another format of the one video node: the host has either
	OwnNode           // on a second video node of the same USB device
)

// Fault is what can be wrong with a camera's frames.
type Fault int

const (
	Healthy Fault = iota
	Erring        // the camera flags every frame as bad: the host drops them
	Cutting       // frames break off in the middle, unflagged: the host delivers them
)

// Camera is one emulated camera.
type Camera struct {
	serial string
	clock  kit.Clock
	draw   func(Size) Picture
	coder  Encoder
	film   func(Size) Film

	mu       sync.Mutex
	controls []*control
	reason   byte            // why the last request stalled
	probe    map[byte][]byte // by streaming interface, as negotiated so far
	fault    Fault
	frames   uint64 // sent so far
}

// New makes a camera. draw gives the picture for a stream of some size; it may give the same again.
//
// Two of one model are two Cameras with the same serial number, as cheap ones have it, or with "", none at all.
func New(serial string, clock kit.Clock, draw func(Size) Picture) *Camera {
	return NewCoded(serial, clock, draw, NoEncoder, nil)
}

// NewCoded makes a camera with an encoder. film gives a stream of some size, from its beginning.
func NewCoded(serial string, clock kit.Clock, draw func(Size) Picture, e Encoder, film func(Size) Film) *Camera {
	return &Camera{serial: serial, clock: clock, draw: draw, coder: e, film: film, probe: map[byte][]byte{},
		controls: newControls(draw(sizes()[0]).Axes())}
}

// Serial is the camera's serial number, which the host finds it by; "" if it has none.
func (c *Camera) Serial() string { return c.serial }

// Break sets what is wrong with the frames.
func (c *Camera) Break(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = f
}

// Frames counts what was handed to the host.
func (c *Camera) Frames() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frames
}

// Axes are the controls with their present values.
func (c *Camera) Axes() []device.Axis {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values()
}

// Handle is the camera's usbip.Handler.
func (c *Camera) Handle(p *usbip.Port, s usbip.Setup, out []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Standard() {
		return c.standard(p, s)
	}
	data, reason := c.class(p, byte(s.Index), byte(s.Index>>8), byte(s.Value>>8), s.Request, out)
	if c.reason = reason; reason != okay {
		return nil, usbip.ErrStall
	}
	return data, nil
}

func (c *Camera) standard(p *usbip.Port, s usbip.Setup) ([]byte, error) {
	switch s.Request {
	case 0: // GET_STATUS
		return []byte{0, 0}, nil
	case 1: // CLEAR_FEATURE: clearing the halt of a bulk video endpoint is how Linux says that streaming ends
		if s.Index == 0x80|epVideo || s.Index == 0x80|epCoded {
			p.Stop(uint32(s.Index & 0x0f))
		}
	case 6:
		return c.descriptor(byte(s.Value>>8), byte(s.Value))
	}
	return nil, nil
}

func (c *Camera) class(p *usbip.Port, intf, unit, selector, req byte, out []byte) ([]byte, byte) {
	switch {
	case intf == ifControl && unit == 0 && selector == 2: // why did the last one fail?
		return []byte{c.reason}, okay
	case intf != ifControl && selector == 1 && c.formats(intf) != nil:
		return c.negotiate(intf, req, out)
	case intf != ifControl && selector == 2 && c.formats(intf) != nil:
		data, reason := c.negotiate(intf, req, out)
		if req == setCur && reason == okay {
			go c.stream(p.Open(uint32(endpoint(intf))), c.formats(intf), c.probe[intf])
		}
		return data, reason
	}
	for _, k := range c.controls {
		if intf == ifControl && k.unit == unit && k.selector == selector {
			return c.setting(k, req, out)
		}
	}
	return nil, invalidControl
}

// Fields of the video probe and commit controls (UVC 1.1, table 4-75).
const (
	atFormat, atFrame, atInterval, atMaxFrame, atMaxPayload, atClock, atFraming = 2, 3, 4, 18, 22, 26, 30

	probeSize = 34
)

func (c *Camera) negotiate(intf, req byte, out []byte) ([]byte, byte) {
	n := len(c.formats(intf))
	switch req {
	case getCur, getMin, getMax:
		return nearest(c.probe[intf], n), okay
	case getDef:
		return nearest(nil, n), okay
	case getLen:
		return le.AppendUint16(nil, probeSize), okay
	case getInf:
		return []byte{3}, okay
	case setCur:
		c.probe[intf] = nearest(out, n)
		return nil, okay
	}
	return nil, invalidRequest
}

// nearest turns what the host asks for into what the camera can do, of so many formats.
func nearest(want []byte, formats int) []byte {
	p := make([]byte, probeSize)
	copy(p, want)
	if p[atFormat] < 1 || int(p[atFormat]) > formats {
		p[atFormat] = 1
	}
	if p[atFrame] < 1 || int(p[atFrame]) > len(sizes()) {
		p[atFrame] = 1
	}
	best := intervals()[0]
	for _, i := range intervals() {
		if le.Uint32(p[atInterval:]) >= i {
			best = i
		}
	}
	le.PutUint32(p[atInterval:], best)
	n := sizes()[p[atFrame]-1].maxBytes()
	le.PutUint32(p[atMaxFrame:], n)
	le.PutUint32(p[atMaxPayload:], n+2) // a frame is a single payload
	le.PutUint32(p[atClock:], clockHz)
	copy(p[atFraming:], []byte{3, 1, 1, 1}) // FID and EOF are used; payload version 1
	return p
}

// Payload header bits (UVC 1.1, table 2-5).
const fid, eof, flagErr, eoh = 0x01, 0x02, 0x40, 0x80

// stream sends frames until the pipe is stopped.
func (c *Camera) stream(pipe *usbip.Pipe, formats []format, probe []byte) {
	size := sizes()[probe[atFrame]-1]
	var picture Picture
	var film Film
	if formats[probe[atFormat]-1] == h264 {
		film = c.film(size)
	} else {
		picture = c.draw(size)
	}
	interval := time.Duration(le.Uint32(probe[atInterval:])) * 100
	start := c.clock.Now()
	for n, toggle := uint64(0), byte(0); ; toggle ^= fid {
		at := c.clock.Now() // before the controls are read: a frame stamped after a change shows it
		c.mu.Lock()
		axes, fault := c.values(), c.fault
		c.mu.Unlock()
		var frame []byte
		if film != nil {
			frame = film.Unit(n, at)
		} else {
			for _, a := range axes {
				picture.Set(a.Name, a.Value)
			}
			frame = picture.JPEG(n, at)
		}
		flags := eoh | eof | toggle
		switch fault {
		case Erring:
			flags |= flagErr
		case Cutting:
			frame = frame[:len(frame)/2]
		}
		// No PTS or SCR in the header: for them uvcvideo asks for the USB frame number, which vhci_hcd lacks.
		if pipe.Send(append([]byte{2, flags}, frame...)) != nil {
			return
		}
		c.mu.Lock()
		c.frames++
		c.mu.Unlock()
		n = max(n+1, uint64(c.clock.Now().Sub(start)/interval))
		select {
		case <-c.clock.After(start.Add(time.Duration(n) * interval).Sub(c.clock.Now())):
		case <-pipe.Done():
			return
		}
	}
}

// Press pushes and releases the button on the camera. The host polls for it only while the video node is open; Press
// waits for that until the cable is pulled.
func (c *Camera) Press(p *usbip.Port) error {
	button := p.Open(epStatus)
	defer p.Stop(epStatus)
	if err := button.Send([]byte{2, ifStream, 0, 1}); err != nil { // UVC 1.1, 2.4.2.2
		return err
	}
	return button.Send([]byte{2, ifStream, 0, 0})
}
