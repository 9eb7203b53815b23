package clinic

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
)

var (
	care    = ledger.Book{Tenant: "north", Cart: "cart-1"}
	visit   = ledger.ID{0xe1}
	maria   = capture.Patient{ID: "100", Name: "María López", BirthDate: "2019-04-02"}
	mario   = capture.Patient{ID: "200", Name: "Lopez Mario", BirthDate: "2017-09-30"}
	joachim = capture.Patient{ID: "300", Name: "Joachim Quint", BirthDate: "1950-01-01"}
)

// script makes arrivals: each word is RUN:WHAT.
type script struct {
	book ledger.Book
	n    uint64
	all  []Arrival
}

func hashOf(s string) ledger.Hash { return sha256.Sum256([]byte(s)) }

func (s *script) add(run byte, name string, b capture.Body) ledger.Hash {
	b.Encounter, b.At = visit, kit.Stamp{Wall: start.Add(time.Duration(s.n) * time.Minute)}
	a := Arrival{Book: s.book, Item: hashOf(name), Sequence: s.n + 1, Arrived: start.Add(time.Duration(s.n) * time.Second), Body: b,
		Entry: ledger.Entry{Incarnation: ledger.ID{1}, Number: s.n, Kind: ledger.Item, Run: ledger.ID{run}, Body: hashOf(name)}}
	s.n++
	s.all = append(s.all, a)
	return a.Item
}

func (s *script) still(run byte, name, side string) ledger.Hash {
	return s.add(run, name, capture.Body{Kind: capture.Still, Side: side})
}

func (s *script) bind(run byte, name string, p capture.Patient) ledger.Hash {
	return s.add(run, name, capture.Body{Kind: capture.Binding, Binding: &capture.BindingInfo{Patient: p, Method: "wristband"}})
}

func (s *script) correct(run byte, name string, item ledger.Hash, reason, side string) ledger.Hash {
	return s.add(run, name, capture.Body{Kind: capture.Correction, Correction: &capture.CorrectionInfo{Item: item, Reason: reason, Side: side}})
}

// told is the encounter as a line a part: patient: item[/side][!reason] ...
func told(parts []Encounter) string {
	var lines []string
	for _, e := range parts {
		who := "unidentified"
		if e.Patient != nil {
			who = e.Patient.ID
		}
		line := who + ":"
		for _, i := range e.Items {
			line += fmt.Sprintf(" %d", i.Entry.Number)
			if i.Side != "" {
				line += "/" + i.Side
			}
			if i.Corrected != nil {
				line += "!" + i.Corrected.Reason
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestProjection(t *testing.T) {
	for name, c := range map[string]struct {
		write func(s *script)
		want  string
	}{
		"unidentified": {func(s *script) { s.still(1, "a", "left") }, "unidentified: 0/left"},
		"bound later, the whole encounter": {func(s *script) { s.still(1, "a", ""); s.bind(2, "b", maria) },
			"100: 0 1"},
		"bound anew in the same run: the later holds": {func(s *script) { s.bind(1, "a", maria); s.still(1, "b", ""); s.bind(1, "c", joachim) },
			"300: 0 1 2"},
		"another patient in a later run: split at its start": {func(s *script) {
			s.bind(1, "a", maria)
			s.still(1, "b", "")
			s.still(2, "c", "")
			s.bind(2, "d", joachim)
			s.still(2, "e", "")
		}, "100: 0 1\n300: 2 3 4"},
		"the same patient in a later run": {func(s *script) { s.bind(1, "a", maria); s.bind(2, "b", maria) }, "100: 0 1"},
		"a run without a binding goes on with the one before": {func(s *script) { s.bind(1, "a", maria); s.bind(2, "b", joachim); s.still(3, "c", "") },
			"100: 0\n300: 1 2"},
		"wrong side": {func(s *script) { s.correct(1, "b", s.still(1, "a", "left"), capture.WrongSide, "right") }, "unidentified: 0/right!wrong-side 1"},
		"the latest counts": {func(s *script) {
			i := s.still(1, "a", "left")
			s.correct(1, "b", i, capture.WrongSide, "right")
			s.correct(1, "c", i, capture.EnteredInError, "")
		}, "unidentified: 0/right!entered-in-error 1 2"},
		"a correction taken back": {func(s *script) {
			s.correct(1, "c", s.correct(1, "b", s.still(1, "a", "left"), capture.WrongSide, "right"), capture.EnteredInError, "")
		}, "unidentified: 0/left 1!entered-in-error 2"},
		"a binding entered in error binds nobody": {func(s *script) {
			s.bind(1, "a", maria)
			s.correct(2, "c", s.bind(2, "b", joachim), capture.EnteredInError, "")
		}, "100: 0 1!entered-in-error 2"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{book: care}
			c.write(s)
			// In order, backwards, and in a few other orders: what arrives when changes nothing.
			for seed := range uint64(4) {
				p, order := newProjection(), append([]Arrival(nil), s.all...)
				if seed > 0 {
					rand.New(rand.NewPCG(seed, 1)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
				}
				for _, a := range append(order, order...) {
					p.add(a)
				}
				if got := told(p.recorded[recordedAs{care, visit}].parts); got != c.want {
					t.Fatalf("order %d:\n%s\nwant\n%s", seed, got, c.want)
				}
			}
		})
	}
}

// The cart split the encounter itself, when the hub said whose it was: its items since the restart go to the new one.
func TestCartSplits(t *testing.T) {
	s := &script{book: care}
	s.bind(1, "a", maria)
	s.still(1, "b", "left")
	moved := s.still(2, "c", "left")
	s.bind(2, "d", joachim)
	next, run := ledger.ID{0xe9}, ledger.ID{2}
	s.add(2, "e", capture.Body{Kind: capture.Event, Event: &capture.EventInfo{What: "split", From: &visit, Since: &run}})
	s.bind(2, "f", joachim)
	s.correct(2, "g", moved, capture.WrongSide, "right")
	for i := 4; i < len(s.all); i++ {
		s.all[i].Body.Encounter = next
	}
	for seed := range uint64(20) {
		p := newProjection()
		order := append([]Arrival(nil), s.all...)
		rand.New(rand.NewPCG(seed, 2)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, a := range order {
			p.add(a)
		}
		var parts []Encounter
		for _, id := range []ledger.ID{visit, next} {
			e, ok := p.encounter("north", id)
			if !ok {
				t.Fatalf("seed %d: %s is gone", seed, id)
			}
			parts = append(parts, e)
		}
		if got := told(parts); got != "100: 0 1/left\n300: 2/right!wrong-side 3 4 5 6" || len(p.parts) != 2 || *parts[1].SplitFrom != visit {
			t.Fatalf("seed %d: %d parts\n%s", seed, len(p.parts), got)
		}
		if i, of := p.find("north", moved); i == nil || of != next {
			t.Fatalf("seed %d: the moved item is found in %s", seed, of)
		}
	}
}

func TestPracticeIsApart(t *testing.T) {
	p := newProjection()
	real, drill := &script{book: care}, &script{book: ledger.Book{Tenant: "north", Cart: "cart-1", Practice: true}}
	i := real.still(1, "a", "left")
	real.bind(1, "b", maria)
	drill.bind(1, "x", joachim)
	drill.correct(1, "y", i, capture.EnteredInError, "")
	for _, a := range append(real.all, drill.all...) {
		if c := p.add(a); c.corrected != nil {
			t.Fatal("practice corrected an item of care")
		}
	}
	if got := told(p.recorded[recordedAs{care, visit}].parts); got != "100: 0/left 1" {
		t.Fatal(got)
	}
	for practice, want := range map[Practice]capture.Patient{false: maria, true: joachim} {
		if got := p.seenSince("north", practice, nil, start); len(got) != 1 || got[0] != want {
			t.Errorf("practice %v: %d patients", practice, len(got))
		}
	}
	if got := p.seenSince("south", false, nil, start); len(got) != 0 {
		t.Error("another tenant's patients")
	}
}

// Every item is in exactly one part, parts are in ledger order, and neighbours have different patients.
func TestProjectionInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &script{book: care}
		run := byte(1)
		for i := range rapid.IntRange(1, 30).Draw(t, "items") {
			if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				run++
			}
			name := fmt.Sprint(i)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				s.bind(run, name, rapid.SampledFrom([]capture.Patient{maria, mario, joachim}).Draw(t, "patient"))
			case 1:
				if i > 0 {
					s.correct(run, name, s.all[rapid.IntRange(0, i-1).Draw(t, "target")].Item,
						rapid.SampledFrom([]string{capture.WrongSide, capture.EnteredInError, capture.WrongPatient}).Draw(t, "reason"), "right")
					continue
				}
				fallthrough
			default:
				s.still(run, name, "left")
			}
		}
		p := newProjection()
		for _, a := range rapid.Permutation(s.all).Draw(t, "order") {
			p.add(a)
		}
		parts := p.recorded[recordedAs{care, visit}].parts
		n := uint64(0)
		for k, e := range parts {
			for _, i := range e.Items {
				if i.Entry.Number != n {
					t.Fatalf("item %d where %d belongs", i.Entry.Number, n)
				}
				n++
			}
			if k > 0 && (e.Patient == nil || parts[k-1].Patient == nil || e.Patient.ID == parts[k-1].Patient.ID || *e.SplitFrom != parts[k-1].ID) {
				t.Fatalf("part %d is no part of its own:\n%s", k, told(parts))
			}
			if got, ok := p.encounter("north", e.ID); !ok || !cmp.Equal(told([]Encounter{got}), told([]Encounter{e})) {
				t.Fatalf("part %d is not found by its id", k)
			}
		}
		if n != uint64(len(s.all)) {
			t.Fatalf("%d items of %d", n, len(s.all))
		}
	})
}
