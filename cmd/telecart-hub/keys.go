package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telecart/cmd/telecart-hub/serve"
)

// offlineUse is what every command that reads the offline root says of it.
const offlineUse = "folder of the offline root: on a medium that is never connected to the hub but now"

func keysCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Keys of the hub"}
	c.AddCommand(keysInitCommand(), keysRenewCommand(), keysRotateCommand(out), keysSignCommand(out), keysInstallCommand(out), keysStatusCommand(out),
		keysWriteOffCommand(), keysDestroyCommand(out))
	return c
}

func keysInitCommand() *cobra.Command {
	var offline, state, hub string
	c := &cobra.Command{Use: "init", Short: "Make the hub's keys, signed by the offline root", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return serve.InitKeys(offline, state, hub, time.Now()) }}
	c.Flags().StringVar(&offline, "offline", "", offlineUse)
	c.Flags().StringVar(&hub, "hub", "", "the hub's DNS name")
	stateFlag(c, &state)
	must(c, "offline", "hub")
	return c
}

func keysRenewCommand() *cobra.Command {
	var offline, state string
	c := &cobra.Command{Use: "renew", Short: "Sign the list of keys anew, for another year; the hub takes it when it starts", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return serve.RenewKeys(offline, state, time.Now()) }}
	c.Flags().StringVar(&offline, "offline", "", offlineUse)
	stateFlag(c, &state)
	must(c, "offline")
	return c
}

func keysRotateCommand(out io.Writer) *cobra.Command {
	var r serve.RotateRequest
	c := &cobra.Command{Use: "rotate", Short: "Draw new record keys, for carts to seal to from now on; the hub must not run",
		Long: "Draws record keys of a new epoch, for care and practice. With --offline the list is signed here; with --out it is written to a file,\n" +
			"signed by `keys sign` where the offline root is, and taken into use by `keys install`.", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return serve.RotateKeys(c.Context(), r, time.Now(), out) }}
	f := c.Flags()
	f.StringVar(&r.Offline, "offline", "", offlineUse)
	f.StringVar(&r.Out, "out", "", "file for the list that is to be signed elsewhere")
	f.StringVar(&r.Backup, "backup", "", "the folder of `backup`, on another disk: gets the new private keys before any cart seals to them")
	f.BoolVar(&r.Receipt, "receipt", false, "draw a new receipt key too")
	stateFlag(c, &r.State)
	must(c, "backup")
	return c
}

func keysSignCommand(out io.Writer) *cobra.Command {
	var offline, in, to string
	c := &cobra.Command{Use: "sign", Short: "Sign a list where the offline root is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return serve.SignKeys(offline, in, to, out) }}
	f := c.Flags()
	f.StringVar(&offline, "offline", "", "folder of the offline root")
	f.StringVar(&in, "in", "", "the list, of `keys rotate --out`")
	f.StringVar(&to, "out", "", "file for the signed list")
	must(c, "offline", "in", "out")
	return c
}

func keysInstallCommand(out io.Writer) *cobra.Command {
	var state, in string
	c := &cobra.Command{Use: "install", Short: "Take a signed list into use; the hub must not run", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return serve.InstallKeys(c.Context(), state, in, out) }}
	c.Flags().StringVar(&in, "in", "", "the signed list, of `keys sign`")
	stateFlag(c, &state)
	must(c, "in")
	return c
}

func keysStatusCommand(out io.Writer) *cobra.Command {
	var state string
	var asJSON bool
	c := &cobra.Command{Use: "status", Short: "Which epochs there are, and which carts may still seal to them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := serve.KeysStatus(c.Context(), state)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(out)
				e.SetIndent("", "  ")
				return e.Encode(r)
			}
			return r.Print(out, time.Now())
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	stateFlag(c, &state)
	return c
}

func keysWriteOffCommand() *cobra.Command {
	var state, cart string
	var r serve.WriteOffRequest
	c := &cobra.Command{Use: "write-off", Short: "Give up what a cart may still hold, so that an old epoch can be destroyed; audited", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tenant, name, ok := strings.Cut(cart, "/")
			if !ok {
				return fmt.Errorf("keys: --cart %q: want TENANT/CART", cart)
			}
			r.Tenant, r.Cart = tenant, name
			return serve.WriteOffKeys(c.Context(), state, r)
		}}
	f := c.Flags()
	f.StringVar(&cart, "cart", "", "TENANT/CART")
	f.StringVar(&r.Device, "device", "", "one of its devices, as `keys status` names it (default: the whole cart, gaps of its ledger too)")
	f.StringVar(&r.Reason, "reason", "", "why, for the audit trail")
	stateFlag(c, &state)
	must(c, "cart", "reason")
	return c
}

func keysDestroyCommand(out io.Writer) *cobra.Command {
	var r serve.DestroyRequest
	c := &cobra.Command{Use: "destroy", Short: "Destroy an old epoch's private keys, once all carts are accounted for; the hub must not run", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return serve.DestroyKeys(c.Context(), r, out) }}
	c.Flags().Uint32Var(&r.Epoch, "epoch", 0, "its number, as `keys status` shows it")
	c.Flags().StringVar(&r.Backup, "backup", "", "the folder of `backup`: gets a last backup first, and loses the keys as well")
	stateFlag(c, &r.State)
	must(c, "epoch", "backup")
	return c
}
