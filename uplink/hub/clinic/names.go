package clinic

import (
	"slices"
	"strings"
	"unicode"

	"telecart/capture"
)

// Alike says whether two different patients are easily taken for each other: born on the same day, or with names that
// differ by a slip of the pen, by accents, by case, or by the order of their parts.
func Alike(a, b capture.Patient) bool {
	if a.ID == b.ID {
		return false
	}
	return a.BirthDate != "" && a.BirthDate == b.BirthDate || likeNames(a.Name, b.Name)
}

func likeNames(a, b string) bool {
	x, y := fold(a), fold(b)
	if len(x) == 0 || len(y) == 0 {
		return false
	}
	allowed := 1
	if min(len(x), len(y)) >= 8 {
		allowed = 2
	}
	if min(len(x), len(y)) < 4 {
		allowed = 0
	}
	return distance(x, y) <= allowed
}

// maxNameRunes bounds the work of comparing: distance is quadratic.
const maxNameRunes = 128

// fold brings a name to the form that is compared: base letters in lower case, parts in alphabetical order.
func fold(s string) []rune {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case unicode.Is(unicode.Mn, r): // a combining accent
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			b.WriteByte(' ')
		default:
			b.WriteString(baseLetter(r))
		}
	}
	parts := strings.Fields(b.String())
	slices.Sort(parts)
	out := []rune(strings.Join(parts, " "))
	return out[:min(len(out), maxNameRunes)]
}

// baseLetter takes the accent off a Latin letter: Unicode 15, Latin-1 Supplement, Latin Extended-A and the letters that
// Vietnamese and Romanian add.
func baseLetter(r rune) string {
	if r < 0x80 {
		return string(r)
	}
	for _, l := range [...][2]string{
		{"àáâãäåāăąǎạảấầẩẫậắằẳẵặ", "a"}, {"çćĉċč", "c"}, {"ďđð", "d"}, {"èéêëēĕėęěẹẻẽếềểễệ", "e"}, {"ĝğġģ", "g"},
		{"ĥħ", "h"}, {"ìíîïĩīĭįıǐỉị", "i"}, {"ĵ", "j"}, {"ķĸ", "k"}, {"ĺļľŀł", "l"}, {"ñńņňŋ", "n"},
		{"òóôõöøōŏőǒơọỏốồổỗộớờởỡợ", "o"}, {"ŕŗř", "r"}, {"śŝşšș", "s"}, {"ţťŧț", "t"},
		{"ùúûüũūŭůűųǔưụủứừửữự", "u"}, {"ŵ", "w"}, {"ýÿŷỳỵỷỹ", "y"}, {"źżž", "z"}, {"æ", "ae"}, {"œ", "oe"}, {"ß", "ss"}, {"þ", "th"},
	} {
		if strings.ContainsRune(l[0], r) {
			return l[1]
		}
	}
	return string(r)
}

// distance counts insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
func distance(a, b []rune) int {
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}
