package capture

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"telecart/capture/ledger"
)

var (
	morning = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	ada     = Patient{ID: "MRN-0001", Name: "Ada Lovelace", BirthDate: "1815-12-10"}
	grace   = Patient{ID: "MRN-0002", Name: "Grace Hopper", BirthDate: "1906-12-09"}
	nameOf  = Patient{Name: "ada  LOVELACE", BirthDate: "1815-12-10"} // Ada, without her wristband
)

func id(n byte) ledger.ID { return ledger.ID{n} }

// say makes steps readable.
func say(steps []Step) string {
	var out []string
	for _, s := range steps {
		what := ""
		switch {
		case s.Event != nil:
			what = s.Event.What
			if s.Event.From != nil {
				what += fmt.Sprintf(" from %d since %d", s.Event.From[0], s.Event.Since[0])
			}
		case s.Binding != nil:
			what = s.Binding.Patient.ID + " by " + s.Binding.Method
		}
		if s.Practice {
			what += " (practice)"
		}
		out = append(out, fmt.Sprintf("%d %s", s.Encounter[0], what))
	}
	return strings.Join(out, "; ")
}

type act func(*Encounter) ([]Step, error)

func open(n byte) act {
	return func(e *Encounter) ([]Step, error) { return e.Open(id(n), morning, false) }
}
func practise(n byte) act {
	return func(e *Encounter) ([]Step, error) { return e.Open(id(n), morning, true) }
}
func bind(p Patient, by Source) act {
	return func(e *Encounter) ([]Step, error) { return e.Bind(p, by) }
}
func scan(p Patient) act { return bind(p, FromWristband) }
func resolve(a AlertAction, n byte) act {
	return func(e *Encounter) ([]Step, error) { return e.Resolve(a, id(n), morning) }
}
func hub(of byte, p Patient, n byte) act {
	return func(e *Encounter) ([]Step, error) {
		s, split := e.HubSays(id(of), p, id(n), id(99), morning)
		if split != (len(s) > 0) {
			return s, errors.New("split without steps, or steps without split")
		}
		return s, nil
	}
}
func closing(e *Encounter) ([]Step, error)  { return e.Close() }
func restored(e *Encounter) ([]Step, error) { *e = *Continue(e.State().Kept); return nil, nil }

func TestEncounter(t *testing.T) {
	type move struct {
		do   act
		want string
		err  error
	}
	grace2 := Patient{Name: "Grace Hopper", BirthDate: "1906-12-09"}
	for _, c := range []struct {
		name    string
		moves   []move
		patient string // "" is nobody
		open    byte
		alert   bool
	}{
		{"a visit", []move{{open(1), "1 opened", nil}, {scan(ada), "1 MRN-0001 by wristband", nil}, {closing, "1 closed", nil}}, "", 0, false},
		{"nothing open", []move{{scan(ada), "", ErrNoEncounter}, {closing, "", ErrNoEncounter}, {resolve(KeepPatient, 2), "", ErrNoAlert}}, "", 0, false},
		{"open twice", []move{{open(1), "1 opened", nil}, {open(2), "", ErrOpen}}, "", 1, false},
		{"the same wristband again", []move{{open(1), "1 opened", nil}, {scan(ada), "1 MRN-0001 by wristband", nil}, {scan(ada), "", nil}}, "MRN-0001", 1, false},
		{"identifiers of the same patient", []move{{open(1), "1 opened", nil}, {scan(ada), "1 MRN-0001 by wristband", nil}, {bind(nameOf, FromIdentifiers), "", nil}}, "MRN-0001", 1, false},
		{"another wristband, kept", []move{{open(1), "1 opened", nil}, {scan(ada), "1 MRN-0001 by wristband", nil}, {scan(grace), "", nil},
			{closing, "", ErrAlert}, {scan(grace), "", ErrAlert}, {resolve(KeepPatient, 2), "", nil}}, "MRN-0001", 1, false},
		{"another wristband, rescan", []move{{open(1), "1 opened", nil}, {scan(ada), "1 MRN-0001 by wristband", nil}, {scan(grace), "", nil},
			{scan(ada), "", nil}}, "MRN-0001", 1, false},
		{"another wristband, closed", []move{{open(1), "1 opened", nil}, {scan(ada), "1 MRN-0001 by wristband", nil}, {scan(grace), "", nil},
			{resolve(CloseEncounter, 2), "1 closed; 2 opened; 2 MRN-0002 by wristband", nil}}, "MRN-0002", 2, false},
		{"the other one was typed, not scanned", []move{{open(1), "1 opened", nil}, {scan(ada), "1 MRN-0001 by wristband", nil},
			{bind(grace, FromIdentifiers), "", nil}, {resolve(CloseEncounter, 2), "1 closed; 2 opened; 2 MRN-0002 by two-identifiers", nil}}, "MRN-0002", 2, false},
		{"an answer that is none decides nothing", []move{{open(1), "1 opened", nil}, {scan(ada), "1 MRN-0001 by wristband", nil}, {scan(grace), "", nil},
			{resolve("", 2), "", ErrDecision}, {resolve("Keep", 2), "", ErrDecision}}, "MRN-0001", 1, true},
		{"practice never binds", []move{{practise(1), "1 opened (practice)", nil}, {scan(ada), "", ErrPractice}, {hub(1, ada, 2), "", nil},
			{closing, "1 closed (practice)", nil}}, "", 0, false},
		{"no patient at all", []move{{open(1), "1 opened", nil}, {bind(Patient{Name: "Ada"}, FromIdentifiers), "", ErrPatient},
			{bind(Patient{BirthDate: "1815-12-10"}, FromIdentifiers), "", ErrPatient},
			{bind(Patient{Name: "Ada", BirthDate: "10.12.1815"}, FromIdentifiers), "", ErrPatient},
			{bind(Patient{ID: "MRN-0001", BirthDate: "yesterday"}, FromIdentifiers), "", ErrPatient},
			{bind(Patient{ID: "MRN\n0001"}, FromIdentifiers), "", ErrPatient},
			{bind(Patient{ID: strings.Repeat("9", 65)}, FromIdentifiers), "", ErrPatient},
			{hub(1, Patient{}, 2), "", nil}}, "", 1, false},
		{"restart, the hub brings the banner back, a scan confirms", []move{{open(1), "1 opened", nil}, {scan(ada), "1 MRN-0001 by wristband", nil},
			{restored, "", nil}, {hub(1, ada, 2), "", nil}, {scan(Patient{ID: "MRN-0001"}), "1 MRN-0001 by wristband", nil}}, "MRN-0001", 1, false},
		{"restart, the hub's patient, another wristband", []move{{open(1), "1 opened", nil}, {restored, "", nil}, {hub(1, ada, 2), "", nil},
			{scan(grace), "", nil}}, "MRN-0001", 1, true},
		{"the hub speaks of another encounter", []move{{open(1), "1 opened", nil}, {hub(7, ada, 2), "", nil}}, "", 1, false},
		{"restart, bound here, the hub agrees", []move{{open(1), "1 opened", nil}, {restored, "", nil}, {scan(ada), "1 MRN-0001 by wristband", nil},
			{hub(1, ada, 2), "", nil}}, "MRN-0001", 1, false},
		{"restart, bound here to another: split", []move{{open(1), "1 opened", nil}, {restored, "", nil}, {scan(grace), "1 MRN-0002 by wristband", nil},
			{hub(1, ada, 2), "2 split from 1 since 99; 2 MRN-0002 by wristband", nil}, {hub(1, ada, 3), "", nil}, {hub(2, grace, 3), "", nil}}, "MRN-0002", 2, false},
		{"a split keeps the alert", []move{{open(1), "1 opened", nil}, {restored, "", nil}, {scan(grace), "1 MRN-0002 by wristband", nil},
			{scan(ada), "", nil}, {hub(1, ada, 2), "2 split from 1 since 99; 2 MRN-0002 by wristband", nil}, {closing, "", ErrAlert}}, "MRN-0002", 2, true},
		{"not restarted: the hub does not overrule a scan", []move{{open(1), "1 opened", nil}, {scan(ada), "1 MRN-0001 by wristband", nil}, {hub(1, grace, 2), "", nil}}, "MRN-0001", 1, false},
		{"the hub corrects what it said", []move{{open(1), "1 opened", nil}, {restored, "", nil}, {hub(1, ada, 2), "", nil}, {hub(1, grace, 2), "", nil}}, "MRN-0002", 1, false},
		{"the hub corrects to whom was scanned", []move{{open(1), "1 opened", nil}, {restored, "", nil}, {hub(1, ada, 2), "", nil}, {scan(grace), "", nil},
			{hub(1, grace2, 2), "", nil}}, "", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &Encounter{}
			for i, m := range c.moves {
				before := *e
				s, err := m.do(e)
				if got := say(s); got != m.want || !errors.Is(err, m.err) {
					t.Fatalf("move %d: %q %v, want %q %v", i+1, got, err, m.want, m.err)
				}
				if err != nil && e.State() != before.State() {
					t.Fatalf("move %d was refused and changed the state", i+1)
				}
			}
			st, who := e.State(), ""
			if st.Patient != nil {
				who = st.Patient.ID
			}
			if who != c.patient || st.ID != id(c.open) || (st.Alert != nil) != c.alert || e.IsOpen() != (c.open != 0) {
				t.Errorf("patient %q, encounter %d, alert %t", who, st.ID[0], st.Alert != nil)
			}
			if want := map[bool]error{true: ErrAlert}[c.alert]; c.open != 0 && !errors.Is(e.Ready(), want) || c.open == 0 && !errors.Is(e.Ready(), ErrNoEncounter) {
				t.Errorf("ready: %v", e.Ready())
			}
		})
	}
}

// TestEncounterProperties drives the machine at random, and keeps a record of its own of who is bound where.
func TestEncounterProperties(t *testing.T) {
	people := []Patient{ada, grace, {ID: "MRN-0003"}, {Name: "Grace Hopper", BirthDate: "1906-12-09"}, {Name: "?", BirthDate: "1900-01-01"},
		{Name: "!", BirthDate: "1900-01-01"}}
	rapid.Check(t, func(t *rapid.T) {
		e, next := &Encounter{}, byte(0)
		bound, practice, closed := map[ledger.ID]Patient{}, map[ledger.ID]bool{}, map[ledger.ID]bool{}
		who := rapid.SampledFrom(people)
		fresh := func() ledger.ID { next++; return ledger.ID{next} }
		take := func(before EncounterState, steps []Step, err error) {
			after := e.State()
			if err != nil {
				if len(steps) > 0 || after != before {
					t.Fatalf("refused (%v), and yet something happened", err)
				}
				return
			}
			for _, s := range steps {
				switch {
				case s.Encounter == ledger.ID{} || closed[s.Encounter]:
					t.Fatalf("a step of no open encounter: %v", say(steps))
				case s.Event != nil && s.Event.What == "closed":
					closed[s.Encounter] = true
				case s.Event != nil:
					practice[s.Encounter] = s.Practice
				case s.Binding != nil:
					if p, ok := bound[s.Encounter]; ok && !Same(p, s.Binding.Patient) {
						t.Fatalf("two patients in one encounter: %s", say(steps))
					}
					if practice[s.Encounter] {
						t.Fatal("practice was bound")
					}
					bound[s.Encounter] = s.Binding.Patient
				}
				if s.Practice != practice[s.Encounter] {
					t.Fatal("practice and care mixed")
				}
			}
			if after.Patient != nil && after.Source != FromHub {
				if p, ok := bound[after.ID]; !ok || !Same(p, *after.Patient) {
					t.Fatal("somebody is shown as bound here without a binding item of this encounter")
				}
			}
			if after.Alert != nil && (after.Patient == nil || !Same(after.Alert.Current, *after.Patient) || Same(after.Alert.Current, after.Alert.Scanned) || e.Ready() == nil) {
				t.Fatal("an alert that is none")
			}
			if after.ID == (ledger.ID{}) && after != (EncounterState{}) {
				t.Fatal("something is left of a closed encounter")
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"open": func(t *rapid.T) {
				before := e.State()
				s, err := e.Open(fresh(), morning, rapid.Bool().Draw(t, "practice"))
				take(before, s, err)
			},
			"bind": func(t *rapid.T) {
				before, p := e.State(), who.Draw(t, "who")
				s, err := e.Bind(p, rapid.SampledFrom([]Source{FromWristband, FromIdentifiers}).Draw(t, "by"))
				take(before, s, err)
				if after := e.State(); before.Patient != nil && !Same(*before.Patient, p) && before.ID != (ledger.ID{}) && after.Alert == nil {
					t.Fatal("another patient without an alert")
				}
			},
			"resolve": func(t *rapid.T) {
				before := e.State()
				s, err := e.Resolve(rapid.SampledFrom([]AlertAction{KeepPatient, CloseEncounter, "", "?"}).Draw(t, "action"), fresh(), morning)
				take(before, s, err)
			},
			"close": func(*rapid.T) { before := e.State(); s, err := e.Close(); take(before, s, err) },
			"restart": func(*rapid.T) {
				if e.IsOpen() {
					e = Continue(e.State().Kept)
				} else {
					e = &Encounter{}
				}
				// What was bound before is the hub's to know. A rescan may contradict it; only the split sorts that out.
				delete(bound, e.State().ID)
			},
			"hub": func(t *rapid.T) {
				before := e.State()
				of := before.ID
				if rapid.Bool().Draw(t, "stale") && next > 0 {
					of = ledger.ID{1 + byte(rapid.IntRange(0, int(next)-1).Draw(t, "of"))}
				}
				s, split := e.HubSays(of, who.Draw(t, "who"), fresh(), ledger.ID{200}, morning)
				take(before, s, nil)
				if after := e.State(); split && (after.Patient == nil || !Same(*after.Patient, *before.Patient) || after.ID == before.ID ||
					(after.Alert != nil) != (before.Alert != nil) || !slices.ContainsFunc(s, func(s Step) bool { return s.Binding != nil && s.Encounter == after.ID })) {
					t.Fatal("the split lost the binding or the alert")
				}
			},
		})
	})
}

func TestSame(t *testing.T) {
	p := func(id, name, born string) Patient { return Patient{id, name, born} }
	for _, c := range []struct {
		name string
		a, b Patient
		want bool
	}{
		{"numbers decide", p("A-1", "X", "2000-01-01"), p("A-1", "Y", "1999-01-01"), true},
		{"and against names", p("A-1", "X", "2000-01-01"), p("A-2", "X", "2000-01-01"), false},
		{"name and birth date", p("", "José Núñez", "2000-01-01"), p("A-1", "JOSE NUNEZ", "2000-01-01"), true},
		{"marks written behind", p("", "José", "2000-01-01"), p("", "José", "2000-01-01"), true},
		{"twins", p("", "Tim Berg", "2000-01-01"), p("", "Tom Berg", "2000-01-01"), false},
		{"other birth date", p("", "Tim Berg", "2000-01-01"), p("", "Tim Berg", "2000-01-02"), false},
		{"number alone is not a name", p("A-1", "", ""), p("", "Tim Berg", "2000-01-01"), false},
		{"signs that fold to nothing", p("", "?", "1900-01-01"), p("", "--", "1900-01-01"), false},
		{"nothing but one sign", p("", "?", "1900-01-01"), p("", "?", "1900-01-01"), true},
		{"vowel signs are no decoration", p("", "राम", "2000-01-01"), p("", "रमा", "2000-01-01"), false},
	} {
		if Same(c.a, c.b) != c.want || Same(c.b, c.a) != c.want {
			t.Errorf("%s: not %t", c.name, c.want)
		}
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"  O'Brien-Smith ": "obriensmith", "ŁUKASZ Żółć": "lukaszzolc", "Müller": "muller", "Weiß": "weiss", "Nguyễn Văn Đức": "nguyenvanduc",
		"Ærø": "aero", "Çelik Işık": "celikisik", "Иван": "иван", "李 小龍": "李小龍", "": "", "…": "",
	} {
		if got := fold(in); got != want {
			t.Errorf("fold(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNameAlert(t *testing.T) {
	me := Patient{ID: "A-1", Name: "Müller, Anna", BirthDate: "1980-05-05"}
	for _, c := range []struct {
		name  string
		other Patient
		alert bool
	}{
		{"twin: same day, other name", Patient{"A-2", "Müller, Berta", "1980-05-05"}, true},
		{"same day, another name altogether", Patient{"A-3", "Zoltan Kiss", "1980-05-05"}, true},
		{"like name without marks", Patient{"A-4", "Muller Anna", "1951-01-01"}, true},
		{"one letter differs", Patient{"A-5", "Miller, Anna", "1951-01-01"}, true},
		{"written with ue", Patient{"A-6", "Mueller, Anna", "1951-01-01"}, true},
		{"three letters differ", Patient{"A-7", "Muller, Berta", "1951-01-01"}, false},
		{"herself", Patient{"A-1", "Anna Müller", "1980-05-05"}, false},
		{"no name known", Patient{ID: "A-8"}, false},
	} {
		if got := NameAlert(me, []Patient{c.other}); (len(got) > 0) != c.alert {
			t.Errorf("%s: alert %t", c.name, len(got) > 0)
		}
	}
	if got := NameAlert(Patient{ID: "A-9"}, []Patient{{ID: "A-10"}}); len(got) > 0 {
		t.Error("two bare numbers are not alike")
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"berg", "berg", 0}, {"żółć", "zolc", 4}, {"smith", "smiht", 1}} {
		if got := distance([]rune(c.a), []rune(c.b)); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-c]{0,6}`)
		a, b := []rune(word.Draw(t, "a")), []rune(word.Draw(t, "b"))
		if distance(a, b) != distance(b, a) || (distance(a, b) == 0) != slices.Equal(a, b) {
			t.Fatal("not a distance")
		}
	})
}

var format = func() *regexp.Regexp { r := regexp.MustCompile(DefaultWristband); r.Longest(); return r }()

func TestParseWristband(t *testing.T) {
	for code, want := range map[string]Patient{
		"MRN-0001":                         {ID: "MRN-0001"},
		" MRN-0001\r\n":                    {ID: "MRN-0001"},
		"MRN-0001|Ada Lovelace|1815-12-10": {"MRN-0001", "Ada Lovelace", "1815-12-10"},
		"MRN-0001| Đức Nguyễn |1999-02-28": {"MRN-0001", "Đức Nguyễn", "1999-02-28"},
		"":                                 {},
		"MRN-001":                          {},
		"RN-0001":                          {},
		"XMRN-0001":                        {},
		"MRN-0001 MRN-0002":                {},
		"MRN-0001|Ada":                     {},
		"MRN-0001|Ada|":                    {},
		"MRN-0001|Ada|1815-13-10":          {},
		"MRN-0001|Ada|1815-12-10|x":        {},
		"MRN-0001|A\x00da|1815-12-10":      {},
		"MRN-0001|\xff|1815-12-10":         {},
		"5901234123457":                    {}, // a product's bar code
		"MRN-0001|" + strings.Repeat("x", 121) + "|1815-12-10": {},
	} {
		p, err := ParseWristband(code, format)
		if p != want || (err == nil) != (want.ID != "") {
			t.Errorf("%q: %#v, %v", code, p.ID, err)
		}
		if err != nil && code != "" && strings.Contains(err.Error(), code) {
			t.Errorf("%q: the error repeats what was scanned", code)
		}
	}
}

func FuzzParseWristband(f *testing.F) {
	for _, s := range []string{"MRN-0001", "MRN-0001|Ada Lovelace|1815-12-10", "MRN-0001||", "|", "\xff|a|2000-01-01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, code string) {
		p, err := ParseWristband(code, format)
		if err != nil {
			return
		}
		if !format.MatchString(p.ID) || !p.valid() {
			t.Fatalf("%q is no wristband", code)
		}
		again := p.ID
		if p.Name != "" {
			again += "|" + p.Name + "|" + p.BirthDate
		}
		if q, err := ParseWristband(again, format); err != nil || q != p {
			t.Fatalf("%q does not come back: %v", again, err)
		}
		if _, err := (&Encounter{EncounterState{Kept: Kept{ID: id(1)}}}).Bind(p, FromWristband); err != nil {
			t.Fatalf("a good wristband does not bind: %v", err)
		}
	})
}

// A corrected binding leaves nobody's name on the screen, and the hub's older word does not bring it back.
func TestUnbind(t *testing.T) {
	e, now := &Encounter{}, time.Now()
	id, other := ledger.NewID(), ledger.NewID()
	wrong, right := Patient{ID: "MRN-0001", Name: "Wrong"}, Patient{ID: "MRN-0002", Name: "Right"}
	for _, f := range []func() ([]Step, error){
		func() ([]Step, error) { return e.Open(id, now, false) },
		func() ([]Step, error) { return e.Bind(wrong, FromWristband) },
		e.Unbind,
	} {
		if _, err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if e.HubSays(id, wrong, other, other, now); e.State().Patient != nil {
		t.Fatal("the wrong name is back")
	}
	if steps, err := e.Bind(right, FromWristband); err != nil || len(steps) != 1 || e.State().Alert != nil {
		t.Fatal(steps, err)
	}
	if _, err := (&Encounter{}).Unbind(); !errors.Is(err, ErrNoEncounter) {
		t.Fatal(err)
	}
}
