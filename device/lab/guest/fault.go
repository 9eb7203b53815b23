package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

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

// button presses the camera's own button, which the kernel makes a key.
func button(ctx context.Context, b *bench) (string, error) {
	cam := b.cams["CAM-A"]
	c, err := v4l2.OpenControls(cam.node) // the kernel listens to the button only while the node is open
	if err != nil {
		return "", err
	}
	defer c.Close()
	dir, err := b.host.Find(ctx, cam.port, "*:1.0/input/input*/event*")
	if err != nil {
		return "", err
	}
	f, err := os.Open("/dev/input/" + filepath.Base(dir))
	if err != nil {
		return "", err
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	pressed := make(chan error, 1)
	go func() { pressed <- cam.Press(cam.port) }()
	const evKey, keyCamera = 1, 212 // linux/input-event-codes.h
	for down := false; ; {
		var event [24]byte // struct input_event on a 64-bit machine
		if _, err := f.Read(event[:]); err != nil {
			return "", err
		}
		kind, code := binary.NativeEndian.Uint16(event[16:]), binary.NativeEndian.Uint16(event[18:])
		if kind != evKey || code != keyCamera {
			continue
		}
		if value := binary.NativeEndian.Uint32(event[20:]); value == 1 {
			down = true
		} else if down {
			return "KEY_CAMERA down and up", <-pressed
		}
	}
}
