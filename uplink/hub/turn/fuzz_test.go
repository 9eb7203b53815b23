package turn

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

func netipMust(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// vectors are RFC 5769's (2.1 request, 2.4 with a long-term credential), and what clients say first: an Allocate for UDP, and
// one with an address family (RFC 8656, 7.1).
var vectors = []string{
	"000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf",
	"000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b90000001500" + "1c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b6578616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666",
	"000300082112a4426b3254794d41535670554d6f0019000411000000",
	"000300102112a4420102030405060708090a0b0c00190004110000000017000401000000",
}

// The vectors are the RFC's to the last byte, as their checks tell.
func TestVectors(t *testing.T) {
	for i, key := range []stun.MessageIntegrity{stun.NewShortTermIntegrity("VOkJxbRl1RmTxUk/WvJxBt"),
		stun.NewLongTermIntegrity("\u30DE\u30C8\u30EA\u30C3\u30AF\u30B9", "example.org", "TheMatrIX")} {
		b, err := hex.DecodeString(vectors[i])
		if err != nil {
			t.Fatal(err)
		}
		m := stun.Message{Raw: b}
		if err := m.Decode(); err != nil || key.Check(&m) != nil {
			t.Errorf("%d: %v %v", i, err, key.Check(&m))
		}
	}
}

// What arrives before authentication, in any pieces, ends or is answered; nothing else happens.
func FuzzEarly(f *testing.F) {
	for _, v := range vectors {
		b, err := hex.DecodeString(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(append([]byte(nil), b...), b...))
	}
	f.Add([]byte{0x40, 0, 0, 4, 1, 2, 3, 4})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodRefresh, stun.ClassRequest)).Raw)
	s, err := New(Options{Name: "turn.hub.test"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, say []byte) {
		c := &script{in: bytes.NewReader(say)}
		s.Serve(c)
		if n := s.Counts(); n.Authenticated != 0 || n.Allocations != 0 {
			t.Fatalf("%+v", n)
		}
		if out := c.out.Len(); out > 400*(maxEarly+1) { // no amplifier
			t.Errorf("%d bytes answered to %d", out, len(say))
		}
	})
}

// FuzzOpen is the same for a client that has an allocation.
func FuzzOpen(f *testing.F) {
	for _, v := range vectors {
		b, err := hex.DecodeString(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0x40, 0, 0, 4, 1, 2, 3, 4})
	room := stun.XORMappedAddress{IP: net.IP(roomAddr.Addr().AsSlice()), Port: 443}
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), xorPeer(room), setter{stun.RawAttribute{Type: stun.AttrData, Value: []byte("hello")}}).Raw)
	f.Fuzz(func(t *testing.T, say []byte) {
		b := make([]byte, maxFrame+1)
		in := newFrames(&script{in: bytes.NewReader(say)}, nil)
		in.open.Store(true)
		for {
			n, _, err := in.ReadFrom(b)
			if err != nil {
				return
			}
			if n < channelHeader || n > maxFrame || n%4 != 0 || admit(b[:n], true) != pass {
				t.Fatalf("%x was let through", b[:n])
			}
		}
	})
}

// script is a client that says its piece and leaves.
type script struct {
	in  io.Reader
	out bytes.Buffer
}

func (c *script) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *script) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *script) Close() error                     { return nil }
func (c *script) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }
func (c *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000} }
func (c *script) SetDeadline(time.Time) error      { return nil }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }
