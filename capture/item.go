// Package capture is what was observed about a patient: encounters, the items they are made of, and the words for both.
//
// Parties: the nurse opens an encounter, binds a patient, captures, corrects, closes; the outbox seals and numbers every
// item; the hub opens it. Nothing here knows a network or a register.
//
// Invariants: an item is immutable; who the patient is, and every correction, is a later item. Types that hold patient
// data redact themselves in logs (see redact.go).
package capture

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
)

// Kind is what sort of item it is. It stands in the clear header.
type Kind uint8

const (
	Reading    Kind = 1
	Waveform   Kind = 2
	Still      Kind = 3
	Clip       Kind = 4
	Sound      Kind = 5
	Note       Kind = 6
	Binding    Kind = 7
	Correction Kind = 8
	Event      Kind = 9 // the encounter opened, closed, or was split
)

var kindNames = [...]string{"", "reading", "waveform", "still", "clip", "sound", "note", "binding", "correction", "event"}

func (k Kind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// MarshalText and UnmarshalText make kinds words in JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k *Kind) UnmarshalText(b []byte) error {
	for i, n := range kindNames {
		if i > 0 && n == string(b) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("capture: %q is no kind of item", b)
}

// Body is what an item says. It is sealed whole: JSON first, then Blob.
type Body struct {
	Kind       Kind             `json:"kind"`
	ID         ledger.ID        `json:"id"` // random: two observations alike in every word are still two
	Encounter  ledger.ID        `json:"encounter"`
	At         kit.Stamp        `json:"at"`           // when it was observed or said
	By         string           `json:"by,omitempty"` // who did it: an account id, or "nurse"
	Urgent     bool             `json:"urgent,omitempty"`
	Practice   bool             `json:"practice,omitempty"`
	Reading    *device.Reading  `json:"reading,omitempty"`
	Waveform   *WaveformInfo    `json:"waveform,omitempty"`
	Media      *MediaInfo       `json:"media,omitempty"` // of a still, clip or sound; its bytes are the Blob
	Note       *NoteInfo        `json:"note,omitempty"`
	Binding    *BindingInfo     `json:"binding,omitempty"`
	Correction *CorrectionInfo  `json:"correction,omitempty"`
	Event      *EventInfo       `json:"event,omitempty"`
	Instrument *device.Identity `json:"instrument,omitempty"`
	Site       string           `json:"site,omitempty"`
	Side       string           `json:"side,omitempty"`

	// Blob is the camera's own JPEG (still), a Motion JPEG AVI (clip), a FLAC file (sound), or the samples of a waveform as 32-bit
	// little-endian integers. It is never re-encoded.
	Blob []byte `json:"-"`
}

// WaveformInfo describes the samples in the blob.
type WaveformInfo struct {
	Quantity string  `json:"quantity"`
	Unit     string  `json:"unit"`
	RateHz   float64 `json:"rate_hz"`
	Count    int     `json:"count"`
}

// MediaInfo describes the picture or sound in the blob.
type MediaInfo struct {
	Type       string   `json:"type"` // image/jpeg, video/x-msvideo, audio/flac
	Width      int      `json:"width,omitempty"`
	Height     int      `json:"height,omitempty"`
	DurationMS int64    `json:"duration_ms,omitempty"`
	FrameMS    []int64  `json:"frame_ms,omitempty"` // when each frame of a clip was captured, from the first
	RateHz     int      `json:"rate_hz,omitempty"`  // of a sound
	Gaps       [][2]int `json:"gaps,omitempty"`     // of a sound: first value and number of those that were lost; they are zeros in the blob
}

// NoteInfo is a written note.
type NoteInfo struct {
	Text string `json:"text"`
}

// Patient is who the patient is, as far as a wristband or a person said.
type Patient struct {
	ID        string `json:"id"` // the hospital's number on the wristband
	Name      string `json:"name,omitempty"`
	BirthDate string `json:"birth_date,omitempty"` // 2006-01-02
}

// BindingInfo says whose encounter it is.
type BindingInfo struct {
	Patient Patient `json:"patient"`
	Method  string  `json:"method"` // wristband, two-identifiers
}

// Reasons for a correction.
const (
	WrongPatient   = "wrong-patient"
	WrongSide      = "wrong-side"
	EnteredInError = "entered-in-error"
)

// CorrectionInfo corrects an earlier item; every view and export follows it.
type CorrectionInfo struct {
	Item   ledger.Hash `json:"item"`
	Reason string      `json:"reason"`
	Side   string      `json:"side,omitempty"` // the right one, for wrong-side
	Text   string      `json:"text,omitempty"`
}

// EventInfo is something that happened to the encounter.
type EventInfo struct {
	What  string     `json:"what"`            // opened, closed, split
	From  *ledger.ID `json:"from,omitempty"`  // split: the encounter this one was split off
	Since *ledger.ID `json:"since,omitempty"` // split: the agent run at whose start the split lies
}

// MaxMeta bounds the JSON part of a body.
const MaxMeta = 1 << 20

// Marshal is the plaintext of an item: length of the JSON (4, big endian), the JSON, the blob. The caller overwrites it after use.
func (b Body) Marshal() ([]byte, error) {
	meta, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	defer clear(meta)
	if len(meta) > MaxMeta {
		return nil, fmt.Errorf("capture: %d bytes of text in one item; %d fit", len(meta), MaxMeta)
	}
	out := make([]byte, 0, 4+len(meta)+len(b.Blob))
	out = binary.BigEndian.AppendUint32(out, uint32(len(meta)))
	out = append(out, meta...)
	return append(out, b.Blob...), nil
}

// UnmarshalBody reads the plaintext of an item. The blob shares p's memory.
func UnmarshalBody(p []byte) (b Body, err error) {
	if len(p) < 4 {
		return b, fmt.Errorf("capture: an item's body of %d bytes", len(p))
	}
	n := binary.BigEndian.Uint32(p)
	if n > MaxMeta || int(n) > len(p)-4 {
		return b, fmt.Errorf("capture: an item's body of %d bytes says its JSON has %d", len(p), n)
	}
	if err := json.Unmarshal(p[4:4+n], &b); err != nil {
		return b, fmt.Errorf("capture: an item's body: %w", err)
	}
	if b.Kind == 0 {
		return b, fmt.Errorf("capture: an item's body names no kind")
	}
	b.Blob = p[4+n:]
	return b, nil
}

// Age is the patient's age in whole years at t, or -1 without a birth date.
func (p Patient) Age(t time.Time) int {
	d, err := time.Parse("2006-01-02", p.BirthDate)
	if err != nil {
		return -1
	}
	age := t.Year() - d.Year()
	if t.YearDay() < time.Date(t.Year(), d.Month(), d.Day(), 0, 0, 0, 0, time.UTC).YearDay() {
		age--
	}
	return age
}
