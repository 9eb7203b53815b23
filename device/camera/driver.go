package camera

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"telecart/device"
	"telecart/device/camera/scene"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

// options of a camera in the settings file.
type options struct {
	width, height, fps int
	scene              string // what the twin sees; a real camera has its own
	still              string // sensor, stream
	h264               string // on, off; "" is as the camera has it
}

// numbers are the limits of those that are numbers, choices the words of the others. Their names are also what a mistake
// is answered with.
func numbers() map[string][2]int {
	return map[string][2]int{"width": {scene.MinWidth, scene.MaxWidth}, "height": {scene.MinHeight, scene.MaxHeight}, "fps": {1, 120}}
}

func choices() map[string][]string {
	return map[string][]string{"name": scene.Names(), "still": {"sensor", "stream"}, "h264": {"on", "off"}}
}

func parse(given map[string]string) (options, error) {
	o := options{1280, 720, 30, "room", "sensor", ""}
	number := map[string]*int{"width": &o.width, "height": &o.height, "fps": &o.fps}
	word := map[string]*string{"name": &o.scene, "still": &o.still, "h264": &o.h264}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		v := given[name]
		switch {
		case number[name] != nil:
			n, err := strconv.Atoi(v)
			if lim := numbers()[name]; err != nil || n < lim[0] || n > lim[1] {
				return o, fmt.Errorf("camera: option %s = %q: want a number from %d to %d", name, v, lim[0], lim[1])
			}
			*number[name] = n
		case word[name] != nil:
			if !slices.Contains(choices()[name], v) {
				return o, fmt.Errorf("camera: option %s = %q: want one of %q", name, v, choices()[name])
			}
			*word[name] = v
		default:
			all := slices.Concat(slices.Sorted(maps.Keys(number)), slices.Sorted(maps.Keys(word)))
			return o, fmt.Errorf("camera: no option %q; there are: %s", name, strings.Join(all, ", "))
		}
	}
	return o, nil
}

func (o options) resolution() resolution {
	if o.still == "stream" {
		return streamSize
	}
	return sensorSize
}

// Driver makes cameras. Port is "/dev/videoN", "usb:SERIAL", "usb-port:1-1.2" or "twin". Options: width, height (pixels),
// fps (the nearest that the camera offers is taken; 1280, 720, 30); still, how large a still is: "sensor" (the camera's
// largest, the default) or "stream"; h264, whether the camera's own encoder is used: of a camera with a node for each it
// is unless "off"; one that has to choose does so with "on", and then shows no pictures while its coded stream is
// watched, stills excepted; and name, what the twin sees: room, otoscope or dermatoscope.
//
// What it makes is a device.Camera, Steerable, Shooter, Coded and Counted. It observes About, Health and, while a camera
// with a button streams, Input.
func Driver() device.Driver { return driver(thisMachine()) }

func driver(m machine) device.Driver {
	counts := &tallies{all: map[string]*tally{}}
	d := device.Driver{Name: "camera", Kind: device.KindCamera, Adopts: adopts}
	d.New = func(s device.Settings, out device.Outlet) (device.Instrument, error) {
		if s.Address != 0 || s.Mux != "" {
			return nil, fmt.Errorf("camera: address %d, mux %q: a camera has none; remove them", s.Address, s.Mux)
		}
		o, err := parse(s.Options)
		if err != nil {
			return nil, err
		}
		if err := checkPort(s.Port); err != nil {
			return nil, err
		}
		fit := outfit{clock: s.Clock, stamp: s.Stamp, out: out, still: o.resolution(), tally: counts.of(s.Name),
			id: device.Identity{Name: s.Name, Kind: device.KindCamera, Driver: "camera", Port: s.Port, Twin: s.Twin()}}
		if fit.clock == nil {
			fit.clock = kit.System{}
		}
		if fit.stamp == nil {
			fit.stamp = kit.NewStamper(fit.clock, nil)
		}
		fit.open = func(ctx context.Context) (source, error) { return m.open(ctx, s.Port, o, fit) }
		if s.Twin() {
			fit.open = newTwin(fit.clock, fit.stamp, o).open
		}
		return newInstrument(fit), nil
	}
	return d
}

func checkPort(port string) error {
	err := hotplug.CheckPort(port)
	if strings.HasPrefix(port, "/") && !strings.HasPrefix(port, "/dev/") || strings.HasPrefix(port, "hw:") {
		err = hotplug.ErrPort
	}
	if err != nil {
		return fmt.Errorf("camera: port %q: want /dev/videoN, usb:SERIAL, usb-port:1-1.2 or twin: %w", port, err)
	}
	return nil
}

// adopts takes the first node of every USB device that captures video: the others of a camera are its metadata, or the same
// picture coded.
func adopts(n device.Node) bool {
	if n.Class != class || n.Port == "" || !strings.HasPrefix(n.Path, "/dev/video") || !firstIndex(n.Sys) {
		return false
	}
	iface, err := filepath.EvalSymlinks(n.Sys + "/device")
	if err != nil {
		return false
	}
	others, err := filepath.Glob(filepath.Dir(iface) + "/" + n.Port + ":*/video4linux/video*")
	return err == nil && !slices.ContainsFunc(others, func(sys string) bool {
		b, err := os.ReadFile(filepath.Join(sys, "../../bInterfaceNumber"))
		number, bad := strconv.ParseUint(strings.TrimSpace(string(b)), 16, 8)
		return err == nil && bad == nil && int(number) < n.Interface && firstIndex(sys)
	})
}

func firstIndex(sys string) bool {
	b, err := os.ReadFile(sys + "/index")
	return err == nil && strings.TrimSpace(string(b)) == "0"
}

// Find is the node that a camera's port means now, for logs and labels.
func Find(port string) (string, error) {
	n, err := hotplug.Find(class, port)
	return n.Path, err
}
