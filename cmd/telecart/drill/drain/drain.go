// Package drain measures how a cart's backlog leaves over a bad link: telecart drain, for make bench-outbox.
//
// Parties: the real outbox and link.Client with the cart's real identity and mutual TLS, in this process; telecart-hub as a
// process of its own; between their network namespaces package emulator, which delays, rations and loses IP packets beneath
// the kernel's own TCP.
//
// Invariants: each link has a process and namespaces of its own: nothing of this machine's network is touched. Time runs
// from the moment at which the link may first be used; handshakes count.
package drain

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"telecart/uplink/link/emulator"
)

// Result is the last line. Fractions are of the link's payload capacity: its rate, less the headers of IP and TCP.
type Result struct {
	Drain1Mbps   float64 `json:"drain_1mbps"`
	Drain100Kbps float64 `json:"drain_100kbps"`
	FirstByteMS  int64   `json:"drain_first_byte_ms"`   // the worse link's median of several outages
	VitalP95MS   int64   `json:"vital_over_rtt_p95_ms"` // the worse link's
}

// shape is one link and what is measured on it.
type shape struct {
	path   emulator.Path
	items  load
	vitals int
}

// rtt is the round trip of an empty link.
func (s shape) rtt() time.Duration { return 2 * s.path.Delay }

// shapes are the links. Both have a modem's queue of 64 KiB, which at 100 kb/s is five seconds.
func shapes() map[string]shape {
	return map[string]shape{
		"1mbps":   {emulator.Path{Rate: 1_000_000 / 8, Delay: 30 * time.Millisecond}, load{clip: 3 << 20, stills: 8, still: 80 << 10, readings: 60}, 40},
		"100kbps": {emulator.Path{Rate: 100_000 / 8, Delay: 300 * time.Millisecond, Loss: 0.02}, load{clip: 900 << 10, stills: 3, still: 80 << 10, readings: 20}, 60},
	}
}

// figures are what one link gave.
type figures struct {
	Fraction  float64 `json:"fraction"`
	FirstByte []int64 `json:"first_byte_ms"`
	VitalP50  int64   `json:"vital_over_rtt_p50_ms"`
	VitalP95  int64   `json:"vital_over_rtt_p95_ms"`
	VitalMax  int64   `json:"vital_over_rtt_max_ms"`
}

// New makes the command.
func New() *cobra.Command {
	var seed uint64
	var only, inside string
	c := &cobra.Command{Use: "drain", Short: "Measure how a backlog leaves over bad links (make bench-outbox)", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if inside != "" {
				f, err := measure(c.Context(), shapes()[inside], seed, c.ErrOrStderr())
				if err != nil {
					return err
				}
				return json.NewEncoder(c.OutOrStdout()).Encode(f)
			}
			r, err := run(c.Context(), seed, only, c.ErrOrStderr())
			if err != nil {
				return err
			}
			if only == "" { // as go test -bench prints it, for telecart bench
				fmt.Fprintf(c.OutOrStdout(), "BenchmarkDrain\t1\t%.3f drain_1mbps\t%.3f drain_100kbps\t%d drain_first_byte_ms\t%d vital_over_rtt_p95_ms\n",
					r.Drain1Mbps, r.Drain100Kbps, r.FirstByteMS, r.VitalP95MS)
			}
			return json.NewEncoder(c.OutOrStdout()).Encode(r)
		}}
	c.Flags().Uint64Var(&seed, "seed", 1, "of the losses")
	c.Flags().Bool("json", true, "one JSON object on the last line, as ever")
	c.Flags().StringVar(&only, "only", "", "one link: 1mbps or 100kbps")
	c.Flags().StringVar(&inside, "inside", "", "measure this link in the present namespace")
	c.Flags().MarkHidden("inside")
	return c
}

// run measures all links at once, each in a process with a network of its own.
func run(ctx context.Context, seed uint64, only string, say io.Writer) (r Result, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for name := range shapes() {
		if only != "" && only != name {
			continue
		}
		wg.Go(func() {
			f, ferr := child(ctx, name, seed, say)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, ferr)
			if n := len(f.FirstByte); n > 0 {
				r.FirstByteMS = max(r.FirstByteMS, slices.Sorted(slices.Values(f.FirstByte))[n/2])
			}
			r.VitalP95MS = max(r.VitalP95MS, f.VitalP95)
			if name == "1mbps" {
				r.Drain1Mbps = f.Fraction
			} else {
				r.Drain100Kbps = f.Fraction
			}
		})
	}
	wg.Wait()
	return r, err
}

// child runs this program again, in a new network namespace; without root, in a new user namespace as well.
func child(ctx context.Context, name string, seed uint64, say io.Writer) (f figures, err error) {
	exe, err := os.Executable()
	if err != nil {
		return f, fmt.Errorf("drain: %w", err)
	}
	cmd := exec.CommandContext(ctx, exe, "drain", "--inside", name, "--seed", strconv.FormatUint(seed, 10))
	cmd.Stderr = say
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return f, fmt.Errorf("drain: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return f, fmt.Errorf("drain: a process with its own network (root, or user namespaces, are needed): %w", err)
	}
	in := bufio.NewScanner(out)
	for in.Scan() {
		err = json.Unmarshal(in.Bytes(), &f)
	}
	if werr := cmd.Wait(); werr != nil {
		return f, fmt.Errorf("drain: %s: %w", name, werr)
	}
	return f, err
}
