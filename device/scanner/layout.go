package scanner

import (
	"slices"

	codes "github.com/holoplot/go-evdev"

	"telecart/device/evdev"
)

// layout is what keys type on the US layout, to which a scanner that acts as a keyboard must be set.
var layout = rows(
	row{codes.KEY_1, "1234567890-=", "!@#$%^&*()_+"},
	row{codes.KEY_Q, "qwertyuiop[]", "QWERTYUIOP{}"},
	row{codes.KEY_A, "asdfghjkl;'`", `ASDFGHJKL:"~`},
	row{codes.KEY_BACKSLASH, `\zxcvbnm,./`, `|ZXCVBNM<>?`},
	row{codes.KEY_SPACE, " ", " "},
	row{codes.KEY_KP7, "789-456+1230.", "789-456+1230."}, // the number pad, whether Num Lock is on or not
	row{codes.KEY_KPSLASH, "/", "/"},
	row{codes.KEY_KPASTERISK, "*", "*"},
)

// row is keys whose codes follow one another.
type row struct {
	first          uint16
	plain, shifted string
}

type pair struct{ plain, shifted byte }

func rows(all ...row) map[uint16]pair {
	m := map[uint16]pair{}
	for _, r := range all {
		for i := range len(r.plain) {
			m[r.first+uint16(i)] = pair{r.plain[i], r.shifted[i]}
		}
	}
	return m
}

// needed are keys that every scanner has.
func needed() []uint16 {
	return []uint16{codes.KEY_0, codes.KEY_1, codes.KEY_A, codes.KEY_Z, codes.KEY_ENTER, codes.KEY_LEFTSHIFT}
}

const gs = 0x1d // the separator FNC1, which such scanners type as Ctrl+]

// stroke is what a key that went down means.
type stroke int

const (
	nothing stroke = iota
	typed          // a character
	ended          // Enter or Tab
	unknown        // something that isn't in the table: a character is missing now
)

// keyboard reads keys. It knows which of Shift, Ctrl and Alt are down.
type keyboard struct{ shift, ctrl, alt []uint16 }

func (k *keyboard) take(e evdev.Event) (stroke, byte) {
	if e.Lost() { // which modifiers are down now, nobody knows
		*k = keyboard{}
		return unknown, 0
	}
	for _, m := range []struct {
		down *[]uint16
		keys []uint16
	}{
		{&k.shift, []uint16{codes.KEY_LEFTSHIFT, codes.KEY_RIGHTSHIFT}},
		{&k.ctrl, []uint16{codes.KEY_LEFTCTRL, codes.KEY_RIGHTCTRL}},
		{&k.alt, []uint16{codes.KEY_LEFTALT, codes.KEY_RIGHTALT, codes.KEY_LEFTMETA, codes.KEY_RIGHTMETA}},
	} {
		if !slices.Contains(m.keys, e.Code) || !e.Down() && !e.Up() {
			continue
		}
		*m.down = slices.DeleteFunc(*m.down, func(c uint16) bool { return c == e.Code })
		if e.Down() {
			*m.down = append(*m.down, e.Code)
		}
		return nothing, 0
	}
	if !e.Down() || e.Code == codes.KEY_NUMLOCK {
		return nothing, 0
	}
	return k.press(e.Code)
}

func (k *keyboard) press(code uint16) (stroke, byte) {
	p, ok := layout[code]
	switch {
	case len(k.alt) > 0:
		return unknown, 0
	case code == codes.KEY_ENTER, code == codes.KEY_KPENTER, code == codes.KEY_TAB:
		return ended, 0
	case len(k.ctrl) > 0 && code == codes.KEY_RIGHTBRACE:
		return typed, gs
	case len(k.ctrl) > 0 || !ok:
		return unknown, 0
	case len(k.shift) > 0:
		return typed, p.shifted
	}
	return typed, p.plain
}
