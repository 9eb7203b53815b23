package capture

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/all"
	"telecart/device/kit"
)

func sample() Body {
	return Body{Kind: Still, ID: ledger.ID{1}, Encounter: ledger.ID{2}, At: kit.Stamp{Wall: morning, Mono: 5, Boot: "b", Trusted: true}, By: "nurse",
		Media: &MediaInfo{Type: "image/jpeg", Width: 2, Height: 1}, Site: "forearm", Side: "left", Blob: []byte{0xff, 0xd8, 0xff, 0xd9}}
}

// The bytes that the hub, of whatever version, has to read.
const goldenBody = `{"kind":"still","id":"01000000000000000000000000000000","encounter":"02000000000000000000000000000000",` +
	`"at":{"wall":"2026-03-01T08:00:00Z","mono_ns":5,"boot":"b","trusted":true},"by":"nurse","media":{"type":"image/jpeg","width":2,"height":1},` +
	`"site":"forearm","side":"left"}`

func TestBodyGolden(t *testing.T) {
	p, err := sample().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte{0, 0, 1, 0x11}, goldenBody...)
	want = append(want, 0xff, 0xd8, 0xff, 0xd9)
	if len(goldenBody) != 0x111 || !bytes.Equal(p, want) {
		t.Errorf("%d: %q", len(goldenBody), p)
	}
	back, err := UnmarshalBody(p)
	if err != nil || !reflect.DeepEqual(back, sample()) {
		t.Errorf("it does not come back: %v", err)
	}
}

// Every kind keeps all of its fields.
func TestBodyRoundTrip(t *testing.T) {
	stamp := kit.Stamp{Wall: morning, Boot: "x"}
	since, from := ledger.ID{7}, ledger.ID{8}
	reading := device.Reading{Quantity: "body-temperature", Value: device.Decimal{Coef: 370, Exp: -1}, Unit: "Cel", At: stamp, Period: device.Duration(time.Second)}
	for _, b := range []Body{
		{Kind: Reading, Reading: &reading, Instrument: &device.Identity{Name: "thermometer"}, Urgent: true},
		{Kind: Waveform, Waveform: &WaveformInfo{"pleth", "1", 75, 1}, Blob: []byte{1, 2, 3, 4}},
		{Kind: Clip, Media: &MediaInfo{Type: "video/x-msvideo", DurationMS: 5, FrameMS: []int64{0, 5}}, Blob: []byte("RIFF")},
		{Kind: Note, Note: &NoteInfo{"<b>&\u2028"}, Practice: true},
		{Kind: Binding, Binding: &BindingInfo{ada, "wristband"}},
		{Kind: Correction, Correction: &CorrectionInfo{ledger.Hash{9}, WrongSide, "left", "mixed up"}},
		{Kind: Event, Event: &EventInfo{What: "split", From: &from, Since: &since}},
	} {
		b.At, b.Encounter, b.ID = stamp, ledger.ID{3}, ledger.ID{4}
		p, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := UnmarshalBody(p)
		if b.Blob == nil {
			b.Blob = []byte{}
		}
		if err != nil || !reflect.DeepEqual(back, b) {
			t.Errorf("%s: %v", b.Kind, err)
		}
	}
}

func TestBodyRefused(t *testing.T) {
	meta := func(n uint32, s string) []byte { return append(binary.BigEndian.AppendUint32(nil, n), s...) }
	for name, p := range map[string][]byte{
		"nothing": {}, "three bytes": {0, 0, 0}, "no json": meta(0, ""), "longer than it is": meta(9, `{}`), "impossible": meta(MaxMeta+1, `{}`),
		"half a json": meta(1, `{}`), "no kind": meta(2, `{}`), "unknown kind": meta(17, `{"kind":"secret"}`), "two values": meta(4, `{}{}`),
	} {
		if _, err := UnmarshalBody(p); err == nil || !strings.HasPrefix(err.Error(), "capture: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Body{Kind: Note, Note: &NoteInfo{strings.Repeat("x", MaxMeta)}}).Marshal(); err == nil {
		t.Error("a note of a megabyte fits")
	}
}

func FuzzUnmarshalBody(f *testing.F) {
	p, _ := sample().Marshal()
	f.Add(p)
	p, _ = Body{Kind: Binding, Binding: &BindingInfo{ada, "wristband"}}.Marshal()
	f.Add(p)
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := UnmarshalBody(p)
		if err != nil {
			return
		}
		again, err := b.Marshal()
		if err != nil {
			return // a year that JSON has no digits for
		}
		c, err := UnmarshalBody(again)
		if err != nil {
			t.Fatalf("%q does not come back: %v", again, err)
		}
		if third, err := c.Marshal(); err != nil || !bytes.Equal(third, again) {
			t.Fatalf("not steady: %q %q", again, third)
		}
	})
}

func TestKind(t *testing.T) {
	for k := Reading; k <= Event; k++ {
		text, _ := k.MarshalText()
		var back Kind
		if err := back.UnmarshalText(text); err != nil || back != k {
			t.Errorf("%s: %v", text, err)
		}
	}
	var k Kind
	for _, bad := range []string{"", "kind-0", "Still", "kind-77"} {
		if k.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is a kind", bad)
		}
	}
	if Kind(77).String() != "kind-77" || Kind(0).String() != "kind-0" {
		t.Error("unknown kinds have no name")
	}
}

func TestAge(t *testing.T) {
	for _, c := range []struct {
		born string
		at   string
		want int
	}{
		{"2000-03-01", "2026-02-28", 25}, {"2000-03-01", "2026-03-01", 26}, {"2000-02-29", "2026-02-28", 25}, {"2000-02-29", "2026-03-01", 26},
		{"2000-02-29", "2028-02-28", 27}, {"2000-02-29", "2028-02-29", 28}, {"2000-03-01", "2028-02-29", 27}, {"2000-12-31", "2027-12-31", 27},
		{"2026-03-01", "2026-03-01", 0}, {"", "2026-03-01", -1}, {"1.3.2000", "2026-03-01", -1},
	} {
		at, _ := time.Parse(time.DateOnly, c.at)
		if got := (Patient{BirthDate: c.born}).Age(at); got != c.want {
			t.Errorf("born %q, on %s: %d, want %d", c.born, c.at, got, c.want)
		}
	}
}

const planted = "Planted Name"

// Nothing that can hold a patient shows one, whichever verb or handler gets hold of it.
func TestRedaction(t *testing.T) {
	p := Patient{"PLANTED-1", planted, "1999-09-09"}
	e := &Encounter{}
	e.Open(id(1), morning, false)
	steps, err := e.Bind(p, FromWristband)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Bind(Patient{"PLANTED-2", planted + " II", "1999-09-09"}, FromWristband); err != nil {
		t.Fatal(err)
	}
	st := e.State()
	b := Body{Kind: Binding, Binding: &BindingInfo{p, "wristband"}, Note: &NoteInfo{planted}, Correction: &CorrectionInfo{Text: planted}, Blob: []byte(planted)}
	type nested struct {
		Deep  any
		List  []Patient
		Map   map[string]Patient
		State EncounterState
	}
	for _, v := range []any{p, &p, []Patient{p}, map[string]*Patient{"x": &p}, struct{ P Patient }{p}, b, &b, []Body{b}, *b.Binding, b.Binding, *b.Note,
		b.Note, *b.Correction, b.Correction, st, &st, *st.Alert, st.Alert, *e, e, steps, steps[0], &steps[0], nested{p, []Patient{p}, nil, st}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			clean(t, fmt.Sprintf("%T with %s", v, verb), fmt.Sprintf(verb, v))
		}
		clean(t, fmt.Sprintf("%T in an error", v), fmt.Errorf("capture: %v", v).Error())
		var text bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", "v", v)
		clean(t, fmt.Sprintf("%T in a text log", v), text.String())
	}
	// A JSON log marshals what is inside a value, so only what is logged itself is covered there.
	for _, v := range []any{p, &p, b, &b, *b.Binding, *b.Note, *b.Correction, st, &st, *st.Alert, *e, e, steps[0]} {
		var text bytes.Buffer
		slog.New(slog.NewJSONHandler(&text, nil)).Info("x", "v", v)
		clean(t, fmt.Sprintf("%T in a JSON log", v), text.String())
	}
	if j, err := json.Marshal(p); err != nil || !strings.Contains(string(j), planted) {
		t.Errorf("JSON is how it travels: %s %v", j, err)
	}
}

func clean(t *testing.T, what, got string) {
	t.Helper()
	for _, s := range []string{planted, "PLANTED", "1999-09-09", hex.EncodeToString([]byte("Planted")), "0x50, 0x6c, 0x61", "80 108 97 110"} {
		if strings.Contains(strings.ToLower(got), strings.ToLower(s)) {
			t.Errorf("%s: %s", what, got)
		}
	}
}

func TestQuantities(t *testing.T) {
	seen := map[string]bool{}
	for _, q := range Quantities() {
		if q.Name == "" || q.Unit == "" || seen[q.Name] || q.Waveform && q.LOINC != "" || q.Cart && q.LOINC != "" {
			t.Errorf("%+v", q)
		}
		seen[q.Name] = true
		if got, ok := LookUp(q.Name); !ok || got != q {
			t.Errorf("%s is not found", q.Name)
		}
	}
	for _, d := range all.Table() {
		for _, q := range d.Quantities {
			if !seen[q] {
				t.Errorf("driver %s observes %q: give it a line in Quantities", d.Name, q)
			}
		}
	}
	if _, ok := LookUp("blood-pressure"); ok {
		t.Error("a quantity that nobody measures")
	}
}

func TestAVI(t *testing.T) {
	frames := [][]byte{bytes.Repeat([]byte{1}, 10), {2, 3, 4}, {}, bytes.Repeat([]byte{9}, 77)}
	b, err := AVI(frames, 640, 480, 25)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if string(b[:4]) != "RIFF" || int(le.Uint32(b[4:])) != len(b)-8 || string(b[8:12]) != "AVI " {
		t.Fatalf("RIFF of %d in %d bytes", le.Uint32(b[4:]), len(b))
	}
	type chunk struct {
		id   string
		at   int // of its data
		data []byte
	}
	walk := func(at, end int) (out []chunk) {
		for at < end {
			n := int(le.Uint32(b[at+4:]))
			if at%2 != 0 || at+8+n > end {
				t.Fatalf("chunk %q at %d of %d bytes, the list ends at %d", b[at:at+4], at, n, end)
			}
			out = append(out, chunk{string(b[at : at+4]), at + 8, b[at+8 : at+8+n]})
			if at += 8 + n; n%2 == 1 {
				if b[at] != 0 {
					t.Error("padding is not zero")
				}
				at++
			}
		}
		if at != end {
			t.Fatalf("chunks end at %d, their list at %d", at, end)
		}
		return out
	}
	top := walk(12, len(b))
	if len(top) != 3 || top[0].id != "LIST" || top[1].id != "LIST" || top[2].id != "idx1" || string(top[0].data[:4]) != "hdrl" || string(top[1].data[:4]) != "movi" {
		t.Fatalf("%d chunks", len(top))
	}
	hdrl := walk(top[0].at+4, top[0].at+len(top[0].data))
	avih := hdrl[0].data
	if hdrl[0].id != "avih" || len(avih) != 56 || le.Uint32(avih) != 40_000 || le.Uint32(avih[12:]) != 0x10 || le.Uint32(avih[16:]) != 4 ||
		le.Uint32(avih[24:]) != 1 || le.Uint32(avih[32:]) != 640 || le.Uint32(avih[36:]) != 480 {
		t.Errorf("avih %x", avih)
	}
	strl := walk(hdrl[1].at+4, hdrl[1].at+len(hdrl[1].data))
	strh, strf := strl[0].data, strl[1].data
	if strl[0].id != "strh" || len(strh) != 56 || string(strh[:8]) != "vidsMJPG" || le.Uint32(strh[20:]) != 1 || le.Uint32(strh[24:]) != 25 || le.Uint32(strh[32:]) != 4 ||
		le.Uint16(strh[52:]) != 640 || le.Uint16(strh[54:]) != 480 {
		t.Errorf("strh %x", strh)
	}
	if strl[1].id != "strf" || len(strf) != 40 || le.Uint32(strf) != 40 || le.Uint32(strf[4:]) != 640 || string(strf[16:20]) != "MJPG" || le.Uint16(strf[14:]) != 24 {
		t.Errorf("strf %x", strf)
	}
	movi := walk(top[1].at+4, top[1].at+len(top[1].data))
	index := top[2].data
	if len(movi) != len(frames) || len(index) != 16*len(frames) {
		t.Fatalf("%d frames, %d bytes of index", len(movi), len(index))
	}
	for i, c := range movi {
		e := index[16*i:]
		if c.id != "00dc" || !bytes.Equal(c.data, frames[i]) {
			t.Errorf("frame %d is not byte for byte what the camera gave", i)
		}
		// Offsets count from the word "movi" to the chunk's head.
		if string(e[:4]) != "00dc" || le.Uint32(e[4:]) != 0x10 || top[1].at+int(le.Uint32(e[8:]))+8 != c.at || int(le.Uint32(e[12:])) != len(c.data) {
			t.Errorf("index entry %d: %x", i, e[:16])
		}
	}
	for _, bad := range []struct {
		frames [][]byte
		fps    int
	}{{nil, 25}, {frames, 0}, {frames, -1}} {
		if _, err := AVI(bad.frames, 1, 1, bad.fps); err == nil {
			t.Errorf("%d frames at %d a second are a clip", len(bad.frames), bad.fps)
		}
	}
}
