package camera

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"telecart/device"
	"telecart/device/camera/v4l2"
)

// controls is what steering needs of a camera's settings.
type controls interface {
	Query(ctx context.Context, id uint32) (v4l2.Control, error)
	Get(ctx context.Context, ids ...uint32) ([]v4l2.Value, error)
	Set(ctx context.Context, values ...v4l2.Value) error
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
	stop [][]v4l2.Value // speed controls, which 0 stops; pan and tilt are halves of one
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
	// Only 0 is ever written to these: their stated minimum and default can't be trusted.
	for _, together := range [][]uint32{{v4l2.PanSpeed, v4l2.TiltSpeed}, {v4l2.ZoomContinuous}} {
		var group []v4l2.Value
		for _, c := range have {
			if slices.Contains(together, c.ID) && !c.Is(v4l2.FlagReadOnly) {
				group = append(group, v4l2.Value{ID: c.ID})
			}
		}
		if len(group) > 0 {
			k.stop = append(k.stop, group)
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
	for _, group := range k.stop {
		err := k.ctl.Set(ctx, group...)
		if err != nil && len(group) > 1 { // better one of them than none
			err = nil
			for _, v := range group {
				err = errors.Join(err, k.ctl.Set(ctx, v))
			}
		}
		errs = append(errs, named("speed", err))
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
