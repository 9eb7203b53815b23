//go:build lab

package hotplug

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"telecart/device/kit"
)

// On a real kernel with a hub at 1-1, an FTDI adapter QFT1 in its socket 2 and a keyboard KBD9 in 3. To be run in the lab's machine:
//
//	go test -c -tags lab -o /tmp/hotplug.test ./device/hotplug
//	device/lab/labvm -q '-device qemu-xhci,id=x -device usb-hub,bus=x.0,port=1 -chardev null,id=n
//	  -device usb-serial,chardev=n,always-plugged=true,bus=x.0,port=1.2,serial=QFT1 -device usb-kbd,bus=x.0,port=1.3,serial=KBD9'
//	  -- /tmp/hotplug.test -test.v -test.run Lab
func TestLabKernel(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	changed := make(chan struct{}, 1)
	ended := make(chan error, 1)
	calls := 0
	go func() {
		ended <- Watch(ctx, kit.System{}, func() {
			calls++
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	<-changed // it listens
	until := func(what string, ok func() bool) {
		t.Helper()
		begun := time.Now()
		for !ok() {
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("never: %s", what)
			}
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s: only the rescan saw it, after %s", what, took)
		} else {
			t.Logf("%s: %s", what, took)
		}
	}
	there := func(class, port string) func() bool {
		return func() bool { _, err := Find(class, port); return err == nil }
	}
	absent := func(class, port string) func() bool {
		return func() bool { _, err := Find(class, port); return errors.Is(err, ErrAbsent) }
	}
	load := func(modules string) {
		if out, err := exec.Command("modprobe", append([]string{"-a"}, strings.Fields(modules)...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	authorize := func(value string) {
		if err := os.WriteFile("/sys/bus/usb/devices/1-1.2/authorized", []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	load("xhci_pci ftdi_sio usbhid hid_generic evdev")
	for _, udevd := range []bool{false, true} {
		if udevd {
			if err := exec.Command("/lib/systemd/systemd-udevd", "--daemon").Run(); err != nil {
				t.Fatal(err)
			}
		}
		until("keyboard", there(input, "usb:KBD9"))
		until("keyboard, raw", there(hidraw, "usb-port:1-1.3"))
		for range 3 {
			until("adapter by its number", there(tty, "usb:QFT1"))
			until("adapter by its socket", there(tty, "usb-port:1-1.2"))
			authorize("0")
			until("adapter gone", absent(tty, "usb:QFT1"))
			authorize("1")
		}
		until("adapter back", there(tty, "usb-port:1-1.2:1.0"))
	}
	nodes, err := Scan()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		t.Logf("%+v is %s", n, Name(n, nodes))
		if n.Class != sound {
			if _, err := os.Stat(n.Path); err != nil {
				t.Error(err)
			}
		}
	}
	overrun(t)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	t.Logf("%d calls", calls)
}

// overrun says more than the socket holds before anyone reads.
func overrun(t *testing.T) {
	src, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for range 5000 {
		if err := os.WriteFile("/sys/class/tty/ttyUSB0/uevent", []byte("change"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := src.next(); !errors.Is(err, errOverrun) {
		t.Errorf("first %+v, %v", e, err)
	}
	// udevd may still be at the adapter's last return: what it says of that was queued before the flood.
	for {
		e, err := src.next()
		if err != nil {
			t.Errorf("after the overrun: %v", err)
			return
		}
		if e.Subsystem == tty && e.Action == "change" {
			return
		}
	}
}
