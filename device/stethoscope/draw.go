package stethoscope

import (
	"math"

	"telecart/device/stethoscope/filter"
)

const (
	columns = 200 // a second: a screen that shows five seconds across has about as many
	batch   = columns / 10
)

// drawing makes of the sound a line that is good to look at: for every 5 ms the lowest and the highest value, in the order in which
// they came, so that no beat and no click falls between two points. It is freed of what is below hearing (an offset, a moving
// hand) by the extended filter. Full scale is 32767. The line is to look at; nothing is measured on it.
type drawing struct {
	hz     int
	filter *filter.Filter
	began  bool
	at     int // in the column
	least  float64
	most   float64
	rising bool // the lowest came first
	line   []int32
}

func newDrawing(rate int) (*drawing, error) {
	f, err := filter.New(filter.Extended(), rate)
	if err != nil {
		return nil, err
	}
	return &drawing{hz: rate, filter: f}, nil
}

func (d *drawing) width() int { return d.hz / columns }

// rate is of the line: two points a column.
func (d *drawing) rate() float64 { return 2 * float64(d.hz) / float64(d.width()) }

// restart begins anew after a gap. What was not yet handed out is left out.
func (d *drawing) restart() { d.began, d.at, d.line = false, 0, nil }

// add gives the line's next piece once there are 100 ms of it.
func (d *drawing) add(values []int16) (line []int32, ok bool) {
	for _, v := range values {
		x := float64(v) / 32768
		if !d.began {
			d.filter.Settle(x)
			d.began = true
		}
		d.point(d.filter.Step(x))
	}
	if len(d.line) < 2*batch {
		return nil, false
	}
	line, d.line = d.line, nil
	return line, true
}

func (d *drawing) point(y float64) {
	if d.at == 0 {
		d.least, d.most, d.rising = y, y, true
	}
	if y < d.least {
		d.least, d.rising = y, false
	}
	if y > d.most {
		d.most, d.rising = y, true
	}
	if d.at++; d.at < d.width() {
		return
	}
	d.at = 0
	low, high := scaled(d.least), scaled(d.most)
	if d.rising {
		d.line = append(d.line, low, high)
	} else {
		d.line = append(d.line, high, low)
	}
}

func scaled(y float64) int32 { return int32(math.Round(min(max(y, -1), 1) * math.MaxInt16)) }
