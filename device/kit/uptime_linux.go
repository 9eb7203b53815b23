package kit

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Uptime is the time since the machine booted, suspends included.
func (System) Uptime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// bootID is the kernel's name for the time since it booted.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
