// Package agent is the cart: it puts the rooms of the house together and keeps the nurse's session.
//
// Parties: the supervisor observes; the nurse (through a bedside.Page) and the specialist (through the link) command; two
// books, care and practice, save; the link delivers. Keys: the device key (identity) and the books' data keys.
//
// Invariants: nothing is called saved before the outbox said so. Who the patient is lives in memory alone, and so does the
// consult. A lens that nobody asked for stays shut: cameras run while a page or an accepted consult watches.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"telecart/capture"
	"telecart/capture/code"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/kit"
	"telecart/device/rtc"
	"telecart/device/supervisor"
	"telecart/provisioning/claim"
	"telecart/provisioning/identity"
	"telecart/uplink/link"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// Options are what main decides.
type Options struct {
	Settings Settings
	Version  string
	Drivers  []device.Driver
	Clock    kit.Clock
	Checker  outbox.Checker
	Machine  hotplug.Machine // where instruments are plugged in; zero is this one
	Log      *slog.Logger
}

// Agent is one run of the cart's agent.
type Agent struct {
	set       Settings
	version   string
	clock     kit.Clock
	stamp     *kit.Stamper
	keeper    *kit.Timekeeper
	timeTold  atomic.Int64 // when the hub told the time, by our clock, in Unix nanoseconds
	trusted   func() bool
	disk      func(path string) (percent int)
	spare     *reserve
	booksDisk kit.Disk // the kernel's but in tests
	toldOnce  sync.Map // what the nurse was told of in this run
	checker   outbox.Checker
	log       *slog.Logger
	run       ledger.ID
	started   time.Time
	sup       *supervisor.Supervisor
	id        *identity.Cart
	link      *link.Client
	waves     *waves
	codes     code.Site
	consult   *consults
	ladder    *sharing
	drivers   []device.Driver
	plugs     plugs
	inputs    fan[device.Input]
	lastGasp  atomic.Bool   // the battery is about to end
	claimed   chan struct{} // a claim was traded for a new identity
	hubSays   chan struct{} // patientOf changed
	unlock    func()        // lets go of the state folder
	ended     chan struct{} // an encounter is over: what is left of it in memory has to go

	changes fan[struct{}]
	steps   sync.Mutex // one step of the encounter at a time

	keying sync.Mutex // a key list is taken over, or practice opened by the one held

	mu         sync.Mutex
	books      []*book // care, practice; none before the first key list, and care alone while practice can't be opened
	noPractice error   // why it can't
	keys       wire.KeyList
	keysRaw    wire.SignedKeyList
	enc        *capture.Encounter
	encCtx     context.Context // ends with the encounter
	encEnd     context.CancelFunc
	items      []Item
	review     review
	notices    []link.Notice
	today      []capture.Patient
	noticeSeq  int
	patientOf  *link.PatientOf // what the hub said last, until it was taken over
	ready      time.Duration   // from the start until items could be captured
}

// New makes an agent; Run makes it work.
func New(o Options) (*Agent, error) {
	if err := os.MkdirAll(o.Settings.State, 0o700); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a := &Agent{set: o.Settings, version: o.Version, drivers: o.Drivers, clock: o.Clock, checker: o.Checker, log: o.Log, run: ledger.NewID(),
		started: o.Clock.Now(), spare: newReserve(o.Settings.State), enc: &capture.Encounter{}, waves: newWaves(),
		claimed: make(chan struct{}, 1), hubSays: make(chan struct{}, 1), ended: make(chan struct{}, 1)}
	a.disk = a.spare.used
	var err error
	if a.codes, err = o.Settings.codes(); err != nil {
		return nil, err
	}
	a.encCtx, a.encEnd = context.WithCancel(context.Background())
	a.keeper = kit.NewTimekeeper(kit.TimekeeperOptions{Path: filepath.Join(o.Settings.State, "clock.json"), Clock: o.Clock, Log: o.Log})
	a.trusted, a.stamp = a.keeper.Trusted, kit.NewStamperFor(a.keeper)
	a.sup = supervisor.New(supervisor.Options{Drivers: o.Drivers, Clock: o.Clock, Stamp: a.stamp, Log: o.Log})
	for _, i := range o.Settings.Instrument {
		if err := a.sup.Add(i); err != nil {
			return nil, fmt.Errorf("agent: instrument %q: %w", i.Name, err)
		}
	}
	if a.id, err = identity.Open(filepath.Join(o.Settings.State, "identity"), o.Clock); err != nil {
		return nil, err
	}
	if o.Settings.Proxy != "" {
		u, err := url.Parse(o.Settings.Proxy)
		if err != nil {
			return nil, fmt.Errorf("agent: proxy: %w", err)
		}
		a.id.Proxy = http.ProxyURL(u)
	}
	a.ladder = newSharing(a)
	a.consult = newConsults(a)
	a.plugs = plugs{a: a, machine: o.Machine}
	if err := a.loadKeys(); err != nil {
		return nil, err
	}
	return a, nil
}

// Start brings back what the last run left, and makes capture ready if this cart ever had keys.
func (a *Agent) Start(ctx context.Context) (err error) {
	if a.unlock, err = lockState(a.set.State); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			a.unlock()
		}
	}()
	if wiped, err := resumeWipe(a.set.State, a.id); err != nil {
		return err
	} else if wiped {
		a.log.Warn(ErrWiped.Error())
		a.keys, a.keysRaw = wire.KeyList{}, wire.SignedKeyList{}
	}
	if err := a.restore(); err != nil {
		a.log.Error("agent: the open encounter was not restored", "err", err)
	}
	a.link = a.newLink()
	if a.keys.Version == 0 {
		return nil
	}
	return a.openBooks(ctx)
}

// Run works until ctx ends. It comes after Start.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer a.unlock()
	defer a.closeBooks()
	var wg sync.WaitGroup
	defer wg.Wait()
	listening := make(chan struct{})
	for name, f := range map[string]func(context.Context) error{
		"instruments": func(ctx context.Context) error {
			<-listening // what an instrument says first counts too
			return a.sup.Run(ctx)
		}, "hotplug": a.plugs.run, "samples": func(ctx context.Context) error { return a.listen(ctx, listening) }, "link": a.keepLink, "consult": a.consult.run, "ladder": a.ladder.run, "chores": a.chores,
		"patient": a.takePatients, "erasing": a.erase, "disk": a.watchDisk,
	} {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("agent: %s: %w", name, err))
			}
		})
	}
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (a *Agent) keysPath() string { return filepath.Join(a.set.State, "keys.json") }

// loadKeys takes the key list that the cart had before: it can seal without ever reaching the hub again.
func (a *Agent) loadKeys() error {
	me, err := a.id.Identity()
	if errors.Is(err, identity.ErrNotEnrolled) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := os.ReadFile(a.keysPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, &a.keysRaw)
	}
	if err == nil {
		a.keys, err = a.keysRaw.Open(me.KeysRoot[:], 0)
	}
	if err != nil { // the hub gives it again
		a.log.Error("agent: the kept key list is damaged", "err", err)
		a.keys = wire.KeyList{}
	}
	return nil
}

func (a *Agent) closeBooks() {
	a.mu.Lock()
	books, open := a.books, a.enc.State().ID
	a.books = nil
	a.mu.Unlock()
	for _, b := range books {
		b.forget(open)
		if err := errors.Join(b.box.SaveHead(), b.box.Close()); err != nil {
			a.log.Error("agent: close outbox", "err", err)
		}
	}
}

// Ready says whether items can be captured, for /healthz.
func (a *Agent) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.books) > 0 {
		return nil
	}
	if _, wiped, err := readOwner(a.set.State); wiped || err != nil {
		return errors.Join(ErrWiped, err)
	}
	return errNoKeys
}

func (a *Agent) boxes() []*outbox.Outbox {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*outbox.Outbox, len(a.books))
	for i, b := range a.books {
		out[i] = b.box
	}
	return out
}

// newLink makes the client; it dials once there is an identity.
func (a *Agent) newLink() *link.Client {
	o := link.Options{Version: a.version, Run: a.run, Clock: a.clock, Log: a.log, Books: a.boxes, Presence: a.presence,
		Receive: a.receive, Share: a.ladder.items, Changed: func(link.Status) { a.consult.nudge(); a.change() }, Welcomed: a.welcomed,
		Held: func() uint64 { a.mu.Lock(); defer a.mu.Unlock(); return a.keys.Version }}
	if me, err := a.id.Identity(); err == nil {
		t, err := a.id.Transport()
		if err == nil {
			o.Base, o.Root = "https://carts."+me.HubName, me.KeysRoot[:]
			o.Socket, o.Bulk = &http.Client{Transport: t}, &http.Client{Transport: t}
		}
	}
	return link.New(o)
}

// keepLink runs the link while the cart is enrolled. A new claim may name another hub, and so makes another link.
func (a *Agent) keepLink(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := a.id.Identity(); err != nil { // not yet: Claim makes it
			select {
			case <-ctx.Done():
			case <-a.claimed:
			}
			continue
		}
		select {
		case <-a.claimed: // before this link, which knows it
		default:
		}
		l := a.newLink()
		a.mu.Lock()
		a.link = l
		a.mu.Unlock()
		a.runLink(ctx, l)
	}
	return ctx.Err()
}

// runLink works until ctx ends or the cart was enrolled anew.
func (a *Agent) runLink(ctx context.Context, l *link.Client) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { l.Run(ctx) })
	select {
	case <-ctx.Done():
	case <-a.claimed:
	}
}

// Claim enrols the cart.
func (a *Agent) Claim(ctx context.Context, code string) error {
	c, err := claim.Parse(code)
	if err != nil {
		return err
	}
	if err := settle(a.set.State, a.id, c.Tenant, c.Cart); err != nil {
		return err
	}
	if err := claiming(a.set.State, a.id); err != nil {
		return err
	}
	before, had := a.id.Identity()
	if err := a.id.Enrol(ctx, c); err != nil {
		return err
	}
	if err := claimedAnew(a.set.State); err != nil {
		return err
	}
	if had == nil && before.KeysRoot != c.KeysRoot { // another root counts its versions anew
		a.mu.Lock()
		a.keys.Version = 0
		a.mu.Unlock()
	}
	select {
	case a.claimed <- struct{}{}:
	default:
	}
	a.log.Info("agent: enrolled", "tenant", c.Tenant, "cart", c.Cart, "hub", c.HubName)
	a.change()
	return nil
}

// welcomed takes the hub's key list; the first one makes capture possible.
func (a *Agent) welcomed(w link.Welcome, keys wire.KeyList) error {
	// The hub has proved itself and so have we: this is the one source of time that moves the floor.
	if err := a.keeper.Authenticated(w.Now.Add(w.Took/2), w.Took/2); err != nil {
		a.log.Warn("agent: the hub's time is no use", "err", err)
	}
	a.timeTold.Store(a.clock.Now().UnixNano())
	return a.takeKeys(w.Keys, keys)
}

// tellTime says whether it is time to greet the hub anew, to be told the time: a link may stand for weeks, and what is
// delivered is erased by a trusted clock alone.
func (a *Agent) tellTime() bool {
	return a.currentLink().Status().Up && a.clock.Now().Sub(time.Unix(0, a.timeTold.Load())).Abs() > 24*time.Hour && a.consult.idle()
}

// batteryClock is the machine's, if it has one.
const batteryClock = "/dev/rtc0"

// chores are what is due now and then: erase what may go, renew the certificate.
func (a *Agent) chores(ctx context.Context) error {
	var warned time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.clock.After(time.Minute):
		}
		if s, err := rtc.Read(batteryClock); !errors.Is(err, rtc.ErrBusy) {
			a.keeper.BatteryClock(s.Shows, err == nil && s.Set())
		}
		for _, b := range a.boxes() {
			if n, err := b.Retire(); err != nil {
				a.log.Error("agent: retire", "err", err)
			} else if n > 0 {
				a.log.Info("agent: delivered items erased", "segments", n)
			}
		}
		if a.consult.idle() { // it greets the hub anew
			a.reopenPractice(ctx)
		}
		a.courier()
		warned = a.warnOfKeys(warned)
		if a.tellTime() {
			a.currentLink().Redial()
		}
		if _, err := a.id.Identity(); err == nil && a.id.NeedsRenewal(a.clock.Now()) {
			renew, cancel := context.WithTimeout(ctx, 30*time.Second)
			if err := a.id.Renew(renew); err != nil {
				a.log.Warn("agent: certificate not renewed", "err", err)
			} else {
				a.currentLink().Redial()
			}
			cancel()
		}
	}
}

// listen keeps the last stretch of every waveform.
func (a *Agent) listen(ctx context.Context, listening chan<- struct{}) error {
	sub := a.sup.Subscribe(256)
	defer sub.Close()
	close(listening)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-sub.C:
			if !ok {
				return ctx.Err()
			}
			switch {
			case e.Samples != nil:
				a.waves.add(*e.Samples)
				a.consult.samples(*e.Samples)
			case e.Input != nil:
				a.inputs.tell(*e.Input)
			default:
				if e.Health != nil && e.Health.Kind == device.KindPower {
					a.gasp()
				}
				a.change()
			}
		}
	}
}

// change tells everyone who watches the state.
func (a *Agent) change() {
	a.changes.tell(struct{}{})
	if l := a.currentLink(); l != nil {
		l.Touch()
	}
}

func (a *Agent) currentLink() *link.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.link
}

// Changed gives a channel that ticks after changes; Release it.
func (a *Agent) Changed() (<-chan struct{}, func()) { return a.changes.join(1) }
