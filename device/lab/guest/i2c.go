package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"telecart/device"
	"telecart/device/bus/wiring"
	"telecart/device/lab/acm"
	"telecart/device/lab/usbip"
	"telecart/device/max17048"
	"telecart/device/max30205"
	"telecart/device/mlx90614"
	"telecart/device/supervisor"
	"telecart/device/tmp117"
)

// i2cLive reads every chip's number through one /dev/i2c-N, two of them at the same address behind a mux.
func i2cLive(ctx context.Context, b *bench) (string, error) {
	w, err := b.openWard(ctx)
	if err != nil {
		return "", err
	}
	all := append(patients(), battery, supply, room)
	if err := w.until(ctx, w.shows, all...); err != nil {
		return "", err
	}
	var seen []string
	for _, name := range all {
		x := w.beds[name]
		for _, r := range w.status(name).Readings {
			if r.Quantity == x.quantity {
				seen = append(seen, fmt.Sprintf("%s %s %s", x.Driver, r.Value, r.Unit))
			}
		}
	}
	if n := b.wire.Clashes(); n > 0 {
		return "", fmt.Errorf("%d messages reached two chips", n)
	}
	return strings.Join(seen, ", ") + " on " + b.i2c, nil
}

// i2cNACK leaves messages to every chip unacknowledged, two in a row: nobody loses its place. One chip then goes away, alone.
func i2cNACK(ctx context.Context, b *bench) (string, error) {
	w, err := b.openWard(ctx)
	if err != nil {
		return "", err
	}
	often := append(patients(), supply)
	tolerant := append(often, battery)
	if err := w.until(ctx, w.shows, tolerant...); err != nil {
		return "", err
	}
	restarted := w.since(tolerant...)
	bursts := 0
	for _, who := range [][]string{tolerant, often, often} {
		before := map[string]int{}
		for _, name := range who {
			before[name] = w.numbers(name)
			w.chips[name].refuse(2)
			bursts++
		}
		err := w.until(ctx, func(s supervisor.Status) error { // a driver gives up when it fails three times in a row
			if w.numbers(s.Name) == before[s.Name] { // none comes before both are used up
				return errors.New("no more numbers")
			}
			return nil
		}, who...)
		if err != nil {
			return "", err
		}
	}
	if err := errors.Join(restarted(), w.until(ctx, w.shows, tolerant...)); err != nil {
		return "", err
	}
	others := w.since(axilla, left, right, battery, supply)
	off := b.clock.Now()
	w.chips[forehead].refuse(forEver)
	if err := w.until(ctx, says(device.Absent, supervisor.Disconnected), forehead); err != nil {
		return "", err
	}
	noticed := b.clock.Now().Sub(off)
	w.chips[forehead].refuse(0)
	if err := errors.Join(w.until(ctx, w.shows, forehead), others()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d bursts of NACKs on %d chips: none restarted; one chip gone: noticed after %.1f s, back again",
		bursts, len(tolerant), noticed.Seconds()), nil
}

// i2cPEC breaks checksums of the infrared thermometer: one now and then is read again, and without good ones there is no number.
func i2cPEC(ctx context.Context, b *bench) (string, error) {
	w, err := b.openWard(ctx)
	if err != nil {
		return "", err
	}
	if err := w.until(ctx, w.shows, forehead); err != nil {
		return "", err
	}
	broken := func() uint64 { return w.status(forehead).Counters["pec_errors"] }
	restarted, before, numbers := w.since(forehead), broken(), w.numbers(forehead)
	w.mlx.Garble(2)
	err = w.until(ctx, func(supervisor.Status) error {
		if broken() < before+2 || w.numbers(forehead) < numbers+2 {
			return fmt.Errorf("%d wrong checksums, %d numbers", broken()-before, w.numbers(forehead)-numbers)
		}
		return nil
	}, forehead)
	if err := errors.Join(err, restarted()); err != nil {
		return "", err
	}
	w.mlx.Garble(forEver)
	if err := w.until(ctx, says(device.Faulty, mlx90614.Garbled), forehead); err != nil {
		return "", err
	}
	w.mlx.Garble(0)
	if err := w.until(ctx, w.shows, forehead); err != nil {
		return "", err
	}
	return fmt.Sprintf("2 wrong checksums: read again; nothing but wrong ones: no number, %q, then live again", mlx90614.Garbled), nil
}

// i2cConflict: two instruments that are configured at one address, and what they say of each other.
func i2cConflict(ctx context.Context, b *bench) (string, error) {
	w, err := b.openWard(ctx)
	if err != nil {
		return "", err
	}
	err = w.until(ctx, func(s supervisor.Status) error {
		for _, want := range []string{first, second, fmt.Sprintf("%#02x on %s", sameAddress, b.i2c)} {
			if !strings.Contains(s.LastError, want) {
				return fmt.Errorf("does not name %s: %s", want, s.LastError)
			}
		}
		return says(device.Faulty, wiring.AddressConflict)(s)
	}, first, second)
	if err != nil {
		return "", err
	}
	return w.status(first).LastError, nil
}

// i2cUnplug pulls the adapter while all have it open. The kernel must be let go of at once: it sees nothing new on that hub before.
func i2cUnplug(ctx context.Context, b *bench) (string, error) {
	w, err := b.openWard(ctx)
	if err != nil {
		return "", err
	}
	ends := append(patients(), supply)
	if err := w.until(ctx, w.shows, ends...); err != nil {
		return "", err
	}
	pulled := b.clock.Now()
	if err := b.wire.unplug(ctx); err != nil {
		return "", err
	}
	other, err := b.host.Plug(usbip.FullSpeed, acm.New(usbip.Identity{Vendor: 0x1d6b, Product: 0x0104}, nil).Handle)
	if err != nil {
		return "", err
	}
	if _, err := b.host.Find(ctx, other, "*:1.1/"); err != nil {
		return "", fmt.Errorf("another device on the hub: %w", err)
	}
	free := b.clock.Now().Sub(pulled)
	if free > freeWithin {
		return "", fmt.Errorf("the kernel saw another device only after %.1f s: somebody held on to the adapter", free.Seconds())
	}
	if err := w.until(ctx, says(device.Absent, supervisor.Disconnected), ends...); err != nil {
		return "", err
	}
	noticed := b.clock.Now().Sub(pulled)
	if err := errors.Join(b.host.Unplug(ctx, other), b.wire.plug(ctx)); err != nil {
		return "", err
	}
	if b.wire.node != b.i2c {
		return "", fmt.Errorf("it is %s now, and was %s", b.wire.node, b.i2c)
	}
	if err := errors.Join(w.until(ctx, w.shows, quick()...), b.closeWard()); err != nil {
		return "", err
	}
	return fmt.Sprintf("the kernel free for another device after %.1f s, %d instruments absent after %.1f s, live again", free.Seconds(),
		len(ends), noticed.Seconds()), nil
}

// freeWithin is long for a busy machine, and short for instruments that give up one by one: 15 s.
const freeWithin = 8 * time.Second

// i2cMux: three thermometers at one address, and a mux that loses its supply for a moment, or its mind, all the time.
func i2cMux(ctx context.Context, b *bench) (seen string, err error) {
	wire, err := b.newWire(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, wire.unplug(ctx)) }()
	mux := wire.Mux(muxAddress)
	var beds []bed
	for channel, milliCel := range map[int]int{0: 37_000, 1: 38_500, 7: 36_000} {
		x := bed{Settings: device.Settings{Name: fmt.Sprintf("behind channel %d", channel), Driver: "max30205", Port: wire.node,
			Mux: fmt.Sprintf("%#02x.%d", muxAddress, channel), Address: handAddress, Options: soon()}, quantity: "body-temperature",
			from: float64(milliCel-5) / 1000, to: float64(milliCel+5) / 1000}
		if channel == 7 {
			chip := tmp117.NewTwin(b.clock, handAddress)
			chip.SetTemperature(milliCel)
			x.Driver = "tmp117"
			mux.Attach(channel, handAddress, chip)
		} else {
			chip := max30205.NewTwin(b.clock, handAddress)
			chip.SetTemperature(milliCel)
			mux.Attach(channel, handAddress, chip)
		}
		beds = append(beds, x)
	}
	w, err := b.admit(ctx, i2cDrivers(), beds...)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	resets, refused := 0, 0
	for end := b.clock.Now().Add(storm); b.clock.Now().Before(end); {
		if rand.IntN(8) == 0 {
			mux.NACK(1) // twice in a row would mean that it isn't there
			refused++
		} else {
			mux.Set(0)
			resets++
		}
		select {
		case <-b.clock.After(time.Duration(10+rand.IntN(80)) * time.Millisecond):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if err := w.until(ctx, w.shows, w.names()...); err != nil {
		return "", err
	}
	numbers, restarts := 0, 0
	for _, name := range w.names() {
		numbers += w.numbers(name)
		restarts += w.status(name).Restarts
	}
	if n := wire.Clashes(); n > 0 || numbers < 3 || restarts > fewRestarts {
		return "", fmt.Errorf("%d messages reached two chips, %d numbers came, %d restarts", n, numbers, restarts)
	}
	return fmt.Sprintf("%d resets and %d NACKs of the mux: %d numbers of three chips at %#02x, none another's; %d restarts",
		resets, refused, numbers, handAddress, restarts), nil
}

const (
	storm       = 18 * time.Second // until thermometers have settled, and shown some numbers
	fewRestarts = 2                // a busy machine makes NACKs of the mux meet; a driver that nobody leads back to its channel has six
)

// i2cStuck holds the clock low, and then the data line: both must be said, neither may give a number.
func i2cStuck(ctx context.Context, b *bench) (seen string, err error) {
	wire, err := b.newWire(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, wire.unplug(ctx)) }()
	mlx, gauge := mlx90614.NewTwin(b.clock, 0x5A), max17048.NewTwin(b.clock)
	mlx.SetObject(34_200)
	gauge.Set(64, 0)
	wire.Attach(0x5A, mlx)
	wire.Mux(muxAddress).Attach(2, 0x36, gauge)
	w, err := b.admit(ctx, i2cDrivers(),
		bed{device.Settings{Name: forehead, Driver: "mlx90614", Port: wire.node}, "skin-temperature", 34.19, 34.21},
		bed{device.Settings{Name: battery, Driver: "max17048", Port: wire.node, Mux: "0x71.2"}, "battery-charge", 64, 64})
	if err != nil {
		return "", err
	}
	defer func() {
		wire.Release()
		err = errors.Join(err, w.stop())
	}()
	said := map[string]float64{}
	for _, line := range []struct {
		name string
		hold func()
	}{{"clock", wire.Hold}, {"data", wire.HoldData}} {
		if err := w.until(ctx, w.shows, w.names()...); err != nil {
			return "", fmt.Errorf("before %s: %w", line.name, err)
		}
		line.hold()
		held := b.clock.Now()
		if err := w.until(ctx, says(device.Faulty, wiring.BusStuck), forehead); err != nil {
			return "", fmt.Errorf("%s: %w", line.name, err)
		}
		said[line.name] = b.clock.Now().Sub(held).Seconds()
		wire.Release()
	}
	if err := w.until(ctx, w.shows, w.names()...); err != nil {
		return "", fmt.Errorf("at last: %w", err)
	}
	return fmt.Sprintf("clock held low: %q after %.1f s; data: after %.1f s; live again after both", wiring.BusStuck,
		said["clock"], said["data"]), nil
}
