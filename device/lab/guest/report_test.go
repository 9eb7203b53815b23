package main

import (
	"bytes"
	"encoding/json"
	"image"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecart/device/camera/scene"
	"telecart/device/camera/v4l2"
)

func TestReport(t *testing.T) {
	const good = `{"check":"a","seconds":1.5,"seen":"10 frames"}` + "\n"
	for _, c := range []struct {
		name, in string
		expected []string
		summary  string
		fails    bool
	}{
		{"all passed", good, []string{"a"}, "1 passed, 0 failed", false},
		{"other output is shown", "modprobe: oops\n" + good, []string{"a"}, "1 passed, 0 failed", false},
		{"failed", good + `{"check":"b","seconds":0,"seen":"","failed":"no node"}`, nil, "1 passed, 1 failed", true},
		{"the guest died", good, []string{"a", "b"}, "1 passed, 1 failed", true},
		{"nothing ran", "", nil, "0 passed, 0 failed", true},
		{"half a line", good[:20], []string{"a"}, "0 passed, 1 failed", true},
		{"one name twice", good + good, nil, "0 passed, 1 failed", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "lab.json")
			var out bytes.Buffer
			err := report(strings.NewReader(c.in), &out, file, c.expected)
			if (err != nil) != c.fails {
				t.Errorf("error %v", err)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if last := lines[len(lines)-1]; last != c.summary {
				t.Errorf("last line %q, want %q", last, c.summary)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var found map[string]finding
			if err := json.Unmarshal(b, &found); err != nil {
				t.Fatal(err)
			}
			if f, ok := found["a"]; ok && f.Failed == "" && (f.Seconds != 1.5 || f.Seen != "10 frames") {
				t.Errorf("finding %+v", f)
			}
		})
	}
}

// The names of the checks are keys of lab.json.
func TestCheckNames(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range checkNames(append(checks(), spineChecks())...) {
		if seen[name] || name == "" {
			t.Errorf("%q twice", name)
		}
		seen[name] = true
	}
}

// What the emulated camera sends must be a JPEG by the driver's own strict reading, or every frame is dropped.
func TestSceneIsWholeJPEG(t *testing.T) {
	j, err := v4l2.ScanJPEG(scene.New(640, 480).JPEG(1, time.Unix(1e9, 0)))
	if err != nil || j.Width != 640 || j.Height != 480 {
		t.Errorf("%+v, %v", j, err)
	}
}

// difference must tell a moved picture from a still one, and find how far.
func TestDifference(t *testing.T) {
	a, b := image.NewYCbCr(image.Rect(0, 0, 64, 64), image.YCbCrSubsampleRatio420), image.NewYCbCr(image.Rect(0, 0, 64, 64), image.YCbCrSubsampleRatio420)
	for i := range a.Y {
		x, y := i%64, i/64
		a.Y[i] = byte(x*x + 3*y)
		b.Y[i] = byte((x-8)*(x-8) + 3*y) // a, 8 to the right
	}
	if d := difference(a, a, same); d != 0 {
		t.Errorf("to itself %.1f", d)
	}
	if d := difference(a, b, same); d < 10 {
		t.Errorf("to a moved one %.1f", d)
	}
	if d := difference(a, b, func(x, y int) (int, int) { return x + 8, y }); d != 0 {
		t.Errorf("moved back %.1f", d)
	}
	if d := difference(a, b, func(int, int) (int, int) { return -1, -1 }); d != 255 {
		t.Errorf("nothing in common %.1f", d)
	}
}

// What is played is what is measured, to a hundredth of a decibel.
func TestGoertzel(t *testing.T) {
	x := tones(48000)
	for f, want := range map[float64]float64{lowTone: toneLevel, highTone: toneLevel, lowTone + 3: 0, highTone - 3: 0} {
		if got := goertzel(x, f, 48000); math.Abs(got-want) > 0.001*toneLevel {
			t.Errorf("%g Hz: %g, want %g", f, got, want)
		}
	}
}

// Figures go through to lab.json as they came.
func TestReportFigures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lab.json")
	in := `{"check":"cut-ext4","seconds":1,"seen":"states","figures":{"states":340,"failed":0}}`
	if err := report(strings.NewReader(in), &bytes.Buffer{}, file, []string{"cut-ext4"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var found map[string]finding
	if err := json.Unmarshal(b, &found); err != nil {
		t.Fatal(err)
	}
	if f := found["cut-ext4"].Figures; f["states"] != 340 || len(f) != 2 {
		t.Errorf("figures %v", f)
	}
}
