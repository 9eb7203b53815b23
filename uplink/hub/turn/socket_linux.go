package turn

import (
	"crypto/tls"
	"net"

	"golang.org/x/sys/unix"
)

// unsent is how much the kernel takes ahead of what it can send, in bytes: what waits there can't be dropped any more when it
// gets old, what waits in the exchange can.
const unsent = 16 << 10

// shallow bounds the kernel's queue of a connection. Without it the connection works, only with older pictures.
func shallow(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	t, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) })
}
