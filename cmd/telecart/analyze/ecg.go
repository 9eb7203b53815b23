package analyze

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"telecart/device/ecg"
)

type ecgOptions struct {
	rate, gain float64
	column     int
}

func ecgCommand() *cobra.Command {
	var o ecgOptions
	c := &cobra.Command{
		Use:   "ecg --rate HZ [--gain UNITS_PER_MV] [--column N] [FILE]",
		Short: "Print the sample numbers of the heart beats in one lead of an ECG",
		Long: `Reads one sample a line from FILE or standard input and prints the number of each heart beat's R peak, one a line, in
order, counted from 0. A first line that holds no number is a header, and does not count. "nan" is a missing sample.`,
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
			return findBeats(in, c.OutOrStdout(), o)
		},
	}
	c.Flags().Float64Var(&o.rate, "rate", 0, fmt.Sprintf("samples a second, %d to %d", ecg.MinRateHz, ecg.MaxRateHz))
	c.Flags().Float64Var(&o.gain, "gain", 0, "units of a sample per millivolt (default: not known)")
	c.Flags().IntVar(&o.column, "column", 0, "which column of a line holds the samples, from 1, if there are several")
	if err := c.MarkFlagRequired("rate"); err != nil {
		panic(err) // there is no such flag: a slip in these lines
	}
	return c
}

// findBeats says what it found even if the input then turns out to be broken.
func findBeats(in io.Reader, out io.Writer, o ecgOptions) (err error) {
	if o.column < 0 {
		return fmt.Errorf("analyze: column %d: columns are counted from 1", o.column)
	}
	a, err := ecg.New(ecg.Config{RateHz: o.rate, PerMillivolt: o.gain})
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	defer func() {
		if err = errors.Join(err, w.Flush()); err != nil {
			err = fmt.Errorf("analyze: %w", err)
		}
	}()
	samples := newColumn(in, o.column)
	for {
		x, err := samples.next()
		if errors.Is(err, io.EOF) {
			return write(w, a.Flush())
		}
		if err != nil {
			return err
		}
		if err := write(w, a.Write([]float64{x})); err != nil {
			return err
		}
	}
}

func write(w io.Writer, beats []ecg.Beat) error {
	for _, b := range beats {
		if _, err := fmt.Fprintln(w, b.Sample); err != nil {
			return err
		}
	}
	return nil
}
