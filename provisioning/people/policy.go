package people

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Subject is who asks.
type Subject struct {
	Role   Role
	Tenant string
	ID     string // the account's name
}

// Kind is what is asked for.
type Kind string

// Action is what is to be done with it.
type Action string

const (
	Worklist   Kind = "worklist"
	Encounter  Kind = "encounter"
	Item       Kind = "item"
	Note       Kind = "note"
	NameAlert  Kind = "name-alert" // two patients on the list who are easily taken for each other
	Consult    Kind = "consult"
	Stream     Kind = "stream"
	Instrument Kind = "instrument"
	Claim      Kind = "claim"
	Cart       Kind = "cart"
	Staff      Kind = "account"
	Audit      Kind = "audit"
	Settings   Kind = "settings"
)

const (
	View    Action = "view"
	Correct Action = "correct"
	Write   Action = "write"
	Offer   Action = "offer"
	Join    Action = "join"
	End     Action = "end"
	Publish Action = "publish"
	Watch   Action = "watch"
	Steer   Action = "steer" // ask the cart for a lease; the nurse takes it back without asking anybody
	Still   Action = "still"
	Issue   Action = "issue"
	List    Action = "list"
	Revoke  Action = "revoke"
	Manage  Action = "manage"
	Change  Action = "change"
)

// Resource is one thing of a tenant.
type Resource struct {
	Kind    Kind
	Tenant  string
	Members []string // IDs of who is in the consult that a consult, stream or instrument belongs to
}

// grant is how far a role may go.
type grant int

const (
	no grant = iota
	yes
	member // only who is in the consult
)

type rule struct {
	kind                  Kind
	action                Action
	nurse, specialist, it grant
}

// table is the whole policy. What isn't in it is refused. The nurse's streams, stills and ending need no membership:
// the bedside is where the consult happens, and stopping it must never depend on a list.
var table = [...]rule{
	{Worklist, View, no, yes, no},
	{Encounter, View, yes, yes, no},
	{Item, View, yes, yes, no},
	{Item, Correct, yes, yes, no},
	{Note, Write, yes, yes, no},
	{NameAlert, View, yes, yes, no},
	{Consult, Offer, yes, no, no},
	{Consult, Join, yes, yes, no},
	{Consult, End, yes, member, no},
	{Stream, Publish, yes, member, no},
	{Stream, Watch, yes, member, no},
	{Instrument, Steer, no, member, no},
	{Instrument, Still, yes, member, no},
	{Claim, Issue, no, no, yes},
	{Cart, List, no, no, yes},
	{Cart, Revoke, no, no, yes},
	{Staff, Manage, no, no, yes},
	{Audit, View, no, no, yes},
	{Settings, View, no, no, yes},
	{Settings, Change, no, no, yes},
}

func (r rule) grant(role Role) grant {
	switch role {
	case Nurse:
		return r.nurse
	case Specialist:
		return r.specialist
	case IT:
		return r.it
	}
	return no
}

// ErrDenied: the policy says no. The error is a *Denied.
var ErrDenied = errors.New("people: not allowed")

// Reason is why, as a code for the screens.
type Reason string

const (
	WrongRole    Reason = "role"
	NotInConsult Reason = "not-in-consult" // join it first
	OtherTenant  Reason = "tenant"         // answer as if the thing didn't exist
	NoRule       Reason = "no-rule"        // nobody may; a mistake in the caller
)

// Denied says why, and who can.
type Denied struct {
	Role   Role
	Action Action
	Kind   Kind
	Reason Reason
	Who    []Role // who may do this; empty for OtherTenant and NoRule
}

func (d *Denied) Error() string {
	text := fmt.Sprintf("%v: %s may not %s this %s (%s)", ErrDenied, d.Role, d.Action, d.Kind, d.Reason)
	if len(d.Who) == 0 {
		return text
	}
	who := make([]string, len(d.Who))
	for i, r := range d.Who {
		who[i] = string(r)
	}
	return text + "; who can: " + strings.Join(who, ", ")
}

func (d *Denied) Unwrap() error { return ErrDenied }

// Allow is the one policy function: nil, or a *Denied. It looks at nothing but its arguments.
func Allow(s Subject, a Action, r Resource) error {
	d := &Denied{Role: s.Role, Action: a, Kind: r.Kind}
	if s.Tenant == "" || s.ID == "" || s.Tenant != r.Tenant {
		d.Reason = OtherTenant
		return d
	}
	i := slices.IndexFunc(table[:], func(t rule) bool { return t.kind == r.Kind && t.action == a })
	if i < 0 {
		d.Reason = NoRule
		return d
	}
	switch g := table[i].grant(s.Role); {
	case g == yes, g == member && slices.Contains(r.Members, s.ID):
		return nil
	case g == member:
		d.Reason = NotInConsult
	default:
		d.Reason = WrongRole
	}
	for _, role := range Roles() {
		if table[i].grant(role) != no {
			d.Who = append(d.Who, role)
		}
	}
	return d
}
