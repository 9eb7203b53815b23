package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/link"
	"telecart/uplink/seal/erase"
	"telecart/uplink/wire"
)

// Saved is what the nurse is told: this is sealed, numbered and on the disk.
type Saved struct {
	Item   ledger.Hash  `json:"item"`
	Kind   capture.Kind `json:"kind"`
	SHA256 string       `json:"sha256"` // of the plaintext
}

// clipsUpTo is the percentage of the disk from which on clips are refused: the rest is for readings, notes and stills.
const clipsUpTo = 90

// save seals and saves one item of an encounter, and lists it. It returns when the item is durable.
func (a *Agent) save(ctx context.Context, b capture.Body) (Saved, error) {
	s, err := a.store(ctx, &b)
	if err != nil {
		return Saved{}, err
	}
	a.mu.Lock()
	a.list(s, b)
	a.mu.Unlock()
	a.change()
	return s, nil
}

// store seals and saves one item.
func (a *Agent) store(ctx context.Context, b *capture.Body) (Saved, error) {
	if b.At == (kit.Stamp{}) {
		b.At = a.stamp.Now()
	}
	if b.By == "" {
		b.By = "nurse"
	}
	b.ID = ledger.NewID()
	var plain []byte
	var err error
	erase.Do(func() { plain, err = b.Marshal() })
	if err != nil {
		return Saved{}, err
	}
	defer clear(plain)
	a.mu.Lock()
	book, err := a.bookOf(ledger.Book{Practice: b.Practice})
	a.mu.Unlock()
	if err != nil {
		return Saved{}, err
	}
	urgency := wire.Routine
	switch b.Kind {
	case capture.Binding, capture.Correction, capture.Event, capture.Reading:
		urgency = wire.Urgent // small, and what everything else hangs on
	}
	a.makeRoom(b.Kind)
	s, err := book.put(ctx, b.Encounter, uint8(b.Kind), urgency, plain)
	if err != nil {
		return Saved{}, err
	}
	sum := sha256.Sum256(plain)
	return Saved{s.Hash, b.Kind, hex.EncodeToString(sum[:])}, nil
}

// list shows a saved item, if it is of the open encounter. It needs mu.
func (a *Agent) list(s Saved, b capture.Body) {
	if a.enc.State().ID != b.Encounter {
		return
	}
	a.items = append(a.items, newItem(s.Item, b))
	if b.Media == nil && b.Waveform == nil {
		return
	}
	blob := Blob{Type: "application/octet-stream", Bytes: slices.Clone(b.Blob)}
	if b.Media != nil {
		blob.Type = b.Media.Type
	}
	a.review.keep(s.Item, blob)
}

// step drives the encounter machine and records what it says; the machine's new state counts only when every step is saved.
func (a *Agent) step(ctx context.Context, f func(e *capture.Encounter) ([]capture.Step, error)) (out []Saved, err error) {
	a.steps.Lock()
	defer a.steps.Unlock()
	a.mu.Lock()
	next := *a.enc
	leaving, closed := a.bookOf(ledger.Book{Practice: next.State().Practice})
	a.mu.Unlock()
	was := next.State()
	steps, err := f(&next)
	if err != nil {
		return nil, err
	}
	if closed != nil {
		return nil, closed
	}
	is := next.State()
	if is.ID != was.ID && next.IsOpen() {
		if err := a.keep(is.Kept); err != nil {
			return nil, err
		}
	}
	var bodies []capture.Body
	for _, s := range steps {
		b := capture.Body{Kind: capture.Event, Encounter: s.Encounter, Practice: s.Practice, Event: s.Event, Binding: s.Binding}
		if s.Binding != nil {
			b.Kind = capture.Binding
		}
		saved, err := a.store(ctx, &b)
		if err != nil {
			if is.ID != was.ID {
				err = errors.Join(err, a.keep(was.Kept))
			}
			return out, err
		}
		out, bodies = append(out, saved), append(bodies, b)
	}
	a.mu.Lock()
	a.enc = &next
	if is.ID != was.ID {
		a.items = nil
		a.review.wipe()
		a.waves.wipe() // what was drawn before is somebody else's
		a.sup.Forget() // and so is what was measured
		a.notices = slices.DeleteFunc(a.notices, func(n link.Notice) bool { return n.Code == nameAlert })
		a.encEnd()
		a.encCtx, a.encEnd = context.WithCancel(context.Background())
	}
	for i, s := range out {
		a.list(s, bodies[i])
	}
	a.mu.Unlock()
	if is.ID != was.ID && was.ID != (ledger.ID{}) {
		a.letGo(context.WithoutCancel(ctx)) // before anything can be started for the next patient
		a.sup.Forget()                      // a result that came meanwhile is nobody's
	}
	if is.ID != was.ID && was.ID != (ledger.ID{}) { // its key can't open anything from now on
		leaving.forget(was.ID)
		select {
		case a.ended <- struct{}{}:
		default:
		}
	}
	if is.Patient != nil && (was.Patient == nil || !capture.Same(*is.Patient, *was.Patient)) {
		a.alertNames(*is.Patient)
	}
	a.consult.nudge()
	a.change()
	if is.ID != was.ID && !next.IsOpen() {
		return out, a.keep(capture.Kept{})
	}
	return out, nil
}

// keep writes down that an encounter is open, and which; never whose.
func (a *Agent) keep(k capture.Kept) error {
	path := filepath.Join(a.set.State, "encounter.json")
	if k.ID == (ledger.ID{}) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("agent: %w", err)
		}
		return kit.SyncDir(a.set.State)
	}
	b, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return kit.WriteFile(path, b, 0o600)
}

// restore continues the encounter that was open when the agent last ran.
func (a *Agent) restore() error {
	b, err := os.ReadFile(filepath.Join(a.set.State, "encounter.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var k capture.Kept
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	a.enc = capture.Continue(k)
	return nil
}

// nameAlert is the notice of a patient who could be mistaken for this one. It ends with the encounter.
const nameAlert = "name-alert"

// alertNames tells of today's patients who could be mistaken for this one.
func (a *Agent) alertNames(p capture.Patient) {
	a.mu.Lock()
	like := capture.NameAlert(p, a.today)
	seen := slices.ContainsFunc(a.today, func(t capture.Patient) bool { return capture.Same(t, p) })
	if !seen {
		a.today = append(a.today, p)
	}
	a.mu.Unlock()
	for _, l := range like {
		a.notice(nameAlert, map[string]string{"name": l.Name, "birth_date": l.BirthDate, "id": l.ID})
	}
}

// told takes a notice of the hub. A name alert counts for the encounter that it is about, and is not said twice.
func (a *Agent) told(n link.Notice) {
	if n.Code != nameAlert {
		a.notice(n.Code, n.With)
	} else if n.With["encounter"] == a.encounterID().String() {
		a.notice(nameAlert, map[string]string{"name": n.With["name"], "birth_date": n.With["birth_date"], "id": n.With["id"]})
	}
}

func (a *Agent) notice(code string, with map[string]string) {
	a.mu.Lock()
	if slices.ContainsFunc(a.notices, func(n link.Notice) bool { return n.Code == code && maps.Equal(n.With, with) }) {
		a.mu.Unlock()
		return
	}
	a.noticeSeq++
	a.notices = append(a.notices, link.Notice{ID: "cart-" + strconv.Itoa(a.noticeSeq), Code: code, With: with})
	if len(a.notices) > 20 {
		a.notices = a.notices[1:]
	}
	a.mu.Unlock()
	a.change()
}

// withdraw takes back what is no longer so.
func (a *Agent) withdraw(codes ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notices = slices.DeleteFunc(a.notices, func(n link.Notice) bool { return slices.Contains(codes, n.Code) })
}

// body begins an item of the open encounter.
func (a *Agent) body(k capture.Kind) (capture.Body, context.Context, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.enc.Ready(); err != nil {
		return capture.Body{}, nil, err
	}
	s := a.enc.State()
	return capture.Body{Kind: k, Encounter: s.ID, Practice: s.Practice}, a.encCtx, nil
}

// within ends with ctx and with the encounter.
func within(ctx, encounter context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(encounter, cancel)
	return ctx, func() { stop(); cancel() }
}

// correct says that an earlier item was wrong.
func (a *Agent) correct(ctx context.Context, c capture.CorrectionInfo) (Saved, error) {
	if !slices.Contains([]string{capture.WrongPatient, capture.WrongSide, capture.EnteredInError}, c.Reason) {
		return Saved{}, fmt.Errorf("%w: a correction's reason is wrong-patient, wrong-side or entered-in-error", errArgument)
	}
	b, _, err := a.body(capture.Correction)
	if err != nil {
		return Saved{}, err
	}
	a.mu.Lock()
	there, standing := false, false
	for _, it := range a.items {
		there = there || it.ID == c.Item
		if it.Kind == capture.Binding {
			standing = it.ID == c.Item // the newest binding is the one that counts
		}
	}
	a.mu.Unlock()
	if !there {
		return Saved{}, fmt.Errorf("%w: that item is not of this encounter since the agent started", errArgument)
	}
	b.Correction = &c
	s, err := a.save(ctx, b)
	if err != nil {
		return Saved{}, err
	}
	a.mu.Lock()
	for i := range a.items {
		if it := &a.items[i]; it.ID == c.Item {
			it.Corrected = c.Reason
			if c.Reason == capture.WrongSide {
				it.Side = c.Side
			}
		}
	}
	a.mu.Unlock()
	a.change()
	if standing {
		_, err = a.step(ctx, (*capture.Encounter).Unbind) // that name must not stay on the screen
	}
	return s, err
}

func (a *Agent) identity(instrument string) *device.Identity {
	for _, s := range a.sup.Snapshot() {
		if s.Name == instrument {
			return &s.Identity
		}
	}
	return nil
}

// diskPercent is how much of the state folder's disk is used.
func (a *Agent) diskPercent() int { return a.disk(a.set.State) }
