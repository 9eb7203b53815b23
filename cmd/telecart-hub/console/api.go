package console

import (
	"encoding/json"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/cmd/ui"
	"telecart/device"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/link"
)

// The types of this file are cmd/ui/api.ts in Go; a test holds the two together.

type me struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Role   string `json:"role"`
	Tenant string `json:"tenant"`
}

type state struct {
	Now     time.Time     `json:"now"`
	Hub     string        `json:"hub"`
	Version string        `json:"version"`
	Me      me            `json:"me"`
	Carts   []cart        `json:"carts"`
	Notices []link.Notice `json:"notices"`
}

type cart struct {
	Cart        string          `json:"cart"`
	Site        string          `json:"site"`
	State       string          `json:"state"`
	Since       time.Time       `json:"since"`
	Version     string          `json:"version,omitempty"`
	Held        int             `json:"held"`
	BatteryMin  *int            `json:"battery_min,omitempty"`
	DiskPercent *int            `json:"disk_percent,omitempty"`
	Practice    bool            `json:"practice"`
	Encounter   *summary        `json:"encounter,omitempty"`
	Calling     *calling        `json:"calling,omitempty"`
	Consult     *consult        `json:"consult,omitempty"`
	Instruments []ui.Instrument `json:"instruments"`
	Leases      []lease         `json:"leases"`
	Damage      *link.Damage    `json:"damage,omitempty"`
	Problems    []string        `json:"problems"`
}

type lease struct {
	Instrument string    `json:"instrument"`
	Holder     string    `json:"holder,omitempty"`
	HolderName string    `json:"holder_name,omitempty"`
	Epoch      uint64    `json:"epoch"`
	Until      time.Time `json:"until"`
	TakenBack  bool      `json:"taken_back"`
}

type calling struct {
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

type summary struct {
	ID       ledger.ID  `json:"id"`
	Opened   time.Time  `json:"opened"`
	Closed   *time.Time `json:"closed,omitempty"`
	Practice bool       `json:"practice"`
	Patient  *patient   `json:"patient,omitempty"`
	Items    int        `json:"items"`
}

type patient struct {
	capture.Patient
	Age *int `json:"age,omitempty"`
}

type consult struct {
	ID        string    `json:"id"`
	Encounter ledger.ID `json:"encounter"`
	By        string    `json:"by"`
	Phase     string    `json:"phase"`
	Since     time.Time `json:"since"`
	Watchers  []string  `json:"watchers"`
	Streams   []stream  `json:"streams"`
	Sounds    []stream  `json:"sounds"`
	Muted     bool      `json:"muted"` // the cart's microphone, by the nurse
	Voices    []voice   `json:"voices"`
	Mine      bool      `json:"mine"`

	Ladder *link.LadderState `json:"ladder,omitempty"`
}

type stream struct {
	Instrument string `json:"instrument"`
	Stream     string `json:"stream"`
	Publishing bool   `json:"publishing"`
}

// voice is a member who can be heard, or is muted.
type voice struct {
	Source string `json:"source"` // what watch takes
	Name   string `json:"name"`
	Muted  bool   `json:"muted"`
	Seen   bool   `json:"seen"` // there is a picture, too
	Mine   bool   `json:"mine"`
}

type item struct {
	ID         ledger.Hash             `json:"id"`
	Number     uint64                  `json:"number"`
	Kind       capture.Kind            `json:"kind"`
	At         time.Time               `json:"at"`
	Arrived    time.Time               `json:"arrived"`
	By         string                  `json:"by,omitempty"`
	Instrument string                  `json:"instrument,omitempty"`
	Twin       bool                    `json:"twin,omitempty"`
	Grade      device.Grade            `json:"grade,omitempty"`
	Model      string                  `json:"model,omitempty"`
	Reading    *ui.Reading             `json:"reading,omitempty"`
	Waveform   *capture.WaveformInfo   `json:"waveform,omitempty"`
	Media      *capture.MediaInfo      `json:"media,omitempty"`
	Note       string                  `json:"note,omitempty"`
	Binding    *capture.BindingInfo    `json:"binding,omitempty"`
	Correction *capture.CorrectionInfo `json:"correction,omitempty"`
	Event      string                  `json:"event,omitempty"`
	Site       string                  `json:"site,omitempty"`
	Side       string                  `json:"side,omitempty"`
	Corrected  *corrected              `json:"corrected,omitempty"`
	Urgent     bool                    `json:"urgent,omitempty"`
	Receipt    receipt                 `json:"receipt"`
}

type corrected struct {
	ByItem ledger.Hash `json:"by_item"`
	Reason string      `json:"reason"`
	Text   string      `json:"text,omitempty"`
}

type receipt struct {
	Sequence uint64 `json:"sequence"`
	Key      uint32 `json:"key"`
}

type encounter struct {
	Summary   summary           `json:"summary"`
	Cart      string            `json:"cart"`
	Items     []item            `json:"items"`
	NameAlert []capture.Patient `json:"name_alert,omitempty"`
}

// sight is how much of a patient somebody may see.
type sight int

const (
	technical sight = iota // carts, links and instruments' health; never a patient
	clinical
)

func showCart(v clinic.CartView, who string, s sight, now time.Time) cart {
	p := v.Presence
	c := cart{Cart: v.Name, Site: v.Site, State: string(v.State), Since: v.Since, Version: v.Version, Held: p.Held, BatteryMin: p.BatteryMin,
		Practice: p.Practice, Damage: showDamage(p.Damage), Instruments: []ui.Instrument{}, Leases: []lease{}, Problems: append([]string{}, v.Problems...)}
	if v.Version != "" {
		c.DiskPercent = &p.DiskPercent
	}
	for _, l := range p.Leases {
		c.Leases = append(c.Leases, lease{l.Instrument, l.Holder, l.HolderName, l.Epoch, l.Until, l.TakenBack})
	}
	watching := v.Consult != nil && v.Consult.Touched && !v.Consult.Over() && v.Consult.Member(who)
	for _, i := range p.Instruments {
		if !watching {
			i.Readings = nil // a vital sign is for those whom the nurse let in
		}
		c.Instruments = append(c.Instruments, showInstrument(i, s, v.State == clinic.Offline))
	}
	if v.Encounter != nil {
		e := showSummary(*v.Encounter, s, now)
		c.Encounter = &e
	}
	if k := v.Consult; k != nil {
		c.Consult = showConsult(v, who)
		if k.Phase() == clinic.Calling {
			c.Calling = &calling{Since: k.Since}
			if s == clinical {
				c.Calling.Reason = k.Reason
			}
		}
	}
	return c
}

// showDamage leaves out when an item was captured: that is the patient's.
func showDamage(d *link.Damage) *link.Damage {
	if d == nil {
		return nil
	}
	out := link.Damage{Segments: d.Segments, Items: []link.DamagedItem{}, More: d.More}
	for _, i := range d.Items {
		out.Items = append(out.Items, link.DamagedItem{Number: i.Number, Kind: i.Kind})
	}
	return &out
}

func showConsult(v clinic.CartView, who string) *consult {
	k := v.Consult
	out := &consult{ID: k.ID, Encounter: k.Encounter, By: k.By.Name, Phase: string(k.Phase()), Since: k.Since, Watchers: v.Watchers, Streams: []stream{}, Sounds: []stream{}, Voices: []voice{}, Mine: k.Member(who)}
	sending := map[string]bool{}
	if at := v.Presence.Consult; at != nil && at.ID == k.ID && v.State != clinic.Offline {
		out.Ladder = at.Ladder
		for _, s := range at.Publishing {
			sending[s] = true
		}
		out.Muted = at.Muted
	}
	for _, camera := range v.Cameras {
		name := clinic.StreamName(v.Tenant, v.Name, camera)
		out.Streams = append(out.Streams, stream{camera, name, sending[camera] || sending[name]})
	}
	for _, mic := range v.Sounds {
		out.Sounds = append(out.Sounds, stream{mic, clinic.StreamName(v.Tenant, v.Name, mic), sending[mic]})
	}
	for _, s := range v.Voices {
		out.Voices = append(out.Voices, voice{s.Source, s.Name, s.Muted, s.Seen, s.Who == who})
	}
	return out
}

func showSummary(e clinic.Encounter, s sight, now time.Time) summary {
	out := summary{ID: e.ID, Opened: e.Opened, Practice: e.Book.Practice, Items: len(e.Items)}
	if !e.Closed.IsZero() {
		out.Closed = &e.Closed
	}
	if e.Patient != nil && s == clinical {
		out.Patient = &patient{Patient: *e.Patient}
		if age := e.Patient.Age(now); age >= 0 {
			out.Patient.Age = &age
		}
	}
	return out
}

// showInstrument leaves values out for IT: a vital sign is the patient's. What an offline cart said last is stale.
func showInstrument(i link.Instrument, s sight, offline bool) ui.Instrument {
	if s != clinical {
		i.Readings = nil
	}
	out := ui.ShowInstrument(i)
	for n := range out.Readings {
		out.Readings[n].Stale = out.Readings[n].Stale || offline
	}
	return out
}

func showEncounter(e clinic.Encounter, alike []capture.Patient, now time.Time) encounter {
	out := encounter{Summary: showSummary(e, clinical, now), Cart: e.Book.Cart, Items: []item{}, NameAlert: alike}
	for _, i := range e.Items {
		out.Items = append(out.Items, showItem(i))
	}
	return out
}

func showItem(i clinic.Item) item {
	b := i.Body
	out := item{ID: i.Item, Number: i.Entry.Number, Kind: b.Kind, At: b.At.Wall, Arrived: i.Arrived, By: b.By, Waveform: b.Waveform, Media: b.Media,
		Binding: b.Binding, Correction: b.Correction, Site: b.Site, Side: i.Side, Urgent: b.Urgent, Receipt: receipt{i.Sequence, i.Key}}
	if b.Instrument != nil {
		out.Instrument, out.Twin, out.Grade, out.Model = b.Instrument.Name, b.Instrument.Twin, b.Instrument.Grade, b.Instrument.Model
	}
	if b.Reading != nil {
		r := ui.ShowReading(link.ReadingState{Reading: *b.Reading})
		r.Side = i.Side
		out.Reading = &r
		if out.Instrument == "" {
			out.Instrument = b.Reading.Instrument.Name
		}
	}
	if b.Note != nil {
		out.Note = b.Note.Text
	}
	if b.Event != nil {
		out.Event = b.Event.What
	}
	if i.Corrected != nil {
		out.Corrected = &corrected{i.Corrected.By, i.Corrected.Reason, i.Corrected.Text}
	}
	return out
}

type samples struct {
	Cart       string    `json:"cart"`
	Instrument string    `json:"instrument"`
	Quantity   string    `json:"quantity"`
	RateHz     float64   `json:"rate_hz"`
	Values     []int32   `json:"values"`
	At         time.Time `json:"at"`
}

func showSamples(s clinic.Samples) *samples {
	return &samples{s.Cart, s.Instrument.Name, s.Quantity, s.RateHz, append([]int32{}, s.Values...), s.At.Wall}
}

// message is what goes to the page: one field is set.
type message struct {
	Samples   *samples   `json:"samples,omitempty"`
	State     *state     `json:"state,omitempty"`
	Encounter *encounter `json:"encounter,omitempty"`
}

type reply struct {
	Reply   int64 `json:"reply"`
	OK      bool  `json:"ok"`
	Problem any   `json:"problem,omitempty"`
	Result  any   `json:"result,omitempty"`
}

// command is what the page asks: a verb with the arguments that belong to it.
type command struct {
	ID         int64          `json:"id"`
	Verb       string         `json:"verb"`
	Encounter  string         `json:"encounter"`
	Cart       string         `json:"cart"`
	Site       string         `json:"site"`
	Consult    string         `json:"consult"`
	Instrument string         `json:"instrument"`
	Notice     string         `json:"notice"`
	Kind       string         `json:"kind"`
	Every      bool           `json:"every"`
	Epoch      uint64         `json:"epoch"`
	Seq        uint64         `json:"seq"`
	Set        map[string]int `json:"set"`
}

// parseCommand reads one command. Arguments that a verb does not know are ignored: the page may be newer.
func parseCommand(b []byte) (c command, err error) {
	err = json.Unmarshal(b, &c)
	return c, err
}
