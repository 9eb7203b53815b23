// Package v4l2 speaks to cameras through the Linux kernel's Video4Linux2 interface, without cgo.
//
// Parties: the kernel driver behind /dev/videoN (uvcvideo for USB cameras), one Stream that owns the picture, and one
// Controls on a second descriptor that owns the settings. The kernel gives the stream to one descriptor only; controls
// work on any (linux drivers/media/usb/uvc/uvc_v4l2.c), so steering never waits for a picture.
//
// Keys: a camera is a node's path, which telecart/device/hotplug finds by serial number or socket. Node numbers change
// when a camera is plugged in again; but the kernel gives none away while somebody holds the node of the camera that is
// gone (v4l2-dev.c, v4l2_device_release), so whoever has its Controls open reaches no other camera by the same path.
//
// Invariants: a picture's bytes are copied once out of the kernel's buffer and never altered. A picture that the kernel
// flags, or that is not a whole JPEG, is dropped and counted: broken pictures do arrive unflagged. A Stream is used
// by one goroutine; Controls by any. Nothing here retries: a camera that fails is closed and opened again by its owner.
//
// Struct layouts are those of 64-bit Linux (amd64, arm64); elsewhere this package does not compile.
package v4l2

import "errors"

// States of a camera. Errors of this package wrap one of them where it fits.
var (
	ErrUnplugged = errors.New("v4l2: the camera is unplugged")
	ErrBusy      = errors.New("v4l2: another program uses the camera; close it")
	ErrNotCamera = errors.New("v4l2: not a camera")
	ErrNoFormat  = errors.New("v4l2: the camera has no format that can be used")
	ErrStalled   = errors.New("v4l2: the stream failed")
	ErrBroken    = errors.New("v4l2: the camera sends only broken pictures")
	ErrInactive  = errors.New("v4l2: the control is under automatic control")
)
