package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// noCoreDump keeps data keys and patient names out of core files and out of other processes' reach (prctl(2),
// PR_SET_DUMPABLE).
func noCoreDump() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("telecartd: no core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("telecartd: not dumpable: %w", err)
	}
	return nil
}
