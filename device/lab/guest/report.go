package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"telecart/device/kit"
)

// finding is a check's place in the report.
type finding struct {
	Seconds float64 `json:"seconds"`
	Seen    string  `json:"seen"`
	Failed  string  `json:"failed,omitempty"`
	Figures figures `json:"figures,omitempty"`
}

// errReported: checks failed or none ran, and the report has said so in its last line.
var errReported = errors.New("checks failed")

// report reads what the guest printed, says it in words, and writes it to a file. A check that was expected and never
// came has failed: a guest that dies half-way must not look like one that passed.
func report(in io.Reader, out io.Writer, file string, expected []string) error {
	found, order := map[string]finding{}, []string{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r result
		if json.Unmarshal(lines.Bytes(), &r) != nil || r.Check == "" {
			fmt.Fprintln(out, "  |", lines.Text()) // not ours: what the guest's programs had to say
			continue
		}
		if _, twice := found[r.Check]; twice {
			r.Failed = "two checks have this name"
		} else {
			order = append(order, r.Check)
		}
		found[r.Check] = finding{r.Seconds, r.Seen, r.Failed, r.Figures}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading results: %w", err)
	}
	for _, name := range expected {
		if _, ok := found[name]; !ok {
			found[name], order = finding{Failed: "no result: the guest ended before this check"}, append(order, name)
		}
	}
	passed, failed := 0, 0
	for _, name := range order {
		f := found[name]
		if f.Failed == "" {
			passed++
			fmt.Fprintf(out, "ok    %-28s %6.2f s  %s\n", name, f.Seconds, f.Seen)
		} else {
			failed++
			fmt.Fprintf(out, "FAIL  %-28s %6.2f s  %s: %s\n", name, f.Seconds, f.Seen, f.Failed)
		}
	}
	b, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		return err
	}
	if err := kit.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		return errReported
	}
	return nil
}
