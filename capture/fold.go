package capture

import (
	"strings"
	"unicode"
)

// fold makes names comparable: lower case, without spaces and punctuation, Latin letters without their marks, whether a
// mark is part of the letter or follows it. Marks of other scripts stay: there a vowel sign is as good as a letter.
func fold(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch base, ok := latin[r]; {
		case ok:
			b.WriteString(base)
		case r >= 0x300 && r <= 0x36f: // combining diacritical marks
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// latin are the lower-case letters of Latin-1 Supplement, Latin Extended-A and Vietnamese that are another letter with a
// mark, or are written as two in passports (ICAO Doc 9303 part 3, section 6).
var latin = marks(map[string]string{
	"a": "\u00e0\u00e1\u00e2\u00e3\u00e4\u0101\u0103\u0105\u01ce\u1ea1\u1ea3\u1ea5\u1ea7\u1ea9\u1eab\u1ead\u1eaf\u1eb1\u1eb3\u1eb5\u1eb7",
	"c": "\u00e7\u0107\u0109\u010b\u010d",
	"d": "\u010f\u0111\u00f0",
	"e": "\u00e8\u00e9\u00ea\u00eb\u0113\u0115\u0117\u0119\u011b\u1eb9\u1ebb\u1ebd\u1ebf\u1ec1\u1ec3\u1ec5\u1ec7",
	"g": "\u011d\u011f\u0121\u0123",
	"h": "\u0125\u0127",
	"i": "\u00ec\u00ed\u00ee\u00ef\u0129\u012b\u012d\u012f\u0131\u1ec9\u1ecb",
	"j": "\u0135",
	"k": "\u0137",
	"l": "\u013a\u013c\u013e\u0140\u0142",
	"n": "\u00f1\u0144\u0146\u0148",
	"o": "\u00f2\u00f3\u00f4\u00f5\u00f6\u00f8\u014d\u014f\u0151\u01a1\u1ecd\u1ecf\u1ed1\u1ed3\u1ed5\u1ed7\u1ed9\u1edb\u1edd\u1edf\u1ee1\u1ee3",
	"r": "\u0155\u0157\u0159",
	"s": "\u015b\u015d\u015f\u0161\u0219",
	"t": "\u0163\u0165\u0167\u021b",
	"u": "\u00f9\u00fa\u00fb\u00fc\u0169\u016b\u016d\u016f\u0171\u0173\u01b0\u1ee5\u1ee7\u1ee9\u1eeb\u1eed\u1eef\u1ef1",
	"w": "\u0175",
	"y": "\u00fd\u00ff\u0177\u1ef3\u1ef5\u1ef7\u1ef9",
	"z": "\u017a\u017c\u017e",

	"ae": "\u00e6", "oe": "\u0153", "ss": "\u00df", "th": "\u00fe",
})

func marks(letters map[string]string) map[rune]string {
	out := map[rune]string{}
	for base, all := range letters {
		for _, r := range all {
			out[r] = base
		}
	}
	return out
}
