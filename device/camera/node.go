package camera

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"telecart/device"
	"telecart/device/camera/v4l2"
	"telecart/device/evdev"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

// machine is where cameras are plugged in. Tests have one without a kernel.
type machine struct {
	nodes  func(port string) ([]device.Node, error) // of the camera at a port, the named or first one first
	look   func(path string) (v4l2.Offer, error)
	start  func(path string, w v4l2.Wish) (strand, error)
	panel  func(path string) (panel, error)
	button func(sys string) string // the path of the camera's own button, "" if it has none
	press  func(ctx context.Context, path string, key uint16, pressed func()) error
}

// strand is an open stream.
type strand interface {
	Next(ctx context.Context) (v4l2.Frame, error)
	Counters() v4l2.Counters
	terms() (v4l2.Info, v4l2.Mode)
	Close() error
}

// panel is a camera's settings, held open as long as the camera is used.
type panel interface {
	controls
	List(ctx context.Context) ([]v4l2.Control, error)
	Alive(ctx context.Context) error
	info() v4l2.Info
	Close() error
}

type kernelStrand struct{ *v4l2.Stream }

func (s kernelStrand) terms() (v4l2.Info, v4l2.Mode) { return s.Info, s.Mode }

type kernelPanel struct{ *v4l2.Controls }

func (p kernelPanel) info() v4l2.Info { return p.Info }

// thisMachine is the real one.
func thisMachine() machine {
	return machine{
		nodes: func(port string) ([]device.Node, error) { return nodesAt(hotplug.Machine{}, port) },
		look:  v4l2.Look,
		start: func(path string, w v4l2.Wish) (strand, error) {
			s, err := v4l2.Start(path, w)
			return kernelStrand{s}, err
		},
		panel: func(path string) (panel, error) {
			c, err := v4l2.OpenControls(path)
			return kernelPanel{c}, err
		},
		button: evdev.CameraButton,
		press:  evdev.Presses,
	}
}

func nodesAt(m hotplug.Machine, port string) ([]device.Node, error) {
	first, err := m.Find(class, port)
	if err != nil {
		return nil, err
	}
	nodes, err := m.All(class, port)
	if err != nil {
		return nil, err
	}
	nodes = slices.DeleteFunc(nodes, func(n device.Node) bool { return n == first })
	return append([]device.Node{first}, nodes...), nil
}

// class of a camera's nodes in sysfs.
const class = "video4linux"

// node is a lens behind V4L2 nodes: one for pictures, and for a camera with an encoder perhaps another for its coded
// stream. Their controls are open all the time, so that no other camera gets their numbers (see v4l2); streams only while
// they are watched.
type node struct {
	machine
	options
	clock kit.Clock
	stamp *kit.Stamper
	*tally
	at    device.Node // the pictures'
	own   panel
	large bool // the stream is as large as a picture can be
	base  uint64
	knobs

	how     coding
	coded   panel  // of the coded stream: own, if it is on the same node; nil if there is none
	codedAt string // its node's path
	keys    bool   // it can be asked for key frames
	unbase  uint64
	splicer splicer
}

// open finds the camera at a port, and what it can do.
func (m machine) open(ctx context.Context, port string, o options, fit outfit) (_ source, err error) {
	nodes, err := m.nodes(port)
	if err != nil {
		return nil, err
	}
	n := &node{machine: m, options: o, clock: fit.clock, stamp: fit.stamp, tally: fit.tally}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	offers, err := n.pick(nodes, strings.HasPrefix(port, "/"))
	if err != nil {
		return nil, err
	}
	if n.own, err = m.panel(n.at.Path); err != nil {
		return nil, err
	}
	list, err := n.own.List(ctx)
	if err != nil {
		return nil, err
	}
	n.knobs = newKnobs(n.own, list)
	if err := n.findEncoder(ctx, nodes, offers); err != nil {
		return nil, err
	}
	return n, n.stillThere(port)
}

// pick looks at a camera's nodes and chooses the one for pictures: that which the port names, or else the first that
// offers any.
func (n *node) pick(nodes []device.Node, named bool) (map[string]v4l2.Offer, error) {
	offers := map[string]v4l2.Offer{}
	var why error // there is none
	for i, at := range nodes {
		o, err := n.look(at.Path)
		if err == nil {
			offers[at.Path] = o
			if n.at.Path == "" && (i == 0 || !named) {
				err = n.usePictures(at, o)
			}
		}
		if why == nil {
			why = err
		}
	}
	if n.at.Path == "" {
		return nil, why
	}
	return offers, nil
}

func (n *node) usePictures(at device.Node, o v4l2.Offer) error {
	now, err := o.Fit(n.wish(streamSize))
	if err != nil {
		return err
	}
	most, err := o.Fit(n.wish(sensorSize))
	n.at, n.large = at, now == most
	return err
}

// wish is for pictures, JPEG if there are any.
func (n *node) wish(size resolution) v4l2.Wish {
	if size == sensorSize {
		return v4l2.Pictures(0, 0, float64(n.fps))
	}
	return v4l2.Pictures(n.width, n.height, float64(n.fps))
}

// findEncoder looks for a coded stream: on another node it costs nothing; on the pictures' own it must be wished for.
func (n *node) findEncoder(ctx context.Context, nodes []device.Node, offers map[string]v4l2.Offer) error {
	has := func(path string) bool { return slices.Contains(offers[path].Formats, v4l2.H264) }
	if n.h264 == "off" {
		return nil
	}
	for _, at := range nodes {
		if at.Path == n.at.Path || !has(at.Path) {
			continue
		}
		p, err := n.panel(at.Path)
		if err != nil {
			return err
		}
		n.how, n.coded, n.codedAt = beside, p, at.Path
		break
	}
	if n.how == never && n.h264 == "on" && has(n.at.Path) {
		n.how, n.coded, n.codedAt = instead, n.own, n.at.Path
	}
	if n.how == never {
		return nil
	}
	list, err := n.coded.List(ctx)
	n.keys = slices.ContainsFunc(list, func(c v4l2.Control) bool {
		return c.ID == v4l2.ForceKeyFrame && !c.Is(v4l2.FlagReadOnly)
	})
	return err
}

// stillThere makes sure that what was opened is what the port means: meanwhile it may have been plugged in again, and
// another have got its number.
func (n *node) stillThere(port string) error {
	nodes, err := n.nodes(port)
	if err != nil {
		return err
	}
	if !slices.Contains(nodes, n.at) {
		return fmt.Errorf("%w: %s at %s changed while it was opened", v4l2.ErrUnplugged, n.at.Path, port)
	}
	return nil
}

func (n *node) alive(ctx context.Context) error { return n.own.Alive(ctx) }

func (n *node) Close() error {
	var errs []error
	if n.how == beside {
		errs = append(errs, n.coded.Close())
	}
	if n.own != nil {
		errs = append(errs, n.own.Close())
	}
	return errors.Join(errs...)
}

func (n *node) about() device.About {
	return device.About{Model: n.own.info().Card, Serial: n.at.Serial}
}
