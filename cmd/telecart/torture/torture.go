// Package torture plays out what can go wrong between a cart and its hub, thousands of times, and demands that nothing that
// was called saved is lost.
//
// Parties: the real seal, outbox, link, ingest and store; around them a simulated disk for each end (disk.go, image.go;
// bolt.go beneath bbolt, sqlite.go beneath SQLite), a network (net.go) and two clocks. The oracle stands outside: it hears every
// "saved" and at the end holds both ends to it.
//
// Keys: drawn for each process; the oracle has the record keys, to open what arrived.
//
// Invariants: all that happens in a run follows from its seed; a run can be played again and tells the same story. One run at
// a time in a process: it takes crypto/rand.Reader over. A disk without a flipped bit keeps its promises, and then no item
// may be damaged; with one, damage must be named.
package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
)

// Options say how much, and where.
type Options struct {
	Runs    int
	Seed    uint64
	Only    bool      // the one seed, with its story
	Dir     string    // for the simulated disks; "": a tmpfs if there is one
	Workers int       // processes; 0: one for each processor
	First   bool      // stop at the first finding
	Out     io.Writer // findings, and the story
}

// Report is what the torture found, as --json prints it.
type Report struct {
	Runs         int      `json:"runs"`
	Kills        int      `json:"kills"`        // of either end, with or without the power
	Items        int      `json:"items"`        // called saved
	Lost         int      `json:"lost"`         // of them
	Duplicated   int      `json:"duplicated"`   // stored twice, or with two receipts for one entry in one store
	Unverifiable int      `json:"unverifiable"` // an incarnation that is not whole, a receipt that is not the hub's
	Quarantined  int      `json:"quarantined"`  // segments
	FailedSeeds  []uint64 `json:"failed_seeds"`
}

// Clean says whether all is well.
func (r Report) Clean() bool {
	return r.Lost == 0 && r.Duplicated == 0 && r.Unverifiable == 0 && len(r.FailedSeeds) == 0
}

func (r *Report) add(x Report) {
	r.Runs += x.Runs
	r.Kills += x.Kills
	r.Items += x.Items
	r.Lost += x.Lost
	r.Duplicated += x.Duplicated
	r.Unverifiable += x.Unverifiable
	r.Quarantined += x.Quarantined
	r.FailedSeeds = append(r.FailedSeeds, x.FailedSeeds...)
}

// Table is the report for people.
func (r Report) Table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range []struct {
		name string
		n    int
	}{{"runs", r.Runs}, {"kills", r.Kills}, {"items", r.Items}, {"lost", r.Lost}, {"duplicated", r.Duplicated}, {"unverifiable", r.Unverifiable},
		{"quarantined", r.Quarantined}} {
		fmt.Fprintf(w, "%s\t%d\n", l.name, l.n)
	}
	fmt.Fprintf(w, "failed_seeds\t%v\n", r.FailedSeeds)
	w.Flush()
}

// Run plays the runs in several processes of this program.
func Run(ctx context.Context, o Options) (total Report, err error) {
	total.FailedSeeds = []uint64{}
	if o.Only {
		r, err := playOne(o)
		total.add(r)
		return total, err
	}
	if o.Workers == 0 {
		o.Workers = runtime.NumCPU()
	}
	o.Workers = max(1, min(o.Workers, o.Runs))
	if o.Dir, err = os.MkdirTemp(tempRoot(o.Dir), "torture-"); err != nil {
		return total, fmt.Errorf("torture: %w", err)
	}
	defer os.RemoveAll(o.Dir) // of workers that were stopped, too
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for i := range o.Workers {
		wg.Go(func() {
			werr := work(ctx, o, i, func(l line) {
				mu.Lock()
				defer mu.Unlock()
				total.add(l.Report)
				for _, f := range l.Found {
					fmt.Fprintln(o.Out, f)
				}
				if o.First && len(l.FailedSeeds) > 0 {
					cancel()
				}
			})
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, werr)
		})
	}
	wg.Wait()
	slices.Sort(total.FailedSeeds)
	if o.First && len(total.FailedSeeds) > 0 { // it was this that stopped the others
		return total, nil
	}
	return total, errors.Join(errs...)
}

// line is what a worker says of a run.
type line struct {
	Report
	Last  uint64    `json:"last"` // seed
	Found []Finding `json:"found,omitempty"`
}

// work has one process play its share. A process that dies of a run is a finding, and another one takes over behind it.
func work(ctx context.Context, o Options, i int, heard func(line)) error {
	next := o.Seed + uint64(i)
	end := o.Seed + uint64(o.Runs)
	for next < end && ctx.Err() == nil {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("torture: %w", err)
		}
		cmd := exec.CommandContext(ctx, exe, "torture", "--worker", "--seed", strconv.FormatUint(next, 10), "--until", strconv.FormatUint(end, 10),
			"--stride", strconv.Itoa(o.Workers), "--dir", o.Dir)
		cmd.Env = append(os.Environ(), "GOMAXPROCS=2", "TORTURE_WORKER=1")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return fmt.Errorf("torture: %w", err)
		}
		in := bufio.NewScanner(out)
		in.Buffer(nil, 16<<20)
		for in.Scan() {
			var l line
			if err := json.Unmarshal(in.Bytes(), &l); err != nil {
				return fmt.Errorf("torture: a worker said %q", in.Text())
			}
			next = l.Last + uint64(o.Workers)
			heard(l)
		}
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			heard(line{Report: Report{Runs: 1, FailedSeeds: []uint64{next}}, Found: []Finding{{next, "died", err.Error()}}})
			next += uint64(o.Workers)
		}
	}
	return ctx.Err()
}

// workerMemory is some ten times what a run needs at once.
const workerMemory = 96 << 20

// Worker plays its share of the runs, a line for each.
func Worker(ctx context.Context, out io.Writer, seed, until, stride uint64, dir string) error {
	debug.SetGCPercent(-1) // what a run leaves is large and short-lived: memory that is given back and taken again costs more
	debug.SetMemoryLimit(workerMemory)
	p, err := newPlayer(dir)
	if err != nil {
		return err
	}
	defer p.close()
	enc := json.NewEncoder(out)
	for ; seed < until && ctx.Err() == nil; seed += stride {
		r, found := p.play(seed, nil)
		if err := enc.Encode(line{Report: r, Last: seed, Found: found}); err != nil { // at once: the run that it dies of is the next one
			return err
		}
	}
	return ctx.Err()
}

// player plays runs, one after the other.
type player struct {
	dir   string
	keys  *keys
	vfs   *vfs
	blank []byte // database of a hub that never ran
	check *checker
}

func newPlayer(dir string) (*player, error) {
	k, err := newKeys(start)
	if err != nil {
		return nil, err
	}
	dir, err = os.MkdirTemp(tempRoot(dir), "torture-")
	if err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	blank, err := blankDatabase(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	v, err := newVFS()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &player{dir: dir, keys: k, blank: blank, vfs: v, check: &checker{}}, nil
}

func (p *player) play(seed uint64, story io.Writer) (Report, []Finding) {
	return newWorld(seed, filepath.Join(p.dir, "run"), p, story).run()
}

func (p *player) close() {
	p.check.close()
	p.vfs.close()
	os.RemoveAll(p.dir)
}

func playOne(o Options) (Report, error) {
	p, err := newPlayer(o.Dir)
	if err != nil {
		return Report{}, err
	}
	defer p.close()
	r, found := p.play(o.Seed, o.Out)
	for _, f := range found {
		fmt.Fprintln(o.Out, f)
	}
	return r, nil
}
