package courier

import (
	"errors"
	"fmt"
	"io"
)

// ErrSome: not everything could be carried over.
var ErrSome = errors.New("courier: not everything went; see above")

// Print says in sentences what became of an import. It gives ErrSome if something was left.
func (x Imported) Print(w io.Writer) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		errs = append(errs, err)
	}
	some := len(x.Damaged) > 0
	for _, d := range x.Damaged {
		say("%s: %s.", d.File, d.What)
	}
	for _, b := range x.Books {
		kind := "care"
		if b.Practice {
			kind = "practice"
		}
		if b.Refused != "" {
			say("%s of cart %s of %s: nothing was imported: %s.", kind, b.Cart, b.Tenant, b.Refused)
			some = true
			continue
		}
		say("%s of cart %s of %s: the hub holds %d items of this stick and gave a receipt for each; %d ledger entries came along.", kind, b.Cart, b.Tenant, b.Items, b.Entries)
		if b.Void > 0 {
			say("  %d heads are signed by a key that was revoked; you said that they count.", b.Void)
		}
		for _, p := range b.Problems {
			say("  %s: %s.", p.File, p.What)
			some = true
		}
	}
	for _, f := range x.Files {
		say("Receipts: %s/%s. Take the stick back to the cart: telecart courier import FOLDER --state STATE.", Folder, f)
	}
	if len(x.Books) == 0 {
		say("There is nothing on this stick.")
	}
	if some {
		errs = append(errs, ErrSome)
	}
	return errors.Join(errs...)
}

// Print says in sentences what became of an export. It gives ErrSome if something was left.
func (x Exported) Print(w io.Writer) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		errs = append(errs, err)
	}
	say("%d items (%d bytes) were written and read back; %d were on the stick already.", x.Items, x.Bytes, x.Before)
	if x.OwnDisk {
		say("Note: this folder is on the cart's own disk. If it should be a stick, the stick is not mounted.")
	}
	if x.Restored {
		say("Receipts here are of more than one of the hub's stores: it was restored from a backup. So everything that is held goes, delivered or not.")
	}
	for _, d := range x.Damaged {
		say("%s: %s.", d.File, d.What)
	}
	switch {
	case x.Full && x.Left > 0:
		say("%d items were left: the stick is full, but for the room that the receipts need. The urgent and the oldest went first.", x.Left)
		say("Bring the receipts of these back to the cart, then export the rest; or export to a larger stick.")
	case x.Full:
		say("The stick is full: the newest entries of the ledger did not go. Make room on it, and export again.")
	case x.Left > 0:
		say("%d items were left: the limit. The urgent and the oldest went first.", x.Left)
	}
	if len(x.Epochs) > 0 {
		say("They open with record keys of the epochs %v: the hub must keep these until the stick was imported.", x.Epochs)
	}
	if len(x.Damaged)+x.Left > 0 || x.Full {
		errs = append(errs, ErrSome)
	}
	return errors.Join(errs...)
}
