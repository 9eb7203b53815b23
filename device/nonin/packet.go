package nonin

import "slices"

// Format is a Nonin serial data format.
type Format int

// The formats that this package reads: both send 75 frames a second, 25 to a packet.
const (
	Format2 Format = 2 // 01 STATUS PLETH DATA CHK
	Format7 Format = 7 // STATUS PLETH_MSB PLETH_LSB DATA CHK
)

const (
	frameLen        = 5
	framesPerPacket = 25
	packetLen       = frameLen * framesPerPacket
	frameRate       = 75 // Hz
)

// Status bits of a frame.
const (
	statusMark       = 1 << 7 // always set
	statusNoSensor   = 1 << 6 // SNSD: sensor disconnected
	statusArtifact   = 1 << 5 // ARTF
	statusOutOfTrack = 1 << 4 // OOT: no consecutive good pulses
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
)

const lowBattery = 1 << 0 // of STAT2

// What the oximeter sends when it has no value.
const (
	missingRate       = 511
	missingSaturation = 127
)

// Packet is a third of a second: 25 frames, whole, each with a good checksum.
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

// perfusion is the last pulse's colour as a quality word; "" if no pulse fell into the packet.
func (p *Packet) perfusion() string {
	for _, s := range slices.Backward(p.Status[:]) {
		switch s & statusPerfusion {
		case 1 << 1:
			return "good-perfusion"
		case 3 << 1:
			return "marginal-perfusion"
		case 2 << 1:
			return "low-perfusion"
		}
	}
	return ""
}

// Decoder finds packets of one format in a stream of bytes. It does no I/O and keeps at most one packet and one frame.
//
// A packet is 25 frames with good checksums, SYNC in the first and in none of the others, and followed by the SYNC of
// the next: one lost byte loses one packet. Whatever can't be the start of that is passed over a byte at a time, so a
// packet that arrived whole is found whatever came before it.
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
		n := min(len(b), packetLen+frameLen-len(d.buf))
		d.buf, b = append(d.buf, b[:n]...), b[n:]
		for len(d.buf) == packetLen+frameLen {
			skip := 1
			if p, ok := d.packet(); ok {
				out = append(out, p)
				skip = packetLen
			}
			d.buf = d.buf[:copy(d.buf, d.buf[skip:])]
		}
	}
	return out
}

// packet reads the buffer as one packet and the first frame of the next.
func (d *Decoder) packet() (Packet, bool) {
	p := Packet{Format: d.format}
	for i := range framesPerPacket + 1 {
		f := d.buf[i*frameLen:][:frameLen]
		status, sync := d.status(f), i%framesPerPacket == 0
		if f[0]+f[1]+f[2]+f[3] != f[4] || status&statusMark == 0 || status&statusSync != 0 != sync {
			return p, false
		}
		if d.format == Format2 && f[0] != 0x01 {
			return p, false
		}
		if i == framesPerPacket {
			break
		}
		p.Status[i], p.Data[i] = status, f[3]
		if p.Pleth[i] = uint16(f[2]); d.format == Format7 {
			p.Pleth[i] |= uint16(f[1]) << 8
		}
	}
	return p, true
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
