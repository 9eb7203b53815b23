package courier

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// books are the folders of the books in the cart's state. Folders that are not what they are taken for are refused: an export
// that found nothing in the wrong place would look like one with nothing to do, and a full cart would be given up.
func (x Export) books() (out []string, err error) {
	if st, err := os.Stat(x.To); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("courier: --to %s is no folder: nothing was written. Is the stick mounted there?", x.To)
	}
	for _, name := range []string{care, practice} {
		_, err := os.Stat(filepath.Join(x.State, name))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("courier: %w", err)
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("courier: %s is no cart's state folder (neither care/ nor practice/ in it): nothing was written. "+
			"Give the folder that `state` in telecartd.toml names; a cart that has never captured has neither", x.State)
	}
	return out, nil
}

// ownDisk: where a stick is mounted, there is a folder when it is not.
func (x Export) ownDisk() (bool, error) {
	var from, to unix.Stat_t
	if err := errors.Join(unix.Stat(x.State, &from), unix.Stat(x.To, &to)); err != nil {
		return false, fmt.Errorf("courier: %w", err)
	}
	return from.Dev == to.Dev, nil
}

// What stays free on the stick, so that the hub can write its receipts there: for each item a frame with the longest names, and
// the key list, the watermark and what the file system itself needs.
const (
	receiptRoom = 512
	keepFree    = 64 << 10
)

const _ = uint(receiptRoom - frameHead - wire.MaxReceipt - frameTail) // it is enough

// room is what may be written to the stick.
type room struct {
	free  func() (int64, error)
	items int64 // on the stick, of all carts
}

func (x Export) room() *room {
	free := x.Free
	if free == nil {
		free = freeOn
	}
	return &room{func() (int64, error) { return free(x.To) }, itemsOn(x.To)}
}

// take says whether so many bytes with so many items may be written; if not, it gives ENOSPC, as the stick itself would.
func (r *room) take(bytes, items int64) error {
	free, err := r.free()
	if err != nil {
		return err
	}
	if free-bytes < keepFree+receiptRoom*(r.items+items) {
		return fmt.Errorf("courier: %w: what is left is for the receipts", unix.ENOSPC)
	}
	r.items += items
	return nil
}

func freeOn(folder string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return 0, fmt.Errorf("courier: %w", err)
	}
	if st.Blocks == 0 {
		return math.MaxInt64, nil // a file system without a size of its own (tmpfs(5), size=0): a write will tell
	}
	return int64(st.Bavail) * st.Frsize, nil
}

// itemsOn counts the items on a stick, of all carts. What can't be read there needs no receipt.
func itemsOn(folder string) (n int64) {
	names, err := regular(filepath.Join(folder, Folder), cartExt)
	if err != nil {
		return 0 // nothing yet; or what is wrong shows when it is written to
	}
	for _, name := range names {
		if c, _, err := readFile(name); err == nil && c != nil {
			n += int64(len(c.items))
		}
	}
	return n
}

// noRoom says whether the stick, or what the user may have of it, is full.
func noRoom(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EFBIG) || errors.Is(err, unix.EDQUOT)
}

// regular gives the regular files in a folder with one of these endings, by name. What is none is passed over: opening a pipe may
// never end, and a link leads elsewhere.
func regular(dir string, exts ...string) (paths []string, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("courier: %w", err)
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("courier: %d files in %s: that is no courier's", len(files), dir)
	}
	for _, f := range files {
		if f.Type().IsRegular() && slices.ContainsFunc(exts, func(e string) bool { return strings.HasSuffix(f.Name(), e) }) {
			paths = append(paths, filepath.Join(dir, f.Name()))
		}
	}
	return paths, nil
}

// onStick finds the items that an earlier export left there and that are good through and through. Files that were cut off go.
func (b *bookExport) onStick() (have map[ledger.Hash]bool, old *content, err error) {
	have = map[ledger.Hash]bool{}
	names, err := regular(filepath.Join(b.x.To, Folder), cartExt, cartExt+cutExt)
	if errors.Is(err, fs.ErrNotExist) {
		return have, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		number, mine := strings.CutPrefix(filepath.Base(n), NameOf(b.book)+"-")
		if !mine {
			continue
		}
		if strings.HasSuffix(n, cutExt) {
			if err := b.x.Disk.Remove(n); err != nil {
				return nil, nil, fmt.Errorf("courier: %w", err)
			}
			continue
		}
		var k int
		fmt.Sscanf(number, "%d", &k)
		b.n = max(b.n, k)
		c, _, err := readFile(n)
		if err != nil {
			return nil, nil, err
		}
		if c == nil {
			continue
		}
		if err := b.good(n, c, have); err != nil {
			return nil, nil, err
		}
		if old == nil {
			old = c
		} else {
			old.join(c)
		}
	}
	return have, old, nil
}

func (b *bookExport) good(path string, c *content, have map[ledger.Hash]bool) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	defer f.Close()
	for _, it := range c.items {
		if whole(f, it.frame, it.manifest, it.header, it.size) == nil {
			have[it.manifest.Entry.Hash()] = true
		}
	}
	return nil
}
