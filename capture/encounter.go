package capture

import (
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"telecart/capture/ledger"
)

// Encounter is the step machine of one patient's visit. It is pure: ids and time come in, Steps go out; whoever drives it
// records each step as an item before it is shown as done.
//
//	closed --open--> open, unidentified --bind--> open, bound --close--> closed
//	open, bound --scan of another wristband--> alert (both names): keep (rescan) or close (and open for the other one)
//	open --restart of the agent--> open, restored (patient unknown here): the hub or a rescan brings the patient back
//	open, restored, bound here to another patient than the hub says --> split: a new encounter from the restart on
type Encounter struct {
	state EncounterState
}

// EncounterState is what the machine knows. Only Kept goes to the cart's disk: never who the patient is.
type EncounterState struct {
	Kept
	Patient  *Patient
	Source   Source
	Restored bool   // continued after a restart
	Alert    *Alert // stops everything that would file something under the wrong name
	Unbound  bool   // the binding was corrected: the hub's older word does not bring that patient back
}

// Kept is the part of an open encounter that survives a restart.
type Kept struct {
	ID       ledger.ID `json:"id"`
	Opened   time.Time `json:"opened"`
	Practice bool      `json:"practice"`
}

// Source is how the patient became known.
type Source string

const (
	FromWristband   Source = "wristband"
	FromIdentifiers Source = "two-identifiers"
	FromHub         Source = "hub"
)

// Alert is a different wristband during an encounter.
type Alert struct {
	Current, Scanned Patient
	By               Source // how Scanned became known
}

// Step is something to be recorded, in order.
type Step struct {
	Encounter ledger.ID
	Practice  bool
	Event     *EventInfo
	Binding   *BindingInfo
}

var (
	ErrNoEncounter = errors.New("capture: no encounter is open: open one, or scan the wristband")
	ErrOpen        = errors.New("capture: an encounter is open: close it first")
	ErrAlert       = errors.New("capture: a different wristband was scanned: rescan or close")
	ErrNoAlert     = errors.New("capture: there is nothing to decide")
	ErrDecision    = errors.New("capture: the alert is decided by keep or close")
	ErrPatient     = errors.New("capture: a patient needs a wristband number, or a name and a birth date written 2006-01-02")
	ErrWristband   = errors.New("capture: that code is no wristband of this site: scan the one on the patient's wrist again, or enter name and birth date")
	ErrPractice    = errors.New("capture: a patient is not bound to practice")
)

// Continue begins with an encounter that was open when the agent last ran.
func Continue(k Kept) *Encounter {
	return &Encounter{EncounterState{Kept: k, Restored: true}}
}

// State is what the machine knows now.
func (e *Encounter) State() EncounterState { return e.state }

// IsOpen says whether an encounter is open.
func (e *Encounter) IsOpen() bool { return e.state.ID != ledger.ID{} }

// Open begins an encounter, care or practice.
func (e *Encounter) Open(id ledger.ID, now time.Time, practice bool) ([]Step, error) {
	if e.IsOpen() {
		return nil, ErrOpen
	}
	e.state = EncounterState{Kept: Kept{ID: id, Opened: now, Practice: practice}}
	return []Step{e.event("opened")}, nil
}

func (e *Encounter) event(what string) Step {
	return Step{Encounter: e.state.ID, Practice: e.state.Practice, Event: &EventInfo{What: what}}
}

// Bind says who the patient is. A wristband may be scanned at any time; a different one than before raises the alert.
func (e *Encounter) Bind(p Patient, by Source) ([]Step, error) {
	s := &e.state
	switch {
	case !p.valid():
		return nil, ErrPatient
	case !e.IsOpen():
		return nil, ErrNoEncounter
	case s.Practice:
		return nil, ErrPractice
	case s.Alert != nil && !Same(p, s.Alert.Current):
		return nil, ErrAlert
	case s.Alert != nil: // the rescan showed the patient that was bound
		s.Alert = nil
		return nil, nil
	case s.Patient != nil && Same(*s.Patient, p) && s.Source != FromHub:
		return nil, nil
	case s.Patient != nil && !Same(*s.Patient, p):
		s.Alert = &Alert{*s.Patient, p, by}
		return nil, nil
	}
	if s.Patient != nil { // confirms what the hub said; keep the fuller record
		p = fuller(p, *s.Patient)
	}
	s.Patient, s.Source, s.Unbound = &p, by, false
	return []Step{{Encounter: s.ID, Binding: &BindingInfo{Patient: p, Method: string(by)}}}, nil
}

// Unbind forgets the patient: the binding was corrected. The encounter is unidentified until the next scan.
func (e *Encounter) Unbind() ([]Step, error) {
	if err := e.Ready(); err != nil {
		return nil, err
	}
	e.state.Patient, e.state.Source, e.state.Unbound = nil, "", true
	return nil, nil
}

// Resolve ends the alert: keep goes on with the present patient; otherwise the encounter is closed and another one opened
// for the patient that was scanned.
func (e *Encounter) Resolve(action AlertAction, id ledger.ID, now time.Time) ([]Step, error) {
	a := e.state.Alert
	switch {
	case a == nil:
		return nil, ErrNoAlert
	case action != KeepPatient && action != CloseEncounter: // closing by a misunderstanding would change the patient
		return nil, ErrDecision
	}
	e.state.Alert = nil
	if action == KeepPatient {
		return nil, nil
	}
	steps, err := e.Close()
	if err != nil {
		return nil, err
	}
	opened, err := e.Open(id, now, false)
	if err != nil {
		return nil, err
	}
	bound, err := e.Bind(a.Scanned, a.By)
	return append(append(steps, opened...), bound...), err
}

// AlertAction is the nurse's decision.
type AlertAction string

const (
	KeepPatient    AlertAction = "keep"
	CloseEncounter AlertAction = "close"
)

// Close ends the encounter.
func (e *Encounter) Close() ([]Step, error) {
	switch {
	case !e.IsOpen():
		return nil, ErrNoEncounter
	case e.state.Alert != nil:
		return nil, ErrAlert
	}
	s := e.event("closed")
	e.state = EncounterState{}
	return []Step{s}, nil
}

// HubSays takes the patient that the hub has for an encounter. After a restart it brings the banner back. If another
// patient was bound here since the restart, what was captured since belongs to that one: the encounter is split at the
// restart (run), and goes on under the new id; an alert goes with it. A patient who is known from the hub alone changes with
// the hub.
func (e *Encounter) HubSays(of ledger.ID, p Patient, id, run ledger.ID, now time.Time) (steps []Step, split bool) {
	s := &e.state
	switch {
	case !e.IsOpen() || s.ID != of || s.Practice || !p.valid():
		return nil, false
	case s.Patient == nil && s.Unbound:
		return nil, false
	case s.Patient == nil:
		s.Patient, s.Source = &p, FromHub
		return nil, false
	case Same(*s.Patient, p):
		both := fuller(*s.Patient, p) // a new one: copies of the state share the old
		s.Patient = &both
		return nil, false
	case s.Source == FromHub: // corrected there
		s.Patient = &p
		if s.Alert != nil {
			s.Alert = &Alert{p, s.Alert.Scanned, s.Alert.By}
			if Same(p, s.Alert.Scanned) {
				s.Alert = nil
			}
		}
		return nil, false
	case !s.Restored:
		return nil, false
	}
	mine, old := *s.Patient, s.ID
	e.state = EncounterState{Kept: Kept{ID: id, Opened: now}, Patient: &mine, Source: s.Source, Alert: s.Alert}
	return []Step{
		{Encounter: id, Event: &EventInfo{What: "split", From: &old, Since: &run}},
		{Encounter: id, Binding: &BindingInfo{Patient: mine, Method: string(e.state.Source)}},
	}, true
}

// Ready says whether something may be captured now.
func (e *Encounter) Ready() error {
	switch {
	case !e.IsOpen():
		return ErrNoEncounter
	case e.state.Alert != nil:
		return ErrAlert
	}
	return nil
}

// Same says whether two descriptions mean one patient: the wristband's number decides where both have one.
func Same(a, b Patient) bool {
	if a.ID != "" && b.ID != "" {
		return a.ID == b.ID
	}
	x, y := fold(a.Name), fold(b.Name)
	if x == "" || y == "" { // nothing to compare: "?" is not everybody
		x, y = a.Name, b.Name
	}
	return a.BirthDate == b.BirthDate && x == y
}

const (
	maxPatientID = 64 // bytes; what people type may be longer than what wristbands hold
	maxName      = 120
)

// valid says whether the description can tell one patient from another.
func (p Patient) valid() bool {
	if p.BirthDate != "" {
		if _, err := time.Parse(time.DateOnly, p.BirthDate); err != nil {
			return false
		}
	}
	return (p.ID != "" || p.Name != "" && p.BirthDate != "") && plain(p.ID, maxPatientID) && plain(p.Name, maxName)
}

// plain says whether s is text of at most n bytes without control characters.
func plain(s string, n int) bool {
	return len(s) <= n && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// fuller fills what a lacks from b.
func fuller(a, b Patient) Patient {
	if a.ID == "" {
		a.ID = b.ID
	}
	if a.Name == "" {
		a.Name = b.Name
	}
	if a.BirthDate == "" {
		a.BirthDate = b.BirthDate
	}
	return a
}

// DefaultWristband is the format of a wristband's number where a site states no other. Its fixed length in front shows a code
// that lost its beginning: half a number must never pass for somebody else's.
const DefaultWristband = `[A-Z]{3}-[0-9]{4,12}`

// ParseWristband reads what a scanner read: NUMBER, or NUMBER|NAME|BIRTH DATE, nothing less and nothing more. The whole
// number must be of the site's format. Package code knows GS1 and check digits.
func ParseWristband(code string, format *regexp.Regexp) (Patient, error) {
	parts := strings.Split(strings.TrimSpace(code), "|")
	p := Patient{ID: parts[0]}
	if len(parts) == 3 {
		p.Name, p.BirthDate = strings.TrimSpace(parts[1]), strings.TrimSpace(parts[2])
	}
	whole := format.FindString(p.ID) == p.ID && p.ID != ""
	if !whole || len(p.ID) > 64 || len(parts) != 1 && (len(parts) != 3 || p.Name == "" || p.BirthDate == "") || !p.valid() {
		return Patient{}, ErrWristband
	}
	return p, nil
}
