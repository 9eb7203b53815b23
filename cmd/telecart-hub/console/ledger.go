package console

import (
	"context"
	"time"

	"telecart/capture/ledger"
	"telecart/provisioning/people"
	"telecart/uplink/hub/ingest"
)

// Ledger is what IT sees of a cart's ledgers, and of how far the hub can be relied on (cmd/ui/api.ts: ConsoleLedger). It names
// numbers and times, never a patient.
type Ledger struct {
	Cart     string        `json:"cart"`
	At       time.Time     `json:"at"`       // of this check
	Every    bool          `json:"every"`    // every byte was read, not just every file looked at
	Stores   []LedgerStore `json:"stores"`   // lives of the hub's store; the last is the present one
	Receipts uint64        `json:"receipts"` // given by the present store
	Backup   uint64        `json:"backup"`   // up to this receipt a backup holds everything
	Unseen   bool          `json:"unseen"`   // there is something that IT has not confirmed to have seen
	Parts    []LedgerPart  `json:"parts"`
}

// LedgerStore is one life of the hub's store: it takes a new one when it is restored.
type LedgerStore struct {
	Store ledger.ID  `json:"store"`
	Since *time.Time `json:"since,omitempty"` // absent: not known
}

// LedgerPart is one incarnation of care's ledger or of practice's.
type LedgerPart struct {
	Practice    bool           `json:"practice"`
	Incarnation ledger.ID      `json:"incarnation"`
	Whole       bool           `json:"whole"`
	Head        *uint64        `json:"head,omitempty"` // number that the cart's newest signature covers; absent: none came
	HeadAt      *time.Time     `json:"head_at,omitempty"`
	Forged      bool           `json:"forged"`
	Disputed    bool           `json:"disputed"`
	After       *LedgerOrigin  `json:"after,omitempty"`
	First       *time.Time     `json:"first,omitempty"`
	Last        *time.Time     `json:"last,omitempty"`
	Entries     int            `json:"entries"`
	Items       int            `json:"items"`
	Missing     []ingest.Range `json:"missing"`
	Doubled     []uint64       `json:"doubled"`
	Altered     []uint64       `json:"altered"`
	Refused     []uint64       `json:"refused"`
	Absent      []uint64       `json:"absent"`
	Damaged     []uint64       `json:"damaged"`
	Gone        []ingest.Lost  `json:"gone"`
	Unsigned    int            `json:"unsigned"`
}

// LedgerOrigin is where a fork says that it began.
type LedgerOrigin struct {
	Known       bool      `json:"known"`
	Incarnation ledger.ID `json:"incarnation"`
	Number      uint64    `json:"number"`
}

// ShowLedger puts what ingest found about one incarnation in the page's form.
func ShowLedger(b ledger.Book, c ingest.Completeness) LedgerPart {
	p := LedgerPart{Practice: b.Practice, Incarnation: c.Incarnation, Whole: c.Whole(), Forged: c.Forged, Disputed: c.Disputed,
		First: moment(c.First), Last: moment(c.Last), HeadAt: moment(c.HeadAt), Entries: c.Entries, Items: c.Items, Unsigned: c.Unsigned,
		Missing: some(c.Missing), Doubled: some(c.Doubled), Altered: some(c.Altered), Refused: some(c.Refused), Absent: some(c.Absent),
		Damaged: some(c.Damaged), Gone: some(c.Gone)}
	if c.Head != nil {
		p.Head = &c.Head.Number
	}
	if o := c.After; o != nil {
		p.After = &LedgerOrigin{o.Known, o.Incarnation, o.Number}
	}
	return p
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func some[T any](in []T) []T { return append([]T{}, in...) }

// ledger is IT's look at a cart's ledgers. It is on the record, like every look.
func (p *page) ledger(ctx context.Context, c command) (any, error) {
	if err := p.may(people.List, people.Cart); err != nil {
		return nil, err
	}
	if c.Verb == "ledger-seen" {
		if err := p.s.o.Fleet.LedgerSeen(ctx, p.who.Tenant, c.Cart); err != nil {
			return nil, err
		}
		return nil, p.audit(ctx, c.Verb, named{"cart": c.Cart})
	}
	depth := ingest.Files
	if c.Every {
		depth = ingest.Bytes
	}
	return p.s.o.Fleet.Ledger(ctx, p.who.Tenant, c.Cart, depth)
}
