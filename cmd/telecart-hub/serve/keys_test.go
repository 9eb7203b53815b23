package serve

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecart/capture"
	"telecart/device/kit"
	"telecart/uplink/hub/store"
)

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	offline, state := filepath.Join(dir, "offline"), filepath.Join(dir, "state")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := InitKeys(dir, dir, hubName, now); err == nil {
		t.Error("the offline root beside the hub's keys")
	}
	if err := InitKeys(offline, state, hubName, now); err != nil {
		t.Fatal(err)
	}
	if err := InitKeys(offline, state, hubName, now); err == nil {
		t.Error("keys that carts seal to were replaced")
	}
	for _, path := range []string{filepath.Join(offline, rootKeyFile), filepath.Join(state, keysFile), filepath.Join(state, keyListFile)} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, fi, err)
		}
	}
	seed, err := os.ReadFile(filepath.Join(offline, rootKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(state, e.Name()))
		if err != nil || bytes.Contains(b, seed) {
			t.Errorf("%s holds the offline root, or %v", e.Name(), err)
		}
	}
	_, list, _, err := readList(state)
	if err != nil || list.Version != 1 || len(list.Records) != 2 || list.Records[0].Practice == list.Records[1].Practice {
		t.Fatalf("%+v %v", list, err)
	}
	if err := RenewKeys(offline, state, now.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	_, renewed, _, err := readList(state)
	if err != nil || renewed.Version != 2 || !renewed.Expires.After(list.Expires) || !cmp.Equal(renewed.Records, list.Records) {
		t.Fatalf("%+v %v", renewed, err)
	}
	if _, _, err := readKeys(state, renewed); err != nil {
		t.Fatal(err)
	}
}

// openapi.yaml lists every route, and no other.
func TestOpenAPI(t *testing.T) {
	b, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	path := ""
	_, paths, _ := strings.Cut(string(b), "\npaths:\n")
	paths, _, _ = strings.Cut(paths, "\ncomponents:\n")
	for line := range strings.Lines(paths) {
		if m := regexp.MustCompile(`^  (/\S*):$`).FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			path = m[1]
		}
		if m := regexp.MustCompile(`^    (get|put|post|patch|delete|options):$`).FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			described = append(described, strings.ToUpper(m[1])+" "+path)
		}
	}
	state := initState(t)
	f, err := openFolder(t.Context(), state, store.Options{Clock: kit.System{}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.store.Close()
	udp, err := listenUDP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h, err := build(t.Context(), Settings{Name: hubName}, "v-test", f, udp, discard(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer h.room.Close()
	var registered []string
	for _, r := range h.routes() {
		registered = append(registered, r.method+" "+r.path)
	}
	slices.Sort(described)
	slices.Sort(registered)
	if diff := cmp.Diff(slices.Compact(registered), described); diff != "" {
		t.Errorf("registered and described:\n%s", diff)
	}
}

func FuzzBlobSkipper(f *testing.F) {
	b, err := capture.Body{Kind: capture.Still, Blob: []byte("jpeg")}.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, 3)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, 1)
	f.Fuzz(func(t *testing.T, plain []byte, cut int) {
		var out bytes.Buffer
		s := blobSkipper{w: &out}
		cut = max(0, min(cut, len(plain)))
		if s.write(plain[:cut]) != nil || s.write(plain[cut:]) != nil {
			return
		}
		if want, err := capture.UnmarshalBody(plain); err == nil && !bytes.Equal(out.Bytes(), want.Blob) {
			t.Fatalf("%q, want %q", out.Bytes(), want.Blob)
		}
	})
}

// The status names items whose files can't be read, and says how many more there are.
func TestStatusOfUnreadable(t *testing.T) {
	var out strings.Builder
	if err := (KeysReply{Unreadable: 3, Named: []string{"item aa of north: missing", "item bb of north: damaged"}}).Print(&out, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n3 items are in no line above", "\n  item aa of north: missing\n  item bb of north: damaged\n  and 1 more\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}
