package analyze

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const longestLine = 1 << 20

// column reads one number a line: the whole line, or one of its columns, which commas, semicolons, tabs or blanks part.
// A first line without a number is a header; blank lines at the end don't count; anything else is an error.
type column struct {
	in    *bufio.Scanner
	n     int // which, from 1; 0: there must be but one
	line  int
	blank int // the first blank line of those that no other has followed yet
}

func newColumn(r io.Reader, n int) *column {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), longestLine)
	return &column{in: in, n: n}
}

// next is the next number; io.EOF after the last.
func (c *column) next() (float64, error) {
	for c.in.Scan() {
		c.line++
		text := c.in.Text()
		if c.line == 1 {
			text = strings.TrimPrefix(text, "\uFEFF")
		}
		if strings.TrimSpace(text) == "" {
			if c.blank == 0 {
				c.blank = c.line
			}
			continue
		}
		if c.blank > 0 {
			return 0, fmt.Errorf("line %d is blank: give a number on every line", c.blank)
		}
		v, err := c.number(text)
		if err == nil {
			return v, nil
		}
		if c.line > 1 {
			return 0, fmt.Errorf("line %d: %w", c.line, err)
		}
	}
	switch err := c.in.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return 0, fmt.Errorf("line %d is longer than %d bytes: give one sample a line", c.line+1, longestLine)
	case err != nil:
		return 0, fmt.Errorf("after line %d: %w", c.line, err)
	}
	return 0, io.EOF
}

func (c *column) number(text string) (float64, error) {
	fields := split(text)
	n := c.n
	switch {
	case n == 0 && len(fields) > 1:
		return 0, fmt.Errorf("%d columns: say with --column which one holds the samples", len(fields))
	case n > len(fields):
		return 0, fmt.Errorf("%d columns, and --column %d is wanted", len(fields), n)
	case n == 0:
		n = 1
	}
	field := strings.Trim(fields[n-1], `"'`)
	v, err := strconv.ParseFloat(field, 64)
	if errors.Is(err, strconv.ErrRange) {
		return v, nil // an infinity, which counts as missing
	}
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a number", field)
	}
	return v, nil
}

// split parts a line at commas and the like, each of which ends a column, even an empty one; without any, at blanks.
func split(text string) []string {
	mark := ","
	switch {
	case strings.Contains(text, ","):
	case strings.Contains(text, ";"):
		mark = ";"
	case strings.Contains(strings.TrimSpace(text), "\t"):
		mark = "\t"
	default:
		return strings.Fields(text)
	}
	fields := strings.Split(text, mark)
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return fields
}
