package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
)

// faultChecks are what is looked at on a disk that fails while the outbox runs.
func faultChecks() map[string]func() (string, map[string]int, error) {
	return map[string]func() (string, map[string]int, error){
		"disk-full":      diskFull,
		"disk-read-only": diskReadOnly,
		"disk-io-error":  diskIOError,
	}
}

// faultMain runs checks. With -planted it runs one that must find its bug, under the name that is given.
func faultMain(args []string) error {
	f := flag.NewFlagSet("fault", flag.ContinueOnError)
	planted := f.String("planted", "", "this build has a bug that the check must find: the name in the report")
	if err := f.Parse(args); err != nil {
		return err
	}
	var failed error
	for _, name := range f.Args() {
		check := faultChecks()[name]
		if check == nil {
			return fmt.Errorf("cutlab: no check %q", name)
		}
		if *planted != "" {
			name, check = *planted, mustFind(check)
		}
		failed = errors.Join(failed, try(name, check))
	}
	return failed
}

// mustFind turns a check round: it passes if something confirmed was lost.
func mustFind(check func() (string, map[string]int, error)) func() (string, map[string]int, error) {
	return func() (string, map[string]int, error) {
		seen, figures, err := check()
		if err == nil || !strings.Contains(err.Error(), "LOST") {
			return seen, figures, fmt.Errorf("the planted bug was not found: %v", err)
		}
		return "found: " + err.Error(), figures, nil
	}
}

// ward is an outbox on a file system that is about to fail, and what it confirmed.
type ward struct {
	*bench
	keys     keys
	cart     *cart
	at       instant
	promises []promise
	refused  []error // what Put said
	next     int
}

// segmentSize is that of the fault checks.
const segmentSize = 2 << 20

func newWard(mib int64) (w *ward, err error) {
	b, err := newBench(mib)
	if err != nil {
		return nil, err
	}
	w = &ward{bench: b, at: newInstant(), next: 1}
	if w.keys, err = readKeys(b.path("oracle")); err == nil {
		err = makeFS("ext4", b.path("disk"))
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return w, nil
}

// open starts a run of the agent.
func (w *ward) open() (err error) {
	check, err := execChecker()
	if err != nil {
		return err
	}
	if w.cart, err = openCart(w.mountPoint(), w.keys, segmentSize, check); err != nil {
		w.cart = nil
		return fmt.Errorf("LOST: the outbox does not open: %w", err)
	}
	return w.cart.loaded()
}

// shut ends the run. On a disk that failed Close may say so.
func (w *ward) shut() error {
	if w.cart == nil {
		return nil
	}
	err := w.cart.box.Close()
	w.cart = nil
	return err
}

// put tries to save many items, and says how many were confirmed.
func (w *ward) put(many int) (confirmed int) {
	for range many {
		n := w.next
		w.next++
		w.at.begun[n] = true
		p, err := w.cart.put(n)
		if err != nil {
			w.refused = append(w.refused, err)
			continue
		}
		confirmed++
		w.at.saved[n] = true
		w.promises = append(w.promises, p)
	}
	return confirmed
}

// inWords demands of everything that Put said that it names the outbox and what is wrong.
func (w *ward) inWords(reasons ...string) error {
	for _, err := range w.refused {
		text := err.Error()
		if !strings.HasPrefix(text, "outbox: ") || !slices.ContainsFunc(reasons, func(r string) bool { return strings.Contains(text, r) }) {
			return fmt.Errorf("what Put said, %q, has none of %q", text, reasons)
		}
	}
	return nil
}

// whole demands that everything confirmed reads back, in the run that is under way.
func (w *ward) whole() error {
	h, err := w.cart.look(w.next)
	if err != nil {
		return err
	}
	return w.judge(h)
}

func (w *ward) judge(h held) error {
	at := w.at
	at.troubled = true
	if v := judge(newOracle(w.promises), at, h); len(v.Wrong) > 0 {
		return errors.New(v.text())
	}
	return nil
}

// again starts the agent again on a disk that is well, demands that everything confirmed is whole, and saves one item more.
func (w *ward) again() error {
	if err := w.open(); err != nil {
		return err
	}
	if err := w.whole(); err != nil {
		return fmt.Errorf("after the next start: %w", err)
	}
	if w.put(1) != 1 {
		return fmt.Errorf("after the next start: %w", w.said())
	}
	return errors.Join(w.whole(), w.shut())
}

// end lets go of everything, whatever state it is in.
func (w *ward) end() error {
	w.shut()
	return w.close()
}

// said is the last thing that Put said.
func (w *ward) said() error {
	if len(w.refused) == 0 {
		return nil
	}
	return w.refused[len(w.refused)-1]
}
