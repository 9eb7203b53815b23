// Package evdev is the kernel's input event nodes, /dev/input/eventN: keys that go down and up.
//
// Parties: drivers of what acts as a keyboard (a scanner, a pedal) or has a button (a camera), which open a Node; the
// kernel's input layer behind it. Twin is such a node simulated at the level of its bytes.
//
// Invariants: a node is grabbed at a moment when none of its keys is down, so that nothing which others saw go down stays
// down for them. Events that the kernel had to drop are told (Event.Lost), never passed over. What was typed is not logged.
//
// github.com/holoplot/go-evdev names the keys. Its InputDevice is not used: it gives errors as text, where a node that is
// gone must be told from one that is busy, and a read of it can't be ended without closing the node under the reader.
//
// Sources: linux/input.h, linux/input-event-codes.h; drivers/input/evdev.c for what a grab does.
package evdev

import (
	"encoding/binary"
	"time"

	codes "github.com/holoplot/go-evdev"
)

// eventLen is sizeof(struct input_event) on a 64-bit kernel: two 8-byte times, type, code, value.
const eventLen = 24

// Event is something that happened on a node.
type Event struct {
	At    time.Duration // by the kernel's monotonic clock; only differences mean something
	Type  uint16
	Code  uint16
	Value int32
}

// Down says that a key went down; that it repeats is no news.
func (e Event) Down() bool { return e.Type == codes.EV_KEY && e.Value == 1 }

// Up says that a key was let go.
func (e Event) Up() bool { return e.Type == codes.EV_KEY && e.Value == 0 }

// Lost says that the kernel dropped events before this one: its buffer was full (SYN_DROPPED).
func (e Event) Lost() bool { return e.Type == codes.EV_SYN && e.Code == codes.SYN_DROPPED }

// Append writes the event as the kernel would.
func (e Event) Append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint64(b, uint64(e.At/time.Second))
	b = binary.NativeEndian.AppendUint64(b, uint64(e.At%time.Second/time.Microsecond))
	b = binary.NativeEndian.AppendUint16(b, e.Type)
	b = binary.NativeEndian.AppendUint16(b, e.Code)
	return binary.NativeEndian.AppendUint32(b, uint32(e.Value))
}

// Decoder takes the bytes of a node apart, however they were cut.
type Decoder struct{ part []byte }

// Write takes bytes and returns the events that are whole now.
func (d *Decoder) Write(b []byte) []Event {
	d.part = append(d.part, b...)
	var events []Event
	rest := d.part
	for ; len(rest) >= eventLen; rest = rest[eventLen:] {
		events = append(events, decode(rest))
	}
	d.part = append(d.part[:0], rest...)
	return events
}

func decode(b []byte) Event {
	// A time beyond what a Duration holds is nonsense, and stays what it is: no kernel has been up for 292 years.
	sec, usec := binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:])
	return Event{
		At:    time.Duration(sec)*time.Second + time.Duration(usec)*time.Microsecond,
		Type:  binary.NativeEndian.Uint16(b[16:]),
		Code:  binary.NativeEndian.Uint16(b[18:]),
		Value: int32(binary.NativeEndian.Uint32(b[20:])),
	}
}
