package courier

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// InboxDir is where, in a cart's state folder, receipts wait for the agent.
const InboxDir = "inbox"

// Receipts is what a file of receipts holds. Nothing of it is verified.
type Receipts struct {
	Book      ledger.Book
	Keys      *wire.SignedKeyList // of the hub; nil: none came along
	Watermark *wire.Watermark
	Receipts  []wire.Receipt
}

// WriteReceipts writes a book's receipts to a stick, for its cart.
func WriteReceipts(disk kit.Disk, stick string, b ledger.Book, list wire.SignedKeyList, water *wire.Watermark, rs []wire.Receipt) error {
	return writeReceipts(disk, filepath.Join(stick, Folder, NameOf(b)+receiptExt), b, &list, water, rs)
}

func writeReceipts(disk kit.Disk, path string, b ledger.Book, list *wire.SignedKeyList, water *wire.Watermark, rs []wire.Receipt) error {
	w, err := create(disk, path, b)
	if err != nil {
		return err
	}
	if list != nil {
		err = w.json(typeKeys, list)
	}
	if err == nil && water != nil {
		err = w.json(typeWater, water)
	}
	for i := 0; err == nil && i < len(rs); i++ {
		err = w.small(typeReceipt, rs[i].Marshal())
	}
	if err != nil {
		return errors.Join(err, w.f.Close())
	}
	return w.finish()
}

// Fetch copies the files of receipts on a stick into a cart's inbox; mine says whose are the cart's.
func Fetch(disk kit.Disk, stick, state string, mine func(ledger.Book) bool) (receipts int, damage []Damage, err error) {
	names, err := filepath.Glob(filepath.Join(stick, Folder, "*"+receiptExt))
	if err != nil {
		return 0, nil, fmt.Errorf("courier: %w", err)
	}
	for _, n := range names {
		c, d, err := readFile(n)
		if err != nil {
			return receipts, damage, err
		}
		damage = append(damage, d...)
		if c == nil || !mine(c.book) {
			continue
		}
		if err := writeReceipts(disk, filepath.Join(state, InboxDir, filepath.Base(n)), c.book, c.keys, c.water, c.receipt); err != nil {
			return receipts, damage, err
		}
		receipts += len(c.receipt)
	}
	return receipts, damage, nil
}

// ReadInbox gives the files in a cart's inbox; use says whether a file was used up and goes.
func ReadInbox(disk kit.Disk, state string, use func(Receipts) (done bool, err error)) error {
	dir := filepath.Join(state, InboxDir)
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), receiptExt) {
			continue
		}
		path := filepath.Join(dir, f.Name())
		c, _, err := readFile(path)
		if err != nil {
			return err
		}
		done := true // one that says nothing: the stick has it still
		if c != nil {
			if done, err = use(Receipts{c.book, c.keys, c.water, c.receipt}); err != nil {
				return err
			}
		}
		if !done {
			continue
		}
		if err := errors.Join(disk.Remove(path), disk.SyncDir(dir)); err != nil {
			return fmt.Errorf("courier: %w", err)
		}
	}
	return nil
}
