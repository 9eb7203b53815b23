package scanner

import (
	"slices"

	"telecart/device"
	"telecart/device/evdev"
)

// makers are USB vendors (usb.ids) whose serial ports and keyboards are barcode scanners. Makers of keyboards as well,
// and the chips that many cheap scanners share with keyboards, are not among them: those scanners have to be named in
// the settings.
func makers() []uint16 {
	return []uint16{
		0x0c2e, // Metrologic, now Honeywell
		0x05e0, // Symbol, now Zebra
		0x05f9, // PSC, now Datalogic
		0x1eab, // Newland
	}
}

// adopts says whether a node is surely a scanner: never somebody's keyboard.
func adopts(n device.Node) bool {
	if !slices.Contains(makers(), n.Vendor) {
		return false
	}
	return n.Class == "tty" || n.Class == "input" && evdev.SysHas(n.Sys, needed()...)
}
