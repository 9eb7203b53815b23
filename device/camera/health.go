package camera

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"telecart/device"
	"telecart/device/camera/v4l2"
	"telecart/device/hotplug"
)

// Why a camera is not live.
const (
	Unplugged      device.Reason = "unplugged"
	SameSerial     device.Reason = "same-serial" // two of them: each must be named by its socket
	Busy           device.Reason = "busy"
	NotACamera     device.Reason = "not-a-camera"
	NoFormat       device.Reason = "no-format"
	BrokenPictures device.Reason = "broken-pictures"
	StreamFailed   device.Reason = "stream-failed"
	NoPictures     device.Reason = "no-pictures"
	NoPermission   device.Reason = "no-permission"
	Failed         device.Reason = "failed"
)

// health puts a failure in a code that the screens have words for.
func health(err error) device.Health {
	for _, x := range []struct {
		err    error
		state  device.State
		reason device.Reason
	}{
		{v4l2.ErrUnplugged, device.Absent, Unplugged},
		{hotplug.ErrAbsent, device.Absent, Unplugged},
		{hotplug.ErrAmbiguous, device.Faulty, SameSerial},
		{v4l2.ErrBusy, device.Faulty, Busy},
		{v4l2.ErrNotCamera, device.Faulty, NotACamera},
		{v4l2.ErrNoFormat, device.Faulty, NoFormat},
		{v4l2.ErrBroken, device.Faulty, BrokenPictures},
		{v4l2.ErrStalled, device.Faulty, StreamFailed},
		{ErrSilent, device.Faulty, NoPictures},
		{os.ErrPermission, device.Faulty, NoPermission},
	} {
		if errors.Is(err, x.err) {
			return device.Health{State: x.state, Reason: x.reason}
		}
	}
	return device.Health{State: device.Faulty, Reason: Failed}
}

// gone says in the seam's word that a camera was unplugged under a call.
func gone(err error) error {
	if errors.Is(err, v4l2.ErrUnplugged) {
		return fmt.Errorf("%w: %w", device.ErrGone, err)
	}
	return prefixed(err)
}

func prefixed(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), "camera: ") {
		return err
	}
	return fmt.Errorf("camera: %w", err)
}
