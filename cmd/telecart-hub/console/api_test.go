package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"telecart/capture"
	"telecart/cmd/ui"
	"telecart/device"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/link"
)

// The types of cmd/ui/api.ts and those of api.go have the same fields.
func TestTypesAreThoseOfTheScreens(t *testing.T) {
	ts, err := os.ReadFile("../../ui/api.ts")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"Me": me{}, "ConsoleState": state{}, "ConsoleCart": cart{}, "EncounterSummary": summary{}, "ConsoleConsult": consult{},
		"ConsoleItem": item{}, "ConsoleEncounter": encounter{}, "Instrument": ui.Instrument{}, "Reading": ui.Reading{}, "Axis": device.Axis{}, "Lease": lease{},
		"ConsoleLedger": Ledger{}, "LedgerStore": LedgerStore{}, "LedgerPart": LedgerPart{}, "LedgerOrigin": LedgerOrigin{}, "LedgerRange": ingest.Range{}, "LedgerLost": ingest.Lost{},
		"Notice": link.Notice{}, "Patient": capture.Patient{}, "Health": device.Health{}, "Damage": link.Damage{}, "DamagedItem": link.DamagedItem{}} {
		want := tsFields(ts, name)
		got := goFields(reflect.TypeOf(v))
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s:\n Go %v\n TS %v", name, got, want)
		}
	}
}

func tsFields(ts []byte, name string) (out []string) {
	at := bytes.Index(ts, []byte("export interface "+name+" {"))
	if at < 0 {
		return nil
	}
	depth, text := 0, ts[at:]
	var flat []byte // the interface without what is nested in it
	for _, c := range text[bytes.IndexByte(text, '{'):] {
		if c == '}' {
			depth--
		}
		if depth == 1 || c == '\n' {
			flat = append(flat, c)
		}
		if c == '{' {
			depth++
		}
		if depth == 0 {
			break
		}
	}
	flat = regexp.MustCompile(`//.*`).ReplaceAll(flat, nil)
	for _, m := range regexp.MustCompile(`(?:^|[;{\n])\s*([a-z_]+)\??:`).FindAllSubmatch(flat, -1) {
		out = append(out, string(m[1]))
	}
	slices.Sort(out)
	return out
}

func goFields(t reflect.Type) (out []string) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte(`{"id":1,"verb":"steer","cart":"cart-1","instrument":"scope","epoch":3,"seq":9,"set":{"zoom":3}}`))
	f.Add([]byte(`{"id":-1,"set":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCommand(b)
		if err == nil && !json.Valid(b) {
			t.Fatalf("%q read as %+v", b, c)
		}
	})
}
func TestStatic(t *testing.T) {
	files := fstest.MapFS{"index.html": {Data: []byte("<!doctype html>")}, "app-3F9A77C0.js": {Data: []byte("1")}, "app.js": {Data: []byte("1")}, ".keep": {}}
	for path, want := range map[string][2]string{"/": {"200", "no-cache"}, "/app-3F9A77C0.js": {"200", "public, max-age=31536000, immutable"}, "/app.js": {"200", "no-cache"},
		"/.keep": {"404", "no-store"}, "/../console.go": {"404", "no-store"}} {
		rec := httptest.NewRecorder()
		Static(files).ServeHTTP(rec, httptest.NewRequest("GET", "http://hub"+path, nil))
		if got := [2]string{fmt.Sprint(rec.Code), rec.Header().Get("Cache-Control")}; got != want {
			t.Errorf("%s: %v", path, got)
		}
		if rec.Code == 200 && !strings.Contains(rec.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s has no policy", path)
		}
	}
	rec := httptest.NewRecorder()
	Static(fstest.MapFS{".keep": {}}).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if rec.Code != http.StatusServiceUnavailable {
		t.Errorf("pages that were not built: %d", rec.Code)
	}
}
