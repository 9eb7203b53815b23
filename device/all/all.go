// Package all is the one table of the drivers that the cart knows.
//
// Parties: main, which hands the table to the supervisor; drivers, one line each.
//
// Invariant: a new instrument is one folder beside this one and one line here.
package all

import (
	"telecart/device"
	"telecart/device/camera"
	"telecart/device/nonin"
	"telecart/device/tmp117"
)

// Table lists every driver, in the order in which they are shown.
func Table() []device.Driver {
	return []device.Driver{
		camera.Driver(),
		nonin.Driver(),
		tmp117.Driver(),
	}
}
