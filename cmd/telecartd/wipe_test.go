package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telecart/cmd/telecartd/agent"
)

// A wipe that finds nothing is an error (exit code 1), and not one that another try would mend.
func TestWipeOfNothing(t *testing.T) {
	dir := t.TempDir()
	config, state := filepath.Join(dir, "telecartd.toml"), filepath.Join(dir, "state")
	if err := os.WriteFile(config, fmt.Appendf(nil, "state = %q\n", state), 0o600); err != nil {
		t.Fatal(err)
	}
	err := wipe([]string{"--config", config})
	if !errors.Is(err, agent.ErrNothingToWipe) || !strings.Contains(err.Error(), state) || strings.Contains(err.Error(), "run it again") {
		t.Error(err)
	}
	if _, err := os.Lstat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was made: %v", state, err)
	}
}
