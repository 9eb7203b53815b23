package turn

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	pionturn "github.com/pion/turn/v5"
	"go.uber.org/goleak"

	"telecart/device/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// rig is a server and connections to it over TCP.
type rig struct {
	t     testing.TB
	s     *Server
	clock *kit.Manual
	ln    net.Listener
	ends  chan error // of connections
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, clock: kit.NewManual(time.Unix(1e9, 0)), ends: make(chan error, 2*maxConns)}
	var err error
	if r.s, err = New(Options{Name: "turn.hub.test", Clock: r.clock}); err != nil {
		t.Fatal(err)
	}
	if r.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := r.ln.Accept()
			if err != nil {
				return
			}
			go func() { r.ends <- r.s.Serve(c) }()
		}
	}()
	t.Cleanup(func() {
		r.ln.Close()
		if err := r.s.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// client is pion's own, over one connection.
func (r *rig) client(cr Credential) (*pionturn.Client, net.Conn) {
	r.t.Helper()
	conn := r.dial()
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	c, err := pionturn.NewClient(&pionturn.ClientConfig{TURNServerAddr: r.ln.Addr().String(), Conn: pionturn.NewSTUNConn(conn), Username: cr.Username, Password: cr.Password,
		LoggerFactory: quiet})
	if err == nil {
		err = c.Listen()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c, conn
}

// ended waits for the end of a connection.
func (r *rig) ended() error {
	r.t.Helper()
	select {
	case err := <-r.ends:
		return err
	case <-time.After(patience):
		r.t.Fatal("the connection did not end")
		return nil
	}
}

// raw speaks STUN by hand.
type raw struct {
	net.Conn
	t     testing.TB
	nonce stun.Nonce
}

func (r *rig) raw() *raw { return &raw{Conn: r.dial(), t: r.t} }

func (c *raw) send(m *stun.Message) {
	c.t.Helper()
	if _, err := c.Write(m.Raw); err != nil {
		c.t.Fatal(err)
	}
}

func (c *raw) read() *stun.Message {
	c.t.Helper()
	head := make([]byte, stunHeader)
	if _, err := io.ReadFull(c, head); err != nil {
		c.t.Fatal(err)
	}
	m := &stun.Message{Raw: append(head, make([]byte, binary.BigEndian.Uint16(head[2:]))...)}
	if _, err := io.ReadFull(c, m.Raw[stunHeader:]); err != nil {
		c.t.Fatal(err)
	}
	if err := m.Decode(); err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c *raw) allocate(cr Credential, more ...stun.RawAttribute) int {
	c.t.Helper()
	c.send(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)))
	if m := c.read(); c.nonce.GetFrom(m) != nil || code(m) != 401 {
		c.t.Fatalf("without a credential: %v", m)
	}
	set := []stun.Setter{}
	transport := stun.RawAttribute{Type: stun.AttrRequestedTransport, Length: 4, Value: []byte{17, 0, 0, 0}}
	for _, a := range more {
		if a.Type == stun.AttrRequestedTransport {
			transport = a
			continue
		}
		set = append(set, setter{a})
	}
	return c.request(stun.MethodAllocate, cr, append([]stun.Setter{setter{transport}}, set...)...)
}

// request asks with a credential and returns the error's code, 0 for success.
func (c *raw) request(m stun.Method, cr Credential, more ...stun.Setter) int {
	c.t.Helper()
	const realm = "turn.hub.test"
	set := append([]stun.Setter{stun.TransactionID, stun.NewType(m, stun.ClassRequest)}, more...)
	set = append(set, stun.NewUsername(cr.Username), stun.NewRealm(realm), c.nonce, stun.NewLongTermIntegrity(cr.Username, realm, cr.Password))
	c.send(stun.MustBuild(set...))
	return code(c.read())
}

func code(m *stun.Message) int {
	var e stun.ErrorCodeAttribute
	if e.GetFrom(m) != nil {
		return 0
	}
	return int(e.Code)
}

type setter struct{ stun.RawAttribute }

func (s setter) AddTo(m *stun.Message) error {
	m.Add(s.Type, s.Value)
	return nil
}

type peer struct{ stun.XORMappedAddress }

func xorPeer(a stun.XORMappedAddress) peer { return peer{a} }

func (p peer) AddTo(m *stun.Message) error { return p.AddToAs(m, stun.AttrXORPeerAddress) }
