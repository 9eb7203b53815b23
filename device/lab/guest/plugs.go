package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/lab/acm"
	"telecart/device/lab/usbip"
	"telecart/device/lab/uvc"
)

const (
	reportWithin = 2 * time.Second // of the node
	missedWithin = 5 * time.Second // of the pull: the kernel needs time for it, too; a look without being told comes every 30 s
)

// hotPlug has Watch told by the kernel alone (no udevd runs here) of a camera and a serial adapter that come and go.
func hotPlug(ctx context.Context, b *bench) (seen string, err error) {
	if _, err := os.Stat("/run/udev/control"); err == nil {
		return "", errors.New("udevd runs: this is to be seen without it")
	}
	watching, stop := context.WithCancel(ctx)
	type news struct {
		device.Node
		name string
		gone bool
		at   time.Time
		err  error
	}
	told, ended := make(chan news, 256), make(chan error, 1)
	go func() {
		var tracker hotplug.Tracker
		ended <- hotplug.Watch(watching, b.clock, func() {
			now, err := hotplug.Scan()
			if err != nil {
				told <- news{err: err}
				return
			}
			added, gone := tracker.Update(now)
			for _, n := range added {
				told <- news{Node: n, name: hotplug.Name(n, now), at: b.clock.Now()}
			}
			for _, n := range gone {
				told <- news{Node: n, gone: true, at: b.clock.Now()}
			}
		})
	}()
	defer func() {
		stop()
		if e := <-ended; !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}()
	hears := func(path string, gone bool) (news, error) {
		for {
			select {
			case n := <-told:
				if n.err != nil || n.Path == path && n.gone == gone {
					return n, n.err
				}
			case <-ctx.Done():
				return news{}, fmt.Errorf("%s was not told: %w", path, ctx.Err())
			}
		}
	}
	camera := uvc.New("CAM-HOT", b.clock, b.cams["CAM-A"].draw)
	adapter := acm.New(usbip.Identity{Vendor: 0x1d6b, Product: 0x0104, Name: "Serial adapter", Serial: "TTY-HOT"}, func([]byte) {})
	for _, c := range []*cord{
		{bench: b, handler: camera.Handle, serial: "CAM-HOT", class: "video4linux"},
		{bench: b, handler: adapter.Handle, serial: "TTY-HOT", class: "tty"},
	} {
		defer c.out(&err)
		node, err := c.plug(ctx)
		if err != nil {
			return "", err
		}
		born, err := birth(node.Path)
		if err != nil {
			return "", err
		}
		n, err := hears(node.Path, false)
		if err != nil {
			return "", err
		}
		came := n.at.Sub(born)
		if want := "usb:" + c.serial; n.name != want || came > reportWithin {
			return "", fmt.Errorf("%s was called %q, %.1f s after it was there; want %s within %s",
				n.Path, n.name, came.Seconds(), want, reportWithin)
		}
		pulled := b.clock.Now()
		if err := c.pull(ctx); err != nil {
			return "", err
		}
		if n, err = hears(node.Path, true); err != nil {
			return "", err
		}
		went := n.at.Sub(pulled)
		if went > missedWithin {
			return "", fmt.Errorf("%s: its end was told after %.1f s", n.Path, went.Seconds())
		}
		seen += fmt.Sprintf("%s %s told %.2f s after it was there, gone after %.2f s; ",
			n.Path, "usb:"+c.serial, came.Seconds(), went.Seconds())
	}
	return strings.TrimSuffix(seen, "; "), nil
}

// birth is when the kernel made a node.
func birth(path string) (time.Time, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return time.Time{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return time.Unix(st.Ctim.Unix()), nil
}
