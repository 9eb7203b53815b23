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
	_, err := fmt.Fprintf(w, "%d items (%d bytes) were written and read back; %d were on the stick already.\n", x.Items, x.Bytes, x.Before)
	for _, d := range x.Damaged {
		_, e := fmt.Fprintf(w, "%s: %s.\n", d.File, d.What)
		err = errors.Join(err, e)
	}
	if x.Left > 0 {
		why := "the limit"
		if x.Full {
			why = "the stick is full"
		}
		_, e := fmt.Fprintf(w, "%d items were left: %s. The urgent and the oldest went first.\n", x.Left, why)
		err = errors.Join(err, e)
	}
	if len(x.Epochs) > 0 {
		_, e := fmt.Fprintf(w, "They open with record keys of the epochs %v: the hub must keep these until the stick was imported.\n", x.Epochs)
		err = errors.Join(err, e)
	}
	if len(x.Damaged)+x.Left > 0 {
		err = errors.Join(err, ErrSome)
	}
	return err
}
