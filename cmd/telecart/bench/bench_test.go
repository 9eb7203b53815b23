package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// output is what go test really printed, with the figures of one run.
const output = `goos: linux
goarch: amd64
pkg: telecart/uplink/outbox
BenchmarkOutbox-2   	       1	23738118239 ns/op	       379.5 bbolt_puts_w1	       621.2 disk_appends_w1	      1624 disk_overwrites_w1	       310.0 outbox_puts_w1	         0.8338 outbox_vs_bbolt_w1	         0.7106 outbox_vs_disk_w1
PASS
ok  	telecart/uplink/outbox	23.793s
BenchmarkSeal-2   	       1	 499053535 ns/op	       244.2 seal_mb_per_s	         0.3937 seal_vs_aead
--- BENCH: BenchmarkSeal-2
    bench_test.go:69: a log
PASS
`

func TestParse(t *testing.T) {
	got, err := Parse(strings.NewReader(output))
	want := map[string]float64{"bbolt_puts_w1": 379.5, "disk_appends_w1": 621.2, "disk_overwrites_w1": 1624, "outbox_puts_w1": 310,
		"outbox_vs_bbolt_w1": .8338, "outbox_vs_disk_w1": .7106, "seal_mb_per_s": 244.2, "seal_vs_aead": .3937}
	if err != nil || cmp.Diff(want, got) != "" {
		t.Fatal(err, cmp.Diff(want, got))
	}
	for name, c := range map[string]struct{ in, says string }{
		"a name that is not in the table": {"BenchmarkX-2 1 5 ns/op 7 warp_factor", `"warp_factor" is not in the table`},
		"the agent's figures":             {"BenchmarkX-2 1 7 agent_idle_mb", "not in the table"},
		"a family alone":                  {"BenchmarkX-2 1 7 cpu_pct_", `"cpu_pct_" is not in the table`},
		"a family's own name":             {"BenchmarkX-2 1 7 cpu_pct_*", "not in the table"},
		"twice":                           {"BenchmarkX-2 1 7 live_fps\nBenchmarkY-2 1 8 live_fps", "line 2: live_fps comes twice"},
		"no number":                       {"BenchmarkX-2 1 x live_fps", `live_fps is "x"`},
		"not finite":                      {"BenchmarkX-2 1 NaN live_fps", "no number"},
		"cut off":                         {"BenchmarkX-2 1 5 ns/op 7", "a value without a unit"},
		"a failed benchmark":              {output + "--- FAIL: BenchmarkY-2", "a benchmark failed"},
		"a failed package":                {output + "FAIL\ttelecart/uplink/live [build failed]", "a benchmark failed"},
		"a line too long for any output":  {strings.Repeat("x", 1<<20), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(strings.NewReader(c.in)); !errors.Is(err, ErrOutput) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want %q", err, c.says)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(output)
	f.Add("BenchmarkX-2 1 1e300 live_fps")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Parse(strings.NewReader(s))
		if err != nil && (!errors.Is(err, ErrOutput) || got != nil) {
			t.Fatalf("%v with %v", err, got)
		}
		for n := range got {
			if _, ok := find(n); !ok {
				t.Fatalf("%q is not in the table", n)
			}
		}
	})
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	o := Options{GoOutput: filepath.Join(dir, "bench.txt"), JSON: filepath.Join(dir, "bench.json"), Only: []string{"outbox_vs_bbolt_w1", "seal_mb_per_s"}}
	for path, b := range map[string]string{o.GoOutput: output, o.JSON: `{"stale": 1}`} {
		if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	o.Out = &out
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(o.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]any{
		"outbox_vs_bbolt_w1": {"value": .8338, "unit": "x", "against": "bbolt, 1 transaction per value", "ratio": .8338},
		"seal_mb_per_s":      {"value": 244.2, "unit": "MB/s", "against": "", "ratio": 0.0},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	if !strings.Contains(out.String(), ">= 1, MISSED") {
		t.Fatalf("a missed goal is not said:\n%s", out.String())
	}
	o.Only = []string{"live_p50_ms"}
	if err := Run(t.Context(), o); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "live_p50_ms") {
		t.Fatalf("what was not measured: %v", err)
	}
	if _, err := os.Stat(o.JSON); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a failed run left the figures of the one before: %v", err)
	}
	o.Only = []string{"live_p50"}
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), `nothing is called "live_p50"; there are agent_idle_mb`) {
		t.Fatalf("a name that is none: %v", err)
	}
}

// A family has as many figures as were measured, and one at least.
func TestFamily(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	o := Options{GoOutput: filepath.Join(dir, "bench.txt"), JSON: filepath.Join(dir, "bench.json"), Out: &out, Only: []string{"cpu_pct_*", "instruments_cpu_pct"}}
	for measured, want := range map[string][]string{
		"BenchmarkX-2 1 12 instruments_cpu_pct 2 cpu_pct_b 1 cpu_pct_a": {"cpu_pct_a", "cpu_pct_b", "instruments_cpu_pct"},
		"BenchmarkX-2 1 12 instruments_cpu_pct 2 cpu_pct_c":             {"cpu_pct_c", "instruments_cpu_pct"},
		"BenchmarkX-2 1 12 instruments_cpu_pct 1 live_fps":              nil,
	} {
		if err := os.WriteFile(o.GoOutput, []byte(measured), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Run(t.Context(), o)
		if want == nil {
			if !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "cpu_pct_*") {
				t.Errorf("%s: %v", measured, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(o.JSON)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]Figure
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
			t.Error(diff)
		}
	}
	for _, says := range []string{"cpu_pct_a", "cpu_pct_c", "<= 1, met"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("%s is not in the table\n%s", says, out.String())
		}
	}
}

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		m     measure
		value float64
		ratio float64
		want  string
	}{
		"under a limit": {measure{limit: 60, against: "limit", goal: atMost, bound: 1}, 30, .5, "<= 1, met"},
		"over a limit":  {measure{limit: 60, against: "limit", goal: atMost, bound: 1}, 90, 1.5, "<= 1, MISSED"},
		"a good peer":   {measure{against: "peer", goal: atLeast, bound: .7}, .7, .7, ">= 0.7, met"},
		"a bad peer":    {measure{against: "peer", goal: atLeast, bound: .7}, .6, .6, ">= 0.7, MISSED"},
		"told":          {measure{}, 5, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.m.figure(c.value)
			if f.Ratio != c.ratio || c.m.verdict(f.Ratio) != c.want {
				t.Fatalf("%v, %q", f.Ratio, c.m.verdict(f.Ratio))
			}
		})
	}
}

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range table {
		if m.name == "" || m.unit == "" || seen[m.name] || (m.goal != told) != (m.bound != 0) || m.goal != told && m.against == "" {
			t.Errorf("%+v", m)
		}
		seen[m.name] = true
	}
}

func TestProc(t *testing.T) {
	// proc_pid_stat(5): the name may hold blanks and brackets.
	stat := "4711 (tele) (cart d) S 1 4711 4711 0 -1 4194560 2500 0 3 0 1234 766 0 0 20 0 9 0 100 1 2 3"
	if v, err := cpuSeconds([]byte(stat)); err != nil || v != 20 {
		t.Errorf("%v %v", v, err)
	}
	if _, err := cpuSeconds([]byte("4711 (x) S 1")); err == nil {
		t.Error("a short stat passed")
	}
	if v, err := residentMB([]byte("Name:\tx\nVmHWM:\t  90000 kB\nVmRSS:\t   62500 kB\nRssAnon:\t 1 kB\n")); err != nil || v != 64 {
		t.Errorf("%v %v", v, err)
	}
	if _, err := residentMB([]byte("Name:\tx\n")); err == nil {
		t.Error("no VmRSS passed")
	}
	if _, err := procFile(os.Getpid(), "stat", cpuSeconds); err != nil {
		t.Error(err)
	}
	if v, err := procFile(os.Getpid(), "status", residentMB); err != nil || v <= 0 {
		t.Errorf("%v %v", v, err)
	}
}
