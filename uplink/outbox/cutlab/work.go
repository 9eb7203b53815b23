package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// work is one run of the agent, as a process of its own.
type work struct {
	mount, oracleDir string
	device           string // the recorded device's name
	run              int
	items            int // in each phase
	segment          int64

	cart *cart
	hub  ledger.ID

	mu   sync.Mutex // one promise at a time, in the file and in the log
	out  *os.File
	next int
}

// writers is how many put at once in a run's second phase.
const writers = 4

func workMain(args []string) error {
	w := &work{hub: ledger.ID{1}}
	f := flag.NewFlagSet("work", flag.ContinueOnError)
	f.StringVar(&w.mount, "mount", "", "the tested file system")
	f.StringVar(&w.oracleDir, "oracle", "", "folder for what was promised, elsewhere")
	f.StringVar(&w.device, "device", "", "device mapper name of the recorded device")
	f.IntVar(&w.run, "run", 0, "which run this is, from 0")
	f.IntVar(&w.items, "items", 8, "items of each writer")
	f.Int64Var(&w.segment, "segment", 0, "size of a segment")
	if err := f.Parse(args); err != nil {
		return err
	}
	return w.do()
}

func (w *work) do() (err error) {
	k, err := readKeys(w.oracleDir)
	if err != nil {
		return err
	}
	known, err := readOracle(w.oracleDir)
	if err != nil {
		return err
	}
	w.next = len(known.promises) + 1
	if w.out, err = os.OpenFile(filepath.Join(w.oracleDir, promisesFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return err
	}
	defer w.out.Close()
	check, err := execChecker()
	if err != nil {
		return err
	}
	if w.cart, err = openCart(w.mount, k, w.segment, check); err != nil {
		return err
	}
	if err := w.story(); err != nil {
		return err
	}
	if w.run%2 == 1 {
		return nil // killed: nothing is closed
	}
	return w.cart.box.Close()
}

// story is what happens in a run: one writer, several at once, the hub's receipts for what is here every second run, one
// writer again.
func (w *work) story() error {
	if err := w.several(1, w.items); err != nil {
		return err
	}
	if err := w.several(writers, max(1, w.items/2)); err != nil {
		return err
	}
	if w.run%2 == 1 {
		if err := w.delivered(); err != nil {
			return err
		}
	}
	return w.several(1, w.items)
}

// several has that many writers put that many items each.
func (w *work) several(many, items int) error {
	var group sync.WaitGroup
	errs := make([]error, many)
	for i := range many {
		group.Go(func() {
			for range items {
				if errs[i] = w.one(); errs[i] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (w *work) one() error {
	w.mu.Lock()
	n := w.next
	w.next++
	err := w.mark(markPut, n)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	p, err := w.cart.put(n)
	if err != nil {
		return fmt.Errorf("cutlab: put item %d: %w", n, err)
	}
	return w.promised(p)
}

// promised writes down, outside and into the log, that an item was called saved.
func (w *work) promised(p promise) error {
	line, err := json.Marshal(p)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.mark(markAck, p.N); err != nil {
		return err
	}
	_, err = w.out.Write(append(line, '\n'))
	return err
}

func (w *work) mark(what string, n int) error { return mark(w.device, fmt.Sprintf("%s-%d", what, n)) }

// delivered takes the hub's receipts for all that is held, and erases what it may.
func (w *work) delivered() error {
	if err := w.cart.loaded(); err != nil {
		return err
	}
	w.cart.box.Store(w.hub)
	known, err := readOracle(w.oracleDir)
	if err != nil {
		return err
	}
	last := uint64(0)
	for _, r := range w.cart.box.Pending(len(known.promises), func(outbox.Ref) bool { return false }) {
		n, ours := known.items[r.Hash]
		if !ours {
			return fmt.Errorf("cutlab: number %d was never put", r.Entry.Number)
		}
		last = max(last, uint64(n))
		if err := w.receipt(r, uint64(n)); err != nil {
			return err
		}
		if err := w.mark(markReceipt, n); err != nil {
			return err
		}
	}
	w.cart.box.Watermark(wire.Watermark{Store: w.hub, Sequence: last})
	w.cart.box.Posted(w.cart.box.Entries())
	if err := mark(w.device, markRetire); err != nil {
		return err
	}
	retired, err := w.cart.box.Retire()
	fmt.Fprintf(os.Stderr, "run %d: %d receipts, %d segments retired\n", w.run, last, retired)
	return err
}

func (w *work) receipt(r outbox.Ref, sequence uint64) error {
	return w.cart.box.Receipt(wire.Receipt{Verdict: wire.Received, Hub: "hub", Store: w.hub, Sequence: sequence, Key: 1, Book: book(),
		Incarnation: r.Entry.Incarnation, Number: r.Entry.Number, Prev: r.Entry.Prev, Item: r.Hash})
}
