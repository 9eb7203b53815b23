package agent

import (
	"slices"

	"telecart/device"
	"telecart/device/supervisor"
)

// gasp looks at the health of all that gives power. When one of them is about to end, clips and sounds that are being captured
// end early and are saved, and new ones are refused. All else is saved as it comes anyway.
func (a *Agent) gasp() {
	critical := slices.ContainsFunc(a.sup.Snapshot(), func(s supervisor.Status) bool {
		return s.Kind == device.KindPower && (s.Health.Reason == device.BatteryCritical || s.Health.Reason == device.SupplyLow)
	})
	if a.lastGasp.Swap(critical) != critical && critical {
		a.notice("battery-empty", nil)
	}
}

// battery is how many minutes are left, and how full it is, as far as an instrument knows. No minutes and a percentage: it
// is on mains.
func battery(all []supervisor.Status) (minutes, percent *int) {
	for _, s := range all {
		for _, r := range s.Readings {
			if s.Kind != device.KindPower || r.Absent != "" || r.Stale {
				continue
			}
			n := int(r.Value.Float())
			switch r.Quantity {
			case "battery-left":
				minutes = &n
			case "battery-charge":
				percent = &n
			}
		}
	}
	return minutes, percent
}

// Inputs gives what people do with scanners and pedals, until the function is called.
func (a *Agent) Inputs() (<-chan device.Input, func()) { return a.inputs.join(16) }
