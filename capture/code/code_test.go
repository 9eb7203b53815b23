package code

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"telecart/capture"
)

// Check digits that the standards themselves give.
func TestCheckDigits(t *testing.T) {
	for _, c := range []struct {
		name   string
		scheme func(string) byte
		vector []string // digits with their check digit
	}{
		{"GS1", gs1Digit, []string{
			"376104250021234569", "9521234500018", "09524141234564", // General Specifications 7.9.1 with table 7-9
			"6291041500213", "8904000210037", // GS1's pages on how to calculate one
			"123456789012345675", // GSRN, GS1 Barcode Syntax Engine's tests
			"09506000134352", "106141412345678908",
		}},
		{"HL7 M10", luhnDigit, []string{"123455", "4010", "99994", "999999998"}}, // HL7 v2.3, 2.8.5.3
		{"M11", mod11Digit, []string{"12345674", "5161928722"}},                  // HP RPG/iX and VPLUS manuals, same weights
	} {
		for _, v := range c.vector {
			if !checked(v, c.scheme) {
				t.Errorf("%s: %s is not accepted", c.name, v)
			}
			// Every other check digit is wrong, and every single digit that was misread is found; for M11 all but those
			// among which 0 stands for two remainders.
			for i := range v {
				for d := byte('0'); d <= '9'; d++ {
					other := []byte(v)
					if other[i] = d; d != v[i] && checked(string(other), c.scheme) {
						t.Errorf("%s: %s passes for %s", c.name, other, v)
					}
				}
			}
		}
	}
	for remainder, want := range map[string]byte{"0": '0', "6": '0', "5": '1'} { // 0, 12 mod 11 = 1, 10
		if got := mod11Digit(remainder); got != want {
			t.Errorf("M11 of %s is %c, want %c", remainder, got, want)
		}
	}
	if checked("", gs1Digit) || checked("0", gs1Digit) {
		t.Error("nothing has a right check digit")
	}
}

func site(t testing.TB, format, check, prefix string) Site {
	t.Helper()
	s, err := NewSite(format, check, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	const gsrn, badge, gtin = "123456789012345675", "376104250021234569", "09506000134352"
	hospital := site(t, "", "mod10", "123456")
	patient := func(k Kind, id, name, born string) Code {
		return Code{Kind: k, Text: id, Patient: capture.Patient{ID: id, Name: name, BirthDate: born}}
	}
	band := patient(Wristband, "ABC-123455", "", "")
	claim := "TC1-" + strings.Repeat("0123456789ABCDEFGHJKMNPQRS", 8)
	for _, c := range []struct {
		name, text, symbology string
		want                  Code // Symbology and Elements aside
		err                   error
	}{
		{"a wristband", "ABC-123455", "]C0", band, nil},
		{"no symbology", " ABC-123455\r\n", "", band, nil},
		{"with name and birth date", "ABC-123455|Amina Khoury|1984-05-17", "]Q1",
			patient(Wristband, "ABC-123455", "Amina Khoury", "1984-05-17"), nil},
		{"symbology left in front", "]Q1ABC-123455", "", band, nil},
		{"a wrong check digit", "ABC-123456", "]C0", Code{}, ErrCheckDigit},
		{"two digits swapped", "ABC-213455", "]C0", Code{}, ErrCheckDigit},
		{"the name is cut off", "ABC-123455|Ami", "]Q1", Code{}, capture.ErrWristband},
		{"no birth date", "ABC-123455|Amina Khoury|17.5.84", "]Q1", Code{}, capture.ErrWristband},
		{"its beginning was lost", "C-123455", "]C0", Code{Kind: Other, Text: "C-123455"}, nil},
		{"more behind it", "ABC-123455X", "]C0", Code{Kind: Other, Text: "ABC-123455X"}, nil},
		{"anything", "hello", "", Code{Kind: Other, Text: "hello"}, nil},

		{"a patient's GSRN", "8018" + gsrn, "]d2", patient(GSRN, gsrn, "", ""), nil},
		{"no symbology", "8018" + gsrn, "", patient(GSRN, gsrn, "", ""), nil},
		{"FNC1 in front", gs + "8018" + gsrn, "", patient(GSRN, gsrn, "", ""), nil},
		{"one of several visits", "8018" + gsrn + gs + "80190042", "]C1", patient(GSRN, gsrn, "", ""), nil},
		{"with name and birth date", "8018" + gsrn + gs + "7253O%27Hara" + gs + "7254Amina+B." + gs + "725019840517", "]d2",
			patient(GSRN, gsrn, "Amina B. O'Hara", "1984-05-17"), nil},
		{"born on no such day", "8018" + gsrn + gs + "7251202602290830", "]Q3", Code{}, ErrGS1},
		{"with full name and time of birth", "8018" + gsrn + gs + "7256%C3%89mile+Roux" + gs + "7251202402290830", "]Q3",
			patient(GSRN, gsrn, "Émile Roux", "2024-02-29"), nil},
		{"a newborn", "8018" + gsrn + gs + "7259Roux" + gs + "72581/2", "]d2", patient(GSRN, gsrn, "", ""), nil},
		{"a name with a line break in it", "8018" + gsrn + gs + "7256A%0AB", "]d2", Code{}, ErrGS1},
		{"a name in another alphabet", "8018" + gsrn + gs + "7256%E9mile", "]d2", Code{}, ErrGS1},
		{"its check digit", "8018" + gsrn[:17] + "6", "]d2", Code{}, ErrCheckDigit},
		{"its check digit, no symbology", "8018" + gsrn[:17] + "6", "", Code{}, ErrCheckDigit},
		{"another hospital's", "8018" + badge, "]d2", Code{}, ErrForeign},
		{"half of it", "8018" + gsrn[:12], "]d2", Code{}, ErrGS1},
		{"half of it, no symbology", "8018" + gsrn[:12], "", Code{Kind: Other, Text: "8018" + gsrn[:12]}, nil},
		{"a separator was lost", "8018" + gsrn + "80190042", "]C1", Code{}, ErrGS1},
		{"two patients", "8018" + gsrn + gs + "8018123456000000000001", "]d2", Code{}, ErrGS1},
		{"patient and provider", "8018" + gsrn + gs + "8017" + badge, "]d2", Code{}, ErrGS1},
		{"a GSRN that isn't in a GS1 symbol", "8018" + gsrn, "]C0", Code{Kind: Other, Text: "8018" + gsrn}, nil},

		{"a badge", "8017" + badge, "]d2", Code{Kind: Provider, Text: badge}, nil},
		{"a pallet", "00" + badge, "]C1", Code{Kind: Other, Text: "00" + badge}, nil},
		{"an instrument", "01" + gtin + "17271231" + "10AB-12" + gs + "21X", "]d2", Code{Kind: Device, Text: gtin}, nil},
		{"an instrument, no symbology", "01" + gtin + "17271231" + "10AB-12" + gs + "21X", "", Code{Kind: Device, Text: gtin}, nil},
		{"one with a wrong check digit", "0109506000134350", "]d2", Code{}, ErrCheckDigit},
		{"EAN-13", "6291041500213", "]E0", Code{Kind: Device, Text: "06291041500213"}, nil},
		{"EAN-8", "96385074", "]E4", Code{Kind: Device, Text: "00000096385074"}, nil},
		{"ITF-14", gtin, "]I1", Code{Kind: Device, Text: gtin}, nil},
		{"EAN-13, misread", "6291041500214", "]E0", Code{}, ErrCheckDigit},
		{"with an add-on", "629104150021312", "]E0", Code{Kind: Other, Text: "629104150021312"}, nil},

		{"a claim", claim, "]Q1", Code{Kind: Claim, Text: claim}, nil},
		{"too short for a claim", "TC1-ABC", "]Q1", Code{Kind: Other, Text: "TC1-ABC"}, nil},
		{"ISO 15434", "[)>\x1e06\x1d25SUN\x1e\x04", "]d1", Code{Kind: Other, Text: "[)>\x1e06\x1d25SUN\x1e\x04"}, nil},
		{"ISO 15434, no symbology", "[)>\x1e06\x1d25SUN\x1e\x04", "", Code{Kind: Other, Text: "[)>\x1e06\x1d25SUN\x1e\x04"}, nil},
		{"nothing", " \r\n", "", Code{}, ErrUnreadable},
		{"nothing but a symbology", "]C1", "", Code{}, ErrUnreadable},
		{"another alphabet", "caf\xe9", "", Code{}, ErrUnreadable},
		{"no end of it", strings.Repeat("x", 5000), "", Code{}, ErrUnreadable},
	} {
		got, err := Parse(c.text, c.symbology, hospital)
		got.Symbology, got.Elements = "", nil
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if diff := cmp.Diff(asMap(c.want), asMap(got)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// asMap shows what a Code hides.
func asMap(c Code) map[string]string {
	p := c.Patient
	return map[string]string{"kind": string(c.Kind), "text": c.Text, "id": p.ID, "name": p.Name, "born": p.BirthDate}
}

func TestElements(t *testing.T) {
	c, err := Parse("0109506000134352"+"3103001750"+"17271200"+"10AB-12"+gs+"21X/1"+gs+"7030250ABC", "]d2", Site{})
	if err != nil {
		t.Fatal(err)
	}
	for ai, want := range map[string]string{
		"01": "09506000134352", "3103": "001750", "17": "271200", "10": "AB-12", "21": "X/1", "7030": "250ABC", "11": "",
	} {
		if got := c.Value(ai); got != want {
			t.Errorf("(%s) is %q, want %q", ai, got, want)
		}
	}
	for name, c := range map[string]struct {
		text string
		err  error
	}{
		"an identifier that there isn't":      {"05123456", ErrGS1},
		"one that there isn't, of four":       {"3108123456", ErrGS1},
		"letters in front":                    {"AB123", ErrGS1},
		"one digit":                           {"1", ErrGS1},
		"letters in a number":                 {"1727123A", ErrGS1},
		"a blank":                             {"10AB 12", ErrGS1},
		"an empty value":                      {"10" + gs + "21X", ErrGS1},
		"two separators":                      {"10A" + gs + gs + "21X", ErrGS1},
		"nothing but separators":              {gs, ErrGS1},
		"too long":                            {"10" + strings.Repeat("A", 21), ErrGS1},
		"a 13th month":                        {"17271301", ErrGS1},
		"a 30th of February":                  {"17270230", ErrGS1},
		"breaks off":                          {"1727", ErrGS1},
		"check digit of a place":              {"4149521234500019", ErrCheckDigit},
		"check digit inside of a value":       {"2539521234500019ABC", ErrCheckDigit},
		"an optional part that is too long":   {"2559521234500018" + strings.Repeat("1", 13), ErrGS1},
		"a value, then another":               {"10A" + gs + "10B", ErrGS1},
		"lower case where there is none":      {"8010abc", ErrGS1},
		"a plus in base64 for file names":     {"8030ab+", ErrGS1},
		"a second part that should be digits": {"3910978ABC", ErrGS1},
	} {
		if _, err := Parse(c.text, "]d2", Site{}); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, good := range []string{
		"10A" + gs, "10A" + gs + "10A", "2539521234500018", "2539521234500018ABC/1", "255952123450001842", "4149521234500018",
		"17270228", "11270101", "17240229", "17271200", "10!\"%&'()*+,-./:;<=>?_", "8010A#-/9", "8030ab-_=",
		"91" + strings.Repeat("z", 90), "4330001250-", "4330001250", "70401ABC", "3100000001" + "3922100",
		"8003" + "0" + "9521234500018" + "S1", "02095060001343523712",
	} {
		if _, err := Parse(good, "]d2", Site{}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// The table itself: what GS1's rules say of all identifiers.
func TestTable(t *testing.T) {
	form := regexp.MustCompile(`^\[?[NXYZ](\.\.)?[0-9]+[cdD]?\]?$`)
	var all []string
	for _, f := range formats {
		for part := range strings.FieldsSeq(f.format) {
			if !form.MatchString(part) {
				t.Errorf("format %q", f.format)
			}
		}
		for one := range strings.FieldsSeq(f.identifiers) {
			first, last, is := strings.Cut(one, "-")
			if !is {
				last = first
			}
			if len(first) != len(last) || first > last || !digits(first) {
				t.Errorf("identifiers %q", one)
			}
			for n := number(first); n <= number(last); n++ {
				all = append(all, fmt.Sprintf("%0*d", len(first), n))
			}
		}
	}
	seen := map[string]bool{}
	for _, ai := range all {
		if seen[ai] {
			t.Errorf("%s is there twice", ai)
		}
		seen[ai] = true
		for _, other := range all {
			if other != ai && strings.HasPrefix(other, ai) {
				t.Errorf("%s begins %s: where does it end?", ai, other)
			}
		}
		// What needs no separator has one length.
		if f := formatOf(ai); strings.Contains("00 01 02 03 04 11 12 13 14 15 16 17 18 19 20 31 32 33 34 35 36 41", ai[:2]) {
			if n, ok := predefined(ai, f); !ok || n == 0 || strings.Contains(f, "..") {
				t.Errorf("%s: format %s", ai, f)
			}
		} else if _, ok := predefined(ai, f); ok {
			t.Errorf("%s needs a separator", ai)
		}
	}
	if n := len(all); n != 541 {
		t.Errorf("%d identifiers", n)
	}
}

func number(s string) (n int) {
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}

func TestSites(t *testing.T) {
	for _, c := range []struct{ format, check, prefix, want string }{
		{"", "", "", ""},
		{"[0-9]{8}", "mod11", "9501234", ""},
		{"[0-9]{8}", "gs1", "", ""},
		{"[0-9]{8}", "none", "", ""},
		{"[0-9", "", "", "format"},
		{"[0-9]*", "", "", "fits an empty code"},
		{"", "luhn", "", "give none, mod10, mod11 or gs1"},
		{"", "", "123", "4 to 12 digits"},
		{"", "", "1234567890123", "4 to 12 digits"},
		{"", "", "95O1234", "4 to 12 digits"},
	} {
		_, err := NewSite(c.format, c.check, c.prefix)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []struct {
		format, check, text string
		want                Kind
		err                 error
	}{
		{"[0-9]{8}", "mod11", "12345674", Wristband, nil},
		{"[0-9]{8}", "mod11", "12345675", "", ErrCheckDigit},
		{"[0-9]{8}", "gs1", "96385074", Wristband, nil},
		{"[0-9]{8}", "gs1", "96385075", "", ErrCheckDigit},
		{"[0-9]{8}", "", "96385075", Wristband, nil},
		{"W7-([0-9]{6})", "mod10", "W7-123455", Wristband, nil}, // the 7 is not in it
		{"W7-[0-9]{6}", "mod10", "W7-123455", "", ErrCheckDigit},
		{"W7-[A-Z]+", "mod10", "W7-ABC", "", ErrCheckDigit}, // nothing that could be right
		{"A|AB", "", "AB", Wristband, nil},                  // the longest
		{"[0-9]{8}", "", "123456789", Other, nil},
		{"[0-9]{8}", "", "x12345678", Other, nil},
	} {
		got, err := Parse(c.text, "", site(t, c.format, c.check, ""))
		if got.Kind != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s of %s, %s: %s, %v", c.text, c.format, c.check, got.Kind, err)
		}
	}
	// Products are no patients, though their numbers fit.
	if got, err := Parse("96385074", "]E4", site(t, "[0-9]{8}", "gs1", "")); err != nil || got.Kind != Device {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Parse("0109506000134352", "]C1", site(t, "[0-9]{16}", "", "")); err != nil || got.Kind != Device {
		t.Errorf("%v, %v", got, err)
	}
	// A site that has no GSRNs has no patient by one.
	if _, err := Parse("8018123456789012345675", "]d2", site(t, "", "", "")); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
	if got, err := Parse("ABC-123455", "", Site{}); err != nil || got.Kind != Other {
		t.Errorf("no site: %v, %v", got, err)
	}
}

func TestNothingShows(t *testing.T) {
	c, err := Parse("8018123456789012345675"+gs+"7256Amina", "]d2", site(t, "", "", "123456"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("scanned", "code", c, "element", c.Elements[0], "patient", c.Patient)
	}
	for _, x := range []any{c, &c, c.Elements, c.Elements[0], struct{ C Code }{c}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&log, verb, x)
		}
	}
	s := log.String()
	if strings.Contains(s, "1234567") || strings.Contains(s, "Amina") || !strings.Contains(s, "gsrn [scanned]") {
		t.Error(s)
	}
	// Whoever wants it gets it.
	if b, err := json.Marshal(c.Patient); err != nil || !strings.Contains(string(b), "123456789012345675") {
		t.Errorf("%s, %v", b, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"ABC-123455", "ABC-123455|Amina Khoury|1984-05-17", "]E06291041500213", "00376104250021234569", "]d2330001250-",
		"]d28018123456789012345675\x1d7253O%27Hara\x1d725019840517", "]C10109506000134352" + "17271231" + "10AB-12\x1d21X",
		"]d27007250101250102", "\x1d\x1d",
	} {
		f.Add(s, "")
	}
	f.Add("8018123456789012345675", "]d2")
	hospital := site(f, "[A-Z]{3}-[0-9]{4,12}", "mod10", "123456")
	f.Fuzz(func(t *testing.T, text, symbology string) {
		c, err := Parse(text, symbology, hospital)
		if err != nil {
			if c.Kind != "" || c.Text != "" || c.Patient != (capture.Patient{}) {
				t.Fatal("an error, and a code")
			}
			if len(text) > 5 && strings.Contains(err.Error(), text) {
				t.Fatal("the error shows what was scanned")
			}
			return
		}
		named := c.Kind == Wristband || c.Kind == GSRN
		if named != (c.Patient.ID != "") || named && c.Patient.ID != c.Text {
			t.Fatalf("%s with patient %q", c.Kind, c.Patient.ID)
		}
		switch id := c.Text; c.Kind {
		case Wristband:
			if len(id) < 8 || id[3] != '-' || !checked(only([]string{id}), luhnDigit) {
				t.Fatalf("%q is a wristband", id)
			}
		case GSRN, Provider:
			if len(id) != 18 || !checked(id, gs1Digit) || c.Kind == GSRN && !strings.HasPrefix(id, "123456") {
				t.Fatalf("%q is a %s", id, c.Kind)
			}
		case Device:
			if len(id) != 14 || !checked(id, gs1Digit) {
				t.Fatalf("%q is a GTIN", id)
			}
		}
		if strings.ContainsFunc(c.Patient.Name, unicode.IsControl) {
			t.Fatalf("name %q", c.Patient.Name)
		}
		// Element strings are all of the text, and nothing else.
		if len(c.Elements) > 0 {
			var b strings.Builder
			for _, e := range c.Elements {
				b.WriteString(e.AI + e.Value + gs)
			}
			again, err := parseElements(b.String())
			if err != nil || len(again) != len(c.Elements) {
				t.Fatalf("written again: %v", err)
			}
			scanned := strings.ReplaceAll(text, gs, "")
			if !strings.HasSuffix(strings.Trim(scanned, " \t\r\n"), strings.ReplaceAll(b.String(), gs, "")) {
				t.Fatalf("%q is not what was scanned", b.String())
			}
		}
	})
}
