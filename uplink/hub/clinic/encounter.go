package clinic

import (
	"crypto/sha256"
	"slices"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
)

// Arrival is one item that the hub opened and has durably. Body has no blob.
type Arrival struct {
	Book     ledger.Book
	Entry    ledger.Entry
	Item     ledger.Hash
	Urgent   bool
	Sequence uint64 // of its receipt
	Key      uint32 // that signed the receipt
	Arrived  time.Time
	Body     capture.Body
}

// Item is an arrival as views and exports follow it.
type Item struct {
	Arrival
	Side      string     // as corrected
	Corrected *Corrected // nil: as it was captured
}

// Corrected is the correction that holds.
type Corrected struct {
	By     ledger.Hash
	Reason string
	Text   string
}

// Encounter is one patient's visit. An encounter that was bound to another patient in a later run of the agent shows as
// two: the later one has an id of its own and says what it was split from.
type Encounter struct {
	ID        ledger.ID
	Recorded  ledger.ID // the id under which the cart recorded it; ID, but for the parts of a split
	Book      ledger.Book
	Opened    time.Time
	Closed    time.Time // zero: open
	Patient   *capture.Patient
	Items     []Item
	SplitFrom *ledger.ID
}

// fix is a correction, and where it stands in the ledger.
type fix struct {
	at   place
	by   ledger.Hash
	info capture.CorrectionInfo
}

// chapters cuts the items of one encounter, in ledger order, at the start of every run that bound a patient other than
// the one before. fixes are the corrections of the book by corrected item, oldest first. Pure.
func chapters(id ledger.ID, sorted []Arrival, fixes map[ledger.Hash][]fix) []Encounter {
	var out []Encounter
	for len(sorted) > 0 {
		n := runLength(sorted)
		run := sorted[:n]
		sorted = sorted[n:]
		who := boundIn(run, fixes)
		if len(out) == 0 || who != nil && out[len(out)-1].Patient != nil && !capture.Same(*who, *out[len(out)-1].Patient) {
			out = append(out, begin(id, run, out))
		}
		last := &out[len(out)-1]
		if who != nil {
			last.Patient = who
		}
		for _, a := range run {
			last.add(a, fixes)
		}
	}
	return out
}

func runLength(sorted []Arrival) int {
	for i := range sorted {
		if sorted[i].Entry.Run != sorted[0].Entry.Run {
			return i
		}
	}
	return len(sorted)
}

// boundIn is the patient of the latest binding that stands.
func boundIn(run []Arrival, fixes map[ledger.Hash][]fix) *capture.Patient {
	for _, a := range slices.Backward(run) {
		if a.Body.Binding == nil {
			continue
		}
		if c := standing(a.Item, fixes); c == nil || c.Reason == capture.WrongSide {
			p := a.Body.Binding.Patient
			return &p
		}
	}
	return nil
}

func begin(id ledger.ID, run []Arrival, before []Encounter) Encounter {
	a := run[0]
	e := Encounter{ID: id, Recorded: id, Book: a.Book, Opened: a.Body.At.Wall}
	if len(before) > 0 {
		from := before[len(before)-1].ID
		e.SplitFrom, e.ID = &from, partID(id, a.Entry.Run)
	}
	return e
}

// partID names the part that begins with run, the same whenever it is computed.
func partID(encounter, run ledger.ID) ledger.ID {
	d := sha256.Sum256(slices.Concat([]byte("telecart encounter part v1\x00"), encounter[:], run[:]))
	return ledger.ID(d[:16])
}

func (e *Encounter) add(a Arrival, fixes map[ledger.Hash][]fix) {
	i := Item{Arrival: a, Side: a.Body.Side}
	if i.Side == "" && a.Body.Reading != nil {
		i.Side = a.Body.Reading.Side
	}
	if c := standing(a.Item, fixes); c != nil {
		i.Corrected = &Corrected{By: c.by, Reason: c.Reason, Text: c.Text}
	}
	for _, f := range fixes[a.Item] {
		if f.info.Reason == capture.WrongSide && !withdrawn(f.by, fixes, maxCorrections) {
			i.Side = f.info.Side
		}
	}
	if ev := a.Body.Event; ev != nil {
		switch ev.What {
		case "opened":
			e.Opened = a.Body.At.Wall
		case "closed":
			e.Closed = a.Body.At.Wall
		}
	}
	e.Items = append(e.Items, i)
}

type standingFix struct {
	by ledger.Hash
	capture.CorrectionInfo
}

// maxCorrections bounds how deep corrections of corrections are followed: hashes can't form a ring, but depth is free.
const maxCorrections = 16

// standing is the latest correction of item that was not itself withdrawn.
func standing(item ledger.Hash, fixes map[ledger.Hash][]fix) *standingFix {
	for _, f := range slices.Backward(fixes[item]) {
		if !withdrawn(f.by, fixes, maxCorrections) {
			return &standingFix{f.by, f.info}
		}
	}
	return nil
}

// withdrawn says that a correction was itself entered in error.
func withdrawn(correction ledger.Hash, fixes map[ledger.Hash][]fix, depth int) bool {
	for _, f := range fixes[correction] {
		if depth > 0 && f.info.Reason == capture.EnteredInError && !withdrawn(f.by, fixes, depth-1) {
			return true
		}
	}
	return false
}
