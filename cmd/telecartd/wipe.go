package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"telecart/cmd/telecartd/agent"
	"telecart/device/kit"
)

// wipe is `telecartd wipe`: before a cart changes hands, is sent to be repaired, or is given up.
func wipe(args []string) error {
	f := flag.NewFlagSet("wipe", flag.ExitOnError)
	config := f.String("config", "", "settings file (see telecartd.toml)")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	set := agent.Defaults()
	if *config != "" {
		var err error
		if set, err = agent.Load(*config); err != nil {
			return err
		}
	}
	w, err := agent.Wipe(ctx, set, kit.System{})
	if errors.Is(err, agent.ErrNothingToWipe) {
		return err
	}
	if w.Unsigned != nil {
		fmt.Fprintln(os.Stderr, "telecartd: the ledger's end could not be signed any more; a courier can carry what is here, and nobody can prove that it is all:", w.Unsigned)
	}
	if err != nil {
		return fmt.Errorf("the wipe is not complete; run it again: %w", err)
	}
	who := "This cart had no identity."
	if w.Cart != "" {
		who = fmt.Sprintf("It was cart %s of %s until %s. Revoke it at the hub's console too: on flash the old key's blocks may outlive the wipe.",
			w.Cart, w.Tenant, w.At.Format(time.RFC3339))
	}
	fmt.Printf("wiped: key, certificate, key list, secrets; a new key waits for the next claim. %s\n"+
		"Sealed items stay in %s for a courier: telecart courier export --state %s --to STICK\n", who, set.State, set.State)
	return nil
}
