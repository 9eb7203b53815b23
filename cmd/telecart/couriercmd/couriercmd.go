// Package couriercmd is `telecart courier`: the cart's half of carrying sealed items on a stick (uplink/courier).
//
// Parties: whoever is at the cart exports and brings receipts back; whoever is at the hub imports there. Keys: the cart's device
// key, if it lies in the state folder and a certificate there says so, signs the head as it is at the export; without it the heads
// that the agent wrote down go.
//
// Invariants: the agent may run; nothing in the cart's books is written.
package couriercmd

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/courier"
)

// New is the command.
func New() *cobra.Command {
	c := &cobra.Command{Use: "courier", Short: "Carry sealed items on a stick to the hub, and receipts back"}
	c.AddCommand(exportCommand(), importCommand())
	return c
}

func exportCommand() *cobra.Command {
	var x courier.Export
	var all, noKey bool
	c := &cobra.Command{Use: "export", Short: "Write the sealed items that wait for a receipt to a stick", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if all {
				x.Which = courier.All
			}
			id := readIdentity(x.State)
			x.Root = id.KeysRoot
			if !noKey {
				x.Sign = deviceKey(x.State)
			}
			out, err := x.Run(c.Context())
			if err != nil {
				return err
			}
			return out.Print(c.OutOrStdout())
		}}
	f := c.Flags()
	f.StringVar(&x.State, "state", "", "the cart's state folder")
	f.StringVar(&x.To, "to", "", "the stick's folder")
	f.Int64Var(&x.Limit, "limit", 0, "bytes of items at most (default: all); urgent ones go first")
	f.BoolVar(&all, "all", false, "also items that the hub has signed for")
	f.BoolVar(&noKey, "no-key", false, "don't sign the ledger's head anew, even if the device key is here")
	require(c, "state", "to")
	return c
}

func importCommand() *cobra.Command {
	var state, hub string
	c := &cobra.Command{Use: "import FOLDER", Short: "At the hub: import a stick's items. At the cart: take the receipts", Args: cobra.ExactArgs(1),
		Long: "With --hub, the items go to the hub that runs on this machine, and receipts are written to the stick (a hub that is stopped: telecart-hub courier import).\n" +
			"With --state, the receipts on the stick go to the cart's inbox, from where its agent takes them.",
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case state != "" && hub == "":
				return fetch(c, args[0], state)
			case hub != "" && state == "":
				out, err := toHub(c.Context(), args[0], hub)
				if err != nil {
					return err
				}
				return out.Print(c.OutOrStdout())
			}
			return errors.New("courier import: give --hub STATE at the hub, or --state STATE at the cart")
		}}
	c.Flags().StringVar(&state, "state", "", "the cart's state folder")
	c.Flags().StringVar(&hub, "hub", "", "the hub's state folder")
	return c
}

func require(c *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := c.MarkFlagRequired(f); err != nil {
			panic(err) // a flag that was not defined: a mistake in this file
		}
	}
}

// identity is what is needed of a cart's identity.json.
type identity struct {
	Tenant      string `json:"tenant"`
	Cart        string `json:"cart"`
	KeysRoot    []byte `json:"keys_root"`
	Certificate string `json:"certificate"`
}

// wiped says that the cart was wiped, in its state folder: the key that lies there signed nothing yet.
const wiped = "wiped.json"

func readIdentity(state string) (id identity) {
	b, err := os.ReadFile(filepath.Join(state, "identity/identity.json"))
	if err != nil || json.Unmarshal(b, &id) != nil {
		return identity{} // wiped: what lies there still goes
	}
	return id
}

// deviceKey is the cart's device key, if it lies in a file here; nil: it is in a TPM, or this is a card without it, or no certificate
// says that it is the cart's: a wipe leaves a new one.
func deviceKey(state string) crypto.Signer {
	if _, err := os.Lstat(filepath.Join(state, wiped)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	certified, _ := pem.Decode([]byte(readIdentity(state).Certificate))
	b, err := os.ReadFile(filepath.Join(state, "identity/key.pem"))
	block, _ := pem.Decode(b)
	if err != nil || block == nil || certified == nil {
		return nil
	}
	c, err := x509.ParseCertificate(certified.Bytes)
	if err != nil {
		return nil
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		e, ok := k.(*ecdsa.PrivateKey)
		if err != nil || !ok {
			return nil
		}
		key = e
	}
	if !key.PublicKey.Equal(c.PublicKey) {
		return nil
	}
	return key
}

// fetch brings receipts to the cart.
func fetch(c *cobra.Command, stick, state string) error {
	if _, err := os.Stat(filepath.Join(state, "care")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("courier import: %s is no cart's state folder (no care/ in it)", state)
	}
	me := readIdentity(state)
	n, damage, err := courier.Fetch(kit.Disk{}, stick, state, func(b ledger.Book) bool {
		return me.Cart == "" || b.Tenant == me.Tenant && b.Cart == me.Cart
	})
	for _, d := range damage {
		fmt.Fprintf(c.OutOrStdout(), "%s: %s.\n", d.File, d.What)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%d receipts wait in the cart's inbox; its agent verifies and takes them.\n", n)
	if len(damage) > 0 {
		err = errors.Join(err, courier.ErrSome)
	}
	return err
}

// controlSocket is where a running hub answers, in its state folder.
const controlSocket = "control.sock"

func toHub(ctx context.Context, stick, state string) (courier.Imported, error) {
	socket := filepath.Join(state, controlSocket)
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer t.CloseIdleConnections()
	conn, err := t.DialContext(ctx, "", "")
	if err != nil {
		return courier.Imported{}, fmt.Errorf("courier import: no hub answers in %s: give a running hub's state folder, or use telecart-hub courier import", state)
	}
	conn.Close()
	return courier.Import{From: stick, Client: &http.Client{Transport: t}, Base: "http://hub"}.Run(ctx)
}
