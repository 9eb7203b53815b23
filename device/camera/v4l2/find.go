package v4l2

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const sysfs = "/sys/class/video4linux"

// Find gives the path of a camera's node. Where is a path, or "usb:" and the camera's USB serial number.
func Find(where string) (string, error) { return find(sysfs, where) }

func find(class, where string) (string, error) {
	serial, ok := strings.CutPrefix(where, "usb:")
	switch {
	case !ok && strings.HasPrefix(where, "/"):
		return where, nil
	case !ok || serial == "":
		return "", fmt.Errorf("v4l2: port %q: want a path like /dev/video0, or usb:SERIAL", where)
	}
	entries, err := os.ReadDir(class)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("v4l2: %w", err)
	}
	var found []string
	for _, e := range entries {
		dir := class + "/" + e.Name()
		// A camera has several nodes (metadata is index 1); the picture is index 0.
		if attribute(dir+"/index") == "0" && Serial(dir) == serial {
			found = append(found, "/dev/"+e.Name())
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: no camera with serial number %q", ErrUnplugged, serial)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("v4l2: %s all have serial number %q; name one by its path", strings.Join(found, " and "), serial)
}

// Serial is the USB serial number of a node ("/dev/video0" or its folder in sysfs), or "" if it has none.
func Serial(path string) string {
	dir := path
	if strings.HasPrefix(path, "/dev/") {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		dir = sysfs + "/" + filepath.Base(path)
	}
	// Not filepath.Join: "device" is a link to the USB interface, and ".." is the USB device above that.
	return attribute(dir + "/device/../serial")
}

func attribute(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

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
