package steer

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ask(who string) Request { return Request{Instrument: "scope", Who: who, WhoName: "Dr " + who} }

func TestLease(t *testing.T) {
	ada := func(epoch, seq uint64, age int64) Setpoint {
		return Setpoint{Instrument: "scope", Who: "ada", Epoch: epoch, Seq: seq, AgeMS: age, Set: map[string]int{"pan": int(seq)}}
	}
	type step struct {
		at   Tick
		ev   Event
		want string
	}
	for name, steps := range map[string][]step{
		"one at a time": {
			{0, ask("ada"), "lease ada 8 until 30000"},
			{1000, ask("bob"), "refused bob held by Dr ada until 30000"},
			{2000, ask("ada"), "lease ada 8 until 32000"},
			{3000, Release{ask("bob")}, "dropped no-lease"},
			{3000, Release{ask("ada")}, "halt, lease - 8"},
			{3000, ask("bob"), "lease bob 9 until 33000"},
		},
		"a lease ends by itself, renewed by use": {
			{0, ask("ada"), "lease ada 8 until 30000"},
			{20000, ada(8, 1, 100), "apply pan 1"},
			{20300, Wake{}, ""},
			{20401, Wake{}, "halt"}, // 500 ms after it was made
			{49899, Wake{}, ""},
			{49900, Wake{}, "halt, lease - 8"},
			{49900, ada(8, 2, 0), "dropped no-lease"},
		},
		"setpoints: the latest wins, late ones are dropped": {
			{0, ask("ada"), "lease ada 8 until 30000"},
			{100, ada(8, 2, 0), "apply pan 2"},
			{110, ada(8, 1, 0), "dropped late"},
			{110, ada(8, 2, 0), "dropped late"},
			{700, ada(8, 3, 501), "halt, dropped late"},
			{700, ada(7, 4, 0), "dropped no-lease"},
			{700, Setpoint{Instrument: "other", Who: "ada", Epoch: 8, Seq: 5}, "dropped bad-message"},
			{800, ada(8, 5, 500), "apply pan 5"},
		},
		"what sat in the network counts as age": {
			{0, ask("ada"), "lease ada 8 until 30000"},
			{2000, Setpoint{Instrument: "scope", Who: "ada", Epoch: 8, Seq: 1, AtMS: 1400, Set: map[string]int{"pan": 1}}, "dropped late"},
			{2000, Setpoint{Instrument: "scope", Who: "ada", Epoch: 8, Seq: 2, AtMS: 2001, Set: map[string]int{"pan": 1}}, "dropped late"},
			{2000, Setpoint{Instrument: "scope", Who: "ada", Epoch: 8, Seq: 3, AtMS: 1600, Set: map[string]int{"pan": 3}}, "apply pan 3"},
		},
		"signs of life keep it moving": {
			{0, ask("ada"), "lease ada 8 until 30000"},
			{100, ada(8, 1, 0), "apply pan 1"},
			{500, Setpoint{Instrument: "scope", Who: "ada", Epoch: 8, Seq: 2}, ""},
			{900, Wake{}, ""},
			{1001, Wake{}, "halt"},
			{1200, Wake{}, ""},
		},
		"the nurse": {
			{0, ask("ada"), "lease ada 8 until 30000"},
			{10, ada(8, 1, 0), "apply pan 1"},
			{20, TakeBack{}, "halt, lease - 8 taken"},
			{30, ada(8, 2, 0), "dropped no-lease"},
			{40, ask("ada"), "refused ada taken-back"},
			{50, GiveBack{}, "lease - 8"},
			{60, GiveBack{}, ""},
			{60, ask("ada"), "lease ada 9 until 30060"},
			{70, ada(8, 3, 0), "dropped no-lease"}, // of the lease before
		},
		"acts": {
			{0, ask("ada"), "lease ada 8 until 30000"},
			{10, Act{ID: "a", Instrument: "scope", Who: "ada", Epoch: 8, Kind: "still", TTLMS: 5000}, "run a until 5010"},
			{20, Act{ID: "a", Instrument: "scope", Who: "ada", Epoch: 8, Kind: "still", TTLMS: 4990}, "dropped late"},
			{30, Done{ID: "a", OK: true, Item: "h"}, "result a true h "},
			{30, Done{ID: "a", Error: Failed}, ""},
			{40, Act{ID: "a", Instrument: "scope", Who: "ada", Epoch: 8, Kind: "still", TTLMS: 4970}, "result a true h "},
			{50, Act{ID: "b", Instrument: "scope", Who: "ada", Epoch: 8, Kind: "still"}, "result b false  late"},
			{50, Act{ID: "c", Instrument: "scope", Who: "bob", Epoch: 8, Kind: "still", TTLMS: 9}, "result c false  no-lease"},
			{50, Act{ID: "d", Instrument: "scope", Who: "ada", Epoch: 7, Kind: "still", TTLMS: 9}, "result d false  no-lease"},
			{50, Act{Instrument: "scope", Who: "ada", Epoch: 8, Kind: "still", TTLMS: 9}, "result  false  bad-message"},
			{20000, Act{ID: "e", Instrument: "scope", Who: "ada", Epoch: 8, Kind: "still", TTLMS: 5000, AtMS: 9000}, "result e false  late"},
			{20000, Act{ID: "f", Instrument: "scope", Who: "ada", Epoch: 8, Kind: "still", TTLMS: 1 << 40}, "run f until 30000"},
			{20001, TakeBack{}, "halt, lease - 8 taken"},
			{20002, Done{ID: "f", OK: true, Item: "i"}, "result f true i "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := New("scope", 7, epoch0)
			for i, s := range steps {
				got := ""
				for _, a := range m.Step(at(s.at), s.ev) {
					if got != "" {
						got += ", "
					}
					got += say(a)
				}
				if d := cmp.Diff(s.want, got); d != "" {
					t.Fatalf("step %d: %s", i, d)
				}
			}
		})
	}
}

func say(a Action) string {
	switch a := a.(type) {
	case Lease:
		s := fmt.Sprintf("lease %s %d", a.Holder, a.Epoch)
		if a.Holder == "" {
			s = fmt.Sprintf("lease - %d", a.Epoch)
		} else {
			s += fmt.Sprintf(" until %d", a.Until.Sub(epoch0).Milliseconds())
		}
		if a.TakenBack {
			s += " taken"
		}
		return s
	case Refused:
		if a.Code == Held {
			return fmt.Sprintf("refused %s held by %s until %d", a.Who, a.Lease.HolderName, a.Lease.Until.Sub(epoch0).Milliseconds())
		}
		return "refused " + a.Who + " " + a.Code
	case ActResult:
		return fmt.Sprintf("result %s %v %s %s", a.ID, a.OK, a.Item, a.Error)
	case Apply:
		return fmt.Sprintf("apply pan %d", a.Set["pan"])
	case Run:
		return fmt.Sprintf("run %s until %d", a.Act.ID, a.Expires)
	case Halt:
		return "halt"
	case Dropped:
		return "dropped " + a.Code
	}
	return fmt.Sprintf("%#v", a)
}

// The table of acts is bounded, and what is forgotten is too old to run again.
func TestActsBounded(t *testing.T) {
	m := New("scope", 1, epoch0)
	m.Step(at(0), ask("ada"))
	act := func(now Tick, id string, made Tick) string {
		return say(m.Step(at(now), Act{ID: id, Instrument: "scope", Who: "ada", Epoch: 2, Kind: "still", TTLMS: 5000, AtMS: made})[0])
	}
	for i := range maxAct {
		id := fmt.Sprint(i)
		if got := act(100, id, 100); got != "run "+id+" until 5100" {
			t.Fatal(got)
		}
	}
	if got := act(100, "more", 100); got != "result more false  busy" {
		t.Error(got)
	}
	m.Step(at(200), Done{ID: "0", OK: true})
	late := 100 + MaxAct.Milliseconds()
	if got := act(late, "more", late); got != fmt.Sprintf("run more until %d", late+5000) {
		t.Error(got)
	}
	if got := act(late, "0", 100); got != "result 0 false  late" {
		t.Errorf("a forgotten act: %s", got)
	}
}

// Setting the wall clock (the cart's first contact with a time server) must not touch a lease.
func TestWallClockMoves(t *testing.T) {
	m := New("scope", 1, time.Now())
	m.Step(time.Now(), ask("ada"))
	if l := m.Lease(time.Now()); l.NowMS < 0 || l.NowMS > 10_000 || time.Until(l.Until) < 20*time.Second {
		t.Errorf("%+v", l)
	}
}
