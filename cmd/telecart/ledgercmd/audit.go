package ledgercmd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// evidence is what a folder holds of one book. The audit of it is pure: it reads no file.
type evidence struct {
	book     ledger.Book
	lines    []line
	items    map[ledger.Hash]*itemEvidence // by the hash of their entry
	receipts []receiptEvidence
	heads    []headEvidence
	damage   []damageEvidence
}

type line struct {
	ledger.Entry
	hash     ledger.Hash
	segment  uint32
	salvaged bool
	recorded ledger.Hash // what the folder says that its hash is; zero: nothing
}

type itemEvidence struct {
	kind    uint8
	chunks  int
	bad     []int
	problem string // with the item as a whole; "": none
	refused bool
}

type receiptEvidence struct {
	wire.Receipt
	err error // its signature is not good
}

type headEvidence struct {
	ledger.Head
	segment  uint32 // that was retired; 0: the ledger's own
	disputed bool   // the hub keeps it because it contradicts another
	err      error
}

type damageEvidence struct {
	where   string
	segment uint32
	what    string
	harm    harm
}

// harm is what a damage means for the ledger.
type harm uint8

const (
	harmless harm = iota // a receipt: its item is offered again
	lossy                // something that was saved may be gone
)

// Problem is one thing that is wrong.
type Problem struct {
	Code        string       `json:"code"` // missing, doubled, altered, forked, damaged, refused, forged, unsigned
	Incarnation *ledger.ID   `json:"incarnation,omitempty"`
	First       *uint64      `json:"first,omitempty"`
	Last        *uint64      `json:"last,omitempty"`
	Hash        *ledger.Hash `json:"hash,omitempty"`
	Text        string       `json:"text"`
}

// Range is a stretch of numbers, both ends included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

func (r Range) String() string {
	if r.First == r.Last {
		return fmt.Sprintf("number %d", r.First)
	}
	return fmt.Sprintf("numbers %d to %d", r.First, r.Last)
}

// Incarnation is one ledger, from its genesis on.
type Incarnation struct {
	ID       ledger.ID      `json:"id"`
	First    uint64         `json:"first"` // numbers found
	Last     uint64         `json:"last"`
	LastHash ledger.Hash    `json:"last_hash"`
	Entries  int            `json:"entries"`
	Runs     []uint64       `json:"runs"`            // at which numbers the agent started
	Forks    *ledger.Hash   `json:"forks,omitempty"` // the disputed head that entry 0 names
	Kinds    map[string]int `json:"kinds"`
	Erased   []Range        `json:"erased,omitempty"` // after receipt; a checkpoint vouches for their end
	Signed   *ledger.Head   `json:"signed,omitempty"` // the highest head that is signed and is what is here
	Vouched  *ledger.ID     `json:"vouched,omitempty"`
	Unsigned uint64         `json:"unsigned"` // entries above it
	Whole    bool           `json:"whole"`
	problems int
	chosen   map[uint64]*line
	segs     map[uint32]bool
}

// Book is the verdict about one book.
type Book struct {
	ledger.Book
	Incarnations []*Incarnation `json:"incarnations"`
	Receipts     int            `json:"receipts"`
	Unchecked    int            `json:"unchecked"` // receipts, for want of a key list
	Received     int            `json:"received"`  // items here with a good receipt
	Erased       int            `json:"erased"`    // items that were erased, and whose receipts are here
	Waiting      int            `json:"waiting"`   // items here without one
	Notes        []string       `json:"notes,omitempty"`
	Problems     []Problem      `json:"problems,omitempty"`
	Complete     bool           `json:"complete"`
}

// maxNamed bounds the problems that are named one by one; counting goes on.
const maxNamed = 1000

type auditor struct {
	e   *evidence
	out *Book
	inc map[ledger.ID]*Incarnation
	at  map[ledger.ID]map[uint64][]*line
}

// audit judges a book.
func audit(e *evidence) *Book {
	a := &auditor{e: e, out: &Book{Book: e.book}, inc: map[ledger.ID]*Incarnation{}, at: map[ledger.ID]map[uint64][]*line{}}
	a.group()
	for _, i := range a.out.Incarnations {
		a.chain(i)
		a.content(i)
		a.signed(i)
	}
	a.vouch()
	a.checkReceipts()
	a.checkDamage()
	a.finish()
	return a.out
}

func (a *auditor) say(i *Incarnation, code string, r *Range, hash *ledger.Hash, format string, args ...any) {
	if i != nil {
		i.problems++
	}
	p := Problem{Code: code, Hash: hash, Text: fmt.Sprintf(format, args...)}
	if i != nil {
		p.Incarnation = &i.ID
	}
	if r != nil {
		p.First, p.Last = &r.First, &r.Last
	}
	if len(a.out.Problems) < maxNamed {
		a.out.Problems = append(a.out.Problems, p)
	}
}

func (a *auditor) note(format string, args ...any) {
	if len(a.out.Notes) < maxNamed {
		a.out.Notes = append(a.out.Notes, fmt.Sprintf(format, args...))
	}
}

// group sorts the lines by incarnation and number; equal ones count once.
func (a *auditor) group() {
	for i := range a.e.lines {
		l := &a.e.lines[i]
		inc := a.incarnation(l.Incarnation)
		same := slices.IndexFunc(a.at[inc.ID][l.Number], func(x *line) bool { return x.hash == l.hash })
		if same >= 0 {
			a.at[inc.ID][l.Number][same].salvaged = a.at[inc.ID][l.Number][same].salvaged && l.salvaged
		} else {
			a.at[inc.ID][l.Number] = append(a.at[inc.ID][l.Number], l)
		}
		inc.segs[l.segment] = true
	}
	for _, h := range a.e.heads { // of which nothing else is left
		if h.err == nil && !h.disputed {
			a.incarnation(h.Incarnation)
		}
	}
}

func (a *auditor) incarnation(id ledger.ID) *Incarnation {
	i := a.inc[id]
	if i == nil {
		i = &Incarnation{ID: id, Kinds: map[string]int{}, Runs: []uint64{}, chosen: map[uint64]*line{}, segs: map[uint32]bool{}}
		a.inc[id], a.at[id] = i, map[uint64][]*line{}
		a.out.Incarnations = append(a.out.Incarnations, i)
	}
	return i
}

// chain walks from the newest number down: each entry names the one before, so what is above decides what belongs below.
func (a *auditor) chain(i *Incarnation) {
	at := a.at[i.ID]
	numbers := make([]uint64, 0, len(at))
	for n := range at {
		numbers = append(numbers, n)
	}
	slices.SortFunc(numbers, func(x, y uint64) int { return cmp.Compare(y, x) })
	var above *line
	for _, n := range numbers {
		if above != nil && above.Number > n+1 {
			a.gap(i, Range{n + 1, above.Number - 1}, above)
			above = nil
		}
		above = a.choose(i, at[n], above)
	}
	switch {
	case above == nil:
	case above.Number > 0:
		a.gap(i, Range{0, above.Number - 1}, above)
	case above.Prev != a.e.book.Genesis(i.ID):
		a.say(i, "altered", &Range{0, 0}, &above.hash, "Number 0 does not begin this ledger: it names %s where the genesis of this cart and incarnation belongs.", above.Prev)
	}
	if len(numbers) > 0 {
		i.First, i.Last = numbers[len(numbers)-1], numbers[0]
		i.LastHash = i.chosen[i.Last].hash
	}
}

// choose picks the line that the one above names.
func (a *auditor) choose(i *Incarnation, here []*line, above *line) *line {
	n := here[0].Number
	pick := slices.IndexFunc(here, func(l *line) bool { return above != nil && above.Prev == l.hash || above == nil && a.headIs(i, l) })
	if pick < 0 && above != nil {
		a.say(i, "altered", &Range{n, n}, &here[0].hash, "Number %d was altered: number %d names the entry %s before it, and what is here is %s.", n, n+1, above.Prev, here[0].hash)
	}
	if pick < 0 {
		pick = max(0, slices.IndexFunc(here, func(l *line) bool { return !l.salvaged }))
	}
	l := here[pick]
	for _, other := range here {
		switch {
		case other == l:
		case other.salvaged || l.salvaged && above != nil && above.Prev == l.hash:
			a.note("Beside number %d lies an entry %s of a commit that never ended, in a damaged segment. It is no part of the ledger.", n, other.hash)
		default:
			a.say(i, "doubled", &Range{n, n}, &other.hash, "Number %d was used twice: for %s and for %s.", n, l.hash, other.hash)
		}
	}
	if l.recorded != (ledger.Hash{}) && l.recorded != l.hash {
		a.say(i, "altered", &Range{n, n}, &l.hash, "Number %d was altered: the hash kept with it is %s, its own is %s.", n, l.recorded, l.hash)
	}
	i.chosen[n] = l
	return l
}

// headIs says whether a signed head names the line.
func (a *auditor) headIs(i *Incarnation, l *line) bool {
	return slices.ContainsFunc(a.e.heads, func(h headEvidence) bool {
		return h.err == nil && h.Incarnation == i.ID && h.Number == l.Number && h.Hash == l.hash
	})
}

// gap judges numbers that are not here: erased after receipt, if a signed checkpoint vouches for their end, or missing.
func (a *auditor) gap(i *Incarnation, r Range, above *line) {
	from := r.First
	if best := a.checkpoint(i, r, above, func(err error) bool { return err == nil }); best != nil {
		i.Erased = append(i.Erased, Range{r.First, best.Number})
		from = best.Number + 1
	}
	if from > r.Last {
		return
	}
	if best := a.checkpoint(i, Range{from, r.Last}, above, func(err error) bool { return errors.Is(err, errNoKey) }); best != nil {
		said := Range{from, best.Number}
		a.say(i, "unsigned", &said, &best.Hash, "Not here: %s. A checkpoint says that the hub has them; "+
			"there is no key here to check its signature with (give --key).", said)
		from = best.Number + 1
	}
	if from > r.Last {
		return
	}
	m := Range{from, r.Last}
	if above != nil {
		a.say(i, "missing", &m, &above.Prev, "Missing: %s. The last of them has the hash %s, as number %d says.", m, above.Prev, above.Number)
	} else {
		a.say(i, "missing", &m, nil, "Missing: %s.", m)
	}
}

// checkpoint finds the newest one that speaks of the end of a gap, with a signature of some goodness.
func (a *auditor) checkpoint(i *Incarnation, r Range, above *line, good func(error) bool) (best *headEvidence) {
	for k := range a.e.heads {
		h := &a.e.heads[k]
		if good(h.err) && h.segment > 0 && h.Incarnation == i.ID && h.Number >= r.First && h.Number <= r.Last && (best == nil || h.Number > best.Number) {
			best = h
		}
	}
	if best != nil && best.Number == r.Last && above != nil && above.Prev != best.Hash {
		return nil
	}
	return best
}

// content counts what the entries are about, and names items that are damaged.
func (a *auditor) content(i *Incarnation) {
	numbers := make([]uint64, 0, len(i.chosen))
	for n := range i.chosen {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	i.Entries = len(numbers)
	for _, n := range numbers {
		l := i.chosen[n]
		switch l.Kind {
		case ledger.Run:
			i.Runs = append(i.Runs, n)
		case ledger.Fork:
			body := l.Body
			i.Forks = &body
		case ledger.Item:
			a.item(i, l)
		}
	}
}

func (a *auditor) item(i *Incarnation, l *line) {
	r := Range{l.Number, l.Number}
	it := a.e.items[l.hash]
	if it == nil {
		i.Kinds["unknown"]++
		a.say(i, "missing", &r, &l.Body, "Number %d is the item %s, and the item itself is not here.", l.Number, l.Body)
		return
	}
	i.Kinds[capture.Kind(it.kind).String()]++
	switch {
	case it.refused:
		a.say(i, "refused", &r, &l.Body, "Number %d, the item %s, was refused: it did not open. It is at the cart.", l.Number, l.Body)
	case it.problem != "":
		a.say(i, "altered", &r, &l.Body, "Number %d, the item %s: %s.", l.Number, l.Body, it.problem)
	case len(it.bad) > 0:
		a.say(i, "altered", &r, &l.Body, "Number %d, the item %s, is damaged or altered: of its %d chunks these are not what their hashes say: %v.", l.Number, l.Body, it.chunks, it.bad)
	}
}
