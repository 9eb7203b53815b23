package hotplug

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"telecart/device"
)

// What a port can be refused for.
var (
	ErrPort      = errors.New("hotplug: not a port")
	ErrAbsent    = errors.New("hotplug: not plugged in")
	ErrAmbiguous = errors.New("hotplug: more than one fits")
)

// maxSerial is the longest serial number that a USB string descriptor holds (USB 2.0, 9.6.7).
const maxSerial = 126

// A socket is named as the kernel names it: bus, then the port of every hub on the way. An adapter with several sockets of
// its own has an interface for each: ":configuration.interface".
var (
	socketForm = regexp.MustCompile(`^([1-9][0-9]{0,3}-[1-9][0-9]{0,2}(?:\.[1-9][0-9]{0,2}){0,6})(?::1\.([0-9]{1,3}))?$`)
	soundForm  = regexp.MustCompile(`^hw:[0-9]{1,3},[0-9]{1,3}$`)
)

// CheckPort says what is wrong with a port as it stands in the settings: a node's path ("/dev/ttyUSB0"; "hw:1,0" for sound),
// "usb:" and a serial number, "usb-port:" and a socket, or "twin". It does not look whether anything is there.
func CheckPort(port string) error {
	serial, bySerial := strings.CutPrefix(port, "usb:")
	socket, bySocket := strings.CutPrefix(port, "usb-port:")
	switch {
	case port == "twin", soundForm.MatchString(port):
	case bySerial && serial != "" && len(serial) <= maxSerial && clean(serial) == serial:
	case bySocket && socketForm.MatchString(socket):
	case filepath.IsAbs(port) && filepath.Clean(port) == port && port != "/":
	case bySocket:
		return fmt.Errorf("%w: %q: name a USB socket as the kernel does, usb-port:1-1.2, or usb-port:1-1.2:1.0 for one interface",
			ErrPort, port)
	default:
		return fmt.Errorf("%w: %q: give a node like /dev/ttyUSB0, usb:SERIAL, usb-port:1-1.2, or twin", ErrPort, port)
	}
	return nil
}

// Find gives the node of a class that is at a port now: of a device with several, its first, except that a serial adapter with
// several sockets must be named by socket and interface. Errors wrap ErrPort, ErrAbsent or ErrAmbiguous.
func Find(class, port string) (device.Node, error) { return Machine{}.Find(class, port) }

// All is Find for whoever needs every node of that device: a camera's picture (first), then its metadata.
func All(class, port string) ([]device.Node, error) { return Machine{}.All(class, port) }

// Find is as the function.
func (m Machine) Find(class, port string) (device.Node, error) {
	nodes, err := m.All(class, port)
	switch {
	case err != nil:
		return device.Node{}, err
	case selector(port) == nil:
		path, err := m.follow(class, port)
		i := slices.IndexFunc(nodes, func(n device.Node) bool { return n.Path == path })
		if err != nil || i < 0 { // it went this moment
			return device.Node{}, errors.Join(absent(class, port), err)
		}
		return nodes[i], nil
	case class == tty && nodes[len(nodes)-1].Interface != nodes[0].Interface:
		return device.Node{}, fmt.Errorf("%w: %s has %d serial ports: name one by its interface, like usb-port:%s:1.%d",
			ErrAmbiguous, port, len(nodes), nodes[0].Port, nodes[0].Interface)
	}
	return nodes[0], nil
}

// All is as the function.
func (m Machine) All(class, port string) ([]device.Node, error) {
	if err := CheckPort(port); err != nil {
		return nil, err
	}
	if port == "twin" {
		return nil, fmt.Errorf("%w: a twin has no node", ErrPort)
	}
	nodes, err := m.Scan(class)
	if err != nil {
		return nil, err
	}
	fits := selector(port)
	if fits == nil {
		return m.beside(class, port, nodes)
	}
	nodes = slices.DeleteFunc(nodes, func(n device.Node) bool { return !fits(n) })
	var sockets []string
	for _, n := range nodes {
		if at := "usb-port:" + n.Port; !slices.Contains(sockets, at) {
			sockets = append(sockets, at)
		}
	}
	switch len(sockets) {
	case 0:
		return nil, absent(class, port)
	case 1:
		return nodes, nil
	}
	return nil, fmt.Errorf("%w: %s all have the serial number of %s: name one by its socket",
		ErrAmbiguous, strings.Join(sockets, " and "), port)
}

// selector says which nodes are at a port that isn't a path; nil if it is one.
func selector(port string) func(device.Node) bool {
	if serial, ok := strings.CutPrefix(port, "usb:"); ok {
		return func(n device.Node) bool { return n.Serial == serial }
	}
	socket, ok := strings.CutPrefix(port, "usb-port:")
	if !ok {
		return nil
	}
	at := socketForm.FindStringSubmatch(socket)
	return func(n device.Node) bool {
		return n.Port != "" && n.Port == at[1] && (at[2] == "" || at[2] == fmt.Sprint(n.Interface))
	}
}

// beside gives the nodes of the device that a path leads to. Of a node that sysfs has no word of (a pseudo-terminal) the path
// is all that is known.
func (m Machine) beside(class, port string, nodes []device.Node) ([]device.Node, error) {
	path, err := m.follow(class, port)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(nodes, func(n device.Node) bool { return n.Path == path })
	switch {
	case i < 0 && class == sound:
		return nil, absent(class, port)
	case i < 0:
		return []device.Node{{Class: class, Path: path}}, nil
	case nodes[i].Port == "":
		return nodes[i : i+1], nil
	}
	socket := nodes[i].Port
	return slices.DeleteFunc(nodes, func(n device.Node) bool { return n.Port != socket }), nil
}

// follow resolves links like those in /dev/serial/by-id.
func (m Machine) follow(class, port string) (string, error) {
	if !filepath.IsAbs(port) {
		return port, nil // hw:1,0
	}
	real, err := filepath.EvalSymlinks(m.Root + port)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", absent(class, port)
	case err != nil:
		return "", fmt.Errorf("hotplug: %w", err)
	}
	return strings.TrimPrefix(real, m.Root), nil
}

func absent(class, port string) error {
	return fmt.Errorf("%w: no %s at %s", ErrAbsent, words(class), port)
}

func words(class string) string {
	switch class {
	case video:
		return "camera"
	case tty:
		return "serial port"
	case sound:
		return "microphone"
	}
	return class + " device"
}

// Name is the port by which the settings should know a node: its USB serial number if no other device in the list has the same,
// else its socket, else its path. It stays the same after any replug. Of an adapter with several serial ports it names the
// interface.
func Name(n device.Node, present []device.Node) string {
	shared := func(o device.Node) bool { return o.Serial == n.Serial && o.Port != n.Port }
	beside := func(o device.Node) bool {
		return n.Class == tty && o.Class == tty && o.Port == n.Port && o.Interface != n.Interface
	}
	switch {
	case n.Port == "":
		return n.Path
	case slices.ContainsFunc(present, beside):
		return fmt.Sprintf("usb-port:%s:1.%d", n.Port, n.Interface)
	case n.Serial != "" && !slices.ContainsFunc(present, shared) && CheckPort("usb:"+n.Serial) == nil:
		return "usb:" + n.Serial
	}
	return "usb-port:" + n.Port
}
