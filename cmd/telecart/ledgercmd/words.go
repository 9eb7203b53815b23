package ledgercmd

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Verdict is what `telecart ledger verify` says about a folder.
type Verdict struct {
	Format   int      `json:"format"` // of this report: 1
	Kind     string   `json:"kind"`   // cart or hub
	Dir      string   `json:"dir"`
	Key      string   `json:"key"`
	List     string   `json:"key_list"`
	Files    int      `json:"files"`
	Bytes    int64    `json:"bytes"`
	SHA256   string   `json:"sha256,omitempty"` // over the names, sizes and SHA-256 of the files, as they were read
	Opened   int      `json:"opened,omitempty"`
	Unopened int      `json:"unopened,omitempty"` // no record key given for them
	Books    []*Book  `json:"books"`
	Notes    []string `json:"notes,omitempty"`
	Complete bool     `json:"complete"`
	Sentence string   `json:"verdict"`
}

// judge comes to the verdict.
func (v *Verdict) judge() {
	v.Format, v.Complete = 1, true
	var wrong, right []string
	for _, b := range v.Books {
		if !b.Complete {
			v.Complete = false
			first := b.Problems[0].Text
			if n := len(b.Problems); n > 1 {
				first += fmt.Sprintf(" (and %d more, above)", n-1)
			}
			wrong = append(wrong, fmt.Sprintf("%s: %s", title(b), first))
			continue
		}
		right = append(right, fmt.Sprintf("%s: %s", title(b), end(b)))
	}
	if v.Complete {
		v.Sentence = "Complete and unaltered. " + strings.Join(right, " ")
	} else {
		v.Sentence = "NOT complete. " + strings.Join(append(wrong, right...), " ")
	}
}

func title(b *Book) string {
	kind := "care"
	if b.Practice {
		kind = "practice"
	}
	return fmt.Sprintf("Ledger of %s of cart %s of %s", kind, b.Cart, b.Tenant)
}

// end says up to where, and by whose signature.
func end(b *Book) string {
	var parts []string
	for _, i := range b.Incarnations {
		switch {
		case i.Signed != nil:
			parts = append(parts, fmt.Sprintf("up to number %d (hash %s) of incarnation %s, signed by the cart's device key.", i.Signed.Number, i.Signed.Hash, i.ID))
		case i.Vouched != nil:
			parts = append(parts, fmt.Sprintf("up to number %d of incarnation %s, which the signed incarnation %s names as its forerunner.", i.Last, i.ID, *i.Vouched))
		}
		if i.Unsigned > 0 {
			parts = append(parts, fmt.Sprintf("The %d numbers after it are here and follow, and are not signed yet.", i.Unsigned))
		}
	}
	return strings.Join(parts, " ")
}

type page struct {
	w   io.Writer
	err error
}

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// print writes the verdict in sentences; the last line is the verdict itself.
func (v *Verdict) print(w io.Writer, now time.Time, version string) error {
	p := &page{w: w}
	p.line("Verdict on a ledger (format 1), by telecart %s, %s, from the files alone.", version, now.UTC().Format("2006-01-02 15:04:05 UTC"))
	p.line("Folder:      %s (a %s's)", v.Dir, v.Kind)
	p.line("Read:        %d files, %d bytes; disk format 1 (uplink/outbox/FORMAT.md)", v.Files, v.Bytes)
	if v.SHA256 != "" {
		p.line("             SHA-256 of the list of their names, sizes and SHA-256: %s", v.SHA256)
	}
	p.line("Device key:  %s", v.Key)
	p.line("Key list:    %s", v.List)
	for _, b := range v.Books {
		v.book(p, b)
	}
	if v.Opened+v.Unopened > 0 {
		p.line("\n%d items were opened with the record keys given, and are what the database says; for %d no key was given.", v.Opened, v.Unopened)
	}
	if len(v.Notes) > 0 {
		p.line("\nTo be noted")
		for _, n := range v.Notes {
			p.line("  %s", n)
		}
	}
	p.line("\nWhat this can't show")
	p.line("  What follows the last signed number: a cart signs its head now and then, and whoever holds the folder could take away what is newer.")
	if v.Kind == "cart" {
		p.line("  That the whole folder is not an older copy of itself: compare its last signed number with the hub's.")
	}
	if v.Opened == 0 {
		p.line("  What the items say: they are sealed, and only the hub's record keys open them. That they are the very items that were entered, it shows.")
	}
	p.line("\nVERDICT: %s", v.Sentence)
	return p.err
}

func (v *Verdict) book(p *page, b *Book) {
	p.line("\n%s", title(b))
	for _, i := range b.Incarnations {
		p.line("  Incarnation %s: numbers %d to %d, %d entries here.", i.ID, i.First, i.Last, i.Entries)
		for _, e := range i.Erased {
			p.line("    %s: erased after the hub's receipt; a checkpoint signed by the cart names the hash of the last of them.", upper(e.String()))
		}
		if i.Forks != nil {
			p.line("    Its number 0 says that it goes on from a disputed head, %s.", *i.Forks)
		}
		if len(i.Runs) > 0 {
			p.line("    The agent was started %d times, at numbers %s.", len(i.Runs), some(i.Runs))
		}
		p.line("    Items: %s.", kinds(i.Kinds))
		if i.Whole && i.Entries > 0 {
			p.line("    Every entry names the hash of the one before it, without a gap, up to number %d, hash %s.", i.Last, i.LastHash)
		}
		switch {
		case i.Signed != nil:
			p.line("    The cart's device key signed number %d, hash %s; %d entries after it are not signed yet.", i.Signed.Number, i.Signed.Hash, i.Unsigned)
		case i.Vouched != nil:
			p.line("    Incarnation %s, which is signed, names its last hash.", *i.Vouched)
		default:
			p.line("    No head of it is signed.")
		}
	}
	if len(b.Incarnations)+b.Receipts > 0 {
		p.line("  Receipts: %d, %s; of the items here %d have one and %d have none.", b.Receipts, signatures(b), b.Received, b.Waiting)
	}
	if gone := erased(b); gone > 0 {
		p.line("  Of the %d numbers that were erased the hub's receipts for %d items are kept here. The others were starts of the agent, or their receipts are not kept any more.", gone, b.Erased)
	}
	for _, n := range b.Notes {
		p.line("  Note: %s", n)
	}
	if len(b.Problems) > 0 {
		p.line("  Wrong:")
		for k, x := range b.Problems {
			p.line("  %3d. [%s] %s", k+1, x.Code, x.Text)
		}
	}
}

// signatures says what was found out about the receipts' signatures.
func signatures(b *Book) string {
	bad := 0
	for _, p := range b.Problems {
		if p.Code == "forged" && strings.HasPrefix(p.Text, "A receipt") {
			bad++
		}
	}
	switch {
	case b.Unchecked > 0:
		return "not checked, for want of a key list"
	case bad > 0:
		return fmt.Sprintf("%d of them not signed by a receipt key of the list", bad)
	}
	return "each signed by a receipt key of the list"
}

func erased(b *Book) (n uint64) {
	for _, i := range b.Incarnations {
		for _, e := range i.Erased {
			n += e.Last - e.First + 1
		}
	}
	return n
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func some(n []uint64) string {
	s := strings.Trim(fmt.Sprint(n[:min(8, len(n))]), "[]")
	if len(n) > 8 {
		s += " ..."
	}
	return strings.ReplaceAll(s, " ", ", ")
}

func kinds(m map[string]int) string {
	if len(m) == 0 {
		return "none"
	}
	total := 0
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		total += m[k]
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(parts, ", "))
}
