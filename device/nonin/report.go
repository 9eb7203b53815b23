package nonin

import (
	"time"

	"telecart/device"
	"telecart/device/kit"
)

// report tells the outlet what a packet says: its health first.
func (s *Session) report(now time.Time, at kit.Stamp, m measured) {
	quality := s.beats.add(now, m.pulse)
	absent := m.absent
	if absent != "" {
		s.beats = beats{}
	} else if s.beats.stalled(now) {
		absent = device.LowSignal
	}
	reading := func(quantity, unit string, v value, low, high, missing int) device.Reading {
		r := device.Reading{Quantity: quantity, Unit: unit, Instrument: s.id, At: at, Period: device.Duration(m.period)}
		if r.Absent = absent; absent == "" {
			r.Absent = v.absent(low, high, missing)
		}
		if r.Absent == "" {
			r.Value, r.Quality = device.Decimal{Coef: int64(v.n)}, quality
		}
		return r
	}
	spo2 := reading(saturation, "%", m.saturation, lowestSaturation, highestSaturation, missingSaturation)
	rate := reading(pulseRate, "/min", m.rate, lowestRate, highestRate, missingRate)
	s.out.Observe(health(m.batteryLow, spo2.Absent, rate.Absent))
	if m.pleth != nil {
		values := make([]int32, len(m.pleth))
		for i, v := range m.pleth {
			values[i] = int32(v)
		}
		s.out.Observe(device.Samples{Quantity: pleth, Unit: "1", RateHz: frameRate, Values: values, Instrument: s.id, At: at})
	}
	s.out.Observe(spo2)
	s.out.Observe(rate)
}

// health tells of a packet. An oximeter that has no value is not live, however well it talks.
func health(batteryLow bool, absent ...device.Reason) device.Health {
	for _, why := range absent {
		switch why {
		case "":
		case device.NoSensor, device.SensorFault:
			return device.Health{State: device.Faulty, Reason: why}
		default:
			return device.Health{State: device.Settling, Reason: why}
		}
	}
	if batteryLow {
		return device.Health{State: device.Live, Reason: BatteryLow}
	}
	return device.Health{State: device.Live}
}
