package main

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelLog reads the kernel's log from where it was opened.
type kernelLog struct{ fd int }

func openKernelLog() (kernelLog, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Seek(fd, 0, unix.SEEK_END)
	}
	return kernelLog{fd}, err
}

// complaint is the last line since the last call that a sound file system would not give.
func (k kernelLog) complaint() (bad string) {
	b := make([]byte, 8192)
	for {
		n, err := unix.Read(k.fd, b)
		if errors.Is(err, unix.EPIPE) { // overwritten before it was read
			continue
		} else if err != nil || n <= 0 {
			return bad
		}
		line, _, _ := strings.Cut(string(b[:n]), "\n")
		_, text, _ := strings.Cut(line, ";")
		if strings.HasPrefix(text, "F2FS-fs") && strings.Contains(text, "invalid crc") {
			continue // one of its two checkpoints was being written: it takes the other
		}
		for _, word := range []string{"rror", "orrupt", "WARNING", "BUG", "nconsisten", "nvalid"} {
			if strings.Contains(text, word) {
				bad = text
			}
		}
	}
}
