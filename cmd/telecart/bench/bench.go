// Package bench gathers what telecart's performance promises are measured by: one table for people, and bench.json for
// whoever compares runs.
//
// Parties: `go test -bench`, whose output is read here (every custom unit is one name of the table below), and a hub and an
// agent started as on a cart (package stage), whose figures the kernel gives. Keys: the stage's own, thrown away with it.
//
// Invariants: a name is measured, known in the table, and written, or the run fails: bench.json never holds half a run, and it is
// made afresh each time. Every figure that promises something is a ratio, against a limit or against a peer that was
// measured in the same run. A missed goal is said in the table, and is not an error: machines differ.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"telecart/device/kit"
)

// Options of a run.
type Options struct {
	Bin      string    // folder of telecartd and telecart-hub
	Dir      string    // existing folder for the agent's state while it is measured, on a disk: in memory fsync is free; "": the system's own
	GoOutput string    // file with the output of `go test -bench`; "": the agent's figures alone can be asked for
	Out      io.Writer // the table
	JSON     string    // bench.json
	Only     []string  // these names; none: all
}

// ErrIncomplete: a figure that was asked for was not measured.
var ErrIncomplete = errors.New("bench: not measured")

// Figure is one line of bench.json.
type Figure struct {
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Against string  `json:"against"` // the limit or the peer; "": only told
	Ratio   float64 `json:"ratio"`   // value / limit, or the ratio to the peer; 0: only told
}

// Run measures, prints the table and writes bench.json.
func Run(ctx context.Context, o Options) error {
	for _, n := range o.Only {
		if _, ok := find(n); !ok && !slices.Contains(names(), n) {
			return fmt.Errorf("bench: nothing is called %q; there are %s", n, strings.Join(names(), ", "))
		}
	}
	if err := os.Remove(o.JSON); err != nil && !errors.Is(err, fs.ErrNotExist) { // a failed run leaves no figures of an older one
		return fmt.Errorf("bench: %w", err)
	}
	asked := func(n string) bool { return len(o.Only) == 0 || slices.Contains(o.Only, n) }
	values := map[string]float64{}
	if o.GoOutput != "" {
		f, err := os.Open(o.GoOutput)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		defer f.Close()
		if values, err = Parse(f); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(agentNames[:], asked) {
		v, err := measureAgent(ctx, o.Bin, o.Dir)
		if err != nil {
			return err
		}
		maps.Copy(values, v)
	}
	wanted := o.Only
	if len(wanted) == 0 {
		wanted = names()
	}
	figures := map[string]Figure{}
	for _, w := range wanted {
		for _, n := range members(w, values) {
			v, ok := values[n]
			if !ok {
				return fmt.Errorf("%w: %s; run make bench, which runs its benchmark too", ErrIncomplete, n)
			}
			m, _ := find(n)
			figures[n] = m.figure(v)
		}
	}
	if err := printTable(o.Out, figures); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	b, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if err := kit.WriteFile(o.JSON, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

func printTable(out io.Writer, figures map[string]Figure) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "name\tvalue\tunit\tagainst\tratio\tgoal\t")
	for _, m := range table {
		for _, n := range members(m.name, figures) {
			f, ok := figures[n]
			if !ok {
				continue
			}
			ratio := ""
			if f.Ratio != 0 {
				ratio = fmt.Sprintf("%.2f", f.Ratio)
			}
			fmt.Fprintf(w, "%s\t%.4g\t%s\t%s\t%s\t%s\t\n", n, f.Value, f.Unit, f.Against, ratio, m.verdict(f.Ratio))
		}
	}
	return w.Flush()
}
