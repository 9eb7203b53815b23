package main

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"telecart/cmd/telecart/stage"
)

// claimCommand is telecart-hub's own claim command under the name that people know: it needs the hub's state.
func claimCommand() *cobra.Command {
	return &cobra.Command{Use: "claim", Short: "At the hub: print a code and a QR that enrol one cart", DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			bin, err := stage.FindBin()
			if err != nil {
				return err
			}
			cmd := exec.CommandContext(c.Context(), filepath.Join(bin, "telecart-hub"), append([]string{"claim"}, args...)...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, c.OutOrStdout(), c.ErrOrStderr()
			return cmd.Run()
		}}
}
