// Package ledgercmd is `telecart ledger verify`: it checks a cart's or a hub's folder and says in plain sentences what that
// shows.
//
// Parties: whoever has the folder, and whoever has to believe the verdict: an auditor, a court. Keys: the cart's public device
// key, which heads are signed with; the receipt keys, from the list that the offline root signed; record keys only if given.
//
// Invariants: the files alone decide; no daemon, network or product database code is asked, and no byte or time in the folder
// changes. What is judged (audit.go, signed.go) is pure. The verdict says "complete" only if every number up to a signed head is
// here, or is vouched for by a signed checkpoint, and every item here is what was entered.
package ledgercmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// Options of a verification.
type Options struct {
	Key     string // file with the cart's public key or certificate, PEM; or the key's SHA-256, 64 hexadecimal digits
	Root    string // offline root: 64 hexadecimal digits, or a file of 32 bytes
	Records string // file with the hub's record keys
}

// Verify judges the folder of a cart or of a hub. An error means that it could not be read.
func Verify(ctx context.Context, dir string, o Options) (v *Verdict, err error) {
	if store := hubFolder(dir); store != "" {
		v, err = verifyHub(ctx, dir, store, o)
	} else if isCart(dir) {
		v, err = verifyCart(dir, o)
	} else {
		return nil, fmt.Errorf("ledger verify: %s is neither a cart's state folder (care/, practice/) nor a hub's (store/hub.db)", dir)
	}
	if err != nil {
		return nil, err
	}
	v.judge()
	return v, nil
}

// Failure is an error with the exit code that a script can tell it by.
type Failure struct {
	Code int
	err  error
}

// Exit codes of verify.
const (
	ExitIncomplete = 1
	ExitUnreadable = 2
)

func (f Failure) Error() string { return f.err.Error() }

// ExitCode is asked by main.
func (f Failure) ExitCode() int { return f.Code }

func (f Failure) Unwrap() error { return f.err }

// ErrIncomplete: the verdict is not "complete".
var ErrIncomplete = errors.New("ledger verify: not complete")

// New is the command.
func New(version string) *cobra.Command {
	c := &cobra.Command{Use: "ledger", Short: "What a cart or a hub recorded"}
	var o Options
	var asJSON bool
	verify := &cobra.Command{Use: "verify DIR", Short: "Check a cart's or a hub's folder from the files alone, and say what it shows", Args: cobra.ExactArgs(1),
		Long: "Checks a cart's state folder, or a hub's, from the files alone. Nothing in it is changed, and the cart or hub may be running.\n" +
			"Exit code 0: complete and unaltered; 1: not complete, or altered; 2: it could not be read.",
		RunE: func(c *cobra.Command, args []string) error {
			v, err := Verify(c.Context(), args[0], o)
			if err != nil {
				return Failure{ExitUnreadable, err}
			}
			if err := write(c.OutOrStdout(), v, asJSON, version); err != nil {
				return Failure{ExitUnreadable, err}
			}
			if !v.Complete {
				return Failure{ExitIncomplete, ErrIncomplete}
			}
			return nil
		}}
	f := verify.Flags()
	f.BoolVar(&asJSON, "json", false, "one JSON object")
	f.StringVar(&o.Key, "key", "", "the cart's public key or certificate, PEM, or the key's SHA-256, if its identity folder is gone or it was wiped")
	f.StringVar(&o.Root, "root", "", "the offline root's public key: 64 hexadecimal digits, or a file")
	f.StringVar(&o.Records, "records", "", "a hub's keys.json: open every item, and compare it with the database")
	c.AddCommand(verify)
	return c
}

func write(w io.Writer, v *Verdict, asJSON bool, version string) error {
	if !asJSON {
		return v.print(w, time.Now(), version)
	}
	b, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintln(w, string(b))
	}
	return err
}
