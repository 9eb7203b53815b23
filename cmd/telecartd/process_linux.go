package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"golang.org/x/sys/unix"

	"telecart/cmd/telecartd/agent"
	"telecart/uplink/seal/erase"
	"telecart/uplink/seal/swap"
)

// noCoreDump keeps data keys and patient names out of core files and out of other processes' reach (prctl(2),
// PR_SET_DUMPABLE). There is no mlockall(2): locked pages can't be given back (madvise(2), MADV_DONTNEED), and giving back is
// how freed pictures are erased. Swap is refused instead, and keys lie on locked pages (uplink/seal).
func noCoreDump() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("telecartd: no core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("telecartd: not dumpable: %w", err)
	}
	return nil
}

// noSwap refuses, or warns of, swap from which patients' data could be read later.
func noSwap(root fs.FS, want string, log *slog.Logger) error {
	err := swap.Check(root)
	if !errors.Is(err, swap.ErrReadable) || want == agent.RefuseSwap {
		return err
	}
	log.Warn("telecartd: started all the same, for the settings say so", "err", err)
	return nil
}

// checkErasing says so when this build does not erase.
func checkErasing(log *slog.Logger) {
	if !erase.Built {
		log.Warn("telecartd: built without GOEXPERIMENT=runtimesecret: copies of closed encounters' keys may stay in memory")
	}
}
