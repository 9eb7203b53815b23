package line

// marks takes the kernel's marks out of what was read, across reads: FF 00 x is a byte that came damaged (or, with x 0, a
// break), FF FF is the byte FF (termios(3), PARMRK).
type marks struct {
	state byte // marked: FF has come; damaged: FF 00 has come
}

const (
	plain byte = iota
	marked
	damaged
)

// clean works in place.
func (m *marks) clean(raw []byte) Chunk {
	c := Chunk{Bytes: raw[:0]}
	for _, b := range raw {
		switch {
		case m.state == damaged:
			m.state = plain
			c.Damaged++
		case m.state == marked && b == 0:
			m.state = damaged
		case m.state == marked && b != 0xFF: // no kernel writes this
			m.state = plain
			c.Damaged++
		case m.state == plain && b == 0xFF:
			m.state = marked
		default:
			m.state = plain
			c.Bytes = append(c.Bytes, b)
		}
	}
	return c
}
