// Package swap finds swap areas from which a stolen cart's memory could be read.
//
// Parties: the agent asks before it starts, and its /healthz later on; the demo asks to warn. Keys: none.
//
// Invariants: what is not surely harmless is named. Harmless are compressed memory (zram, unless it writes back to a disk) and
// dm-crypt devices, whose key is gone with the power; a swap file is named though its disk may be encrypted, for that disk's
// key may be found beside it.
package swap

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// ErrReadable: patients' data could be written to a swap area that anybody can read later.
var ErrReadable = errors.New("swap: memory can be written to disk unencrypted")

// Check returns nil or an ErrReadable that names the areas. root is the machine's (os.DirFS("/")).
func Check(root fs.FS) error {
	b, err := fs.ReadFile(root, "proc/swaps")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without swap
	}
	if err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	if areas := readable(root, string(b)); len(areas) > 0 {
		return fmt.Errorf("%w: %s; turn it off (swapoff -a), or use zram or dm-crypt", ErrReadable, strings.Join(areas, ", "))
	}
	return nil
}

// readable takes /proc/swaps: a heading, then one area a line, its path first (proc_swaps(5)).
func readable(root fs.FS, swaps string) (areas []string) {
	_, lines, _ := strings.Cut(swaps, "\n")
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) > 0 && !harmless(root, f[0]) {
			areas = append(areas, strconv.Quote(f[0]))
		}
	}
	return areas
}

// harmless asks sysfs: dm/uuid of a dm-crypt device begins with CRYPT-, backing_dev of a zram that stays in memory is "none"
// (Documentation/admin-guide/blockdev/zram.rst; a kernel that can't write back has no such file).
func harmless(root fs.FS, area string) bool {
	name, ok := strings.CutPrefix(area, "/dev/")
	if !ok || path.Base(name) != name {
		return false
	}
	switch {
	case strings.HasPrefix(name, "dm-"):
		uuid, err := fs.ReadFile(root, "sys/block/"+name+"/dm/uuid")
		return err == nil && strings.HasPrefix(string(uuid), "CRYPT-")
	case strings.HasPrefix(name, "zram"):
		backing, err := fs.ReadFile(root, "sys/block/"+name+"/backing_dev")
		return errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(backing)) == "none"
	}
	return false
}
