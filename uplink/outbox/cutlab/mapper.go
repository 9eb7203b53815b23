package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tool runs one of the system's programs.
func tool(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DM_DISABLE_UDEV=1") // no udev runs here: dmsetup makes the nodes itself
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("cutlab: %s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return text, nil
}

// Of linux/dm-ioctl.h: struct dm_ioctl, and DM_TARGET_MSG with a struct dm_target_msg behind it.
const (
	dmHead      = 312
	dmVersionAt = 0
	dmSizeAt    = 12
	dmStartAt   = 16
	dmNameAt    = 48
	dmNameSize  = 128
	dmTarget    = 8 // sector, in front of the message
	dmTargetMsg = 0xc138fd0e
)

// mark puts a word into the log of a log-writes device, behind all that was flushed so far. No blanks.
func mark(device, text string) error {
	b := make([]byte, dmHead+dmTarget, dmHead+dmTarget+64)
	b = append(append(b, "mark "+text...), 0)
	le := binary.LittleEndian
	le.PutUint32(b[dmVersionAt:], 4)
	le.PutUint32(b[dmSizeAt:], uint32(len(b)))
	le.PutUint32(b[dmStartAt:], dmHead)
	copy(b[dmNameAt:dmNameAt+dmNameSize-1], device)
	f, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), dmTargetMsg, uintptr(unsafe.Pointer(&b[0]))); e != 0 {
		return fmt.Errorf("cutlab: mark %q in the log of %s: %w", text, device, e)
	}
	return nil
}

// mapFile maps a whole file, shared.
func mapFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// makeFS makes a file system in a file or on a device, small enough for thousands of states.
func makeFS(fs, path string) error {
	var err error
	switch fs {
	case "ext4":
		_, err = tool("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", path)
	case "f2fs":
		_, err = tool("mkfs.f2fs", "-q", "-f", path)
	case "xfs":
		_, err = tool("mkfs.xfs", "-q", "-f", path)
	default:
		err = fmt.Errorf("cutlab: no file system %q here: ext4, f2fs or xfs", fs)
	}
	return err
}

// loop puts a file behind a block device.
func loop(path string) (device string, err error) { return tool("losetup", "--find", "--show", path) }
