package scale

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"telecart/device"
	"telecart/device/hotplug"
)

// Reasons why the node can't be used.
const (
	NoPermission device.Reason = "no-permission" // it is not ours to open
	SameSerial   device.Reason = "same-serial"   // there are two: each must be named by its socket
)

// Errors of Run.
var (
	ErrGone     = errors.New("scale: it is gone")
	ErrNotScale = errors.New("scale: not a scale")
)

const (
	queued  = 16  // reports
	maxRead = 256 // bytes of a report; the one that matters has six
)

// node is an open hidraw node of a scale. Between start and stop it is read.
type node struct {
	path          string
	file          io.ReadCloser
	layout        layout
	model, serial string

	reports chan []byte
	closing chan struct{}
	ended   chan struct{}
	err     error // why reading ended, once reports is closed
}

// openPort opens the scale at a port of the settings.
func openPort(port string) (*node, error) {
	found, err := find(port)
	if errors.Is(err, hotplug.ErrAmbiguous) {
		err = device.Fault{Health: device.Health{State: device.Faulty, Reason: SameSerial}, Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("scale: %w", err)
	}
	n, err := openNode(found.Path)
	if err != nil {
		return nil, err
	}
	if n.serial == "" {
		n.serial = found.Serial
	}
	return n, nil
}

// find takes a path at its word. A USB device may have several HID interfaces: the one that is a scale's is meant.
func find(port string) (device.Node, error) {
	if filepath.IsAbs(port) {
		return hotplug.Find("hidraw", port)
	}
	nodes, err := hotplug.All("hidraw", port)
	if err != nil {
		return device.Node{}, err
	}
	for _, n := range nodes {
		if adopts(n) {
			return n, nil
		}
	}
	return nodes[0], nil // openNode says what is wrong with it
}

func openNode(path string) (*node, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		err = fmt.Errorf("scale: open %s: %w", path, err)
		if errors.Is(err, fs.ErrPermission) {
			return nil, device.Fault{Health: device.Health{State: device.Faulty, Reason: NoPermission}, Err: err}
		}
		return nil, err
	}
	n := &node{path: path, file: f}
	if err := n.describe(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return n, nil
}

// describe asks the node what it is. The calls leave the file in the runtime's poller, from which os.File.Fd could take it.
func (n *node) describe(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("scale: %s: %w", n.path, err)
	}
	var desc unix.HIDRawReportDescriptor
	var failed error
	err = conn.Control(func(fd uintptr) {
		if desc.Size, failed = descriptorSize(int(fd)); failed != nil {
			return
		}
		if failed = unix.IoctlHIDGetDesc(int(fd), &desc); failed != nil {
			return
		}
		n.model, _ = unix.IoctlHIDGetRawName(int(fd)) // a name and a number are welcome, not needed
		n.serial, _ = unix.IoctlHIDGetRawUniq(int(fd))
	})
	n.model, n.serial = clean(n.model), clean(n.serial)
	switch err := errors.Join(err, failed); {
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: %s is no hidraw node", ErrNotScale, n.path)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: %s", ErrGone, n.path)
	case err != nil:
		return fmt.Errorf("scale: %s: %w", n.path, err)
	}
	return n.understand(desc.Value[:min(desc.Size, maxDescriptor)])
}

func descriptorSize(fd int) (uint32, error) {
	size, err := unix.IoctlGetInt(fd, unix.HIDIOCGRDESCSIZE)
	if err == nil && (size < 0 || size > maxDescriptor) {
		err = fmt.Errorf("a report descriptor of %d bytes", size)
	}
	return uint32(size), err
}

// understand takes the report descriptor, and refuses what isn't a scale whose reports are known.
func (n *node) understand(descriptor []byte) error {
	l, err := parseDescriptor(descriptor)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrNotScale, n.path, err)
	case !l.scale:
		return fmt.Errorf("%w: %s is another HID device (its usage page is not 0x8D)", ErrNotScale, n.path)
	case l.bits != dataBits:
		return device.Fault{Health: device.Health{State: device.Faulty, Reason: UnknownFormat},
			Err: fmt.Errorf("%w: that of %s has %d bits; only those of %d are known", errReport, n.path, l.bits, dataBits)}
	}
	n.layout = l
	return nil
}

// start begins to read: one report at a time, as hidraw gives them.
func (n *node) start() <-chan []byte {
	n.reports, n.closing, n.ended = make(chan []byte, queued), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(n.ended)
		defer close(n.reports)
		for {
			b := make([]byte, maxRead)
			k, err := n.file.Read(b)
			if err != nil {
				n.err = fmt.Errorf("%w: %s: %w", ErrGone, n.path, err)
				return
			}
			select {
			case n.reports <- b[:k]:
			case <-n.closing:
				return
			}
		}
	}()
	return n.reports
}

func (n *node) stop() error {
	close(n.closing)
	err := n.file.Close()
	<-n.ended
	if err != nil {
		return fmt.Errorf("scale: close %s: %w", n.path, err)
	}
	return nil
}

// clean makes a device's own words fit to be shown.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "")))
}

// adopts says whether a node is surely a scale, going by its folder in sysfs alone.
func adopts(n device.Node) bool {
	if n.Class != "hidraw" {
		return false
	}
	b, err := os.ReadFile(n.Sys + "/device/report_descriptor")
	if err != nil {
		return false
	}
	l, err := parseDescriptor(b)
	return err == nil && l.scale && l.bits == dataBits
}
