package torture

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"telecart/device/kit/planted"
)

// ErrFound: something that must not be was found; it was already said.
var ErrFound = errors.New("torture: something was lost, doubled or can't be verified")

// New makes the command "torture".
func New() *cobra.Command {
	o := Options{Runs: 1000, Seed: 1}
	var asJSON, worker, check, bugs bool
	var only string
	var until, stride uint64
	c := &cobra.Command{Use: "torture", Short: "Kill cart and hub on simulated disks and networks, and count what is lost", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case bugs:
				for _, b := range planted.All() {
					fmt.Fprintln(c.OutOrStdout(), b)
				}
				return nil
			case check:
				return CheckLoop(os.Stdin, os.Stdout)
			case worker:
				return Worker(c.Context(), os.Stdout, o.Seed, until, stride, o.Dir)
			}
			o.Out = c.ErrOrStderr()
			if only != "" {
				if _, err := fmt.Sscan(only, &o.Seed); err != nil {
					return fmt.Errorf("torture: --only %q is no seed", only)
				}
				o.Only, o.Out = true, c.OutOrStdout()
			}
			r, err := Run(c.Context(), o)
			if asJSON {
				b, jerr := json.Marshal(r)
				if jerr != nil {
					return jerr
				}
				fmt.Fprintln(c.OutOrStdout(), string(b))
			} else {
				r.Table(c.OutOrStdout())
			}
			if err == nil && !r.Clean() {
				err = ErrFound
			}
			return err
		}}
	f := c.Flags()
	f.IntVar(&o.Runs, "runs", o.Runs, "how many runs")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "seed of the first run; the next has the next one")
	f.BoolVar(&asJSON, "json", false, "one JSON object on the last line")
	f.StringVar(&only, "only", "", "play this one seed, and tell its story")
	f.StringVar(&o.Dir, "dir", "", "folder for the simulated disks (default: /dev/shm)")
	f.IntVar(&o.Workers, "workers", 0, "processes (default: one for each processor)")
	f.BoolVar(&o.First, "first", false, "stop at the first finding")
	f.BoolVar(&worker, "worker", false, "")
	f.BoolVar(&check, "check", false, "")
	f.BoolVar(&bugs, "bugs", false, "list the bugs that make torture-planted plants")
	f.Uint64Var(&until, "until", 0, "")
	f.Uint64Var(&stride, "stride", 1, "")
	for _, h := range []string{"worker", "check", "until", "stride"} {
		f.MarkHidden(h)
	}
	return c
}
