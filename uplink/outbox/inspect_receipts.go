package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

func (in *inspector) receipts() error {
	names, err := filepath.Glob(filepath.Join(in.dir, "receipts", "*"+receiptExt))
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		rel := filepath.Join("receipts", filepath.Base(name))
		b, err := in.read(rel)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		for i := 0; i < len(b); i += slotSize {
			slot := b[i:min(i+slotSize, len(b))]
			if allZero(slot) {
				continue
			}
			at, f := Place{rel, int64(i)}, Finding{}
			if k, err := decodeSlot(slot); err == nil {
				f.Receipt = &FoundReceipt{at, k.Receipt, k.arrived, k.trusted}
			} else {
				f.Damage = &FoundDamage{Place: at, What: "a receipt can't be read; its item is offered to the hub again"}
			}
			if err := in.tell(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// goneReceipts are those that erased segments left.
func (in *inspector) goneReceipts() error {
	names, err := filepath.Glob(filepath.Join(in.dir, "*"+goneExt))
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		base := filepath.Base(name)
		b, err := in.read(base)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		_, receipts, err := decodeGone(b)
		if err != nil {
			err = in.tell(Finding{Damage: &FoundDamage{Place: Place{File: base}, What: "the receipts of an erased segment can't be read"}})
		}
		for _, r := range receipts {
			if err == nil {
				err = in.tell(Finding{Receipt: &FoundReceipt{Place: Place{File: base}, Receipt: r}})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// HeadFile is the ledger's signed head as it was last written down (SaveHead), beside the segments.
const HeadFile = "head"

func (in *inspector) heads() error {
	names, err := filepath.Glob(filepath.Join(in.dir, "*.checkpoint"))
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	slices.Sort(names)
	for _, name := range append(names, filepath.Join(in.dir, HeadFile)) {
		base := filepath.Base(name)
		b, err := in.read(base)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		var c checkpoint
		if base == HeadFile {
			err = json.Unmarshal(b, &c.Head)
		} else if err = json.Unmarshal(b, &c); err == nil && fmt.Sprintf("%08d.checkpoint", c.Segment) != base {
			err = errors.New("it is of another segment")
		}
		f := Finding{Head: &FoundHead{Place{File: base}, c.Segment, c.Head}}
		if err != nil {
			f = Finding{Damage: &FoundDamage{Place: Place{File: base}, What: "a signed head can't be read"}}
		}
		if err := in.tell(f); err != nil {
			return err
		}
	}
	return nil
}
