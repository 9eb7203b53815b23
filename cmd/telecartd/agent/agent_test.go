package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/cmd/ui"
	"telecart/uplink/link"
	"telecart/uplink/outbox"
	"telecart/uplink/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	scanA = `{"code":"MRN-0001|Planted Alpha|1971-03-04"}`
	scanB = `{"code":"MRN-0002|Planted Beta|1982-05-06"}`
)

func TestNothingBeforeEnrolment(t *testing.T) {
	r := newRig(t)
	a := r.start()
	for verb, args := range map[string]string{"open": `{}`, "scan": scanA, "bind": `{"patient":{"name":"Planted Alpha","birth_date":"1971-03-04"}}`} {
		r.refused(verb, args, "not-enrolled")
	}
	r.refused("note", `{"text":"x"}`, "no-encounter")
	if s := a.state(); s.Encounter != nil || s.Link.State != "not-enrolled" || s.Held != 0 || a.Ready() == nil || len(a.Health()) == 0 {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "encounter.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("an encounter that never opened is on the disk")
	}
	// The claim works while it runs, and the next start can capture without ever having reached the hub's link.
	r.do("claim", fmt.Sprintf(`{"code":%q}`, r.claim))
	r.until("enrolled", func(s State) bool { return s.Link.State == "down" && s.Cart == "cart-1" })
	r.seed()
	r.start()
	r.do("open", `{}`)
	r.refused("claim", `{"code":"TC1-nonsense"}`, "claim-code")
}

func TestVisit(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.start()
	r.refused("still", `{"instrument":"room camera"}`, "no-encounter")
	r.refused("close", `{}`, "no-encounter")
	r.refused("scan", `{"code":"5901234123457"}`, "not-a-wristband")
	r.do("open", `{}`)
	r.refused("open", `{}`, "encounter-open")
	still := r.do("still", `{"instrument":"room camera","site":"forearm","side":"left"}`)[0]
	b := r.body(0, still.Item)
	media, data, ok := a.Review(still.Item)
	if !ok || media != "image/jpeg" || !bytes.Equal(data, b.Blob) || !bytes.HasPrefix(b.Blob, []byte{0xff, 0xd8}) || b.Side != "left" || b.By != "nurse" {
		t.Errorf("%s %d bytes, %q", media, len(data), b.Side)
	}
	if got := r.do("scan", scanA); len(got) != 1 || got[0].Kind != capture.Binding || r.body(0, got[0].Item).Binding.Patient.ID != "MRN-0001" {
		t.Errorf("%+v", got)
	}
	if s := a.state(); s.Patient == nil || s.Patient.ID != "MRN-0001" || !s.Encounter.Bound || s.Encounter.Restored || s.Patient.Source != capture.FromWristband {
		t.Error("the banner")
	}
	r.until("oximeter", func(s State) bool {
		return slices.ContainsFunc(s.Instrument, func(i ui.Instrument) bool {
			return i.Name == "oximeter" && slices.ContainsFunc(i.Readings, func(r ui.Reading) bool { return r.Text != "" && !r.Stale })
		})
	})
	for _, x := range r.do("reading", `{"instrument":"oximeter","site":"finger"}`) {
		if b := r.body(0, x.Item); b.Reading == nil || b.Reading.Site != "finger" || b.Reading.Side != "" || !b.Reading.Instrument.Twin {
			t.Errorf("%s: side and site come from the nurse alone", b.Kind)
		}
	}
	wave := r.do("waveform", `{"instrument":"oximeter","seconds":1}`)[0]
	if b := r.body(0, wave.Item); b.Waveform.Count*4 != len(b.Blob) || b.Waveform.Count != int(b.Waveform.RateHz) {
		t.Errorf("%+v, %d bytes", b.Waveform, len(b.Blob))
	}
	clip := r.do("clip", `{"instrument":"room camera","seconds":1}`)[0]
	if b := r.body(0, clip.Item); string(b.Blob[:4]) != "RIFF" || len(b.Media.FrameMS) < 2 || b.Media.DurationMS < 500 {
		t.Errorf("%+v", b.Media)
	}
	r.refused("clip", `{"instrument":"room camera","seconds":11}`, "bad-argument")
	r.refused("clip", `{"instrument":"oximeter","seconds":1}`, "instrument-gone")
	r.refused("still", `{"instrument":"nothing"}`, "instrument-gone")
	r.refused("waveform", `{"instrument":"room camera","seconds":0}`, "bad-argument")
	r.refused("note", `{"text":""}`, "bad-argument")
	r.refused("note", fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", maxNote+1)), "bad-argument")
	r.refused("dance", `{}`, "no-such-command")
	r.refused("note", `{"text":7}`, "bad-argument")
	r.refused("call", `{}`, "no-link")
	r.refused("answer", `{"answer":"accept"}`, "no-consult")

	// Corrections are items; the screen follows once they are saved.
	r.refused("correct", fmt.Sprintf(`{"item":%q,"reason":"because"}`, still.Item), "bad-argument")
	r.refused("correct", fmt.Sprintf(`{"item":%q,"reason":"wrong-side"}`, ledger.Hash{1}), "bad-argument")
	fix := r.do("correct", fmt.Sprintf(`{"item":%q,"reason":"wrong-side","side":"right"}`, still.Item))[0]
	if c := r.body(0, fix.Item).Correction; c.Item != still.Item || c.Side != "right" {
		t.Errorf("corrected %s to %s", c.Item, c.Side)
	}
	if b := r.body(0, still.Item); b.Side != "left" {
		t.Error("the item itself was edited")
	}
	for _, it := range a.state().Items {
		if it.ID == still.Item && (it.Corrected != "wrong-side" || it.Side != "right") {
			t.Errorf("the list says %s %s", it.Corrected, it.Side)
		}
	}

	// Another wristband: nothing is captured until the nurse decides.
	r.do("scan", scanB)
	if s := a.state(); s.Alert == nil || s.Alert.Current.ID != "MRN-0001" || s.Alert.Scanned.ID != "MRN-0002" || s.Patient.ID != "MRN-0001" {
		t.Error("no alert")
	}
	for verb, args := range map[string]string{"still": `{"instrument":"room camera"}`, "note": `{"text":"x"}`, "close": `{}`, "scan": scanB} {
		r.refused(verb, args, "different-wristband")
	}
	r.refused("resolve-alert", `{}`, "bad-argument")
	first := a.state().Encounter.ID
	steps := r.do("resolve-alert", `{"action":"close"}`)
	if len(steps) != 3 || r.body(0, steps[0].Item).Event.What != "closed" || r.body(0, steps[0].Item).Encounter != first || r.body(0, steps[2].Item).Encounter == first {
		t.Errorf("%d steps", len(steps))
	}
	s := a.state()
	if s.Alert != nil || s.Patient.ID != "MRN-0002" || s.Encounter.ID == first || len(s.Items) != 2 {
		t.Errorf("%d items are listed for the new encounter", len(s.Items))
	}
	if _, _, ok := a.Review(still.Item); ok {
		t.Error("pictures of the patient before are still shown")
	}
	if _, ok := a.waves.tail("oximeter", 1, a.stamp.Now()); ok {
		t.Error("the pulse of the patient before can be saved for this one")
	}
	r.do("close", `{}`)
	if s := a.state(); s.Encounter != nil || s.Patient != nil || len(s.Items) != 0 {
		t.Error("something is left of a closed encounter")
	}
	if b := a.books[0]; b.key != nil {
		t.Error("the data key is left of a closed encounter")
	}
	if _, err := a.store(t.Context(), &capture.Body{Kind: capture.Note, Encounter: s.Encounter.ID, Note: &capture.NoteInfo{Text: "late"}}); !errors.Is(err, seal.ErrClosed) {
		t.Errorf("a late item of the closed encounter: %v", err)
	}
}

func TestPractice(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.start()
	opened := r.do("open", `{"practice":true}`)
	r.refused("scan", scanA, "practice")
	note := r.do("note", `{"text":"only trying"}`)
	if !r.body(1, opened[0].Item).Practice || r.body(1, note[0].Item).Note.Text != "only trying" || !a.state().Practice {
		t.Error("not practice")
	}
	if a.boxes()[0].Stats().Held != 0 || a.boxes()[1].Stats().Held != 2 {
		t.Error("practice is in the book of care")
	}
}

func TestNameAlertEndsWithTheEncounter(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.start()
	a.receive(link.Message{Desired: &link.Desired{Today: []capture.Patient{{ID: "MRN-0007", Name: "Planted Alphas", BirthDate: "1999-01-01"}}}})
	r.do("scan", scanA)
	s := r.until("alert", func(s State) bool { return len(s.Notices) == 1 })
	if s.Notices[0].Code != "name-alert" || s.Notices[0].With["id"] != "MRN-0007" {
		t.Error("another alert")
	}
	r.do("close", `{}`)
	if len(a.state().Notices) != 0 {
		t.Error("the next patient reads the name of the last one's double")
	}
	a.notice("encounter-split", nil)
	r.do("dismiss", fmt.Sprintf(`{"notice":%q}`, a.state().Notices[0].ID))
	if len(a.state().Notices) != 0 {
		t.Error("not dismissed")
	}
}

// Restart after restart: the encounter goes on, counts stay, names are gone.
func TestRestart(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.start()
	r.do("scan", scanA)
	r.do("note", `{"text":"Planted Note"}`)
	r.do("still", `{"instrument":"room camera"}`)
	before := a.state()
	a = r.start()
	s := r.until("old items", func(s State) bool { return s.Held == before.Held })
	if s.Encounter == nil || s.Encounter.ID != before.Encounter.ID || !s.Encounter.Restored || s.Encounter.Bound || s.Patient != nil || len(s.Items) != 0 ||
		!reflect.DeepEqual(s.HeldByKind, before.HeldByKind) {
		t.Errorf("%v and %v", s.HeldByKind, before.HeldByKind)
	}
	// The hub knows whose encounter it is; a word about another one is not for us.
	hub := func(of ledger.ID, p capture.Patient) {
		a.receive(link.Message{Desired: &link.Desired{Patient: &link.PatientOf{Encounter: of, Patient: p}}})
	}
	alpha, beta := capture.Patient{ID: "MRN-0001", Name: "Planted Alpha", BirthDate: "1971-03-04"}, capture.Patient{ID: "MRN-0002", Name: "Planted Beta", BirthDate: "1982-05-06"}
	hub(ledger.ID{9}, beta)
	hub(before.Encounter.ID, alpha)
	s = r.until("banner", func(s State) bool { return s.Patient != nil })
	if s.Patient.ID != "MRN-0001" || s.Patient.Source != capture.FromHub || a.presence().Encounter.Bound {
		t.Error("the hub's word is not a binding")
	}
	if got := r.do("scan", scanA); len(got) != 1 || a.state().Patient.Source != capture.FromWristband {
		t.Error("the rescan is not recorded")
	}

	// Restart; another patient is scanned before the hub is heard: the encounter is split.
	a = r.start()
	r.do("scan", scanB)
	note := r.do("note", `{"text":"Planted Note of Beta"}`)[0]
	hub(before.Encounter.ID, alpha)
	s = r.until("split", func(s State) bool { return s.Encounter.ID != before.Encounter.ID })
	if s.Patient == nil || s.Patient.ID != "MRN-0002" || len(s.Items) != 2 {
		t.Errorf("%d items", len(s.Items))
	}
	event, binding := r.body(0, s.Items[1].ID), r.body(0, s.Items[0].ID)
	if event.Event.What != "split" || *event.Event.From != before.Encounter.ID || *event.Event.Since != a.run || binding.Binding.Patient.ID != "MRN-0002" ||
		binding.Encounter != s.Encounter.ID || r.body(0, note.Item).Encounter != before.Encounter.ID {
		t.Error("the split does not say what belongs to whom")
	}
	r.until("told", func(s State) bool {
		return slices.ContainsFunc(s.Notices, func(n link.Notice) bool { return n.Code == "encounter-split" })
	})
	a = r.start()
	if got := a.state().Encounter; got.ID != s.Encounter.ID {
		t.Error("the split was forgotten")
	}
	r.do("close", `{}`)
	held := r.until("what was held is counted", func(State) bool {
		return !slices.ContainsFunc(a.boxes(), func(b *outbox.Outbox) bool { return b.Stats().Loading > 0 })
	}).Held
	r.stop()

	// Nothing on the disk and nothing in the log names anybody.
	filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, planted := range []string{"Planted", "MRN-000", "1971-03-04", "1982-05-06"} {
			if bytes.Contains(b, []byte(planted)) {
				t.Errorf("%s has %q", path, planted)
			}
		}
		return nil
	})
	for _, planted := range []string{"Planted", "MRN-000", "1971-03-04", "1982-05-06"} {
		if strings.Contains(r.log.String(), planted) {
			t.Errorf("the log has %q", planted)
		}
	}
	a = r.start()
	s = r.until("all are held", func(s State) bool { return s.Held == held })
	if s.Encounter != nil {
		t.Error("a closed encounter came back")
	}
}

func TestDisk(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.make()
	var mu sync.Mutex
	used := 0
	a.disk = func(string) int { mu.Lock(); defer mu.Unlock(); return used }
	r.run(a)
	r.do("open", `{}`)
	mu.Lock()
	used = 90
	mu.Unlock()
	r.refused("clip", `{"instrument":"room camera","seconds":1}`, "disk-full")
	r.do("still", `{"instrument":"room camera"}`)
	r.do("note", `{"text":"x"}`)
	if h := a.Health(); len(h) != 1 || !strings.Contains(h[0], "90 %") {
		t.Errorf("%q", h)
	}
	mu.Lock()
	used = 79
	mu.Unlock()
	if h := a.Health(); len(h) != 0 {
		t.Errorf("%q", h)
	}
	r.do("clip", `{"instrument":"room camera","seconds":1}`)
}

// A step that can't be saved has not happened: neither on the screen nor after a restart.
func TestStepThatFails(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.start()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // which of the two the outbox sees first is chance
		if _, err := a.Command(ended, "open", []byte(`{}`)); err == nil {
			r.do("close", `{}`)
			continue
		}
		if s := a.state(); s.Encounter != nil {
			t.Fatal("an encounter that was not saved is open")
		}
		if _, err := os.Stat(filepath.Join(r.dir, "encounter.json")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal("an encounter that was not saved is on the disk")
		}
	}
	r.do("scan", scanA)
	id := a.state().Encounter.ID
	for range 20 {
		if _, err := a.Command(ended, "close", []byte(`{}`)); err == nil {
			break
		}
		if s := a.state(); s.Encounter == nil || s.Encounter.ID != id || s.Patient == nil || len(s.Items) < 2 {
			t.Fatal("the encounter is gone")
		}
		if b, err := os.ReadFile(filepath.Join(r.dir, "encounter.json")); err != nil || !bytes.Contains(b, []byte(id.String())) {
			t.Fatalf("%s %v", b, err)
		}
	}
}

// What the nurse stopped stays stopped, whatever the hub still believes.
func TestNurseStopsConsult(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.start()
	r.do("open", `{}`)
	w := link.Consult{ID: "c-1", Encounter: a.state().Encounter.ID, By: "Dr. Who", Accepted: true}
	say := func(w *link.Consult) { a.receive(link.Message{Desired: &link.Desired{Consult: w}}) }
	phase := func() string {
		if c := a.state().Consult; c != nil {
			return c.Phase
		}
		return ""
	}
	say(&w)
	if phase() != "live" {
		t.Fatal(phase())
	}
	r.do("answer", `{"answer":"pause"}`) // without a link: what stops, stops here
	if phase() != "paused" {
		t.Error(phase())
	}
	say(&w)
	if phase() != "paused" {
		t.Errorf("the hub, which does not know, made a paused consult %q", phase())
	}
	r.refused("answer", `{"answer":"resume"}`, "no-link")
	say(&w)
	if phase() != "live" {
		t.Errorf("resumed, but %q", phase())
	}
	r.do("answer", `{"answer":"end"}`)
	say(&w)
	if phase() != "" {
		t.Errorf("the hub, which does not know, made an ended consult %q", phase())
	}
	w.ID = "c-2"
	say(&w)
	if phase() != "live" {
		t.Error("another consult")
	}
	r.do("close", `{}`)
	a.consult.mu.Lock()
	live := a.consult.live()
	a.consult.mu.Unlock()
	if live {
		t.Error("a consult outlives its encounter")
	}
}

// The state is the nurse's, as JSON; no log ever shows what is in it.
func TestStateIsRedacted(t *testing.T) {
	p := capture.Patient{ID: "PLANTED-1", Name: "Planted Name", BirthDate: "1999-09-09"}
	s := State{Patient: &PatientView{Patient: p}, Alert: &AlertView{"x", p, p}, Items: []Item{{Text: p.Name}},
		Notices: []link.Notice{{Code: "name-alert", With: map[string]string{"name": p.Name}}}}
	var b bytes.Buffer
	text, js := slog.New(slog.NewTextHandler(&b, nil)), slog.New(slog.NewJSONHandler(&b, nil))
	for _, v := range []any{s, &s, *s.Patient, s.Patient, *s.Alert, s.Alert, s.Items[0], args{Patient: p, Text: p.Name, Code: p.ID}, struct{ S State }{s}} {
		fmt.Fprintf(&b, "%v %+v %#v %s %q", v, v, v, v, v)
		text.Info("x", "v", v)
	}
	for _, v := range []any{s, &s, *s.Patient, *s.Alert, s.Items[0], args{Patient: p}} {
		js.Info("x", "v", v)
	}
	fmt.Fprintf(&b, "%v %+v %#v", s.Items, s.Notices, []State{s})
	for _, planted := range []string{p.ID, p.Name, p.BirthDate} {
		if strings.Contains(b.String(), planted) {
			t.Errorf("%s shows", planted)
		}
	}
}
