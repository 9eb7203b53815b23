package scale

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Usages of weighing devices (USB HID Point of Sale Usage Tables 1.02, section 4).
const (
	usagePage   = 0x8D
	usageData   = 0x32 // Scale Data Report
	usageWeight = 0x40
)

// Items of a report descriptor (USB HID 1.11, 6.2.2): type and tag in the upper six bits of the prefix.
const (
	itemInput         = 0x80
	itemCollection    = 0xA0
	itemEndCollection = 0xC0
	itemUsagePage     = 0x04
	itemReportSize    = 0x74
	itemReportID      = 0x84
	itemReportCount   = 0x94
	itemPush          = 0xA4
	itemPop           = 0xB4
	itemUsage         = 0x08
	itemOutput        = 0x90
	itemFeature       = 0xB0
	itemLong          = 0xFE // the whole prefix

	maxDescriptor = 4096 // HID_MAX_DESCRIPTOR_SIZE
	maxNesting    = 32
)

// layout is what a report descriptor says of the reports that matter here.
type layout struct {
	scale bool   // its application is a weighing device
	data  uint8  // id of the report with the weight; 0: its reports have no id
	bits  uint64 // of that report, without the id; 0: there is none
}

// globals are the items that hold until they are changed.
type globals struct {
	page, size, count uint64
	id                uint8
}

// parseDescriptor finds the weight in a report descriptor.
func parseDescriptor(b []byte) (layout, error) {
	if len(b) > maxDescriptor {
		return layout{}, fmt.Errorf("scale: a report descriptor of %d bytes: there can be %d", len(b), maxDescriptor)
	}
	p := parser{inputs: map[uint8]uint64{}}
	for len(b) > 0 {
		n, err := p.item(b)
		if err != nil {
			return layout{}, err
		}
		b = b[n:]
	}
	l := layout{scale: p.scale}
	if p.found {
		l.data, l.bits = p.data, p.inputs[p.data]
	}
	return l, nil
}

type parser struct {
	globals
	stack  []globals
	usages []uint64         // of the item that comes next, with their pages
	nested []uint64         // usages of the open collections
	inputs map[uint8]uint64 // bits of every input report so far, by id
	scale  bool
	found  bool // data is known
	data   uint8
}

// item takes the first item and says how long it is.
func (p *parser) item(b []byte) (int, error) {
	if b[0] == itemLong { // its length is in the next byte; none is defined (6.2.2.3)
		if len(b) < 3 || len(b) < 3+int(b[1]) {
			return 0, errShort
		}
		return 3 + int(b[1]), nil
	}
	n := int(b[0] & 3)
	if n == 3 {
		n = 4
	}
	if len(b) < 1+n {
		return 0, errShort
	}
	var value [8]byte
	copy(value[:], b[1:1+n])
	return 1 + n, p.take(b[0]&^3, binary.LittleEndian.Uint64(value[:]), n)
}

func (p *parser) take(tag byte, v uint64, size int) error {
	switch tag {
	case itemUsagePage:
		p.page = v
	case itemReportSize:
		p.size = v
	case itemReportCount:
		p.count = v
	case itemReportID:
		if v == 0 || v > 255 {
			return fmt.Errorf("scale: report id %d in the report descriptor: there are 1 to 255", v)
		}
		p.id = uint8(v)
	case itemPush, itemPop:
		return p.pushPop(tag)
	case itemUsage:
		if size < 4 {
			v |= p.page << 16
		}
		if len(p.usages) < maxDescriptor {
			p.usages = append(p.usages, v)
		}
	case itemCollection:
		return p.open()
	case itemEndCollection:
		if len(p.nested) == 0 {
			return errNesting
		}
		p.nested, p.usages = p.nested[:len(p.nested)-1], nil
	case itemInput:
		p.input()
	case itemOutput, itemFeature: // their usages end here
		p.usages = nil
	}
	return nil
}

func (p *parser) pushPop(tag byte) error {
	switch {
	case tag == itemPush && len(p.stack) < maxNesting:
		p.stack = append(p.stack, p.globals)
	case tag == itemPop && len(p.stack) > 0:
		p.globals, p.stack = p.stack[len(p.stack)-1], p.stack[:len(p.stack)-1]
	default:
		return errNesting
	}
	return nil
}

func (p *parser) open() error {
	var usage uint64
	if len(p.usages) > 0 {
		usage = p.usages[0]
	}
	if len(p.nested) == maxNesting {
		return errNesting
	}
	if len(p.nested) == 0 && usage>>16 == usagePage {
		p.scale = true
	}
	p.nested, p.usages = append(p.nested, usage), nil
	return nil
}

// input is a field of an input report. The weight is in the one whose collection, or whose field, says so.
func (p *parser) input() {
	if p.size <= 1<<16 && p.count <= 1<<16 {
		p.inputs[p.id] += p.size * p.count
	}
	weight := slices.Contains(p.nested, usagePage<<16|usageData) || slices.Contains(p.usages, usagePage<<16|usageWeight)
	if weight && !p.found {
		p.found, p.data = true, p.id
	}
	p.usages = nil
}
