// Package hotplug knows which instruments are plugged into the cart now.
//
// Parties: the kernel, which describes each in sysfs and tells of comings and goings on a netlink socket; drivers, which Find
// their node at every run; the agent, which Watches for new ones.
//
// Keys: a port is a node's path, "usb:" and a serial number, or "usb-port:" and a socket ("1-1.2": bus 1, port 1, port 2 of
// the hub there). Node numbers change when things are plugged in again; the other two don't, not after a hub's reset or a
// reboot either. A USB 3 device that falls back to USB 2 is on another bus, and so its socket has another name.
//
// Invariants: of two devices that fit nobody guesses: it is ErrAmbiguous, in words that tell them apart. Nothing here opens a
// node or sends anything to a device. Watch never loses a change: what the kernel could not deliver is made up for by looking.
package hotplug

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"telecart/device"
)

// Machine is where to look; its zero value is this one. Tests have a Root with a "sys" and a "dev" of their own.
type Machine struct {
	Root string
}

// classes that instruments are found in, as sysfs names them.
const (
	video  = "video4linux"
	tty    = "tty"
	hidraw = "hidraw"
	input  = "input"
	sound  = "sound"
)

func classes() []string { return []string{video, tty, hidraw, input, sound} }

var (
	cardForm = regexp.MustCompile(`^card([0-9]+)$`)
	pcmForm  = regexp.MustCompile(`^pcmC[0-9]+D([0-9]+)c$`) // c captures, p plays
)

// Scan lists the nodes of what is plugged in, of the classes given or of all, those of a device in the kernel's order. A sound
// card is one node, and none if it can't capture.
func Scan(of ...string) ([]device.Node, error) { return Machine{}.Scan(of...) }

// Scan is as the function.
func (m Machine) Scan(of ...string) ([]device.Node, error) {
	if len(of) == 0 {
		of = classes()
	}
	var all []device.Node
	for _, class := range of {
		if !slices.Contains(classes(), class) {
			return nil, fmt.Errorf("hotplug: no class %q: there are %s", class, strings.Join(classes(), ", "))
		}
		nodes, err := m.scan(class)
		if err != nil {
			return nil, err
		}
		all = append(all, nodes...)
	}
	return all, nil
}

// found is a node and its place among its device's.
type found struct {
	device.Node
	index int
}

func (m Machine) scan(class string) ([]device.Node, error) {
	dir := m.Root + "/sys/class/" + class
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("hotplug: %w", err)
	}
	var list []found
	for _, e := range entries {
		entry := dir + "/" + e.Name()
		sys, err := filepath.EvalSymlinks(entry)
		if err != nil {
			continue // it went this moment
		}
		f := found{Node: device.Node{Class: class, Sys: sys}}
		if !m.describe(&f, e.Name()) {
			continue
		}
		m.usb(&f.Node)
		if _, err := os.Lstat(entry); err == nil { // or what was read is half of it
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.index, b.index),
			cmp.Compare(a.Path, b.Path))
	})
	nodes := make([]device.Node, len(list))
	for i, f := range list {
		nodes[i] = f.Node
	}
	return nodes, nil
}

// describe says which node it is, or false if it is none that an instrument can be behind.
func (m Machine) describe(f *found, name string) bool {
	f.Path, f.index = "/dev/"+name, trailing(name)
	switch f.Class {
	case video:
		f.Name = attribute(f.Sys + "/name")
		f.index, _ = strconv.Atoi(attribute(f.Sys + "/index"))
		return strings.HasPrefix(name, "video") // not radio0, vbi0, v4l-subdev0
	case tty:
		// A console or ptmx has no device; a PC's ttyS without a chip has type 0, PORT_UNKNOWN (linux/serial.h).
		_, err := os.Stat(f.Sys + "/device")
		return err == nil && attribute(f.Sys+"/type") != "0"
	case input:
		f.Path = "/dev/input/" + name
		f.Name = attribute(f.Sys + "/device/name")
		return strings.HasPrefix(name, "event")
	case sound:
		return card(f, name)
	}
	return true
}

// card is a sound card that can capture: through its first converter.
func card(f *found, name string) bool {
	number := cardForm.FindStringSubmatch(name)
	entries, err := os.ReadDir(f.Sys)
	if number == nil || err != nil {
		return false
	}
	first := -1
	for _, e := range entries {
		if pcm := pcmForm.FindStringSubmatch(e.Name()); pcm != nil {
			if n, err := strconv.Atoi(pcm[1]); err == nil && (first < 0 || n < first) {
				first = n
			}
		}
	}
	f.Path = fmt.Sprintf("hw:%s,%d", number[1], first)
	f.Name = attribute(f.Sys + "/id")
	return first >= 0
}

// usb fills in what the USB device that the node belongs to says of itself: the nearest one above it.
func (m Machine) usb(n *device.Node) {
	top, err := filepath.EvalSymlinks(m.Root + "/sys")
	if err != nil {
		return
	}
	for dir := n.Sys; strings.HasPrefix(dir, top+"/"); dir = filepath.Dir(dir) {
		if s := attribute(dir + "/bInterfaceNumber"); s != "" {
			v, _ := strconv.ParseUint(s, 16, 8)
			n.Interface = int(v)
		}
		vendor := attribute(dir + "/idVendor")
		if vendor == "" {
			continue
		}
		v, _ := strconv.ParseUint(vendor, 16, 16)
		p, _ := strconv.ParseUint(attribute(dir+"/idProduct"), 16, 16)
		n.Vendor, n.Product, n.Port = uint16(v), uint16(p), filepath.Base(dir)
		n.Serial = attribute(dir + "/serial")
		n.Name = cmp.Or(attribute(dir+"/product"), n.Name)
		return
	}
}

// attribute is a sysfs file as text.
func attribute(path string) string {
	b, _ := os.ReadFile(path)
	return clean(string(b))
}

// clean makes text that can be shown and typed of what a maker put into a chip.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "")))
}

// trailing is the number that a node's name ends in.
func trailing(name string) int {
	n, _ := strconv.Atoi(name[len(strings.TrimRight(name, "0123456789")):])
	return n
}
