package ad8232

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrLine: a GPIO line can't be used.
var ErrLine = errors.New("ad8232: GPIO line")

// line names a GPIO line: the chip under /dev, and the line's offset on it.
type line struct {
	chip   string
	offset uint32
}

func (l line) String() string { return l.chip + ":" + strconv.FormatUint(uint64(l.offset), 10) }

// parseLines reads "gpiochip0:22,gpiochip0:23".
func parseLines(text string, most int) (lines []line, err error) {
	grammar := regexp.MustCompile(`^(gpiochip[0-9]{1,3}):([0-9]{1,3})$`)
	for _, word := range strings.Split(text, ",") {
		m := grammar.FindStringSubmatch(strings.TrimSpace(word))
		if m == nil {
			return nil, fmt.Errorf("%q is no line like gpiochip0:17", word)
		}
		n, err := strconv.ParseUint(m[2], 10, 32)
		if err != nil {
			return nil, err
		}
		l := line{m[1], uint32(n)}
		for _, other := range lines {
			if other == l {
				return nil, fmt.Errorf("%s twice", l)
			}
		}
		lines = append(lines, l)
	}
	if len(lines) > most {
		return nil, fmt.Errorf("%d lines, of %d at most", len(lines), most)
	}
	return lines, nil
}

// edge is one of a line's falling edges, as the kernel saw it.
type edge struct {
	n  uint32        // counts the line's edges, those that were never read included
	at time.Duration // CLOCK_MONOTONIC
}

// pulses is an input whose falling edges are waited for.
type pulses interface {
	// Next returns the newest edge that was not returned before. errQuiet: none came for some time.
	Next(ctx context.Context) (edge, error)
	Close() error
}

// level is an input that is looked at.
type level interface {
	High() (bool, error)
	Close() error
}

// gpio opens lines.
type gpio interface {
	Pulses(line) (pulses, error)
	Level(line) (level, error)
}

var errQuiet = errors.New("ad8232: no edge on the ready line")
