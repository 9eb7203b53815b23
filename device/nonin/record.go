package nonin

import (
	"encoding/binary"
	"time"

	"telecart/device"
)

// Format 13 sends a record when a spot check is done, most significant bytes first [M]:
//
//	00 02 | type u16 | len u16 |
//	century yy mm dd hh mm ss 1/100 s | STATUS u16 | HR u16 | 00 | SpO2 | more, if len > 14 |
//	CHK | 03
//
// CHK is the sum of the len bytes (Nonin 9560 OEM specification, format 13; mattjlewis' DataFormat13Serialiser).
//
// What is done with it: SmartPoint is the oximeter's own word that the measurement is good; without it there is no
// number. A measurement from memory is dropped, and the health says so: nobody knows whose it is, and its time is of a
// clock that nobody set. It is acknowledged all the same, as every whole record: else the oximeter sends it again and
// again, and never the new one. A rate above 255 is not read: whether its low byte has 7 bits or 8 is not documented to
// us, and 150 must not become 278.
const (
	recordHead = 6
	recordData = 14 // the least
	recordMore = 50 // as much more as is believed
	recordTail = 2
	maxRecord  = recordHead + recordData + recordMore + recordTail
)

// Status bits of a record.
const (
	recordSmartPoint    = 1 << 9
	recordNoMeasurement = 1 << 8
	recordFromMemory    = 1 << 4
	recordLowBattery    = 1 << 0
)

// Record is one spot check.
type Record struct {
	Type       uint16
	Measured   time.Time // by the oximeter's clock, of which only the digits are known; zero if they are no time
	Status     uint16
	Rate       int
	Saturation int
}

// findRecord looks for a record that ends where the bytes end. The answer is ACK to a good one, NAK to one that is whole
// but damaged, 0 if there is none.
func findRecord(b []byte) (r Record, answer byte) {
	for i := range b {
		r, got := parseRecord(b[i:])
		if got == ack {
			return r, ack
		}
		answer = max(answer, got)
	}
	return r, answer
}

func parseRecord(b []byte) (r Record, answer byte) {
	if len(b) < recordHead+recordData+recordTail || b[0] != 0 || b[1] != stx {
		return r, 0
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n < recordData || n > recordData+recordMore || len(b) != recordHead+n+recordTail {
		return r, 0
	}
	data, tail := b[recordHead:recordHead+n], b[recordHead+n:]
	switch {
	case sum(data) == tail[0] && tail[1] == etx:
	case sum(data) == tail[0] || tail[1] == etx:
		return r, nak
	default:
		return r, 0
	}
	return Record{
		Type:       binary.BigEndian.Uint16(b[2:]),
		Measured:   moment(data),
		Status:     binary.BigEndian.Uint16(data[8:]),
		Rate:       int(binary.BigEndian.Uint16(data[10:])),
		Saturation: int(data[13]),
	}, ack
}

func sum(b []byte) (s byte) {
	for _, x := range b {
		s += x
	}
	return s
}

// moment reads century, year, month, day, hour, minute, second, 1/100 s.
func moment(b []byte) time.Time {
	year, month, day := int(b[0])*100+int(b[1]), time.Month(b[2]), int(b[3])
	t := time.Date(year, month, day, int(b[4]), int(b[5]), int(b[6]), int(b[7])*int(10*time.Millisecond), time.UTC)
	if t.Year() != year || t.Month() != month || t.Day() != day || b[4] > 23 || b[5] > 59 || b[6] > 59 || b[7] > 99 {
		return time.Time{}
	}
	return t
}

// Append writes the record's bytes, as the oximeter would.
func (r Record) Append(b []byte) []byte {
	b = append(b, 0, stx)
	b = binary.BigEndian.AppendUint16(b, r.Type)
	b = binary.BigEndian.AppendUint16(b, recordData)
	t := r.Measured
	at := len(b)
	b = append(b, byte(t.Year()/100), byte(t.Year()%100), byte(t.Month()), byte(t.Day()),
		byte(t.Hour()), byte(t.Minute()), byte(t.Second()), byte(t.Nanosecond()/int(10*time.Millisecond)))
	b = binary.BigEndian.AppendUint16(b, r.Status)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Rate))
	b = append(b, 0, byte(r.Saturation))
	return append(b, sum(b[at:]), etx)
}

func (r Record) measured() measured {
	m := measured{rate: value{n: r.Rate}, saturation: value{n: r.Saturation}, batteryLow: r.Status&recordLowBattery != 0}
	if r.Rate > 0xFF {
		m.rate.n = missingRate
	}
	if r.Status&recordNoMeasurement != 0 || r.Status&recordSmartPoint == 0 {
		m.absent = device.LowSignal
	}
	return m
}
