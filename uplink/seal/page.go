package seal

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// newPage maps one page outside the Go heap: the collector neither moves nor copies it, no core file has it
// (MADV_DONTDUMP), no child inherits it (MADV_WIPEONFORK), and no swap takes it as far as RLIMIT_MEMLOCK lets us
// (madvise(2), mlock(2)).
func newPage() ([]byte, error) {
	p, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("seal: a page for a key: %w", err)
	}
	for _, advice := range []int{unix.MADV_DONTDUMP, unix.MADV_WIPEONFORK} {
		if err := unix.Madvise(p, advice); err != nil {
			freePage(p)
			return nil, fmt.Errorf("seal: a page for a key: %w", err)
		}
	}
	unix.Mlock(p) // refused without the right: the agent refuses swap besides
	return p, nil
}

// freePage overwrites a page and gives it back. Unmapping fails for what is no mapping alone.
func freePage(p []byte) {
	clear(p)
	unix.Munmap(p)
}
