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

	"github.com/spf13/cobra"

	"telecart/device/ppg/synth"
)

func runPPG(in string, args ...string) (string, error) {
	root := &cobra.Command{Use: "analyze", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(ppgCommand())
	var out bytes.Buffer
	root.SetArgs(append([]string{"ppg"}, args...))
	root.SetIn(strings.NewReader(in))
	root.SetOut(&out)
	root.SetErr(io.Discard)
	err := root.Execute()
	return out.String(), err
}

// pulseText is 20 s of a pulse of 66/min at 50 Hz, one value a line.
func pulseText(format string) string {
	f := synth.New(synth.Recipe{RateHz: 50, PulseRate: 66, Seed: 2, Perfusion: 0.02, Noise: 0.0001})
	var b strings.Builder
	for range 20 * 50 {
		_, ir := f.Next()
		fmt.Fprintf(&b, format+"\n", 10_000*ir)
	}
	return b.String()
}

func TestPPG(t *testing.T) {
	plain, csv := pulseText("%.0f"), pulseText("7,%.0f")
	want, err := runPPG(plain, "--rate", "50")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(want, "\n"), "\n")
	if len(lines) != 20 {
		t.Fatalf("%d lines for 20 s", len(lines))
	}
	for i, l := range lines {
		f := strings.Split(l, "\t")
		if len(f) != 3 || f[0] != strconv.Itoa(i+1) {
			t.Fatalf("line %d is %q", i+1, l)
		}
		rate, err := strconv.Atoi(f[1])
		switch {
		case i < 4 && (f[1] != "---" || f[2] != "not-yet"), (f[1] == "---") == (f[2] == "good"):
			t.Errorf("line %d is %q", i+1, l)
		case i >= 8 && (err != nil || math.Abs(float64(rate)-66) > 1):
			t.Errorf("line %d is %q, want 66", i+1, l)
		}
	}
	file := filepath.Join(t.TempDir(), "ppg.txt")
	if err := os.WriteFile(file, []byte(plain), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		in   string
		args []string
	}{
		"file":         {"", []string{"--rate", "50", file}},
		"dash":         {plain, []string{"--rate", "50", "-"}},
		"header":       {"hr\n" + plain, []string{"--rate", "50"}},
		"column":       {"timer,hr\n" + csv, []string{"--rate", "50", "--column", "2"}},
		"half seconds": {plain + "10000\n10000\n", []string{"--rate", "50"}},
	} {
		if got, err := runPPG(c.in, c.args...); err != nil || got != want {
			t.Errorf("%s: %v; other lines: %v", name, err, got != want)
		}
	}
}

func TestPPGMistakes(t *testing.T) {
	plain := pulseText("%.0f")
	for _, c := range []struct {
		name, in string
		args     []string
		want     string // "" is none
		lines    int
	}{
		{"nothing", "", []string{"--rate", "50"}, "", 0},
		{"header alone", "hr\n", []string{"--rate", "50"}, "", 0},
		{"missing samples", strings.Repeat("nan\n", 100), []string{"--rate", "50"}, "", 2},
		{"no rate", plain, nil, `"rate" not set`, 0},
		{"rate", plain, []string{"--rate", "20"}, "25 to 1000", 0},
		{"column", plain, []string{"--rate", "50", "--column", "-1"}, "counted from 1", 0},
		{"later line", plain + "four\n", []string{"--rate", "50"}, `line 1001: "four" is not a number`, 20},
		{"two columns", "1,2\n1,2\n", []string{"--rate", "50"}, "line 2: 2 columns: say with --column", 0},
		{"no file", "", []string{"--rate", "50", "/nonexistent/ppg"}, "no such file", 0},
		{"two files", "", []string{"--rate", "50", "a", "b"}, "at most 1", 0},
	} {
		out, err := runPPG(c.in, c.args...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if strings.Count(out, "\n") != c.lines {
			t.Errorf("%s: it printed %q", c.name, out)
		}
	}
	if err := findPulse(iotest.ErrReader(errors.New("cable")), io.Discard, ppgOptions{rate: 50}); err == nil || !strings.Contains(err.Error(), "cable") {
		t.Errorf("a broken input: %v", err)
	}
}

// Any text: what is printed has three columns, and a number only in range.
func FuzzPPG(f *testing.F) {
	f.Add(pulseText("%.0f"), 50.0)
	f.Add("hr\n1\nnan\n-1e300\n", 25.0)
	f.Fuzz(func(t *testing.T, in string, rate float64) {
		var out bytes.Buffer
		if err := findPulse(strings.NewReader(in), &out, ppgOptions{rate: rate}); err != nil && out.Len() == 0 {
			return
		}
		for l := range strings.Lines(out.String()) {
			var second int
			var pulse, quality string
			if n, err := fmt.Sscanf(l, "%d\t%s\t%s\n", &second, &pulse, &quality); n != 3 || err != nil {
				t.Fatalf("line %q: %v", l, err)
			}
			if v, err := strconv.Atoi(pulse); pulse != "---" && (err != nil || v < 30 || v > 250 || quality != "good") {
				t.Fatalf("line %q", l)
			}
		}
	})
}
