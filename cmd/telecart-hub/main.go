// Command telecart-hub is the far end: carts send to it, people work at it. Without a sub-command it serves.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"telecart/cmd/telecart-hub/serve"
	"telecart/uplink/hub/room"
)

// version is set by the build.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(os.Stdin, os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "telecart-hub:", err)
		os.Exit(1)
	}
}

func command(in io.Reader, out, logs io.Writer) *cobra.Command {
	log := slog.New(slog.NewJSONHandler(logs, nil))
	var config string
	run := func(c *cobra.Command, _ []string) error {
		s, err := serve.LoadSettings(config)
		if err != nil {
			return err
		}
		return serve.Run(c.Context(), s, version, out, log)
	}
	root := &cobra.Command{Use: "telecart-hub", Short: "The hub: receives what carts capture, and is where specialists and IT work", Version: version, Args: cobra.NoArgs, RunE: run,
		SilenceErrors: true, SilenceUsage: true}
	root.SetOut(out)
	root.SetErr(logs)
	server := &cobra.Command{Use: "serve", Short: "Serve (the same without a sub-command)", Args: cobra.NoArgs, RunE: run}
	for _, c := range []*cobra.Command{root, server} {
		c.Flags().StringVar(&config, "config", "/etc/telecart-hub/hub.toml", "settings file")
	}
	root.AddCommand(server, roomCommand(log), keysCommand(out), userCommand(in), claimCommand(out), backupCommand(), courierCommand(out))
	return root
}

func roomCommand(log *slog.Logger) *cobra.Command {
	var addr, token string
	c := &cobra.Command{Use: "room", Short: "The forwarding room alone: HTTP and media on one port, one token for all streams", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return room.ListenAndServe(c.Context(), addr, token, log) }}
	c.Flags().StringVar(&addr, "listen", "127.0.0.1:8889", "address, TCP and UDP")
	c.Flags().StringVar(&token, "token", "", "bearer token")
	return c
}

// maxPasswordLine bounds what is read of standard input.
const maxPasswordLine = 4096

func userCommand(in io.Reader) *cobra.Command {
	var state string
	var fromStdin bool
	var r serve.UserRequest
	c := &cobra.Command{Use: "user", Short: "People's accounts"}
	add := &cobra.Command{Use: "add", Short: "Open an account; its password is the first line of standard input", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !fromStdin {
				return errors.New("user add: give --password-stdin and the password on standard input: one on the command line is seen by everybody")
			}
			line, err := bufio.NewReader(io.LimitReader(in, maxPasswordLine)).ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("user add: %w", err)
			}
			r.Password = strings.TrimRight(line, "\r\n")
			return serve.AddUser(c.Context(), state, r)
		}}
	f := add.Flags()
	f.StringVar(&r.Name, "name", "", "name to sign in with: a-z 0-9 . - _ @")
	f.StringVar(&r.Display, "display", "", "name as screens show it (default: the name)")
	f.StringVar(&r.Role, "role", "", "nurse, specialist or it")
	f.StringVar(&r.Tenant, "tenant", "", "hospital")
	f.BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	stateFlag(add, &state)
	must(add, "name", "role", "tenant")
	c.AddCommand(add)
	return c
}

func claimCommand(out io.Writer) *cobra.Command {
	var state string
	var r serve.ClaimRequest
	c := &cobra.Command{Use: "claim", Short: "Issue a claim code for a cart, good once and for a week", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			reply, err := serve.IssueClaim(c.Context(), state, r)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "%s\n\n%s\nfor cart %s of %s, until %s\n", reply.Code, reply.QR, r.Cart, r.Tenant, reply.Expires.Format(time.RFC3339))
			return err
		}}
	f := c.Flags()
	f.StringVar(&r.Tenant, "tenant", "", "hospital")
	f.StringVar(&r.Cart, "cart", "", "the cart's name")
	f.StringVar(&r.Site, "site", "", "clinic where it stands")
	f.StringVar(&r.Address, "address", "", "host:port that the cart dials (default: the hub's own)")
	stateFlag(c, &state)
	must(c, "tenant", "cart")
	return c
}

func backupCommand() *cobra.Command {
	var state, to string
	c := &cobra.Command{Use: "backup", Short: "Copy everything the hub keeps, keys included, to a folder on another disk", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return serve.Backup(c.Context(), state, to) }}
	c.Flags().StringVar(&to, "to", "", "folder; earlier backups there are brought up to date")
	stateFlag(c, &state)
	must(c, "to")
	return c
}

func stateFlag(c *cobra.Command, state *string) {
	c.Flags().StringVar(state, "state", "", "the hub's state folder")
	must(c, "state")
}

func must(c *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := c.MarkFlagRequired(f); err != nil {
			panic(err) // a flag that was not defined: a mistake in this file
		}
	}
}
