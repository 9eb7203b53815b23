package torture

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestMain lets the test's program be its own child that checks segments.
func TestMain(m *testing.M) {
	if os.Getenv("TORTURE_CHECK") != "" {
		if CheckLoop(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func newTestPlayer(t *testing.T) *player {
	t.Helper()
	p, err := newPlayer("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// Fifty runs: nothing that was saved is lost.
func TestShortTorture(t *testing.T) {
	p := newTestPlayer(t)
	var total Report
	for seed := uint64(1); seed <= 50; seed++ {
		r, found := p.play(seed, nil)
		for _, f := range found {
			t.Error(f)
		}
		total.add(r)
	}
	if total.Items < 200 || total.Kills < 50 {
		t.Errorf("too little happened: %+v", total)
	}
}

// A seed tells the same story twice.
func TestReplay(t *testing.T) {
	p := newTestPlayer(t)
	for seed := uint64(1); seed <= 25; seed++ {
		var first, second bytes.Buffer
		p.play(seed, &first)
		p.play(seed, &second)
		a, b := told(&first), told(&second)
		for i := range a {
			if i >= len(b) || a[i] != b[i] {
				t.Fatalf("seed %d, line %d:\n%s\nand then\n%s", seed, i, a[i], strings.Join(b[i:min(i+1, len(b))], ""))
			}
		}
	}
}

// told are a story's lines but for what the programs logged: their goroutines may log a little sooner or later.
func told(b *bytes.Buffer) []string {
	return slices.DeleteFunc(strings.Split(b.String(), "\n"), func(s string) bool { return strings.HasPrefix(s, "  ") })
}

// A worker plays its share, and tells of each run.
func TestWorkers(t *testing.T) {
	var out bytes.Buffer
	if err := Worker(context.Background(), &out, 3, 9, 2, ""); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), `"runs":1`) != 3 || !strings.Contains(out.String(), `"last":7`) {
		t.Fatal(out.String())
	}
}
