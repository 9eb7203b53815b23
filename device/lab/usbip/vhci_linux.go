package usbip

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"telecart/device/kit"
)

const (
	vhci     = "/sys/devices/platform/vhci_hcd.0/"
	portFree = 4 // VDEV_ST_NULL
	portUsed = 6 // VDEV_ST_USED
)

// Speed is a bus speed as vhci_hcd counts them (enum usb_device_speed).
type Speed int

const (
	FullSpeed Speed = 2 // 12 Mbit/s
	HighSpeed Speed = 3 // 480 Mbit/s
)

// Host is the kernel's virtual host controller. It needs root and the module vhci_hcd.
type Host struct {
	dir   string
	clock kit.Clock
	mu    sync.Mutex // while a port is chosen and taken
}

// OpenHost finds the controller.
func OpenHost(clock kit.Clock) (*Host, error) {
	h := &Host{dir: vhci, clock: clock}
	if _, err := os.Stat(h.dir + "attach"); err != nil {
		return nil, fmt.Errorf("usbip: no virtual host controller: load the module vhci_hcd: %w", err)
	}
	return h, nil
}

// Plug attaches a device to the first free high-speed port.
func (h *Host) Plug(speed Speed, handler Handler) (*Port, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	status, err := os.ReadFile(h.dir + "status")
	if err != nil {
		return nil, fmt.Errorf("usbip: %w", err)
	}
	number, err := freePort(string(status))
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("usbip: %w", err)
	}
	defer syscall.Close(fd[0])                               // the kernel takes its own reference
	if err := syscall.SetNonblock(fd[1], true); err != nil { // so that Close ends a Read
		return nil, fmt.Errorf("usbip: %w", err)
	}
	p := serve(os.NewFile(uintptr(fd[1]), "usbip"), handler, number)
	if err := os.WriteFile(h.dir+"attach", fmt.Appendf(nil, "%d %d %d %d", number, fd[0], 1<<16|(number+2), speed), 0); err != nil {
		p.sock.Close()
		return nil, fmt.Errorf("usbip: attach: %w", err)
	}
	return p, nil
}

// Unplug pulls the cable and waits until the kernel has let go.
func (h *Host) Unplug(ctx context.Context, p *Port) error {
	if err := os.WriteFile(h.dir+"detach", fmt.Appendf(nil, "%d", p.number), 0); err != nil {
		return fmt.Errorf("usbip: detach: %w", err)
	}
	select {
	case <-p.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Find waits for the first path that matches pattern below the device's folder in /sys: "*/i2c-*" finds the bus of an
// adapter's first interface.
func (h *Host) Find(ctx context.Context, p *Port, pattern string) (string, error) {
	for {
		status, err := os.ReadFile(h.dir + "status")
		if err != nil {
			return "", fmt.Errorf("usbip: %w", err)
		}
		if id := busID(string(status), p.number); id != "" {
			if m, _ := filepath.Glob(filepath.Join("/sys/bus/usb/devices", id, pattern)); len(m) > 0 {
				return m[0], nil
			}
		}
		select {
		case <-h.clock.After(20 * time.Millisecond):
		case <-p.Done():
			return "", fmt.Errorf("usbip: %w", errors.Join(ErrStopped, p.Err()))
		case <-ctx.Done():
			return "", fmt.Errorf("usbip: no %s: %w", pattern, ctx.Err())
		}
	}
}

// rows calls f for each high-speed line of vhci_hcd's status file: "hs  0000 006 003 00010002 000003 1-1".
func rows(status string, f func(port, state int, bus string)) {
	for line := range strings.Lines(status) {
		var port, state, speed, dev, fd int
		var bus string
		if n, _ := fmt.Sscanf(line, "hs %d %d %d %x %d %s", &port, &state, &speed, &dev, &fd, &bus); n == 6 {
			f(port, state, bus)
		}
	}
}

func freePort(status string) (int, error) {
	free := -1
	rows(status, func(port, state int, _ string) {
		if state == portFree && free < 0 {
			free = port
		}
	})
	if free < 0 {
		return 0, errors.New("usbip: no free port: unplug something")
	}
	return free, nil
}

// busID is the name of the device at a port, as in /sys/bus/usb/devices; empty until the kernel has numbered it.
func busID(status string, number int) (id string) {
	rows(status, func(port, state int, bus string) {
		if port == number && state == portUsed {
			id = bus
		}
	})
	return id
}
