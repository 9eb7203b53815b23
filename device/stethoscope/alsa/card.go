package alsa

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"
)

const maxElements = 1024 // of a mixer; a microphone has three

// AsItIs leaves the gain where it is.
const AsItIs = -1

// Card is a sound card's control interface. It stays open all the time: it turns no microphone on.
type Card struct {
	Name string // what the driver calls the card
	n    node
}

// OpenCard opens the control interface of a card.
func OpenCard(card int) (*Card, error) {
	n, err := openNode(fmt.Sprintf("/dev/snd/controlC%d", card))
	if err != nil {
		return nil, err
	}
	return openCard(n)
}

func openCard(n node) (*Card, error) {
	c := &Card{n: n}
	info, err := c.info()
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	c.Name = text(info.Name[:])
	return c, nil
}

// Alive asks whether the card is there; ErrUnplugged if it is not.
func (c *Card) Alive() error {
	_, err := c.info()
	return err
}

func (c *Card) info() (i cardInfo, err error) {
	return i, failed("ask the card's name", c.n.ioctl(reqCard, unsafe.Pointer(&i)))
}

// Close lets go of the card.
func (c *Card) Close() error { return c.n.Close() }

// Fix makes the gain a fixed one: automatic gain off, the microphone switched on, and the capture volume at a place in its range,
// in percent, unless gain is AsItIs. What the card does not have is no error, except a gain that was asked for.
func (c *Card) Fix(gain int) error {
	elements, err := c.elements()
	if err != nil {
		return err
	}
	automatic := []string{"Auto Gain", "Automatic Gain", "AGC"} // the first is snd-usb-audio's (sound/usb/mixer.c)
	var switches, volumes []elemInfo
	for _, e := range elements {
		switch name := text(e.ID.Name[:]); {
		case e.Access&elemWritable == 0:
		case e.Type == elemBoolean && slices.ContainsFunc(automatic, func(s string) bool { return strings.Contains(name, s) }):
			if err := errors.Join(c.set(e, 0), c.is(e, 0)); err != nil {
				return fmt.Errorf("%w: %w", ErrGain, err)
			}
		case e.Type == elemBoolean && strings.HasSuffix(name, "Capture Switch"):
			switches = append(switches, e)
		case e.Type == elemInteger && strings.HasSuffix(name, "Capture Volume"):
			volumes = append(volumes, e)
		}
	}
	if len(switches) == 1 { // of several nobody knows which one is the chest piece
		if err := c.set(switches[0], 1); err != nil {
			return err
		}
	}
	switch {
	case gain == AsItIs:
		return nil
	case len(volumes) != 1:
		return fmt.Errorf("alsa: the card has %d capture volumes: no gain can be set; remove the option", len(volumes))
	}
	v := volumes[0]
	return c.set(v, v.Min+(v.Max-v.Min)*int64(gain)/100)
}

// elements describes all of the mixer.
func (c *Card) elements() (all []elemInfo, err error) {
	var list elemList
	if err := c.n.ioctl(reqElemList, unsafe.Pointer(&list)); err != nil {
		return nil, failed("list the mixer", err)
	}
	ids := make([]elemID, min(list.Count, maxElements))
	if len(ids) == 0 {
		return nil, nil
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&ids[0])
	list = elemList{Space: uint32(len(ids)), IDs: unsafe.Pointer(&ids[0])}
	if err := c.n.ioctl(reqElemList, unsafe.Pointer(&list)); err != nil {
		return nil, failed("list the mixer", err)
	}
	for _, id := range ids[:min(int(list.Used), len(ids))] {
		e := elemInfo{ID: id}
		if err := c.n.ioctl(reqElemInfo, unsafe.Pointer(&e)); err != nil {
			return nil, failed("ask about "+text(id.Name[:]), err)
		}
		all = append(all, e)
	}
	return all, nil
}

// set sets all channels of an element. A volume takes the nearest place that the hardware has.
func (c *Card) set(e elemInfo, value int64) error {
	v := elemValue{ID: e.ID}
	for i := range e.values() {
		v.Values[i] = value
	}
	return failed(fmt.Sprintf("set %s to %d", text(e.ID.Name[:]), value), c.n.ioctl(reqElemWrite, unsafe.Pointer(&v)))
}

// is looks whether all channels of an element have a value.
func (c *Card) is(e elemInfo, value int64) error {
	v := elemValue{ID: e.ID}
	if err := c.n.ioctl(reqElemRead, unsafe.Pointer(&v)); err != nil {
		return failed("read "+text(e.ID.Name[:]), err)
	}
	for i := range e.values() {
		if v.Values[i] != value {
			return fmt.Errorf("alsa: %s was set to %d and is %d", text(e.ID.Name[:]), value, v.Values[i])
		}
	}
	return nil
}

// values is how many an element has.
func (e elemInfo) values() int { return min(int(e.Count), len(elemValue{}.Values)) }
