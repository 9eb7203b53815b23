package hotplug

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree is a sysfs and a /dev in a temporary folder, laid out as Linux does: class entries are links into devices.
type tree struct {
	t *testing.T
	Machine
}

func newTree(t *testing.T) *tree {
	f := &tree{t, Machine{t.TempDir()}}
	f.write("sys/devices/platform/none", "")
	return f
}

func (f *tree) write(path, text string) {
	f.t.Helper()
	path = filepath.Join(f.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// dir is where a socket's device is: "1-1.2" hangs on the hub "1-1".
func dir(socket string) string {
	d := "sys/devices/platform/scb/usb1"
	bus, ports, _ := strings.Cut(socket, "-")
	parts := strings.Split(ports, ".")
	for i := range parts {
		d += "/" + bus + "-" + strings.Join(parts[:i+1], ".")
	}
	return d
}

// plug makes a USB device; serial "" is one without.
func (f *tree) plug(socket, vendor, product, serial, name string) {
	f.write(dir(socket)+"/idVendor", vendor)
	f.write(dir(socket)+"/idProduct", product)
	f.write(dir(socket)+"/product", name)
	if serial != "" {
		f.write(dir(socket)+"/serial", serial)
	}
}

// node makes a class's node at a path below an interface of a socket's device ("00": the first), with its attributes.
func (f *tree) node(class, socket, iface, below string, attributes map[string]string) {
	d := dir(socket) + "/" + socket + ":1." + strings.TrimLeft(iface[:1], "0") + iface[1:]
	f.write(d+"/bInterfaceNumber", iface)
	f.at(class, d+"/"+below, attributes)
}

// at makes a class's node at a place in sysfs.
func (f *tree) at(class, d string, attributes map[string]string) {
	for name, text := range attributes {
		f.write(d+"/"+name, text)
	}
	name := filepath.Base(d)
	f.write(d+"/dev", "81:0")
	link := filepath.Join(f.Root, "sys/class", class, name)
	os.MkdirAll(filepath.Dir(link), 0o755)
	if err := os.Symlink(filepath.Join(f.Root, d), link); err != nil {
		f.t.Fatal(err)
	}
	switch class {
	case input:
		name = "input/" + name
	case sound:
		name = "snd/" + name
	}
	f.write("dev/"+name, "")
}

// unplug takes away all that hangs on a socket.
func (f *tree) unplug(socket string) {
	if err := os.RemoveAll(filepath.Join(f.Root, dir(socket))); err != nil {
		f.t.Fatal(err)
	}
}

// cart is one with an otoscope, a quad serial adapter, a barcode scanner, a stethoscope, a scale and two identical cameras.
func cart(t *testing.T) *tree {
	f := newTree(t)
	f.plug("1-1.1", "1d6b", "0102", "OTO-1", "Otoscope")
	f.node(video, "1-1.1", "00", "video4linux/video1", map[string]string{"index": "1", "name": "Otoscope: Meta"})
	f.node(video, "1-1.1", "00", "video4linux/video10", map[string]string{"index": "0", "name": "Otoscope"})
	f.node(input, "1-1.1", "00", "input/input7/event3", map[string]string{"device/name": "Otoscope: Button"})
	for i, u := range []string{"ttyUSB0", "ttyUSB1", "ttyUSB2", "ttyUSB3"} {
		f.plug("1-1.2", "0403", "6011", "FT4", "Quad RS232-HS")
		f.node(tty, "1-1.2", "0"+string(rune('0'+i)), u+"/tty/"+u, map[string]string{"device/port_number": "0"})
	}
	f.plug("1-1.3", "0c2e", "0b61", "", "Scanner")
	f.node(input, "1-1.3", "00", "0003:0C2E:0B61.0001/input/input4/event0", map[string]string{"device/name": "Scanner"})
	f.node(input, "1-1.3", "01", "0003:0C2E:0B61.0002/input/input5/event1", map[string]string{"device/name": "Scanner Consumer"})
	f.node(hidraw, "1-1.3", "00", "0003:0C2E:0B61.0001/hidraw/hidraw0", nil)
	f.at(input, dir("1-1.3")+"/1-1.3:1.0/0003:0C2E:0B61.0001/input/input4/js0", nil)
	f.plug("1-1.4", "0d8c", "0012", "", "Stethoscope")
	f.node(sound, "1-1.4", "00", "sound/card1", map[string]string{"id": "Audio", "pcmC1D0p/dev": "", "pcmC1D2c/dev": "", "pcmC1D1c/dev": ""})
	f.at(sound, dir("1-1.4")+"/1-1.4:1.0/sound/card1/controlC1", nil)
	f.node(tty, "1-2", "0a", "tty/ttyACM0", map[string]string{"device/bmCapabilities": "0"})
	f.plug("1-2", "1fc9", "0094", "S\x01N é", "Scale")
	for _, socket := range []string{"1-3", "1-1.7.1"} {
		f.plug(socket, "05e3", "0510", "SN0001", "Dermatoscope")
	}
	f.node(video, "1-3", "00", "video4linux/video4", map[string]string{"index": "0"})
	f.node(video, "1-1.7.1", "00", "video4linux/video5", map[string]string{"index": "0"})
	// What isn't USB, or no instrument.
	f.at(video, "sys/devices/platform/vivid.0/video4linux/radio0", nil)
	f.at(video, "sys/devices/platform/vivid.0/video4linux/v4l-touch0", nil)
	f.at(tty, "sys/devices/virtual/tty/tty0", nil)
	f.at(tty, "sys/devices/platform/serial8250/tty/ttyS0", map[string]string{"type": "0", "device/x": ""})
	f.at(tty, "sys/devices/platform/fe201000.serial/tty/ttyAMA0", map[string]string{"type": "32", "device/x": ""})
	f.at(sound, "sys/devices/platform/hdmi/sound/card0", map[string]string{"id": "hdmi", "pcmC0D0p/dev": ""})
	return f
}
