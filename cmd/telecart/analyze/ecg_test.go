package analyze

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"telecart/device/ecg/synth"
)

func run(in string, args ...string) (string, error) {
	c := New()
	var out bytes.Buffer
	c.SetArgs(args)
	c.SetIn(strings.NewReader(in))
	c.SetOut(&out)
	c.SetErr(io.Discard)
	err := c.Execute()
	return out.String(), err
}

// ecgText is a minute of ECG at 250/s, one value a line, and its beats.
func ecgText(format string) (string, []int) {
	g := synth.New(synth.Recipe{RateHz: 250, Seed: 1, White: 0.01})
	var b strings.Builder
	for _, v := range g.Samples(60 * 250) {
		fmt.Fprintf(&b, format+"\n", v)
	}
	return b.String(), g.Beats()
}

func TestECG(t *testing.T) {
	plain, beats := ecgText("%.4f")
	csv, _ := ecgText("12,%.4f,x")
	want, err := run(plain, "ecg", "--rate", "250")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(want)
	if len(lines) != len(beats) || strings.Count(want, "\n") != len(beats) {
		t.Fatalf("%d lines for %d beats", len(lines), len(beats))
	}
	for i, l := range lines {
		if n, err := strconv.Atoi(l); err != nil || math.Abs(float64(n-beats[i])) > 3 {
			t.Errorf("beat %d at %q, want %d", i, l, beats[i])
		}
	}
	file := filepath.Join(t.TempDir(), "ecg.txt")
	if err := os.WriteFile(file, []byte(plain), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		in   string
		args []string
	}{
		"file":        {"", []string{"--rate", "250", file}},
		"dash":        {plain, []string{"--rate", "250", "-"}},
		"gain":        {plain, []string{"--rate", "250", "--gain", "1"}},
		"header":      {"MLII\n" + plain, []string{"--rate", "250"}},
		"mark":        {"\uFEFF" + plain, []string{"--rate", "250"}},
		"blank end":   {plain + "\n \n", []string{"--rate", "250"}},
		"no last end": {strings.TrimSuffix(plain, "\n"), []string{"--rate", "250"}},
		"windows":     {strings.ReplaceAll(plain, "\n", "\r\n"), []string{"--rate", "250"}},
		"comma":       {"'a','b','c'\n" + csv, []string{"--rate", "250", "--column", "2"}},
		"semicolon":   {strings.ReplaceAll(csv, ",", ";"), []string{"--rate", "250", "--column", "2"}},
		"blanks":      {strings.ReplaceAll(csv, ",", "   "), []string{"--rate", "250", "--column", "2"}},
		"tab":         {strings.ReplaceAll(csv, ",", "\t"), []string{"--rate", "250", "--column", "2"}},
		"quotes":      {strings.ReplaceAll(strings.ReplaceAll(csv, "12,", `12,"`), ",x", `",x`), []string{"--rate", "250", "--column", "2"}},
	} {
		got, err := run(c.in, append([]string{"ecg"}, c.args...)...)
		if err != nil || got != want {
			t.Errorf("%s: %v; other beats: %v", name, err, got != want)
		}
	}
}

func TestECGMistakes(t *testing.T) {
	plain, _ := ecgText("%.4f")
	for _, c := range []struct {
		name, in string
		args     []string
		want     string // "" is none
	}{
		{"nothing", "", []string{"--rate", "250"}, ""},
		{"header alone", "mV\n", []string{"--rate", "250"}, ""},
		{"missing samples", "1\nnan\n1e999\n2\n", []string{"--rate", "250"}, ""},
		{"no rate", plain, nil, `"rate" not set`},
		{"rate", plain, []string{"--rate", "50"}, "100 to 2000"},
		{"gain", plain, []string{"--rate", "250", "--gain", "-3"}, "gain"},
		{"column", plain, []string{"--rate", "250", "--column", "-1"}, "counted from 1"},
		{"second line", "mV\nuV\n1\n", []string{"--rate", "250"}, `line 2: "uV" is not a number`},
		{"later line", "1\n2\n3\n4x\n", []string{"--rate", "250"}, `line 4: "4x" is not a number`},
		{"blank", "1\n\n\n3\n", []string{"--rate", "250"}, "line 2 is blank"},
		{"two columns", "1 2\n1 2\n", []string{"--rate", "250"}, "line 2: 2 columns: say with --column"},
		{"too few", "1,2\n1,2\n3\n", []string{"--rate", "250", "--column", "2"}, "line 3: 1 columns"},
		{"empty column", "1,2\n1,\n", []string{"--rate", "250", "--column", "2"}, `line 2: "" is not a number`},
		{"endless line", "1\n" + strings.Repeat("7", longestLine+1), []string{"--rate", "250"}, "line 2 is longer"},
		{"no file", "", []string{"--rate", "250", "/nonexistent/ecg"}, "no such file"},
		{"two files", "", []string{"--rate", "250", "a", "b"}, "at most 1"},
	} {
		out, err := run(c.in, append([]string{"ecg"}, c.args...)...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if c.want == "" && out != "" {
			t.Errorf("%s: it found %q", c.name, out)
		}
	}
	if err := findBeats(iotest.ErrReader(errors.New("cable")), io.Discard, ecgOptions{rate: 250}); err == nil || !strings.Contains(err.Error(), "cable") {
		t.Errorf("a broken input: %v", err)
	}
}

// Every line gives one number, or an error that names a line there is.
func FuzzColumn(f *testing.F) {
	f.Add("mV\n1\n2.5\n-3e2\n", 0)
	f.Add("a;b\n1;2\n\n", 2)
	f.Add("1 2 3\n4 5\n", 3)
	f.Add("\uFEFF0x1p-2\r\nnan\n\"7\"\n", 1)
	f.Fuzz(func(t *testing.T, in string, n int) {
		lines := strings.Count(in, "\n") + 1
		c := newColumn(strings.NewReader(in), max(0, n))
		numbers := 0
		for {
			_, err := c.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				var line int
				if _, serr := fmt.Sscanf(err.Error(), "line %d", &line); serr != nil || line < 1 || line > lines {
					t.Fatalf("%q names no line of %d", err, lines)
				}
				break
			}
			if numbers++; numbers > lines {
				t.Fatalf("%d numbers on %d lines", numbers, lines)
			}
		}
	})
}
