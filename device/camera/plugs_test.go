package camera

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"telecart/device"
	"telecart/device/camera/scene"
	"telecart/device/camera/v4l2"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

// plugs is a machine without a kernel: a sysfs in a folder, and cameras that do as they are told.
type plugs struct {
	t    *testing.T
	root string
	mu   sync.Mutex
	cams map[string]*fakeNode // by path
	log  []string             // what was opened and closed, in order
}

// fakeNode is one /dev/videoN.
type fakeNode struct {
	card    string
	formats map[v4l2.PixelFormat][]v4l2.Size
	script  func(w v4l2.Mode) []v4l2.Frame // of a stream in that mode
	dry     func()                         // called when all of it was given; then the stream waits
	*desk
	list []v4l2.Control
}

func newPlugs(t *testing.T) *plugs {
	return &plugs{t: t, root: t.TempDir(), cams: map[string]*fakeNode{}}
}

// plug puts a node into sysfs: number video<n>, of interface iface of the device in a socket.
func (p *plugs) plug(n int, socket string, iface, index int, serial string, f *fakeNode) string {
	usb := filepath.Join(p.root, "sys/devices/usb1", socket)
	port := fmt.Sprintf("%s/%s:1.%d", usb, socket, iface)
	dir := fmt.Sprintf("%s/video4linux/video%d", port, n)
	for path, text := range map[string]string{usb + "/idVendor": "1d6b", usb + "/idProduct": "0102", usb + "/serial": serial, usb + "/product": "Lab Camera",
		port + "/bInterfaceNumber": fmt.Sprintf("%02x", iface), dir + "/index": fmt.Sprint(index), dir + "/name": "Lab Camera",
		fmt.Sprintf("%s/dev/video%d", p.root, n): ""} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text+"\n"), 0o644)); err != nil {
			p.t.Fatal(err)
		}
	}
	class := filepath.Join(p.root, "sys/class/video4linux")
	if err := errors.Join(os.MkdirAll(class, 0o755), os.Symlink("../../../"+filepath.Base(port), dir+"/device"),
		os.Symlink(dir, fmt.Sprintf("%s/video%d", class, n))); err != nil {
		p.t.Fatal(err)
	}
	path := fmt.Sprintf("/dev/video%d", n)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cams[path] = f
	return path
}

func (p *plugs) unplug(n int) {
	os.Remove(fmt.Sprintf("%s/sys/class/video4linux/video%d", p.root, n))
	os.Remove(fmt.Sprintf("%s/dev/video%d", p.root, n))
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.cams, fmt.Sprintf("/dev/video%d", n))
}

func (p *plugs) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, what)
}

func (p *plugs) at(path string) (*fakeNode, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.cams[path]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("%w: no %s", v4l2.ErrUnplugged, path)
}

func (p *plugs) machine() machine {
	return machine{
		nodes: func(port string) ([]device.Node, error) {
			return nodesAt(hotplug.Machine{Root: p.root}, port)
		},
		look: func(path string) (v4l2.Offer, error) {
			f, err := p.at(path)
			if err != nil {
				return v4l2.Offer{}, err
			}
			if len(f.formats) == 0 {
				return v4l2.Offer{}, v4l2.ErrNotCamera
			}
			return f.offer(), nil
		},
		start: func(path string, w v4l2.Wish) (strand, error) {
			f, err := p.at(path)
			if err != nil {
				return nil, err
			}
			m, err := f.offer().Fit(w)
			p.note("start " + path + " " + m.String())
			return &fakeStrand{p: p, f: f, path: path, mode: m, left: f.script(m)}, err
		},
		panel: func(path string) (panel, error) {
			f, err := p.at(path)
			return fakePanel{f, p, path}, err
		},
		button: func(string) string { return "" },
	}
}

func (f *fakeNode) offer() v4l2.Offer {
	return v4l2.Offer{Info: v4l2.Info{Card: f.card}, Formats: slices.Sorted(maps.Keys(f.formats)), Sizes: f.formats}
}

type fakeStrand struct {
	p    *plugs
	f    *fakeNode
	path string
	mode v4l2.Mode
	left []v4l2.Frame
	n    v4l2.Counters
}

func (s *fakeStrand) Next(ctx context.Context) (v4l2.Frame, error) {
	if len(s.left) == 0 {
		if s.f.dry != nil {
			s.f.dry()
		}
		<-ctx.Done()
		return v4l2.Frame{}, ctx.Err()
	}
	f := s.left[0]
	s.left = s.left[1:]
	s.n.Frames++
	s.n.Flagged += 2
	return f, ctx.Err()
}

func (s *fakeStrand) terms() (v4l2.Info, v4l2.Mode) { return v4l2.Info{Card: s.f.card}, s.mode }
func (s *fakeStrand) Close() error                  { s.p.note("stop " + s.path); return nil }

func (s *fakeStrand) Counters() v4l2.Counters { return s.n }

type fakePanel struct {
	*fakeNode
	p    *plugs
	path string
}

func (f fakePanel) List(context.Context) ([]v4l2.Control, error) { return f.list, nil }
func (f fakePanel) Alive(context.Context) error                  { _, err := f.p.at(f.path); return err }
func (f fakePanel) info() v4l2.Info                              { return v4l2.Info{Card: f.card} }
func (f fakePanel) Close() error                                 { f.p.note("close " + f.path); return nil }

func sizes(wh ...int) (list []v4l2.Size) {
	for i := 0; i < len(wh); i += 2 {
		list = append(list, v4l2.Size{MinW: wh[i], MaxW: wh[i], StepW: 1, MinH: wh[i+1], MaxH: wh[i+1], StepH: 1})
	}
	return list
}

// jpegCamera gives JPEGs of 128x64 and 256x192.
func jpegCamera(card string) *fakeNode {
	return &fakeNode{card: card, desk: &desk{values: map[uint32]int{}}, formats: map[v4l2.PixelFormat][]v4l2.Size{v4l2.MJPEG: sizes(128, 64, 256, 192)},
		script: func(m v4l2.Mode) (list []v4l2.Frame) {
			view := scene.New(m.Width, m.Height)
			for i := range uint32(12) {
				list = append(list, v4l2.Frame{Data: view.JPEG(uint64(i), noon), Sequence: i})
			}
			return list
		}}
}

func coderNode(card string) *fakeNode {
	return &fakeNode{card: card, desk: &desk{values: map[uint32]int{}}, formats: map[v4l2.PixelFormat][]v4l2.Size{v4l2.H264: sizes(128, 64)},
		script: func(m v4l2.Mode) (list []v4l2.Frame) {
			film := scene.NewFilm(m.Width, m.Height)
			film.HeadersOnce, film.KeyEvery = true, 4
			for i := range uint32(12) {
				list = append(list, v4l2.Frame{Data: film.Unit(uint64(i), noon), Sequence: i})
			}
			return list
		}}
}

func metadata() *fakeNode { return &fakeNode{} }

// open opens the camera at a port, as Run does.
func (p *plugs) open(port string, set map[string]string) (*node, error) {
	if set == nil {
		set = map[string]string{}
	}
	set["width"], set["height"] = "128", "64"
	o, err := parse(set)
	if err != nil {
		p.t.Fatal(err)
	}
	clock := kit.NewManual(noon)
	src, err := p.machine().open(p.t.Context(), port, o, outfit{clock: clock, stamp: kit.NewStamper(clock, nil), tally: newTally()})
	if err != nil {
		return nil, err
	}
	return src.(*node), nil
}
