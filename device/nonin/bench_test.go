package nonin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/oximeter/line"
)

// story is an outlet for one goroutine that writes down what changed, in words.
type story struct {
	lines    []string
	samples  []device.Samples
	readings []device.Reading
}

func (s *story) tell(line string) {
	if len(s.lines) == 0 || s.lines[len(s.lines)-1] != line {
		s.lines = append(s.lines, line)
	}
}

func (s *story) Observe(o device.Observation) {
	switch o := o.(type) {
	case device.Health:
		s.tell(strings.TrimSpace(fmt.Sprintf("health %s %s", o.State, o.Reason)))
	case device.Samples:
		s.samples = append(s.samples, o)
	case device.Reading:
		s.readings = append(s.readings, o)
		if o.Absent != "" {
			s.tell(o.Quantity + " absent " + string(o.Absent))
			return
		}
		s.tell(strings.TrimSpace(fmt.Sprintf("%s %s%s %s", o.Quantity, o.Value, o.Unit, o.Quality)))
	}
}

// numbers are the readings that carry one.
func (s *story) numbers() []device.Reading {
	return slices.DeleteFunc(slices.Clone(s.readings), func(r device.Reading) bool { return r.Absent != "" })
}

// bench is a session and the time it lives in.
type bench struct {
	story
	s       *Session
	clock   *kit.Manual
	answers []byte
}

func newBench(formats ...Format) *bench {
	if len(formats) == 0 {
		formats = Formats()
	}
	b := &bench{clock: kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))}
	b.s = NewSession(device.Identity{Name: "oximeter"}, kit.NewStamper(b.clock, nil), b, b.clock.Now(), formats...)
	return b
}

// after lets time pass, in the silent reads that a line makes of it, and then bytes come.
func (b *bench) after(d time.Duration, bytes []byte) {
	for d > line.Wait {
		d -= line.Wait
		b.clock.Advance(line.Wait)
		b.take(line.Chunk{})
	}
	b.clock.Advance(d)
	b.take(line.Chunk{Bytes: bytes})
}

func (b *bench) take(c line.Chunk) {
	answer, err := b.s.Take(b.clock.Now(), c)
	if err != nil {
		panic(err)
	}
	b.answers = append(b.answers, answer...)
}

// expect compares what was told since the last time.
func (b *bench) expect(t *testing.T, lines ...string) {
	t.Helper()
	if !slices.Equal(b.lines, lines) {
		t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(b.lines, "\n\t"), strings.Join(lines, "\n\t"))
	}
	b.lines = nil
}
