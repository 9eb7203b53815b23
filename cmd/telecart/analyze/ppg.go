package analyze

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/spf13/cobra"

	"telecart/device/ppg"
)

type ppgOptions struct {
	rate   float64
	column int
}

func ppgCommand() *cobra.Command {
	var o ppgOptions
	c := &cobra.Command{
		Use:   "ppg --rate HZ [--column N] [FILE]",
		Short: "Print the pulse rate in one channel of a photoplethysmogram, once a second",
		Long: `Reads one sample a line from FILE or standard input and prints a line for each whole second of signal, of three columns with
tabs between them:

  seconds   of signal so far: 1, 2, 3, ...
  rate      the pulse, a whole number a minute, or --- if there is none to be trusted
  quality   good, or why there is no rate: not-yet, low-signal, no-pulse, moving, unlike-beats, stray-light

A first line that holds no number is a header, and does not count. "nan" is a missing sample. Scale, offset and polarity of the
samples don't matter.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in := c.InOrStdin()
			if len(args) > 0 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("analyze: %w", err)
				}
				defer f.Close()
				in = f
			}
			return findPulse(in, c.OutOrStdout(), o)
		},
	}
	c.Flags().Float64Var(&o.rate, "rate", 0, fmt.Sprintf("samples a second, %d to %d", ppg.MinRateHz, ppg.MaxRateHz))
	c.Flags().IntVar(&o.column, "column", 0, "which column of a line holds the samples, from 1, if there are several")
	if err := c.MarkFlagRequired("rate"); err != nil {
		panic(err) // there is no such flag: a slip in these lines
	}
	return c
}

// findPulse says what it found as soon as it did, even if the input then turns out to be broken.
func findPulse(in io.Reader, out io.Writer, o ppgOptions) (err error) {
	if o.column < 0 {
		return fmt.Errorf("analyze: column %d: columns are counted from 1", o.column)
	}
	chain, err := ppg.New(o.rate)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("analyze: %w", err)
		}
	}()
	samples := newColumn(in, o.column)
	for {
		x, err := samples.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r, ok := chain.Push(x)
		if !ok {
			continue
		}
		rate, quality := "---", string(r.Absent)
		if r.Absent == "" {
			rate, quality = fmt.Sprintf("%.0f", math.Round(r.Rate)), "good"
		}
		if _, err := fmt.Fprintf(out, "%d\t%s\t%s\n", r.Seconds, rate, quality); err != nil {
			return err
		}
	}
}
