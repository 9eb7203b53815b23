package evdev

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	codes "github.com/holoplot/go-evdev"
)

// Keys that this package's users need by name; all others are in linux/input-event-codes.h.
const (
	KeyCamera uint16 = codes.KEY_CAMERA // the button of a UVC camera (uvc_status.c)
	MaxKey    uint16 = codes.KEY_MAX
)

// bounce is how long a contact may chatter after it moved.
const bounce = 30 * time.Millisecond

// Debouncer tells presses of a button from the chatter of its contact. Its zero value takes any key but those that only
// change the meaning of others; with Key it takes that one.
type Debouncer struct {
	Key  uint16
	last time.Duration
	seen bool
}

// Press takes the next event, and says whether it is a press. A press counts at once; what follows within 30 ms of any
// movement, up or down, is chatter, or the other keys of a pedal that sends several together.
func (d *Debouncer) Press(e Event) bool {
	if !e.Down() && !e.Up() || d.Key != 0 && e.Code != d.Key || d.Key == 0 && modifies(e.Code) {
		return false
	}
	quiet := !d.seen || e.At-d.last >= bounce || e.At < d.last
	d.last, d.seen = e.At, true
	return e.Down() && quiet
}

func modifies(code uint16) bool {
	return slices.Contains([]uint16{codes.KEY_LEFTSHIFT, codes.KEY_RIGHTSHIFT, codes.KEY_LEFTCTRL, codes.KEY_RIGHTCTRL,
		codes.KEY_LEFTALT, codes.KEY_RIGHTALT, codes.KEY_LEFTMETA, codes.KEY_RIGHTMETA, codes.KEY_CAPSLOCK, codes.KEY_NUMLOCK,
		codes.KEY_SCROLLLOCK, codes.KEY_FN}, code)
}

// Presses calls press at every press of a key of a node, until ctx ends or the node is gone; it returns why. It grabs
// nothing: it is for the button on an instrument that somebody else drives, a camera's snapshot button.
func Presses(ctx context.Context, path string, key uint16, press func()) error {
	n, err := Open(path)
	if err != nil {
		return err
	}
	return n.presses(ctx, key, press)
}

func (n *Node) presses(ctx context.Context, key uint16, press func()) error {
	defer n.Close()
	if !n.Has(key) {
		return fmt.Errorf("evdev: %s has no key %d", n.path, key)
	}
	d := Debouncer{Key: key}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-n.Events():
			if !ok {
				return n.Err()
			}
			if d.Press(e) {
				press()
			}
		}
	}
}

// CameraButton is the node of the snapshot button of a camera, whose folder in sysfs is given (device.Node.Sys of its
// video4linux node); "" if it has none. The kernel hangs both under the camera's USB interface (uvc_status.c). The
// kernel hears the button only while somebody has the camera open.
func CameraButton(sys string) string {
	found, err := filepath.Glob(filepath.Join(sys, "device", "input", "input*", "event*"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return "/dev/input/" + filepath.Base(found[0])
}
