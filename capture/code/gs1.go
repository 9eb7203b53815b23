package code

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"telecart/capture"
)

// Element is one GS1 element string: an application identifier and its value.
type Element struct{ AI, Value string }

const gs = "\x1d" // what scanners send for FNC1 between two elements

// looksGS1 says of a text without a symbology whether it can't be anything else: it has separators, or begins with a number
// whose identifier and length fit.
func looksGS1(s string) bool {
	if strings.Contains(s, gs) {
		return !strings.HasPrefix(s, "[)>") // ISO/IEC 15434: other contents, with separators
	}
	for ai, n := range map[string]int{"8018": 18, "8017": 18, "01": 14, "00": 18} {
		if rest, ok := strings.CutPrefix(s, ai); ok && len(rest) >= n && digits(rest[:n]) && (ai == "01" || len(rest) == n) {
			return true
		}
	}
	return false
}

// parseElements takes element strings apart. All of the text must be understood: an identifier that isn't known, a value
// of the wrong form or length, a wrong check digit, or two values for one identifier, and there is none.
func parseElements(s string) ([]Element, error) {
	s = strings.TrimPrefix(s, gs) // FNC1 in the first place is part of the symbol, but some scanners send it
	var all []Element
	for s != "" {
		ai, format := identify(s)
		if ai == "" {
			return nil, bad(len(all), "its identifier is not known")
		}
		s = s[len(ai):]
		var value string
		if n, ok := predefined(ai, format); ok {
			if len(s) < n {
				return nil, bad(len(all), "it breaks off")
			}
			value, s = s[:n], strings.TrimPrefix(s[n:], gs)
		} else {
			value, s, _ = strings.Cut(s, gs)
		}
		if err := conforms(value, format); err != nil {
			return nil, fmt.Errorf("%w (element %d)", err, len(all)+1)
		}
		e := Element{ai, value}
		if was := (Code{Elements: all}).Value(ai); was != "" && was != value {
			return nil, bad(len(all), "it contradicts another")
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w (it is empty)", ErrGS1)
	}
	return all, nil
}

func bad(before int, why string) error {
	return fmt.Errorf("%w (element %d: %s)", ErrGS1, before+1, why)
}

// predefined says whether values of an identifier always have the same length and need no separator after them: GS1 General
// Specifications 7.8.5, by the identifier's first two digits. That list will never grow.
func predefined(ai, format string) (length int, ok bool) {
	switch p := ai[:2]; {
	case p <= "04", p >= "11" && p <= "20", p >= "31" && p <= "36", p == "41":
		n, err := strconv.Atoi(strings.TrimRight(format[1:], "cd"))
		return n, err == nil
	}
	return 0, false
}

// conforms says whether a value is of a format of the table: parts one after the other, the last of which may be optional.
func conforms(value, format string) error {
	for part := range strings.FieldsSeq(format) {
		optional := part[0] == '['
		part = strings.Trim(part, "[]")
		if optional && value == "" {
			return nil
		}
		length := strings.TrimRight(part[1:], "cdD")
		low, high := 0, 0
		if limit, ok := strings.CutPrefix(length, ".."); ok {
			high, _ = strconv.Atoi(limit)
			low, high = 1, min(high, max(1, len(value)))
		} else {
			low, _ = strconv.Atoi(length)
			high = low
		}
		if len(value) < low {
			return fmt.Errorf("%w: it breaks off", ErrGS1)
		}
		if err := conform(value[:high], part[0], part[len(part)-1]); err != nil {
			return err
		}
		value = value[high:]
	}
	if value != "" {
		return fmt.Errorf("%w: it is too long, or a separator was lost", ErrGS1)
	}
	return nil
}

// conform checks one part: its characters, and what its last letter asks for.
func conform(s string, class, flag byte) error {
	for i := range len(s) {
		if !member(s[i], class) {
			return fmt.Errorf("%w: a character that can't be there", ErrGS1)
		}
	}
	switch {
	case flag == 'c' && !checked(s, gs1Digit):
		return ErrCheckDigit
	case flag == 'd' && !isDate("20"+s[:4]+dayOrLast(s)), flag == 'D' && !isDate(s):
		return fmt.Errorf("%w: a date that there isn't", ErrGS1)
	}
	return nil
}

// dayOrLast: day 00 stands for the last of the month (GS1 General Specifications 3.4.2); any month has a 28th.
func dayOrLast(yymmdd string) string {
	if yymmdd[4:] == "00" {
		return "28"
	}
	return yymmdd[4:]
}

func isDate(yyyymmdd string) bool {
	_, err := time.Parse("20060102", yyyymmdd)
	return err == nil
}

// member says whether a character is of a class: N digits, X the 82 characters of GS1 (figure 7.11-1), Y the 39
// (7.11-2), Z those of base64 for file names.
func member(c, class byte) bool {
	switch class {
	case 'N':
		return isDigit(c)
	case 'X':
		return isDigit(c) || isLetter(c) || strings.IndexByte("!\"%&'()*+,-./:;<=>?_", c) >= 0
	case 'Y':
		return isDigit(c) || c >= 'A' && c <= 'Z' || c == '#' || c == '-' || c == '/'
	}
	return isDigit(c) || isLetter(c) || c == '-' || c == '_' || c == '='
}

// person is the patient of a GSRN, with what else the wristband says: name and birth date (AIs 7250 to 7256). A
// newborn's wristband has the mother's name (7259), which is not the patient's: it is left out.
func person(c Code) (capture.Patient, error) {
	p := capture.Patient{ID: c.Text}
	if d := c.Value("7250") + c.Value("7251"); len(d) == 8 || len(d) == 12 {
		p.BirthDate = d[:4] + "-" + d[4:6] + "-" + d[6:8]
	}
	var names []string
	for _, ai := range []string{"7254", "7253", "7255"} {
		names = append(names, c.Value(ai))
	}
	if full := c.Value("7256"); full != "" {
		names = []string{full}
	}
	// Percent-encoded, + for a blank.
	name, err := url.QueryUnescape(strings.Join(names, "+"))
	if err != nil || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return capture.Patient{}, fmt.Errorf("%w (a name that can't be read)", ErrGS1)
	}
	p.Name = strings.Join(strings.Fields(name), " ")
	return p, nil
}
