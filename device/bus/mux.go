package bus

import (
	"errors"
	"fmt"
)

const (
	firstMux = 0x70 // PCA9548A, TCA9548A: three address straps
	lastMux  = 0x77
	channels = 8
)

// channel is one of a mux; the zero value is none: straight on the bus.
type channel struct {
	mux    uint16
	number int
}

func (c channel) String() string { return fmt.Sprintf("%#02x.%d", c.mux, c.number) }

func (c channel) mask() byte { return 1 << c.number }

// parseChannel reads "0x71.3"; "" is none. It takes one spelling only, as conflicts are found by comparing.
func parseChannel(s string) (channel, error) {
	if s == "" {
		return channel{}, nil
	}
	if len(s) == len("0x71.3") && s[:3] == "0x7" && s[4] == '.' {
		c := channel{mux: firstMux + uint16(s[3]-'0'), number: int(s[5]) - '0'}
		if s[3] >= '0' && c.mux <= lastMux && c.number >= 0 && c.number < channels {
			return c, nil
		}
	}
	return channel{}, fmt.Errorf("%w, not %q", ErrChannel, s)
}

// first makes the first transaction of a Do. Behind a mux, if it fails and the mux turns out to have lost its channel, the
// chip has not heard it: it is made once more. Later ones are not, as what went before them may be lost, too.
func (l *line) first(at claim, w, r []byte) error {
	err := l.next(at, w, r)
	if err == nil || at.via == (channel{}) || hopeless(err) || errors.Is(err, ErrMux) {
		return err
	}
	var mask [1]byte
	if l.tx(at.via.mux, nil, mask[:]) == nil && mask[0] == at.via.mask() {
		return err // it is the chip that failed
	}
	return l.next(at, w, r)
}

// next makes a transaction, on the right channel.
func (l *line) next(at claim, w, r []byte) error {
	if at.via != (channel{}) {
		if err := l.choose(at.via); err != nil {
			return err
		}
	}
	err := l.tx(at.addr, w, r)
	if err == nil && zeros(r) {
		err = l.look()
	}
	if err == nil || hopeless(err) {
		return err
	}
	return fmt.Errorf("bus: %s: %w", at.place(), err)
}

// choose opens a channel, having shut those of all other muxes. A chip that holds its segment low takes the whole bus with
// it while its channel is open, and then the mux hears nothing either: its RESET pin, if wired, is the only way out.
func (l *line) choose(c channel) error {
	for _, mux := range l.muxes {
		if mux == c.mux || l.known(mux, 0) {
			continue
		}
		err := l.set(mux, 0)
		if err != nil && !hopeless(err) {
			err = l.set(mux, 0)
		}
		// One that isn't there holds no channel open, and must not take the others with it.
		if err != nil && !isNACK(err) {
			return err
		}
	}
	if l.known(c.mux, c.mask()) {
		return nil
	}
	err := l.set(c.mux, c.mask())
	if err != nil && !hopeless(err) {
		err = l.set(c.mux, c.mask())
	}
	return err
}

func (l *line) known(mux uint16, mask byte) bool {
	m, ok := l.masks[mux]
	return ok && m == mask
}

// set writes a mux's only register, and reads it back: there is no register pointer, a byte written is the mask of open
// channels, a byte read is that mask again (NXP PCA9548A, 7.2).
func (l *line) set(mux uint16, mask byte) error {
	delete(l.masks, mux)
	err := l.tx(mux, []byte{mask}, nil)
	var got [1]byte
	if err == nil {
		err = l.tx(mux, nil, got[:])
	}
	switch {
	case err == nil && got[0] == mask:
		l.masks[mux] = mask
		return nil
	case err == nil:
		clear(l.masks)
		if err := l.look(); err != nil {
			return err
		}
		return fmt.Errorf("%w: %#02x on %s reads %08b, not %08b", ErrMux, mux, l.port, got[0], mask)
	case hopeless(err):
		return err
	}
	return fmt.Errorf("%w: %#02x on %s: %w", ErrMux, mux, l.port, err)
}
