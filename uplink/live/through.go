package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"

	"telecart/device/kit"
	"telecart/uplink/live/peer"
)

// Getting through: UDP first, and by the TURN servers that the room names (RFC 9725 4.6) when UDP does not come through. The
// first offer is made with this machine's own addresses and costs nothing more than without TURN; when no path stands after
// some round trips, a second session goes by TURN as well. Way remembers the outcome, so that the next one goes there at once.

// Turn says how TURN servers are reached.
type Turn struct {
	// Dial opens the TLS connection to a TURN server at host:port; nil: this machine's network and its roots.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	Way  *Way // of all sessions to one hub. Optional
}

// Way remembers whether media had to go by TURN. Its zero value tries UDP first.
type Way struct{ turn atomic.Bool }

// Behind says that the last session that got through went by TURN.
func (w *Way) Behind() bool { return w.turn.Load() }

// errNoPath: ICE found no way. It is ErrFailed to the caller.
var errNoPath = fmt.Errorf("%w: no path for media: is UDP let through, or TLS to turn.NAME?", ErrFailed)

const (
	minPatience = time.Second     // for UDP, from the answer until ICE has a path
	maxPatience = 4 * time.Second //
	perPost     = 4               // that many times what the POST took, in between
)

// try is one session's share in getting through.
type try struct {
	turn    Turn
	clock   kit.Clock
	servers []webrtc.ICEServer // to go by; none: own addresses alone
	told    []webrtc.ICEServer // by the answer
	took    time.Duration      // the POST
	bare    bool               // the answer names no address: there is no UDP
	cancel  context.CancelFunc // of what still dials
}

// through runs a session, and another by TURN if there was no path. ice are servers that the caller knows of.
func through(ctx context.Context, turn Turn, clock kit.Clock, ice []webrtc.ICEServer, ask func(context.Context) ([]webrtc.ICEServer, error), session func(context.Context, *try) error) error {
	if turn.Way == nil {
		turn.Way = &Way{}
	}
	first := &try{turn: turn, clock: clock, servers: ice}
	if turn.Way.Behind() && len(ice) == 0 {
		servers, err := ask(ctx)
		if err != nil {
			return err
		}
		first.servers = servers
	}
	err := run(ctx, first, session)
	if !errors.Is(err, errNoPath) || len(first.servers) > 0 || len(first.told) == 0 || ctx.Err() != nil {
		return err
	}
	return run(ctx, &try{turn: turn, clock: clock, servers: first.told}, session)
}

func run(ctx context.Context, t *try, session func(context.Context, *try) error) error {
	ctx, t.cancel = context.WithCancel(ctx)
	defer t.cancel()
	return session(ctx, t)
}

// connection makes this side's, for the time of ctx.
func (t *try) connection(ctx context.Context, o peer.Options) (*webrtc.PeerConnection, error) {
	if o.Disconnected == 0 {
		o.Disconnected, o.Failed = disconnected, failed
	}
	servers := t.servers
	if t.turn.Dial != nil {
		d := dialer{ctx, t.turn.Dial, map[string]string{}}
		servers = d.names(servers)
		o.Dialer = d
	}
	api, err := peer.New(o)
	if err != nil {
		return nil, err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{ICEServers: servers})
	if err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	return pc, nil
}

// close ends a connection, and first what it may be waiting for.
func (t *try) close(pc *webrtc.PeerConnection) {
	t.cancel()
	_ = pc.GracefulClose() // it is over either way
}

// await waits for a path, and then for the connection. It returns nil once it stands.
func (t *try) await(ctx context.Context, pc *webrtc.PeerConnection, s states) error {
	patience := dialTimeout
	if len(t.servers) == 0 && len(t.told) > 0 {
		patience = min(max(perPost*t.took, minPatience), maxPatience)
		if t.bare {
			return errNoPath
		}
	}
	late := t.clock.After(dialTimeout)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.failed:
		return ErrFailed
	case <-t.clock.After(patience):
		return errNoPath
	case <-s.path:
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.failed:
		return ErrFailed
	case <-late:
		return fmt.Errorf("%w: no handshake within %s", ErrFailed, dialTimeout)
	case <-s.connected:
	}
	t.turn.Way.turn.Store(behind(pc))
	return nil
}

// behind says whether media goes by TURN.
func behind(pc *webrtc.PeerConnection) bool {
	pair, err := pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	return err == nil && pair != nil && pair.Local.Typ == webrtc.ICECandidateTypeRelay
}

// dialer is a peer.Dialer for the time of one session.
type dialer struct {
	ctx   context.Context
	dial  func(context.Context, string) (net.Conn, error)
	hosts map[string]string // by the address that pion has for it
}

// names gives servers by TLS an address for their name: pion looks names up itself, and turn.NAME need not be in any DNS.
func (d dialer) names(servers []webrtc.ICEServer) (out []webrtc.ICEServer) {
	for _, s := range servers {
		var urls []string
		for _, u := range s.URLs {
			if uri, err := stun.ParseURI(u); err == nil && uri.Scheme == stun.SchemeTypeTURNS && uri.Proto == stun.ProtoTypeTCP {
				at := fmt.Sprintf("192.0.0.8:%d", 1+len(d.hosts)) // the IPv4 dummy address (RFC 7600, 4.8)
				d.hosts[at] = net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))
				u = "turns:" + at + "?transport=tcp"
			}
			urls = append(urls, u)
		}
		s.URLs = urls
		out = append(out, s)
	}
	return out
}

func (d dialer) Dial(_, address string) (net.Conn, error) {
	host, ok := d.hosts[address]
	if !ok {
		return nil, fmt.Errorf("live: %s is no TURN server", address)
	}
	ctx, cancel := context.WithTimeout(d.ctx, gatherTime)
	defer cancel()
	c, err := d.dial(ctx, host)
	if err != nil {
		return nil, err
	}
	return hidden{c}, nil
}

// hidden keeps this machine's own address out of the offer (RFC 8839 5.1 wants one beside a relayed address; this is how it is withheld), and
// lets an IPv6 connection carry an IPv4 allocation: pion asks for the family of this address.
type hidden struct{ net.Conn }

func (hidden) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 9} }

// askServers asks a WHIP or WHEP endpoint for its ICE servers (RFC 9725 4.6).
func askServers(ctx context.Context, c *http.Client, endpoint, token string) ([]webrtc.ICEServer, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, endpoint, nil)
	if err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	res.Body.Close()
	return iceServers(res.Header), nil
}

const (
	maxServers = 8
	maxLink    = 2048 // bytes of one header
)

// iceServers reads the ICE servers of an answer: Link headers (RFC 8288 3) of relation "ice-server" (RFC 9725 4.6). What is
// none, or can't be dialled from here, is passed over: STUN and TURN by UDP, and TURN by TLS, are what there is.
func iceServers(h http.Header) (out []webrtc.ICEServer) {
	for _, line := range h.Values("Link") {
		if len(line) > maxLink {
			continue
		}
		for line != "" && len(out) < maxServers {
			var url string
			var with map[string]string
			url, with, line = nextLink(line)
			if !strings.EqualFold(with["rel"], "ice-server") {
				continue
			}
			u, err := stun.ParseURI(url)
			switch {
			case err != nil || u.Host == "":
			case u.Scheme == stun.SchemeTypeSTUN:
				out = append(out, webrtc.ICEServer{URLs: []string{url}})
			case with["username"] == "" || with["credential"] == "":
			case u.Scheme == stun.SchemeTypeTURNS && u.Proto == stun.ProtoTypeTCP, u.Scheme == stun.SchemeTypeTURN && u.Proto == stun.ProtoTypeUDP:
				out = append(out, webrtc.ICEServer{URLs: []string{url}, Username: with["username"], Credential: with["credential"]})
			}
		}
	}
	return out
}

// nextLink takes the first link off a header: <URL>; name=value; name="value", ... A link that can't be read is empty.
func nextLink(s string) (url string, with map[string]string, rest string) {
	_, s, ok := strings.Cut(s, "<")
	if !ok {
		return "", nil, ""
	}
	if url, s, ok = strings.Cut(s, ">"); !ok {
		return "", nil, ""
	}
	with = map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t")
		if !strings.HasPrefix(s, ";") {
			_, rest, _ = strings.Cut(s, ",")
			return url, with, rest
		}
		s = strings.TrimLeft(s[1:], " \t")
		end := strings.IndexAny(s, "=;,")
		if end < 0 || s[end] != '=' {
			if end < 0 {
				return url, with, ""
			}
			s = s[end:]
			continue
		}
		name := strings.ToLower(strings.TrimSpace(s[:end]))
		var value string
		if value, s, ok = linkValue(s[end+1:]); !ok {
			return "", nil, ""
		}
		if _, twice := with[name]; !twice { // the first counts (RFC 8288 3.3)
			with[name] = value
		}
	}
}

// linkValue takes a token or a quoted string off s.
func linkValue(s string) (value, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ";, \t")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
