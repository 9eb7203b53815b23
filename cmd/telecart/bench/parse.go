package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// ErrOutput: the output of `go test -bench` can't be used.
var ErrOutput = errors.New("bench: go test output")

// standard are the units that every benchmark reports.
func standard(unit string) bool {
	return unit == "ns/op" || unit == "B/op" || unit == "allocs/op" || unit == "MB/s"
}

// Parse reads what `go test -bench` prints (the Go benchmark data format: golang.org/design/14313-benchmark-format): lines
// "BenchmarkX-2 1 17 ns/op 0.9 outbox_vs_bbolt_w1". The custom units are the names. A unit that is not in the table, a name that
// comes twice and a failed package are errors.
func Parse(r io.Reader) (map[string]float64, error) {
	out := map[string]float64{}
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		f := strings.Fields(in.Text())
		if len(f) > 0 && (f[0] == "FAIL" || f[0] == "---" && len(f) > 1 && f[1] == "FAIL:") || strings.HasPrefix(in.Text(), "panic:") {
			return nil, fmt.Errorf("%w: line %d says %q: a benchmark failed", ErrOutput, n, in.Text())
		}
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		if _, err := strconv.Atoi(f[1]); err != nil {
			continue // a benchmark's name alone, or its log
		}
		if len(f)%2 != 0 {
			return nil, fmt.Errorf("%w: line %d: a value without a unit after %q", ErrOutput, n, f[0])
		}
		for i := 2; i < len(f); i += 2 {
			unit := f[i+1]
			if standard(unit) {
				continue
			}
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("%w: line %d: %s is %q, which is no number", ErrOutput, n, unit, f[i])
			}
			if m, ok := find(unit); !ok || isAgent(m.name) {
				return nil, fmt.Errorf("%w: line %d: %q is not in the table of names: add it, or report it under another name", ErrOutput, n, unit)
			}
			if _, twice := out[unit]; twice {
				return nil, fmt.Errorf("%w: line %d: %s comes twice", ErrOutput, n, unit)
			}
			out[unit] = v
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOutput, err)
	}
	return out, nil
}

func isAgent(name string) bool {
	for _, a := range agentNames {
		if a == name {
			return true
		}
	}
	return false
}
