// Package link is the cart's persistent connection to its hub.
//
// Parties: the cart dials; the hub answers. Both authenticate by mutual TLS (provisioning/identity). One WebSocket
// carries presence, steering and desired state as JSON Messages (this file); items go beside it by PUT (put.go).
//
// Invariants: the first message each way is a Hello; the signed ledger heads ride in it, before any item. The hub states
// what it wants (Desired) whole each time, and the cart reconciles towards it: a lost message costs nothing that the next
// one does not mend. Setpoints are never queued. Unknown fields and message types are ignored: the other end may be newer.
package link

import (
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/uplink/steer"
	"telecart/uplink/wire"
)

// Protocol is the range of link protocol versions spoken here.
const (
	MinProtocol = 1
	MaxProtocol = 1
)

// Path of the persistent connection, below https://carts.HUB.
const Path = "/v1/link"

// MaxMessage bounds one message.
const MaxMessage = 1 << 20

// Message is one JSON text message. Exactly one field is set.
type Message struct {
	Hello    *Hello           `json:"hello,omitempty"`     // cart -> hub, first
	Welcome  *Welcome         `json:"welcome,omitempty"`   // hub -> cart, first
	Presence *Presence        `json:"presence,omitempty"`  // cart -> hub, at once when it changes, at least every 10 s
	Head     *ledger.Head     `json:"head,omitempty"`      // cart -> hub, at most once a second
	Call     *Call            `json:"call,omitempty"`      // cart -> hub: the nurse calls
	Samples  *device.Samples  `json:"samples,omitempty"`   // cart -> hub, while a consult is live
	Answer   *Answer          `json:"answer,omitempty"`    // cart -> hub: the nurse answered an offer, paused, or ended
	Refused  *steer.Refused   `json:"refused,omitempty"`   // cart -> hub: somebody did not get the lease
	Result   *steer.ActResult `json:"result,omitempty"`    // cart -> hub
	Desired  *Desired         `json:"desired,omitempty"`   // hub -> cart
	Lease    *steer.Request   `json:"lease,omitempty"`     // hub -> cart: somebody asks to steer
	Release  *steer.Request   `json:"release,omitempty"`   // hub -> cart: the holder lets go
	Setpoint *steer.Setpoint  `json:"setpoint,omitempty"`  // hub -> cart
	Act      *steer.Act       `json:"act,omitempty"`       // hub -> cart
	Notice   *Notice          `json:"notice,omitempty"`    // hub -> cart, for the nurse
	Water    *wire.Watermark  `json:"watermark,omitempty"` // hub -> cart
	Problem  *wire.Problem    `json:"problem,omitempty"`   // either way; the connection ends after it
}

// Hello opens the conversation.
type Hello struct {
	Protocol [2]int        `json:"protocol"` // lowest and highest spoken
	Version  string        `json:"version"`
	Run      ledger.ID     `json:"run"`
	Heads    []ledger.Head `json:"heads"` // care, then practice
	// Keys is the version of the key list that the cart seals by, 0 for none yet; Empty says that nothing saved waits for a
	// receipt of Store, in any segment. Both were so before the heads were signed: the hub counts on it before it destroys a key.
	Keys  uint64    `json:"keys,omitempty"`
	Empty bool      `json:"empty,omitempty"`
	Store ledger.ID `json:"store,omitzero"` // that said welcome last in this run
}

// Welcome answers it.
type Welcome struct {
	Protocol  int                `json:"protocol"` // the one chosen
	Hub       string             `json:"hub"`
	Version   string             `json:"version"`
	Store     ledger.ID          `json:"store"` // receipts of another store don't count any more
	Keys      wire.SignedKeyList `json:"keys"`
	Heads     []ledger.Head      `json:"heads"` // as the hub knows them, of the incarnations that Hello named; unsigned
	Watermark *wire.Watermark    `json:"watermark,omitempty"`
	Now       time.Time          `json:"now"`

	Took time.Duration `json:"-"` // from our hello until this came; Now is as uncertain
}

// Presence is the cart's state, whole. It names no patient.
type Presence struct {
	Encounter   *Encounter    `json:"encounter,omitempty"`
	Practice    bool          `json:"practice"`
	Instruments []Instrument  `json:"instruments"`
	Held        int           `json:"held"` // items saved and not yet receipted
	Sent        int           `json:"sent"`
	BatteryMin  *int          `json:"battery_min,omitempty"` // minutes left; absent on mains
	DiskPercent int           `json:"disk_percent"`
	Damage      *Damage       `json:"damage,omitempty"` // of its own disk
	Leases      []steer.Lease `json:"leases"`
	Consult     *ConsultState `json:"consult,omitempty"`
}

// Encounter is the open encounter.
type Encounter struct {
	ID     ledger.ID `json:"id"`
	Opened time.Time `json:"opened"`
	Bound  bool      `json:"bound"` // a patient was bound in this agent run
}

// Instrument is one instrument's state with its latest values.
type Instrument struct {
	Name     string         `json:"name"`
	Kind     device.Kind    `json:"kind"`
	Health   device.Health  `json:"health"`
	Since    time.Time      `json:"since"`
	Grade    device.Grade   `json:"grade,omitempty"`
	Modes    []string       `json:"modes,omitempty"` // to choose from before it measures
	Twin     bool           `json:"twin"`
	Readings []ReadingState `json:"readings"`
	Axes     []device.Axis  `json:"axes,omitempty"` // if it can be steered
}

// ReadingState is a reading and whether it is too old to count.
type ReadingState struct {
	device.Reading
	Stale bool `json:"stale"`
}

// ConsultState is where the cart stands in a consult.
type ConsultState struct {
	ID         string   `json:"id"`
	Phase      string   `json:"phase"`           // offered (waits for the nurse), live, paused, waiting-continue, calling
	Publishing []string `json:"publishing"`      // streams that are being sent
	Muted      bool     `json:"muted,omitempty"` // the nurse turned the microphone off
	Error      string   `json:"error,omitempty"` // why a stream isn't, as a code
	// Ladder is what the link carries of it, while pictures are sent.
	Ladder *LadderState `json:"ladder,omitempty"`
}

// Call is the nurse asking for a specialist.
type Call struct {
	Encounter ledger.ID `json:"encounter"`
	Reason    string    `json:"reason,omitempty"`
	Cancel    bool      `json:"cancel,omitempty"`
}

// Answer is what the nurse said to a consult.
type Answer struct {
	Consult string `json:"consult"`
	Verb    string `json:"verb"` // accept, refuse, pause, resume, end
}

// Desired is all that the hub wants of this cart at this moment.
type Desired struct {
	Seq     uint64   `json:"seq"`
	Consult *Consult `json:"consult,omitempty"`
	// Patient is who the open encounter is bound to, as the hub knows: after a restart it brings the banner back.
	Patient *PatientOf `json:"patient,omitempty"`
	// Today are the patients expected or seen at this site today; kept in memory only, for the name alert.
	Today []capture.Patient `json:"today,omitempty"`
}

// PatientOf says whose encounter it is.
type PatientOf struct {
	Encounter ledger.ID       `json:"encounter"`
	Patient   capture.Patient `json:"patient"`
}

// Consult is a live session on one open encounter. It survives drops and restarts on both sides.
type Consult struct {
	ID        string    `json:"id"`
	Encounter ledger.ID `json:"encounter"`
	By        string    `json:"by"`       // who offered it, as both screens show
	Accepted  bool      `json:"accepted"` // the nurse touched
	Paused    bool      `json:"paused"`
	Since     time.Time `json:"since"`
	Watchers  []string  `json:"watchers"` // all who see or hear now
	Publish   []Stream  `json:"publish"`  // what the cart is to send
	Hear      []Voice   `json:"hear,omitempty"`
}

// Stream is one WHIP session that the cart is to hold.
type Stream struct {
	Instrument string `json:"instrument"`
	Endpoint   string `json:"endpoint"` // path or URL
	Token      string `json:"token"`
}

// Voice is a WHEP session that the cart is to hold and to play: somebody who takes part in the consult speaks.
type Voice struct {
	Stream
	Name  string `json:"name"`            // as the bedside shows
	Muted bool   `json:"muted,omitempty"` // nothing is said for now
	Seen  bool   `json:"seen,omitempty"`  // the stream has a picture, too
}

// Notice is something the nurse is to be told, as a code with parameters for the string tables.
type Notice struct {
	ID   string            `json:"id"`
	Code string            `json:"code"` // name-alert, encounter-split, corrected, ledger-fork
	With map[string]string `json:"with,omitempty"`
}
