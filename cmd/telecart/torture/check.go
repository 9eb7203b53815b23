package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"telecart/uplink/outbox"
)

// checker is an outbox.Checker that keeps its child process for the next segment: a process for each would take most of
// the time. A file that kills it, or on which it hangs, is damaged.
type checker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// verdict is the child's about one file.
type verdict struct {
	Index outbox.Index `json:"index"`
	Error string       `json:"error,omitempty"`
}

const checkTime = 20 * time.Second

func (c *checker) begin() error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("torture: %w", err)
	}
	c.cmd = exec.Command(exe, "torture", "--check")
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "TORTURE_CHECK=1")
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("torture: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("torture: %w", err)
	}
	c.in, c.out = in, bufio.NewReaderSize(out, 64<<10)
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("torture: %w", err)
	}
	return nil
}

// Check asks the child.
func (c *checker) Check(_ context.Context, path string) (outbox.Index, error) {
	if c.cmd == nil {
		if err := c.begin(); err != nil {
			return outbox.Index{}, err
		}
	}
	late := time.AfterFunc(checkTime, func() { c.cmd.Process.Kill() })
	defer late.Stop()
	fmt.Fprintln(c.in, path)
	b, err := c.out.ReadBytes('\n')
	var v verdict
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	switch {
	case err != nil:
		c.close()
		return outbox.Index{}, fmt.Errorf("%w: the check of %s died", outbox.ErrDamaged, filepath.Base(path))
	case v.Error != "":
		return outbox.Index{}, fmt.Errorf("%w: %s", outbox.ErrDamaged, v.Error)
	}
	return v.Index, nil
}

func (c *checker) close() {
	if c.cmd != nil {
		c.in.Close()
		c.cmd.Process.Kill()
		c.cmd.Wait()
		c.cmd = nil
	}
}

// CheckLoop is the child: a path a line in, a verdict a line out.
func CheckLoop(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	enc := json.NewEncoder(out)
	for lines.Scan() {
		var v verdict
		x, err := outbox.Check(lines.Text())
		if v.Index = x; err != nil {
			v.Error = err.Error()
		}
		if err := enc.Encode(v); err != nil {
			return errors.Join(err, lines.Err())
		}
	}
	return lines.Err()
}
