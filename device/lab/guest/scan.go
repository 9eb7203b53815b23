package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"telecart/device"
	"telecart/device/evdev"
	"telecart/device/lab/acm"
	"telecart/device/lab/hid"
	"telecart/device/lab/usbip"
	"telecart/device/scanner"
)

const (
	gs   = "\x1d"
	band = "0109506000134352" + "10ABC123" + gs + "21X-42" // a GTIN, a batch, FNC1, a serial number
)

// onlyBand holds a scanner to the one code that is ever shown to it.
func onlyBand(o device.Observation) error {
	if i, ok := o.(device.Input); ok && (i.Act != device.Scanned || i.Text != band) {
		return fmt.Errorf("%s %q was never scanned", i.Act, i.Text)
	}
	return nil
}

// scanSerial is a scanner on USB-CDC: a code with AIM identifier and separator, a cable pulled in the middle of one.
func scanSerial(ctx context.Context, b *bench) (seen string, err error) {
	const code = "]d2" + band + "\r\n"
	port := acm.New(usbip.Identity{Vendor: 0x0c2e, Product: 0x0bea, Name: "Scanner", Serial: "SCAN-1"}, func([]byte) {})
	c := &cord{bench: b, handler: port.Handle, serial: "SCAN-1", class: "tty"}
	defer c.out(&err)
	node, err := c.plug(ctx)
	if err != nil {
		return "", err
	}
	if !scanner.Driver().Adopts(node) {
		return "", fmt.Errorf("%+v was not taken for a scanner", node)
	}
	r, err := b.startJudged(ctx, scanner.Driver(), device.Settings{Port: "usb:SCAN-1"}, onlyBand)
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	if err := r.is(ctx, device.Live, ""); err != nil {
		return "", err
	}
	fmt.Fprint(port, code)
	got, err := r.input(ctx)
	if err != nil {
		return "", err
	}
	if got.Symbology != "]d2" {
		return "", fmt.Errorf("symbology %q, not ]d2", got.Symbology)
	}
	setting, half := port.Setting(), code[:20]
	fmt.Fprint(port, half)
	if err := b.settle(ctx, func() bool { return port.Sent() == len(code)+len(half) }); err != nil {
		return "", fmt.Errorf("half a code: %w", err)
	}
	pulled := b.clock.Now()
	if err := c.pull(ctx); err != nil {
		return "", err
	}
	if err := r.failure(ctx); err != nil {
		return "", err
	}
	noticed := b.clock.Now().Sub(pulled)
	if _, err := c.plug(ctx); err != nil {
		return "", err
	}
	again, err := b.startJudged(ctx, scanner.Driver(), device.Settings{Port: "usb:SCAN-1"}, onlyBand)
	if err != nil {
		return "", err
	}
	defer again.done(&err)
	if err := again.is(ctx, device.Live, ""); err != nil {
		return "", err
	}
	fmt.Fprint(port, code)
	if _, err := again.input(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s at %s: %d characters with FNC1, identifier %s; cable pulled in the middle of a code: noticed after %.1f s, "+
		"no half code", node.Path, setting, len(band), got.Symbology, noticed.Seconds()), nil
}

// scanKeyboard is a scanner that types, on USB HID: kept from everybody else, layout, Ctrl+] for FNC1, a key held at the start.
func scanKeyboard(ctx context.Context, b *bench) (seen string, err error) {
	k := &keyboard{Device: hid.New(usbip.Identity{Vendor: 0x0c2e, Product: 0x0b61, Name: "Keyboard scanner", Serial: "SCAN-2"},
		hid.Keyboard, keyboardReport())}
	c := &cord{bench: b, handler: k.Handle, serial: "SCAN-2", class: "input"}
	defer c.out(&err)
	node, err := c.plug(ctx)
	if err != nil {
		return "", err
	}
	if !scanner.Driver().Adopts(node) {
		return "", fmt.Errorf("%+v was not taken for a scanner", node)
	}
	other, err := spyOn(node.Path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	if err := k.Send(keyA()); err != nil { // somebody leans on it
		return "", err
	}
	r, err := b.startJudged(ctx, scanner.Driver(), device.Settings{Port: "usb:SCAN-2"}, onlyBand)
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	if err := r.is(ctx, device.Settling, evdev.KeyHeld); err != nil {
		return "", err
	}
	if err := k.Send(noKey()); err != nil {
		return "", err
	}
	if err := r.is(ctx, device.Live, ""); err != nil {
		return "", err
	}
	if held := other.read(); len(held) == 0 || !held[len(held)-1].Up() { // or 'a' would repeat for them for ever
		return "", fmt.Errorf("the others saw a key go down and not up: %v", held)
	}
	tries := 0
	var got device.Input
	for got.Text == "" { // a busy machine may tear a code apart, which the driver sees; a nurse scans again
		if tries++; tries > 5 {
			return "", errors.New("five scans, none whole")
		}
		if err := k.scan("]C1" + band); err != nil {
			return "", err
		}
		err := within(ctx, 2*time.Second, func(ctx context.Context) (err error) {
			got, err = r.input(ctx)
			return err
		})
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return "", err
		}
	}
	if got.Symbology != "]C1" {
		return "", fmt.Errorf("symbology %q, not ]C1", got.Symbology)
	}
	if leak := other.read(); len(leak) > 0 {
		return "", fmt.Errorf("another program read %d events of it", len(leak))
	}
	r.stop()
	if err := k.scan("free"); err != nil {
		return "", err
	}
	if len(other.read()) == 0 {
		return "", errors.New("the other program can't read it at all: so it proves nothing")
	}
	return fmt.Sprintf("%s: %d characters with FNC1, identifier %s, scanned %d times; grabbed: another reader got nothing, "+
		"and all of it afterwards; a held key was waited for", node.Path, len(band), got.Symbology, tries), nil
}

// settle waits for a condition outside of any instrument.
func (b *bench) settle(ctx context.Context, ok func() bool) error {
	for !ok() {
		select {
		case <-b.clock.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// spy is another program that reads an input node.
type spy struct {
	fd int
	evdev.Decoder
}

func spyOn(path string) (*spy, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &spy{fd: fd}, nil
}

// read gives the movements of keys that have come so far.
func (s *spy) read() (keys []evdev.Event) {
	var buf [4096]byte
	for {
		n, err := syscall.Read(s.fd, buf[:])
		if err != nil || n <= 0 {
			return keys
		}
		for _, e := range s.Write(buf[:n]) {
			if e.Down() || e.Up() {
				keys = append(keys, e)
			}
		}
	}
}

func (s *spy) Close() error { return syscall.Close(s.fd) }

// keyboard types on the US layout.
type keyboard struct{ *hid.Device }

// Usages of the keyboard page (USB HID Usage Tables 1.12, section 10), and modifiers as bits of the first byte.
const (
	usageA     = 0x04
	usage1     = 0x1e
	usage0     = 0x27
	usageEnter = 0x28
	ctrl       = 0x01
	shift      = 0x02
)

func press(modifiers, usage byte) []byte { return []byte{modifiers, 0, usage, 0, 0, 0, 0, 0} }
func keyA() []byte                       { return press(0, usageA) }
func noKey() []byte                      { return press(0, 0) }

// scan types a code and Enter.
func (k *keyboard) scan(code string) error {
	for _, c := range code {
		if err := errors.Join(k.Send(stroke(c)), k.Send(noKey())); err != nil {
			return err
		}
	}
	return errors.Join(k.Send(press(0, usageEnter)), k.Send(noKey()))
}

func stroke(c rune) []byte {
	switch {
	case c >= 'a' && c <= 'z':
		return press(0, usageA+byte(c-'a'))
	case c >= 'A' && c <= 'Z':
		return press(shift, usageA+byte(c-'A'))
	case c >= '1' && c <= '9':
		return press(0, usage1+byte(c-'1'))
	case c == '0':
		return press(0, usage0)
	case string(c) == gs:
		return press(ctrl, 0x30)
	}
	return press(0, 0x2d+byte(strings.IndexRune("-=[]\\", c)))
}

// keyboardReport is the report descriptor of a boot keyboard (USB HID 1.11, appendix B.1), without lamps.
func keyboardReport() []byte {
	return []byte{
		0x05, 0x01, 0x09, 0x06, 0xA1, 0x01, // a keyboard
		0x05, 0x07, 0x19, 0xE0, 0x29, 0xE7, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, // modifiers
		0x95, 0x01, 0x75, 0x08, 0x81, 0x01, // reserved
		0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x25, 0x65, 0x19, 0x00, 0x29, 0x65, 0x81, 0x00, // six keys
		0xC0,
	}
}
