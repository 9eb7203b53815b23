package people

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The policy once more, written by hand, a line for each thing that can be asked: what nurse, specialist and IT get.
// y: yes; m: only in the consult; -: no.
const matrix = `
worklist    view     - y -
encounter   view     y y -
item        view     y y -
item        correct  y y -
note        write    y y -
name-alert  view     y y -
consult     offer    y - -
consult     join     y y -
consult     end      y m -
stream      publish  y m -
stream      watch    y m -
instrument  steer    - m -
instrument  still    y m -
claim       issue    - - y
cart        list     - - y
cart        revoke   - - y
account     manage   - - y
audit       view     - - y
settings    view     - - y
settings    change   - - y
`

func kinds() []Kind {
	return []Kind{Worklist, Encounter, Item, Note, NameAlert, Consult, Stream, Instrument, Claim, Cart, Staff, Audit, Settings, "door", ""}
}

func actions() []Action {
	return []Action{View, Correct, Write, Offer, Join, End, Publish, Watch, Steer, Still, Issue, List, Revoke, Manage, Change, "open", ""}
}

func TestAllowEverything(t *testing.T) {
	want := map[Kind]map[Action]string{}
	lines := 0
	for line := range strings.Lines(strings.TrimSpace(matrix)) {
		f := strings.Fields(line)
		k := Kind(f[0])
		if want[k] == nil {
			want[k] = map[Action]string{}
		}
		want[k][Action(f[1])] = strings.Join(f[2:], "")
		lines++
	}
	asked := 0
	for _, k := range kinds() {
		for _, a := range actions() {
			cell, ruled := want[k][a]
			if ruled {
				asked++
			} else {
				cell = "---"
			}
			var who []Role
			for i, r := range Roles() {
				if cell[i] != '-' {
					who = append(who, r)
				}
			}
			for i, role := range append(Roles(), "root", "") {
				letter := byte('-')
				if i < len(cell) {
					letter = cell[i]
				}
				for _, members := range [][]string{nil, {"someone"}, {"someone", "me"}} {
					inside := slices.Contains(members, "me")
					err := Allow(Subject{role, "st-mary", "me"}, a, Resource{k, "st-mary", members})
					if letter == 'y' || letter == 'm' && inside {
						if err != nil {
							t.Errorf("%s %s %s %v: %v", role, a, k, members, err)
						}
						continue
					}
					d := &Denied{Role: role, Action: a, Kind: k, Reason: WrongRole, Who: who}
					switch {
					case !ruled:
						d.Reason = NoRule
					case letter == 'm':
						d.Reason = NotInConsult
					}
					var got *Denied
					if !errors.As(err, &got) || !errors.Is(err, ErrDenied) || !cmp.Equal(got, d) {
						t.Errorf("%s %s %s %v: %v, want %v", role, a, k, members, err, d)
					}
				}
				for _, tenants := range [][2]string{{"st-john", "st-mary"}, {"", ""}, {"", "st-mary"}, {"st-mary", ""}} {
					err := Allow(Subject{role, tenants[0], "me"}, a, Resource{k, tenants[1], []string{"me"}})
					var got *Denied
					if !errors.As(err, &got) || got.Reason != OtherTenant || got.Who != nil {
						t.Errorf("%s of %q may %s %s of %q: %v", role, tenants[0], a, k, tenants[1], err)
					}
				}
			}
		}
	}
	if asked != lines || asked != len(table) {
		t.Errorf("asked %d, the matrix has %d, the table %d", asked, lines, len(table))
	}
}

// The one sentence that IT and the hospital both rely on, apart from any table.
func TestITSeesNoPatientData(t *testing.T) {
	for _, k := range []Kind{Worklist, Encounter, Item, Note, NameAlert, Consult, Stream, Instrument} {
		for _, a := range actions() {
			if Allow(Subject{IT, "st-mary", "me"}, a, Resource{k, "st-mary", []string{"me"}}) == nil {
				t.Errorf("IT may %s %s", a, k)
			}
		}
	}
}

func TestDeniedSaysWhoCan(t *testing.T) {
	err := Allow(Subject{IT, "st-mary", "ida"}, View, Resource{Kind: Item, Tenant: "st-mary"})
	if got := err.Error(); got != "people: not allowed: it may not view this item (role); who can: nurse, specialist" {
		t.Error(got)
	}
	if err := Allow(Subject{Nurse, "st-mary", ""}, View, Resource{Kind: Item, Tenant: "st-mary"}); !errors.Is(err, ErrDenied) {
		t.Errorf("a nameless subject: %v", err)
	}
}
