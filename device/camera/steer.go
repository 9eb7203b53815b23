package camera

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"telecart/device"
	"telecart/device/camera/v4l2"
)

// Axes lists what this camera can steer, with present values. What it lacks is not listed.
func (c *instrument) Axes(ctx context.Context) ([]device.Axis, error) {
	src, _, err := c.present()
	if err != nil {
		return nil, err
	}
	axes, err := src.axes(ctx)
	return axes, gone(err)
}

// Steer sets axes by name, in their own units, clamped and rounded to a step. Automatic modes are set first, so that
// {"focus-auto": 0, "focus": 120} works in one call. An axis under automatic control gives ErrLocked; an unknown one
// an error that names those there are, and then nothing moves.
func (c *instrument) Steer(ctx context.Context, set map[string]int) error {
	src, _, err := c.present()
	if err != nil {
		return err
	}
	axes := c.ranges()
	fitted := make(map[string]int, len(set))
	for name, v := range set {
		i := slices.IndexFunc(axes, func(a device.Axis) bool { return a.Name == name })
		if i < 0 {
			var have []string
			for _, a := range axes {
				have = append(have, a.Name)
			}
			return fmt.Errorf("camera: no axis %q; this camera has: %s", name, strings.Join(have, ", "))
		}
		fitted[name] = v4l2.Fit(v, axes[i].Min, axes[i].Max, axes[i].Step)
	}
	return gone(src.set(ctx, fitted))
}

// Halt stops all motion where it is.
func (c *instrument) Halt(ctx context.Context) error {
	src, _, err := c.present()
	if err != nil {
		return err
	}
	return gone(src.halt(ctx))
}

func (c *instrument) ranges() []device.Axis {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fixed
}
