// Package room forwards live media: one publisher in by WHIP (RFC 9725), any number of viewers out by WHEP, nothing
// decoded, nothing kept.
//
// Parties: a cart or a browser that publishes a stream, browsers and carts that watch it, and whoever gave them a bearer
// token for that stream and action. The room asks Authorize about every request and knows nothing of consults or people.
// Keys: each session's DTLS-SRTP keys; the room sees clear media, so it is part of the hub, not of the network.
//
// Invariants:
//   - One publisher per stream. A new one takes over when its first packet arrives, not when it asks: a redial that
//     fails never takes a working picture away. Viewers stay: sequence numbers and timestamps run on, and the picture
//     goes on at the new publisher's first key frame, without any renegotiation. Viewers may also come before the
//     publisher. This is what makes resume fast: only one side redials.
//   - No viewer delays another: each has its own bounded queue; who is too slow loses packets and starts again at a key
//     frame.
//   - Key frame requests of all viewers become at most one every 500 ms, and one at every join.
//   - All media uses one UDP port. Everything is bounded: sessions, viewers, streams, bodies, time to connect.
//   - A token is kept only as its hash, to end its sessions (KickToken). Stream names and tokens are never logged.
package room

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"telecart/device/kit"
	"telecart/uplink/live/peer"
)

// Action is what a token allows on a stream.
type Action string

const (
	Publish Action = "publish"
	Watch   Action = "watch"
)

// ErrToken: the token is missing, malformed or expired; Authorize wraps it to get 401. Any other error is 403.
var ErrToken = errors.New("room: invalid token")

// ErrClosed: the room is closing down.
var ErrClosed = errors.New("room: closed")

const (
	maxSessions    = 1024
	maxStreams     = 512
	connectTimeout = 20 * time.Second // from the answer until media flows
	disconnected   = 5 * time.Second  // silence before a peer counts as away
	failed         = 10 * time.Second // and as gone, after that
	udpBuffer      = 4 << 20          // bytes: a key frame for every viewer at once
)

// Options of a room.
type Options struct {
	// Authorize decides about every POST, PATCH and DELETE. An error that wraps ErrToken means 401, others 403.
	Authorize func(ctx context.Context, token, stream string, a Action) error
	UDP       net.PacketConn // all media but what comes by Turn; the room closes it. nil: there is no UDP, only Turn
	PublicIP  []string       // told to peers instead of this machine's addresses
	ICE       []webrtc.ICEServer
	Turn      Turn      // the way in for peers whose UDP does not come here. Optional
	Clock     kit.Clock // nil: the machine's own
	Log       *slog.Logger
}

// Room is a running room.
type Room struct {
	o    Options
	ways ways
	wg   sync.WaitGroup
	stop context.CancelFunc
	ctx  context.Context

	mu       sync.Mutex
	closed   bool
	epoch    uint64 // of sources
	streams  map[string]*stream
	sessions map[string]*session
	ended    []ending // the last ones, oldest first
}

// ending is a session that is over: its owner may still say so.
type ending struct {
	id    string
	token [sha256.Size]byte
}

// stream is a name with whatever is connected to it; it exists while anything is.
type stream struct {
	name   string
	video  *relay
	audio  *relay
	stop   context.CancelFunc
	users  int      // sessions
	source *session // the present publisher, nil between two
	since  time.Time
}

// New starts a room on o.UDP.
func New(o Options) (*Room, error) {
	if o.Authorize == nil {
		return nil, errors.New("room: no Authorize: a room that anyone may enter is not offered")
	}
	if o.UDP == nil && o.Turn.Conn == nil {
		return nil, errors.New("room: no UDP socket, and no TURN server either")
	}
	if o.Clock == nil {
		o.Clock = kit.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if c, ok := o.UDP.(*net.UDPConn); ok {
		// The kernel caps both silently; a smaller buffer works, only worse.
		_ = c.SetReadBuffer(udpBuffer)
		_ = c.SetWriteBuffer(udpBuffer)
	}
	ways, err := newWays(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("room: %w", err), ways.close())
	}
	r := &Room{o: o, ways: ways, streams: map[string]*stream{}, sessions: map[string]*session{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// Close ends all sessions, waits for them and closes the socket.
func (r *Room) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.kick(func(*session) bool { return true })
	r.stop()
	r.wg.Wait()
	return r.ways.close() // and with them the sockets
}

// Stream is what Streams tells of one.
type Stream struct {
	Name       string    `json:"name"`
	Publishing bool      `json:"publishing"`
	Since      time.Time `json:"since,omitzero"` // of the present publisher
	Viewers    int       `json:"viewers"`        // connected
	Dropped    uint64    `json:"dropped"`        // packets, of slow viewers
}

// Streams is a snapshot, by name.
func (r *Room) Streams() []Stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Stream
	for _, s := range r.streams {
		v := Stream{Name: s.name, Publishing: s.source != nil, Since: s.since}
		for _, l := range *s.video.lanes.Load() {
			v.Viewers++
			v.Dropped += l.dropped.Load()
		}
		out = append(out, v)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Kick ends a stream for its publisher and all its viewers; it returns how many sessions that were.
func (r *Room) Kick(stream string) int {
	return r.kick(func(s *session) bool { return s.stream.name == stream })
}

// KickToken ends the sessions that were opened with a token (it expired, or its owner was taken off the consult).
func (r *Room) KickToken(token string) int {
	h := sha256.Sum256([]byte(token))
	return r.kick(func(s *session) bool { return s.token == h })
}

func (r *Room) kick(which func(*session) bool) int {
	r.mu.Lock()
	var gone []*session
	for _, s := range r.sessions {
		if which(s) {
			gone = append(gone, s)
		}
	}
	r.mu.Unlock()
	for _, s := range gone {
		s.end()
	}
	return len(gone)
}

// enter books a session's place and a count of wg, which the caller gives back; leave gives the place back.
func (r *Room) enter(s *session, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.streams[name]
	switch {
	case r.closed:
		return ErrClosed
	case len(r.sessions) >= maxSessions, st == nil && len(r.streams) >= maxStreams, st != nil && st.users > maxLanes:
		return errFull
	}
	if st == nil {
		ctx, cancel := context.WithCancel(r.ctx)
		st = &stream{name: name, stop: cancel, video: newRelay(r.o.Clock, peer.ClockRate), audio: newRelay(r.o.Clock, audioRate)}
		r.wg.Go(func() { st.video.run(ctx) })
		r.streams[name] = st
	}
	st.users++
	s.stream = st
	r.sessions[s.id] = s
	r.wg.Add(1) // under the lock: Close waits for every session that it did not refuse
	return nil
}

func (r *Room) leave(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[s.id] != s {
		return
	}
	delete(r.sessions, s.id)
	if len(r.ended) == maxSessions {
		r.ended = r.ended[1:]
	}
	r.ended = append(r.ended, ending{s.id, s.token})
	st := s.stream
	if st.source == s {
		st.source, st.since = nil, time.Time{}
		st.video.ask.Store(nil)
	}
	if st.users--; st.users == 0 {
		st.stop()
		delete(r.streams, st.name)
	}
}

// hasEnded says whether the session that was opened with token is over. The token may be void by now; the id alone, which
// nobody guesses, would do.
func (r *Room) hasEnded(id, token string) bool {
	h := sha256.Sum256([]byte(token))
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.ended, func(e ending) bool { return e.id == id && e.token == h })
}

// takeOver makes s its stream's publisher and returns its number; the one before is ended.
func (r *Room) takeOver(s *session) (uint64, bool) {
	r.mu.Lock()
	if r.sessions[s.id] != s {
		r.mu.Unlock()
		return 0, false
	}
	old := s.stream.source
	if s.epoch == 0 {
		r.epoch++
		s.epoch = r.epoch
	}
	if old != nil && old.epoch > s.epoch { // a second track of one that was itself replaced meanwhile
		r.mu.Unlock()
		return 0, false
	}
	if old != s {
		s.stream.source, s.stream.since = s, r.o.Clock.Now()
	}
	n := s.epoch
	r.mu.Unlock()
	if old != nil && old != s {
		old.end()
	}
	return n, true
}
