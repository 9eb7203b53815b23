package nonin

import (
	"testing"
	"time"

	"telecart/device"
	"telecart/device/oximeter/line"
)

const tick = 100 * time.Millisecond

// packet is one with fixed values and a status in every frame.
func packet(f Format, status byte, rate, spo2 int) *Packet {
	p := &Packet{Format: f}
	for i := range p.Status {
		p.Status[i] = statusMark | status
	}
	p.Status[0] |= statusSync
	p.Data[atRateDisp], p.Data[atRateDisp+1], p.Data[atSaturationDisp] = byte(rate>>7), byte(rate&0x7F), byte(spo2)
	return p
}

// sent is a packet and the SYNC after it, which makes it whole.
func sent(p *Packet) []byte { return append(p.Append(nil), syncFrame(p.Format)...) }

const (
	isGreen, isYellow, isRed = 1 << 1, 3 << 1, 2 << 1
)

func TestWhatIsReported(t *testing.T) {
	for _, c := range []struct {
		name       string
		status     byte
		rate, spo2 int
		want       []string
		waves      int
	}{
		{"good", isGreen, 112, 97, []string{"health live", "oxygen-saturation 97% good-perfusion", "pulse-rate 112/min good-perfusion"}, 1},
		{"marginal", isYellow, 112, 97, []string{"health live", "oxygen-saturation 97% marginal-perfusion", "pulse-rate 112/min marginal-perfusion"}, 1},
		{"red, and nothing better before", isRed, 250, 97, []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal"}, 1},
		{"between two beats", 0, 60, 97, []string{"health live", "oxygen-saturation 97%", "pulse-rate 60/min"}, 1},
		{"sensor off", statusNoSensor, 511, 127, []string{"health faulty no-sensor", "oxygen-saturation absent no-sensor", "pulse-rate absent no-sensor"}, 0},
		{"sensor off, old numbers", statusNoSensor, 112, 97, []string{"health faulty no-sensor", "oxygen-saturation absent no-sensor", "pulse-rate absent no-sensor"}, 0},
		{"no finger", statusAlarm | statusOutOfTrack, 511, 127, []string{"health settling no-finger", "oxygen-saturation absent no-finger", "pulse-rate absent no-finger"}, 0},
		{"out of track", statusOutOfTrack, 112, 97, []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal"}, 1},
		{"artifact, and nothing better before", statusArtifact, 112, 97, []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal"}, 1},
		{"no rate yet", 0, 511, 97, []string{"health settling low-signal", "oxygen-saturation 97%", "pulse-rate absent low-signal"}, 1},
		{"no saturation yet", 0, 112, 127, []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate 112/min"}, 1},
		{"impossible", 0, 400, 110, []string{"health faulty sensor-fault", "oxygen-saturation absent sensor-fault", "pulse-rate absent sensor-fault"}, 1},
		{"zeros", 0, 0, 0, []string{"health faulty sensor-fault", "oxygen-saturation absent sensor-fault", "pulse-rate absent sensor-fault"}, 1},
	} {
		for _, f := range []Format{Format2, Format7} {
			t.Run(c.name, func(t *testing.T) {
				b := newBench()
				b.after(packetPeriod, sent(packet(f, c.status, c.rate, c.spo2)))
				b.expect(t, c.want...)
				if len(b.samples) != c.waves {
					t.Errorf("format %d: %d stretches of pleth", f, len(b.samples))
				}
				for _, r := range b.readings {
					if r.Period != device.Duration(packetPeriod) {
						t.Errorf("period %v", r.Period)
					}
				}
			})
		}
	}
}

// Status bits belong to their frames: what they say depends on which number stood there.
func TestStatusOfAFrame(t *testing.T) {
	const (
		good = "oxygen-saturation 97% good-perfusion"
		rate = "pulse-rate 112/min good-perfusion"
	)
	for _, c := range []struct {
		name string
		bit  byte
		in   []int
		want []string
	}{
		{"out of track while the saturation was sent", statusOutOfTrack, []int{8}, []string{"health settling low-signal", "oxygen-saturation absent low-signal", rate}},
		{"out of track while the rate was sent", statusOutOfTrack, []int{20}, []string{"health settling low-signal", good, "pulse-rate absent low-signal"}},
		{"out of track in the end", statusOutOfTrack, []int{24}, []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal"}},
		{"on track again before any number", statusOutOfTrack, []int{0, 1, 2}, []string{"health live", good, rate}},
		{"one bad pulse, one good", statusArtifact, []int{0, 1, 2, 3, 4, 5}, []string{"health live", good, rate}},
		{"the last pulse bad", statusArtifact, []int{20, 21, 22, 23, 24}, []string{"health live", "oxygen-saturation 97% artifact", "pulse-rate 112/min artifact"}},
		{"finger out for a moment", statusAlarm, []int{3}, []string{"health settling no-finger", "oxygen-saturation absent no-finger", "pulse-rate absent no-finger"}},
		{"sensor off for a moment", statusNoSensor, []int{3}, []string{"health faulty no-sensor", "oxygen-saturation absent no-sensor", "pulse-rate absent no-sensor"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := packet(Format7, isGreen, 112, 97)
			for _, i := range c.in {
				p.Status[i] |= c.bit
			}
			b := newBench()
			b.after(packetPeriod, sent(p))
			b.expect(t, c.want...)
		})
	}
}

// A number outlives bad pulses by 3 s, as it would on a line that has fallen silent; then it is an old number.
func TestBadPulses(t *testing.T) {
	for _, bad := range []struct {
		status  byte
		quality string
	}{{isRed, "low-perfusion"}, {isGreen | statusArtifact, "artifact"}} {
		b := newBench()
		b.after(packetPeriod, packet(Format2, isGreen, 112, 97).Append(nil))
		for range 9 {
			b.after(packetPeriod, packet(Format2, bad.status, 112, 97).Append(nil))
		}
		want := []string{"health live", "oxygen-saturation 97% good-perfusion", "pulse-rate 112/min good-perfusion"}
		for range 8 {
			want = append(want, "health live", "oxygen-saturation 97% "+bad.quality, "pulse-rate 112/min "+bad.quality)
		}
		b.expect(t, want...)
		b.after(packetPeriod+tick, packet(Format2, bad.status, 112, 97).Append(nil))
		b.after(packetPeriod, packet(Format2, bad.status, 112, 97).Append(nil))
		b.after(packetPeriod, packet(Format2, 0, 112, 97).Append(nil)) // no pulse at all is no better
		b.after(packetPeriod, packet(Format2, isYellow, 112, 97).Append(nil))
		b.after(packetPeriod, syncFrame(Format2))
		b.expect(t,
			"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal",
			"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal",
			"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal",
			"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal",
			"health live", "oxygen-saturation 97% marginal-perfusion", "pulse-rate 112/min marginal-perfusion")
	}
}

// A finger that was out has no good pulses from before.
func TestPulsesAreOfThisFinger(t *testing.T) {
	b := newBench()
	for _, status := range []byte{isGreen, statusAlarm, isRed, 0} {
		b.after(packetPeriod, packet(Format2, status, 112, 97).Append(nil))
	}
	b.expect(t, "health live", "oxygen-saturation 97% good-perfusion", "pulse-rate 112/min good-perfusion",
		"health settling no-finger", "oxygen-saturation absent no-finger", "pulse-rate absent no-finger",
		"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal")
}

func TestBatteryLow(t *testing.T) {
	for _, c := range []struct {
		m    measured
		want bool
	}{
		{func() measured { p := packet(Format2, 0, 72, 97); p.Data[atStatus2] = 0x21; return p.measured() }(), true},
		{packet(Format2, 0, 72, 97).measured(), false},
		{Short{Status2: 1}.measured(), true},
		{Short{Status2: 2}.measured(), true},
		{Short{Status2: 0x24}.measured(), false},
		{Record{Status: 1}.measured(), true},
		{Record{Status: recordSmartPoint}.measured(), false},
	} {
		if c.m.batteryLow != c.want {
			t.Errorf("%+v", c.m)
		}
	}
	if h := health(true, "", ""); h != (device.Health{State: device.Live, Reason: BatteryLow}) {
		t.Errorf("health %v", h)
	}
	if h := health(true, device.NoFinger); h != (device.Health{State: device.Settling, Reason: device.NoFinger}) {
		t.Errorf("health %v", h)
	}
}

// The colour of a pulse holds until the next, at most 3 s.
func TestPerfusionHolds(t *testing.T) {
	b := newBench()
	b.after(packetPeriod, packet(Format2, isGreen, 60, 97).Append(nil))
	for range 11 {
		b.after(packetPeriod, packet(Format2, 0, 60, 97).Append(nil))
	}
	var want []string
	for range 10 {
		want = append(want, "health live", "oxygen-saturation 97% good-perfusion", "pulse-rate 60/min good-perfusion")
	}
	b.expect(t, append(want, "health live", "oxygen-saturation 97%", "pulse-rate 60/min")...)
}

func TestSilenceIsNotTheLastValue(t *testing.T) {
	b := newBench()
	b.after(packetPeriod, sent(packet(Format2, 0, 72, 97)))
	b.expect(t, "health live", "oxygen-saturation 97%", "pulse-rate 72/min")
	for range 29 {
		b.after(tick, nil)
	}
	b.expect(t)
	b.after(tick, nil)
	b.expect(t, "health absent no-data")
	for range 120 {
		b.after(tick, nil)
	}
	b.expect(t, "health absent no-data")
	// Another oximeter, in another format, on the same cable.
	b.after(packetPeriod, sent(packet(Format7, 0, 80, 99)))
	b.expect(t, "health live", "oxygen-saturation 99%", "pulse-rate 80/min")
}

func TestBytesThatAreNoPackets(t *testing.T) {
	for _, f := range []Fault{Garbage, HalfFrames} {
		b := newBench()
		s := NewStream(Format2, 1)
		for range 14 {
			b.after(packetPeriod, s.Bytes(f))
		}
		b.expect(t)
		for range 20 {
			b.after(packetPeriod, s.Bytes(f))
		}
		b.expect(t, "health faulty unknown-format")
		b.after(packetPeriod, s.Bytes(Healthy))
		b.after(packetPeriod, syncFrame(Format2))
		if len(b.readings) != 2 {
			t.Errorf("the first good packet gave %d readings", len(b.readings))
		}
	}
}

func TestPinned(t *testing.T) {
	for _, c := range []struct {
		pinned, sent Format
		want         int
	}{{Format2, Format7, 0}, {Format7, Format2, 0}, {Format2, Format2, 60}, {Format7, Format7, 60}, {Format1, Format8, 0}, {Format8, Format1, 0},
		{Format1, Format1, 36}, {Format8, Format8, 36}, {Format13, Format7, 0}, {Format13, Format13, 40}, {Format2, Format13, 0}, {Format1, Format13, 0}} {
		b, s := newBench(c.pinned), NewStream(c.sent, 1)
		n := 31
		if s.Period() >= time.Second {
			n = 20
		}
		for range n {
			b.after(s.Period(), s.Bytes(Healthy))
		}
		b.after(600*time.Millisecond, nil)
		if len(b.numbers()) != c.want {
			t.Errorf("pinned to %d, sent %d: %d numbers, want %d", c.pinned, c.sent, len(b.numbers()), c.want)
		}
		if c.sent == Format13 && c.pinned != Format13 && len(b.answers) > 0 {
			t.Errorf("pinned to %d, answered % x", c.pinned, b.answers)
		}
	}
}

func TestPlethIsAHeart(t *testing.T) {
	for _, f := range []Format{Format2, Format7} {
		b, s := newBench(), NewStream(f, 5)
		for range 61 { // 20 s, and the SYNC of what follows
			b.after(packetPeriod, s.Bytes(Healthy))
		}
		var beats, n int
		armed := false
		top := int32(0xFF)
		if f == Format7 {
			top = 0xFFFF
		}
		for _, x := range b.samples {
			if x.RateHz != 75 || len(x.Values) != 25 || x.Unit != "1" || x.Quantity != "pleth" {
				t.Fatalf("samples %+v", x)
			}
			for _, v := range x.Values {
				n++
				if armed && v > top*6/10 {
					beats++
					armed = false
				} else if v < top*4/10 {
					armed = true
				}
			}
		}
		if n != 1500 || beats < 36 || beats > 39 { // 112 a minute in 20 s: 37.3
			t.Errorf("format %d: %d values, %d beats", f, n, beats)
		}
	}
}

// A damaged byte is a lost byte: its packet is lost, and no other.
func TestDamagedByte(t *testing.T) {
	b := newBench()
	a := packet(Format7, isGreen, 112, 97).Append(nil)
	b.take(line.Chunk{Bytes: a[:60]})
	b.take(line.Chunk{Bytes: a[61:], Damaged: 1})
	b.after(packetPeriod, a)
	b.after(packetPeriod, syncFrame(Format7))
	if len(b.readings) != 2 {
		t.Errorf("%d readings, want the second packet's", len(b.readings))
	}
}
