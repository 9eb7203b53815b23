package camera

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"telecart/device"
	"telecart/device/camera/scene"
	"telecart/device/camera/v4l2"
	"telecart/device/kit"
)

// options of a camera in the settings file.
type options struct {
	width, height, fps int
	scene              string // what the twin sees; a real camera has its own
}

// limits of the numbers among them; the names are also the list that a mistake is answered with.
var limits = map[string][2]int{"width": {scene.MinWidth, scene.MaxWidth}, "height": {scene.MinHeight, scene.MaxHeight}, "fps": {1, 120}}

func parse(given map[string]string) (options, error) {
	o := options{1280, 720, 30, "room"}
	to := map[string]*int{"width": &o.width, "height": &o.height, "fps": &o.fps}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		v := given[name]
		if name == "name" {
			if !slices.Contains(scene.Names(), v) {
				return o, fmt.Errorf("camera: option name = %q: want one of %q", v, scene.Names())
			}
			o.scene = v
			continue
		}
		if to[name] == nil {
			return o, fmt.Errorf("camera: no option %q; there are: %s, name", name, strings.Join(slices.Sorted(maps.Keys(limits)), ", "))
		}
		n, err := strconv.Atoi(v)
		if lim := limits[name]; err != nil || n < lim[0] || n > lim[1] {
			return o, fmt.Errorf("camera: option %s = %q: want a number from %d to %d", name, v, lim[0], lim[1])
		}
		*to[name] = n
	}
	return o, nil
}

// Driver makes cameras. Port is "/dev/videoN", "usb:SERIAL" or "twin". Options: width, height (pixels), fps (the nearest that the
// camera offers is taken; 1280, 720, 30), and name, what the twin sees: room, otoscope or dermatoscope.
// What it makes is a device.Camera and a device.Steerable.
func Driver() device.Driver {
	return device.Driver{Name: "camera", Kind: device.KindCamera, New: func(s device.Settings, out device.Outlet) (device.Instrument, error) {
		o, err := parse(s.Options)
		if err != nil {
			return nil, err
		}
		clock, stamp := s.Clock, s.Stamp
		if clock == nil {
			clock = kit.System{}
		}
		if stamp == nil {
			stamp = kit.NewStamper(clock, nil)
		}
		var open func(context.Context) (source, error)
		switch {
		case s.Twin():
			t := &twin{clock: clock, stamp: stamp, options: o}
			open = t.open
		case strings.HasPrefix(s.Port, "/dev/") || strings.HasPrefix(s.Port, "usb:") && len(s.Port) > len("usb:"):
			open = func(ctx context.Context) (source, error) { return openNode(ctx, s.Port, o, stamp) }
		default:
			return nil, fmt.Errorf("camera: port %q: want /dev/videoN, usb:SERIAL or twin", s.Port)
		}
		return newInstrument(clock, out, open), nil
	}}
}

// Find is the node that a camera's port means now, for logs and labels.
func Find(port string) (string, error) { return v4l2.Find(port) }
