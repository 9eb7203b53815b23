package scanner

import (
	"strings"
	"time"
	"unicode/utf8"
)

// line puts a code together from what comes piece by piece. It is a step machine: times come in, as they pass by any one
// clock.
//
// A pause longer than idle drops what came before it. What comes soon after is the rest of the same code, and is dropped
// to its end: only after a pause longer than rest does something new begin.
type line struct {
	limit      int // bytes
	idle, rest time.Duration

	text   []byte
	begun  bool // something came since the last end
	broken bool // and can't be used
	last   time.Duration
	lost   uint64
}

// add takes the next piece of the code.
func (l *line) add(at time.Duration, s string) {
	l.pass(at)
	l.begun = true
	if len(l.text)+len(s) > l.limit {
		l.broken = true
	}
	if l.broken {
		l.text = l.text[:0]
		return
	}
	l.text = append(l.text, s...)
}

// spoil takes a piece that can't be read.
func (l *line) spoil(at time.Duration) {
	l.pass(at)
	l.begun, l.broken, l.text = true, true, l.text[:0]
}

// end takes the terminator. It gives the code if all of it is there.
func (l *line) end(at time.Duration) (text string, whole bool) {
	l.pass(at)
	if !l.begun {
		return "", false
	}
	text, whole = string(l.text), !l.broken && readable(l.text)
	l.forget(whole)
	return text, whole
}

// pass lets time go by.
func (l *line) pass(at time.Duration) {
	gap := at - l.last
	l.last = at
	switch {
	case !l.begun:
	case gap > l.rest || gap < 0:
		l.forget(false)
	case gap > l.idle:
		l.broken, l.text = true, l.text[:0]
	}
}

// forget begins anew. What was not whole is lost.
func (l *line) forget(whole bool) {
	if l.begun && !whole {
		l.lost++
	}
	clear(l.text)
	l.begun, l.broken, l.text = false, false, l.text[:0]
}

// takeLost says how many codes were lost since it was last asked.
func (l *line) takeLost() uint64 {
	n := l.lost
	l.lost = 0
	return n
}

// structure is control characters that codes hold: EOT and the separators FS, GS, RS, US (ISO/IEC 15434). GS stands for
// FNC1.
const structure = "\x04\x1c\x1d\x1e\x1f"

// readable says whether the bytes are text. Others are noise on the line, another baud rate, or another alphabet than
// UTF-8, and nobody knows what they mean.
func readable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	return !strings.ContainsFunc(string(b), func(r rune) bool {
		return (r < ' ' || r >= 0x7f && r < 0xa0) && !strings.ContainsRune(structure, r)
	})
}

// splitAIM takes off the symbology identifier that scanners can put in front: "]", a letter for the symbology, a modifier
// (ISO/IEC 15424). "]C1" is GS1-128, "]d2" GS1 DataMatrix, "]Q3" GS1 QR, "]e0" GS1 DataBar.
func splitAIM(s string) (symbology, text string) {
	if len(s) < 3 || s[0] != ']' || !letter(s[1]) || !letter(s[2]) && (s[2] < '0' || s[2] > '9') {
		return "", s
	}
	return s[:3], s[3:]
}

func letter(c byte) bool { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }
