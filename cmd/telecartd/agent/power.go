package agent

import (
	"telecart/device"
)

// gasp is what the battery's health means: when it is about to end, clips and sounds that are being captured end early and
// are saved, and new ones are refused. All else is saved as it comes anyway.
func (a *Agent) gasp(h device.Health) {
	critical := h.Reason == device.BatteryCritical
	if a.lastGasp.Swap(critical) != critical && critical {
		a.notice("battery-empty", nil)
	}
}

// battery is how many minutes are left, if an instrument knows.
func (a *Agent) battery() *int {
	for _, s := range a.sup.Snapshot() {
		if s.Kind != device.KindPower {
			continue
		}
		for _, r := range s.Readings {
			if r.Quantity == "battery-left" && r.Absent == "" && !r.Stale {
				minutes := int(r.Value.Float())
				return &minutes
			}
		}
	}
	return nil
}

// Inputs gives what people do with scanners and pedals, until the function is called.
func (a *Agent) Inputs() (<-chan device.Input, func()) { return a.inputs.join(16) }
