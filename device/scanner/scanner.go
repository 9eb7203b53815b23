// Package scanner is a barcode scanner: on a serial port (USB-CDC), or one that acts as a keyboard.
//
// Parties: the scanner, which sends what it read and is told nothing; the supervisor, which runs the instrument; the
// outlet it was made with, which gets each code as a device.Input. Twins are a scanner behind a real pseudo-terminal,
// and one simulated at the level of its input events.
//
// Invariants: a code is handed on whole or not at all: half a number must not pass for another patient's. What is
// dropped is counted, and the health says so until a code comes whole. What was scanned is never logged, and in no
// error. A keyboard is kept from everybody else while it is ours, and is ours by itself only if the maker makes scanners
// and nothing else (adopt.go).
package scanner

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

// Health reasons, besides those of package evdev.
const (
	Settling   device.Reason = "settling"    // waiting for silence: what is under way already is half a code
	BrokenScan device.Reason = "broken-scan" // live, but the last code came with a hole, too long, or without an end
)

// The two ways of a scanner.
const (
	serialMode   = "serial"
	keyboardMode = "keyboard"
)

// Driver is this package's line in the table. Port is a serial port ("/dev/ttyACM0"), an input node
// ("/dev/input/event3"), usb:SERIAL, usb-port:1-1.2 or twin. Options: mode, serial or keyboard, for where the port does
// not say it (default: serial if the scanner has a serial port); baud, of a serial port, default 9600.
func Driver() device.Driver {
	return device.Driver{Name: "scanner", Kind: device.KindScanner, New: open, Adopts: adopts}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	sc := &scanner{
		id:    device.Identity{Name: s.Name, Kind: device.KindScanner, Driver: "scanner", Port: s.Port, Twin: s.Twin()},
		baud:  9600,
		clock: s.Clock, stamp: s.Stamp, out: out,
	}
	if s.Address != 0 || s.Mux != "" {
		return nil, errors.New("scanner: it has no address and no mux; remove them")
	}
	if err := hotplug.CheckPort(s.Port); err != nil {
		return nil, fmt.Errorf("scanner: %w", err)
	}
	for name := range s.Options {
		if name != "mode" && name != "baud" {
			return nil, fmt.Errorf("scanner: unknown option %q: there are mode and baud", name)
		}
	}
	var err error
	if sc.mode, err = parseMode(s.Port, s.Options["mode"]); err != nil {
		return nil, err
	}
	if baud, given := s.Options["baud"]; given {
		if sc.baud, err = parseBaud(baud); err != nil {
			return nil, err
		}
		if sc.mode == keyboardMode {
			return nil, errors.New("scanner: a keyboard has no baud rate; remove the option baud, or use the scanner's serial port")
		}
	}
	return sc, nil
}

// parseMode says which way a port is, "" if that is seen when it is plugged in.
func parseMode(port, given string) (string, error) {
	if given != "" && given != serialMode && given != keyboardMode {
		return "", fmt.Errorf("scanner: mode = %q: give serial or keyboard", given)
	}
	by := ""
	switch {
	case strings.HasPrefix(port, "/dev/input/"):
		by = keyboardMode
	case filepath.IsAbs(port):
		by = serialMode
	case port == "twin" && given == "":
		return serialMode, nil
	}
	if by != "" && given != "" && given != by {
		return "", fmt.Errorf("scanner: mode = %q, but %s is a %s: change one of them", given, port, by)
	}
	if by == "" {
		by = given
	}
	return by, nil
}

func parseBaud(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if rates := []int{1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200}; err != nil || !slices.Contains(rates, n) {
		return 0, fmt.Errorf("scanner: baud = %q: give one of %v", s, rates)
	}
	return n, nil
}

type scanner struct {
	id    device.Identity
	mode  string // "" until it is seen
	baud  int
	clock kit.Clock
	stamp *kit.Stamper
	out   device.Outlet
	hands hands // on the twin, while it runs

	scans, broken atomic.Uint64
}

// hands are what a person does with a twin.
type hands interface {
	Scan(text string)
	Unplug()
}

// Counters implements device.Counted.
func (s *scanner) Counters() map[string]uint64 {
	return map[string]uint64{"scans": s.scans.Load(), "broken_scans": s.broken.Load()}
}

// Run opens the port and hands on every code that comes whole.
func (s *scanner) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case s.id.Twin && s.mode == keyboardMode:
		return s.runKeyboardTwin(ctx)
	case s.id.Twin:
		return s.runSerialTwin(ctx)
	case s.mode == keyboardMode:
		return s.runKeyboard(ctx)
	case s.mode == serialMode:
		return s.runSerial(ctx)
	}
	if _, err := hotplug.Find("tty", s.id.Port); errors.Is(err, hotplug.ErrAbsent) {
		return s.runKeyboard(ctx)
	}
	return s.runSerial(ctx)
}

// reporter tells of codes as they come.
type reporter struct {
	*scanner
	id   device.Identity
	line line
	said device.Health
}

func (s *scanner) report(model, serial string, l line) *reporter {
	r := &reporter{scanner: s, id: s.id, line: l}
	r.id.Model, r.id.Serial = model, serial
	s.out.Observe(device.About{Model: model, Serial: serial})
	r.health(device.Health{State: device.Settling, Reason: Settling})
	return r
}

func (r *reporter) health(h device.Health) {
	if h != r.said {
		r.said = h
		r.out.Observe(h)
	}
}

// heard is called after the line has changed: with a code if one has come to its end.
func (r *reporter) heard(text string, whole bool) {
	if n := r.line.takeLost(); n > 0 {
		r.broken.Add(n)
		r.health(device.Health{State: device.Live, Reason: BrokenScan})
	}
	if !whole {
		return
	}
	symbology, text := splitAIM(text)
	if text == "" {
		return
	}
	r.scans.Add(1)
	r.health(device.Health{State: device.Live})
	r.out.Observe(device.Input{Act: device.Scanned, Text: text, Symbology: symbology, Instrument: r.id, At: r.stamp.Now()})
}
