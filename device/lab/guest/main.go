// Command guest is the lab's own program. Inside the virtual machine it plugs the emulated devices into the kernel and
// runs the checks against their real nodes; outside it feeds the serial line and sums up.
//
//	guest drivers [CHECK...]     in the guest: each driver alone, a JSON line per check
//	guest bench -- COMMAND...    in the guest: plug everything in, then run a command with the nodes' names in LAB_*
//	guest feed SOCKET            outside: an oximeter at the far end of the guest's serial line, until killed
//	guest spine AGENT            in the guest: plug everything in, run the agent, and the checks of the whole
//	guest report OUT SUITE...    outside: read JSON lines from standard input, write OUT, fail unless every check of the
//	                             suites (drivers, spine, outbox, or a check's name), and every other that was seen, has passed
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"telecart/device/kit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "guest:", err)
		}
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	usage := errors.New("usage: guest drivers [CHECK...] | bench -- COMMAND... | report OUT SUITE... | spine AGENT | feed SOCKET")
	if len(args) == 0 {
		return usage
	}
	switch verb, rest := args[0], args[1:]; {
	case verb == "drivers":
		return drivers(ctx, rest)
	case verb == "bench" && len(rest) > 1 && rest[0] == "--":
		return withBench(ctx, rest[1:])
	case verb == "feed" && len(rest) == 1:
		return feed(ctx, kit.System{}, rest[0])
	case verb == "spine" && len(rest) == 1:
		return spine(ctx, rest[0])
	case verb == "report" && len(rest) > 0:
		expected := []string{}
		for _, suite := range rest[1:] {
			switch suite {
			case "drivers":
				expected = append(append(expected, plugIn), checkNames(checks()...)...)
			case "spine":
				expected = append(append(expected, checkNames(spineChecks())...), delivered)
			case "outbox":
				expected = append(expected, outboxChecks()...)
			default: // a single check
				expected = append(expected, suite)
			}
		}
		return report(os.Stdin, os.Stdout, rest[0], expected)
	}
	return usage
}

// result is one line of the guest's output.
type result struct {
	Check   string  `json:"check"`
	Seconds float64 `json:"seconds"`
	Seen    string  `json:"seen"`
	Failed  string  `json:"failed,omitempty"` // why
	Figures figures `json:"figures,omitempty"`
}

// figures are numbers of a check, for those who follow them from release to release.
type figures map[string]int

// stage is rows of checks: the rows go at once, each in order. Stages follow one another.
type stage [][]check

// check is one thing to be seen on a real kernel.
type check struct {
	name string
	run  func(context.Context, *bench) (seen string, err error)
}

const checkTimeout = 60 * time.Second

// plugIn is the check that comes before all others.
const plugIn = "plug-in"

// drivers plugs everything in and runs the checks of the drivers.
func drivers(ctx context.Context, names []string) error {
	var b *bench
	r := try(ctx, kit.System{}, plugIn, plugTimeout, func(ctx context.Context) (seen string, err error) {
		if b, err = openBench(ctx, kit.System{}); err != nil {
			return "", err
		}
		return fmt.Sprintf("cameras %s, %s and vivid %s, %s, %s", b.cams["CAM-A"].node, b.cams["CAM-B"].node, b.vivid, b.i2c, b.tty), nil
	})
	if err := r.print(); err != nil {
		return err
	}
	if b == nil {
		return errors.New("nothing to check without the devices")
	}
	defer b.close()
	return runChecks(ctx, b, names, checks()...)
}

func checkNames(all ...stage) (names []string) {
	for _, s := range all {
		for _, c := range slices.Concat(s...) {
			names = append(names, c.name)
		}
	}
	return names
}

// runChecks runs checks, those named or all; a failed one does not keep the others from running.
func runChecks(ctx context.Context, b *bench, names []string, all ...stage) error {
	for _, n := range names {
		if !slices.Contains(checkNames(all...), n) {
			return fmt.Errorf("no check %q; there are: %s", n, strings.Join(checkNames(all...), ", "))
		}
	}
	failed := 0
	for _, s := range all {
		n, err := s.run(ctx, b, names)
		if err != nil {
			return err
		}
		failed += n
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed", failed)
	}
	return nil
}

// run runs those of a stage that are named, or all, and counts those that failed.
func (s stage) run(ctx context.Context, b *bench, names []string) (failed int, err error) {
	var rows sync.WaitGroup
	results := make(chan result)
	for _, row := range s {
		rows.Go(func() {
			for _, c := range row {
				if len(names) == 0 || slices.Contains(names, c.name) {
					results <- try(ctx, b.clock, c.name, checkTimeout, func(ctx context.Context) (string, error) { return c.run(ctx, b) })
				}
			}
		})
	}
	go func() { rows.Wait(); close(results) }()
	for r := range results {
		if r.Failed != "" {
			failed++
		}
		err = errors.Join(err, r.print())
	}
	return failed, err
}

func try(ctx context.Context, clock kit.Clock, name string, limit time.Duration, f func(context.Context) (string, error)) result {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := clock.Now()
	seen, err := f(ctx)
	r := result{Check: name, Seen: seen, Seconds: round(clock.Now().Sub(start))}
	if err != nil {
		r.Failed = err.Error()
	}
	return r
}

func (r result) print() error {
	line, err := json.Marshal(r)
	if err == nil {
		fmt.Println(string(line))
	}
	return err
}

// round gives seconds to the hundredth.
func round(d time.Duration) float64 {
	return float64(d.Round(10*time.Millisecond).Milliseconds()) / 1000
}
