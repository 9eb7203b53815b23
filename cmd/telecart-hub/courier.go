package main

import (
	"io"

	"github.com/spf13/cobra"

	"telecart/cmd/telecart-hub/serve"
	"telecart/uplink/courier"
)

// courierCommand imports from a stick. telecart courier does the cart's half.
func courierCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{Use: "courier", Short: "What comes on a stick"}
	var state string
	var unsigned, revoked bool
	in := &cobra.Command{Use: "import FOLDER", Short: "Import the sealed items on a stick, and write the receipts back to it", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			trust := courier.Signed
			if unsigned {
				trust |= courier.Unsigned
			}
			if revoked {
				trust |= courier.Revoked
			}
			x, err := serve.ImportCourier(c.Context(), state, args[0], trust)
			if err != nil {
				return err
			}
			return x.Print(out)
		}}
	in.Flags().BoolVar(&unsigned, "unsigned", false, "also import what no signed head leads to: then nothing shows that it is the cart's own")
	in.Flags().BoolVar(&revoked, "revoked", false, "also import what keys signed that were revoked since")
	stateFlag(in, &state)
	c.AddCommand(in)
	return c
}
