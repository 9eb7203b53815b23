// telecart is the command line for people: demo, drill, claim, analyze.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"telecart/cmd/telecart/analyze"
	"telecart/cmd/telecart/bench"
	"telecart/cmd/telecart/couriercmd"
	"telecart/cmd/telecart/demo"
	"telecart/cmd/telecart/drill"
	"telecart/cmd/telecart/drill/drain"
	"telecart/cmd/telecart/killer"
	"telecart/cmd/telecart/ledgercmd"
	"telecart/cmd/telecart/stage"
	"telecart/cmd/telecart/torture"
)

// version is set by the build.
var version = "devel"

// errSaid: what went wrong was already said.
var errSaid = errors.New("said")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{Use: "telecart", Short: "telecart: carts, hubs and what lies between", Version: version, SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(demoCommand(), drillCommand(), claimCommand(), benchCommand(), analyze.New(), drain.New(), killer.New(), torture.New(), ledgercmd.New(version), couriercmd.New())
	if err := root.ExecuteContext(ctx); err != nil {
		if !errors.Is(err, errSaid) {
			fmt.Fprintln(os.Stderr, "telecart:", err)
		}
		os.Exit(exitCode(err))
	}
}

// exitCode is 1, or what the error asks for.
func exitCode(err error) int {
	var f interface{ ExitCode() int }
	if errors.As(err, &f) {
		return f.ExitCode()
	}
	return 1
}

func demoCommand() *cobra.Command {
	var o demo.Options
	c := &cobra.Command{Use: "demo", Short: "Run a hub and one cart of twins on this machine", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Out = c.OutOrStdout()
			return demo.Run(c.Context(), o)
		}}
	c.Flags().StringVar(&o.Camera, "camera", "twin", `a video device ("/dev/video0") instead of the simulated camera`)
	c.Flags().StringVar(&o.Dir, "dir", "", "put the state and the logs into this new folder, and keep them (default: a temporary one)")
	c.Flags().StringVar(&o.Bedside, "bedside", "127.0.0.1:7070", "address of the nurse's screen")
	c.Flags().StringVar(&o.Console, "console", "127.0.0.1:7080", "address of the specialist's console")
	c.Flags().BoolVar(&o.HTTPSOnly, "https-only", false, "nothing but HTTPS gets out of the clinic, through a CONNECT proxy: the hub has no UDP, media goes by TURN")
	return c
}

func drillCommand() *cobra.Command {
	var o drill.Options
	var asJSON bool
	c := &cobra.Command{Use: "drill", Short: "Cut the link, kill the agent, and count what arrived", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Say = c.ErrOrStderr()
			r, err := drill.Run(c.Context(), o)
			if err != nil {
				fmt.Fprintln(c.ErrOrStderr(), "telecart:", err) // the object comes last
			}
			b, jerr := json.Marshal(r)
			if jerr != nil {
				return jerr
			}
			if !asJSON {
				if b, jerr = json.MarshalIndent(r, "", "  "); jerr != nil {
					return jerr
				}
			}
			fmt.Fprintln(c.OutOrStdout(), string(b))
			if err != nil {
				return errSaid
			}
			return nil
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object on the last line")
	c.Flags().StringVar(&o.Keep, "keep", "", "leave cart/, hub/ and captured.jsonl in this folder")
	return c
}

func benchCommand() *cobra.Command {
	o := bench.Options{Dir: "out", JSON: "bench.json"}
	c := &cobra.Command{Use: "bench", Short: "Measure the idle agent, add what the Go benchmarks printed, and write bench.json (make bench)", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Bin, err = stage.FindBin(); err != nil {
				return err
			}
			o.Out = c.OutOrStdout()
			return bench.Run(c.Context(), o)
		}}
	c.Flags().StringVar(&o.GoOutput, "go-output", "", "file with the output of go test -bench")
	c.Flags().StringSliceVar(&o.Only, "only", nil, "names to measure (default: all)")
	return c
}
