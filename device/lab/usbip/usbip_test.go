package usbip_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"telecart/device/lab/usbip"
	"telecart/device/lab/usbip/usbiptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers reads with the request's own number and refuses request 9.
func echo(_ *usbip.Port, s usbip.Setup, out []byte) ([]byte, error) {
	if s.Request == 9 {
		return nil, usbip.ErrStall
	}
	return bytes.Repeat([]byte{s.Request}, 8), nil
}

func TestControl(t *testing.T) {
	h := usbiptest.Plug(t, echo)
	if b, st := h.Get(0xc0, 5, 0, 0, 4); st != 0 || !bytes.Equal(b, []byte{5, 5, 5, 5}) {
		t.Errorf("read cut to the host's buffer: % x, %v", b, st)
	}
	if b, st := h.Get(0xc0, 5, 0, 0, 100); st != 0 || len(b) != 8 {
		t.Errorf("short read: %d bytes, %v", len(b), st)
	}
	if b, st := h.Get(0xc0, 9, 0, 0, 4); st != syscall.EPIPE || len(b) != 0 {
		t.Errorf("stall: % x, %v", b, st)
	}
	h.Submit(0, usbip.Setup{Type: 0x40, Request: 1}, 3, []byte{1, 2, 3})
	if r := h.Reply(usbiptest.Out); r.Moved != 3 || r.Status != 0 {
		t.Errorf("write: %+v", r)
	}
	h.Submit(3, usbip.Setup{}, 1, []byte{1})
	if r := h.Reply(usbiptest.Out); r.Status != syscall.EPIPE {
		t.Errorf("bulk OUT must stall: %+v", r)
	}
}

// The kernel's own bytes: GET_DESCRIPTOR(device, 64), as vhci_hcd sends it first of all.
const firstSubmit = "00000001 00000001 00010002 00000001 00000000 00000200 00000040 00000000 00000000 00000000 8006000100004000"

func TestFirstSubmit(t *testing.T) {
	var got usbip.Setup
	h := usbiptest.Plug(t, func(_ *usbip.Port, s usbip.Setup, _ []byte) ([]byte, error) {
		got = s
		return []byte{18, 1}, nil
	})
	h.Write(unhex(t, firstSubmit))
	r := h.Reply(usbiptest.In)
	want := usbip.Setup{Type: 0x80, Request: 6, Value: 0x0100, Index: 0, Length: 64}
	if got != want || r.Command != 3 || r.Seq != 1 || !bytes.Equal(r.Data, []byte{18, 1}) {
		t.Errorf("setup %+v, reply %+v", got, r)
	}
}

// One transfer fills as many of the host's buffers as it takes, and ends with a short one: an empty one if need be.
func TestPipe(t *testing.T) {
	for _, c := range []struct {
		data string
		want []string
	}{
		{"ab", []string{"ab"}},
		{"abcdef", []string{"abcd", "ef"}},
		{"abcdefgh", []string{"abcd", "efgh", ""}},
		{"", []string{""}},
	} {
		h := usbiptest.Plug(t, echo)
		pipe, sent := h.Port.Open(2), make(chan error, 1)
		go func() { sent <- pipe.Send([]byte(c.data)) }()
		for i, want := range c.want {
			seq := h.Submit(2, usbip.Setup{}, 4, nil)
			if r := h.Reply(usbiptest.In); r.Seq != seq || string(r.Data) != want {
				t.Errorf("%q: buffer %d: %+v, want %q", c.data, i, r, want)
			}
		}
		if err := <-sent; err != nil {
			t.Errorf("%q: %v", c.data, err)
		}
		h.Unplug()
	}
}

func TestUnlink(t *testing.T) {
	h := usbiptest.Plug(t, echo)
	first, second := h.Submit(2, usbip.Setup{}, 4, nil), h.Submit(2, usbip.Setup{}, 4, nil)
	h.Unlink(first)
	if r := h.Reply(usbiptest.Out); r.Command != 4 || r.Status != syscall.ECONNRESET {
		t.Errorf("cancel a waiting transfer: %+v", r)
	}
	h.Unlink(first)
	if r := h.Reply(usbiptest.Out); r.Command != 4 || r.Status != 0 {
		t.Errorf("cancel it again: %+v", r)
	}
	sent := make(chan error, 1)
	go func() { sent <- h.Port.Open(2).Send([]byte("x")) }()
	if r := h.Reply(usbiptest.In); r.Seq != second || string(r.Data) != "x" {
		t.Errorf("the cancelled buffer was used: %+v", r)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestStop(t *testing.T) {
	for name, stop := range map[string]func(*usbiptest.Host){
		"stop":   func(h *usbiptest.Host) { h.Port.Stop(2) },
		"reopen": func(h *usbiptest.Host) { h.Port.Open(2) },
		"unplug": func(h *usbiptest.Host) { h.Unplug() },
	} {
		h := usbiptest.Plug(t, echo)
		pipe, sent := h.Port.Open(2), make(chan error, 1)
		go func() { sent <- pipe.Send([]byte("x")) }()
		stop(h)
		if err := <-sent; !errors.Is(err, usbip.ErrStopped) {
			t.Errorf("%s: %v", name, err)
		}
		<-pipe.Done()
	}
	h := usbiptest.Plug(t, echo)
	h.Unplug()
	<-h.Port.Open(2).Done() // on a pulled cable: stopped from the start
}

func TestHang(t *testing.T) {
	h := usbiptest.Plug(t, echo)
	h.Port.Hang()
	seq := h.Submit(0, usbip.Setup{Type: 0xc0, Request: 5}, 4, nil)
	h.Unlink(seq)
	if r := h.Reply(usbiptest.Out); r.Command != 4 || r.Status != syscall.ECONNRESET {
		t.Errorf("a hung device must let the host cancel: %+v", r)
	}
	h.Port.Resume()
	if _, st := h.Get(0xc0, 5, 0, 0, 4); st != 0 {
		t.Errorf("after Resume: %v", st)
	}
}

// A device that is busy answers nothing, and the host may give up waiting.
func TestNAK(t *testing.T) {
	busy := true
	h := usbiptest.Plug(t, func(*usbip.Port, usbip.Setup, []byte) ([]byte, error) {
		if busy {
			return nil, usbip.ErrNAK
		}
		return []byte{1}, nil
	})
	for _, data := range [][]byte{nil, {2}} {
		busy = true
		seq := h.Submit(0, usbip.Setup{Type: 0xc0, Length: 1}, 1, data)
		h.Unlink(seq)
		if r := h.Reply(usbiptest.Out); r.Command != 4 || r.Status != syscall.ECONNRESET {
			t.Errorf("cancel what was not answered: %+v", r)
		}
		busy = false
		if b, st := h.Get(0xc0, 5, 0, 0, 4); st != 0 || string(b) != "\x01" {
			t.Errorf("afterwards: % x, %v", b, st)
		}
	}
}

// What the host sends comes to who receives it; an endpoint that nobody has stalls. The same number is another endpoint to the host.
func TestReceive(t *testing.T) {
	h := usbiptest.Plug(t, echo)
	got := make(chan string, 1)
	h.Port.Receive(2, func(b []byte) { got <- string(b) })
	h.Submit(2, usbip.Setup{}, 3, []byte("abc"))
	if r := h.Reply(usbiptest.Out); r.Status != 0 || r.Moved != 3 || <-got != "abc" {
		t.Errorf("received: %+v", r)
	}
	h.Submit(3, usbip.Setup{}, 3, []byte("abc"))
	if r := h.Reply(usbiptest.Out); r.Status != syscall.EPIPE {
		t.Errorf("nobody there: %+v", r)
	}
	h.Port.Hang()
	h.Submit(2, usbip.Setup{}, 1, []byte("x"))
	h.Port.Resume()
	buffer := h.Submit(2, usbip.Setup{}, 4, nil)
	sent := make(chan error, 1)
	go func() { sent <- h.Port.Open(2).Send([]byte("y")) }()
	if r := h.Reply(usbiptest.In); r.Seq != buffer || string(r.Data) != "y" {
		t.Errorf("what was sent while it hung became a buffer: %+v", r)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// What is not USB/IP closes the port with a reason; a cable pulled in the middle of a message is an ordinary unplug.
func TestBadHost(t *testing.T) {
	patch := func(at int, word string) string {
		s := strings.Fields(firstSubmit)
		s[at] = word
		return strings.Join(s, " ")
	}
	for _, c := range []struct{ name, bytes, want string }{
		{"command", patch(0, "00000003"), "command 3"},
		{"direction", patch(3, "00000002"), "direction 2"},
		{"endpoint", patch(4, "00000010"), "endpoint 16"},
		{"size", patch(6, "00100001"), "1048577 bytes"},
		{"isochronous", patch(8, "00000008"), "isochronous"},
		{"half a head", firstSubmit[:40], ""},
		{"missing data", patch(3, "00000000"), ""},
	} {
		p := usbip.Serve(&canned{Reader: bytes.NewReader(unhex(t, c.bytes))}, echo)
		<-p.Done()
		switch err := p.Err(); {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.Is(err, usbip.ErrProtocol) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// canned is a host that says what it says and then pulls the cable; it keeps what it was answered.
type canned struct {
	io.Reader
	bytes.Buffer
}

func (c *canned) Read(b []byte) (int, error)  { return c.Reader.Read(b) }
func (c *canned) Write(b []byte) (int, error) { return c.Buffer.Write(b) }
func (c *canned) Close() error                { return nil }

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzHost feeds the parser any bytes: it must end, and answer nothing but whole messages to what was asked.
func FuzzHost(f *testing.F) {
	submit := unhex(f, firstSubmit)
	unlink := append(unhex(f, "00000002 00000002 00010002 00000000 00000000 00000001"), make([]byte, 24)...)
	set := unhex(f, "00000001 00000003 00010002 00000000 00000000 00000000 00000002 00000000 00000000 00000000 2101000203000200 3412")
	f.Add(submit)
	f.Add(append(append(submit[:48:48], unlink...), set...))
	f.Fuzz(func(t *testing.T, b []byte) {
		host := &canned{Reader: bytes.NewReader(b)}
		p := usbip.Serve(host, func(*usbip.Port, usbip.Setup, []byte) ([]byte, error) { return []byte{0xff, 0xff}, nil })
		<-p.Done()
		answers := 0
		for r := host.Bytes(); len(r) > 0; answers++ { // a head begins with 00, data are all ff
			if len(r) < 48 || r[0] != 0 || r[3] != 3 && r[3] != 4 {
				t.Fatalf("not a reply: % x", r)
			}
			r = bytes.TrimLeft(r[48:], "\xff")
		}
		if asked := len(b) / 48; answers > asked {
			t.Fatalf("%d answers to %d requests", answers, asked)
		}
	})
}
