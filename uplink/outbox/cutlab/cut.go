package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// expectation is what a recording is to show.
type expectation string

const (
	expectWhole   expectation = "whole"   // no state lacks anything
	expectLost    expectation = "lost"    // a planted bug: states that lack what was confirmed
	expectNoProof expectation = "noproof" // the disk was never told to flush: refused
)

// cutting is one recording, and the states cut out of it.
type cutting struct {
	name, fs, options string
	mib               int64
	plan              plan
	variants          int
	max, min          int
	seed              uint64
	worker            string
	expect            expectation
}

// plan is what the workers do.
type plan struct {
	runs, items int
	segment     int64
}

// recorded is the name of the device that records.
const recorded = "recorded"

func (c cutting) run() (seen string, figures map[string]int, err error) {
	b, err := newBench(c.mib)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := c.record(b); err != nil {
		return "", nil, err
	}
	raw, err := mapFile(b.path("log"))
	if err != nil {
		return "", nil, err
	}
	defer unix.Munmap(raw)
	log, err := parseLog(raw)
	if err != nil {
		return "", nil, err
	}
	unproven := flushed(log)
	if c.expect == expectNoProof {
		if unproven == nil {
			return "", nil, errors.New("a disk that is never flushed was taken for a proof")
		}
		return "refused: " + unproven.Error(), nil, nil
	}
	t, flushes, err := c.walk(b, log)
	if err != nil {
		return "", nil, err
	}
	return c.report(t, flushes, unproven)
}

// report says what was found. Fewer flushes than promises prove nothing, whatever the states showed.
func (c cutting) report(t *tester, flushes int, unproven error) (seen string, figures map[string]int, err error) {
	figures = map[string]int{"states": t.states, "failed": t.failed, "lost": t.lost, "flushes": flushes, "confirmed": t.confirmed}
	seen = fmt.Sprintf("%s: %d states of %d flushes, %d items confirmed, %d states failed, %d of them lost something",
		c.fs, t.states, flushes, t.confirmed, t.failed, t.lost)
	if c.options != "" {
		seen = c.options + ", " + seen
	}
	if c.expect == expectLost {
		if t.lost == 0 {
			return seen, figures, errors.New("the planted bug was not found")
		}
		return seen + "; " + t.first[0], figures, nil
	}
	if t.failed > 0 {
		err = errors.New(t.failures())
	}
	if t.states < c.min {
		err = errors.Join(err, fmt.Errorf("%d states are no proof: %d or more", t.states, c.min))
	}
	return seen, figures, errors.Join(err, unproven)
}

// record has the workers save items on a recorded device.
func (c cutting) record(b *bench) error {
	if err := makeFS(c.fs, b.path("disk")); err != nil {
		return err
	}
	if _, err := tool("cp", "--sparse=always", b.path("disk"), b.path("base")); err != nil {
		return err
	}
	disk, err := b.loop("disk")
	if err != nil {
		return err
	}
	log, err := b.loop("log")
	if err != nil {
		return err
	}
	if err := b.mapper(recorded, fmt.Sprintf("0 %d log-writes %s %s", c.mib<<20/512, disk, log)); err != nil {
		return err
	}
	if err := b.mount("/dev/mapper/"+recorded, c.fs, c.options); err != nil {
		return err
	}
	err = c.work(b)
	// dm-log-writes logs a write when a later flush is complete: the unmount closes the log. Its states count as well.
	return errors.Join(err, b.unmount(), b.unmap(recorded))
}

func (c cutting) work(b *bench) error {
	worker := c.worker
	if worker == "" {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		worker = exe
	}
	if err := mark(recorded, markStart); err != nil {
		return err
	}
	for run := range c.plan.runs {
		cmd := exec.Command(worker, "work", "-mount", b.mountPoint(), "-oracle", b.path("oracle"), "-device", recorded, "-run", strconv.Itoa(run),
			"-items", strconv.Itoa(c.plan.items), "-segment", strconv.FormatInt(c.plan.segment, 10))
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("cutlab: run %d: %w", run, err)
		}
	}
	return nil
}

// flushed demands a flush between the begin of each Put and its promise.
func flushed(log []logEntry) error {
	begun, flushes, missing, promises := map[string]int{}, 0, 0, 0
	for _, e := range log {
		what, n, _ := bytes.Cut([]byte(e.mark), []byte("-"))
		switch {
		case e.flags&flagMark == 0 && e.flags&(flagFlush|flagFUA) != 0:
			flushes++
		case string(what) == markPut:
			begun[string(n)] = flushes
		case string(what) == markAck:
			promises++
			if begun[string(n)] == flushes {
				missing++
			}
		}
	}
	switch {
	case promises == 0:
		return errors.New("nothing was promised")
	case missing > 0:
		return fmt.Errorf("%d of %d items were confirmed without a flush since their Put began", missing, promises)
	}
	return nil
}

// walk goes through the recording, and tests the states before each flush.
func (c cutting) walk(b *bench, log []logEntry) (t *tester, flushes int, err error) {
	if err := writeMarks(b.path("oracle"), log); err != nil {
		return nil, 0, err
	}
	base, err := os.ReadFile(b.path("base"))
	if err != nil {
		return nil, 0, err
	}
	if t, err = c.newTester(b); err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	m := &medium{disk: base, rnd: rand.New(rand.NewPCG(c.seed, 0)), tear: 512}
	some := newSample(c.max, points(log, c.variants), c.seed)
	at, marks, started := 0, 0, false
	for _, e := range append(log, logEntry{flags: flagFlush}) { // and once more at the end
		if e.flags&flagMark != 0 {
			marks++
			started = started || e.mark == markStart
			if what, _, _ := bytes.Cut([]byte(e.mark), []byte("-")); string(what) == markAck {
				t.confirmed++
			}
			continue
		}
		if started && e.flags&(flagFlush|flagFUA) != 0 {
			flushes++
			for _, cut := range m.cuts(e, c.variants) {
				if at++; !some.pick() {
					continue
				}
				if err := t.try(m.disk, cut, request{Marks: marks, Pick: at, Exec: at%execEvery == 0}); err != nil {
					return t, flushes, err
				}
			}
		}
		if err := m.take(e); err != nil {
			return t, flushes, err
		}
	}
	return t, flushes, sameAs(m.disk, b.path("disk"))
}

// execEvery is how many states pass until old segments are checked in child processes again: that is slow under emulation.
const execEvery = 16

// points counts the states of a recording, as walk and medium.cuts make them.
func points(log []logEntry, variants int) (n int) {
	cached, started := 0, false
	for _, e := range append(log[:len(log):len(log)], logEntry{flags: flagFlush}) {
		started = started || e.mark == markStart
		ends := e.flags&flagMark == 0 && e.flags&(flagFlush|flagFUA) != 0
		if ends && started {
			n++
			if cached > 0 || len(e.data) > 0 && e.flags&flagFlush == 0 {
				n += variants
			}
		}
		if e.flags&flagFlush != 0 {
			cached = 0
		}
		if e.length > 0 && e.flags&flagFUA == 0 {
			cached++
		}
	}
	return n
}

// sample picks as many as are wanted of those that are left, each with the same chance (Knuth, algorithm S).
type sample struct {
	want, left int
	rnd        *rand.Rand
}

func newSample(want, of int, seed uint64) *sample {
	if want == 0 || want > of {
		want = of
	}
	return &sample{want, of, rand.New(rand.NewPCG(seed, 1))}
}

func (s *sample) pick() bool {
	s.left--
	if s.rnd.IntN(s.left+1) >= s.want {
		return false
	}
	s.want--
	return true
}

// sameAs compares the replayed disk with the recorded one: else the states were no states of it.
func sameAs(disk []byte, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(b, disk) {
		return errors.New("cutlab: the recording does not lead to the recorded disk")
	}
	return nil
}

func writeMarks(oracleDir string, log []logEntry) error {
	marks := []string{}
	for _, e := range log {
		if e.flags&flagMark != 0 {
			marks = append(marks, e.mark)
		}
	}
	b, err := json.Marshal(marks)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(oracleDir, marksFile), b, 0o600)
}

func (c cutting) newTester(b *bench) (*tester, error) {
	t := &tester{fs: c.fs, options: c.options, mount: b.mountPoint(), oracleDir: b.path("oracle"), segment: c.plan.segment}
	var err error
	if t.log, err = openKernelLog(); err != nil {
		return nil, err
	}
	if t.device, err = b.loop("img"); err != nil {
		return nil, err
	}
	t.img, err = mapFile(b.path("img"))
	return t, err
}
