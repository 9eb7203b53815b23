package v4l2

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Info is what a camera says of itself.
type Info struct {
	Driver string // the kernel's: "uvcvideo"
	Card   string // "HD Pro Webcam C920"
	Bus    string // where it is plugged in: "usb-0000:01:00.0-1.2"
}

// describe asks who is there, and refuses metadata, codec and scaler nodes.
func describe(n node) (Info, error) {
	var c capability
	switch err := n.ioctl(reqQueryCap, unsafe.Pointer(&c)); {
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EINVAL):
		return Info{}, fmt.Errorf("%w: it does not speak V4L2", ErrNotCamera)
	case err != nil:
		return Info{}, failed("query capabilities", err)
	}
	caps := c.Capabilities
	if caps&capDeviceCaps != 0 {
		caps = c.DeviceCaps // of this node, not of the whole camera
	}
	if caps&capVideoCapture == 0 || caps&(capM2M|capM2MPlanar|capMetaCapture) != 0 {
		return Info{}, fmt.Errorf("%w: %q (%s) has capabilities %#x; choose another /dev/videoN",
			ErrNotCamera, text(c.Card[:]), text(c.Driver[:]), caps)
	}
	return Info{text(c.Driver[:]), text(c.Card[:]), text(c.Bus[:])}, nil
}
