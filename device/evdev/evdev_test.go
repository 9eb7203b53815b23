package evdev

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	codes "github.com/holoplot/go-evdev"
	"go.uber.org/goleak"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

// recorded is A down and up, as a little-endian 64-bit kernel writes it: sec, usec, type, code, value.
const recorded = "0500000000000000" + "40e2010000000000" + "0100" + "1e00" + "01000000" +
	"0500000000000000" + "40e2010000000000" + "0000" + "0000" + "00000000" +
	"0500000000000000" + "98f4010000000000" + "0100" + "1e00" + "00000000"

func bytesOf(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecorded(t *testing.T) {
	var d Decoder
	got := d.Write(bytesOf(t, recorded))
	at := 5*time.Second + 123456*time.Microsecond
	want := []Event{{at, codes.EV_KEY, codes.KEY_A, 1}, {at, codes.EV_SYN, codes.SYN_REPORT, 0},
		{5*time.Second + 128152*time.Microsecond, codes.EV_KEY, codes.KEY_A, 0}}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
	if !got[0].Down() || got[0].Up() || got[1].Down() || got[1].Up() || got[2].Down() || !got[2].Up() || got[0].Lost() {
		t.Error("down, up or lost is told wrongly")
	}
	if repeat := (Event{Type: codes.EV_KEY, Code: 30, Value: 2}); repeat.Down() || repeat.Up() {
		t.Error("a repeat is no press")
	}
	if !(Event{Type: codes.EV_SYN, Code: 3}).Lost() || (Event{Type: codes.EV_KEY, Code: 3}).Lost() {
		t.Error("SYN_DROPPED is told wrongly")
	}
}

func TestDebouncer(t *testing.T) {
	ms := func(at int, code uint16, value int32) Event {
		return Event{At: time.Duration(at) * time.Millisecond, Type: codes.EV_KEY, Code: code, Value: value}
	}
	const b, shift = codes.KEY_B, codes.KEY_LEFTSHIFT
	for _, c := range []struct {
		name   string
		key    uint16
		events []Event
		want   []int // which of them are presses
	}{
		{"one", 0, []Event{ms(0, b, 1), ms(90, b, 0)}, []int{0}},
		{"held", 0, []Event{ms(0, b, 1), ms(250, b, 2), ms(280, b, 2), ms(900, b, 0)}, []int{0}},
		{"chatter going down", 0, []Event{ms(0, b, 1), ms(2, b, 0), ms(4, b, 1), ms(6, b, 0), ms(9, b, 1), ms(200, b, 0)}, []int{0}},
		{"chatter coming up", 0, []Event{ms(0, b, 1), ms(200, b, 0), ms(203, b, 1), ms(205, b, 0)}, []int{0}},
		{"29 ms after it moved", 0, []Event{ms(0, b, 1), ms(100, b, 0), ms(129, b, 1)}, []int{0}},
		{"30 ms after it moved", 0, []Event{ms(0, b, 1), ms(100, b, 0), ms(130, b, 1)}, []int{0, 2}},
		{"a chord", 0, []Event{ms(0, shift, 1), ms(1, b, 1), ms(2, codes.KEY_C, 1), ms(80, b, 0), ms(80, shift, 0)}, []int{1}},
		{"a modifier alone", 0, []Event{ms(0, shift, 1), ms(90, shift, 0)}, nil},
		{"the wrong key", codes.KEY_F13, []Event{ms(0, b, 1), ms(90, b, 0)}, nil},
		{"the right key beside another", codes.KEY_F13, []Event{ms(0, b, 1), ms(5, codes.KEY_F13, 1)}, []int{1}},
		{"a modifier that was asked for", shift, []Event{ms(0, shift, 1)}, []int{0}},
		{"time that jumps back", 0, []Event{ms(5000, b, 1), ms(100, b, 0), ms(200, b, 1)}, []int{0, 2}},
	} {
		d := Debouncer{Key: c.key}
		var got []int
		for i, e := range c.events {
			if d.Press(e) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: presses %v, want %v", c.name, got, c.want)
		}
	}
}

func TestGrabWaitsUntilAllIsUp(t *testing.T) {
	clock := kit.NewManual(time.Unix(0, 0))
	twin := NewTwin(clock, "pedal", codes.KEY_B)
	n, err := twin.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	twin.Key(codes.KEY_B, 1)
	c := &counting{twinControls: twinControls{twin}}
	n.controls = c
	told, done := 0, make(chan error, 1)
	go func() { done <- n.Grab(t.Context(), clock, func() { told++ }) }()
	for range 5 {
		clock.AwaitWaiters(1)
		if twin.Grabbed() {
			t.Fatal("grabbed with a key down")
		}
		clock.Advance(heldPoll)
	}
	clock.AwaitWaiters(1)
	twin.Key(codes.KEY_B, 0)
	clock.Advance(heldPoll)
	if err := <-done; err != nil || !twin.Grabbed() || told != 1 || c.tries != 1 {
		t.Fatalf("%v, grabbed %v, told %d times, %d grabs", err, twin.Grabbed(), told, c.tries)
	}
	if err := n.Close(); err != nil || twin.Grabbed() {
		t.Errorf("closed: %v, grabbed %v", err, twin.Grabbed())
	}
}

// counting counts grabs, and may press a key in the moment between the look and the grab.
type counting struct {
	twinControls
	hasty bool
	tries int
}

func (c *counting) grab() error {
	if c.tries++; c.hasty && c.tries == 1 {
		c.t.Key(codes.KEY_B, 1)
	}
	return c.twinControls.grab()
}

func TestKeyGoesDownAsItIsGrabbed(t *testing.T) {
	clock := kit.NewManual(time.Unix(0, 0))
	twin := NewTwin(clock, "pedal", codes.KEY_B)
	n, err := twin.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	h := &counting{twinControls: twinControls{twin}, hasty: true}
	n.controls = h
	done := make(chan error, 1)
	go func() { done <- n.Grab(t.Context(), clock, func() {}) }()
	clock.AwaitWaiters(1)
	if twin.Grabbed() {
		t.Error("the node was kept though a key is down: others see it held for ever")
	}
	twin.Key(codes.KEY_B, 0)
	clock.Advance(heldPoll)
	if err := <-done; err != nil || h.tries != 2 {
		t.Errorf("%v after %d tries", err, h.tries)
	}
}

func TestGrabEnds(t *testing.T) {
	clock := kit.NewManual(time.Unix(0, 0))
	twin := NewTwin(clock, "pedal", codes.KEY_B)
	n, err := twin.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	twin.Seize()
	var f device.Fault
	if err := n.Grab(t.Context(), clock, nil); !errors.As(err, &f) || f.Health.Reason != Busy {
		t.Errorf("seized by another program: %v", err)
	}
	twin.Yield()
	twin.Key(codes.KEY_B, 1)
	ctx, cancel := context.WithCancel(t.Context())
	if err := n.Grab(ctx, clock, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
	twin.Unplug()
	if err := n.Grab(t.Context(), clock, nil); !errors.Is(err, ErrGone) {
		t.Errorf("unplugged: %v", err)
	}
}

func TestCloseEndsReading(t *testing.T) {
	before := goleak.IgnoreCurrent()
	twin := NewTwin(kit.System{}, "pedal", codes.KEY_B)
	for _, full := range []int{0, 1, 3 * buffered} { // nobody takes the events
		n, err := twin.Open()
		if err != nil {
			t.Fatal(err)
		}
		for range full {
			twin.Tap(codes.KEY_B)
		}
		if err := errors.Join(n.Close(), n.Close()); err != nil {
			t.Error(err)
		}
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

func TestUnplugged(t *testing.T) {
	twin := NewTwin(kit.System{}, "pedal", codes.KEY_B)
	n, err := twin.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	twin.Tap(codes.KEY_B)
	twin.Unplug()
	twin.Unplug()
	var got []Event
	for e := range n.Events() {
		got = append(got, e)
	}
	if len(got) != 4 || !errors.Is(n.Err(), ErrGone) {
		t.Errorf("%d events, %v", len(got), n.Err())
	}
	if _, err := twin.Open(); !errors.Is(err, ErrGone) {
		t.Errorf("open: %v", err)
	}
}

func TestPressesOfACamera(t *testing.T) {
	twin := NewTwin(kit.System{}, "HD Camera", KeyCamera)
	n, err := twin.Open()
	if err != nil {
		t.Fatal(err)
	}
	twin.Tap(KeyCamera) // down and up within a bounce: one press
	var presses int
	ctx, cancel := context.WithCancel(t.Context())
	if err := n.presses(ctx, KeyCamera, func() { presses++; cancel() }); !errors.Is(err, context.Canceled) || presses != 1 {
		t.Errorf("%d presses, %v", presses, err)
	}
	if twin.Grabbed() {
		t.Error("a camera's button was grabbed")
	}
	if n, err = twin.Open(); err != nil {
		t.Fatal(err)
	}
	if err := n.presses(t.Context(), codes.KEY_B, nil); err == nil || !strings.Contains(err.Error(), "no key 48") {
		t.Errorf("a key that it hasn't got: %v", err)
	}
	if n, err = twin.Open(); err != nil {
		t.Fatal(err)
	}
	twin.Unplug()
	if err := n.presses(t.Context(), KeyCamera, nil); !errors.Is(err, ErrGone) {
		t.Errorf("unplugged: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(os.DevNull); !errors.Is(err, ErrNotKeys) || !strings.Contains(err.Error(), os.DevNull) {
		t.Errorf("%s: %v", os.DevNull, err)
	}
	none := filepath.Join(t.TempDir(), "event9")
	if _, err := Open(none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a node that is not there: %v", err)
	}
	if err := Presses(t.Context(), none, KeyCamera, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the button of a camera that is not there: %v", err)
	}
}

// The numbers of linux/input.h, as strace shows them.
func TestRequests(t *testing.T) {
	for name, c := range map[string][2]uint64{
		"EVIOCGRAB":              {eviocGrab, 0x40044590},
		"EVIOCSCLOCKID":          {eviocSClockID, 0x400445a0},
		"EVIOCGKEY(96)":          {eviocGKey, 0x80604518},
		"EVIOCGBIT(EV_KEY, 96)":  {eviocGBitKey, 0x80604521},
		"EVIOCGNAME(256)":        {eviocGName, 0x81004506},
		"bytes for all the keys": {keyBytes, 96},
	} {
		if c[0] != c[1] {
			t.Errorf("%s = %#x, want %#x", name, c[0], c[1])
		}
	}
}

func TestSysfs(t *testing.T) {
	sys := t.TempDir()
	write := func(path, s string) {
		t.Helper()
		path = filepath.Join(sys, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(s), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	// A keyboard's, as a 64-bit kernel shows it: bit 30 (A), 28 (Enter), 183 (F13) are among them.
	write("kbd/device/capabilities/key", "1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe\n")
	write("button/device/capabilities/key", "100000 0 0 0\n")
	write("none/device/capabilities/key", "0\n")
	write("odd/device/capabilities/key", "xyz\n")
	for _, c := range []struct {
		sys  string
		keys []uint16
		want bool
	}{
		{"kbd", []uint16{codes.KEY_A, codes.KEY_ENTER, codes.KEY_F13}, true},
		{"kbd", []uint16{codes.KEY_A, 700}, false},
		{"button", []uint16{KeyCamera}, true},
		{"button", []uint16{KeyCamera, codes.KEY_A}, false},
		{"none", []uint16{codes.KEY_A}, false},
		{"odd", nil, false},
		{"missing", nil, false},
	} {
		if got := SysHas(filepath.Join(sys, c.sys), c.keys...); got != c.want {
			t.Errorf("%s has %v: %v", c.sys, c.keys, got)
		}
	}
	write("video0/device/input/input7/event5/uevent", "")
	if got := CameraButton(filepath.Join(sys, "video0")); got != "/dev/input/event5" {
		t.Errorf("the camera's button is %q", got)
	}
	if got := CameraButton(filepath.Join(sys, "kbd")); got != "" {
		t.Errorf("a button where there is none: %q", got)
	}
}

func TestClean(t *testing.T) {
	if got := clean(" USB \x00Key\xffboard\n"); got != "USB Keyboard" {
		t.Errorf("%q", got)
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add(bytesOf(f, recorded), uint8(23))
	f.Add(bytes.Repeat([]byte{0xff}, 49), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		var one, many Decoder
		whole := one.Write(b)
		var pieces []Event
		for piece := range slices.Chunk(b, int(cut)+1) {
			pieces = append(pieces, many.Write(piece)...)
		}
		if !slices.Equal(whole, pieces) || len(whole) != len(b)/eventLen {
			t.Fatalf("%d events whole, %d in pieces, of %d bytes", len(whole), len(pieces), len(b))
		}
		if len(many.part) >= eventLen {
			t.Fatalf("%d bytes kept", len(many.part))
		}
		for i, e := range whole {
			if at := i * eventLen; !bytes.Equal(e.Append(nil)[16:], b[at+16:at+eventLen]) {
				t.Fatalf("event %d reads %+v", i, e)
			}
		}
	})
}

func FuzzBits(f *testing.F) {
	f.Add("1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe\n")
	f.Add(strings.Repeat("f ", 500))
	f.Fuzz(func(t *testing.T, s string) {
		if n := len(parseBits(s)); n > keyBytes/8+1 {
			t.Fatalf("%d words", n)
		}
	})
}

func TestPick(t *testing.T) {
	sys := t.TempDir()
	node := func(name, keys string) device.Node {
		dir := filepath.Join(sys, name, "device", "capabilities")
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "key"), []byte(keys), 0o644)); err != nil {
			t.Fatal(err)
		}
		return device.Node{Path: "/dev/input/" + name, Sys: filepath.Join(sys, name)}
	}
	volume, keyboard := node("event3", "3e000000000000 0\n"), node("event4", "fffffffffffffffe\n")
	for _, c := range []struct {
		port string
		keys []uint16
		want string
	}{
		{"usb:A1", []uint16{codes.KEY_A, codes.KEY_ENTER}, "/dev/input/event4"},
		{"usb-port:1-2", nil, "/dev/input/event3"},
		{"usb:A1", []uint16{700}, ""},
	} {
		got, err := pick([]device.Node{volume, keyboard}, c.port, c.keys)
		if got.Path != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, ErrNotKeys) {
			t.Errorf("%s with %v: %s, %v", c.port, c.keys, got.Path, err)
		}
	}
	for _, port := range []string{"usb:not-there", "/dev/input/event-none"} {
		if _, _, err := OpenPort(port); !errors.Is(err, hotplug.ErrAbsent) {
			t.Errorf("%s: %v", port, err)
		}
	}
	if _, _, err := OpenPort("COM3"); !errors.Is(err, hotplug.ErrPort) {
		t.Errorf("no port at all: %v", err)
	}
	if _, _, err := OpenPort(os.DevNull); !errors.Is(err, ErrNotKeys) {
		t.Errorf("%s: %v", os.DevNull, err)
	}
}
