package conformance

import (
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/simbus"
	"telecart/device/kit"
)

// Chip runs the suite on the driver of an I2C chip that gives its values by itself: on its twin, and on simulated buses with the chip at
// addr straight on one, and behind a mux.
func Chip(t *testing.T, d device.Driver, addr uint16, chip func(addr uint16) i2c.Bus) {
	t.Helper()
	for name, s := range map[string]device.Settings{
		"twin":  {Port: "twin"},
		"trunk": {Port: "/dev/i2c-1"},
		"mux":   {Port: "/dev/i2c-1", Mux: "0x71.3"},
	} {
		Run(t, Case{Name: name, Quantities: d.Quantities, Start: func(out device.Outlet) (Rig, error) {
			clock, sim := kit.NewManual(time.Unix(1_700_000_000, 0)), &simbus.Bus{}
			if s.Mux == "" {
				sim.Attach(addr, chip(addr))
			} else {
				sim.Mux(0x71).Attach(3, addr, chip(addr))
			}
			s.Name, s.Driver, s.Clock, s.Stamp, s.Buses = d.Name, d.Name, clock, kit.NewStamper(clock, nil), bus.Simulated(sim.Open)
			inst, err := d.New(s, out)
			r := Rig{Instrument: inst, Clock: clock, Step: 100 * time.Millisecond}
			if !s.Twin() {
				r.Unplug = sim.Unplug
			}
			return r, err
		}})
	}
}
