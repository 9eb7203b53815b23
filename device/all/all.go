// Package all is the one table of the drivers that the cart knows.
//
// Parties: main, which hands the table to the supervisor; drivers, one line each.
//
// Invariant: a new instrument is one folder beside this one and one line here.
package all

import (
	"telecart/device"
	"telecart/device/ad8232"
	"telecart/device/camera"
	"telecart/device/cms50d"
	"telecart/device/ina219"
	"telecart/device/light"
	"telecart/device/max17048"
	"telecart/device/max30102"
	"telecart/device/max30205"
	"telecart/device/mcp9808"
	"telecart/device/mlx90614"
	"telecart/device/nonin"
	"telecart/device/oximeter"
	"telecart/device/pedal"
	"telecart/device/rtc"
	"telecart/device/scale"
	"telecart/device/scanner"
	"telecart/device/stethoscope"
	"telecart/device/suntech"
	"telecart/device/tmp117"
	"telecart/device/voice"
)

// Table lists every driver, in the order in which they are shown.
func Table() []device.Driver {
	return []device.Driver{
		camera.Driver(),
		nonin.Driver(),
		cms50d.Driver(),
		oximeter.Driver(),
		max30102.Driver(),
		tmp117.Driver(),
		max30205.Driver(),
		mlx90614.Driver(),
		suntech.Driver(),
		ad8232.Driver(),
		stethoscope.Driver(),
		voice.Driver(),
		scale.Driver(),
		scanner.Driver(),
		pedal.Driver(),
		light.Driver(),
		max17048.Driver(),
		ina219.Driver(),
		rtc.Driver(),
		mcp9808.Driver(),
	}
}
