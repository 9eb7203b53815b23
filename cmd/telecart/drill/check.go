package drill

import (
	"bytes"
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"telecart/capture/ledger"
	"telecart/cmd/telecart/drill/oracle"
)

func rand() string {
	var b [8]byte
	crand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// check compares both ends, from the files alone.
func (d *drill) check(dir string) error {
	v, err := oracle.Check(dir, ledger.Book{Tenant: d.stage.Tenant, Cart: d.stage.Cart}, d.told, d.note)
	d.report.Captured, d.report.Delivered, d.report.Lost, d.report.Duplicated = v.Saved, v.Delivered, v.Lost, v.Duplicated
	d.report.ReceiptsVerified = v.Receipts
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return d.checkPlaintext(filepath.Join(dir, "cart"), filepath.Join(dir, "cart.log"), filepath.Join(dir, "hub.log"))
}

// checkPlaintext searches every byte of the cart's state folder, and of both logs.
func (d *drill) checkPlaintext(places ...string) error {
	searched := int64(0)
	look := func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		searched += int64(len(b))
		for _, p := range d.planted {
			if n := bytes.Count(b, p); n > 0 {
				d.report.PlaintextHits += n
				d.note("READABLE: %q in %s", p, filepath.Base(path))
			}
		}
		return nil
	}
	for _, p := range places {
		before := searched
		if err := filepath.WalkDir(p, look); err != nil {
			return fmt.Errorf("drill: %w", err)
		}
		if searched == before {
			return fmt.Errorf("drill: there is nothing in %s to search", filepath.Base(p))
		}
	}
	d.note("%d bytes of the cart's disk and both logs searched for %d things", searched, len(d.planted))
	return nil
}
