package emulator

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Net is a network namespace with one thread in it: what is listened on, dialled or started by Do belongs to it for good.
type Net struct {
	work chan func()
	gone chan struct{}
}

// NewNet makes a namespace in which nothing but the loopback device is up.
func NewNet() (*Net, error) {
	n := &Net{make(chan func()), make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		defer close(n.gone)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine, and is nobody else's before
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- fmt.Errorf("emulator: make a network namespace (CAP_SYS_ADMIN is needed): %w", err)
			return
		}
		ready <- Loopback()
		for f := range n.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	return n, nil
}

// Loopback brings up the loopback device of the calling thread's namespace.
func Loopback() error { return configure("lo", []setting{{unix.SIOCSIFFLAGS, up}}) }

// Do runs f on the namespace's thread. Processes that f starts with a parent-death signal live until Close at most.
func (n *Net) Do(f func() error) error {
	done := make(chan error, 1)
	n.work <- func() { done <- f() }
	return <-done
}

// Close ends the thread. The namespace goes with the last thing in it.
func (n *Net) Close() {
	close(n.work)
	<-n.gone
}
