package light

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/kit"
)

// chip is a folder with the files that the kernel makes for a PWM chip with channel 1 exported.
func chip(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pwmchip0")
	for name, v := range map[string]string{"export": "", "pwm1/period": "0\n", "pwm1/duty_cycle": "0\n", "pwm1/enable": "0\n"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(v), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func file(t *testing.T, dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, "pwm1", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func settings(clock kit.Clock, port string) device.Settings {
	s := device.Settings{Name: "light", Driver: "light", Port: port, Clock: clock, Stamp: kit.NewStamper(clock, nil)}
	if port != "twin" {
		s.Options = map[string]string{"channel": "1"}
	}
	return s
}

func TestConformance(t *testing.T) {
	start := func(port func() (string, func())) func(device.Outlet) (conformance.Rig, error) {
		return func(out device.Outlet) (conformance.Rig, error) {
			clock := kit.NewManual(time.Unix(1_700_000_000, 0))
			p, unplug := port()
			i, err := Driver().New(settings(clock, p), out)
			return conformance.Rig{Instrument: i, Clock: clock, Step: glance, Unplug: unplug}, err
		}
	}
	conformance.Run(t, conformance.Case{Name: "twin", Start: start(func() (string, func()) { return "twin", nil })})
	conformance.Run(t, conformance.Case{Name: "sysfs", Start: start(func() (string, func()) {
		dir := chip(t)
		return dir, func() { os.RemoveAll(dir) }
	})})
}

func TestBrightness(t *testing.T) {
	dir, clock := chip(t), kit.NewManual(time.Unix(1_700_000_000, 0))
	run := func(each func(s device.Steerable)) {
		i, err := Driver().New(settings(clock, dir), deaf{})
		if err != nil {
			t.Fatal(err)
		}
		s := i.(device.Steerable)
		if err := s.Steer(t.Context(), map[string]int{axis: 5}); !errors.Is(err, device.ErrGone) {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- i.Run(ctx) }()
		clock.AwaitWaiters(1)
		each(s)
		cancel()
		<-done
		clock.Advance(glance)
	}
	run(func(s device.Steerable) {
		if file(t, dir, "period") != "500000" || file(t, dir, "enable") != "1" || file(t, dir, "duty_cycle") != "0" {
			t.Error("not 2 kHz, on and dark")
		}
		for _, c := range []struct{ set, duty, shown int }{{40, 200000, 40}, {101, 500000, 100}, {-3, 0, 0}, {1, 5000, 1}} {
			if err := s.Steer(t.Context(), map[string]int{axis: c.set}); err != nil {
				t.Error(err)
			}
			axes, err := s.Axes(t.Context())
			if err != nil || len(axes) != 1 || axes[0].Value != c.shown || file(t, dir, "duty_cycle") != itoa(c.duty) {
				t.Errorf("%d: %+v, %v, duty %s", c.set, axes, err, file(t, dir, "duty_cycle"))
			}
		}
		if err := s.Steer(t.Context(), map[string]int{axis: 70, "zoom": 1}); err == nil || !strings.Contains(err.Error(), "zoom") {
			t.Error(err)
		}
	})
	if got := file(t, dir, "duty_cycle"); got != "5000" {
		t.Error("the light did not stay as it was:", got)
	}
	run(func(s device.Steerable) {
		if axes, _ := s.Axes(t.Context()); axes[0].Value != 1 {
			t.Errorf("a new run changed it: %+v", axes)
		}
	})
}

func itoa(n int) string { return device.Decimal{Coef: int64(n)}.String() }

type deaf struct{}

func (deaf) Observe(device.Observation) {}

func TestSettings(t *testing.T) {
	for want, s := range map[string]device.Settings{
		"no-such":          {Port: "twin", Options: map[string]string{"no-such": "1"}},
		"from 1000":        {Port: "twin", Options: map[string]string{"hz": "200"}},
		"/dev/ttyUSB0":     {Port: "/dev/ttyUSB0"},
		"channel = \"-1\"": {Port: "twin", Options: map[string]string{"channel": "-1"}},
	} {
		if _, err := Driver().New(s, deaf{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", s, err)
		}
	}
}
