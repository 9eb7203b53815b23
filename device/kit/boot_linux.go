package kit

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is the clock's reading when CLOCK_BOOTTIME was 0, so that stamps of two runs within one boot compare.
func bootTime(c Clock) time.Time {
	now := c.Now()
	if _, real := c.(System); !real {
		return now
	}
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return now
	}
	return now.Add(-time.Duration(ts.Nano()))
}

// ClockSynchronised asks the kernel whether a time source disciplines the wall clock (adjtimex(2), STA_UNSYNC).
func ClockSynchronised() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}
