package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/camera"
	"telecart/device/kit"
	"telecart/device/supervisor"
)

// supervised pulls one of two cameras that the supervisor runs. Its view must see it go and, with nobody's help, come back;
// the other camera must not notice.
func supervised(ctx context.Context, b *bench) (seen string, err error) {
	sup := supervisor.New(supervisor.Options{
		Drivers: []device.Driver{camera.Driver()},
		Clock:   b.clock,
		Stamp:   kit.NewStamper(b.clock, kit.ClockSynchronised),
	})
	size := map[string]string{"width": "640", "height": "480"}
	for name, port := range map[string]string{"room": "usb:CAM-A", "scope": b.vivid} {
		if err := sup.Add(device.Settings{Name: name, Driver: "camera", Port: port, Options: size}); err != nil {
			return "", err
		}
	}
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- sup.Run(run) }()
	defer func() { stop(); err = errors.Join(err, <-ended) }()

	room, ok := sup.Camera("room")
	scope, ok2 := sup.Camera("scope")
	if !ok || !ok2 {
		return "", errors.New("the supervisor doesn't have the two cameras")
	}
	view, other := room.Watch(), scope.Watch()
	defer view.Close()
	defer other.Close()
	if err := b.back(ctx, view); err != nil {
		return "", fmt.Errorf("at the start: %w", err)
	}
	if err := b.back(ctx, other); err != nil {
		return "", fmt.Errorf("the other camera at the start: %w", err)
	}
	cam := b.cams["CAM-A"]
	if err := cam.unplug(ctx); err != nil {
		return "", err
	}
	for err == nil {
		_, err = view.Next(ctx)
	}
	if !errors.Is(err, device.ErrGone) {
		return "", fmt.Errorf("the viewer saw %v, want %w", err, device.ErrGone)
	}
	for range someFrames {
		if _, err := other.Next(ctx); err != nil {
			return "", fmt.Errorf("the other camera meanwhile: %w", err)
		}
	}
	if err := cam.plug(ctx); err != nil {
		return "", err
	}
	plugged := b.clock.Now()
	if err := b.back(ctx, view); err != nil {
		return "", fmt.Errorf("after it was plugged in again: %w", err)
	}
	took := b.clock.Now().Sub(plugged)
	for _, s := range sup.Snapshot() {
		if s.Name == "scope" && s.Restarts > 0 {
			return "", fmt.Errorf("the other camera was restarted: %s", s.LastError)
		}
	}
	return fmt.Sprintf("the same view showed frames again %.1f s after the camera was plugged in", took.Seconds()), nil
}

// back waits until a view gives a frame.
func (b *bench) back(ctx context.Context, v device.View) error {
	for {
		_, err := v.Next(ctx)
		if !errors.Is(err, device.ErrGone) {
			return err
		}
		select {
		case <-b.clock.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
