package turn

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"telecart/device/kit"
)

func TestMediaPasses(t *testing.T) {
	r := newRig(t)
	c, conn := r.client(r.s.Issue("token"))
	relay, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	if a := relay.LocalAddr().(*net.UDPAddr).AddrPort(); a.Addr() != address {
		t.Fatalf("relayed address %v", a)
	}
	room, to := r.s.Room(), net.UDPAddrFromAddrPort(roomAddr)
	b := make([]byte, 2000)
	for i, say := range []string{"first, as an indication", "second, by a channel", strings.Repeat("x", 1400)} {
		if _, err := relay.WriteTo([]byte(say), to); err != nil {
			t.Fatal(err)
		}
		n, from, err := room.ReadFrom(b)
		if err != nil || string(b[:n]) != say || from.String() != relay.LocalAddr().String() {
			t.Fatalf("%d: %q from %v, %v", i, b[:n], from, err)
		}
		if _, err := room.WriteTo([]byte("answer to "+say), from); err != nil {
			t.Fatal(err)
		}
		n, from, err = relay.ReadFrom(b)
		if err != nil || string(b[:n]) != "answer to "+say || from.String() != to.String() {
			t.Fatalf("%d: %q from %v, %v", i, b[:n], from, err)
		}
	}
	if n := r.s.Counts(); n.Allocations != 1 || n.Authenticated != 1 || n.Connections != 1 || n.In == 0 || n.Out == 0 || n.Dropped != 0 || n.Denied != 0 {
		t.Errorf("%+v", n)
	}
	conn.Close() // as a cart that loses its link: nothing of it stays
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	r.s.Close()
	if n := r.s.Counts(); n.Allocations != 0 || n.Connections != 0 || len(r.s.users) != 0 {
		t.Errorf("%+v %v", n, r.s.users)
	}
}

// Nothing but the room is ever reached.
func TestStrangersAreRefused(t *testing.T) {
	r := newRig(t)
	// A service of the hub's own machine that must hear nothing.
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	c, _ := r.client(r.s.Issue("token"))
	relay, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	for _, to := range []string{other.LocalAddr().String(), "127.0.0.1:443", "127.0.0.2:7070", "10.0.0.1:80", "192.168.1.1:443", "172.16.0.1:53", "169.254.169.254:80", "0.0.0.0:53",
		"255.255.255.255:9", "224.0.0.251:5353", "192.0.0.9:443", "192.0.2.3:443", "203.0.113.7:443", "8.8.8.8:53"} {
		a := net.UDPAddrFromAddrPort(netipMust(to))
		if err := c.CreatePermission(a); err == nil {
			t.Errorf("%s: permission", to)
		}
		if _, err := relay.WriteTo([]byte("hello"), a); err == nil {
			t.Errorf("%s: taken", to)
		}
	}
	// With a permission for the room, which is by address, its other ports are nobody's.
	if _, err := relay.WriteTo([]byte("hello"), &net.UDPAddr{IP: roomAddr.Addr().AsSlice(), Port: 7070}); err != nil {
		t.Error(err) // a UDP socket does not hear either
	}
	if _, err := relay.WriteTo([]byte("the only one"), net.UDPAddrFromAddrPort(roomAddr)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, _, err := r.s.Room().ReadFrom(b); err != nil || string(b[:n]) != "the only one" {
		t.Errorf("%q %v", b[:n], err)
	}
	if n := r.s.Counts().Stray; n < 15 {
		t.Errorf("%d strays counted", n)
	}
	other.SetReadDeadline(time.Now())
	if n, _, err := other.ReadFrom(b); err == nil {
		t.Errorf("a service of this machine was told %q", b[:n])
	}
	// What the room sends leaves only to allocations.
	for _, to := range []string{other.LocalAddr().String(), "192.0.0.8:1", "[::1]:443"} {
		if _, err := r.s.Room().WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netipMust(to))); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := other.ReadFrom(b); err == nil {
		t.Error("a packet of the room left")
	}
}

// IPv6 peers, TCP allocations and reserved ports are not there.
func TestOtherKinds(t *testing.T) {
	r := newRig(t)
	cr := r.s.Issue("token")
	for name, attr := range map[string]stun.RawAttribute{
		"IPv6":               {Type: stun.AttrRequestedAddressFamily, Length: 4, Value: []byte{2, 0, 0, 0}},
		"an even port":       {Type: stun.AttrEvenPort, Length: 1, Value: []byte{0x80}},
		"TCP":                {Type: stun.AttrRequestedTransport, Length: 4, Value: []byte{6, 0, 0, 0}},
		"a reservation":      {Type: stun.AttrReservationToken, Length: 8, Value: []byte("12345678")},
		"unfragmented":       {Type: stun.AttrDontFragment},
		"something required": {Type: 0x0031, Length: 4, Value: []byte{1, 2, 3, 4}},
	} {
		c := r.raw()
		if code := c.allocate(cr, attr); code == 0 {
			t.Errorf("%s was allocated", name)
		}
		c.Close()
		r.ended()
	}
	if n := r.s.Counts(); n.Authenticated != 0 {
		t.Errorf("%+v", n)
	}
	c := r.raw()
	if code := c.allocate(cr); code != 0 {
		t.Fatalf("a plain one: %d", code)
	}
	v6 := stun.XORMappedAddress{IP: net.ParseIP("::1"), Port: 443}
	if code := c.request(stun.MethodCreatePermission, cr, xorPeer(v6)); code == 0 {
		t.Error("permission for ::1")
	}
	// A second allocation on the connection: 437 (RFC 8656, 7.2).
	if code := c.allocate(cr); code != 437 {
		t.Errorf("a second one: %d", code)
	}
	for _, m := range []stun.Method{stun.MethodConnect, stun.MethodConnectionBind} { // skipped: the next answer is to what follows
		c.send(stun.MustBuild(stun.TransactionID, stun.NewType(m, stun.ClassRequest)))
	}
	if code := c.request(stun.MethodRefresh, cr); code != 0 {
		t.Errorf("refresh: %d", code)
	}
}

func TestCredentials(t *testing.T) {
	r := newRig(t)
	good, other := r.s.Issue("token"), r.s.Issue("another token")
	if good.Username == other.Username || good.Password == other.Password || strings.Contains(good.Username, "token") || r.s.Issue("token") != good {
		t.Fatalf("%v %v", good, other)
	}
	stranger, err := New(Options{Name: "turn.hub.test", Clock: r.clock})
	if err != nil {
		t.Fatal(err)
	}
	_, name, _ := strings.Cut(good.Username, ":")
	for what, cr := range map[string]Credential{
		"another's password":       {good.Username, other.Password},
		"of another start":         stranger.Issue("token"),
		"made to last":             {"9999999999:" + name, good.Password},
		"no expiry":                {name, good.Password},
		"no name":                  {"9999999999:", good.Password},
		"an expiry out of range":   {"99999999999999999999999:" + name, good.Password},
		"no password":              {good.Username, ""},
		"a user of another kind":   {"alice", "alice"},
		"an empty user":            {"", ""},
		"a very long user":         {"9999999999:" + strings.Repeat("n", 400), good.Password},
		"the name for the expiry":  {name + ":" + name, good.Password},
		"one that ends just then":  {"1000000000:" + name, r.s.password("1000000000:" + name)},
		"one that ended before it": {"-1:" + name, r.s.password("-1:" + name)},
	} {
		c := r.raw()
		if code := c.allocate(cr); code == 0 {
			t.Errorf("%s: allocated", what)
		}
		c.Close()
		if err := r.ended(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := r.s.Counts(); n.Denied != 13 || n.Authenticated != 0 {
		t.Errorf("%+v", n)
	}
	// It expires for allocations, and keeps what was allocated.
	r.clock.Advance(life - time.Second)
	c := r.raw()
	if code := c.allocate(good); code != 0 {
		t.Fatal(code)
	}
	r.clock.Advance(time.Second)
	// Another's good credential has no say in it; pion does not even answer.
	c.send(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodRefresh, stun.ClassRequest), setter{stun.RawAttribute{Type: stun.AttrLifetime, Value: make([]byte, 4)}},
		stun.NewUsername(other.Username), stun.NewRealm("turn.hub.test"), c.nonce, stun.NewLongTermIntegrity(other.Username, "turn.hub.test", other.Password)))
	if code := c.request(stun.MethodRefresh, good); code != 0 || r.s.Counts().Allocations != 1 {
		t.Errorf("refresh: %d, %+v", code, r.s.Counts())
	}
	if code := r.raw().allocate(good); code == 0 {
		t.Error("allocated after its end")
	}
}

// One user has some allocations, all together have more, and a connection's end gives its place back.
func TestQuota(t *testing.T) {
	r := newRig(t)
	var held []*raw
	for i := range maxAllocs {
		c := r.raw()
		if code := c.allocate(r.s.Issue(strconv.Itoa(i / maxPerUser))); code != 0 {
			t.Fatalf("%d: %d", i, code)
		}
		held = append(held, c)
	}
	for _, token := range []string{"0", "somebody new"} {
		if code := r.raw().allocate(r.s.Issue(token)); code != 486 {
			t.Errorf("%s: %d", token, code)
		}
	}
	held[0].Close()
	r.ended()
	if code := r.raw().allocate(r.s.Issue("somebody new")); code != 0 {
		t.Errorf("%d", code)
	}
	if n := r.s.Counts(); n.Refused != 2 || n.Allocations != maxAllocs {
		t.Errorf("%+v", n)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	r := newRig(t)
	for range maxConns {
		c := r.raw()
		c.send(stun.MustBuild(stun.TransactionID, stun.BindingRequest))
		c.read() // it is in
	}
	c := r.dial()
	if err := r.ended(); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("served")
	}
}

func TestTime(t *testing.T) {
	r := newRig(t)
	r.dial() // says nothing
	r.clock.AwaitFor(authTime)
	r.clock.Advance(authTime)
	if err := r.ended(); !errors.Is(err, errLate) {
		t.Error(err)
	}
	c := r.raw()
	if code := c.allocate(r.s.Issue("token")); code != 0 {
		t.Fatal(code)
	}
	r.clock.AwaitFor(idleTime)
	if code := c.request(stun.MethodRefresh, r.s.Issue("token")); code != 0 {
		t.Fatal(code)
	}
	r.clock.Advance(idleTime) // it said something in that time
	r.clock.AwaitFor(idleTime)
	if code := c.request(stun.MethodRefresh, r.s.Issue("token")); code != 0 {
		t.Fatal(code)
	}
	r.clock.Advance(idleTime)
	r.clock.AwaitFor(idleTime)
	r.clock.Advance(idleTime)
	if err := r.ended(); !errors.Is(err, errIdle) {
		t.Error(err)
	}
}

func TestMalformed(t *testing.T) {
	r := newRig(t)
	bind := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	cookie := append([]byte(nil), bind...)
	cookie[4] = 0
	for name, say := range map[string][]byte{
		"HTTP":                   []byte("GET / HTTP/1.1\r\n\r\n"),
		"TLS in TLS":             {0x16, 3, 1, 2, 0, 1},
		"RTP":                    {0x80, 0x60, 0, 1},
		"media before its time":  {0x40, 0, 0, 4, 1, 2, 3, 4},
		"a channel not in use":   {0x50, 0, 0, 4, 1, 2, 3, 4},
		"an odd length":          {0, 1, 0, 3},
		"too long":               {0, 1, 0xFF, 0xFC},
		"no magic cookie":        cookie,
		"an attribute cut short": append(append([]byte{0, 3, 0, 4}, bind[4:20]...), 0, 0x19, 0, 0xFF),
		"requests without end":   repeat(bind, maxEarly+1),
	} {
		c := r.dial()
		if _, err := c.Write(say); err != nil {
			t.Fatal(err)
		}
		if err := r.ended(); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
	if n := r.s.Counts(); n.Malformed != 10 {
		t.Errorf("%+v", n)
	}
	// In drips, and several at once, it is all the same.
	c := r.raw()
	go func() {
		for _, b := range bind {
			c.Write([]byte{b})
		}
		c.Write(repeat(bind, 2))
	}()
	for range 3 {
		if m := c.read(); m.Type != stun.BindingSuccess {
			t.Errorf("%v", m)
		}
	}
}

func repeat(b []byte, n int) (out []byte) {
	for range n {
		out = append(out, b...)
	}
	return out
}

// Only the room's port is a peer's; more channels than there can be peers end the connection.
func TestChannels(t *testing.T) {
	r := newRig(t)
	c, cr := r.raw(), r.s.Issue("token")
	if code := c.allocate(cr); code != 0 {
		t.Fatal(code)
	}
	for i := range maxChannels {
		number := setter{stun.RawAttribute{Type: stun.AttrChannelNumber, Value: []byte{0x40, byte(i), 0, 0}}}
		if code := c.request(stun.MethodChannelBind, cr, number, xorPeer(stun.XORMappedAddress{IP: net.IP(roomAddr.Addr().AsSlice()), Port: 443 + i})); code != 0 {
			t.Fatalf("%d: %d", i, code)
		}
	}
	number := setter{stun.RawAttribute{Type: stun.AttrChannelNumber, Value: []byte{0x40, maxChannels, 0, 0}}}
	c.send(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodChannelBind, stun.ClassRequest), number, xorPeer(stun.XORMappedAddress{IP: net.IP(roomAddr.Addr().AsSlice()), Port: 1}),
		stun.NewUsername(cr.Username), stun.NewRealm("turn.hub.test"), c.nonce, stun.NewLongTermIntegrity(cr.Username, "turn.hub.test", cr.Password)))
	if err := r.ended(); !errors.Is(err, errMalformed) {
		t.Error(err)
	}
}

// What waits too long, or comes too fast, is lost; the room never waits.
func TestStaleAndFast(t *testing.T) {
	clock := kit.NewManual(time.Unix(1e9, 0))
	x := newExchange(clock)
	e := x.open(func() {})
	defer e.Close()
	big := make([]byte, 1200)
	for range toClient + 1 {
		if _, err := x.room.WriteTo(big, e.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	held := min(toClient, rateBurst/len(big))
	if lost := int(x.dropped.Load()); lost != toClient+1-held {
		t.Errorf("%d lost, want %d", lost, toClient+1-held)
	}
	clock.Advance(maxAge + 1)
	x.room.WriteTo([]byte("fresh"), e.LocalAddr())
	b := make([]byte, 1500)
	if n, _, err := e.ReadFrom(b); err != nil || string(b[:n]) != "fresh" {
		t.Errorf("%q %v", b[:n], err)
	}
	for range toRoom + 10 {
		if _, err := e.WriteTo([]byte("x"), x.room.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(x.room.queue); n != toRoom {
		t.Errorf("%d wait", n)
	}
	clock.Advance(time.Hour)
	n := 0
	for ; e.up.AllowN(clock.Now(), 1200); n++ {
	}
	if n != rateBurst/1200 {
		t.Errorf("a burst of %d packets", n)
	}
}
