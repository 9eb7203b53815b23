package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture"
	"telecart/capture/code"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/provisioning/claim"
	"telecart/provisioning/identity"
	"telecart/uplink/link"
	"telecart/uplink/seal/erase"
	"telecart/uplink/wire"
)

// What a command can be refused for, besides capture's and the outbox's own errors.
var (
	errInstrument = errors.New("agent: instrument")
	errArgument   = errors.New("agent: argument")
	errDiskFull   = errors.New("agent: the disk is nearly full")
	errNothing    = errors.New("agent: nothing to save")
	errVerb       = errors.New("agent: no such command")
	errNoLink     = errors.New("agent: no link: everything is kept here; call again when it is back")
	errBadge      = errors.New("agent: a badge names somebody who gives care, not the patient")
	errProduct    = errors.New("agent: a product's code names no patient")
	errNoConsult  = errors.New("agent: there is no consult")
	errPractice   = errors.New("agent: this instrument is not calibrated: its values are kept in practice alone")
	errRange      = errors.New("agent: out of range")
	errBattery    = errors.New("agent: the battery is nearly empty")
)

// args are the arguments of all commands; each takes those it knows (cmd/ui/api.ts).
type args struct {
	Practice   bool            `json:"practice"`
	Code       string          `json:"code"`
	Patient    capture.Patient `json:"patient"`
	Action     string          `json:"action"`
	Instrument string          `json:"instrument"`
	Seconds    int             `json:"seconds"`
	Site       string          `json:"site"`
	Side       string          `json:"side"`
	Text       string          `json:"text"`
	Reason     string          `json:"reason"`
	Item       ledger.Hash     `json:"item"`
	Verb       string          `json:"answer"`
	Notice     string          `json:"notice"`
	Symbology  string          `json:"symbology"`
	Mode       string          `json:"mode"`
	Values     []HandValue     `json:"values"`
	Device     string          `json:"device"`
	Set        map[string]int  `json:"set"`
}

// result is a command's answer: the item, or several, that are saved now.
type result struct {
	Item  *ledger.Hash `json:"item,omitempty"`
	Items []Saved      `json:"items,omitempty"`
}

func saved(err error, s ...Saved) (any, error) {
	r := result{Items: s}
	if len(s) > 0 {
		r.Item = &s[0].Item
	}
	return r, err
}

const maxNote = 4000

// Command carries out one of the nurse's commands. What it returns for capturing commands is saved.
func (a *Agent) Command(ctx context.Context, verb string, raw json.RawMessage) (any, error) {
	var in args
	var err error
	erase.Do(func() { err = json.Unmarshal(raw, &in) }) // what she wrote goes from memory with the encounter
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errArgument, err)
	}
	if len(in.Site) > 40 || len(in.Side) > 10 {
		return nil, fmt.Errorf("%w: site or side", errArgument)
	}
	now := a.clock.Now()
	one := func(s Saved, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return saved(nil, s)
	}
	steps := func(f func(e *capture.Encounter) ([]capture.Step, error)) (any, error) {
		s, err := a.step(ctx, f)
		return saved(err, s...)
	}
	switch verb {
	case "open":
		return steps(func(e *capture.Encounter) ([]capture.Step, error) { return e.Open(ledger.NewID(), now, in.Practice) })
	case "close":
		return steps((*capture.Encounter).Close)
	case "scan":
		return a.scan(ctx, in.Code, in.Symbology)
	case "bind":
		return a.bind(ctx, in.Patient, capture.FromIdentifiers)
	case "resolve-alert":
		return steps(func(e *capture.Encounter) ([]capture.Step, error) {
			return e.Resolve(capture.AlertAction(in.Action), ledger.NewID(), now)
		})
	case "still":
		return one(a.still(ctx, in.Instrument, in.Site, in.Side, "nurse"))
	case "clip":
		return one(a.clip(ctx, in.Instrument, in.Seconds, in.Site, in.Side))
	case "sound":
		return one(a.sound(ctx, in.Instrument, in.Seconds, in.Site, in.Side))
	case "reading":
		s, err := a.reading(ctx, in.Instrument, in.Site, in.Side)
		return saved(err, s...)
	case "waveform":
		return one(a.waveform(ctx, in.Instrument, in.Seconds, in.Site, in.Side))
	case "measure":
		return nil, a.measure(ctx, in.Instrument, in.Mode)
	case "stop-measure":
		return nil, a.stopMeasure(ctx, in.Instrument)
	case "by-hand":
		s, err := a.byHand(ctx, in.Values, in.Device, in.Site, in.Side)
		return saved(err, s...)
	case "adjust":
		return nil, a.adjust(ctx, in.Instrument, in.Set)
	case "note":
		if in.Text == "" || len(in.Text) > maxNote {
			return nil, fmt.Errorf("%w: a note has 1 to %d bytes", errArgument, maxNote)
		}
		b, _, err := a.body(capture.Note)
		if err != nil {
			return nil, err
		}
		b.Note = &capture.NoteInfo{Text: in.Text}
		return one(a.save(ctx, b))
	case "correct":
		return one(a.correct(ctx, capture.CorrectionInfo{Item: in.Item, Reason: in.Reason, Side: in.Side, Text: in.Text}))
	case "call", "cancel-call":
		return nil, a.consult.call(in.Reason, verb == "cancel-call")
	case "answer":
		return nil, a.consult.answer(in.Verb)
	case "mute", "unmute":
		return nil, a.consult.sound.mute(verb)
	case "take-back":
		return nil, a.consult.takeBack(in.Instrument)
	case "give-back":
		return nil, a.consult.giveBack(in.Instrument)
	case "dismiss":
		a.mu.Lock()
		a.notices = slices.DeleteFunc(a.notices, func(n link.Notice) bool { return n.ID == in.Notice })
		a.mu.Unlock()
		a.change()
		return nil, nil
	case "claim":
		return nil, a.Claim(ctx, in.Code)
	}
	return nil, fmt.Errorf("%w: %q", errVerb, verb)
}

// scan acts on what was scanned, on whatever screen: a wristband binds, a claim code enrols.
func (a *Agent) scan(ctx context.Context, text, symbology string) (any, error) {
	c, err := code.Parse(text, symbology, a.codes)
	if err != nil {
		return nil, err
	}
	switch c.Kind {
	case code.Wristband, code.GSRN:
		return a.bind(ctx, c.Patient, capture.FromWristband)
	case code.Claim:
		return nil, a.Claim(ctx, c.Text)
	case code.Provider:
		return nil, errBadge
	case code.Device:
		return nil, errProduct
	}
	return nil, capture.ErrWristband
}

// bind says who the patient is, opening an encounter if none is.
func (a *Agent) bind(ctx context.Context, p capture.Patient, by capture.Source) (any, error) {
	p = a.known(p)
	now := a.clock.Now()
	s, err := a.step(ctx, func(e *capture.Encounter) ([]capture.Step, error) {
		if e.IsOpen() {
			return e.Bind(p, by)
		}
		opened, err := e.Open(ledger.NewID(), now, false)
		if err != nil {
			return nil, err
		}
		bound, err := e.Bind(p, by)
		return append(opened, bound...), err
	})
	return saved(err, s...)
}

// known fills a bare wristband number from today's list.
func (a *Agent) known(p capture.Patient) capture.Patient {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.today {
		if p.ID != "" && t.ID == p.ID && p.Name == "" {
			return t
		}
	}
	return p
}

// Problem puts an error into the form that the screen has words for.
func Problem(err error) *wire.Problem {
	var p *wire.Problem
	var ip *identity.Problem
	if errors.As(err, &p) {
		return p
	}
	var down net.Error
	if errors.As(err, &ip) {
		return wire.NewProblem(ip.Status, ip.Code, ip.Title, ip.Detail)
	}
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{capture.ErrNoEncounter, http.StatusConflict, "no-encounter"},
		{capture.ErrOpen, http.StatusConflict, "encounter-open"},
		{capture.ErrAlert, http.StatusConflict, "different-wristband"},
		{capture.ErrNoAlert, http.StatusConflict, "no-alert"},
		{capture.ErrDecision, http.StatusBadRequest, "bad-argument"},
		{capture.ErrWristband, http.StatusBadRequest, "not-a-wristband"},
		{code.ErrForeign, http.StatusBadRequest, "foreign-wristband"},
		{code.ErrCheckDigit, http.StatusBadRequest, "check-digit"},
		{code.ErrGS1, http.StatusBadRequest, "bad-code"},
		{code.ErrUnreadable, http.StatusBadRequest, "bad-code"},
		{errBadge, http.StatusBadRequest, "badge-scanned"},
		{errProduct, http.StatusBadRequest, "product-scanned"},
		{capture.ErrPatient, http.StatusBadRequest, "patient"},
		{capture.ErrPractice, http.StatusConflict, "practice"},
		{device.ErrGone, http.StatusServiceUnavailable, "instrument-gone"},
		{errInstrument, http.StatusServiceUnavailable, "instrument-gone"},
		{errArgument, http.StatusBadRequest, "bad-argument"},
		{errDiskFull, http.StatusInsufficientStorage, "disk-full"},
		{unix.ENOSPC, http.StatusInsufficientStorage, "disk-full"},
		{errNothing, http.StatusConflict, "nothing-to-save"},
		{device.ErrMode, http.StatusBadRequest, "choose-mode"},
		{device.ErrBusy, http.StatusConflict, "measuring"},
		{device.ErrTooSoon, http.StatusTooManyRequests, "too-soon"},
		{errPractice, http.StatusConflict, "practice-only"},
		{errRange, http.StatusBadRequest, "out-of-range"},
		{errBattery, http.StatusServiceUnavailable, "battery-empty"},
		{errVerb, http.StatusNotFound, "no-such-command"},
		{errNoLink, http.StatusServiceUnavailable, "no-link"},
		{errNoConsult, http.StatusConflict, "no-consult"},
		{errNoKeys, http.StatusServiceUnavailable, "not-enrolled"},
		{claim.ErrCode, http.StatusBadRequest, "claim-code"},
		{identity.ErrNotHub, http.StatusBadGateway, "not-this-hub"},
		{identity.ErrOtherCart, http.StatusConflict, "other-cart"},
	} {
		if errors.Is(err, c.err) {
			return wire.NewProblem(c.status, c.code, http.StatusText(c.status), err.Error())
		}
	}
	if errors.As(err, &down) {
		return wire.NewProblem(http.StatusBadGateway, "hub-unreachable", "The hub does not answer", err.Error())
	}
	return wire.NewProblem(http.StatusInternalServerError, "failed", "That did not work", err.Error())
}

// receive takes the hub's messages.
func (a *Agent) receive(m link.Message) {
	switch {
	case m.Desired != nil:
		a.desired(*m.Desired)
	case m.Notice != nil:
		a.told(*m.Notice)
	default:
		a.consult.receive(m)
	}
}

// desired reconciles the cart with what the hub wants.
func (a *Agent) desired(d link.Desired) {
	if d.Today != nil {
		a.mu.Lock()
		a.today = d.Today
		a.mu.Unlock()
	}
	a.consult.want(d.Consult)
	if d.Patient == nil {
		return
	}
	a.mu.Lock()
	a.patientOf = d.Patient
	a.mu.Unlock()
	select { // saving may take a while, and the link must be read meanwhile
	case a.hubSays <- struct{}{}:
	default:
	}
}

// takePatients takes over whom the hub has for the open encounter. The latest word counts.
func (a *Agent) takePatients(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.hubSays:
		}
		a.mu.Lock()
		p := a.patientOf
		a.patientOf = nil
		a.mu.Unlock()
		if p != nil {
			a.takePatient(ctx, *p)
		}
	}
}

func (a *Agent) takePatient(ctx context.Context, p link.PatientOf) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	split := false
	_, err := a.step(ctx, func(e *capture.Encounter) (steps []capture.Step, err error) {
		steps, split = e.HubSays(p.Encounter, p.Patient, ledger.NewID(), a.run, a.clock.Now())
		return steps, nil
	})
	switch {
	case errors.Is(err, errNoKeys):
	case err != nil:
		a.log.Error("agent: the hub's patient was not taken over", "err", err)
	case split:
		a.notice("encounter-split", nil)
	}
}
