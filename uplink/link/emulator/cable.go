package emulator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Addresses of the two ends.
var (
	near = netip.MustParsePrefix("10.77.0.1/30")
	far  = netip.MustParsePrefix("10.77.0.2/30")
)

// FarAddr is the address of the far end as the near end dials it.
func FarAddr() string { return far.Addr().String() }

// Cable joins the namespace of the calling thread (near) with another (far).
type Cable struct {
	ends [2]*os.File
	wg   sync.WaitGroup

	mu     sync.Mutex
	way    [2]*Direction // 0: near to far
	wake   [2]chan struct{}
	waits  [2]chan struct{} // of Passed; closed and replaced at each packet
	flows  map[uint16]int   // TCP payload that came out at the far end, by the near end's port
	closed bool
}

// Lay makes both devices. Near is made on the calling thread, which should be locked or its process have one namespace.
func Lay(n *Net, out, back Path, seed uint64) (*Cable, error) {
	a, err := openTUN("near0", near)
	if err != nil {
		return nil, err
	}
	var b *os.File
	if err := n.Do(func() (err error) { b, err = openTUN("far0", far); return err }); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	c := &Cable{ends: [2]*os.File{a, b}, way: [2]*Direction{NewDirection(out, seed), NewDirection(back, seed+1)}, flows: map[uint16]int{}}
	for i := range c.way {
		c.wake[i], c.waits[i] = make(chan struct{}, 1), make(chan struct{})
		c.wg.Go(func() { c.read(i) })
		c.wg.Go(func() { c.write(i) })
	}
	return c, nil
}

// Set changes both directions from now on.
func (c *Cable) Set(out, back Path) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.way[0].Set(out)
	c.way[1].Set(back)
}

// Cut begins an outage.
func (c *Cable) Cut() { c.down(func(p *Path) { p.Down = true }) }

// Mend ends it. Busiest counts from here.
func (c *Cable) Mend() {
	c.down(func(p *Path) { p.Down = false })
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.flows)
}

func (c *Cable) down(set func(*Path)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.way {
		p := d.Path()
		set(&p)
		d.Set(p)
	}
}

// Count is what became of the packets: from near to far, and back.
func (c *Cable) Count() (out, back Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.way[0].Count(), c.way[1].Count()
}

// Passed gives the count towards the far end, and a channel that is closed when it has grown.
func (c *Cable) Passed() (Count, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.way[0].Count(), c.waits[0]
}

// Busiest is what the one TCP connection that got most of all through to the far end got through, in bytes of payload, and a
// channel that is closed when it may have grown.
func (c *Cable) Busiest() (most int, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.flows {
		most = max(most, n)
	}
	return most, c.waits[0]
}

// payload is the near end's port of an IPv4 packet with TCP, and the length of what it carries (RFC 791, RFC 9293, 3.1).
func payload(p []byte) (port uint16, n int) {
	const tcp, least = 6, 20
	head := int(p[0]&15) * 4
	if len(p) < head+least || p[9] != tcp {
		return 0, 0
	}
	return binary.BigEndian.Uint16(p[head:]), max(0, len(p)-head-int(p[head+12]>>4)*4)
}

// Close takes both devices away.
func (c *Cable) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := errors.Join(c.ends[0].Close(), c.ends[1].Close())
	for _, w := range c.wake {
		nudge(w)
	}
	c.wg.Wait()
	if err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	return nil
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// read takes what the kernel sends from one end.
func (c *Cable) read(i int) {
	b := make([]byte, MTU+64)
	for {
		n, err := c.ends[i].Read(b)
		if err != nil {
			return
		}
		if b[0]>>4 != 4 {
			continue // the kernel's own IPv6 chatter on a new device
		}
		c.mu.Lock()
		c.way[i].Offer(time.Now(), append([]byte(nil), b[:n]...))
		c.mu.Unlock()
		nudge(c.wake[i])
	}
}

// write gives to the other end what has come out of a direction, when it is due.
func (c *Cable) write(i int) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return
		}
		p, due := c.way[i].Take(time.Now())
		at, more := c.way[i].Next()
		if due && i == 0 {
			port, n := payload(p)
			c.flows[port] += n
		}
		if due {
			close(c.waits[i])
			c.waits[i] = make(chan struct{})
		}
		c.mu.Unlock()
		if due {
			c.ends[1-i].Write(p) // a device that is full loses it, as a network may
			continue
		}
		var timer <-chan time.Time
		if more {
			timer = time.After(time.Until(at))
		}
		select {
		case <-c.wake[i]:
		case <-timer:
		}
	}
}
