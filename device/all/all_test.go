package all

import (
	"slices"
	"strings"
	"testing"

	"telecart/device"
	"telecart/device/kit"
)

// deaf is an outlet that nobody listens to.
type deaf struct{}

func (deaf) Observe(device.Observation) {}

func TestTable(t *testing.T) {
	kinds := []device.Kind{device.KindCamera, device.KindThermometer, device.KindOximeter, device.KindCuff, device.KindECG, device.KindStethoscope,
		device.KindScale, device.KindScanner, device.KindPedal, device.KindLight, device.KindPower, device.KindClock}
	seen := map[string]bool{}
	for _, d := range Table() {
		if d.Name == "" || seen[d.Name] || !slices.Contains(kinds, d.Kind) {
			t.Errorf("%q of kind %q: every driver has a name of its own and a known kind", d.Name, d.Kind)
		}
		seen[d.Name] = true
		set := device.Settings{Name: "x", Driver: d.Name, Port: "twin", Clock: kit.System{}, Stamp: kit.NewStamper(kit.System{}, nil)}
		if inst, err := d.New(set, deaf{}); err != nil || inst == nil {
			t.Errorf("%s: no twin: %v", d.Name, err)
		}
		set.Options = map[string]string{"no-such-option": "1"}
		if _, err := d.New(set, deaf{}); err == nil || !strings.Contains(err.Error(), "no-such-option") {
			t.Errorf("%s: an unknown option must be refused by name; got %v", d.Name, err)
		}
	}
}
