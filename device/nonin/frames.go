package nonin

import (
	"slices"
	"time"

	"telecart/device"
)

const (
	frameLen        = 5
	framesPerPacket = 25
	packetLen       = frameLen * framesPerPacket
	frameRate       = 75 // Hz
	packetPeriod    = time.Second / 3

	maxControl = 64 // bytes between a packet's frames that are none
)

// Status bits of a frame.
const (
	statusMark       = 1 << 7 // always set
	statusNoSensor   = 1 << 6 // SNSD: sensor disconnected
	statusArtifact   = 1 << 5 // ARTF: of this pulse; only during a pulse
	statusOutOfTrack = 1 << 4 // OOT: no consecutive good pulses, a sustained period of artifact
	statusAlarm      = 1 << 3 // SNSA: unusable data, the finger is out
	statusPerfusion  = 3 << 1 // during a pulse: 01 green, 11 yellow, 10 red
	statusSync       = 1 << 0 // frame 1 of 25
)

// Places in a packet's data, counted from 0 (the documents count from 1).
const (
	atRate           = 0 // two bytes, 4-beat average
	atSaturation     = 2
	atStatus2        = 7
	atSaturationDisp = 8
	atRateDisp       = 19 // two bytes
	atEnd            = framesPerPacket - 1
)

const lowBattery = 1 << 0 // of STAT2

// Packet is a third of a second in format 2 or 7: 25 frames, whole, each with a good checksum.
type Packet struct {
	Format Format
	Status [framesPerPacket]byte
	Pleth  [framesPerPacket]uint16 // 8 bits in format 2, 16 in format 7
	Data   [framesPerPacket]byte
}

// Rate is the pulse rate for display, in beats a minute: HR-D, the 4-beat average held steady for 1.5 s, as the
// maker's own screens show it. 511 is "no value".
func (p *Packet) Rate() int { return p.rate(atRateDisp) }

// Saturation is the oxygen saturation for display, in percent: SpO2-D. 127 is "no value".
func (p *Packet) Saturation() int { return int(p.Data[atSaturationDisp] & 0x7F) }

// The rate has 9 bits in two bytes of 7. (Shifting by 8, as some readers do, is right only up to 127 a minute.)
func (p *Packet) rate(at int) int { return int(p.Data[at]&0x03)<<7 | int(p.Data[at+1]&0x7F) }

// LowBattery says that the oximeter asks for batteries.
func (p *Packet) LowBattery() bool { return p.Data[atStatus2]&lowBattery != 0 }

// any says whether a status bit was set in any frame.
func (p *Packet) any(bit byte) bool {
	return slices.ContainsFunc(p.Status[:], func(s byte) bool { return s&bit != 0 })
}

// measured reads the packet. The status is each frame's own: a number that was sent in a frame out of track, or whose
// packet ended out of track, is one that the oximeter merely goes on showing.
func (p *Packet) measured() measured {
	held := func(frames ...int) device.Reason {
		for _, i := range append(frames, atEnd) {
			if p.Status[i]&statusOutOfTrack != 0 {
				return device.LowSignal
			}
		}
		return ""
	}
	m := measured{
		period:     packetPeriod,
		rate:       value{p.Rate(), held(atRateDisp, atRateDisp+1)},
		saturation: value{p.Saturation(), held(atSaturationDisp)},
		pleth:      p.Pleth[:],
		batteryLow: p.LowBattery(),
	}
	switch {
	case p.any(statusNoSensor):
		m.absent, m.pleth = device.NoSensor, nil
	case p.any(statusAlarm):
		m.absent, m.pleth = device.NoFinger, nil
	}
	for _, s := range p.Status {
		switch {
		case s&statusArtifact != 0:
			m.pulse = m.pulse.and(artifact)
		case s&statusPerfusion == 1<<1:
			m.pulse = m.pulse.and(green)
		case s&statusPerfusion == 3<<1:
			m.pulse = m.pulse.and(yellow)
		case s&statusPerfusion == 2<<1:
			m.pulse = m.pulse.and(red)
		}
	}
	return m
}

// Decoder finds packets of format 2 or 7 in a stream of bytes. It does no I/O and keeps at most one packet, one frame
// and what may stand between them.
//
// A packet is 25 frames with good checksums, SYNC in the first and in none of the others, and followed by the SYNC of
// the next: one lost byte loses one packet. Control bytes may stand between two frames (control.go). Whatever can't be
// the start of that is passed over a byte at a time, so a packet that arrived whole is found whatever came before it.
type Decoder struct {
	format Format
	buf    []byte
}

// NewDecoder makes a decoder of one format.
func NewDecoder(f Format) *Decoder { return &Decoder{format: f} }

// Write takes bytes as they come and returns the packets that they complete.
func (d *Decoder) Write(b []byte) []Packet {
	var out []Packet
	for len(b) > 0 {
		n := min(len(b), packetLen+frameLen+maxControl-len(d.buf))
		d.buf, b = append(d.buf, b[:n]...), b[n:]
		for len(d.buf) > 0 {
			p, used, verdict := d.packet()
			if verdict == unfinished {
				break
			}
			if verdict == whole {
				out = append(out, p)
			}
			d.buf = d.buf[:copy(d.buf, d.buf[used:])]
		}
	}
	return out
}

type verdict int

const (
	broken     verdict = iota // nothing begins here
	unfinished                // it may, when more has come
	whole
)

// packet reads the buffer as one packet and the first frame of the next, and says how many bytes are done with.
func (d *Decoder) packet() (p Packet, used int, _ verdict) {
	p.Format = d.format
	at, control := 0, 0
	for i := range framesPerPacket + 1 {
		for i > 0 {
			n, v := d.control(d.buf[at:], maxControl-control)
			if v == unfinished {
				return p, 0, unfinished
			}
			if at, control = at+n, control+n; n == 0 {
				break
			}
		}
		f := d.buf[at:min(at+frameLen, len(d.buf))]
		if len(f) > 0 && !d.begins(f[0]) {
			return p, 1, broken
		}
		if len(f) < frameLen {
			return p, 0, unfinished
		}
		status, sync := d.status(f), i%framesPerPacket == 0
		if f[0]+f[1]+f[2]+f[3] != f[4] || status&statusMark == 0 || status&statusSync != 0 != sync {
			return p, 1, broken
		}
		if i == framesPerPacket {
			break
		}
		p.Status[i], p.Data[i] = status, f[3]
		if p.Pleth[i] = uint16(f[2]); d.format == Format7 {
			p.Pleth[i] |= uint16(f[1]) << 8
		}
		at += frameLen
	}
	return p, at, whole
}

// begins says whether a frame can begin with a byte.
func (d *Decoder) begins(b byte) bool {
	if d.format == Format2 {
		return b == 0x01
	}
	return b&statusMark != 0
}

func (d *Decoder) status(f []byte) byte {
	if d.format == Format2 {
		return f[1]
	}
	return f[0]
}

// Append writes the packet's bytes, as the oximeter would.
func (p *Packet) Append(b []byte) []byte {
	for i := range framesPerPacket {
		b = appendFrame(b, p.Format, p.Status[i], p.Pleth[i], p.Data[i])
	}
	return b
}

func appendFrame(b []byte, f Format, status byte, pleth uint16, data byte) []byte {
	x := [4]byte{0x01, status, byte(pleth), data}
	if f == Format7 {
		x = [4]byte{status, byte(pleth >> 8), byte(pleth), data}
	}
	return append(b, x[0], x[1], x[2], x[3], x[0]+x[1]+x[2]+x[3])
}
