package hotplug

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	groupKernel = 1
	groupUdev   = 2
	bufferSize  = 1 << 20 // a hub full of cameras says much at once
	longest     = 64 << 10
)

// netlink is a socket on which the kernel, or udevd, tells of devices.
type netlink struct {
	f   *os.File
	raw syscall.RawConn
	buf [longest]byte
	oob [64]byte // for one struct ucred
}

// openNetlink listens to both groups: udevd may start later than the agent.
func openNetlink() (source, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("hotplug: netlink: %w", err)
	}
	// Forcing it needs a privilege; what is allowed without may be less, and overruns are made up for by a scan.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bufferSize)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groupKernel | groupUdev}))
	if err != nil {
		return nil, fmt.Errorf("hotplug: netlink: %w", errors.Join(err, unix.Close(fd)))
	}
	f := os.NewFile(uintptr(fd), "uevents")
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("hotplug: netlink: %w", errors.Join(err, f.Close()))
	}
	return &netlink{f: f, raw: raw}, nil
}

// next waits for an event that is to be believed.
func (n *netlink) next() (event, error) {
	for {
		var size, flags int
		var oob []byte
		var from unix.Sockaddr
		var err error
		waited := n.raw.Read(func(fd uintptr) bool {
			var control int
			size, control, flags, from, err = unix.Recvmsg(int(fd), n.buf[:], n.oob[:], 0)
			oob = n.oob[:max(control, 0)]
			return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
		})
		switch {
		case waited != nil:
			return event{}, fmt.Errorf("hotplug: netlink: %w", waited)
		case errors.Is(err, unix.ENOBUFS):
			return event{}, errOverrun
		case err != nil:
			return event{}, fmt.Errorf("hotplug: netlink: %w", err)
		case flags&unix.MSG_TRUNC != 0:
			return event{}, errOverrun
		}
		e, err := parse(n.buf[:size])
		if addr, ok := from.(*unix.SockaddrNetlink); ok && err == nil && genuine(e, addr, sender(oob)) {
			return e, nil
		}
	}
}

// Close ends a next that waits.
func (n *netlink) Close() error { return n.f.Close() }

// genuine: group 1 is the kernel's own, which has no port; on group 2 only root is udevd.
func genuine(e event, from *unix.SockaddrNetlink, uid uint32) bool {
	if e.Udev {
		return from.Groups == groupUdev && uid == 0
	}
	return from.Groups == groupKernel && from.Pid == 0
}

// sender is the user that the kernel says sent it; of a message without a word on that, nobody.
func sender(oob []byte) uint32 {
	const nobody = 1<<32 - 1
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nobody
	}
	for i := range messages {
		if c, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			return c.Uid
		}
	}
	return nobody
}
