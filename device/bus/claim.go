package bus

import (
	"fmt"
	"slices"
	"strings"
)

const (
	firstAddress = 0x08 // below and above are reserved by the I2C specification (NXP UM10204, 3.1.12)
	lastAddress  = 0x77
)

// claim is the place on a bus that an instrument's chip has, by its settings.
type claim struct {
	port string
	via  channel
	addr uint16
	who  string
}

// Claim says that the instrument who has a chip at addr, as Open will. It does no I/O; drivers call it when they are made,
// so that a conflict is known before the first of the two is opened. To claim the same again changes nothing.
func (b *Buses) Claim(port, mux string, addr uint16, who string) error {
	_, err := b.claim(port, mux, addr, who)
	return err
}

func (b *Buses) claim(port, mux string, addr uint16, who string) (claim, error) {
	via, err := parseChannel(mux)
	if err != nil {
		return claim{}, err
	}
	if addr < firstAddress || addr > lastAddress {
		return claim{}, fmt.Errorf("%w, not %#x", ErrAddress, addr)
	}
	if via != (channel{}) && addr == via.mux {
		return claim{}, fmt.Errorf("%w, not %#02x: that is its mux", ErrAddress, addr)
	}
	c := claim{port: port, via: via, addr: addr, who: who}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.claims, c) {
		b.claims = append(b.claims, c)
	}
	return c, nil
}

// Forget ends all claims of an instrument that is no longer configured.
func (b *Buses) Forget(who string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims = slices.DeleteFunc(b.claims, func(c claim) bool { return c.who == who })
}

// conflict names the others that would answer to what is sent to c.
func (b *Buses) conflict(c claim) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var others []string
	for _, o := range b.claims {
		if c.meets(o) {
			others = append(others, o.String())
		}
	}
	if others == nil {
		return nil
	}
	slices.Sort(others)
	return fmt.Errorf("%w: %s and %s: strap one of them to another address, or move it to a mux channel of its own",
		ErrConflict, c, strings.Join(others, ", "))
}

// meets says whether two claims touch: one address that both answer to at some time, or one chip at the address of the
// mux that the other is behind. A mux hears everything on its bus, also what is meant for a chip behind another mux.
func (c claim) meets(o claim) bool {
	if c.port != o.port || c.who == o.who {
		return false
	}
	if c.addr == o.via.mux || o.addr == c.via.mux {
		return true
	}
	trunk := channel{}
	return c.addr == o.addr && (c.via == o.via || c.via == trunk || o.via == trunk)
}

func (c claim) String() string { return fmt.Sprintf("%s (%s)", c.who, c.place()) }

func (c claim) place() string {
	place := fmt.Sprintf("%#02x on %s", c.addr, c.port)
	if c.via != (channel{}) {
		place += " behind " + c.via.String()
	}
	return place
}

// muxes are the addresses of all muxes that somebody on the port is behind. Called under the lock.
func (b *Buses) muxes(port string) (all []uint16) {
	for _, c := range b.claims {
		if c.port == port && c.via != (channel{}) && !slices.Contains(all, c.via.mux) {
			all = append(all, c.via.mux)
		}
	}
	slices.Sort(all)
	return all
}
