package uvc

import "telecart/device"

// UVC request codes (UVC 1.1, table A-8).
const (
	setCur = 0x01
	getCur = 0x81
	getMin = 0x82
	getMax = 0x83
	getRes = 0x84
	getLen = 0x85
	getInf = 0x86
	getDef = 0x87
)

// Reasons for a stall, as the error code control tells them (UVC 1.1, 4.2.1.2).
const (
	okay           = 0
	wrongState     = 2 // the caller of the V4L2 ioctl sees EACCES
	outOfRange     = 4 // ERANGE
	invalidControl = 6
	invalidRequest = 7
)

// control is a UVC control: one or two little-endian integers (pan and tilt are the halves of one), each an axis of the
// picture.
type control struct {
	unit, selector, bit byte // entity, selector, bit in the entity's bmControls
	width               int  // bytes of one integer
	axes                []device.Axis
	master              string // 1 on this axis locks the control
	modes               bool   // the exposure mode: a bitmap to the host (1 manual, 8 aperture priority), 0 or 1 to us
}

// newControls makes the controls for the axes that the picture has. UVC 1.1, tables 4-9 to 4-32 and.
func newControls(axes []device.Axis) []*control {
	all := []struct {
		control
		names []string
	}{
		{control{unit: idCamera, selector: 0x02, bit: 1, width: 1, modes: true}, []string{"exposure-auto"}},
		{control{unit: idCamera, selector: 0x04, bit: 3, width: 4, master: "exposure-auto"}, []string{"exposure"}}, // 100 us
		{control{unit: idCamera, selector: 0x08, bit: 17, width: 1}, []string{"focus-auto"}},
		{control{unit: idCamera, selector: 0x06, bit: 5, width: 2, master: "focus-auto"}, []string{"focus"}},
		{control{unit: idCamera, selector: 0x0b, bit: 9, width: 2}, []string{"zoom"}},
		{control{unit: idCamera, selector: 0x0d, bit: 11, width: 4}, []string{"pan", "tilt"}}, // arc seconds
		{control{unit: idProcessing, selector: 0x02, bit: 0, width: 2}, []string{"brightness"}},
	}
	var controls []*control
	for _, k := range all {
		for _, name := range k.names {
			for _, a := range axes {
				if a.Name == name {
					k.axes = append(k.axes, a)
				}
			}
		}
		if len(k.axes) == len(k.names) {
			controls = append(controls, &k.control)
		}
	}
	return controls
}

// raw turns an axis's value into what the host sees.
func (k *control) raw(v int) int {
	if !k.modes {
		return v
	}
	return 1 + 7*v
}

// value is raw's opposite; false if v means nothing.
func (k *control) value(a device.Axis, v int) (int, bool) {
	if k.modes {
		return v / 8, v == 1 || v == 8
	}
	return v, v >= a.Min && v <= a.Max
}

// setting answers a request to a control.
func (c *Camera) setting(k *control, req byte, out []byte) (data []byte, reason byte) {
	locked := k.master != "" && c.axis(k.master) == 1
	switch req {
	case getInf: // D0 get, D1 set, D2 under automatic control (UVC 1.1, table 4-3)
		if locked {
			return []byte{7}, okay
		}
		return []byte{3}, okay
	case getLen:
		return le.AppendUint16(nil, uint16(k.width*len(k.axes))), okay
	case setCur:
		return nil, c.set(k, locked, out)
	}
	for _, a := range k.axes {
		var x int
		switch req {
		case getCur:
			x = k.raw(a.Value)
		case getMin:
			x = k.raw(a.Min)
		case getMax:
			x = k.raw(a.Max)
		case getDef:
			x = k.raw(a.Default)
		case getRes:
			if x = a.Step; k.modes {
				x = k.raw(0) | k.raw(1) // the modes there are
			}
		default:
			return nil, invalidRequest
		}
		data = append(data, le.AppendUint32(nil, uint32(int32(x)))[:k.width]...)
	}
	return data, okay
}

func (c *Camera) set(k *control, locked bool, out []byte) (reason byte) {
	if len(out) != k.width*len(k.axes) {
		return invalidRequest
	}
	if locked {
		return wrongState
	}
	var values [2]int
	for i, a := range k.axes {
		var b [4]byte
		copy(b[:], out[i*k.width:][:k.width])
		x := int(le.Uint32(b[:]))
		if shift := 64 - 8*k.width; a.Min < 0 {
			x = x << shift >> shift // extends the sign
		}
		v, ok := k.value(a, x)
		if !ok {
			return outOfRange
		}
		values[i] = v
	}
	for i := range k.axes { // both or none
		k.axes[i].Value = values[i]
	}
	return okay
}

// axis is the present value of an axis; 0 if there is no such axis.
func (c *Camera) axis(name string) int {
	for _, a := range c.values() {
		if a.Name == name {
			return a.Value
		}
	}
	return 0
}

// values are all axes with their present values.
func (c *Camera) values() (axes []device.Axis) {
	for _, k := range c.controls {
		axes = append(axes, k.axes...)
	}
	return axes
}
