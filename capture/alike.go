package capture

import (
	"slices"
	"strings"
)

// NameAlert gives those of today's patients who could be mistaken for p.
func NameAlert(p Patient, today []Patient) []Patient {
	var out []Patient
	for _, t := range today {
		if Alike(p, t) {
			out = append(out, t)
		}
	}
	return out
}

// Alike says whether two different patients are easily taken for each other: born on the same day (twins), or with names
// that differ by a slip of the pen, by accents, by case, or by the order of their parts.
func Alike(a, b Patient) bool {
	return !Same(a, b) && (a.BirthDate != "" && a.BirthDate == b.BirthDate || likeNames(a.Name, b.Name))
}

// Key is the same for two patients just when Same says that they are one, if both have a number or neither has.
func (p Patient) Key() string {
	if p.ID != "" {
		return "id " + p.ID
	}
	return "name " + fold(p.Name) + " " + p.BirthDate
}

func likeNames(a, b string) bool {
	x, y := foldParts(a), foldParts(b)
	short, allowed := min(len(x), len(y)), 1
	switch {
	case short == 0:
		return false
	case short < 4:
		allowed = 0
	case short >= 8:
		allowed = 2
	}
	return distance(x, y) <= allowed
}

// maxNameRunes bounds the work of comparing: distance is quadratic.
const maxNameRunes = 128

// foldParts folds a name's parts and puts them in order.
func foldParts(s string) []rune {
	parts := strings.FieldsFunc(s, func(r rune) bool { return fold(string(r)) == "" && !isMark(r) })
	for i := range parts {
		parts[i] = fold(parts[i])
	}
	slices.Sort(parts)
	out := []rune(strings.Join(parts, " "))
	return out[:min(len(out), maxNameRunes)]
}

// isMark: a combining mark belongs to the letter before it and parts no names.
func isMark(r rune) bool { return r >= 0x300 && r <= 0x36f }

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
