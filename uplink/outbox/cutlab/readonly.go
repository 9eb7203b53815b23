package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// diskReadOnly makes the file system read-only under the running outbox, in the ways in which that happens: an orderly
// remount (which the kernel refuses while a file is open for writing, mount(2)), an error in the file system (ext4(5),
// errors=remount-ro), the kernel's emergency remount (sysrq u).
func diskReadOnly() (seen string, figures map[string]int, err error) {
	figures = map[string]int{}
	ways := []struct {
		name string
		turn func(w *ward, device string) error
	}{{"errors=remount-ro", fsError}, {"emergency remount", emergency}}
	for _, way := range ways {
		n, err := readOnly(way.name, way.turn, figures)
		if err != nil {
			return seen, figures, fmt.Errorf("%s: %w", way.name, err)
		}
		if seen != "" {
			seen += "; "
		}
		seen += n
	}
	return seen, figures, nil
}

func readOnly(name string, turn func(*ward, string) error, figures map[string]int) (seen string, err error) {
	w, err := newWard(48)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.end()) }()
	device, err := w.loop("disk")
	if err != nil {
		return "", err
	}
	if err := w.mount(device, "ext4", "errors=remount-ro"); err != nil {
		return "", err
	}
	if err := w.open(); err != nil {
		return "", err
	}
	w.put(30)
	if err := w.remount(unix.MS_RDONLY); !errors.Is(err, unix.EBUSY) {
		return "", fmt.Errorf("an orderly remount under the running outbox: %v, not EBUSY", err)
	}
	before := w.put(1)
	if before != 1 || len(w.refused) > 0 {
		return "", fmt.Errorf("after a remount that was refused: %w", errors.Join(w.refused...))
	}
	if err := turn(w, device); err != nil {
		return "", err
	}
	called := w.put(10)
	if err := errors.Join(w.delivers(), w.inWords("read-only", "input/output error")); err != nil {
		return "", err
	}
	w.shut() // it may well say that the disk is read-only
	if err := w.healed(device); err != nil {
		return "", err
	}
	if err := w.again(); err != nil {
		return "", err
	}
	figures["confirmed"] += len(w.promises)
	figures["refused"] += len(w.refused)
	said := "nothing"
	if len(w.refused) > 0 {
		said = w.refused[0].Error()
	}
	return fmt.Sprintf("%s: of 10 items %d were called saved, Put said %q, %d delivered meanwhile, all confirmed whole after the next start",
		name, called, said, before+30), nil
}

func (w *ward) remount(flags uintptr) error {
	return unix.Mount("", w.mountPoint(), "", unix.MS_REMOUNT|flags, "")
}

// fsError has ext4 find an error in itself.
func fsError(_ *ward, device string) error {
	return os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(device), "trigger_fs_error"), []byte("the lab"), 0)
}

// emergency makes every file system of the guest read-only, open files or not (Linux Documentation/admin-guide/sysrq.rst).
func emergency(w *ward, _ string) error {
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("u"), 0); err != nil {
		return err
	}
	for range 1000 { // a worker of the kernel does it
		var st unix.Statfs_t
		if err := unix.Statfs(w.mountPoint(), &st); err != nil {
			return err
		}
		if st.Flags&unix.ST_RDONLY != 0 {
			return nil
		}
		<-kit.System{}.After(5 * time.Millisecond)
	}
	return errors.New("the emergency remount never came")
}

// healed gives the disk a check and mounts it again, as a start of the cart does.
func (w *ward) healed(device string) error {
	if err := w.unmount(); err != nil {
		return err
	}
	if out, err := tool("e2fsck", "-p", device); err != nil && out == "" { // it reports repairs in its exit status: e2fsck(8)
		return err
	}
	return w.mount(device, "ext4", "errors=remount-ro")
}

// delivers demands that the link can still read everything confirmed, and that a receipt that can't be kept is refused.
func (w *ward) delivers() error {
	if err := w.whole(); err != nil {
		return fmt.Errorf("while the disk is read-only: %w", err)
	}
	refs := w.cart.refs()
	r := refs[0]
	err := w.cart.box.Receipt(wire.Receipt{Verdict: wire.Received, Hub: "hub", Store: ledger.ID{1}, Sequence: 1, Key: 1, Book: book(),
		Incarnation: r.Entry.Incarnation, Number: r.Entry.Number, Prev: r.Entry.Prev, Item: r.Hash})
	if err == nil {
		if n, ours := newOracle(w.promises).items[r.Hash]; ours {
			w.at.receipted[n] = true // then it must be there at the next start
		}
	}
	return nil
}
