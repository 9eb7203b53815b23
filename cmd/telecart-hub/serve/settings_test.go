package serve

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The sample names every key that the code knows and no other, and loads as it is and with its comments taken off.
func TestSample(t *testing.T) {
	s, err := LoadSettings("../hub.toml")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "hub.example.org" || s.PeopleListen != "" {
		t.Errorf("%+v", s)
	}
	b, err := os.ReadFile("../hub.toml")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, m := range regexp.MustCompile(`(?m)^(?:# )?([a-z_]+) = `).FindAllSubmatch(b, -1) {
		keys = append(keys, string(m[1]))
	}
	var known []string
	for i := range reflect.TypeFor[Settings]().NumField() {
		known = append(known, reflect.TypeFor[Settings]().Field(i).Tag.Get("toml"))
	}
	slices.Sort(keys)
	slices.Sort(known)
	if diff := cmp.Diff(known, keys); diff != "" {
		t.Errorf("the code's keys and the sample's:\n%s", diff)
	}
	full := filepath.Join(t.TempDir(), "hub.toml")
	if err := os.WriteFile(full, regexp.MustCompile(`(?m)^# ([a-z_]+ = )`).ReplaceAll(b, []byte("$1")), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.MediaListen = noMedia; s.Validate() != nil {
		t.Error(s.Validate())
	}
	if s, err = LoadSettings(full); err != nil || s.MetricsListen == "" || len(s.MediaAddresses) != 1 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestSettingsRefused(t *testing.T) {
	const good = "name = \"hub.example\"\nlisten = \":443\"\nmedia_listen = \":443\"\nstate = \"/s\"\n"
	for text, want := range map[string]string{
		good + "pepole_listen = \"127.0.0.1:1\"\n":          "no such key: pepole_listen",
		good + "people_listen = \"0.0.0.0:80\"\n":           "must be a loopback address",
		good + "people_listen = \":80\"\n":                  "must be a loopback address",
		good + "metrics_listen = \"9090\"\n":                "want host:port",
		good + "media_addresses = [\"here\"]\n":             "no IP address",
		strings.Replace(good, "hub.example", "Hub!", 1):     "give the hub's DNS name",
		strings.Replace(good, "listen = \":443\"\n", "", 1): "listen: give an address",
		strings.Replace(good, "state = \"/s\"\n", "", 1):    "state: give the folder",
		good + "name = \"twice\"\n":                         "already",
	} {
		path := filepath.Join(t.TempDir(), "hub.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadSettings(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
