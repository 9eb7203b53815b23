package camera

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"telecart/device"
	"telecart/device/camera/v4l2"
	"telecart/device/kit"
)

// node is a lens behind a V4L2 node. Its controls are open all the time; the stream only while it is watched.
type node struct {
	path string
	options
	stamp *kit.Stamper
	base  uint64 // added to the driver's sequence, which starts at 0 with each stream; used by stream alone
	own   *v4l2.Controls
	knobs
}

// controls is what steering needs of a camera's settings.
type controls interface {
	Query(ctx context.Context, id uint32) (v4l2.Control, error)
	Get(ctx context.Context, ids ...uint32) ([]v4l2.Value, error)
	Set(ctx context.Context, values ...v4l2.Value) error
}

func openNode(ctx context.Context, port string, o options, stamp *kit.Stamper) (source, error) {
	path, err := v4l2.Find(port)
	if err != nil {
		return nil, err
	}
	ctl, err := v4l2.OpenControls(path)
	if err != nil {
		return nil, err
	}
	list, err := ctl.List(ctx)
	if err != nil {
		return nil, errors.Join(err, ctl.Close())
	}
	return &node{path: path, options: o, stamp: stamp, own: ctl, knobs: newKnobs(ctl, list)}, nil
}

func (n *node) alive(ctx context.Context) error { return n.own.Alive(ctx) }
func (n *node) Close() error                    { return n.own.Close() }

func (n *node) stream(ctx context.Context, put func(device.Frame)) error {
	s, err := v4l2.Open(n.path, n.width, n.height, float64(n.fps))
	if err != nil {
		return err
	}
	format := device.MJPEG
	if s.Mode.Format == v4l2.YUYV {
		format = device.YUYV
	}
	base := n.base
	for {
		f, err := s.Next(ctx)
		if err != nil {
			err = errors.Join(err, s.Close())
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		seq := base + uint64(f.Sequence)
		n.base = seq + 1
		put(device.Frame{Format: format, Data: f.Data, Width: s.Mode.Width, Height: s.Mode.Height, Seq: seq, At: earlier(n.stamp.Now(), f.Age)})
	}
}

func earlier(s kit.Stamp, age time.Duration) kit.Stamp {
	s.Wall = s.Wall.Add(-age)
	s.Mono -= int64(age)
	return s
}

// knob is an axis and the control behind it.
type knob struct {
	name, unit string
	id         uint32
	v4l2.Control
	auto, manual int // of exposure-auto: the menu's values that 1 and 0 mean
}

// knobs steer by controls.
type knobs struct {
	ctl  controls
	list []knob
	stop []v4l2.Value // speed controls, which 0 stops
}

// newKnobs takes the axes from the controls that a camera has.
func newKnobs(ctl controls, have []v4l2.Control) knobs {
	k := knobs{ctl: ctl}
	for _, b := range []knob{
		{name: "pan", unit: "arcsec", id: v4l2.Pan},
		{name: "tilt", unit: "arcsec", id: v4l2.Tilt},
		{name: "zoom", unit: "1", id: v4l2.Zoom},
		{name: "focus", unit: "1", id: v4l2.Focus},
		{name: "exposure", unit: "100us", id: v4l2.Exposure},
		{name: "focus-auto", unit: "1", id: v4l2.FocusAuto},
		{name: "exposure-auto", unit: "1", id: v4l2.ExposureAuto},
	} {
		i := slices.IndexFunc(have, func(c v4l2.Control) bool {
			return c.ID == b.id && !c.Is(v4l2.FlagReadOnly) && !c.Is(v4l2.FlagWriteOnly)
		})
		if i < 0 {
			continue
		}
		b.Control = have[i]
		if b.id == v4l2.ExposureAuto && !b.modes() {
			continue
		}
		k.list = append(k.list, b)
	}
	for _, c := range have {
		// Only 0 is ever written to these: their stated minimum and default can't be trusted.
		if (c.ID == v4l2.PanSpeed || c.ID == v4l2.TiltSpeed || c.ID == v4l2.ZoomContinuous) && !c.Is(v4l2.FlagReadOnly) {
			k.stop = append(k.stop, v4l2.Value{ID: c.ID})
		}
	}
	return k
}

// modes finds what automatic and manual are called in this camera's menu; not every camera has every mode.
func (b *knob) modes() bool {
	pick := func(order ...int) (int, bool) {
		for _, v := range order {
			if slices.ContainsFunc(b.Menu, func(m v4l2.Item) bool { return m.Value == v }) {
				return v, true
			}
		}
		return 0, false
	}
	var auto, manual bool
	b.auto, auto = pick(v4l2.ExposureAperturePriority, v4l2.ExposureFullAuto)
	b.manual, manual = pick(v4l2.ExposureManual, v4l2.ExposureShutterPriority)
	return auto && manual
}

// axis is the knob as the seam sees it.
func (b knob) axis(value int) device.Axis {
	a := device.Axis{Name: b.name, Unit: b.unit, Min: b.Min, Max: b.Max, Step: max(1, b.Step), Default: b.Default, Value: value}
	if b.id == v4l2.ExposureAuto {
		is := func(v int) int {
			if v == v4l2.ExposureManual || v == v4l2.ExposureShutterPriority {
				return 0
			}
			return 1
		}
		a.Min, a.Max, a.Step, a.Default, a.Value = 0, 1, 1, is(b.Default), is(value)
	}
	return a
}

func (k knobs) axes(ctx context.Context) ([]device.Axis, error) {
	axes := make([]device.Axis, 0, len(k.list))
	for _, b := range k.list {
		// One at a time: a camera that can't say where its focus is can still be zoomed.
		v, err := k.ctl.Get(ctx, b.id)
		if errors.Is(err, v4l2.ErrUnplugged) || ctx.Err() != nil {
			return nil, err
		}
		value := b.Default
		if err == nil {
			value = v[0].Value
		}
		a := b.axis(value)
		if q, err := k.ctl.Query(ctx, b.id); err == nil {
			a.Locked = q.Is(v4l2.FlagInactive) || q.Is(v4l2.FlagGrabbed)
		}
		axes = append(axes, a)
	}
	for i, a := range axes { // older kernels never say inactive
		for _, b := range axes {
			if b.Name == a.Name+"-auto" && b.Value == 1 {
				axes[i].Locked = true
			}
		}
	}
	return axes, nil
}

func (k knobs) knob(name string) (knob, bool) {
	i := slices.IndexFunc(k.list, func(b knob) bool { return b.name == name })
	if i < 0 {
		return knob{}, false
	}
	return k.list[i], true
}

func (k knobs) set(ctx context.Context, values map[string]int) error {
	for _, name := range []string{"focus-auto", "exposure-auto"} {
		v, ok := values[name]
		b, has := k.knob(name)
		if !ok || !has {
			continue
		}
		if b.id == v4l2.ExposureAuto {
			v = map[int]int{0: b.manual, 1: b.auto}[v]
		}
		if err := k.ctl.Set(ctx, v4l2.Value{ID: b.id, Value: v}); err != nil {
			return fmt.Errorf("camera: set %s: %w", name, err)
		}
	}
	var errs []error // one axis that won't move doesn't hold up the others
	errs = append(errs, k.panTilt(ctx, values))
	for _, name := range []string{"zoom", "focus", "exposure"} {
		v, ok := values[name]
		b, has := k.knob(name)
		if !ok || !has {
			continue
		}
		q, err := k.ctl.Query(ctx, b.id) // read again: it may just have become active
		if err == nil && q.Is(v4l2.FlagInactive) {
			errs = append(errs, locked(name))
			continue
		}
		errs = append(errs, named(name, k.ctl.Set(ctx, v4l2.Value{ID: b.id, Value: v})))
	}
	return errors.Join(errs...)
}

// panTilt sets both in one call if one is wanted: they are one control of the camera's.
func (k knobs) panTilt(ctx context.Context, values map[string]int) error {
	var set []v4l2.Value
	wanted := false
	for _, name := range []string{"pan", "tilt"} {
		b, has := k.knob(name)
		if !has {
			continue
		}
		v, ok := values[name]
		if wanted = wanted || ok; ok {
			set = append(set, v4l2.Value{ID: b.id, Value: v})
			continue
		}
		now, err := k.ctl.Get(ctx, b.id)
		if err != nil {
			return named(name, err)
		}
		set = append(set, now[0])
	}
	if !wanted {
		return nil
	}
	return named("pan and tilt", k.ctl.Set(ctx, set...))
}

func named(axis string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, v4l2.ErrInactive):
		return locked(axis)
	}
	return fmt.Errorf("camera: set %s: %w", axis, err)
}

// halt makes the place that has been reached the place to be.
func (k knobs) halt(ctx context.Context) error {
	var errs []error
	for _, v := range k.stop {
		errs = append(errs, named("speed", k.ctl.Set(ctx, v)))
	}
	present := map[string]int{}
	for _, name := range []string{"pan", "tilt", "zoom"} {
		b, has := k.knob(name)
		if !has {
			continue
		}
		v, err := k.ctl.Get(ctx, b.id)
		if err != nil {
			errs = append(errs, named(name, err))
			continue
		}
		present[name] = b.Fit(v[0].Value)
	}
	return errors.Join(append(errs, k.set(ctx, present))...)
}
