package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"

	"telecart/device"
	"telecart/device/bus/simbus"
	"telecart/device/ina219"
	"telecart/device/max17048"
	"telecart/device/max30205"
	"telecart/device/mcp9808"
	"telecart/device/mlx90614"
	"telecart/device/tmp117"
)

// shy is a chip that may be told not to acknowledge.
type shy struct {
	simbus.Chip

	mu sync.Mutex
	n  int
}

func (s *shy) Tx(addr uint16, w, r []byte) error {
	s.mu.Lock()
	refuse := s.n > 0
	if refuse {
		s.n--
	}
	s.mu.Unlock()
	if refuse {
		return fmt.Errorf("shy: %w", syscall.ENXIO)
	}
	return s.Chip.Tx(addr, w, r)
}

// refuse leaves the next n messages unacknowledged.
func (s *shy) refuse(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n = n
}

const forEver = 1 << 30

// i2cDrivers are those of all chips on the bench's wire.
func i2cDrivers() []device.Driver {
	return []device.Driver{tmp117.Driver(), max30205.Driver(), mlx90614.Driver(), max17048.Driver(), ina219.Driver(), mcp9808.Driver()}
}

// Names of the ward's instruments.
const (
	axilla, forehead, left, right = "axilla", "forehead", "left hand", "right hand"
	battery, supply, room         = "battery", "supply", "room"
	first, second                 = "first", "second" // at one address
)

// patients are the ward's instruments on a patient, quick those of them all that need no time to settle.
func patients() []string { return []string{axilla, forehead, left, right} }
func quick() []string    { return []string{forehead, supply} }

// i2cWard is the ward on the bench's wire; every chip that there is a driver for.
type i2cWard struct {
	*ward
	chips map[string]*shy
	mlx   *mlx90614.Twin
}

const (
	muxAddress  = 0x71
	handAddress = 0x4A // behind the mux, twice
	sameAddress = 0x4B
)

// openWard fits the chips to the bench's wire and starts their instruments, once: its checks follow one another.
func (b *bench) openWard(ctx context.Context) (*i2cWard, error) {
	if b.ward != nil {
		return b.ward, nil
	}
	b.chip.SetTemperature(36_600)
	mlx := mlx90614.NewTwin(b.clock, 0x5A)
	mlx.SetObject(34_200)
	gauge := max17048.NewTwin(b.clock)
	gauge.Set(64, 0)
	mux := b.wire.Mux(muxAddress)
	w := &i2cWard{mlx: mlx, chips: map[string]*shy{}}
	var beds []bed
	fit := func(x bed, c simbus.Chip) {
		x.Port = b.i2c
		beds, w.chips[x.Name] = append(beds, x), &shy{Chip: c}
		if x.Mux == "" {
			b.wire.Attach(uint16(x.Address), w.chips[x.Name])
			return
		}
		mux.Attach(int(x.Mux[len(x.Mux)-1]-'0'), uint16(x.Address), w.chips[x.Name])
	}
	hand := func(name, channel string, milliCel int) {
		chip := max30205.NewTwin(b.clock, handAddress)
		chip.SetTemperature(milliCel)
		fit(bed{Settings: device.Settings{Name: name, Driver: "max30205", Mux: channel, Address: handAddress, Options: soon()},
			quantity: "body-temperature", from: float64(milliCel-5) / 1000, to: float64(milliCel+5) / 1000}, chip)
	}
	fit(bed{device.Settings{Name: axilla, Driver: "tmp117", Address: chipAddress, Options: soon()},
		"body-temperature", 36.59, 36.61}, b.chip)
	fit(bed{device.Settings{Name: forehead, Driver: "mlx90614", Address: 0x5A}, "skin-temperature", 34.19, 34.21}, mlx)
	fit(bed{device.Settings{Name: battery, Driver: "max17048", Address: 0x36}, "battery-charge", 64, 64}, gauge)
	fit(bed{device.Settings{Name: supply, Driver: "ina219", Address: 0x40}, "supply-voltage", 5.09, 5.11},
		ina219.NewTwin(0x40, 5100, 900))
	fit(bed{device.Settings{Name: room, Driver: "mcp9808", Address: 0x18}, "room-temperature", 21.5, 21.5}, mcp9808.Twin(0x18))
	hand(left, "0x71.0", 37_000)
	hand(right, "0x71.1", 38_500)
	for name, driver := range map[string]string{first: "tmp117", second: "max30205"} {
		beds = append(beds, bed{device.Settings{Name: name, Driver: driver, Port: b.i2c, Address: sameAddress}, "body-temperature", 0, -1})
	}
	var err error
	if w.ward, err = b.admit(context.WithoutCancel(ctx), i2cDrivers(), beds...); err != nil {
		return nil, err
	}
	b.ward = w
	return w, nil
}

// closeWard ends it, if it is open.
func (b *bench) closeWard() error {
	w := b.ward
	if b.ward = nil; w == nil {
		return nil
	}
	return w.stop()
}

// soon are the options of a contact thermometer that is to settle as fast as it can: in 13 s.
func soon() map[string]string { return map[string]string{"settle_s": "3"} }
