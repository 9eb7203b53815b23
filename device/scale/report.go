package scale

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"telecart/device"
)

// What a descriptor or a report can be refused for.
var (
	errShort   = errors.New("scale: the report descriptor ends in the middle of an item")
	errNesting = errors.New("scale: the report descriptor's collections don't match")
	errReport  = errors.New("scale: not a report that is known")
)

// status is what the scale says of the weight it sends (HID POS 1.02, 4.5; numbers as in the reference, section 3).
type status byte

const (
	fault      status = 1
	stableZero status = 2
	inMotion   status = 3
	stable     status = 4
	underZero  status = 5
	overLimit  status = 6
	calibrate  status = 7
	rezero     status = 8
)

// unit is a number of HID POS 1.02, 4.4.
type unit byte

const (
	milligram unit = 1
	gram      unit = 2
	kilogram  unit = 3
	ounce     unit = 11 // avoirdupois
	pound     unit = 12 // avoirdupois
)

// report is a scale data report: the weight is raw x 10^scaling units.
type report struct {
	status  status
	unit    unit
	scaling int8
	raw     uint16
}

const dataBits = 40 // status, unit, scaling, and the weight's two bytes

// parseReport reads the report with the given id, 0 if the scale numbers none. Reports with other ids are not for us:
// other is true.
func parseReport(b []byte, id uint8) (r report, other bool, err error) {
	if id != 0 {
		if len(b) == 0 {
			return report{}, false, fmt.Errorf("%w: an empty one", errReport)
		}
		if b[0] != id {
			return report{}, true, nil
		}
		b = b[1:]
	}
	if len(b) != dataBits/8 {
		return report{}, false, fmt.Errorf("%w: %d bytes of data, not %d", errReport, len(b), dataBits/8)
	}
	r = report{status(b[0]), unit(b[1]), int8(b[2]), binary.LittleEndian.Uint16(b[3:])}
	if r.status < fault || r.status > rezero {
		return report{}, false, fmt.Errorf("%w: status %d, of 1 to 8", errReport, r.status)
	}
	return r, false, nil
}

// appendTo writes the report as a scale does that numbers its reports.
func (r report) appendTo(b []byte, id uint8) []byte {
	b = append(b, id, byte(r.status), byte(r.unit), byte(r.scaling))
	return binary.LittleEndian.AppendUint16(b, r.raw)
}

// kilograms says what a unit is: coef x 10^exp kg. Pound and ounce are exact by definition: 0.45359237 kg, and a
// sixteenth of it (international yard and pound agreement of 1959; NIST SP 811, appendix B.8).
func (u unit) kilograms() (coef int64, exp int8, ok bool) {
	switch u {
	case milligram:
		return 1, -6, true
	case gram:
		return 1, -3, true
	case kilogram:
		return 1, 0, true
	case pound:
		return 45359237, -8, true
	case ounce:
		return 28349523125, -12, true
	}
	return 0, 0, false
}

const (
	heaviest = 1000 // kg; beyond it is no person, whatever else it is
	finest   = -6   // a digit of kg; finer is no scale for people either
)

// kilograms is the weight in kg, as fine as the scale can tell and no finer. A number in mg, g or kg keeps its digits.
// Of a number in lb or oz the last digit is the largest power of ten that is not above one step of the scale: 0.1 lb is
// 0.045 kg, so that the weight is given to 0.01 kg; it is rounded once, half away from zero. It is false for what no
// scale for people says.
func (r report) kilograms() (device.Decimal, bool) {
	coef, exp, ok := r.unit.kilograms()
	if !ok || r.scaling < -9 || r.scaling > 9 {
		return device.Decimal{}, false
	}
	digits := int8(len(strconv.FormatInt(coef, 10))) - 1 // of the step that have no place in the result
	last := exp + r.scaling + digits
	if last < finest || last > 0 {
		return device.Decimal{}, false
	}
	d := device.Decimal{Coef: (int64(r.raw)*coef + power(digits)/2) / power(digits), Exp: last}
	return d, d.Coef <= heaviest*power(-last)
}

// power is 10^n.
func power(n int8) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}
