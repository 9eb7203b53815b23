package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"telecart/device"
	"telecart/device/all"
)

// The sample names every setting, with its default; and nothing else.
func TestSampleSettings(t *testing.T) {
	const sample = "../telecartd.toml"
	s, err := Load(sample)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Instrument) != 3 {
		t.Errorf("%d instruments", len(s.Instrument))
	}
	for _, i := range s.Instrument {
		if !slices.ContainsFunc(all.Table(), func(d device.Driver) bool { return d.Name == i.Driver }) {
			t.Errorf("no driver %q", i.Driver)
		}
	}
	s.Instrument = nil
	if !reflect.DeepEqual(s, Defaults()) {
		t.Errorf("%+v are not the defaults", s)
	}
	var in map[string]any
	meta, err := toml.DecodeFile(sample, &in)
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for _, k := range meta.Keys() {
		has[k.String()] = true
	}
	var walk func(prefix string, ty reflect.Type)
	walk = func(prefix string, ty reflect.Type) {
		for i := range ty.NumField() {
			f := ty.Field(i)
			name := prefix + f.Tag.Get("toml")
			switch {
			case f.Tag.Get("toml") == "-":
			case f.Tag.Get("toml") == "":
				t.Errorf("%s has no name in the file", f.Name)
			case f.Type.Kind() == reflect.Struct:
				walk(name+".", f.Type)
			case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
				walk(name+".", f.Type.Elem())
			case !has[name]:
				t.Errorf("the sample does not show %s", name)
			}
		}
	}
	walk("", reflect.TypeFor[Settings]())
}

func TestSettingsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"stat = 'x'":                                             "stat",
		"[bedside]\nlisten = '0.0.0.0:7070'":                     "127.0.0.1",
		"[bedside]\nlisten = 'localhost:7070'":                   "127.0.0.1",
		"[bedside]\nlisten = '7070'":                             "bedside.listen",
		"state = ''":                                             "state",
		"[live]\nbitrate = 3":                                    "bitrate",
		"[live]\nframe_rate = 0.5":                               "frame_rate",
		"[delivery]\ngrace = '-1h'":                              "grace",
		"[delivery]\ngrace = 'soon'":                             "grace",
		"[patient]\nwristband = '['":                             "patient.wristband",
		"[[instrument]]\ndriver = 'nonin'":                       "name",
		"[[instrument]]\nname = 'a'\n[[instrument]]\nname = 'a'": "name of its own",
		"[[instrument]]\nname = 'a'\nspeed = 3":                  "instrument.speed",
		"x = ":                                                   "toml",
	} {
		path := filepath.Join(t.TempDir(), "telecartd.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
