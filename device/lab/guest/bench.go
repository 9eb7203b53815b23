package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"telecart/device/camera/scene"
	"telecart/device/kit"
	"telecart/device/lab/usbip"
	"telecart/device/lab/uvc"
	"telecart/device/tmp117"
)

// bench is everything plugged into the guest: two USB cameras and an I2C adapter with a thermometer, emulated here; vivid,
// the kernel's own test camera; and the serial adapter that the machine itself emulates.
type bench struct {
	clock kit.Clock
	host  *usbip.Host
	cams  map[string]*webcam // by serial number
	wire  *wire
	ward  *i2cWard
	chip  *tmp117.Twin
	i2c   string // /dev/i2c-N
	vivid string // /dev/videoN
	tty   string // /dev/ttyUSB0
	agent *agent // only in the spine
}

// webcam is an emulated camera, plugged in or not.
type webcam struct {
	*uvc.Camera
	draw func(uvc.Size) uvc.Picture
	sent *album
	host *usbip.Host
	port *usbip.Port
	node string
}

const plugTimeout = 100 * time.Second // on an emulated processor of a busy machine; 5 to 10 s otherwise

func openBench(ctx context.Context, clock kit.Clock) (*bench, error) {
	// vivid makes some twenty nodes unless told that capture is enough.
	for _, m := range [][]string{
		{"-a", "vhci_hcd", "uvcvideo", "i2c-dev", "i2c-tiny-usb", "cdc_acm", "xhci_pci", "ftdi_sio", "usbhid", "hid_generic", "evdev",
			"uinput", "snd-aloop"},
		{"vivid", "n_devs=1", "node_types=0x1"},
	} {
		if out, err := exec.CommandContext(ctx, "modprobe", m...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("modprobe %s: %w: %s", m, err, out)
		}
	}
	b := &bench{clock: clock, cams: map[string]*webcam{}, tty: "/dev/ttyUSB0"}
	var err error
	if b.vivid, err = await(ctx, clock, "/sys/devices/platform/vivid.0/video4linux/video*"); err != nil {
		return nil, err
	}
	if b.host, err = usbip.OpenHost(clock); err != nil {
		return nil, err
	}
	for _, serial := range []string{"CAM-A", "CAM-B"} {
		draw, sent := gallery(), &album{}
		b.cams[serial] = &webcam{Camera: uvc.New(serial, clock, sent.of(draw)), draw: draw, sent: sent, host: b.host}
		if err := b.cams[serial].plug(ctx); err != nil {
			return nil, err
		}
	}
	b.chip = tmp117.NewTwin(clock, chipAddress)
	b.wire = &wire{host: b.host}
	b.wire.Attach(chipAddress, b.chip)
	if err := b.wire.plug(ctx); err != nil {
		return nil, err
	}
	b.i2c = b.wire.node
	return b, nil
}

const chipAddress = 0x48

// close pulls every cable: the machine is thrown away, but a driver that oopses on unplug should be heard.
func (b *bench) close() {
	ctx, cancel := context.WithTimeout(context.Background(), plugTimeout)
	defer cancel()
	if err := b.closeWard(); err != nil {
		fmt.Fprintln(os.Stderr, "guest: ward:", err)
	}
	for serial, c := range b.cams {
		if err := c.unplug(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "guest: unplug", serial, err)
		}
	}
	if err := b.wire.unplug(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "guest: unplug the I2C adapter:", err)
	}
}

// gallery paints the scene once for each size: an emulated processor takes up to five seconds, longer than the camera
// driver waits for a picture.
func gallery() func(uvc.Size) uvc.Picture {
	var mu sync.Mutex
	painted := map[uvc.Size]*scene.Scene{}
	return func(s uvc.Size) uvc.Picture {
		mu.Lock()
		defer mu.Unlock()
		if painted[s] == nil {
			painted[s] = scene.New(s.Width, s.Height)
		}
		return painted[s]
	}
}

func (c *webcam) plug(ctx context.Context) error {
	port, err := c.host.Plug(usbip.HighSpeed, c.Handle)
	if err != nil {
		return err
	}
	c.port = port
	if c.node, err = awaitNode(ctx, c.host, port); err != nil {
		return err
	}
	// No autosuspend: when two ports of vhci_hcd wake at the same time, one open fails with EBUSY.
	power, err := c.host.Find(ctx, port, "power/control")
	if err != nil {
		return err
	}
	return os.WriteFile(power, []byte("on"), 0)
}

// awaitNode waits for the node of a camera that streams: the one with index 0; another carries metadata.
func awaitNode(ctx context.Context, host *usbip.Host, port *usbip.Port) (string, error) {
	dir, err := host.Find(ctx, port, "*:1.0/video4linux/video*/index")
	if err != nil {
		return "", err
	}
	all, err := filepath.Glob(filepath.Dir(filepath.Dir(dir)) + "/video*/index")
	if err != nil {
		return "", err
	}
	for _, f := range all {
		if index, _ := os.ReadFile(f); string(index) == "0\n" {
			return "/dev/" + filepath.Base(filepath.Dir(f)), nil
		}
	}
	return "", fmt.Errorf("no node with index 0 among %v", all)
}

func (c *webcam) unplug(ctx context.Context) error {
	if c.port == nil {
		return nil
	}
	port := c.port
	c.port = nil
	return c.host.Unplug(ctx, port)
}

// await waits for a path to appear, and gives the device node of that name.
func await(ctx context.Context, clock kit.Clock, pattern string) (string, error) {
	for {
		if m, _ := filepath.Glob(pattern); len(m) > 0 {
			return "/dev/" + filepath.Base(m[0]), nil
		}
		select {
		case <-clock.After(20 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("no %s: %w", pattern, ctx.Err())
		}
	}
}

// awaitGone waits for a path to disappear.
func awaitGone(ctx context.Context, clock kit.Clock, path string) error {
	for {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		select {
		case <-clock.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s is still there: %w", path, ctx.Err())
		}
	}
}

// withBench plugs everything in and runs a command, which finds the nodes in its environment.
func withBench(ctx context.Context, command []string) error {
	b, err := openBench(ctx, kit.System{})
	if err != nil {
		return err
	}
	defer b.close()
	b.chip.SetTemperature(36_600)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "LAB_CAMERA=usb:CAM-A", "LAB_VIVID="+b.vivid, "LAB_I2C="+b.i2c, "LAB_TTY="+b.tty)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", command[0], err), ctx.Err())
	}
	return nil
}
