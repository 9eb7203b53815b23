package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	fullDisk = 24 // MiB
	ballast  = 8 << 20
	fullPuts = 600 // more than fit
)

// diskFull fills a small ext4 until Put says that there is no room. Then room is made, and the same run goes on.
func diskFull() (seen string, figures map[string]int, err error) {
	w, err := newWard(fullDisk)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, w.end()) }()
	device, err := w.loop("disk")
	if err != nil {
		return "", nil, err
	}
	if err := w.mount(device, "ext4", ""); err != nil {
		return "", nil, err
	}
	other := filepath.Join(w.mountPoint(), "ballast")
	if err := os.WriteFile(other, make([]byte, ballast), 0o600); err != nil {
		return "", nil, err
	}
	if err := w.open(); err != nil {
		return "", nil, err
	}
	full := 0
	for len(w.refused) == 0 && full < fullPuts {
		full += w.put(1)
	}
	if len(w.refused) == 0 {
		return "", nil, fmt.Errorf("%d items and no end: the disk never filled", full)
	}
	w.put(5)
	if err := errors.Join(w.inWords("no space left on device"), w.whole()); err != nil {
		return "", nil, err
	}
	if err := os.Remove(other); err != nil {
		return "", nil, err
	}
	const after = 20
	if n := w.put(after); n != after {
		return "", nil, fmt.Errorf("room was made, and of %d items %d were saved: %w", after, n, w.said())
	}
	if err := errors.Join(w.whole(), w.shut(), w.again()); err != nil {
		return "", nil, err
	}
	seen = fmt.Sprintf("full after %d items: %q; room made, %d more without a restart; all whole after the next", full, w.refused[0], after)
	return seen, map[string]int{"confirmed": len(w.promises), "refused": len(w.refused)}, nil
}
