package nonin

// Bytes that an oximeter sends besides its packets, when somebody talks to it: an acknowledgement, or a reply to a
// command (mdpnp's NoninPulseOx). They come between frames, never within one. In format 7 every frame begins with bit 7
// set and no control byte has it; in format 2 every frame begins with 01, which none of them is.
const (
	stx = 0x02
	etx = 0x03
	ack = 0x06
	nak = 0x15

	firstReply = 0xF0 // F2 the time, F4 the serial number; their length follows
	maxReply   = 40   // bytes, all in all
)

// control says how many bytes at the beginning of b are control bytes, of budget at most.
func (d *Decoder) control(b []byte, budget int) (n int, _ verdict) {
	switch {
	case len(b) == 0 || budget == 0:
		return 0, whole
	case b[0] == ack || b[0] == nak:
		return 1, whole
	case b[0] != stx:
		return 0, whole
	case len(b) == 1:
		return 0, unfinished
	case b[1] < firstReply:
		return 1, whole
	case len(b) == 2:
		return 0, unfinished
	}
	n = 4 + int(b[2]) // 02 op len .. 03
	switch {
	case n > min(budget, maxReply):
		return 1, whole
	case len(b) < n:
		return 0, unfinished
	case b[n-1] == etx:
		return n, whole
	}
	return 1, whole
}
