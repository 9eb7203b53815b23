package evdev

import (
	"errors"
	"fmt"
	"path/filepath"

	"telecart/device"
	"telecart/device/hotplug"
)

// OpenPort opens the input device at a port of the settings. Of a USB device with several nodes (keys, volume, pointer)
// it takes the first that has all of these keys; a path is taken at its word. Errors wrap hotplug's, ErrNotKeys or the
// kernel's.
func OpenPort(port string, keys ...uint16) (*Node, device.Node, error) {
	found, err := find(port, keys)
	if errors.Is(err, hotplug.ErrAmbiguous) {
		err = device.Fault{Health: device.Health{State: device.Faulty, Reason: SameSerial}, Err: err}
	}
	if err != nil {
		return nil, device.Node{}, err
	}
	n, err := Open(found.Path)
	if err != nil {
		return nil, device.Node{}, err
	}
	if !n.Has(keys...) {
		n.Close()
		return nil, device.Node{}, fmt.Errorf("%w that are wanted: %s", ErrNotKeys, found.Path)
	}
	return n, found, nil
}

func find(port string, keys []uint16) (device.Node, error) {
	if filepath.IsAbs(port) {
		return hotplug.Find("input", port)
	}
	nodes, err := hotplug.All("input", port)
	if err != nil {
		return device.Node{}, err
	}
	return pick(nodes, port, keys)
}

func pick(nodes []device.Node, port string, keys []uint16) (device.Node, error) {
	for _, n := range nodes {
		if SysHas(n.Sys, keys...) {
			return n, nil
		}
	}
	return device.Node{}, fmt.Errorf("%w that are wanted: %s", ErrNotKeys, port)
}
