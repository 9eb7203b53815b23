package v4l2

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Control ids, linux/v4l2-controls.h.
const (
	ExposureAuto   = 0x009A0901 // a menu: see Exposure...
	Exposure       = 0x009A0902 // 100 us
	Pan            = 0x009A0908 // arc seconds, + is clockwise seen from above
	Tilt           = 0x009A0909 // arc seconds, + is up
	Focus          = 0x009A090A
	FocusAuto      = 0x009A090C
	Zoom           = 0x009A090D
	ZoomContinuous = 0x009A090F
	PanSpeed       = 0x009A0920
	TiltSpeed      = 0x009A0921
	ForceKeyFrame  = 0x009909E5 // a button of cameras that code; UVC has none that uvcvideo knows
)

// Values of ExposureAuto. UVC cameras usually have manual and aperture priority only.
const (
	ExposureFullAuto = iota
	ExposureManual
	ExposureShutterPriority
	ExposureAperturePriority
)

// Control flags.
const (
	FlagDisabled  = 0x01
	FlagGrabbed   = 0x02
	FlagReadOnly  = 0x04
	FlagInactive  = 0x10
	FlagWriteOnly = 0x40
)

// Type is a control's type.
type Type uint32

const (
	Integer     Type = 1
	Boolean     Type = 2
	Menu        Type = 3
	Button      Type = 4
	class       Type = 6
	IntegerMenu Type = 9

	nextCtrl    = 0x80000000
	maxControls = 512
	maxMenu     = 64
)

// Control is one setting of a camera.
type Control struct {
	ID                      uint32
	Name                    string
	Type                    Type
	Min, Max, Step, Default int
	Flags                   uint32
	Menu                    []Item // of menus
}

// Item is one choice of a menu.
type Item struct {
	Value int
	Name  string // of an integer menu: the number
}

// Is says whether all of the flags are set.
func (c Control) Is(flags uint32) bool { return c.Flags&flags == flags }

// Fit clamps v to the control's range and rounds it to a step.
func (c Control) Fit(v int) int { return Fit(v, c.Min, c.Max, c.Step) }

// Value is a control's value.
type Value struct {
	ID    uint32
	Value int
}

// Controls are a camera's settings. Calls wait for each other, since a camera answers one at a time; a camera that
// hangs holds one up to the kernel's own limit (5 s), which a context can't shorten, but callers who wait behind it can leave.
type Controls struct {
	Info Info
	n    node
	turn chan struct{} // holds one token
	open bool          // guarded by turn
	old  bool          // the kernel has no QUERY_EXT_CTRL; likewise
}

// OpenControls opens a camera's second descriptor. While it is open the camera's button works too: its interrupt
// endpoint is only listened to while someone holds the node (uvc_status.c).
func OpenControls(path string) (*Controls, error) {
	n, err := openNode(path)
	if err != nil {
		return nil, err
	}
	return newControls(n)
}

func newControls(n node) (*Controls, error) {
	info, err := describe(n)
	if err != nil {
		n.Close()
		return nil, err
	}
	c := &Controls{Info: info, n: n, turn: make(chan struct{}, 1), open: true}
	c.turn <- struct{}{}
	return c, nil
}

// alone runs f when it is its turn.
func (c *Controls) alone(ctx context.Context, f func() error) error {
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !c.open {
		return fmt.Errorf("%w (controls closed)", ErrUnplugged)
	}
	return f()
}

// Close waits for a call that is under way.
func (c *Controls) Close() error {
	return c.alone(context.Background(), func() error {
		c.open = false
		return c.n.Close()
	})
}

// Alive asks whether the camera is still there. It does not touch the USB bus.
func (c *Controls) Alive(ctx context.Context) error {
	return c.alone(ctx, func() error { _, err := describe(c.n); return err })
}

// List gives all usable controls, with their menus.
func (c *Controls) List(ctx context.Context) (list []Control, err error) {
	err = c.alone(ctx, func() error {
		for id := uint32(0); len(list) < maxControls; {
			k, err := c.query(id | nextCtrl)
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) {
				return nil
			}
			if err != nil {
				return failed("list controls", err)
			}
			if k.ID <= id {
				return fmt.Errorf("v4l2: list controls: %#x comes after %#x", k.ID, id)
			}
			if id = k.ID; k.Type == class || k.Is(FlagDisabled) {
				continue
			}
			if k.Type == Menu || k.Type == IntegerMenu {
				k.Menu = c.menu(k)
			}
			list = append(list, k)
		}
		return nil
	})
	return list, err
}

// Query reads one control's range and flags again, without its menu: FlagInactive comes and goes with the automatic
// mode that governs it.
func (c *Controls) Query(ctx context.Context, id uint32) (k Control, err error) {
	err = c.alone(ctx, func() error {
		k, err = c.query(id)
		return failed(fmt.Sprintf("query control %#x", id), err)
	})
	return k, err
}

func (c *Controls) query(id uint32) (Control, error) {
	if !c.old {
		q := queryExtCtrl{ID: id}
		err := c.n.ioctl(reqQueryExtCtrl, unsafe.Pointer(&q))
		if err == nil {
			return Control{ID: q.ID, Name: text(q.Name[:]), Type: Type(q.Type), Min: int(q.Min), Max: int(q.Max),
				Step: int(min(q.Step, 1<<31)), Default: int(q.Default), Flags: q.Flags}, nil
		}
		if !errors.Is(err, unix.ENOTTY) {
			return Control{}, err
		}
		c.old = true
	}
	q := queryCtrl{ID: id}
	if err := c.n.ioctl(reqQueryCtrl, unsafe.Pointer(&q)); err != nil {
		return Control{}, err
	}
	return Control{ID: q.ID, Name: text(q.Name[:]), Type: Type(q.Type), Min: int(q.Min), Max: int(q.Max),
		Step: int(q.Step), Default: int(q.Default), Flags: q.Flags}, nil
}

// menu leaves out the choices that the camera refuses: menus have holes.
func (c *Controls) menu(k Control) (items []Item) {
	for v := max(0, k.Min); v <= k.Max && v < maxMenu; v++ {
		q := queryMenu{ID: k.ID, Index: uint32(v)}
		if c.n.ioctl(reqQueryMenu, unsafe.Pointer(&q)) != nil {
			continue
		}
		it := Item{v, text(q.Name[:])}
		if k.Type == IntegerMenu {
			it.Name = fmt.Sprint(int64(binary.LittleEndian.Uint64(q.Name[:])))
		}
		items = append(items, it)
	}
	return items
}

// Get reads controls' present values.
func (c *Controls) Get(ctx context.Context, ids ...uint32) ([]Value, error) {
	values := make([]Value, len(ids))
	for i, id := range ids {
		values[i].ID = id
	}
	return values, c.transfer(ctx, "read", reqGetExtCtrls, values)
}

// Set writes controls in one call: pan and tilt are halves of one UVC control and must go together. Values are to lie
// in their ranges and on a step: see Control.Fit. A control under automatic control gives ErrInactive.
func (c *Controls) Set(ctx context.Context, values ...Value) error {
	return c.transfer(ctx, "set", reqSetExtCtrls, values)
}

func (c *Controls) transfer(ctx context.Context, what string, req uint, values []Value) error {
	if len(values) == 0 {
		return nil
	}
	list := make([]extControl, len(values))
	for i, v := range values {
		list[i].ID, list[i].Value = v.ID, int32(v.Value)
	}
	all := extControls{Count: uint32(len(list)), Controls: unsafe.Pointer(&list[0])}
	err := c.alone(ctx, func() error { return c.n.ioctl(req, unsafe.Pointer(&all)) })
	if err == nil {
		for i := range values {
			values[i].Value = int(list[i].Value)
		}
		return nil
	}
	which := values[0].ID // when the error has no index, none or all are at fault
	if i := int(all.ErrorIdx); i < len(values) {
		which = values[i].ID
	}
	if errors.Is(err, unix.EACCES) && req == reqSetExtCtrls {
		return fmt.Errorf("%w (%#x)", ErrInactive, which)
	}
	if errors.Is(err, ErrUnplugged) || ctx.Err() != nil {
		return err
	}
	return failed(fmt.Sprintf("%s control %#x", what, which), err)
}
