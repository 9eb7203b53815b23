package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shaky is the device whose writes can be made to fail.
const shaky = "shaky"

// ioDisk is its size in MiB.
const ioDisk = 48

// diskIOError fails writes under the running outbox: those to the file that small items go to, those to the newest
// segment, all of them.
func diskIOError() (seen string, figures map[string]int, err error) {
	figures = map[string]int{}
	for _, where := range []string{"log", "segment", "everywhere"} {
		s, err := ioError(where, figures)
		if err != nil {
			return seen, figures, fmt.Errorf("%s: %w", where, err)
		}
		if seen != "" {
			seen += "; "
		}
		seen += s
	}
	return seen, figures, nil
}

func ioError(where string, figures map[string]int) (seen string, err error) {
	w, err := newWard(ioDisk)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.end()) }()
	device, err := w.loop("disk")
	if err != nil {
		return "", err
	}
	well := fmt.Sprintf("0 %d linear %s 0", ioDisk<<20/512, device)
	if err := w.mapper(shaky, well); err != nil {
		return "", err
	}
	if err := w.mount("/dev/mapper/"+shaky, "ext4", ""); err != nil {
		return "", err
	}
	if err := w.open(); err != nil {
		return "", err
	}
	w.put(20)
	if len(w.refused) > 0 {
		return "", errors.Join(w.refused...)
	}
	tried, saved, condemned := 0, 0, 0
	for round := 0; round < 5 && condemned == 0; round++ { // the file may just have been full
		table, err := w.failing(where, device)
		if err != nil {
			return "", err
		}
		if err := w.reload(shaky, table); err != nil {
			return "", err
		}
		tried += 40 // long items among them
		saved += w.put(40)
		condemned = w.cart.box.Stats().Condemned
	}
	if where == "everywhere" && saved > 0 {
		return "", fmt.Errorf("LOST: no write succeeds, and %d items were called saved", saved)
	}
	if condemned > 0 {
		if err := errors.Join(w.inWords("input/output error", "read-only"), w.whole()); err != nil {
			return "", err
		}
	}
	w.shut()
	if err := w.reload(shaky, well); err != nil {
		return "", err
	}
	if err := w.healed("/dev/mapper/" + shaky); err != nil {
		return "", err
	}
	if err := w.again(); err != nil {
		return "", err
	}
	if condemned == 0 { // and nothing is lost
		return "", errors.New("no segment was condemned: the error did not reach the outbox")
	}
	figures["confirmed"] += len(w.promises)
	figures["refused"] += len(w.refused)
	figures["condemned"] += condemned
	return fmt.Sprintf("writes fail (%s): of %d items %d saved, %d refused, %d condemned; all confirmed whole after the next start",
		where, tried, saved, len(w.refused), condemned), nil
}

// failing is the table in which writes fail: all, or those to one file of the outbox. Such a file can't be read back
// either: a flakey target would fail the flushes of the whole device.
func (w *ward) failing(where, device string) (table string, err error) {
	end := int64(ioDisk << 20 / 512)
	if where == "everywhere" { // never up, always down, one feature (Linux Documentation/admin-guide/device-mapper/dm-flakey.rst)
		return fmt.Sprintf("0 %d flakey %s 0 0 180 1 error_writes", end, device), nil
	}
	path, err := w.newest(where)
	if err != nil {
		return "", err
	}
	bad, err := extents(path)
	if err != nil {
		return "", err
	}
	var lines []string
	at := int64(0)
	for _, x := range bad {
		if x[0] > at {
			lines = append(lines, fmt.Sprintf("%d %d linear %s %d", at, x[0]-at, device, at))
		}
		lines = append(lines, fmt.Sprintf("%d %d error", x[0], x[1]-x[0]))
		at = x[1]
	}
	if at < end {
		lines = append(lines, fmt.Sprintf("%d %d linear %s %d", at, end-at, device, at))
	}
	return strings.Join(lines, "\n"), nil
}

// newest is the newest log or segment of the outbox. Where there are no logs small items go to the segment.
func (w *ward) newest(what string) (string, error) {
	dir := filepath.Join(w.mountPoint(), "care")
	names, err := filepath.Glob(filepath.Join(dir, "*."+map[string]string{"log": "log", "segment": "seg"}[what]))
	if err == nil && len(names) == 0 {
		names, err = filepath.Glob(filepath.Join(dir, "*.seg"))
	}
	if err != nil || len(names) == 0 {
		return "", fmt.Errorf("cutlab: no %s in %s: %v", what, dir, err)
	}
	return slices.Max(names), nil
}

// Of linux/fiemap.h: struct fiemap, and struct fiemap_extent behind it.
const (
	fiemapHead   = 32
	fiemapExtent = 56
	fiemapIoctl  = 0xc020660b
	fiemapSync   = 1
	maxExtents   = 64
)

// extents are the sectors in which a file's bytes lie, in order.
func extents(path string) ([][2]int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, fiemapHead+maxExtents*fiemapExtent)
	le := binary.LittleEndian
	le.PutUint64(b[8:], 1<<62) // length
	le.PutUint32(b[16:], fiemapSync)
	le.PutUint32(b[24:], maxExtents)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiemapIoctl, uintptr(unsafe.Pointer(&b[0]))); e != 0 {
		return nil, fmt.Errorf("cutlab: where %s lies: %w", path, e)
	}
	var out [][2]int64
	for i := range int(le.Uint32(b[20:])) {
		x := b[fiemapHead+i*fiemapExtent:]
		from, length := int64(le.Uint64(x[8:]))/512, int64(le.Uint64(x[16:]))/512
		out = append(out, [2]int64{from, from + length})
	}
	if len(out) == 0 || len(out) == maxExtents {
		return nil, fmt.Errorf("cutlab: %s lies in %d extents", path, len(out))
	}
	slices.SortFunc(out, func(a, b [2]int64) int { return int(a[0] - b[0]) })
	return out, nil
}
