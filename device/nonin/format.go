package nonin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"telecart/device"
)

// Format is a Nonin serial data format.
type Format int

// The formats.
const (
	Format1  Format = 1  // 3 bytes a second, no checksum
	Format2  Format = 2  // 75 frames a second: 01 STATUS PLETH DATA CHK
	Format7  Format = 7  // 75 frames a second: STATUS PLETH_MSB PLETH_LSB DATA CHK
	Format8  Format = 8  // 4 bytes a second, no checksum
	Format13 Format = 13 // one record for each spot check
)

// Formats lists all.
func Formats() []Format { return []Format{Format1, Format2, Format7, Format8, Format13} }

func parseFormats(option string) ([]Format, error) {
	if option == "auto" {
		return Formats(), nil
	}
	var names []string
	for _, f := range Formats() {
		if names = append(names, strconv.Itoa(int(f))); names[len(names)-1] == option {
			return []Format{f}, nil
		}
	}
	return nil, fmt.Errorf("nonin: format = %q: give auto or one of %s", option, strings.Join(names, ", "))
}

func allows(formats []Format, f Format) bool { return slices.Contains(formats, f) }

// What the oximeter sends when it has no value.
const (
	missingRate       = 511
	missingSaturation = 127
)

// The ranges that the maker specifies.
const (
	lowestRate, highestRate             = 18, 321
	lowestSaturation, highestSaturation = 1, 100
)

// measured is what a packet of any format says.
type measured struct {
	period     time.Duration // how often such a packet comes; 0: once
	absent     device.Reason // why nothing of it is to be believed, or ""
	rate       value
	saturation value
	pulse      pulse
	pleth      []uint16 // nil if the format has none
	batteryLow bool
}

// value is a number as it was sent.
type value struct {
	n    int
	held device.Reason // why it is not believed though it was sent, or ""
}

// absent is why a value can't be shown, or "".
func (v value) absent(low, high, missing int) device.Reason {
	switch {
	case v.n == missing:
		return device.LowSignal
	case v.n < low || v.n > high:
		return device.SensorFault
	}
	return v.held
}
