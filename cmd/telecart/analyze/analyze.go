// Package analyze is the command that runs the cart's own signal chains over recorded samples, for people who want to check
// them against a recording whose truth they know.
//
// Parties: a person or a script, with samples in a file or on standard input; the packages under device that find beats.
//
// Invariants: the code that runs here is the code that runs on the cart, fed in order, piece by piece. Results go to
// standard output, one a line; what is wrong is said once, with the line's number, and ends the command.
package analyze

import "github.com/spf13/cobra"

// New makes the command.
func New() *cobra.Command {
	c := &cobra.Command{Use: "analyze", Short: "Run the cart's signal chains over recorded samples"}
	c.AddCommand(ecgCommand(), ppgCommand())
	return c
}
