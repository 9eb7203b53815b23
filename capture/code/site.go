package code

import (
	"fmt"
	"regexp"
	"strings"

	"telecart/capture"
)

// Site is what a site's settings say of its wristbands. Its zero value knows none.
type Site struct {
	format *regexp.Regexp
	scheme func(digits string) byte
	prefix string
}

// Schemes of check digits that a site's numbers may have.
const (
	None  = "none"
	Mod10 = "mod10" // M10 of HL7 table 0061: Luhn
	Mod11 = "mod11" // M11 of HL7 table 0061: weights 2 to 7
	GS1   = "gs1"   // weights 3 and 1
)

// NewSite takes the settings. Format is a regular expression for the whole number ("" is capture.DefaultWristband).
// Check is the scheme of its last digit, over all digits in it, or over those in the format's first group if it has one;
// "" is none. CompanyPrefix is the GS1 company prefix of the organisation's GSRNs; "" if it has none: then no GSRN names
// a patient.
func NewSite(format, check, companyPrefix string) (Site, error) {
	if format == "" {
		format = capture.DefaultWristband
	}
	re, err := regexp.Compile(format)
	if err != nil {
		return Site{}, fmt.Errorf("code: the wristbands' format: %w", err)
	}
	re.Longest()
	s := Site{format: re, prefix: companyPrefix}
	if re.MatchString("") {
		return Site{}, fmt.Errorf("code: the wristbands' format %q fits an empty code: state what a number looks like", format)
	}
	switch check {
	case "", None:
	case Mod10:
		s.scheme = luhnDigit
	case Mod11:
		s.scheme = mod11Digit
	case GS1:
		s.scheme = gs1Digit
	default:
		return Site{}, fmt.Errorf("code: check digit %q: give none, mod10, mod11 or gs1", check)
	}
	if n := len(companyPrefix); n > 0 && (n < 4 || n > 12 || !digits(companyPrefix)) {
		return Site{}, fmt.Errorf("code: GS1 company prefix %q: give its 4 to 12 digits", companyPrefix)
	}
	return s, nil
}

// patient reads a wristband: NUMBER, or NUMBER|NAME|BIRTH DATE. It is false for what isn't a number of this site's.
func (s Site) patient(text string) (p capture.Patient, ok bool, err error) {
	if s.format == nil {
		return capture.Patient{}, false, nil
	}
	number, _, _ := strings.Cut(text, "|")
	m := s.format.FindStringSubmatch(number)
	if m == nil || m[0] != number {
		return capture.Patient{}, false, nil
	}
	if p, err = capture.ParseWristband(text, s.format); err != nil {
		return capture.Patient{}, true, err
	}
	if s.scheme != nil && !checked(only(m), s.scheme) {
		return capture.Patient{}, true, ErrCheckDigit
	}
	return p, true, nil
}

// only is the digits that the check digit is over.
func only(m []string) string {
	number := m[0]
	if len(m) > 1 {
		number = m[1]
	}
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, number)
}
