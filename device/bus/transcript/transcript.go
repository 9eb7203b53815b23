// Package transcript writes down what happens on an I2C bus, transaction by transaction, and plays it again.
//
// Parties: a Recorder stands between a driver and a bus, real or simulated; a Player is the bus afterwards. Between them is a
// text, one transaction a line, that people read and write too:
//
//	# a TMP117 says who it is, converts, and is unplugged
//	48 w 0f r 1117
//	48 w 010220
//	48 w 01 r ???? ! no such device or address
//
// Invariants: a Player gives what was recorded, errors included, to exactly the transactions that were recorded, in their order;
// at the first that differs it fails, and fails from then on. Parsing takes bounded memory.
package transcript

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxLine  = 40_000
	maxLines = 100_000
	maxBytes = 8192 // of one message: the kernel's limit in i2c-dev
)

// ErrFormat: a text that is no transcript.
var ErrFormat = errors.New("transcript: give lines like: 48 w 0f r 1117")

// Transaction is one line. R is meaningless, but for its length, if Err is set.
type Transaction struct {
	Addr uint16
	W, R []byte
	Err  string // "" is none
}

func (t Transaction) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%02x", t.Addr)
	if len(t.W) > 0 {
		fmt.Fprintf(&s, " w %x", t.W)
	}
	switch {
	case len(t.R) == 0:
	case t.Err == "":
		fmt.Fprintf(&s, " r %x", t.R)
	default:
		fmt.Fprintf(&s, " r %s", strings.Repeat("??", len(t.R)))
	}
	if t.Err != "" {
		fmt.Fprintf(&s, " ! %s", oneLine(t.Err))
	}
	return s.String()
}

// oneLine keeps an error on its line.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return cmp.Or(strings.TrimSpace(s), "error")
}

// Parse reads a transcript. Empty lines and those that begin with # are for people.
func Parse(r io.Reader) ([]Transaction, error) {
	var all []Transaction
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		t, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("%w, not %q in line %d", err, shorten(line), n)
		}
		if len(all) == maxLines {
			return nil, fmt.Errorf("transcript: more than %d transactions", maxLines)
		}
		all = append(all, t)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	return all, nil
}

func shorten(s string) string { return s[:min(len(s), 80)] }

func parseLine(line string) (t Transaction, err error) {
	body, text, failed := strings.Cut(line, "!")
	if failed {
		t.Err = oneLine(text)
	}
	words := strings.Fields(body)
	if len(words) == 0 || len(words[0]) != 2 {
		return t, ErrFormat
	}
	addr, err := strconv.ParseUint(words[0], 16, 7)
	if err != nil {
		return t, ErrFormat
	}
	t.Addr = uint16(addr)
	words = words[1:]
	if len(words) >= 2 && words[0] == "w" {
		if t.W, err = message(words[1]); err != nil {
			return t, err
		}
		words = words[2:]
	}
	if len(words) == 2 && words[0] == "r" {
		if failed {
			t.R, err = unread(words[1])
		} else {
			t.R, err = message(words[1])
		}
		words = nil
	}
	if err != nil || len(words) > 0 {
		return t, ErrFormat
	}
	return t, nil
}

func message(word string) ([]byte, error) {
	b, err := hex.DecodeString(word)
	if err != nil || len(b) > maxBytes {
		return nil, ErrFormat
	}
	return b, nil
}

// unread is what a failed transaction was to read.
func unread(word string) ([]byte, error) {
	if strings.Trim(word, "?") != "" || len(word)%2 != 0 || len(word) > 2*maxBytes {
		return nil, ErrFormat
	}
	return make([]byte, len(word)/2), nil
}
