package ad8232

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestContact(t *testing.T) {
	const tick = 4 * time.Millisecond
	for _, c := range []struct {
		name string
		high func(ms int) bool
		want []int // ms of the changes, beginning with off
	}{
		{"on from the start", func(int) bool { return false }, []int{200}},
		{"never on", func(int) bool { return true }, nil},
		{"off, and on again", func(ms int) bool { return ms >= 1000 && ms < 2000 }, []int{200, 1200, 2200}},
		{"190 ms off", func(ms int) bool { return ms >= 1000 && ms < 1190 }, []int{200}},
		{"toggling with the mains", func(ms int) bool { return ms >= 1000 && ms/10%2 == 0 }, []int{200, 1600}},
		{"toggling from the start", func(ms int) bool { return ms/12%2 == 0 }, nil},
	} {
		var k contact
		var got []int
		for ms := 0; ms < 4000; ms += int(tick.Milliseconds()) {
			if k.see(start.Add(time.Duration(ms)*time.Millisecond), c.high(ms)) {
				got = append(got, ms)
			}
		}
		same := len(got) == len(c.want)
		for i := range min(len(got), len(c.want)) {
			same = same && got[i] >= c.want[i]-8 && got[i] <= c.want[i]+8
		}
		if !same {
			t.Errorf("%s: changed at %v, want %v", c.name, got, c.want)
		}
	}
}

// A straight line stays one, however unevenly it is looked at; a gap is told, and nothing is made across it.
func TestResampler(t *testing.T) {
	r := resampler{step: 4 * time.Millisecond, widest: 20 * time.Millisecond}
	var made []float64
	at := start
	for i, after := range []int{0, 4, 5, 3, 8, 1, 2, 19, 4, 0, 4} { // ms
		at = at.Add(time.Duration(after) * time.Millisecond)
		out, gap := r.add(at, at.Sub(start).Seconds())
		if gap {
			t.Errorf("gap at sample %d", i)
		}
		made = append(made, out...)
	}
	if len(made) != 50/4+1 {
		t.Errorf("%d samples of 50 ms", len(made))
	}
	for i, v := range made {
		if math.Abs(v-float64(i)*0.004) > 1e-9 {
			t.Errorf("sample %d is %g", i, v)
		}
	}
	if out, gap := r.add(at.Add(21*time.Millisecond), 7); !gap || len(out) != 1 || out[0] != 7 {
		t.Errorf("after a gap: %v, %v", out, gap)
	}
	if out, gap := r.add(at.Add(-time.Second), 8); gap || len(out) != 0 {
		t.Errorf("time that goes back: %v, %v", out, gap)
	}
}

func TestRateMeter(t *testing.T) {
	var m rateMeter
	for n := range 20_000 {
		hz, off := 251.5, time.Duration(n%7)*20*time.Microsecond // of the interrupt
		if n >= 10_000 {
			hz = 249 // it gets warm
		}
		m.add(int64(n), time.Duration(float64(n)/hz*1e9)+off)
		if got := m.hz(); n < 500 && got != 0 || n > 510 && n < 10_000 && math.Abs(got-251.5) > 0.1 {
			t.Fatalf("%g after %d", got, n)
		}
		if len(m.marks) > markMost {
			t.Fatal("it grows")
		}
	}
	if got := m.hz(); math.Abs(got-249) > 0.1 {
		t.Errorf("%g in the end", got)
	}
}

func TestCounter(t *testing.T) {
	var c counter
	for _, step := range []struct {
		n             uint32
		total, missed int64
	}{{math.MaxUint32 - 1, 0, 0}, {math.MaxUint32, 1, 0}, {0, 2, 0}, {3, 5, 2}, {3, 5, 0}} {
		if total, missed := c.add(step.n); total != step.total || missed != step.missed {
			t.Errorf("%d: %d, missed %d", step.n, total, missed)
		}
	}
}

// The kernel checks the size that is in an ioctl's number.
func TestKernelLayout(t *testing.T) {
	size := func(number uint) uintptr { return uintptr(number >> 16 & 0x3FFF) }
	if got := unsafe.Sizeof(unix.GPIOV2LineRequest{}); got != size(unix.GPIO_V2_GET_LINE_IOCTL) {
		t.Errorf("line request: %d", got)
	}
	if got := unsafe.Sizeof(unix.GPIOV2LineValues{}); got != size(unix.GPIO_V2_LINE_GET_VALUES_IOCTL) {
		t.Errorf("line values: %d", got)
	}
	if got := unsafe.Sizeof(unix.GPIOV2LineEvent{}); got != eventSize {
		t.Errorf("line event: %d", got)
	}
}

// event is struct gpio_v2_line_event by hand: time, id, offset, number of the request's events, number of the line's.
func event(at time.Duration, id, n uint32) []byte {
	b := binary.NativeEndian.AppendUint64(nil, uint64(at))
	for _, v := range []uint32{id, 17, n, n, 0, 0, 0, 0, 0, 0} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// A pipe stands in for the kernel's line: what is waited for, read and decoded is the same.
func TestLinePulses(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	p := &linePulses{fd: ends[0], line: line{"gpiochip0", 17}}
	defer p.Close()
	send := func(b ...[]byte) {
		if _, err := unix.Write(ends[1], bytes.Join(b, nil)); err != nil {
			t.Fatal(err)
		}
	}
	send(event(time.Second, 2, 5), event(2*time.Second, 2, 6), event(3*time.Second, 1, 7)) // the last one rises
	if e, err := p.Next(t.Context()); err != nil || e != (edge{n: 6, at: 2 * time.Second}) {
		t.Errorf("%+v, %v", e, err)
	}
	send(event(4*time.Second, 2, 8))
	if e, err := p.Next(t.Context()); err != nil || e.n != 8 {
		t.Errorf("%+v, %v", e, err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := p.Next(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	unix.Close(ends[1])
	if _, err := p.Next(t.Context()); !errors.Is(err, ErrLine) {
		t.Errorf("gone: %v", err)
	}
}

func TestNoSuchLine(t *testing.T) {
	l := line{"gpiochip987", 1}
	if _, err := (chardev{}).Pulses(l); !errors.Is(err, ErrLine) || !strings.Contains(err.Error(), "/dev/gpiochip987") {
		t.Errorf("pulses: %v", err)
	}
	if _, err := (chardev{}).Level(l); !errors.Is(err, ErrLine) {
		t.Errorf("level: %v", err)
	}
	if _, err := (&lineLevel{fd: -1, line: l}).High(); !errors.Is(err, ErrLine) {
		t.Errorf("a closed line: %v", err)
	}
}

// What is accepted names different lines, and says so again in the same words.
func FuzzParseLines(f *testing.F) {
	f.Add("gpiochip0:17")
	f.Add("gpiochip0:22, gpiochip0:23")
	f.Add("gpiochip0:022,gpiochip0:22")
	f.Add("/dev/gpiochip0:1")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := parseLines(text, 2)
		if err != nil {
			return
		}
		var words []string
		for _, l := range lines {
			words = append(words, l.String())
		}
		again, err := parseLines(strings.Join(words, ","), 2)
		if err != nil || len(again) != len(lines) || len(lines) == 0 || len(lines) == 2 && lines[0] == lines[1] {
			t.Fatalf("%q is %v, again %v: %v", text, lines, again, err)
		}
	})
}

// Only a whole falling edge counts, and the last one.
func FuzzNewest(f *testing.F) {
	f.Add(append(event(1, 2, 3), event(4, 2, 5)...))
	f.Add(append(event(1, 2, 3), event(4, 1, 5)...))
	f.Add(event(1, 2, 3)[:47])
	f.Fuzz(func(t *testing.T, b []byte) {
		var want edge
		found := false
		for at := 0; at+eventSize <= len(b); at += eventSize {
			if binary.NativeEndian.Uint32(b[at+8:]) == 2 {
				want = edge{n: binary.NativeEndian.Uint32(b[at+20:]), at: time.Duration(binary.NativeEndian.Uint64(b[at:]))}
				found = true
			}
		}
		if got, ok := newest(b); ok != found || got != want {
			t.Fatalf("%+v %v, want %+v %v", got, ok, want, found)
		}
	})
}

// Whatever edges and values come: what a session is given is counted right, and the rate is never out of bounds.
func FuzzFollow(f *testing.F) {
	f.Add([]byte{1, 2, 3, 200, 1, 1})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var m rateMeter
		var c counter
		n, at, total := uint32(math.MaxUint32-3), time.Duration(0), int64(0)
		for i, s := range steps {
			n += uint32(s)
			at += time.Duration(s) * 4 * time.Millisecond
			if i > 0 {
				total += int64(s)
			}
			got, missed := c.add(n)
			if got != total || missed < 0 || missed > int64(s) {
				t.Fatalf("%d, missed %d; want %d", got, missed, total)
			}
			m.add(got, at)
			if hz := m.hz(); hz != 0 && math.Abs(hz-250) > 0.01 {
				t.Fatalf("%g samples a second", hz)
			}
		}
	})
}
