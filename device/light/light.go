// Package light is an exam light dimmed by the kernel's PWM.
//
// Parties: a channel of a PWM chip in sysfs, behind it a LED driver; the supervisor, which runs the instrument; who sets
// its brightness (device.Steerable, axis "brightness" in percent). Twin is a lamp in memory.
//
// Invariants: the light is switched at 1 kHz or faster, because a camera with a rolling shutter sees bands below. It is off
// until somebody sets it, and stays as it is when the agent ends: a light that goes out in the middle of an examination helps nobody.
// Halt does nothing: a light has no motion.
//
// A PCA9685 that also drives servos is no choice: it has one prescaler for all channels, at 50 Hz.
//
// Source: Linux Documentation/driver-api/pwm.rst.
package light

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

const (
	axis   = "brightness"
	slow   = 1000  // Hz
	fast   = 25000 // Hz; faster, and a LED driver's edges dim it
	glance = 2 * time.Second
)

// Driver is this package's line in the table. Port is the PWM chip, "/sys/class/pwm/pwmchip0"; options: channel (0) and hz, how often it is
// switched a second (2000; 1000 to 25000).
func Driver() device.Driver { return device.Driver{Name: "light", Kind: device.KindLight, New: open} }

// lamp is what gives light.
type lamp interface {
	set(percent int) error
	get() (percent int, err error) // an error: it is gone
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	channel, hz := 0, 2000
	for name, v := range s.Options {
		to, low, high := &channel, 0, 63
		switch name {
		case "channel":
		case "hz":
			to, low, high = &hz, slow, fast
		default:
			return nil, fmt.Errorf("light: unknown option %q: there are channel, hz", name)
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < low || n > high {
			return nil, fmt.Errorf("light: %s = %q: give a whole number from %d to %d", name, v, low, high)
		}
		*to = n
	}
	if s.Address != 0 || s.Mux != "" {
		return nil, fmt.Errorf("light: address %d, mux %q: a PWM chip has none; remove them", s.Address, s.Mux)
	}
	l := &light{clock: s.Clock, out: out}
	switch {
	case s.Twin():
		l.open = func() (lamp, error) { return &Twin{}, nil }
	case strings.HasPrefix(filepath.Base(s.Port), "pwmchip") && filepath.IsAbs(s.Port):
		l.open = func() (lamp, error) { return openPWM(s.Port, channel, hz) }
	default:
		return nil, fmt.Errorf("light: port %q: give a PWM chip like /sys/class/pwm/pwmchip0, or twin", s.Port)
	}
	return l, nil
}

type light struct {
	clock kit.Clock
	out   device.Outlet
	open  func() (lamp, error)

	mu   sync.Mutex
	lamp lamp // nil while gone
}

// Run opens the lamp and looks now and then whether it is still there.
func (l *light) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	lamp, err := l.open()
	if err != nil {
		return err
	}
	l.is(lamp)
	defer l.is(nil)
	l.out.Observe(device.Health{State: device.Settling})
	l.out.Observe(device.Health{State: device.Live})
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.clock.After(glance):
			if _, err := lamp.get(); err != nil {
				return err
			}
		}
	}
}

func (l *light) is(x lamp) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lamp = x
}

// Axes is the one axis.
func (l *light) Axes(context.Context) ([]device.Axis, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lamp == nil {
		return nil, device.ErrGone
	}
	percent, err := l.lamp.get()
	return []device.Axis{{Name: axis, Unit: "%", Max: 100, Step: 1, Value: percent}}, err
}

// Steer sets the brightness, in percent.
func (l *light) Steer(_ context.Context, set map[string]int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lamp == nil {
		return device.ErrGone
	}
	for name := range set {
		if name != axis {
			return fmt.Errorf("light: no axis %q; there is %s", name, axis)
		}
	}
	if v, ok := set[axis]; ok {
		return l.lamp.set(min(max(v, 0), 100))
	}
	return nil
}

// Halt does nothing.
func (l *light) Halt(context.Context) error { return nil }

// pwm is one channel in sysfs.
type pwm struct {
	dir    string
	period int // ns
}

func openPWM(chip string, channel, hz int) (*pwm, error) {
	p := &pwm{filepath.Join(chip, fmt.Sprintf("pwm%d", channel)), int(time.Second) / hz}
	if _, err := os.Stat(p.dir); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(filepath.Join(chip, "export"), []byte(strconv.Itoa(channel)), 0); err != nil {
			return nil, fmt.Errorf("light: %w", err)
		}
	}
	duty, err := p.read("duty_cycle")
	if err != nil {
		return nil, err
	}
	if old, err := p.read("period"); err == nil && old == p.period {
		return p, p.write("enable", 1) // as bright as the last run left it
	}
	// The kernel refuses a period shorter than the duty.
	if duty != 0 {
		if err := p.write("duty_cycle", 0); err != nil {
			return nil, err
		}
	}
	if err := p.write("period", p.period); err != nil {
		return nil, err
	}
	return p, p.write("enable", 1)
}

func (p *pwm) set(percent int) error { return p.write("duty_cycle", p.period/100*percent) }

func (p *pwm) get() (int, error) {
	duty, err := p.read("duty_cycle")
	return duty * 100 / p.period, err
}

func (p *pwm) read(name string) (int, error) {
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return 0, fmt.Errorf("light: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("light: %s: %w", name, err)
	}
	return n, nil
}

func (p *pwm) write(name string, v int) error {
	f, err := os.OpenFile(filepath.Join(p.dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return fmt.Errorf("light: %w", err)
	}
	_, err = f.WriteString(strconv.Itoa(v))
	return errors.Join(err, f.Close())
}

// Twin is a lamp in memory.
type Twin struct{ percent int }

func (t *Twin) set(percent int) error { t.percent = percent; return nil }
func (t *Twin) get() (int, error)     { return t.percent, nil }
