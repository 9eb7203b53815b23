package suntech

import "errors"

// What the module and we say to each other (the reference's §2.3, from the open requests and result vector of
// com.ak.comm.bytes.suntech). All integers are least significant byte first; all bytes of a packet sum to 0 mod 256.
const (
	fromHost   = 0x3A
	fromModule = 0x3E
	minPacket  = 4    // 3E LEN data CS; LEN counts all of it
	maxPacket  = 0x43 //

	statusDone    = 'K' // the only status letter that is verified
	statusAborted = 'A' // from memory, as is the abort command's code
	statusRefused = 'N' // a bad packet, in modules that share the letters
)

var (
	askPressure = []byte{0x79, 0x05, 0x00}
	askResult   = []byte{0x79, 0x03, 0x00}
	abort       = []byte{0x79, 0x01, 0x00}
)

// request is a packet of ours: 3A, the command, a checksum.
func request(cmd []byte) []byte {
	b := append([]byte{fromHost}, cmd...)
	return append(b, checksum(b))
}

func checksum(b []byte) byte {
	var sum byte
	for _, x := range b {
		sum += x
	}
	return -sum
}

// decoder finds the module's packets in a stream. It keeps at most one packet.
type decoder struct{ buf []byte }

// write takes bytes as they come and returns the data of the packets that they complete.
func (d *decoder) write(b []byte) (packets [][]byte) {
	for _, x := range b {
		d.buf = append(d.buf, x)
		packets = d.scan(packets)
	}
	return packets
}

// pause says that nothing came for longer than a byte takes. A packet that is still not whole never began: what looks
// like its head was noise, and the true one may be behind it.
func (d *decoder) pause() (packets [][]byte) {
	for len(d.buf) > 0 {
		d.buf = d.buf[1:]
		packets = d.scan(packets)
	}
	return packets
}

// scan drops what can't begin a packet, and takes out what is one.
func (d *decoder) scan(packets [][]byte) [][]byte {
	for len(d.buf) > 0 {
		if d.buf[0] != fromModule || len(d.buf) > 1 && (d.buf[1] < minPacket || d.buf[1] > maxPacket) {
			d.buf = d.buf[1:]
			continue
		}
		if len(d.buf) < 2 || len(d.buf) < int(d.buf[1]) {
			break
		}
		n := int(d.buf[1])
		if checksum(d.buf[:n]) != 0 {
			d.buf = d.buf[1:]
			continue
		}
		packets = append(packets, append([]byte(nil), d.buf[2:n-1]...))
		d.buf = d.buf[n:]
	}
	d.buf = append(make([]byte, 0, maxPacket), d.buf...) // let go of what was read
	return packets
}

// result is what a measurement gave, in mmHg and beats a minute.
type result struct {
	systolic, diastolic, mean, rate int
	beats                           int
	code                            int // 0: good
}

var errResult = errors.New("suntech: a result of the wrong length")

// resultLen is the length of a result's data: 24 bytes with header, length and checksum.
const resultLen = 0x18 - 3

func parseResult(data []byte) (r result, err error) {
	if len(data) != resultLen {
		return r, errResult
	}
	at := func(i int) int { return int(data[i-2]) | int(data[i-1])<<8 } // i counts from the packet's head, as the documents do
	return result{systolic: at(2), diastolic: at(4), beats: int(data[6-2]), rate: int(data[16-2]), mean: at(18), code: int(data[20-2])}, nil
}

// plausible: a pressure that no arm has is the sign of a misread result, not of a sick patient.
func (r result) plausible() bool {
	return r.systolic >= 30 && r.systolic <= 300 && r.diastolic >= 10 && r.diastolic < r.mean && r.mean < r.systolic
}
