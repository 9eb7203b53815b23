package hotplug

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a Linux 6.1 kernel and systemd 252's udevd said when a USB keyboard, a USB sound card and a test camera came up.
const (
	kernelAdd = "add@/devices/pci0000:00/0000:00:04.0/usb1/1-1/1-1.3/1-1.3:1.0/0003:0627:0001.0001/hidraw/hidraw0\x00" +
		"ACTION=add\x00" +
		"DEVPATH=/devices/pci0000:00/0000:00:04.0/usb1/1-1/1-1.3/1-1.3:1.0/0003:0627:0001.0001/hidraw/hidraw0\x00" +
		"SUBSYSTEM=hidraw\x00MAJOR=245\x00MINOR=0\x00DEVNAME=hidraw0\x00SEQNUM=688\x00"
	kernelChange = "change@/devices/pci0000:00/0000:00:04.0/usb1/1-2/1-2:1.0/sound/card0\x00ACTION=change\x00" +
		"DEVPATH=/devices/pci0000:00/0000:00:04.0/usb1/1-2/1-2:1.0/sound/card0\x00SUBSYSTEM=sound\x00SYNTH_UUID=0\x00SEQNUM=753\x00"
	udevAdd = "libudev\x00\xfe\xed\xca\xfe(\x00\x00\x00(\x00\x00\x00\xea\x01\x00\x00\xe9\xcf91\x00\x00\x00\x00\x02\b \b\x00@\x10\tUDEV_DATABASE_VERSION=1\x00" +
		"ACTION=add\x00DEVPATH=/devices/platform/vivid.0/video4linux/video0\x00SUBSYSTEM=video4linux\x00" +
		"SYNTH_UUID=0\x00DEVNAME=/dev/video0\x00SEQNUM=752\x00MAJOR=81\x00MINOR=0\x00USEC_INITIALIZED=11459923\x00" +
		"ID_V4L_VERSION=2\x00ID_V4L_PRODUCT=vivid\x00ID_V4L_CAPABILITIES=:capture:video_overlay:audio:tuner:\x00" +
		"ID_PATH=platform-vivid.0\x00ID_PATH_TAG=platform-vivid_0\x00" +
		"DEVLINKS=/dev/v4l/by-path/platform-vivid.0-video-index0\x00TAGS=:seat:uaccess:\x00" +
		"CURRENT_TAGS=:seat:uaccess:\x00ID_FOR_SEAT=video4linux-platform-vivid_0\x00"
	udevChange = "libudev\x00\xfe\xed\xca\xfe(\x00\x00\x00(\x00\x00\x00\x13\x04\x00\x00і\xabn\x00\x00\x00\x00\x02\b\x00\x00\x00@\x00\x01UDEV_DATABASE_VERSION=1\x00" +
		"ACTION=change\x00DEVPATH=/devices/pci0000:00/0000:00:04.0/usb1/1-2/1-2:1.0/sound/card0\x00" +
		"SUBSYSTEM=sound\x00SYNTH_UUID=0\x00SEQNUM=753\x00USEC_INITIALIZED=11399899\x00TAGS=:seat:\x00" +
		"CURRENT_TAGS=:seat:\x00ID_PATH=pci-0000:00:04.0-usb-0:2:1.0\x00ID_PATH_TAG=pci-0000_00_04_0-usb-0_2_1_0\x00" +
		"ID_FOR_SEAT=sound-pci-0000_00_04_0-usb-0_2_1_0\x00SOUND_INITIALIZED=1\x00ID_VENDOR_FROM_DATABASE=QEMU\x00" +
		"ID_BUS=usb\x00ID_MODEL=QEMU_USB_Audio\x00ID_MODEL_ENC=QEMU\\x20USB\\x20Audio\x00ID_MODEL_ID=0002\x00" +
		"ID_SERIAL=QEMU_QEMU_USB_Audio_1-0000:00:04.0-2\x00ID_SERIAL_SHORT=1-0000:00:04.0-2\x00ID_VENDOR=QEMU\x00" +
		"ID_VENDOR_ENC=QEMU\x00ID_VENDOR_ID=46f4\x00ID_REVISION=0000\x00ID_TYPE=audio\x00" +
		"ID_USB_MODEL=QEMU_USB_Audio\x00ID_USB_MODEL_ENC=QEMU\\x20USB\\x20Audio\x00ID_USB_MODEL_ID=0002\x00" +
		"ID_USB_SERIAL=QEMU_QEMU_USB_Audio_1-0000:00:04.0-2\x00ID_USB_SERIAL_SHORT=1-0000:00:04.0-2\x00" +
		"ID_USB_VENDOR=QEMU\x00ID_USB_VENDOR_ENC=QEMU\x00ID_USB_VENDOR_ID=46f4\x00ID_USB_REVISION=0000\x00" +
		"ID_USB_TYPE=audio\x00ID_USB_INTERFACES=:010104:010200:\x00ID_USB_INTERFACE_NUM=00\x00" +
		"ID_USB_DRIVER=snd-usb-audio\x00ID_ID=usb-QEMU_QEMU_USB_Audio_1-0000:00:04.0-2-00\x00"
)

func TestRealMessages(t *testing.T) {
	for _, c := range []struct {
		message string
		want    event
	}{
		{kernelAdd, event{"add", "/devices/pci0000:00/0000:00:04.0/usb1/1-1/1-1.3/1-1.3:1.0/0003:0627:0001.0001/hidraw/hidraw0", "hidraw", false}},
		{kernelChange, event{"change", "/devices/pci0000:00/0000:00:04.0/usb1/1-2/1-2:1.0/sound/card0", "sound", false}},
		{udevAdd, event{"add", "/devices/platform/vivid.0/video4linux/video0", "video4linux", true}},
		{udevChange, event{"change", "/devices/pci0000:00/0000:00:04.0/usb1/1-2/1-2:1.0/sound/card0", "sound", true}},
	} {
		if got, err := parse([]byte(c.message)); got != c.want || err != nil {
			t.Errorf("%q is %+v, %v", c.message, got, err)
		}
	}
}

func TestMalformedMessages(t *testing.T) {
	word := func(at int, order binary.ByteOrder, v uint32) string {
		b := []byte(udevAdd)
		order.PutUint32(b[at:], v)
		return string(b)
	}
	for name, message := range map[string]string{
		"empty":                 "",
		"one zero":              "\x00",
		"no properties":         "add@/devices/x\x00",
		"no end":                "add@/devices/x",
		"head says other":       "remove" + kernelAdd[3:],
		"no path":               "add@\x00ACTION=add\x00DEVPATH=\x00",
		"relative":              "add@x\x00ACTION=add\x00DEVPATH=x\x00",
		"udev, header cut":      udevAdd[:23],
		"udev, wrong magic":     word(8, binary.LittleEndian, udevMagic),
		"udev, past the end":    word(20, binary.NativeEndian, uint32(len(udevAdd)-39)),
		"udev, far away":        word(16, binary.NativeEndian, 0xFFFFFFFF),
		"udev, huge":            word(20, binary.NativeEndian, 0xFFFFFFFF),
		"udev, into the header": word(16, binary.NativeEndian, 8),
		"udev, cut":             udevAdd[:len(udevAdd)-1],
		"udev, nothing":         word(20, binary.NativeEndian, 0),
	} {
		if got, err := parse([]byte(message)); err == nil {
			t.Errorf("%s: taken as %+v", name, got)
		}
	}
}

func TestWhoIsBelieved(t *testing.T) {
	const root, nurse = 0, 1000
	for _, c := range []struct {
		udev        bool
		groups, pid uint32
		uid         uint32
		want        bool
		words       string
	}{
		{false, groupKernel, 0, root, true, "the kernel"},
		{false, groupKernel, 77, root, false, "a program on the kernel's group"},
		{false, groupUdev, 0, root, false, "the kernel on udevd's group"},
		{false, 0, 0, root, false, "sent to us alone"},
		{true, groupUdev, 135, root, true, "udevd"},
		{true, groupUdev, 135, nurse, false, "a user who acts as udevd"},
		{true, groupKernel, 135, root, false, "udevd on the kernel's group"},
		{true, 0, 135, root, false, "udevd, to us alone"},
	} {
		if got := genuine(event{Udev: c.udev}, &unix.SockaddrNetlink{Groups: c.groups, Pid: c.pid}, c.uid); got != c.want {
			t.Errorf("%s is believed: %v", c.words, got)
		}
	}
	if uid := sender(nil); uid == root {
		t.Error("a message without credentials is root's")
	}
	if uid := sender(unix.UnixCredentials(&unix.Ucred{Pid: 1, Uid: nurse, Gid: 2})); uid != nurse {
		t.Errorf("sender %d", uid)
	}
	if uid := sender([]byte("garbage")); uid == root {
		t.Error("garbage is root's")
	}
}

// Whatever comes, what is read of it stands in it, and the text form says the same twice.
func FuzzUevent(f *testing.F) {
	for _, seed := range []string{kernelAdd, kernelChange, udevAdd, udevChange, "add@/x\x00ACTION=add\x00DEVPATH=/x\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parse(b)
		if err != nil {
			if e != (event{}) {
				t.Fatalf("refused, yet %+v", e)
			}
			return
		}
		if e.Action == "" || !strings.HasPrefix(e.Path, "/") || strings.Contains(e.Action+e.Path+e.Subsystem, "\x00") {
			t.Fatalf("taken: %+v", e)
		}
		if !strings.Contains(string(b), "ACTION="+e.Action) || !strings.Contains(string(b), "DEVPATH="+e.Path) || !strings.Contains(string(b), e.Subsystem) {
			t.Fatalf("%+v stands nowhere in %q", e, b)
		}
		if !e.Udev && !strings.HasPrefix(string(b), e.Action+"@"+e.Path+"\x00") {
			t.Fatalf("%+v: the head of %q says otherwise", e, b)
		}
	})
}
