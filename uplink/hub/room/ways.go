package room

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"telecart/uplink/live/peer"
)

// Turn is the way in for peers whose UDP does not come here.
type Turn struct {
	// Conn is a socket on which the peers behind the TURN server are found. Its address is told only to who offers a relayed
	// one, so that nobody else tries it in vain. The room closes it.
	Conn net.PacketConn
	// Servers are told to the bearer of a token, each time with a credential of its own.
	Servers func(token string) []Server
}

// Server is an ICE server as a peer is told of it.
type Server struct{ URL, Username, Credential string }

// tellServers names the ICE servers (RFC 9725 4.6).
func (r *Room) tellServers(h http.Header, token string) {
	if r.o.Turn.Servers == nil {
		return
	}
	h.Set("Cache-Control", "no-store")
	for _, s := range r.o.Turn.Servers(token) {
		h.Add("Link", fmt.Sprintf(`<%s>; rel="ice-server"; username=%q; credential=%q; credential-type="password"`, s.URL, s.Username, s.Credential))
	}
}

// ways are how media comes in: UDP, and the TURN server's exchange beside it for who offers a relayed address.
type ways struct {
	udp, turn     ice.UDPMux // nil: there is none
	plain, behind *webrtc.API
}

func newWays(o Options) (w ways, err error) {
	p := peer.Options{Public: o.PublicIP, Disconnected: disconnected, Failed: failed}
	if o.UDP != nil {
		w.udp = peer.NewMux(o.UDP)
		p.Mux = w.udp
	} else {
		p.Mux = split{}
	}
	if w.plain, err = peer.New(p); err != nil || o.Turn.Conn == nil {
		return w, err
	}
	at, ok := o.Turn.Conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return w, fmt.Errorf("turn: %v is no UDP address", o.Turn.Conn.LocalAddr())
	}
	w.turn = peer.NewMux(o.Turn.Conn)
	p.Mux, p.Own = split{w.udp, w.turn, at.AddrPort().Addr().Unmap()}, []string{at.IP.String()}
	w.behind, err = peer.New(p)
	return w, err
}

// api builds the connection for an offer.
func (w ways) api(offer string) *webrtc.API {
	if w.behind != nil && strings.Contains(offer, " typ relay") { // RFC 8839 5.1
		return w.behind
	}
	return w.plain
}

func (w ways) close() error {
	var errs []error
	for _, m := range []ice.UDPMux{w.udp, w.turn} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}

// split is both muxes as one.
type split struct {
	udp, turn ice.UDPMux
	at        netip.Addr // of turn and of all that is behind it
}

func (s split) GetListenAddresses() (out []net.Addr) {
	for _, m := range []ice.UDPMux{s.udp, s.turn} {
		if m != nil {
			out = append(out, m.GetListenAddresses()...)
		}
	}
	return out
}

func (s split) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	if u, ok := addr.(*net.UDPAddr); ok && s.turn != nil && u.AddrPort().Addr().Unmap() == s.at {
		return s.turn.GetConn(ufrag, addr)
	}
	if s.udp == nil {
		return nil, errors.New("room: there is no UDP")
	}
	c, err := s.udp.GetConn(ufrag, addr)
	if err != nil {
		return nil, err
	}
	return guarded{c, s.at}, nil
}

func (s split) RemoveConnByUfrag(ufrag string) {
	for _, m := range []ice.UDPMux{s.udp, s.turn} {
		if m != nil {
			m.RemoveConnByUfrag(ufrag)
		}
	}
}

// Close closes nothing: the room does.
func (s split) Close() error { return nil }

// guarded is a UDP socket that sends nothing to the address behind the TURN server: ICE tries every pair.
type guarded struct {
	net.PacketConn
	not netip.Addr
}

func (g guarded) WriteTo(p []byte, to net.Addr) (int, error) {
	if u, ok := to.(*net.UDPAddr); ok && u.AddrPort().Addr().Unmap() == g.not {
		return len(p), nil
	}
	return g.PacketConn.WriteTo(p, to)
}
