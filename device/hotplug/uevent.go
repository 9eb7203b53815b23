package hotplug

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// errMessage: not a message of the kernel's, nor of udevd's.
var errMessage = errors.New("hotplug: malformed uevent")

// The header that udevd puts before its properties: its name, then a struct of eight words (systemd, device-monitor.c). The
// magic number alone is in network order, for socket filters; the rest in the machine's.
const (
	udevName  = "libudev\x00"
	udevMagic = 0xFEEDCAFE
	udevLeast = 24 // up to and with the length of the properties; what follows is for filters
)

// event is what is used of a uevent.
type event struct {
	Action    string // add, remove, change, bind, ...
	Path      string // in sysfs, without /sys
	Subsystem string
	Udev      bool // told by udevd, after permissions and links are set
}

// parse reads one datagram: text from the kernel (linux lib/kobject_uevent.c), "add@/devices/..." and then KEY=VALUE, each
// ended by a zero byte; or udevd's binary header and the same properties.
func parse(b []byte) (event, error) {
	if bytes.HasPrefix(b, []byte(udevName)) {
		return parseUdev(b)
	}
	head, rest, ended := strings.Cut(string(b), "\x00")
	action, path, split := strings.Cut(head, "@")
	e, err := properties(rest)
	if err != nil || !ended || !split || action != e.Action || path != e.Path {
		return event{}, errMessage
	}
	return e, nil
}

func parseUdev(b []byte) (event, error) {
	if len(b) < udevLeast || binary.BigEndian.Uint32(b[8:]) != udevMagic {
		return event{}, errMessage
	}
	at, n := uint64(binary.NativeEndian.Uint32(b[16:])), uint64(binary.NativeEndian.Uint32(b[20:]))
	if at < udevLeast || at+n > uint64(len(b)) {
		return event{}, errMessage
	}
	e, err := properties(string(b[at : at+n]))
	if err != nil {
		return event{}, err
	}
	e.Udev = true
	return e, nil
}

// properties picks out of KEY=VALUE lines; action and path must be among them.
func properties(text string) (event, error) {
	var e event
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\x00")
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "ACTION":
			e.Action = value
		case "DEVPATH":
			e.Path = value
		case "SUBSYSTEM":
			e.Subsystem = value
		}
	}
	if e.Action == "" || !strings.HasPrefix(e.Path, "/") {
		return event{}, errMessage
	}
	return e, nil
}
