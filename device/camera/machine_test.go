package camera

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"telecart/device"
	"telecart/device/camera/scene"
	"telecart/device/camera/v4l2"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

func TestWhichNodes(t *testing.T) {
	p := newPlugs(t)
	p.plug(0, "1-1", 0, 0, "AAA", jpegCamera("one of each"))
	p.plug(1, "1-1", 0, 1, "AAA", metadata())
	p.plug(2, "1-1", 0, 2, "AAA", coderNode("one of each"))
	p.plug(3, "1-1", 0, 3, "AAA", metadata())
	both := jpegCamera("both")
	both.formats[v4l2.H264] = sizes(128, 64)
	p.plug(4, "1-2", 0, 0, "", both)
	p.plug(6, "1-3", 0, 0, "CCC", coderNode("coded first")) // two functions: each node is its interface's first
	p.plug(8, "1-3", 2, 0, "CCC", jpegCamera("coded first"))
	for _, x := range []struct {
		port, h264 string
		pictures   string
		how        coding
		coded      string
		serial     string
		err        error
	}{
		{"usb:AAA", "", "/dev/video0", beside, "/dev/video2", "AAA", nil},
		{"usb-port:1-1", "on", "/dev/video0", beside, "/dev/video2", "AAA", nil},
		{"usb:AAA", "off", "/dev/video0", never, "", "AAA", nil},
		{"/dev/video0", "", "/dev/video0", beside, "/dev/video2", "AAA", nil},
		{"/dev/video2", "", "", never, "", "", v4l2.ErrNoFormat}, // as named; not its sibling
		{"/dev/video1", "", "", never, "", "", v4l2.ErrNotCamera},
		{"usb-port:1-2", "", "/dev/video4", never, "", "", nil},
		{"usb-port:1-2", "on", "/dev/video4", instead, "/dev/video4", "", nil},
		{"usb:CCC", "", "/dev/video8", beside, "/dev/video6", "CCC", nil},
		{"usb:DDD", "", "", never, "", "", hotplug.ErrAbsent},
		{"usb-port:1-4", "", "", never, "", "", hotplug.ErrAbsent},
	} {
		set := map[string]string{}
		if x.h264 != "" {
			set["h264"] = x.h264
		}
		n, err := p.open(x.port, set)
		if !errors.Is(err, x.err) || err == nil && x.err != nil {
			t.Errorf("%s: %v, want %v", x.port, err, x.err)
		}
		if err != nil {
			continue
		}
		if n.at.Path != x.pictures || n.how != x.how || n.codedAt != x.coded || n.about().Serial != x.serial {
			t.Errorf("%s %q: pictures at %s, coded %d at %s, serial %q", x.port, x.h264, n.at.Path, n.how, n.codedAt, n.about().Serial)
		}
		p.log = nil
		n.Close()
		if want := 1 + map[coding]int{beside: 1}[n.how]; len(p.log) != want {
			t.Errorf("%s: closed %v", x.port, p.log)
		}
	}
}

// Two of one model never swap: named by socket each is itself wherever its number goes, and by a serial number that both have neither
// is taken.
func TestTwoOfOneModel(t *testing.T) {
	p := newPlugs(t)
	left, right := jpegCamera("Scope"), jpegCamera("Scope")
	p.plug(0, "1-1.1", 0, 0, "0001", left)
	p.plug(2, "1-1.2", 0, 0, "0001", right)
	for _, port := range []string{"usb-port:1-1.1", "usb-port:1-1.2"} {
		n, err := p.open(port, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"usb-port:1-1.1": "/dev/video0", "usb-port:1-1.2": "/dev/video2"}[port]; n.at.Path != want {
			t.Errorf("%s is %s", port, n.at.Path)
		}
	}
	p.unplug(0)
	p.unplug(2)
	p.plug(5, "1-1.2", 0, 4, "0001", right) // plugged in again, in the other order
	p.plug(7, "1-1.1", 0, 4, "0001", left)
	for port, want := range map[string]string{"usb-port:1-1.1": "/dev/video7", "usb-port:1-1.2": "/dev/video5"} {
		if n, err := p.open(port, nil); err != nil || n.at.Path != want {
			t.Errorf("%s again: %v", port, err)
		}
	}
	out := newOutlet()
	c, err := driver(p.machine()).New(device.Settings{Name: "scope", Port: "usb:0001", Clock: kit.NewManual(noon)}, out)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Run(t.Context())
	var f device.Fault
	if !errors.As(err, &f) || f.Health != (device.Health{State: device.Faulty, Reason: SameSerial}) ||
		!strings.Contains(err.Error(), "usb-port:1-1.1") || !strings.Contains(err.Error(), "usb-port:1-1.2") {
		t.Errorf("Run returned %v", err)
	}
	if said := out.said[len(out.said)-1]; said != f.Health {
		t.Errorf("health %v", said)
	}
}

// What is opened must be what the port means, then and whenever a stream begins.
func TestAnotherCameraUnderTheSameNumber(t *testing.T) {
	p := newPlugs(t)
	p.plug(0, "1-1", 0, 0, "AAA", jpegCamera("A"))
	n, err := p.open("usb:AAA", nil)
	if err != nil {
		t.Fatal(err)
	}
	p.cams["/dev/video0"] = jpegCamera("B")
	if err := n.stream(t.Context(), func(device.Frame) { t.Error("a picture of another camera") }); !errors.Is(err, v4l2.ErrUnplugged) {
		t.Errorf("stream: %v", err)
	}
	if _, err := n.shoot(t.Context(), sensorSize); !errors.Is(err, v4l2.ErrUnplugged) {
		t.Errorf("still: %v", err)
	}
	if last := p.log[len(p.log)-1]; last != "stop /dev/video0" {
		t.Errorf("the other one's stream is left on: %v", p.log)
	}
	m := p.machine()
	inner := m.panel
	m.panel = func(path string) (panel, error) { // while it is opened it is plugged in elsewhere
		own, err := inner(path)
		p.unplug(0)
		p.plug(1, "1-2", 0, 0, "AAA", jpegCamera("A"))
		return own, err
	}
	p.log = nil
	if _, err := m.open(t.Context(), "usb:AAA", options{width: 128, height: 64, fps: 30}, outfit{tally: newTally()}); !errors.Is(err, v4l2.ErrUnplugged) {
		t.Errorf("open: %v", err)
	}
	if !slices.Equal(p.log, []string{"close /dev/video0"}) {
		t.Errorf("left open: %v", p.log)
	}
}

// A still above the stream's size: the largest mode, eight pictures for the exposure, then the first good one, byte for byte.
func TestNodeShoots(t *testing.T) {
	p := newPlugs(t)
	cam := jpegCamera("A")
	good := cam.script(v4l2.Mode{Width: 256, Height: 192})
	var sent []v4l2.Frame
	cam.script = func(m v4l2.Mode) []v4l2.Frame {
		sent = slices.Clone(good)
		sent[8].Data = sent[8].Data[:len(sent[8].Data)/2]                 // cut off
		sent[9].Data = scene.New(128, 64).JPEG(9, noon)                   // one of the stream before
		sent[10].Data = append([]byte{0xff, 0xd8}, sent[10].Data[20:]...) // no header
		return sent
	}
	p.plug(0, "1-1", 0, 0, "AAA", cam)
	n, err := p.open("usb:AAA", nil)
	if err != nil {
		t.Fatal(err)
	}
	if n.whole() {
		t.Fatal("128x64 is not all that this camera has")
	}
	f, err := n.shoot(t.Context(), sensorSize)
	if err != nil || &f.Data[0] != &sent[11].Data[0] || f.Width != 256 || f.Height != 192 || f.Format != device.MJPEG || f.Seq != 11 {
		t.Errorf("%v, %dx%d, number %d", err, f.Width, f.Height, f.Seq)
	}
	if want := []string{"start /dev/video0 MJPG 256x192 at 0/s", "stop /dev/video0"}; !slices.Equal(p.log, want) {
		t.Errorf("%v, want %v", p.log, want)
	}
	if c := n.all(); c[badStills] != 3 || c[frames] != 12 || c[flagged] != 24 {
		t.Errorf("%v", c)
	}
	if len(cam.sets) > 0 {
		t.Errorf("axes were set: %v", cam.sets)
	}
	// Numbers go on: a viewer can tell pictures of before from those after.
	ctx, stop := context.WithCancel(t.Context())
	var first uint64
	cam.script = func(v4l2.Mode) []v4l2.Frame { return []v4l2.Frame{{Data: good[0].Data}} }
	if err := n.stream(ctx, func(f device.Frame) { first = f.Seq; stop() }); err != nil || first != 12 {
		t.Errorf("the stream went on with %d, %v", first, err)
	}
	// Nothing but bad ones: an error that says what is wrong with them.
	cam.script = func(v4l2.Mode) []v4l2.Frame {
		return slices.Repeat([]v4l2.Frame{{Data: scene.New(128, 64).JPEG(9, noon)}}, 10)
	}
	ctx, cam.dry = context.WithCancel(t.Context())
	if _, err := n.shoot(ctx, sensorSize); !errors.Is(err, errStill) || !errors.Is(err, context.Canceled) {
		t.Errorf("small ones: %v", err)
	}
	if _, err := n.shoot(t.Context(), streamSize); err != nil {
		t.Errorf("in the stream's size they are good: %v", err)
	}
}

// A camera that gives no JPEG gives a raw still.
func TestRawStill(t *testing.T) {
	p := newPlugs(t)
	cam := jpegCamera("raw")
	cam.formats = map[v4l2.PixelFormat][]v4l2.Size{v4l2.YUYV: sizes(128, 64, 256, 192)}
	raw := make([]byte, 256*192*2)
	cam.script = func(m v4l2.Mode) []v4l2.Frame { return slices.Repeat([]v4l2.Frame{{Data: raw}}, 9) }
	p.plug(0, "1-1", 0, 0, "AAA", cam)
	n, err := p.open("usb:AAA", nil)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := n.shoot(t.Context(), sensorSize); err != nil || f.Format != device.YUYV || f.Width != 256 || &f.Data[0] != &raw[0] {
		t.Errorf("%s %d wide, %v", f.Format, f.Width, err)
	}
}

// The coded stream: a decoder can begin at every key frame though the camera sends its headers once, and what is lost is
// seen in the numbers.
func TestNodeFilms(t *testing.T) {
	p := newPlugs(t)
	enc := coderNode("A")
	p.plug(0, "1-1", 0, 0, "AAA", jpegCamera("A"))
	p.plug(2, "1-1", 0, 2, "AAA", enc)
	whole := enc.script(v4l2.Mode{Width: 128, Height: 64})
	headers, picture := whole[0].Data[:len(sps0(whole[0].Data))], whole[0].Data[len(sps0(whole[0].Data)):]
	enc.script = func(v4l2.Mode) []v4l2.Frame {
		list := []v4l2.Frame{{Data: headers, Sequence: 0}, {Data: picture, Sequence: 1}}
		for i, f := range whole[1:] {
			list = append(list, v4l2.Frame{Data: f.Data, Sequence: uint32(i) + 2})
		}
		list[3].Data = []byte("noise")
		return list
	}
	n, err := p.open("usb:AAA", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var got []unit
	if err := n.film(ctx, func(u unit) {
		if got = append(got, u); len(got) == 11 {
			stop()
		}
	}); err != nil {
		t.Fatal(err)
	}
	var numbers []uint64
	for _, u := range got {
		numbers = append(numbers, u.Seq)
		if u.Format != device.H264 || u.Width != 128 || u.key != (u.Seq%4 == 0) {
			t.Errorf("%+v", u)
		}
		if u.key && !strings.Contains(string(u.Data), string(headers)) {
			t.Errorf("number %d is a key frame without headers", u.Seq)
		}
	}
	if want := []uint64{0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11}; !slices.Equal(numbers, want) {
		t.Errorf("numbers %v, want %v: headers alone have none, noise leaves a gap", numbers, want)
	}
	if c := n.all(); c[filmBroken] != 1+2*13 || c[filmUnits] != 13 || c[frames] != 0 {
		t.Errorf("%v", c)
	}
	if err := n.keyFrame(t.Context()); err != nil || len(enc.sets) > 0 {
		t.Errorf("a camera that can't be asked for key frames: %v, %v", err, enc.sets)
	}
	enc.list = []v4l2.Control{{ID: v4l2.ForceKeyFrame, Type: v4l2.Button}}
	if n, err = p.open("usb:AAA", nil); err != nil {
		t.Fatal(err)
	}
	if err := n.keyFrame(t.Context()); err != nil || len(enc.sets) != 1 || enc.sets[0][0].ID != v4l2.ForceKeyFrame {
		t.Errorf("one that can: %v, %v", err, enc.sets)
	}
}

// sps0 is what comes before the first key frame's picture.
func sps0(au []byte) []byte { return au[:strings.Index(string(au), "\x00\x00\x00\x01\x65")] }

// A camera that only knows speeds is stopped by Halt, and nothing else is ever written to a speed; nor to what mirrors.
func TestHaltStopsSpeeds(t *testing.T) {
	p := newPlugs(t)
	cam := jpegCamera("A")
	for _, id := range []uint32{v4l2.PanSpeed, v4l2.TiltSpeed, v4l2.ZoomContinuous, 0x00980914, 0x00980915} { // the last two: HFLIP, VFLIP
		cam.list = append(cam.list, v4l2.Control{ID: id, Min: -1, Max: 1, Default: 1})
		cam.values[id] = 1
	}
	p.plug(0, "1-1", 0, 0, "AAA", cam)
	out := newOutlet()
	c, err := driver(p.machine()).New(device.Settings{Name: "room", Port: "usb:AAA", Clock: kit.NewManual(noon)}, out)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	out.until(t, device.Health{State: device.Live})
	hand := c.(device.Steerable)
	if axes, err := hand.Axes(ctx); err != nil || len(axes) != 0 {
		t.Errorf("speeds are no axes: %v, %v", axes, err)
	}
	if err := hand.Halt(ctx); err != nil {
		t.Error(err)
	}
	want := map[uint32]int{v4l2.PanSpeed: 0, v4l2.TiltSpeed: 0, v4l2.ZoomContinuous: 0, 0x00980914: 1, 0x00980915: 1}
	if !maps.Equal(cam.values, want) || len(cam.sets) != 2 || len(cam.sets[0]) != 2 {
		t.Errorf("%v by %v, want %v: pan and tilt at once", cam.values, cam.sets, want)
	}
	// One that can't be stopped does not keep the other from it.
	cam.fail = map[uint32]error{v4l2.PanSpeed: errors.New("stuck")}
	cam.values[v4l2.TiltSpeed] = 1
	if err := hand.Halt(ctx); err == nil || cam.values[v4l2.TiltSpeed] != 0 {
		t.Errorf("%v, tilt at speed %d", err, cam.values[v4l2.TiltSpeed])
	}
	stop()
	<-ended
	if about := out.about; len(about) != 1 || about[0] != (device.About{Model: "A", Serial: "AAA"}) {
		t.Errorf("it said of itself %v", about)
	}
}

// Counts outlive an instrument: the supervisor makes a new one after every failure.
func TestCountsGoOn(t *testing.T) {
	p := newPlugs(t)
	cam := jpegCamera("A")
	p.plug(0, "1-1", 0, 0, "AAA", cam)
	d := driver(p.machine())
	for i := range uint64(2) {
		out := newOutlet()
		c, err := d.New(device.Settings{Name: "room", Port: "usb:AAA", Clock: kit.NewManual(noon)}, out)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		out.until(t, device.Health{State: device.Live})
		if _, err := c.(device.Shooter).Shoot(ctx); err != nil {
			t.Fatal(err)
		}
		if n := c.(device.Counted).Counters(); n["stills"] != i+1 || n["frames"] < 9*(i+1) {
			t.Errorf("run %d: %v", i, n)
		}
		stop()
		<-ended
	}
}

func TestAdopts(t *testing.T) {
	p := newPlugs(t)
	p.plug(0, "1-1", 0, 0, "AAA", nil)
	p.plug(1, "1-1", 0, 1, "AAA", nil)
	p.plug(2, "1-1", 0, 2, "AAA", nil)
	p.plug(4, "1-2", 1, 0, "", nil)
	p.plug(6, "1-2", 3, 0, "", nil)
	nodes, err := hotplug.Machine{Root: p.root}.Scan("video4linux")
	if err != nil || len(nodes) != 5 {
		t.Fatal(nodes, err)
	}
	var taken []string
	for _, n := range nodes {
		if Driver().Adopts(n) {
			taken = append(taken, n.Path)
		}
	}
	if !slices.Equal(taken, []string{"/dev/video0", "/dev/video4"}) {
		t.Errorf("%v: one node of each camera", taken)
	}
	for name, change := range map[string]func(*device.Node){
		"not USB":       func(n *device.Node) { n.Port = "" },
		"another class": func(n *device.Node) { n.Class = "input" },
		"a radio":       func(n *device.Node) { n.Path = "/dev/radio0" },
		"it went":       func(n *device.Node) { n.Sys = "/nowhere" },
	} {
		n := nodes[0]
		change(&n)
		if Driver().Adopts(n) {
			t.Errorf("%s is adopted", name)
		}
	}
}
