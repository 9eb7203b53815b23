package agent

import (
	"encoding/json"
	"slices"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/cmd/ui"
	"telecart/device"
	"telecart/device/supervisor"
	"telecart/uplink/link"
	"telecart/uplink/seal/erase"
	"telecart/uplink/steer"
)

// State is what the bedside page shows, whole (cmd/ui/api.ts: BedsideState).
type State struct {
	Now        time.Time            `json:"now"`
	Cart       string               `json:"cart"`
	Hub        string               `json:"hub"`
	Version    string               `json:"version"`
	Practice   bool                 `json:"practice"`
	Encounter  *EncounterView       `json:"encounter,omitempty"`
	Patient    *PatientView         `json:"patient,omitempty"`
	Alert      *AlertView           `json:"alert,omitempty"`
	Link       LinkView             `json:"link"`
	Held       int                  `json:"held"`
	HeldByKind map[capture.Kind]int `json:"held_by_kind"`
	Sent       int                  `json:"sent"`
	LastSent   *time.Time           `json:"last_sent,omitempty"`
	Refused    int                  `json:"refused"`
	Damaged    int                  `json:"damaged"`
	Damage     *link.Damage         `json:"damage,omitempty"`
	Disk       int                  `json:"disk_percent"`
	Battery    *int                 `json:"battery_min,omitempty"`
	Charge     *int                 `json:"battery_percent,omitempty"`
	Instrument []ui.Instrument      `json:"instruments"`
	Items      []Item               `json:"items"`
	Consult    *ConsultView         `json:"consult,omitempty"`
	Leases     []steer.Lease        `json:"leases"`
	Notices    []link.Notice        `json:"notices"`
}

type EncounterView struct {
	ID       ledger.ID `json:"id"`
	Opened   time.Time `json:"opened"`
	Bound    bool      `json:"bound"`
	Restored bool      `json:"restored"`
}

type PatientView struct {
	capture.Patient
	Age    *int           `json:"age,omitempty"`
	Source capture.Source `json:"source"`
}

type AlertView struct {
	Code    string          `json:"code"`
	Current capture.Patient `json:"current"`
	Scanned capture.Patient `json:"scanned"`
}

type LinkView struct {
	State  string    `json:"state"` // up, down, not-enrolled
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"`
}

type ConsultView struct {
	ID       string     `json:"id"`
	By       string     `json:"by"`
	Phase    string     `json:"phase"`
	Since    time.Time  `json:"since"`
	Watchers []string   `json:"watchers"`
	Voice    *VoiceView `json:"voice,omitempty"` // while it is live
	Faces    []FaceView `json:"faces"`
	Error    string     `json:"error,omitempty"`

	Ladder *link.LadderState `json:"ladder,omitempty"`
}

// Item is one item of the open encounter that was captured in this run.
type Item struct {
	ID         ledger.Hash   `json:"id"`
	Kind       capture.Kind  `json:"kind"`
	At         time.Time     `json:"at"`
	Instrument string        `json:"instrument,omitempty"`
	Twin       bool          `json:"twin,omitempty"`
	Grade      device.Grade  `json:"grade,omitempty"`
	Method     device.Method `json:"method,omitempty"`
	Quantity   string        `json:"quantity,omitempty"`
	Text       string        `json:"text,omitempty"`
	Unit       string        `json:"unit,omitempty"`
	Site       string        `json:"site,omitempty"`
	Side       string        `json:"side,omitempty"`
	Sent       bool          `json:"sent"`
	Refused    bool          `json:"refused,omitempty"`
	Review     bool          `json:"review"`
	Corrected  string        `json:"corrected,omitempty"`
	practice   bool
}

func newItem(h ledger.Hash, b capture.Body) Item {
	it := Item{ID: h, Kind: b.Kind, At: b.At.Wall, Site: b.Site, Side: b.Side, practice: b.Practice}
	if b.Instrument != nil {
		it.Instrument, it.Twin, it.Grade = b.Instrument.Name, b.Instrument.Twin, b.Instrument.Grade
	}
	if r := b.Reading; r != nil {
		it.Quantity, it.Text, it.Unit, it.Method = r.Quantity, r.Value.String(), r.Unit, r.Method
	}
	if b.Note != nil {
		it.Text = b.Note.Text
	}
	return it
}

// State gives the present state as the page takes it. The caller owns it, and overwrites it after use.
func (a *Agent) State() (out json.RawMessage, err error) {
	erase.Do(func() { out, err = json.Marshal(a.state()) })
	return out, err
}

func (a *Agent) state() State {
	s := State{Now: a.clock.Now().UTC(), Version: a.version, Disk: a.diskPercent(), Held: 0, HeldByKind: map[capture.Kind]int{},
		Items: []Item{}, Notices: []link.Notice{}, Instrument: []ui.Instrument{}}
	all := a.sup.Snapshot()
	s.Battery, s.Charge = battery(all)
	for _, i := range a.instruments(all) {
		s.Instrument = append(s.Instrument, ui.ShowInstrument(i))
	}
	if s.Damage = a.damage(); s.Damage != nil {
		s.Damaged = len(s.Damage.Items) + s.Damage.More
	}
	s.Consult, s.Leases = a.consult.view()
	me, err := a.id.Identity()
	switch {
	case err != nil:
		s.Link = LinkView{State: "not-enrolled", Since: a.started}
	default:
		s.Cart, s.Hub = me.Cart, me.HubName
		st := a.currentLink().Status()
		s.Link = LinkView{State: "down", Since: st.Since, Reason: st.Reason}
		if st.Up {
			s.Link.State = "up"
		}
	}
	boxes := a.boxes()
	for _, b := range boxes {
		st := b.Stats()
		s.Held += st.Held
		s.Sent += st.Receipted
		s.Refused += st.Refused
		for k, n := range st.HeldByKind {
			s.HeldByKind[k] += n
		}
		if t := b.LastReceipt(); !t.IsZero() && (s.LastSent == nil || t.After(*s.LastSent)) {
			s.LastSent = &t
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.enc.State()
	s.Practice = e.Practice
	if a.enc.IsOpen() {
		s.Encounter = &EncounterView{e.ID, e.Opened, e.Patient != nil, e.Restored}
	}
	if e.Patient != nil {
		s.Patient = &PatientView{Patient: *e.Patient, Source: e.Source}
		if age := e.Patient.Age(s.Now); age >= 0 {
			s.Patient.Age = &age
		}
	}
	if e.Alert != nil {
		s.Alert = &AlertView{"different-wristband", e.Alert.Current, e.Alert.Scanned}
	}
	for _, it := range slices.Backward(a.items) {
		box := 0
		if it.practice {
			box = 1
		}
		if box < len(boxes) {
			it.Sent, it.Refused = boxes[box].Sent(it.ID)
		}
		_, it.Review = a.review.blobs[it.ID]
		s.Items = append(s.Items, it)
	}
	s.Notices = append(s.Notices, a.notices...)
	return s
}

// instruments is how every instrument is now.
func (a *Agent) instruments(all []supervisor.Status) []link.Instrument {
	out := []link.Instrument{}
	for _, s := range all {
		i := link.Instrument{Name: s.Name, Kind: s.Kind, Health: s.Health, Since: s.Since, Grade: s.Identity.Grade, Modes: s.Modes, Twin: s.Identity.Twin, Axes: a.consult.axes(s.Name),
			Readings: []link.ReadingState{}}
		for _, r := range s.Readings {
			i.Readings = append(i.Readings, link.ReadingState{Reading: r.Reading, Stale: r.Stale})
		}
		out = append(out, i)
	}
	return out
}

// presence is what the hub is told. It names no patient.
func (a *Agent) presence() link.Presence {
	all := a.sup.Snapshot()
	p := link.Presence{DiskPercent: a.diskPercent(), Instruments: a.instruments(all)}
	p.BatteryMin, _ = battery(all)
	for _, b := range a.boxes() {
		st := b.Stats()
		p.Held += st.Held
		p.Sent += st.Receipted
	}
	p.Damage = a.damage()
	p.Consult, p.Leases = a.consult.presence()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.enc.IsOpen() {
		e := a.enc.State()
		p.Encounter = &link.Encounter{ID: e.ID, Opened: e.Opened, Bound: e.Patient != nil && e.Source != capture.FromHub}
		p.Practice = e.Practice
	}
	return p
}

// Review gives an item of this encounter back, from memory.
func (a *Agent) Review(h ledger.Hash) (media string, data []byte, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.review.blobs[h]
	return b.Type, slices.Clone(b.Bytes), ok
}

// Camera finds a camera for the page's picture.
func (a *Agent) Camera(name string) (device.Camera, bool) { return a.sup.Camera(name) }

// Samples gives the waveforms as they come, until the function is called.
func (a *Agent) Samples() (<-chan device.Samples, func()) { return a.waves.join() }

// Microphone finds a stethoscope for the page's ear.
func (a *Agent) Microphone(name string) (device.Microphone, bool) { return a.sup.Microphone(name) }
