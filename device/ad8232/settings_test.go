package ad8232

import (
	"strings"
	"testing"

	"telecart/device"
	"telecart/device/kit"
)

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name    string
		edit    func(*device.Settings)
		options map[string]string
		want    string // "" is none
	}{
		{name: "default"},
		{name: "strapped", edit: func(s *device.Settings) { s.Address = 0x4B }},
		{name: "mux", edit: func(s *device.Settings) { s.Mux = "0x71.3" }},
		{name: "all", options: map[string]string{"rate": "860", "gain": "1000.5", "mains": "60", "ready": "gpiochip4:17", "leads_off": "gpiochip0:22, gpiochip0:23"}},
		{name: "address", edit: func(s *device.Settings) { s.Address = 0x40 }, want: "0x48 to 0x4b"},
		{name: "port", edit: func(s *device.Settings) { s.Port = "/dev/ttyUSB0" }, want: "like /dev/i2c-1"},
		{name: "rate", options: map[string]string{"rate": "128"}, want: "250, 475 or 860"},
		{name: "rate without ready", options: map[string]string{"rate": "860"}, want: "needs option ready"},
		{name: "gain", options: map[string]string{"gain": "1"}, want: "10 to 10000"},
		{name: "no gain", options: map[string]string{"gain": "NaN"}, want: "10 to 10000"},
		{name: "mains", options: map[string]string{"mains": "55"}, want: "50 or 60"},
		{name: "ready", options: map[string]string{"ready": "17"}, want: "like gpiochip0:17"},
		{name: "two ready", options: map[string]string{"ready": "gpiochip0:1,gpiochip0:2"}, want: "of 1 at most"},
		{name: "leads", options: map[string]string{"leads_off": "gpiochip0:1,gpiochip0:1"}, want: "twice"},
		{name: "three leads", options: map[string]string{"leads_off": "gpiochip0:1,gpiochip0:2,gpiochip0:3"}, want: "of 2 at most"},
		{name: "shared", options: map[string]string{"ready": "gpiochip0:1", "leads_off": "gpiochip0:1"}, want: "both"},
		{name: "option", options: map[string]string{"speed": "3"}, want: `"speed": there are rate, gain, mains, ready, leads_off`},
	} {
		s := settings(kit.NewManual(start), c.options)
		if c.edit != nil {
			c.edit(&s)
		}
		_, err := Driver().New(s, &log{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
