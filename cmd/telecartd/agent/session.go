package agent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/link"
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
	plain, err := b.Marshal()
	if err != nil {
		return Saved{}, err
	}
	defer clear(plain)
	a.mu.Lock()
	if len(a.books) == 0 {
		a.mu.Unlock()
		return Saved{}, errNoKeys
	}
	book := a.books[0]
	if b.Practice {
		book = a.books[1]
	}
	a.mu.Unlock()
	urgency := wire.Routine
	switch b.Kind {
	case capture.Binding, capture.Correction, capture.Event, capture.Reading:
		urgency = wire.Urgent // small, and what everything else hangs on
	}
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
	next, books := *a.enc, a.books
	a.mu.Unlock()
	was := next.State()
	steps, err := f(&next)
	if err != nil {
		return nil, err
	}
	if len(books) == 0 {
		return nil, errNoKeys
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
	if is.ID != was.ID {
		go a.letGo(context.WithoutCancel(ctx))
	}
	if is.ID != was.ID && was.ID != (ledger.ID{}) { // its key can't open anything from now on
		b := books[0]
		if was.Practice {
			b = books[1]
		}
		b.forget(was.ID)
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

// stillWait is how long a camera may take for its first picture.
const stillWait = 5 * time.Second

// still saves the camera's own bytes of its next picture.
func (a *Agent) still(ctx context.Context, instrument, site, side, by string) (Saved, error) {
	b, enc, err := a.body(capture.Still)
	if err != nil {
		return Saved{}, err
	}
	ctx, cancel := within(ctx, enc)
	defer cancel()
	frames, err := a.frames(ctx, instrument, 1, 0)
	if err != nil {
		return Saved{}, err
	}
	f := frames[0]
	b.At, b.By, b.Site, b.Side, b.Blob = f.At, by, site, side, f.Data
	b.Media = &capture.MediaInfo{Type: "image/jpeg", Width: f.Width, Height: f.Height}
	b.Instrument = a.identity(instrument)
	return a.save(ctx, b)
}

// frames watches a camera for n pictures, or for so long.
func (a *Agent) frames(ctx context.Context, instrument string, n int, during time.Duration) ([]device.Frame, error) {
	cam, ok := a.sup.Camera(instrument)
	if !ok {
		return nil, fmt.Errorf("%w: %q is no camera", errInstrument, instrument)
	}
	v := cam.Watch()
	defer v.Close()
	ctx, cancel := context.WithTimeout(ctx, stillWait+during)
	defer cancel()
	var end <-chan time.Time
	var out []device.Frame
	size := 0
	for {
		f, err := v.Next(ctx)
		if errors.Is(err, device.ErrGone) && len(out) == 0 { // starting, or just plugged in again
			select {
			case <-a.clock.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s gives no picture: %v", errInstrument, instrument, err)
		}
		if f, err = AsJPEG(f); err != nil {
			return nil, err
		}
		out = append(out, f)
		size += len(f.Data)
		if end == nil && during > 0 {
			end = a.clock.After(during)
		}
		select {
		case <-end:
			return out, nil
		default:
		}
		if during == 0 && len(out) == n || size > maxClip || during > 0 && a.lastGasp.Load() {
			return out, nil
		}
	}
}

// maxClip bounds a clip in memory, in bytes.
const maxClip = 48 << 20

// clip saves some seconds of a camera as it gave them.
func (a *Agent) clip(ctx context.Context, instrument string, seconds int, site, side string) (Saved, error) {
	if seconds < 1 || seconds > 10 {
		return Saved{}, fmt.Errorf("%w: a clip has 1 to 10 seconds", errArgument)
	}
	if a.lastGasp.Load() {
		return Saved{}, fmt.Errorf("%w: no clip now; notes, values and pictures are still saved", errBattery)
	}
	if a.diskPercent() >= clipsUpTo {
		return Saved{}, fmt.Errorf("%w: %d %% of the disk are used; there is room for readings, notes and stills alone", errDiskFull, clipsUpTo)
	}
	b, enc, err := a.body(capture.Clip)
	if err != nil {
		return Saved{}, err
	}
	ctx, cancel := within(ctx, enc)
	defer cancel()
	frames, err := a.frames(ctx, instrument, 0, time.Duration(seconds)*time.Second)
	if err != nil {
		return Saved{}, err
	}
	jpegs, at := make([][]byte, len(frames)), make([]int64, len(frames))
	for i, f := range frames {
		jpegs[i], at[i] = f.Data, (f.At.Mono-frames[0].At.Mono)/1e6
	}
	first, last := frames[0], at[len(at)-1]
	fps := max(1, int(int64(len(frames)-1)*1000/max(1, last)))
	if b.Blob, err = capture.AVI(jpegs, first.Width, first.Height, fps); err != nil {
		return Saved{}, err
	}
	b.At, b.Site, b.Side, b.Instrument = first.At, site, side, a.identity(instrument)
	b.Media = &capture.MediaInfo{Type: "video/x-msvideo", Width: first.Width, Height: first.Height, DurationMS: last, FrameMS: at}
	return a.save(ctx, b)
}

// reading saves every present value of an instrument.
func (a *Agent) reading(ctx context.Context, instrument, site, side string) ([]Saved, error) {
	b, _, err := a.body(capture.Reading)
	if err != nil {
		return nil, err
	}
	var out []Saved
	for _, s := range a.sup.Snapshot() {
		if s.Name != instrument {
			continue
		}
		for _, r := range s.Readings {
			if r.Absent != "" || r.Stale || ofCart(r.Quantity) || r.Quantity == pressureNow {
				continue
			}
			if err := mayKeep(r.Reading, b.Practice); err != nil {
				return out, err
			}
			one, value := b, r.Reading
			value.Site, value.Side = site, side
			one.At, one.Reading, one.Site, one.Side, one.Instrument = value.At, &value, site, side, &value.Instrument
			saved, err := a.save(ctx, one)
			if err != nil {
				return out, err
			}
			out = append(out, saved)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %s shows no value at this moment", errNothing, instrument)
	}
	return out, nil
}

// waveform saves the last seconds of what an instrument drew, waiting for as much as is missing.
func (a *Agent) waveform(ctx context.Context, instrument string, seconds int, site, side string) (Saved, error) {
	if seconds < 1 || seconds > waveSeconds {
		return Saved{}, fmt.Errorf("%w: a waveform has 1 to %d seconds", errArgument, waveSeconds)
	}
	b, enc, err := a.body(capture.Waveform)
	if err != nil {
		return Saved{}, err
	}
	ctx, cancel := within(ctx, enc)
	defer cancel()
	news, leave := a.waves.join()
	defer leave()
	give := a.clock.After(time.Duration(seconds)*time.Second + 5*time.Second)
	for {
		if s, ok := a.waves.tail(instrument, seconds, a.stamp.Now()); ok {
			if s.Instrument.Grade == device.Uncalibrated && !b.Practice {
				return Saved{}, fmt.Errorf("%w: %s", errPractice, instrument)
			}
			for _, v := range s.Values {
				b.Blob = binary.LittleEndian.AppendUint32(b.Blob, uint32(v))
			}
			b.At, b.Site, b.Side, b.Instrument = s.At, site, side, &s.Instrument
			b.Waveform = &capture.WaveformInfo{Quantity: s.Quantity, Unit: s.Unit, RateHz: s.RateHz, Count: len(s.Values)}
			return a.save(ctx, b)
		}
		select {
		case <-news:
		case <-give:
			return Saved{}, fmt.Errorf("%w: %s draws no waveform of %d s", errNothing, instrument, seconds)
		case <-ctx.Done():
			return Saved{}, ctx.Err()
		}
	}
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

func diskUsed(path string) int {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil || st.Blocks == 0 {
		return 0
	}
	return int(100 - 100*st.Bavail/st.Blocks)
}
