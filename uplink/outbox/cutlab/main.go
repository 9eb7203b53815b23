// Command cutlab shows on a real kernel that what the outbox calls saved is still there after the power was cut.
//
// Parties: the lab (device/lab) runs it as root in a throw-away machine; a worker process puts items through the real
// outbox; an oracle outside the tested disk knows what was promised when; a verifying process opens each disk that a
// power cut could have left, as the agent would.
//
// Keys: a device key, and a record key, drawn for each recording (keys.json of the oracle). The lab may open everything.
//
// Invariants: every write and flush is recorded by dm-log-writes (Linux Documentation/admin-guide/device-mapper/log-writes.rst)
// between marks that say what was promised. A state is the medium as the flushes so far guarantee it, plus any part of
// what was in the disk's cache. The full replay must equal the recorded disk byte for byte. A recording without a flush
// for each promise proves nothing, and fails.
//
//	cutlab cut -check NAME -fs ext4|f2fs|xfs [flags]   record, cut, verify; a line of JSON with the figures
//	cutlab fault CHECK...                              disk-full, disk-read-only, disk-io-error
//	cutlab work, verify, check-segment                 what these run as processes of their own
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"telecart/device/kit"
	"telecart/uplink/outbox"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "cutlab:", err)
		}
		os.Exit(1)
	}
}

var (
	errReported = errors.New("cutlab: a check failed")
	errUsage    = errors.New("usage: cutlab cut -check NAME -fs FS [flags] | fault [-planted NAME] CHECK")
)

func run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	switch verb, rest := args[0], args[1:]; {
	case verb == "cut":
		return cutMain(rest)
	case verb == "fault" && len(rest) > 0:
		return faultMain(rest)
	case verb == "work":
		return workMain(rest)
	case verb == "verify" && len(rest) == 3:
		return verifyMain(rest[0], rest[1], rest[2])
	case verb == outbox.CheckCommand && len(rest) == 1:
		return outbox.CheckMain(rest[0])
	}
	return errUsage
}

// result is one line of output, as device/lab/guest reads it.
type result struct {
	Check   string         `json:"check"`
	Seconds float64        `json:"seconds"`
	Seen    string         `json:"seen"`
	Failed  string         `json:"failed,omitempty"` // why
	Figures map[string]int `json:"figures,omitempty"`
}

// try runs one check and prints its line.
func try(name string, check func() (seen string, figures map[string]int, err error)) error {
	clock := kit.System{}
	start := clock.Now()
	seen, figures, err := check()
	r := result{Check: name, Seen: seen, Figures: figures, Seconds: float64(clock.Now().Sub(start).Round(10*time.Millisecond)) / float64(time.Second)}
	if err != nil {
		r.Failed = err.Error()
	}
	line, broken := json.Marshal(r)
	if broken != nil {
		return broken
	}
	fmt.Println(string(line))
	if err != nil {
		return errReported
	}
	return nil
}

// cutFlags are the flags of "cut".
func cutFlags(args []string) (c cutting, err error) {
	f := flag.NewFlagSet("cut", flag.ContinueOnError)
	f.StringVar(&c.name, "check", "cut", "name in the report")
	f.StringVar(&c.fs, "fs", "ext4", "file system")
	f.StringVar(&c.options, "o", "", "mount options")
	f.Int64Var(&c.mib, "mib", 32, "size of the disk: the smaller the faster")
	f.IntVar(&c.plan.runs, "runs", 3, "runs of the agent that are recorded")
	f.IntVar(&c.plan.items, "items", 8, "items put by one writer in each phase of a run")
	f.Int64Var(&c.plan.segment, "segment", 2<<20, "size of a segment; 0: as on a cart")
	f.IntVar(&c.variants, "variants", 2, "random cuts at each flush, besides the one that loses the whole cache")
	f.IntVar(&c.max, "max", 0, "at most this many states, evenly spread (0: all)")
	f.IntVar(&c.min, "min", 1, "fewer states than this are no proof")
	f.Uint64Var(&c.seed, "seed", 1, "of the random cuts")
	f.StringVar(&c.worker, "worker", "", "another build of this program to do the work: one with a planted bug")
	expect := f.String("expect", "whole", "what is to be found: whole, lost (a planted bug), or noproof (a disk that is never flushed)")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	c.expect = expectation(*expect)
	if c.expect != expectWhole && c.expect != expectLost && c.expect != expectNoProof {
		return c, fmt.Errorf("cutlab: -expect %s: whole, lost or noproof", *expect)
	}
	return c, nil
}

func cutMain(args []string) error {
	c, err := cutFlags(args)
	if err != nil {
		return err
	}
	return try(c.name, c.run)
}
