// Package opus encodes and decodes sound for the live session: libopus (RFC 6716), the system's library.
//
// Parties: live, which sends a microphone's values and plays what came; libopus, of which nothing else is used here.
//
// Invariants: one channel, 16 bits, 48 kHz, which every Opus stream can be decoded at (RFC 7587 4.1). A voice encoder takes away
// what lies below 60 to 100 Hz; LowDelay leaves it alone, and is the only one for a chest. Sizes are bounded before C sees them.
// What comes from outside is never trusted: a packet that is none gives ErrPacket, and the decoder goes on with the next one.
package opus

/*
#cgo pkg-config: opus
#include <opus.h>

// Go can't call functions with a variable number of arguments.
static int set(OpusEncoder *e, int request, opus_int32 value) { return opus_encoder_ctl(e, request, value); }
static int lookahead(OpusEncoder *e, opus_int32 *n) { return opus_encoder_ctl(e, OPUS_GET_LOOKAHEAD(n)); }
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"
)

// Rate is how many values a second there are, in every stream and direction.
const Rate = 48000

const (
	// MaxPacket is the most that one packet may have: what libopus itself recommends (opus_encode, max_data_bytes).
	MaxPacket = 4000
	// MaxFrame is the longest packet's number of values: 120 ms (RFC 6716 2).
	MaxFrame = Rate * 120 / 1000
)

// What can be wrong. Errors of this package wrap one of them where it fits.
var (
	ErrPacket = errors.New("opus: not an Opus packet")
	ErrFrame  = errors.New("opus: frames last 2.5, 5, 10, 20, 40 or 60 ms")
	ErrClosed = errors.New("opus: closed")
)

// Use is what the sound is.
type Use int

const (
	Voice    Use = iota // speech at the fewest bits
	LowDelay            // every frequency from 3 Hz on, with 2.5 ms of delay (CELT alone)
)

// Options of an encoder.
type Options struct {
	Use     Use
	Bitrate int           // bits a second, 6,000 to 510,000
	Frame   time.Duration // of each packet
	Loss    int           // percent of the packets that are expected to get lost
	// FEC: each packet has a copy of the one before, as coarse as Loss and Bitrate let it be; below about 18 kb/s with frames of
	// 60 ms none at all (libopus 1.3.1, decide_fec). Voice alone.
	FEC        bool
	DTX        bool // silence is not sent: packets of it have at most 2 bytes
	Complexity int  // 0 to 10, how much the processor is to do for it
}

func (o Options) check() error {
	switch {
	case o.Use != Voice && o.Use != LowDelay:
		return fmt.Errorf("opus: no use %d", o.Use)
	case o.Bitrate < 6000 || o.Bitrate > 510_000:
		return fmt.Errorf("opus: a bit rate of %d: want 6000 to 510000 bits a second", o.Bitrate)
	case Samples(o.Frame) == 0:
		return fmt.Errorf("%w, not %v", ErrFrame, o.Frame)
	case o.Use == LowDelay && o.Frame > 20*time.Millisecond:
		return fmt.Errorf("%w; with low delay at most 20 ms, not %v", ErrFrame, o.Frame) // longer ones are several in one packet
	case o.Use == LowDelay && o.FEC:
		return errors.New("opus: low delay has no error correction of its own; leave FEC off")
	case o.Loss < 0 || o.Loss > 100:
		return fmt.Errorf("opus: a loss of %d percent", o.Loss)
	case o.Complexity < 0 || o.Complexity > 10:
		return fmt.Errorf("opus: a complexity of %d: want 0 to 10", o.Complexity)
	}
	return nil
}

// frames are the lengths of RFC 6716 2.1.4 that an encoder makes.
func frames() []time.Duration {
	const half = 500 * time.Microsecond
	return []time.Duration{5 * half, 10 * half, 20 * half, 40 * half, 80 * half, 120 * half}
}

// Samples is how many values a frame of the length has; 0 if there are none of that length.
func Samples(d time.Duration) int {
	if !slices.Contains(frames(), d) {
		return 0
	}
	return int(d * Rate / time.Second)
}

// Encoder makes packets of one stream. It belongs to one goroutine. Close it.
type Encoder struct {
	e     *C.OpusEncoder
	frame int
	out   [MaxPacket]byte
}

// NewEncoder makes an encoder.
func NewEncoder(o Options) (*Encoder, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	use := C.int(C.OPUS_APPLICATION_VOIP)
	if o.Use == LowDelay {
		use = C.OPUS_APPLICATION_RESTRICTED_LOWDELAY
	}
	var code C.int
	e := &Encoder{e: C.opus_encoder_create(Rate, 1, use, &code), frame: Samples(o.Frame)}
	if e.e == nil {
		return nil, failed("make an encoder", code)
	}
	for _, s := range []struct {
		request C.int
		value   int
	}{
		{C.OPUS_SET_BITRATE_REQUEST, o.Bitrate}, {C.OPUS_SET_COMPLEXITY_REQUEST, o.Complexity},
		{C.OPUS_SET_INBAND_FEC_REQUEST, one(o.FEC)}, {C.OPUS_SET_PACKET_LOSS_PERC_REQUEST, o.Loss},
		{C.OPUS_SET_DTX_REQUEST, one(o.DTX)},
		// No packet far larger than the rate says: the link that it is for has no room for them.
		{C.OPUS_SET_VBR_REQUEST, 1}, {C.OPUS_SET_VBR_CONSTRAINT_REQUEST, 1},
	} {
		if err := e.set(s.request, s.value); err != nil {
			e.Close()
			return nil, err
		}
	}
	return e, nil
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (e *Encoder) set(request C.int, value int) error {
	if e.e == nil {
		return ErrClosed
	}
	if code := C.set(e.e, request, C.opus_int32(value)); code != C.OPUS_OK {
		return failed(fmt.Sprintf("set %d to %d", int(request), value), code)
	}
	return nil
}

// SetBitrate changes the rate from the next packet on.
func (e *Encoder) SetBitrate(bps int) error { return e.set(C.OPUS_SET_BITRATE_REQUEST, bps) }

// SetLoss says how many percent of the packets get lost now.
func (e *Encoder) SetLoss(percent int) error {
	return e.set(C.OPUS_SET_PACKET_LOSS_PERC_REQUEST, min(max(percent, 0), 100))
}

// Delay is how many values the decoded sound comes later than it went in.
func (e *Encoder) Delay() int {
	var n C.opus_int32
	if e.e == nil || C.lookahead(e.e, &n) != C.OPUS_OK {
		return 0
	}
	return int(n)
}

// Encode makes a packet of one whole frame. It is good until the next call. A packet of at most 2 bytes is silence that need not
// be sent (Options.DTX).
func (e *Encoder) Encode(values []int16) ([]byte, error) {
	switch {
	case e.e == nil:
		return nil, ErrClosed
	case len(values) != e.frame:
		return nil, fmt.Errorf("%w: %d values, this encoder's have %d", ErrFrame, len(values), e.frame)
	}
	n := C.opus_encode(e.e, (*C.opus_int16)(unsafe.Pointer(&values[0])), C.int(len(values)), (*C.uchar)(unsafe.Pointer(&e.out[0])), MaxPacket)
	if n < 0 {
		return nil, failed("encode", C.int(n))
	}
	return e.out[:n], nil
}

// Close frees the encoder. It may be called again.
func (e *Encoder) Close() {
	if e.e != nil {
		C.opus_encoder_destroy(e.e)
		e.e = nil
	}
}

// Decoder makes values of one stream's packets. It belongs to one goroutine. Close it.
type Decoder struct {
	d   *C.OpusDecoder
	out [MaxFrame]int16
}

// NewDecoder makes a decoder.
func NewDecoder() (*Decoder, error) {
	var code C.int
	d := &Decoder{d: C.opus_decoder_create(Rate, 1, &code)}
	if d.d == nil {
		return nil, failed("make a decoder", code)
	}
	return d, nil
}

// Decode makes values of a packet: they are good until the next call, as are those of the two below.
func (d *Decoder) Decode(packet []byte) ([]int16, error) {
	if len(packet) == 0 || len(packet) > MaxPacket {
		return nil, fmt.Errorf("%w: %d bytes", ErrPacket, len(packet))
	}
	return d.decode(packet, MaxFrame, 0)
}

// Recover makes values of the lost packet before this one, of the copy that this one has (Options.FEC), or of what was said until
// then, if it has none. Missing is how many there were in the lost one.
func (d *Decoder) Recover(packet []byte, missing int) ([]int16, error) {
	if len(packet) == 0 || len(packet) > MaxPacket {
		return nil, fmt.Errorf("%w: %d bytes", ErrPacket, len(packet))
	}
	if err := whole(missing); err != nil {
		return nil, err
	}
	return d.decode(packet, missing, 1)
}

// Conceal makes values in place of a lost packet, of what was said until then; they fade out when it goes on.
func (d *Decoder) Conceal(missing int) ([]int16, error) {
	if err := whole(missing); err != nil {
		return nil, err
	}
	return d.decode(nil, missing, 0)
}

// whole: what is missing is a multiple of 2.5 ms (opus_decode, frame_size).
func whole(n int) error {
	if n <= 0 || n > MaxFrame || n%(Rate/400) != 0 {
		return fmt.Errorf("opus: %d values can't be missing: a multiple of 2.5 ms can, up to 120 ms", n)
	}
	return nil
}

func (d *Decoder) decode(packet []byte, room, fec int) ([]int16, error) {
	if d.d == nil {
		return nil, ErrClosed
	}
	var data *C.uchar
	if len(packet) > 0 {
		data = (*C.uchar)(unsafe.Pointer(&packet[0]))
	}
	n := C.opus_decode(d.d, data, C.opus_int32(len(packet)), (*C.opus_int16)(unsafe.Pointer(&d.out[0])), C.int(room), C.int(fec))
	if n < 0 {
		return nil, failed("decode", n)
	}
	return d.out[:n], nil
}

// Close frees the decoder. It may be called again.
func (d *Decoder) Close() {
	if d.d != nil {
		C.opus_decoder_destroy(d.d)
		d.d = nil
	}
}

// Duration is how many values a packet has, by its first bytes (RFC 6716 3.1).
func Duration(packet []byte) (int, error) {
	if len(packet) == 0 || len(packet) > MaxPacket {
		return 0, fmt.Errorf("%w: %d bytes", ErrPacket, len(packet))
	}
	n := C.opus_packet_get_nb_samples((*C.uchar)(unsafe.Pointer(&packet[0])), C.opus_int32(len(packet)), Rate)
	if n <= 0 || n > MaxFrame {
		return 0, fmt.Errorf("%w: of %d values", ErrPacket, int(n))
	}
	return int(n), nil
}

// failed puts libopus' code in words.
func failed(what string, code C.int) error {
	err := fmt.Errorf("opus: %s: %s", what, C.GoString(C.opus_strerror(code)))
	if code == C.OPUS_INVALID_PACKET || code == C.OPUS_BUFFER_TOO_SMALL {
		return fmt.Errorf("%w (%s)", ErrPacket, what)
	}
	return err
}
