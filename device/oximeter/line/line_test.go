package line

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/kit"
	"telecart/device/pty"
)

func TestMarks(t *testing.T) {
	for _, c := range []struct {
		name, raw, bytes string
		damaged          int
	}{
		{"plain", "\x00\x80\xFE", "\x00\x80\xFE", 0},
		{"FF is doubled", "\x01\xFF\xFF\x02", "\x01\xFF\x02", 0},
		{"two of them", "\xFF\xFF\xFF\xFF", "\xFF\xFF", 0},
		{"FF, then 00", "\xFF\xFF\x00\x03", "\xFF\x00\x03", 0},
		{"parity", "\x01\xFF\x00\x43\x02", "\x01\x02", 1},
		{"a damaged FF", "\xFF\x00\xFF\x05", "\x05", 1},
		{"break", "\xFF\x00\x00", "", 1},
		{"all damaged", "\xFF\x00\x80\xFF\x00\x11", "", 2},
		{"half a mark", "\x07\xFF", "\x07", 0},
		{"what no kernel writes", "\xFF\x20\x07", "\x07", 1},
	} {
		for size := 1; size <= len(c.raw); size++ {
			var m marks
			var got []byte
			damaged := 0
			for rest := []byte(c.raw); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				x := m.clean(bytes.Clone(rest[:min(size, len(rest))]))
				got, damaged = append(got, x.Bytes...), damaged+x.Damaged
			}
			if string(got) != c.bytes || damaged != c.damaged {
				t.Errorf("%s, by %d: % x and %d damaged", c.name, size, got, damaged)
			}
		}
	}
}

func FuzzMarks(f *testing.F) {
	f.Add([]byte("\x01\xFF\xFF\x02\x85\x3C"), []byte{0, 1, 0, 0, 1})
	f.Fuzz(func(t *testing.T, sent, harm []byte) {
		var raw, want []byte
		damaged := 0
		for i, b := range sent { // as the kernel marks
			switch {
			case i < len(harm) && harm[i]&1 != 0:
				raw, damaged = append(raw, 0xFF, 0, b), damaged+1
			case b == 0xFF:
				raw, want = append(raw, b, b), append(want, b)
			default:
				raw, want = append(raw, b), append(want, b)
			}
		}
		var m marks
		if c := m.clean(raw); !bytes.Equal(c.Bytes, want) || c.Damaged != damaged || m.state != plain {
			t.Errorf("% x: % x and %d damaged", raw, c.Bytes, c.Damaged)
		}
		if c := m.clean(sent); len(c.Bytes)+c.Damaged > len(sent) {
			t.Error("more than came")
		}
	})
}

func openPair(t *testing.T, use Use) (*pty.Line, *Line) {
	t.Helper()
	far, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	near, err := Open(Port{far.Path(), use, Mode{Baud: 9600}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	return far, near
}

func read(t *testing.T, l *Line, n int) (got []byte) {
	t.Helper()
	for len(got) < n {
		c, err := l.Read()
		if err != nil || c.Silent() {
			t.Fatalf("%d of %d bytes, then %v", len(got), n, err)
		}
		got = append(got, c.Bytes...)
	}
	return got
}

// Every byte passes the kernel's line discipline as it is.
func TestEveryByte(t *testing.T) {
	far, near := openPair(t, ToListen)
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	far.Write(all)
	if got := read(t, near, 256); !bytes.Equal(got, all) {
		t.Errorf("got % x", got)
	}
	if c, err := near.Read(); err != nil || !c.Silent() {
		t.Errorf("after it %v, %v", c, err)
	}
}

func TestSetForgetsWhatCameBefore(t *testing.T) {
	far, near := openPair(t, ToListen)
	far.Write([]byte{1, 2, 0xFF})
	read(t, near, 3)
	far.Write([]byte{4, 5, 6})
	if err := near.Set(Mode{19200, Odd}); err != nil {
		t.Fatal(err)
	}
	got, err := unix.IoctlGetTermios(near.fd, unix.TCGETS)
	if err != nil || got.Cflag&unix.CBAUD != unix.B19200 || got.Iflag != unix.INPCK|unix.PARMRK {
		t.Errorf("%+v, %v", got, err)
	}
	far.Write([]byte{7})
	if got := read(t, near, 1); !bytes.Equal(got, []byte{7}) {
		t.Errorf("got % x", got)
	}
	if err := near.Set(Mode{Baud: 300}); err == nil {
		t.Error("300 baud")
	}
}

func TestOpen(t *testing.T) {
	if _, err := Open(Port{Name: "/dev/ttyUSB-none"}); !errors.Is(err, hotplug.ErrAbsent) {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := Open(Port{Name: "/dev/null", Mode: Mode{Baud: 9600}}); err == nil || !strings.Contains(err.Error(), "no serial port") {
		t.Errorf("/dev/null: %v", err)
	}
	far, near := openPair(t, ToListen)
	if err := near.Write([]byte{1}); err == nil {
		t.Error("a line opened to listen sends")
	}
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(Port{far.Path(), ToListen, Mode{Baud: 300}}); err == nil {
		t.Error("300 baud")
	}
	again, err := Open(Port{far.Path(), ToTalk, Mode{Baud: 9600}}) // it was given back
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Write([]byte{6}); err != nil {
		t.Error(err)
	}
	var b [1]byte
	if n, err := far.Read(b[:]); n != 1 || b[0] != 6 {
		t.Errorf("the twin got % x, %v", b, err)
	}
}

func TestVerdict(t *testing.T) {
	for err, want := range map[error]device.Reason{unix.EBUSY: Busy, unix.EACCES: NoPermission, unix.EPERM: NoPermission, unix.EIO: ""} {
		var f device.Fault
		got := verdict(fmt.Errorf("line: open: %w", err))
		if errors.As(got, &f); f.Health.Reason != want || !errors.Is(got, err) || want != "" && f.Health.State != device.Faulty {
			t.Errorf("%v: %+v", err, got)
		}
	}
}

// machine is one that changes its mode with the first silence, answers every byte, and has had enough of 0xEE.
type machine struct {
	modes  []Mode // before and after
	silent chan int
	n      int
}

var errEnough = errors.New("enough")

func (m *machine) Mode() Mode { return m.modes[min(m.n, 1)] }

func (m *machine) Take(_ time.Time, c Chunk) (answer []byte, _ error) {
	if c.Silent() {
		m.n++
		select {
		case m.silent <- m.n:
		default:
		}
	}
	if bytes.Contains(c.Bytes, []byte{0xEE}) {
		return nil, errEnough
	}
	return c.Bytes, nil
}

func TestRun(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, c := range []struct {
		name string
		then Mode
		end  func(cancel func(), far *pty.Line)
		want error
	}{
		{"asked to", Mode{19200, Odd}, func(cancel func(), far *pty.Line) { cancel() }, context.Canceled},
		{"unplugged", Mode{19200, None}, func(cancel func(), far *pty.Line) { far.Close() }, ErrGone},
		{"the machine fails", Mode{19200, Odd}, func(cancel func(), far *pty.Line) { far.Write([]byte{0xEE}) }, errEnough},
		{"no such mode", Mode{300, None}, func(cancel func(), far *pty.Line) {}, nil},
	} {
		far, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		m := &machine{modes: []Mode{{9600, None}, c.then}, silent: make(chan int, 2)}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- Run(ctx, kit.System{}, Port{far.Path(), ToTalk, m.modes[0]}, func(time.Time) Machine { return m })
		}()
		if <-m.silent; c.want != nil {
			<-m.silent // the mode is set by now
			far.Write([]byte{0x42})
			var b [1]byte
			if n, err := far.Read(b[:]); n != 1 || b[0] != 0x42 {
				t.Errorf("%s: answer % x, %v", c.name, b, err)
			}
		}
		c.end(cancel, far)
		if err := <-done; err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		cancel()
		far.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Run(ctx, kit.System{}, Port{Name: "/dev/ttyUSB-none"}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("it began after its end: %v", err)
	}
}
