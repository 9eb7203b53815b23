package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// bench is memory with disks in it, their devices, and one mount point. Everything that was made is taken away again.
type bench struct {
	dir  string
	undo []func() error
}

// logSize bounds a recording.
const logSize = 512 << 20

// newBench makes files for a disk, its twin for the states, and a log.
func newBench(mib int64) (*bench, error) {
	dir, err := os.MkdirTemp("/run", "cutlab-")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir}
	b.later(func() error { return os.Remove(dir) })
	if err := b.fill(mib); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bench) fill(mib int64) error {
	if err := unix.Mount("tmpfs", b.dir, "tmpfs", 0, "size=90%"); err != nil {
		return fmt.Errorf("cutlab: memory for disks: %w", err)
	}
	b.later(func() error { return unix.Unmount(b.dir, 0) })
	for name, size := range map[string]int64{"disk": mib << 20, "img": mib << 20, "log": logSize} {
		if err := errors.Join(os.WriteFile(b.path(name), nil, 0o600), os.Truncate(b.path(name), size)); err != nil {
			return err
		}
	}
	for _, name := range []string{"oracle", "mnt"} {
		if err := os.Mkdir(b.path(name), 0o700); err != nil {
			return err
		}
	}
	for _, m := range []string{"loop", "dm-mod", "dm-log-writes", "dm-flakey", "crc32c_generic", "crc32_generic", "ext4"} {
		if _, err := tool("modprobe", m); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }
func (b *bench) mountPoint() string      { return b.path("mnt") }
func (b *bench) later(f func() error)    { b.undo = append(b.undo, f) }

func (b *bench) close() (err error) {
	for _, f := range slices.Backward(b.undo) {
		err = errors.Join(err, f())
	}
	b.undo = nil
	return err
}

func (b *bench) loop(name string) (device string, err error) {
	if device, err = loop(b.path(name)); err != nil {
		return "", err
	}
	b.later(func() error { _, err := tool("losetup", "--detach", device); return err })
	return device, nil
}

// mapper makes a device of a device mapper table.
func (b *bench) mapper(name, table string) error {
	if _, err := tool("dmsetup", "create", name, "--table", table); err != nil {
		return err
	}
	b.later(func() error { return b.unmap(name) })
	return nil
}

func (b *bench) unmap(name string) error {
	if _, err := os.Stat("/dev/mapper/" + name); err != nil {
		return nil // it was taken away before
	}
	_, err := tool("dmsetup", "remove", name)
	return err
}

// reload gives a device another table, under the feet of who uses it.
func (b *bench) reload(name, table string) error {
	for _, args := range [][]string{{"suspend", "--nolockfs", "--noflush", name}, {"reload", name, "--table", table}, {"resume", name}} {
		if _, err := tool("dmsetup", args...); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) mount(device, fs, options string) error {
	if _, err := tool("modprobe", fs); err != nil {
		return err
	}
	if err := unix.Mount(device, b.mountPoint(), fs, 0, options); err != nil {
		return fmt.Errorf("cutlab: mount %s (%s): %w", device, options, err)
	}
	b.later(b.unmount)
	return nil
}

// unmount is no error if nothing is mounted.
func (b *bench) unmount() error {
	if err := unix.Unmount(b.mountPoint(), 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("cutlab: unmount: %w", err)
	}
	return nil
}
