package scanner

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	codes "github.com/holoplot/go-evdev"

	"telecart/device"
	"telecart/device/evdev"
	"telecart/device/kit"
)

func TestSplitAIM(t *testing.T) {
	for _, c := range []struct{ in, symbology, text string }{
		{"]C18018", "]C1", "8018"}, {"]d201", "]d2", "01"}, {"]Q3x", "]Q3", "x"}, {"]e0y", "]e0", "y"}, {"]LAx", "]LA", "x"},
		{"]E05012345678900", "]E0", "5012345678900"}, {"]C1", "]C1", ""}, {"]C", "", "]C"}, {"]", "", "]"}, {"", "", ""},
		{"]1Cx", "", "]1Cx"}, {"]C-x", "", "]C-x"}, {"x]C1", "", "x]C1"},
	} {
		if s, text := splitAIM(c.in); s != c.symbology || text != c.text {
			t.Errorf("%q: %q, %q", c.in, s, text)
		}
	}
}

func TestReadable(t *testing.T) {
	for s, want := range map[string]bool{
		"ABC-123": true, "]C1010\x1d17": true, "[)>\x1e06\x1dx\x1e\x04": true, "Émile": true, "شيماء": true,
		"AB\x00C": false, "\x02ABC\x03": false, "tab\there": false, "\x7f": false, "caf\xe9": false, "\u0085": false,
	} {
		if got := readable([]byte(s)); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// tape is a serial session and its time.
type tape struct {
	story
	*session
	clock *kit.Manual
}

func newTape(out ...device.Outlet) *tape {
	p := &tape{clock: kit.NewManual(start)}
	s := &scanner{id: device.Identity{Name: "scanner"}, clock: p.clock, stamp: kit.NewStamper(p.clock, nil), out: &p.story}
	if len(out) > 0 {
		s.out = out[0]
	}
	p.session = newSession(s, device.Node{})
	return p
}

// play takes pauses (time.Duration) and bytes (string). During a pause the line is read as the driver does.
func (p *tape) play(parts ...any) {
	for _, part := range parts {
		switch x := part.(type) {
		case time.Duration:
			for end := p.clock.Now().Add(x); p.clock.Now().Before(end); {
				p.clock.Advance(min(readWait, end.Sub(p.clock.Now())))
				p.take(p.clock.Now(), nil)
			}
		case string:
			p.take(p.clock.Now(), []byte(x))
		}
	}
}

const ms = time.Millisecond

func TestSerialStories(t *testing.T) {
	const settled = 200 * ms
	long := strings.Repeat("x", maxLine)
	for _, c := range []struct {
		name  string
		parts []any
		want  string
	}{
		{"CR", []any{settled, "ABC-1\r"}, `"ABC-1"`},
		{"LF", []any{settled, "ABC-1\n"}, `"ABC-1"`},
		{"CR LF", []any{settled, "ABC-1\r\n", "ABC-2\r\n"}, `"ABC-1" "ABC-2"`},
		{"CR and LF apart", []any{settled, "ABC-1\r", 80 * ms, "\n", 3 * time.Second, "ABC-2\r"}, `"ABC-1" "ABC-2"`},
		{"two at once", []any{settled, "ABC-1\rABC-2\r"}, `"ABC-1" "ABC-2"`},
		{"in pieces", []any{settled, "]C1AB", 10 * ms, "C\x1d", 400 * ms, "-1", "\r"}, `]C1"ABC\x1d-1"`},
		{"nothing but its symbology", []any{settled, "]C1\r", "ABC-1\r"}, `"ABC-1"`},
		{"nothing but ends", []any{settled, "\r\r\n\n", time.Second}, ""},
		{"under way as we come", []any{"234\r", settled, "ABC-1\r"}, `"ABC-1"`},
		{"under way for long", []any{50 * ms, "2", 50 * ms, "3", 50 * ms, "4\r", 50 * ms, "\n", settled, "ABC-1\r"}, `"ABC-1"`},
		{"a hole, then the rest", []any{settled, "ABC", 600 * ms, "-1\r", "ABC-2\r"}, `broken live "ABC-2"`},
		{"a hole, then the rest, then nothing", []any{settled, "ABC", 600 * ms, "-1\r", time.Minute}, `broken`},
		{"no end ever", []any{settled, "ABC-1", 5 * time.Second, "ABC-2\r"}, `broken live "ABC-2"`},
		{"no end ever, and then nothing", []any{settled, "ABC-1", 3 * time.Second}, `broken`},
		{"noise", []any{settled, "\x00\xff\x81\r", "ABC-1\r"}, `broken live "ABC-1"`},
		{"Latin-1", []any{settled, "caf\xe9\r"}, `broken`},
		{"noise twice is told once", []any{settled, "\x00\r\x00\r"}, `broken`},
		{"the longest", []any{settled, long + "\r"}, `"` + long + `"`},
		{"longer", []any{settled, long + "y\r", "ABC-1\r"}, `broken live "ABC-1"`},
		{"longer, in pieces", []any{settled, long, "y", "z\r", "ABC-1\r"}, `broken live "ABC-1"`},
	} {
		p := newTape()
		p.play(c.parts...)
		if got := p.told(); got != c.want {
			t.Errorf("%s: %.200s, want %.200s", c.name, got, c.want)
		}
	}
}

// A busy machine looks at the line late: what was waiting there is no silence.
func TestSerialLateLook(t *testing.T) {
	p := newTape()
	p.play(200*ms, "ABC")
	p.clock.Advance(5 * time.Second)
	p.play("-1\r", 100*ms, "AB")
	p.clock.Advance(5 * time.Second)
	p.play("C-2\r")
	if diff := cmp.Diff([]string{"settling settling", "live", `scanned "ABC-1"`, `scanned "ABC-2"`}, p.lines); diff != "" {
		t.Error(diff)
	}
}

// What is there at the first look may have begun before it.
func TestSerialFirstLook(t *testing.T) {
	p := newTape()
	p.clock.Advance(time.Second)
	p.play("C-", "1\r", 200*ms, "ABC-2\r")
	if diff := cmp.Diff([]string{"settling settling", "live", `scanned "ABC-2"`}, p.lines); diff != "" {
		t.Error(diff)
	}
}

func TestCounters(t *testing.T) {
	p := newTape()
	p.play(200*ms, "ABC-1\r", "AB\x00\r", "ABC", 5*time.Second, "ABC-2\r")
	if n := p.Counters(); n["scans"] != 2 || n["broken_scans"] != 2 {
		t.Errorf("%v", n)
	}
}

// fingers are a typist and the time of its events.
type fingers struct {
	story
	*typist
	at time.Duration
}

func newFingers() *fingers {
	f := &fingers{at: time.Hour}
	clock := kit.NewManual(start)
	s := &scanner{id: device.Identity{Name: "scanner"}, clock: clock, stamp: kit.NewStamper(clock, nil), out: &f.story}
	f.typist = &typist{reporter: s.report("x", "", line{limit: maxTyped, idle: keyboardIdle, rest: keyboardRest})}
	return f
}

func (f *fingers) key(code uint16, value int32) {
	f.take(evdev.Event{At: f.at, Type: codes.EV_KEY, Code: code, Value: value})
	f.take(evdev.Event{At: f.at, Type: codes.EV_SYN})
	f.at += ms
}

// play takes pauses (time.Duration), text to type (string), keys to tap (int), and functions.
func (f *fingers) play(parts ...any) {
	for _, part := range parts {
		switch x := part.(type) {
		case time.Duration:
			f.at += x
		case int:
			f.key(uint16(x), 1)
			f.key(uint16(x), 0)
		case func():
			x()
		case string:
			for _, c := range x {
				f.char(byte(c))
			}
		}
	}
}

func (f *fingers) char(c byte) {
	for code, p := range layout {
		switch {
		case code >= codes.KEY_KP7 || code == codes.KEY_KPASTERISK:
		case p.plain == c:
			f.play(int(code))
			return
		case p.shifted == c:
			f.key(codes.KEY_RIGHTSHIFT, 1)
			f.play(int(code))
			f.key(codes.KEY_RIGHTSHIFT, 0)
			return
		}
	}
	panic(fmt.Sprintf("no key for %q", c))
}

func TestKeyboardStories(t *testing.T) {
	const enter = codes.KEY_ENTER
	f := (*fingers)(nil)
	hold := func(code uint16) func() { return func() { f.key(code, 1) } }
	free := func(code uint16) func() { return func() { f.key(code, 0) } }
	with := func(modifier uint16, keys ...any) func() {
		return func() { f.play(append(append([]any{hold(modifier)}, keys...), free(modifier))...) }
	}
	quietly := func() { f.silence() }
	lost := func() { f.take(evdev.Event{At: f.at, Type: codes.EV_SYN, Code: codes.SYN_DROPPED}) }
	other := func() { f.take(evdev.Event{At: f.at, Type: codes.EV_MSC, Code: codes.KEY_1, Value: 1}) }
	for _, c := range []struct {
		name  string
		parts []any
		want  string
	}{
		{"Enter", []any{"ABC-1", enter}, `"ABC-1"`},
		{"Tab", []any{"ABC-1", codes.KEY_TAB}, `"ABC-1"`},
		{"the pad's Enter", []any{"ABC-1", codes.KEY_KPENTER}, `"ABC-1"`},
		{"Enter and Tab", []any{"ABC-1", enter, codes.KEY_TAB}, `"ABC-1"`},
		{"both shifts", []any{hold(codes.KEY_LEFTSHIFT), hold(codes.KEY_RIGHTSHIFT), codes.KEY_A, free(codes.KEY_LEFTSHIFT), codes.KEY_B,
			free(codes.KEY_RIGHTSHIFT), codes.KEY_C, enter}, `"ABc"`},
		{"the number pad", []any{codes.KEY_NUMLOCK, codes.KEY_KP1, codes.KEY_KP0, codes.KEY_KPMINUS, codes.KEY_KP5, enter}, `"10-5"`},
		{"FNC1", []any{"]C1", with(codes.KEY_LEFTCTRL, codes.KEY_RIGHTBRACE), "17", enter}, `]C1"\x1d17"`},
		{"a key that repeats", []any{hold(codes.KEY_1), func() { f.key(codes.KEY_1, 2) }, free(codes.KEY_1), enter}, `"1"`},
		{"an Enter alone", []any{enter, enter}, ""},
		{"100 ms from key to key (C takes four, with Shift)", []any{"ABC", 97 * ms, "-1", enter}, `"ABC-1"`},
		{"101 ms", []any{"ABC", 98 * ms, "-1", enter, "ABC-2", enter}, `broken live "ABC-2"`},
		{"longer, before the end", []any{"ABC-1", 150 * ms, enter}, `broken`},
		{"the rest comes late", []any{"ABC", 900 * ms, "-1", 900 * ms, "2", enter}, `broken`},
		{"given up, then a new one", []any{"ABC", 1100 * ms, "ABC-2", enter}, `broken live "ABC-2"`},
		{"silence", []any{"ABC", quietly, 5 * ms, "ABC-2", enter}, `broken live "ABC-2"`},
		{"a key that types nothing we know", []any{"AB", codes.KEY_F5, "C", enter, "ABC-2", enter}, `broken live "ABC-2"`},
		{"Caps Lock", []any{codes.KEY_CAPSLOCK, "abc", enter}, `broken`},
		{"Alt and the number pad", []any{"A", with(codes.KEY_LEFTALT, codes.KEY_KP6, codes.KEY_KP5), enter}, `broken`},
		{"another Ctrl", []any{"A", with(codes.KEY_LEFTCTRL, codes.KEY_M), enter}, `broken`},
		{"events lost", []any{"ABC", lost, "-1", enter, "ABC-2", enter}, `broken live "ABC-2"`},
		{"the end of Shift lost", []any{hold(codes.KEY_LEFTSHIFT), lost, enter, "abc1", enter}, `broken live "abc1"`},
		{"128", []any{strings.Repeat("7", 128), enter}, `"` + strings.Repeat("7", 128) + `"`},
		{"129", []any{strings.Repeat("7", 129), enter, "ABC-2", enter}, `broken live "ABC-2"`},
		{"events of other sorts", []any{"AB", other, "C", enter}, `"ABC"`},
	} {
		f = newFingers()
		f.silence()
		f.play(c.parts...)
		if got := f.told(); got != c.want {
			t.Errorf("%s: %.200s, want %.200s", c.name, got, c.want)
		}
	}
}

// What was under way when the node was grabbed went elsewhere: its end is not a code.
func TestKeyboardJoinedInTheMiddle(t *testing.T) {
	f := newFingers()
	f.key(codes.KEY_LEFTSHIFT, 1)
	f.play("2", "3", codes.KEY_ENTER)
	f.silence()
	f.play(codes.KEY_A, codes.KEY_ENTER) // Shift is still down
	if diff := cmp.Diff([]string{"settling settling", "live", `scanned "A"`}, f.lines); diff != "" {
		t.Error(diff)
	}
}

// A recording of a scanner that reads "Ab" and ends with Enter: 24-byte events of a little-endian 64-bit kernel.
func TestKeyboardRecording(t *testing.T) {
	key := func(usec int, code byte, value byte) []byte {
		b := make([]byte, 24)
		b[0], b[8], b[9], b[10] = 7, byte(usec), byte(usec>>8), byte(usec>>16)
		b[16], b[18], b[20] = 1, code, value
		return append(b, append(slices.Clone(b[:16]), 0, 0, 0, 0, 0, 0, 0, 0)...)
	}
	recording := slices.Concat(key(1000, 42, 1), key(2000, 30, 1), key(3000, 30, 0), key(3000, 42, 0), key(5000, 48, 1), key(6000, 48, 0),
		key(8000, 28, 1), key(9000, 28, 0))
	out, s := running(t, keyboardMode)
	if _, err := s.hands.(*KeyboardTwin).Write(recording); err != nil {
		t.Fatal(err)
	}
	if got := out.await(t, input).(device.Input); got.Text != "Ab" {
		t.Errorf("%q", got.Text)
	}
}

// Every character that can be typed comes out as it went in.
func TestLayout(t *testing.T) {
	var all string
	for c := byte(' '); c <= '~'; c++ {
		all += string(rune(c))
	}
	f := newFingers()
	f.silence()
	f.play(all, codes.KEY_ENTER)
	if want := fmt.Sprintf("scanned %q", all); f.lines[len(f.lines)-1] != want {
		t.Errorf("%s\nwant %s", f.lines[len(f.lines)-1], want)
	}
}

// codesOf is an outlet that keeps the text of what was scanned.
type codesOf []string

func (c *codesOf) Observe(o device.Observation) {
	if i, ok := o.(device.Input); ok {
		*c = append(*c, i.Symbology+i.Text)
	}
}

func FuzzSerial(f *testing.F) {
	f.Add([]byte("ABC-123455\r\n"), uint8(3))
	f.Add([]byte("]C18018123456789012345675\x1d8019123\r"), uint8(1))
	f.Add([]byte("\x00\xff]\r]C1\r]C\r\xe9"), uint8(0))
	f.Add(bytes.Repeat([]byte("x"), 5000), uint8(255))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		var got codesOf
		p := newTape(&got)
		p.play(200 * ms)
		for piece := range slices.Chunk(b, int(cut)+1) {
			p.play(string(piece))
			if len(p.line.text) > maxLine {
				t.Fatalf("%d bytes kept", len(p.line.text))
			}
		}
		// A code is a whole line of what was sent, and can be shown.
		lines := strings.FieldsFunc(string(b), func(r rune) bool { return r == '\r' || r == '\n' })
		for _, code := range got {
			if !slices.Contains(lines, code) || !utf8.ValidString(code) || code == "" {
				t.Fatalf("%q was never sent", code)
			}
		}
		// After a silence, whatever came before, the next code is found.
		p.play(3*time.Second, "ABC-123455\r")
		if len(got) == 0 || got[len(got)-1] != "ABC-123455" {
			t.Fatalf("the code after the garbage was not found")
		}
	})
}

func FuzzKeyboard(f *testing.F) {
	event := func(code uint16, value int32) []byte {
		return evdev.Event{At: time.Second, Type: codes.EV_KEY, Code: code, Value: value}.Append(nil)
	}
	f.Add(slices.Concat(event(codes.KEY_A, 1), event(codes.KEY_A, 0), event(codes.KEY_ENTER, 1)))
	f.Add(slices.Concat(event(codes.KEY_LEFTSHIFT, 1), event(codes.KEY_LEFTSHIFT, 1), event(codes.KEY_A, 1)))
	f.Add(evdev.Event{Type: codes.EV_SYN, Code: codes.SYN_DROPPED}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		k := newFingers()
		k.silence()
		var d evdev.Decoder
		downs := 0
		for _, e := range d.Write(b) {
			if e.Down() {
				downs++
			}
			k.take(e)
			if len(k.line.text) > maxTyped || len(k.keys.shift)+len(k.keys.ctrl)+len(k.keys.alt) > 8 {
				t.Fatal("it keeps more and more")
			}
		}
		for _, said := range k.lines {
			if len(said) > 5*downs+20 {
				t.Fatalf("%d keys gave %s", downs, said)
			}
		}
		// Whatever is held down, a new code is read once it was let go and there was silence.
		for _, c := range []uint16{codes.KEY_LEFTSHIFT, codes.KEY_RIGHTSHIFT, codes.KEY_LEFTCTRL, codes.KEY_RIGHTCTRL, codes.KEY_LEFTALT,
			codes.KEY_RIGHTALT, codes.KEY_LEFTMETA, codes.KEY_RIGHTMETA} {
			k.key(c, 0)
		}
		k.silence()
		k.play("abc-1", codes.KEY_ENTER)
		if last := k.lines[len(k.lines)-1]; last != `scanned "abc-1"` {
			t.Fatalf("after the garbage: %s", last)
		}
	})
}
