package bus_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"telecart/device/bus"
	"telecart/device/bus/simbus"
)

// Six chips of one address behind two muxes, six goroutines, and everything that fails, fails now and then. A read fails
// or is the chip's own: never another's.
func TestStorm(t *testing.T) {
	sim := &simbus.Bus{}
	muxes := []*simbus.Mux{sim.Mux(0x71), sim.Mux(0x72)}
	muxes[1].Set(0xFF)
	buses := bus.Simulated(sim.Open)
	type seat struct {
		mux string
		tag byte
	}
	var seats []seat
	for i, m := range muxes {
		for n := range 3 {
			s := seat{fmt.Sprintf("0x7%d.%d", i+1, 2*n), byte(1 + 3*i + n)}
			m.Attach(2*n, 0x5A, &cell{tag: s.tag, fail: faults(uint64(s.tag))})
			if err := buses.Claim(port, s.mux, 0x5A, s.mux); err != nil {
				t.Fatal(err)
			}
			seats = append(seats, s)
		}
	}
	var wg sync.WaitGroup
	good := make([]int, len(seats))
	for i, s := range seats {
		x := open(t, buses, s.mux, 0x5A, s.mux)
		rnd := rand.New(rand.NewPCG(uint64(i), 7))
		wg.Go(func() {
			for range 500 {
				var a, b [2]byte
				err := x.Do(func(tx func(w, r []byte) error) error {
					switch m := muxes[rnd.IntN(2)]; rnd.IntN(12) {
					case 0:
						m.Set(0)
					case 1:
						m.NACK(1) // twice in a row would mean that it isn't there
					}
					if err := tx([]byte{0}, a[:]); err != nil {
						return err
					}
					return tx([]byte{0}, b[:])
				})
				if err == nil {
					good[i]++
					if a != b || a != [2]byte{s.tag, s.tag} {
						t.Errorf("%s read %v %v, and is %d", s.mux, a, b, s.tag)
					}
				}
			}
		})
	}
	wg.Wait()
	if sim.Clashes() != 0 {
		t.Errorf("%d clashes", sim.Clashes())
	}
	for i, n := range good {
		if n < 300 {
			t.Errorf("%s: only %d of 500 came through", seats[i].mux, n)
		}
	}
}

// faults is when a chip fails.
func faults(seed uint64) []error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	all := make([]error, 1000)
	for i := range all {
		switch rnd.IntN(20) {
		case 0:
			all[i] = fmt.Errorf("cell: %w", syscall.ENXIO)
		case 1:
			all[i] = fmt.Errorf("cell: %w", syscall.ETIMEDOUT)
		}
	}
	return all
}
