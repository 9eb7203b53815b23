package scanner

import (
	"context"
	"fmt"
	"sync"

	codes "github.com/holoplot/go-evdev"

	"telecart/device"
	"telecart/device/evdev"
	"telecart/device/kit"
	"telecart/device/pty"
)

func (s *scanner) runSerialTwin(ctx context.Context) (err error) {
	t, err := NewSerialTwin()
	if err != nil {
		return err
	}
	defer t.Unplug()
	s.hands = t
	return s.listen(ctx, device.Node{Path: t.Port(), Name: "Serial scanner (twin)"})
}

func (s *scanner) runKeyboardTwin(ctx context.Context) error {
	t := NewKeyboardTwin(s.clock)
	s.hands = t
	n, err := t.Open()
	if err != nil {
		return fmt.Errorf("scanner: %w", err)
	}
	return s.watch(ctx, n, "")
}

// SerialTwin is a scanner behind a pseudo-terminal: Port is its serial port, which any program can open. Safe for
// concurrent use.
type SerialTwin struct {
	line *pty.Line

	mu  sync.Mutex
	end string
}

// NewSerialTwin plugs a scanner in that ends each code with CR and LF. Unplug must be called in the end.
func NewSerialTwin() (*SerialTwin, error) {
	line, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("scanner: twin: %w", err)
	}
	return &SerialTwin{line: line, end: "\r\n"}, nil
}

// Port is the serial port's path.
func (t *SerialTwin) Port() string { return t.line.Path() }

// End sets what the scanner sends after each code; "" is a scanner that was never set up.
func (t *SerialTwin) End(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = s
}

// Scan shows it a code.
func (t *SerialTwin) Scan(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line.Write([]byte(text + t.end)) // unplugged, it sends nothing
}

// Write sends bytes as they are: half a code, noise.
func (t *SerialTwin) Write(b []byte) (int, error) { return t.line.Write(b) }

// Unplug pulls the cable: the port hangs up. It may be called again.
func (t *SerialTwin) Unplug() { t.line.Close() }

// KeyboardTwin is a scanner that types what it reads, on the US layout, and then Enter.
type KeyboardTwin struct{ *evdev.Twin }

// NewKeyboardTwin plugs one in.
func NewKeyboardTwin(clock kit.Clock) *KeyboardTwin {
	keys := needed()
	for code := range layout {
		keys = append(keys, code)
	}
	return &KeyboardTwin{evdev.NewTwin(clock, "Keyboard scanner (twin)", keys...)}
}

// Scan shows it a code. Characters that are on no key are left out, as such scanners do.
func (t *KeyboardTwin) Scan(text string) {
	t.Type(text)
	t.Tap(codes.KEY_ENTER)
}

// Type types without an end.
func (t *KeyboardTwin) Type(text string) {
	for i := range len(text) {
		if text[i] == gs {
			t.with(codes.KEY_LEFTCTRL, codes.KEY_RIGHTBRACE)
			continue
		}
		for code := uint16(1); code < codes.KEY_KP7; code++ { // what the number pad has, the main block has
			p, ok := layout[code]
			if ok && p.plain == text[i] {
				t.Tap(code)
				break
			}
			if ok && p.shifted == text[i] {
				t.with(codes.KEY_LEFTSHIFT, code)
				break
			}
		}
	}
}

func (t *KeyboardTwin) with(modifier, code uint16) {
	t.Key(modifier, 1)
	t.Tap(code)
	t.Key(modifier, 0)
}
