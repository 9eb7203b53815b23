package courier

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

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
	if err == nil {
		err = w.finish()
	}
	if err != nil {
		return errors.Join(err, w.giveUp()) // half a file would only take room
	}
	return nil
}

// maxWaiting bounds the receipts of a book in the inbox.
const maxWaiting = 1 << 20

// Fetch takes the receipts on a stick into a cart's inbox; mine says whose are the cart's. What waits there already stays: receipts
// are added. It says how many of those that were brought wait there now.
func Fetch(disk kit.Disk, stick, state string, mine func(ledger.Book) bool) (receipts int, damage []Damage, err error) {
	names, err := regular(filepath.Join(stick, Folder), receiptExt)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, fmt.Errorf("courier: there is no folder %s on %s: is this the stick, and is it mounted?", Folder, stick)
	}
	if err != nil {
		return 0, nil, err
	}
	found := false
	for _, n := range names {
		c, d, err := readFile(n)
		if err != nil {
			return receipts, damage, err
		}
		if c != nil && !mine(c.book) {
			continue
		}
		if damage = append(damage, d...); c == nil {
			continue
		}
		found = true
		if len(c.receipt) == 0 {
			damage = append(damage, Damage{filepath.Base(n), "there is no receipt in it: nothing was taken from it"})
			continue
		}
		if err := keep(disk, filepath.Join(state, InboxDir, filepath.Base(n)), c); err != nil {
			return receipts, damage, err
		}
		receipts += len(c.receipt)
	}
	if !found && len(damage) == 0 {
		err = fmt.Errorf("courier: there are no receipts for this cart on %s: take the stick to the hub and import it there first", stick)
	}
	return receipts, damage, err
}

// keep adds what a file brought to what waits in the inbox. Nothing of either is verified, so neither may cost the other anything.
func keep(disk kit.Disk, path string, brought *content) error {
	all := brought
	if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() {
		waiting, _, err := readFile(path)
		if err != nil {
			return err
		}
		if waiting != nil && waiting.book == brought.book && len(waiting.receipt)+len(brought.receipt) <= maxWaiting {
			waiting.join(brought)
			all = waiting
		}
	}
	seen := map[string]bool{}
	all.receipt = slices.DeleteFunc(slices.Clone(all.receipt), func(r wire.Receipt) bool {
		m := string(r.Marshal())
		defer func() { seen[m] = true }()
		return seen[m]
	})
	return writeReceipts(disk, path, all.book, all.keys, all.water, all.receipt)
}

// ReadInbox gives the files in a cart's inbox; use says whether a file was used up and goes.
func ReadInbox(disk kit.Disk, state string, use func(Receipts) (done bool, err error)) error {
	dir := filepath.Join(state, InboxDir)
	paths, err := regular(dir, receiptExt)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, path := range paths {
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
