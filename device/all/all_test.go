package all

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/simbus"
	"telecart/device/kit"
)

// deaf is an outlet that nobody listens to.
type deaf struct{}

func (deaf) Observe(device.Observation) {}

// settings that a driver takes with nothing but a port.
func settings(d device.Driver, port string) device.Settings {
	clock := kit.System{}
	return device.Settings{Name: d.Name, Driver: d.Name, Port: port, Clock: clock, Stamp: kit.NewStamper(clock, nil),
		Buses: bus.Simulated(func(string) (i2c.BusCloser, error) { return &simbus.Bus{}, nil })}
}

var listing = regexp.MustCompile(`[:;] (?:the only one is|there are):? ([^;]+)`)

// options are a driver's, as it lists them to whoever gives it one that it doesn't have.
func options(t *testing.T, d device.Driver) []string {
	s := settings(d, "twin")
	s.Options = map[string]string{"no-such-option": "1"}
	_, err := d.New(s, deaf{})
	if err == nil || !strings.Contains(err.Error(), `"no-such-option"`) {
		t.Errorf("%s: an option that it doesn't have must be refused by name; got %v", d.Name, err)
		return nil
	}
	found := listing.FindStringSubmatch(err.Error())
	if found == nil {
		t.Errorf(`%s: %q: the refusal of an option must list those there are: ": the only one is a", ": there are a, b", ": there are none"`,
			d.Name, err)
		return nil
	}
	names := regexp.MustCompile(`,? and |, `).Split(found[1], -1)
	return slices.DeleteFunc(names, func(n string) bool { return n == "none" })
}

func TestTable(t *testing.T) {
	kinds := []device.Kind{device.KindCamera, device.KindThermometer, device.KindOximeter, device.KindCuff, device.KindECG, device.KindStethoscope,
		device.KindScale, device.KindScanner, device.KindPedal, device.KindLight, device.KindPower, device.KindClock, device.KindRoom, device.KindVoice}
	seen := map[string]bool{}
	for _, d := range Table() {
		if d.Name == "" || seen[d.Name] || !slices.Contains(kinds, d.Kind) {
			t.Errorf("%q of kind %q: every driver has a name of its own and a known kind", d.Name, d.Kind)
		}
		seen[d.Name] = true
		if !slices.Contains([]device.Grade{"", device.Consumer, device.Uncalibrated}, d.Grade) {
			t.Errorf("%s: no grade %q", d.Name, d.Grade)
		}
	}
}

// What can't be right is refused when the instrument is made, not found out when it runs.
func TestSettingsAreChecked(t *testing.T) {
	for _, d := range Table() {
		if inst, err := d.New(settings(d, "twin"), deaf{}); err != nil || inst == nil {
			t.Errorf("%s: no twin: %v", d.Name, err)
		}
		options(t, d)
		for _, port := range []string{"", "no such port", "Twin", "dev/ttyUSB0", "usb:", "usb-port:x", "/"} {
			if _, err := d.New(settings(d, port), deaf{}); err == nil {
				t.Errorf("%s takes the port %q", d.Name, port)
			}
		}
		s := settings(d, "twin")
		s.Address = 0x80
		if _, err := d.New(s, deaf{}); err == nil {
			t.Errorf("%s takes the address %#x", d.Name, s.Address)
		}
	}
}

// A mux is for chips on I2C: they say what one looks like, the others that they have none.
func TestMuxIsChecked(t *testing.T) {
	for _, r := range readme(t).rows {
		d, known := driver(r.driver)
		if !known || len(r.ports()) == 0 {
			continue
		}
		s := settings(d, r.ports()[0])
		s.Mux = "no such mux"
		if _, err := d.New(s, deaf{}); err == nil {
			t.Errorf("%s on %s takes the mux %q", d.Name, s.Port, s.Mux)
		}
	}
}

func driver(name string) (device.Driver, bool) {
	i := slices.IndexFunc(Table(), func(d device.Driver) bool { return d.Name == name })
	if i < 0 {
		return device.Driver{}, false
	}
	return Table()[i], true
}

// What may be anything is taken by nobody, and what is taken, by one driver alone.
func TestAdoption(t *testing.T) {
	for _, c := range []struct {
		what string
		node device.Node
		by   int // at most
	}{
		{"somebody's keyboard", device.Node{Class: "input", Path: "/dev/input/event3", Port: "1-1", Vendor: 0x046D, Product: 0xC31C}, 0},
		{"a webcam's microphone", device.Node{Class: "sound", Path: "hw:1,0", Port: "1-1", Vendor: 0x046D, Name: "Webcam C270"}, 0},
		{"the machine's own serial port", device.Node{Class: "tty", Path: "/dev/ttyS0"}, 0},
		{"a modem", device.Node{Class: "tty", Path: "/dev/ttyACM0", Port: "1-1", Vendor: 0x1199, Product: 0x9071}, 0},
		{"a mouse", device.Node{Class: "hidraw", Path: "/dev/hidraw0", Port: "1-1", Vendor: 0x046D, Product: 0xC077}, 0},
		{"a common serial cable", device.Node{Class: "tty", Path: "/dev/ttyUSB0", Port: "1-1", Vendor: 0x0403, Product: 0x6001}, 1},
		{"a scanner's serial port", device.Node{Class: "tty", Path: "/dev/ttyACM0", Port: "1-1", Vendor: 0x0C2E}, 1},
		{"a stethoscope", device.Node{Class: "sound", Path: "hw:1,0", Port: "1-1", Vendor: 0x1234, Name: "USB Stethoscope"}, 1},
	} {
		var by []string
		for _, d := range Table() {
			if d.Adopts != nil && d.Adopts(c.node) {
				by = append(by, d.Name)
			}
		}
		if len(by) > c.by {
			t.Errorf("%s is taken by %q: at most %d may", c.what, by, c.by)
		}
	}
}
