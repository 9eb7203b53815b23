// Package serve is the hub, wired: what cmd/telecart-hub runs, and what its sub-commands do.
//
// Parties: carts, at carts.NAME with a device certificate; carts that enrol, at enrol.NAME; people, at NAME or behind a
// proxy; IT's command line, by a socket in the state folder; Prometheus.
//
// Keys, all in the state folder (0700, files 0600): the certificate authority's root (ca/), the record keys and the
// receipt key (keys.json), the key list with its root's public half. The offline root's private half is never there.
//
// Invariants: one process holds the folder. The surface is what openapi.yaml says. Logs name carts and tenants, never a
// patient. The process says "ready" once, when everything listens.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"telecart/cmd/telecart-hub/console"
	"telecart/device/kit"
	"telecart/provisioning/identity"
	"telecart/provisioning/people"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/hub/room"
	"telecart/uplink/hub/store"
	"telecart/uplink/hub/turn"
	"telecart/uplink/seal"
)

// hub is everything that runs.
type hub struct {
	f       *folder
	version string // of this program
	log     *slog.Logger
	metrics *metrics
	health  *health
	desk    *identity.Desk
	ingest  *ingest.Ingest
	room    *room.Room
	turn    *turn.Server
	names   *names // once the doors are open
	clinic  *clinic.Service
	console *console.Server
	events  *observer
}

const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	goodbye    = 5 * time.Second // for requests under way at the end
)

// Run serves until ctx ends. When all doors are open it prints "ready https=ADDR people=ADDR" to out, with the ports that
// were really taken ("people=-" without people_listen). version is this program's, as people and carts see it. Log goes to log; nil is nowhere.
func Run(ctx context.Context, s Settings, version string, out io.Writer, log *slog.Logger) (err error) {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	log = discard(log)
	clock := kit.System{}
	f, err := openFolder(ctx, s.State, store.Options{Clock: clock, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.store.Close()) }()
	if f.list.Hub != s.Name {
		return fmt.Errorf("settings: name %q, but the keys in %s are of hub %q", s.Name, s.State, f.list.Hub)
	}
	udp, err := listenUDP(s.MediaListen)
	if err != nil {
		return err
	}
	h, err := build(ctx, s, version, f, udp, log)
	if err != nil {
		if udp != nil {
			err = errors.Join(err, udp.Close())
		}
		return err
	}
	defer func() { err = errors.Join(err, h.turn.Close(), h.room.Close()) }()
	return h.serve(ctx, s, out)
}

// listenUDP takes the media port; nil is none.
func listenUDP(addr string) (net.PacketConn, error) {
	if addr == noMedia {
		return nil, nil
	}
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("settings: media_listen: %w", err)
	}
	udp, err := net.ListenUDP("udp", a)
	if err != nil {
		return nil, fmt.Errorf("hub: media: %w", err)
	}
	return udp, nil
}

func build(ctx context.Context, s Settings, version string, f *folder, udp net.PacketConn, log *slog.Logger) (*hub, error) {
	held, key, err := readKeys(f.path, f.list)
	if err != nil {
		return nil, err
	}
	records := f.opener(context.WithoutCancel(ctx), held)
	h := &hub{f: f, version: version, log: log, metrics: newMetrics()}
	h.health = &health{f: f, metrics: h.metrics}
	h.desk = identity.NewDesk(f.authority, f.registry, f.store.Register())
	h.events = newObserver(f.store, h.metrics, f.clock, log)
	h.ingest, err = ingest.New(f.store, ingest.Options{Hub: s.Name, Key: key, Earlier: f.list.Receipts, Opener: records, Observer: h.events, Clock: f.clock, Log: log,
		Peer: ingestPeer})
	if err != nil {
		return nil, err
	}
	tokens := clinic.NewTokens(f.clock)
	if h.turn, err = turn.New(turn.Options{Name: f.authority.TurnName(), Clock: f.clock}); err != nil {
		return nil, err
	}
	h.metrics.watchTurn(h.turn)
	h.room, err = room.New(room.Options{Authorize: authorize(tokens), UDP: udp, PublicIP: s.MediaAddresses, Clock: f.clock, Log: log,
		Turn: room.Turn{Conn: h.turn.Room(), Servers: h.turnServers}})
	if err != nil {
		return nil, err
	}
	if err := h.people(ctx, s, tokens, records); err != nil {
		return nil, errors.Join(err, h.room.Close())
	}
	return h, nil
}

// people builds the clinic from what was kept, and the console on it.
func (h *hub) people(ctx context.Context, s Settings, tokens *clinic.Tokens, records seal.Opener) error {
	f := h.f
	if err := h.events.recall(ctx); err != nil {
		return err
	}
	var carts []clinic.Cart
	var past []clinic.Arrival
	for _, tenant := range f.dir.tenants() {
		rows, err := f.store.Carts(ctx, tenant)
		if err != nil {
			return err
		}
		for _, c := range rows {
			carts = append(carts, clinic.Cart{Tenant: tenant, Name: c.Cart, Site: c.Site})
		}
		items, err := history(ctx, f.store, tenant, f.clock.Now(), h.events.untold)
		if err != nil {
			return err
		}
		past = append(past, items...)
	}
	var err error
	h.clinic, err = clinic.New(ctx, clinic.Options{Store: f.store.Clinic(), Cabinet: f.store.Clinic(), Rooms: h.room, Tokens: tokens, Clock: f.clock, Log: h.log,
		Greeter: greeter{f, h.ingest, h.desk, h.version, h.log}}, carts, past)
	if err != nil {
		return err
	}
	for _, tenant := range f.dir.tenants() {
		if err := h.troubles(ctx, tenant); err != nil {
			return err
		}
	}
	h.metrics.watch(f.dir, h.clinic, h.room)
	limits := people.DefaultLimits()
	h.console = console.New(console.Options{Hub: s.Name, Version: h.version, Door: door{f}, Sessions: people.NewSessions(f.store.People(), f.store.People(), f.clock, limits),
		Idle: limits.Idle, Clinic: h.clinic, Blobs: blobs{f.store, records}, Fleet: fleet{office{f: f}, h.clinic, books{f, h.ingest}}, Audit: trail{f.store, f.clock}, Clock: f.clock, Log: h.log})
	return nil
}

// listening is one open door.
type listening struct {
	ln  net.Listener
	srv *http.Server
}

// serve opens the doors, works until ctx ends or one of them fails, and closes them in order.
func (h *hub) serve(ctx context.Context, s Settings, out io.Writer) (err error) {
	live, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	doors, err := h.open(ctx, live, s)
	defer func() {
		err = errors.Join(err, closeAll(doors), h.turn.Close())
		if h.names != nil {
			h.names.wait()
		}
	}()
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer hangUp()
	failed := make(chan error, len(doors)+1)
	for _, d := range doors {
		all.Go(func() { failed <- d.run() })
	}
	all.Go(func() { h.events.run(live, h.clinic) })
	all.Go(func() {
		if err := h.ingest.Run(live); live.Err() == nil {
			failed <- err
		}
	})
	https, people := doors["https"], "-"
	if d, ok := doors["people"]; ok {
		people = d.ln.Addr().String()
	}
	if _, err := fmt.Fprintf(out, "ready https=%s people=%s\n", https.ln.Addr(), people); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	h.log.Info("hub: ready", "https", https.ln.Addr().String(), "people", people)
	select {
	case <-ctx.Done():
		h.log.Info("hub: stopping")
	case err = <-failed:
		err = fmt.Errorf("hub: %w", err)
	}
	return errors.Join(err, h.stop(doors, hangUp))
}

// stop lets requests under way finish. WebSockets are ended first: the other sides know how to come back.
func (h *hub) stop(doors map[string]*listening, hangUp context.CancelFunc) error {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	hangUp()
	var errs []error
	for _, d := range doors {
		if err := d.srv.Shutdown(ctx); err != nil {
			errs = append(errs, d.srv.Close())
		}
	}
	return errors.Join(errs...)
}

func closeAll(doors map[string]*listening) error {
	var errs []error
	for _, d := range doors {
		if err := d.ln.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *listening) run() error {
	err := d.srv.Serve(d.ln) // of the TLS connections that names made, too: it knows HTTP/2 by the configuration
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// open takes all addresses before anything is served.
func (h *hub) open(ctx, live context.Context, s Settings) (doors map[string]*listening, err error) {
	doors = map[string]*listening{}
	add := func(name, network, addr string, handler http.Handler) {
		if err != nil || addr == "" {
			return
		}
		var ln net.Listener
		if ln, err = (&net.ListenConfig{}).Listen(ctx, network, addr); err != nil {
			err = fmt.Errorf("hub: %s: %w", name, err)
			return
		}
		doors[name] = &listening{ln, &http.Server{Handler: endWith(live, handler), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: 32 << 10,
			ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug)}}
	}
	add("https", "tcp", s.Listen, h.byName())
	add("people", "tcp", s.PeopleListen, h.door(doorPeople))
	add("metrics", "tcp", s.MetricsListen, h.door(doorMetrics))
	if err != nil {
		return doors, err
	}
	https := doors["https"]
	https.srv.TLSConfig = h.f.authority.TLSConfig()
	h.names = newNames(https.ln, https.srv.TLSConfig, h.f.authority.TurnName(), h.turn.Serve, h.f.clock, h.log)
	https.ln = h.names
	if err := h.tellAddress(s, https.ln.Addr().String()); err != nil {
		return doors, err
	}
	socket := filepath.Join(h.f.path, socketFile)
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return doors, fmt.Errorf("hub: %w", err) // ours alone: we hold the folder
	}
	if add("control", "unix", socket, h.control()); err != nil {
		return doors, err
	}
	return doors, os.Chmod(socket, 0o600)
}

// tellBackup lets carts know what they may erase.
func (h *hub) tellBackup(ctx context.Context) error {
	w, err := h.ingest.Watermark(ctx)
	if err == nil {
		h.clinic.Backed(w)
	}
	return err
}

// tellAddress settles what carts are told to dial: as set, or this very address on a machine by itself, or NAME.
func (h *hub) tellAddress(s Settings, listens string) error {
	h.f.address = s.Address
	if s.Address == "" {
		_, port, err := net.SplitHostPort(listens)
		if err != nil {
			return fmt.Errorf("hub: %w", err)
		}
		if h.f.address = net.JoinHostPort(s.Name, port); loopback(listens) {
			h.f.address = listens
		}
	}
	return kit.WriteFile(filepath.Join(h.f.path, addressFile), []byte(h.f.address), 0o600)
}
