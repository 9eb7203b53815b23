package nonin

import (
	"testing"
	"time"

	"telecart/device"
	"telecart/device/oximeter/line"
)

// cable carries a stream of format 2 or 7 to a session, badly: byte by byte, at the rate that the oximeter sends them.
type cable struct {
	*bench
	stream  *Stream
	wire    []byte        // sent, not yet past the cable
	waiting []byte        // past it, not yet read
	quiet   time.Duration // since a byte was read
	outage  int           // bytes lost in a row
}

const (
	byteTime  = time.Second / (frameRate * frameLen)
	maxOutage = int(shortSilence/byteTime) - 1 // the longest that may happen: a little less than half a second
)

func (c *cable) send() byte {
	if len(c.wire) == 0 {
		c.wire = c.stream.Bytes(Healthy)
	}
	x := c.wire[0]
	c.wire = c.wire[1:]
	c.clock.Advance(byteTime)
	return x
}

// pass lets bytes wait at the host, which reads them when it finds the time.
func (c *cable) pass(n int, flip byte) {
	for range n {
		c.waiting = append(c.waiting, c.send()^flip)
		flip, c.outage = 0, 0
	}
}

func (c *cable) read() {
	if len(c.waiting) > 0 {
		c.take(line.Chunk{Bytes: c.waiting})
		c.waiting, c.quiet = nil, 0
	}
}

// lose takes bytes away. The host, if nothing waits for it, sees the silence.
func (c *cable) lose(n int) {
	for range n {
		if c.outage == maxOutage {
			c.pass(1, 0)
			c.read()
			return
		}
		c.send()
		c.outage++
		if c.quiet += byteTime; c.quiet >= line.Wait && len(c.waiting) == 0 {
			c.quiet = 0
			c.take(line.Chunk{})
		}
	}
}

// A stream of format 2 or 7 is never taken for format 1 or 8, not for a moment, whatever the cable does to it, as long as it never takes
// half a second out of it. Nor is it when a format 8 was on the cable before.
func FuzzStreamIsNeverShort(f *testing.F) {
	f.Add(false, false, uint64(1), []byte("\x10\x10\x11\x11\xFD\xFD\x0C\xFD\xFD\xFD\x0C\xFD\xFD"))
	f.Add(true, false, uint64(2), []byte("\x0C\xF1\xF1\x0C\xF1\xF1\xF1\x0C\xF1\xF1\x0C\xF1\xF1\xF1\x0C"))
	f.Add(true, true, uint64(3), []byte("\x08\xFD\xFD\xFD\x0C\xFD\xFD\xFD\x0E\xFD\xFD\xFD\x0E\xFD\xFD\xFD"))
	f.Add(true, true, uint64(3), []byte("\b\xfd\xfd\xfd\xfd\xfd\x8fA\fXe\x86\x86\x86\x86\x86\x86\x86\xfd\xfd\x0e\xfd\xfd\xfd")) // found one without the long silence
	f.Add(false, true, uint64(4), []byte("\x01\x0A\x06\x0F\xFF\xFF\xF1\xF1\x0A\x06"))
	f.Fuzz(func(t *testing.T, seven, before bool, seed uint64, plan []byte) {
		format := Format2
		if seven {
			format = Format7
		}
		c := &cable{bench: newBench(), stream: NewStream(format, seed)}
		if before {
			c.bench = locked(t, "80 70 61 00") // the values that the stream will have, so that they speak for it
		}
		told := len(c.readings)
		for range 1 + 300/(len(plan)+1) { // again and again, for a lock takes three
			for _, op := range plan {
				switch n := int(op>>2) + 1; op & 3 {
				case 0:
					c.pass(n, 0)
					c.read()
				case 1:
					c.read()
					c.lose(n)
				case 2:
					c.pass(n, 1<<(n&7))
					c.read()
				case 3: // the host is busy
					c.pass(n, 0)
				}
				if c.s.Found() == Format1 || c.s.Found() == Format8 && !before {
					t.Fatalf("found format %d in format %d", c.s.Found(), format)
				}
			}
		}
		for _, r := range c.readings[told:] {
			if r.Period == device.Duration(shortPeriod) {
				t.Fatalf("format %d gave %+v", format, r)
			}
		}
		if len(c.answers) > 0 {
			t.Fatalf("answered % x", c.answers)
		}
	})
}

// The same at random, for every format that is no stream of frames.
func TestStreamIsNeverShort(t *testing.T) {
	for _, format := range []Format{Format2, Format7} {
		for seed := range uint64(40) {
			c := &cable{bench: newBench(), stream: NewStream(format, seed)}
			rng := c.stream.rng
			loss := []int{0, 3, 30, 97}[seed%4] // percent of what the cable does
			for range 4000 {
				n := 1 + rng.IntN(40)
				switch {
				case rng.IntN(100) < loss:
					c.read()
					c.lose(3 * n)
				case loss > 0 && rng.IntN(100) < 5:
					c.pass(n, 1<<rng.IntN(8))
				default:
					c.pass(min(n, 1+rng.IntN(8)), 0)
					c.read()
				}
				if found := c.s.Found(); found != 0 && found != format {
					t.Fatalf("seed %d: found format %d in format %d", seed, found, format)
				}
			}
			if loss == 0 && len(c.numbers()) < 200 || len(c.answers) > 0 {
				t.Errorf("seed %d: %d numbers, answers % x", seed, len(c.numbers()), c.answers)
			}
		}
	}
}
