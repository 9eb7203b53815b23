package emulator

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// MTU of both devices, in bytes.
const MTU = 1500

// openTUN makes a TUN device with an address in the network namespace of the calling thread (tuntap.rst of the kernel's
// documentation; netdevice(7)).
func openTUN(name string, addr netip.Prefix) (_ *os.File, err error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("emulator: /dev/net/tun: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	r, err := unix.NewIfreq(name)
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return nil, fmt.Errorf("emulator: make a TUN device (CAP_NET_ADMIN is needed): %w", err)
	}
	ip := addr.Addr().As4()
	mask := uint32(0xffffffff) << (32 - addr.Bits())
	if err = configure(name, []setting{
		{unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(ip[:]) }},
		{unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error {
			return r.SetInet4Addr([]byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)})
		}},
		{unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(MTU); return nil }},
		{unix.SIOCSIFFLAGS, up},
	}); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func up(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }

// setting is one ioctl of netdevice(7).
type setting struct {
	request uint
	fill    func(*unix.Ifreq) error
}

func configure(name string, settings []setting) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	defer unix.Close(s)
	for _, set := range settings {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return fmt.Errorf("emulator: %w", err)
		}
		if err := set.fill(r); err != nil {
			return fmt.Errorf("emulator: %w", err)
		}
		if err := unix.IoctlIfreq(s, set.request, r); err != nil {
			return fmt.Errorf("emulator: set up %s (ioctl %#x): %w", name, set.request, err)
		}
	}
	return nil
}
