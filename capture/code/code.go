// Package code says what a scanned code means: a patient's wristband, an organisation's GSRN, a product, or something else.
//
// Parties: a scanner, which gives text and, if it can, the symbology; the site, whose settings say what its wristbands
// look like; the agent, which acts on what comes out.
//
// Invariants: nothing names a patient but a wristband of the site's own format, or a GS1 service relation number (GSRN)
// that the site's organisation issued; only whole, and with the right check digit if the site's numbers have one (a GSRN
// does). Anything else is no patient, however much it looks like a number. What was scanned shows in no log and no error.
//
// Sources: GS1 General Specifications (element strings: section 3; check digits: 7.9; processing: 7.8); GS1 Barcode
// Syntax Dictionary; HL7 v2, table 0061 (check digit schemes); ISO/IEC 15424 (symbology identifiers).
package code

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"telecart/capture"
)

// Kind is what a code is.
type Kind string

const (
	Wristband Kind = "wristband" // of this site: Patient is set
	GSRN      Kind = "gsrn"      // of a patient of this site (AI 8018): Patient is set
	Provider  Kind = "provider"  // GSRN of somebody who gives care (AI 8017): a badge
	Device    Kind = "device"    // GTIN: a product, as a rule an instrument or what is used with one
	Claim     Kind = "claim"     // of a cart's enrolment; whether it is whole is for package claim to say
	Other     Kind = "other"
)

// Code is what a scan means. It may hold a patient or a claim's secret, and shows neither.
type Code struct {
	Kind      Kind
	Text      string          // the number (gsrn, provider: 18 digits; device: 14), or what was scanned, without blanks around it
	Symbology string          // AIM identifier, "]d2", if the scanner said
	Patient   capture.Patient // of a wristband or gsrn
	Elements  []Element       // of a GS1 code
}

// Value is a GS1 element's, "" if there is none: "10" is a batch, "21" a serial number, "17" the date after which not to
// use it.
func (c Code) Value(ai string) string {
	i := slices.IndexFunc(c.Elements, func(e Element) bool { return e.AI == ai })
	if i < 0 {
		return ""
	}
	return c.Elements[i].Value
}

// Errors of Parse say what the nurse is to do.
var (
	ErrCheckDigit = errors.New("code: the check digit is wrong, so it was misread or misprinted: scan it again, or don't use it")
	ErrGS1        = errors.New("code: not a whole GS1 code: scan it again")
	ErrForeign    = errors.New("code: this site did not issue that wristband: enter name and birth date")
	ErrUnreadable = errors.New("code: there is no text in it: scan it again")
)

const (
	maxText  = 4096
	minClaim = 100 // characters; keys and hashes alone are more
	claimed  = "TC1-"
)

// Parse says what was scanned: text as the scanner gave it, symbology as it says ("]C1") or "". Errors are this package's,
// or capture.ErrWristband for a number of this site with something behind it that can't be read.
func Parse(text, symbology string, site Site) (Code, error) {
	text = strings.Trim(text, " \t\r\n")
	if symbology == "" {
		symbology, text = splitAIM(text)
	}
	c := Code{Kind: Other, Text: text, Symbology: symbology}
	switch {
	case text == "" || len(text) > maxText || !utf8.ValidString(text):
		return Code{}, ErrUnreadable
	case isGS1(symbology):
		return c.gs1(site)
	case isGTIN(symbology):
		return c.gtin()
	case len(text) >= minClaim && strings.EqualFold(text[:len(claimed)], claimed):
		c.Kind = Claim
		return c, nil
	}
	if p, ok, err := site.patient(text); ok {
		c.Kind, c.Text, c.Patient = Wristband, p.ID, p
		if err != nil {
			return Code{}, err
		}
		return c, nil
	}
	if symbology == "" && looksGS1(text) {
		return c.gs1(site)
	}
	return c, nil
}

// splitAIM takes off a symbology identifier that a keyboard wedge left in front.
func splitAIM(s string) (symbology, text string) {
	if len(s) < 3 || s[0] != ']' || !isLetter(s[1]) || !isLetter(s[2]) && !isDigit(s[2]) {
		return "", s
	}
	return s[:3], s[3:]
}

func isLetter(c byte) bool { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func digits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// isGS1 says whether the symbology is one that holds GS1 element strings: FNC1 is its first character, or it is DataBar.
func isGS1(symbology string) bool {
	return slices.Contains([]string{"]C1", "]e0", "]e1", "]e2", "]d2", "]Q3", "]J1"}, symbology)
}

// isGTIN: EAN-13, UPC, EAN-8, ITF-14. They hold nothing but a product's number, and never a patient's.
func isGTIN(symbology string) bool { return slices.Contains([]string{"]E0", "]E4", "]I1"}, symbology) }

// gtin reads the number of a product from the symbologies that hold it bare.
func (c Code) gtin() (Code, error) {
	n := len(c.Text)
	if !digits(c.Text) || n != 8 && n != 12 && n != 13 && n != 14 {
		return c, nil // some other use of the symbology
	}
	if !checked(c.Text, gs1Digit) {
		return Code{}, ErrCheckDigit
	}
	c.Kind, c.Text = Device, strings.Repeat("0", 14-n)+c.Text
	return c, nil
}

// gs1 reads element strings.
func (c Code) gs1(site Site) (Code, error) {
	var err error
	if c.Elements, err = parseElements(c.Text); err != nil {
		return Code{}, err
	}
	switch {
	case c.Value("8018") != "":
		if c.Value("8017") != "" { // the dictionary forbids both; whose is it?
			return Code{}, fmt.Errorf("%w (it names a patient and a provider)", ErrGS1)
		}
		c.Kind, c.Text = GSRN, c.Value("8018")
		if site.prefix == "" || !strings.HasPrefix(c.Text, site.prefix) {
			return Code{}, ErrForeign
		}
		c.Patient, err = person(c)
	case c.Value("8017") != "":
		c.Kind, c.Text = Provider, c.Value("8017")
	case c.Value("01") != "":
		c.Kind, c.Text = Device, c.Value("01")
	}
	if err != nil {
		return Code{}, err
	}
	return c, nil
}

const redacted = "[scanned]"

// LogValue, String and Format keep what was scanned out of logs, whichever verb is used.
func (c Code) LogValue() slog.Value        { return slog.StringValue(c.String()) }
func (c Code) String() string              { return string(c.Kind) + " " + redacted }
func (c Code) Format(f fmt.State, _ rune)  { io.WriteString(f, c.String()) }
func (Element) LogValue() slog.Value       { return slog.StringValue(redacted) }
func (Element) String() string             { return redacted }
func (Element) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }
