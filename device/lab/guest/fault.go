package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/camera/v4l2"
	"telecart/device/lab/uvc"
)

// What a camera can do wrong is looked at one level lower than the camera driver: at the pictures that get past v4l2.

const badFrames = 5

// faulty streams from a camera; during runs while it sends bad frames, and afterwards good ones must come again.
func (b *bench) faulty(ctx context.Context, f uvc.Fault, during func(*v4l2.Stream, *webcam) error) (v4l2.Counters, error) {
	cam := b.cams["CAM-A"]
	s, err := v4l2.Open(cam.node, 640, 480, 30)
	if err != nil {
		return v4l2.Counters{}, err
	}
	defer s.Close()
	if _, err := s.Next(ctx); err != nil {
		return v4l2.Counters{}, fmt.Errorf("before the fault: %w", err)
	}
	cam.Break(f)
	err = during(s, cam)
	cam.Break(uvc.Healthy)
	if err != nil {
		return v4l2.Counters{}, err
	}
	if _, err := s.Next(ctx); err != nil {
		return v4l2.Counters{}, fmt.Errorf("after the fault: %w", err)
	}
	return s.Counters(), nil
}

// drain takes what comes within d and says how many pictures that were.
func drain(ctx context.Context, s *v4l2.Stream, d time.Duration) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		if _, err := s.Next(ctx); errors.Is(err, context.DeadlineExceeded) {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}

// flagged: frames that the camera itself calls bad must not reach a viewer.
func flagged(ctx context.Context, b *bench) (string, error) {
	_, err := b.faulty(ctx, uvc.Erring, func(s *v4l2.Stream, cam *webcam) error {
		if _, err := drain(ctx, s, time.Second); err != nil { // good ones that were on their way
			return err
		}
		for sent := cam.Frames(); cam.Frames() < sent+badFrames; {
			if n, err := drain(ctx, s, 100*time.Millisecond); err != nil || n > 0 {
				return fmt.Errorf("%d frames came through: %w", n, err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
	return fmt.Sprintf("none of %d frames came through, then good ones did", badFrames), err
}

// cut: frames that break off are delivered unflagged by the kernel; v4l2 must see it.
func cut(ctx context.Context, b *bench) (string, error) {
	c, err := b.faulty(ctx, uvc.Cutting, func(s *v4l2.Stream, cam *webcam) error {
		for s.Counters().Broken < badFrames {
			if _, err := drain(ctx, s, 100*time.Millisecond); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%w: %+v", ctx.Err(), s.Counters())
			}
		}
		return nil
	})
	return fmt.Sprintf("%d frames cut in half were dropped, then good ones came", c.Broken), err
}

// hang: a camera that answers nothing must cost a control call an error, not the agent.
func hang(ctx context.Context, b *bench) (string, error) {
	cam := b.cams["CAM-B"]
	c, err := v4l2.OpenControls(cam.node)
	if err != nil {
		return "", err
	}
	defer c.Close()
	zoom := v4l2.Value{ID: v4l2.Zoom, Value: 200}
	cam.port.Hang()
	start := b.clock.Now()
	err = c.Set(ctx, zoom)
	took := b.clock.Now().Sub(start)
	cam.port.Resume()
	if err == nil {
		return "", errors.New("setting a hung camera's zoom did not fail")
	}
	if took > 8*time.Second {
		return "", fmt.Errorf("the call came back only after %s", took)
	}
	if err := c.Set(ctx, zoom); err != nil {
		return "", fmt.Errorf("after it recovered: %w", err)
	}
	return fmt.Sprintf("a control call failed after %.1f s and worked again afterwards", took.Seconds()), nil
}

// button presses the buttons of two cameras of one model, which the kernel makes keys: each driver must tell of its own.
func button(ctx context.Context, b *bench) (string, error) {
	var lenses [2]*lens
	cams := [2]*webcam{b.cams["CAM-A"], b.cams["CAM-B"]}
	for i, c := range cams {
		l, err := b.camera(ctx, "usb:"+c.Serial(), "640", "480") // it hears the button while it is watched
		if err != nil {
			return "", err
		}
		defer l.close()
		if _, _, err := l.watch(ctx, 2); err != nil {
			return "", err
		}
		lenses[i] = l
	}
	for _, i := range []int{0, 1, 0, 1} {
		pressed := make(chan error, 1)
		go func() { pressed <- cams[i].Press(cams[i].port) }()
		in, err := lenses[i].input(ctx)
		if err := errors.Join(err, <-pressed); err != nil {
			return "", fmt.Errorf("%s: %w", cams[i].Serial(), err)
		}
		if in.Act != device.Shutter || in.Instrument.Port != "usb:"+cams[i].Serial() {
			return "", fmt.Errorf("%s: %s of %s", cams[i].Serial(), in.Act, in.Instrument.Port)
		}
		<-b.clock.After(100 * time.Millisecond) // what follows at once is chatter of the contact
	}
	for i, l := range lenses {
		if n := l.Instrument.(device.Counted).Counters()["presses"]; n > 2 || len(l.inputs) > 0 {
			return "", fmt.Errorf("%s told of %d presses, and there were 2", cams[i].Serial(), n)
		}
	}
	return "KEY_CAMERA of the cameras' own nodes: two presses of each, each told by its own instrument", nil
}
