package main

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"telecart/provisioning/claim"
)

func run(t *testing.T, in string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := command(strings.NewReader(in), &out, io.Discard)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	steps := []struct {
		in   string
		args []string
		fail string // "": it works
	}{
		{"", []string{"claim", "--state", state, "--tenant", "north", "--cart", "cart-1"}, "keys init"},
		{"", []string{"keys", "init", "--offline", filepath.Join(dir, "offline"), "--state", state, "--hub", "hub.test"}, ""},
		{"", []string{"keys", "init", "--offline", filepath.Join(dir, "offline"), "--state", state, "--hub", "hub.test"}, "is there already"},
		{"", []string{"claim", "--state", state, "--tenant", "north", "--cart", "cart-1"}, "give --address"},
		{"", []string{"claim", "--state", state, "--tenant", "North Pole", "--cart", "cart-1", "--address", "hub.test:443"}, "want 1 to 64"},
		{"a long enough password\n", []string{"user", "add", "--state", state, "--name", "ada", "--role", "specialist", "--tenant", "north", "--password-stdin"}, ""},
		{"a long enough password\n", []string{"user", "add", "--state", state, "--name", "ada", "--role", "specialist", "--tenant", "north", "--password-stdin"}, "there is an account"},
		{"short\n", []string{"user", "add", "--state", state, "--name", "ben", "--role", "it", "--tenant", "north", "--password-stdin"}, "not a usable password"},
		{"", []string{"user", "add", "--state", state, "--name", "ben", "--role", "it", "--tenant", "north"}, "--password-stdin"},
		{"", []string{"backup", "--state", state, "--to", filepath.Join(dir, "backup")}, ""},
		{"", []string{"keys", "renew", "--offline", filepath.Join(dir, "offline"), "--state", state}, ""},
		{"", []string{"keys", "status", "--state", state}, ""},
		{"", []string{"keys", "status", "--json", "--state", state}, ""},
		{"", []string{"keys", "rotate", "--state", state, "--backup", filepath.Join(dir, "backup")}, "either --offline"},
		{"", []string{"keys", "rotate", "--state", state, "--backup", state, "--out", filepath.Join(dir, "list")}, "different places"},
		{"", []string{"keys", "rotate", "--state", state, "--backup", filepath.Join(dir, "backup"), "--out", filepath.Join(dir, "list")}, ""},
		{"", []string{"keys", "sign", "--offline", filepath.Join(dir, "offline"), "--in", filepath.Join(dir, "list"), "--out", filepath.Join(dir, "signed")}, ""},
		{"", []string{"keys", "install", "--state", state, "--in", filepath.Join(dir, "signed")}, ""},
		{"", []string{"keys", "destroy", "--state", state, "--backup", filepath.Join(dir, "backup"), "--epoch", "2"}, "rotate first"},
		{"", []string{"keys", "destroy", "--state", state, "--backup", filepath.Join(dir, "backup"), "--epoch", "1"}, ""},
		{"", []string{"keys", "write-off", "--state", state, "--cart", "north/cart-1", "--reason", "lost"}, "no such cart"},
		{"", []string{"--config", filepath.Join(dir, "none.toml")}, "no such file"},
		{"", []string{"room", "--listen", "127.0.0.1:0"}, "--token"},
	}
	for _, s := range steps {
		_, err := run(t, s.in, s.args...)
		if (err == nil) != (s.fail == "") || err != nil && !strings.Contains(err.Error(), s.fail) {
			t.Fatalf("%v: %v, want %q", s.args, err, s.fail)
		}
	}
	out, err := run(t, "", "claim", "--state", state, "--tenant", "north", "--cart", "cart-1", "--site", "ward", "--address", "hub.test:443")
	if err != nil {
		t.Fatal(err)
	}
	code, rest, _ := strings.Cut(out, "\n")
	if c, err := claim.Parse(code); err != nil || c.Cart != "cart-1" || c.HubAddress != "hub.test:443" || !strings.Contains(rest, "█") {
		t.Fatalf("%q: %v", out, err)
	}
}

func TestVersion(t *testing.T) {
	if out, err := run(t, "", "--version"); err != nil || out != "telecart-hub version "+version+"\n" || version == "" {
		t.Fatalf("%q: %v", out, err)
	}
}
