package rtc

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// kernel is /dev/rtcN.
type kernel struct{ f *os.File }

func openKernel(path string) (node, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return kernel{f}, nil
}

func (k kernel) Time() (unix.RTCTime, error) {
	t, err := unix.IoctlGetRTCTime(int(k.f.Fd()))
	if err != nil {
		return unix.RTCTime{}, fmt.Errorf("read time: %w", err)
	}
	return *t, nil
}

func (k kernel) Voltage() (uint32, error) {
	v, err := unix.IoctlGetUint32(int(k.f.Fd()), unix.RTC_VL_READ)
	if err != nil {
		return 0, fmt.Errorf("read voltage: %w", err)
	}
	return v, nil
}

func (k kernel) Close() error { return k.f.Close() }

// kernelName is what the kernel's driver calls the clock: "rtc-ds1307 1-0068".
func kernelName(sys string) string {
	b, _ := os.ReadFile(sys + "/name")
	return strings.TrimSpace(string(b))
}
