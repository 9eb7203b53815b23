package hotplug

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"telecart/device"
)

func TestScan(t *testing.T) {
	f := cart(t)
	got, err := f.Scan()
	if err != nil {
		t.Fatal(err)
	}
	quad := func(i int, path string) device.Node {
		return device.Node{Class: tty, Path: path, Port: "1-1.2", Interface: i, Vendor: 0x0403, Product: 0x6011, Serial: "FT4", Name: "Quad RS232-HS"}
	}
	want := []device.Node{
		{Class: video, Path: "/dev/video10", Port: "1-1.1", Vendor: 0x1d6b, Product: 0x0102, Serial: "OTO-1", Name: "Otoscope"},
		{Class: video, Path: "/dev/video1", Port: "1-1.1", Vendor: 0x1d6b, Product: 0x0102, Serial: "OTO-1", Name: "Otoscope"},
		{Class: video, Path: "/dev/video5", Port: "1-1.7.1", Vendor: 0x05e3, Product: 0x0510, Serial: "SN0001", Name: "Dermatoscope"},
		{Class: video, Path: "/dev/video4", Port: "1-3", Vendor: 0x05e3, Product: 0x0510, Serial: "SN0001", Name: "Dermatoscope"},
		{Class: tty, Path: "/dev/ttyAMA0"},
		quad(0, "/dev/ttyUSB0"), quad(1, "/dev/ttyUSB1"), quad(2, "/dev/ttyUSB2"), quad(3, "/dev/ttyUSB3"),
		{Class: tty, Path: "/dev/ttyACM0", Port: "1-2", Interface: 10, Vendor: 0x1fc9, Product: 0x0094, Serial: "SN é", Name: "Scale"},
		{Class: hidraw, Path: "/dev/hidraw0", Port: "1-1.3", Vendor: 0x0c2e, Product: 0x0b61, Name: "Scanner"},
		{Class: input, Path: "/dev/input/event3", Port: "1-1.1", Vendor: 0x1d6b, Product: 0x0102, Serial: "OTO-1", Name: "Otoscope"},
		{Class: input, Path: "/dev/input/event0", Port: "1-1.3", Vendor: 0x0c2e, Product: 0x0b61, Name: "Scanner"},
		{Class: input, Path: "/dev/input/event1", Port: "1-1.3", Interface: 1, Vendor: 0x0c2e, Product: 0x0b61, Name: "Scanner"},
		{Class: sound, Path: "hw:1,1", Port: "1-1.4", Vendor: 0x0d8c, Product: 0x0012, Name: "Stethoscope"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(device.Node{}, "Sys")); diff != "" {
		t.Error(diff)
	}
	for _, n := range got {
		if _, err := os.Stat(n.Sys + "/dev"); err != nil {
			t.Errorf("%s: its folder in sysfs: %v", n.Path, err)
		}
	}
	if some, err := f.Scan(sound, hidraw); err != nil || len(some) != 2 {
		t.Errorf("two classes: %v, %v", some, err)
	}
	if _, err := f.Scan("block"); err == nil || !strings.Contains(err.Error(), "video4linux, tty, hidraw") {
		t.Errorf("an unknown class: %v", err)
	}
	if none, err := (Machine{filepath.Join(f.Root, "none")}).Scan(); err != nil || len(none) > 0 {
		t.Errorf("no sysfs at all: %v, %v", none, err)
	}
}

func TestFind(t *testing.T) {
	f := cart(t)
	f.write("dev/pts/3", "")
	for link, to := range map[string]string{"dev/serial/by-id/quad-3": "../../ttyUSB3", "dev/v4l/by-id/gone": "../../video77"} {
		f.write(link+".dir", "")
		if err := os.Symlink(to, filepath.Join(f.Root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		class, port, want string
		err               error
		words             string
	}{
		{video, "usb:OTO-1", "/dev/video10", nil, ""},
		{video, "usb-port:1-1.1", "/dev/video10", nil, ""},
		{video, "usb-port:1-1.1:1.0", "/dev/video10", nil, ""},
		{video, "/dev/video1", "/dev/video1", nil, ""},
		{input, "usb:OTO-1", "/dev/input/event3", nil, ""},
		{input, "usb-port:1-1.3", "/dev/input/event0", nil, ""},
		{input, "usb-port:1-1.3:1.1", "/dev/input/event1", nil, ""},
		{hidraw, "usb-port:1-1.3", "/dev/hidraw0", nil, ""},
		{sound, "usb-port:1-1.4", "hw:1,1", nil, ""},
		{sound, "hw:1,1", "hw:1,1", nil, ""},
		{tty, "usb:SN é", "/dev/ttyACM0", nil, ""},
		{tty, "usb-port:1-2", "/dev/ttyACM0", nil, ""},
		{tty, "usb-port:1-1.2:1.2", "/dev/ttyUSB2", nil, ""},
		{tty, "/dev/serial/by-id/quad-3", "/dev/ttyUSB3", nil, ""},
		{tty, "/dev/ttyAMA0", "/dev/ttyAMA0", nil, ""},
		{tty, "/dev/pts/3", "/dev/pts/3", nil, ""},

		{tty, "usb:FT4", "", ErrAmbiguous, "usb-port:1-1.2:1.0"},
		{video, "usb:SN0001", "", ErrAmbiguous, "usb-port:1-1.7.1 and usb-port:1-3 all have the serial number of usb:SN0001: name one by its socket"},
		{video, "usb:OTO-2", "", ErrAbsent, "no camera at usb:OTO-2"},
		{tty, "usb:OTO-1", "", ErrAbsent, "no serial port at usb:OTO-1"},
		{video, "usb-port:1-1", "", ErrAbsent, ""}, // the hub
		{video, "usb-port:1-1.1:1.1", "", ErrAbsent, ""},
		{video, "/dev/video9", "", ErrAbsent, "no camera at /dev/video9"},
		{video, "/dev/v4l/by-id/gone", "", ErrAbsent, ""},
		{sound, "hw:0,0", "", ErrAbsent, "no microphone at hw:0,0"}, // it can't capture
		{sound, "/dev/ttyUSB0", "", ErrAbsent, ""},
		{video, "video10", "", ErrPort, "usb:SERIAL"},
		{video, "twin", "", ErrPort, "twin"},
	} {
		n, err := f.Find(c.class, c.port)
		if n.Path != c.want || !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s at %s: %q, %v; want %q, %v %q", c.class, c.port, n.Path, err, c.want, c.err, c.words)
		}
		if err == nil && n.Class != c.class {
			t.Errorf("%s at %s: class %q", c.class, c.port, n.Class)
		}
	}
	if _, err := f.Find("block", "usb:OTO-1"); err == nil {
		t.Error("an unknown class")
	}
}

func TestAllNodesOfADevice(t *testing.T) {
	f := cart(t)
	for port, want := range map[string][]string{
		"usb:OTO-1":       {"/dev/video10", "/dev/video1"},
		"/dev/video1":     {"/dev/video10", "/dev/video1"},
		"usb-port:1-3":    {"/dev/video4"},
		"usb-port:1-1.1":  {"/dev/video10", "/dev/video1"},
		"usb-port:1-9":    nil,
		"usb-port:1-1.11": nil,
	} {
		nodes, err := f.All(video, port)
		var got []string
		for _, n := range nodes {
			got = append(got, n.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("%s: %v %s", port, err, diff)
		}
	}
}

// The same socket or serial number is the same instrument whatever the kernel calls its node now.
func TestReplug(t *testing.T) {
	f := cart(t)
	f.unplug("1-1.1")
	if _, err := f.Find(video, "usb:OTO-1"); !errors.Is(err, ErrAbsent) {
		t.Errorf("unplugged: %v", err)
	}
	f.plug("1-4", "1d6b", "0102", "OTO-1", "Otoscope")
	f.node(video, "1-4", "00", "video4linux/video20", map[string]string{"index": "0"})
	f.plug("1-1.1", "1d6b", "0102", "OTO-2", "Otoscope")
	f.node(video, "1-1.1", "00", "video4linux/video21", map[string]string{"index": "0"})
	f.unplug("1-3") // one of the two that could not be told apart
	for port, want := range map[string]string{"usb:OTO-1": "/dev/video20", "usb-port:1-1.1": "/dev/video21", "usb:SN0001": "/dev/video5"} {
		if n, err := f.Find(video, port); n.Path != want {
			t.Errorf("%s: %q, %v; want %q", port, n.Path, err, want)
		}
	}
}

func TestCheckPort(t *testing.T) {
	for _, port := range []string{"twin", "/dev/ttyUSB0", "/dev/v4l/by-id/usb-Oto_scope-video-index0", "usb:CAM-A", "usb:0000:01", "usb:a b",
		"usb-port:1-1.2", "usb-port:2-1", "usb-port:1-1.4.3.2:1.3", "usb-port:10-12:1.10", "hw:1,0"} {
		if err := CheckPort(port); err != nil {
			t.Error(err)
		}
	}
	for _, port := range []string{"", "ttyUSB0", "./dev/x", "/", "/dev/../etc/passwd", "/dev/", "usb:", "usb: A", "usb:A\n", "usb:" + strings.Repeat("A", 127), "usb-port:",
		"usb-port:1-0", "usb-port:1.2", "usb-port:1-1.", "usb-port:usb1", "usb-port:1-1/../..", "usb-port:1-1:2", "hw:1", "hw:a,b", "COM3"} {
		if err := CheckPort(port); !errors.Is(err, ErrPort) {
			t.Errorf("%q: %v", port, err)
		}
	}
}

// A node's name leads back to it, as long as nothing else is plugged in.
func TestName(t *testing.T) {
	f := cart(t)
	nodes, err := f.Scan()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, n := range nodes {
		got[n.Path] = Name(n, nodes)
		back, err := f.Find(n.Class, got[n.Path])
		if err != nil || back.Port != n.Port || n.Class == tty && back != n {
			t.Errorf("%s is called %s, where there is %v, %v", n.Path, got[n.Path], back, err)
		}
	}
	want := map[string]string{"/dev/video10": "usb:OTO-1", "/dev/video4": "usb-port:1-3", "/dev/video5": "usb-port:1-1.7.1",
		"/dev/ttyAMA0": "/dev/ttyAMA0", "/dev/ttyUSB2": "usb-port:1-1.2:1.2", "/dev/hidraw0": "usb-port:1-1.3", "hw:1,1": "usb-port:1-1.4"}
	for path, name := range want {
		if got[path] != name {
			t.Errorf("%s is called %s, want %s", path, got[path], name)
		}
	}
}
