package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"telecart/device"
	"telecart/device/camera"
	"telecart/device/lab/uvc"
)

// lensBed is a camera of a ward.
func lensBed(name, port string, more ...string) bed {
	options := map[string]string{"width": "640", "height": "480"}
	for i := 0; i < len(more); i += 2 {
		options[more[i]] = more[i+1]
	}
	return bed{Settings: device.Settings{Name: name, Driver: "camera", Port: port, Options: options}}
}

// lenses is a ward of cameras.
func (b *bench) lenses(ctx context.Context, beds ...bed) (*ward, error) {
	return b.admit(ctx, []device.Driver{camera.Driver()}, beds...)
}

// watch is a view of one of them. Close it in the end.
func (w *ward) watch(name string) (device.View, error) {
	c, ok := w.Camera(name)
	if !ok {
		return nil, fmt.Errorf("the supervisor has no camera %s", name)
	}
	return c.Watch(), nil
}

// twinsBySerial swaps two cameras of one model: each name shows its own camera.
func twinsBySerial(ctx context.Context, b *bench) (string, error) {
	return b.swapTwins(ctx, [2]string{"TWIN-1", "TWIN-2"}, func(c *ownCamera) string { return "usb:" + c.Serial() }, [2]int{0, 1})
}

// twinsBySocket swaps two without serial numbers: each name shows what is in its socket.
func twinsBySocket(ctx context.Context, b *bench) (string, error) {
	return b.swapTwins(ctx, [2]string{}, func(c *ownCamera) string { return "usb-port:" + c.socket }, [2]int{1, 0})
}

// swapTwins has the supervisor run two cameras of one model, pulls both, and plugs each into the other's socket. Every picture
// is looked at: a name that shows the wrong camera for one picture has shown the wrong one. after is which camera each name is
// to show then.
func (b *bench) swapTwins(ctx context.Context, serials [2]string, port func(*ownCamera) string, after [2]int) (seen string, err error) {
	var cams [2]*ownCamera
	for i, s := range serials {
		cams[i] = b.newCamera(s, uint16(i+1), uvc.NoEncoder)
		defer cams[i].out(&err)
		if err := cams[i].plug(ctx); err != nil {
			return "", err
		}
	}
	names, sockets := [2]string{"left", "right"}, [2]string{cams[0].socket, cams[1].socket}
	w, err := b.lenses(ctx, lensBed(names[0], port(cams[0])), lensBed(names[1], port(cams[1])))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	var views [2]device.View
	for i, c := range cams {
		if views[i], err = w.watch(names[i]); err != nil {
			return "", err
		}
		defer views[i].Close()
		if err := c.shows(ctx, views[i]); err != nil {
			return "", fmt.Errorf("%s at the start: %w", names[i], err)
		}
	}
	for i, c := range cams {
		if err := errors.Join(c.pull(ctx), c.goes(ctx, views[i])); err != nil {
			return "", fmt.Errorf("%s: %w", names[i], err)
		}
	}
	for i := range cams { // sockets are given out in order
		if err := cams[1-i].plug(ctx); err != nil {
			return "", err
		}
		if cams[1-i].socket != sockets[i] {
			return "", fmt.Errorf("the lab put camera %d into %s, not into %s", cams[1-i].id, cams[1-i].socket, sockets[i])
		}
	}
	plugged := b.clock.Now()
	for i, v := range views {
		if err := cams[after[i]].shows(ctx, v); err != nil {
			return "", fmt.Errorf("%s after the swap: %w", names[i], err)
		}
	}
	return fmt.Sprintf("%s and %s, plugged into each other's sockets: %s shows camera %d, %s camera %d, from the first picture on, %.1f s after",
		sockets[0], sockets[1], names[0], cams[after[0]].id, names[1], cams[after[1]].id, b.clock.Now().Sub(plugged).Seconds()), nil
}

// twinsOfOneSerial: a serial number that two have is a fault that names both sockets; by their sockets both can be had.
func twinsOfOneSerial(ctx context.Context, b *bench) (seen string, err error) {
	cams := [2]*ownCamera{b.newCamera("TWIN", 1, uvc.NoEncoder), b.newCamera("TWIN", 2, uvc.NoEncoder)}
	for _, c := range cams {
		defer c.out(&err)
		if err := c.plug(ctx); err != nil {
			return "", err
		}
	}
	w, err := b.lenses(ctx, lensBed("either", "usb:TWIN"), lensBed("one", "usb-port:"+cams[0].socket), lensBed("two", "usb-port:"+cams[1].socket))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	if err := w.until(ctx, says(device.Faulty, camera.SameSerial), "either"); err != nil {
		return "", err
	}
	why := w.status("either").LastError
	for i, name := range []string{"one", "two"} {
		if !strings.Contains(why, cams[i].socket) {
			return "", fmt.Errorf("the fault says %q, and not %s", why, cams[i].socket)
		}
		v, err := w.watch(name)
		if err != nil {
			return "", err
		}
		defer v.Close()
		if err := cams[i].shows(ctx, v); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return why, nil
}
