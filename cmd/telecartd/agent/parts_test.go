package agent

import (
	"slices"
	"testing"

	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
)

func TestWaves(t *testing.T) {
	w := newWaves()
	at := func(ms int64) kit.Stamp { return kit.Stamp{Mono: ms * 1e6, Boot: "b"} }
	shared := make([]int32, 0, 100)
	shared = append(shared, 1, 2, 3, 4, 5)
	neighbour := shared[:10]
	piece := func(ms int64, v ...int32) device.Samples {
		return device.Samples{Quantity: "pleth", RateHz: 5, Values: v, At: at(ms), Instrument: device.Identity{Name: "o"}}
	}
	w.add(piece(1000, shared...))
	w.add(piece(2000, 6, 7, 8, 9, 10))
	if neighbour[5] != 0 {
		t.Error("the driver's own memory was written to")
	}
	got, ok := w.tail("o", 2, at(2100))
	if !ok || !slices.Equal(got.Values, []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Errorf("%v", got.Values)
	}
	for name, now := range map[string]kit.Stamp{"too old": at(5001), "of another boot": {Mono: 2100 * 1e6, Boot: "c"}} {
		if _, ok := w.tail("o", 1, now); ok {
			t.Errorf("%s, and yet given", name)
		}
	}
	w.add(piece(9000, 11, 12, 13, 14, 15)) // after a gap
	if _, ok := w.tail("o", 2, at(9000)); ok {
		t.Error("a gap was closed")
	}
	for ms := int64(10_000); ms < 60_000; ms += 1000 {
		w.add(piece(ms, 1, 1, 1, 1, 1))
	}
	if n := len(w.last[waveID{"o", "pleth"}].Values); n != waveSeconds*5 {
		t.Errorf("%d values are kept", n)
	}
	w.wipe()
	if _, ok := w.tail("o", 1, at(60_000)); ok {
		t.Error("not wiped")
	}
}

func TestReviewIsBounded(t *testing.T) {
	var v review
	third := make([]byte, reviewMost/3)
	for i := range byte(5) {
		v.keep(ledger.Hash{i}, Blob{"image/jpeg", slices.Clone(third)})
	}
	v.keep(ledger.Hash{99}, Blob{"x", make([]byte, reviewMost+1)})
	v.keep(ledger.Hash{98}, Blob{"x", nil})
	if len(v.blobs) != 3 || v.bytes > reviewMost || v.blobs[ledger.Hash{0}].Bytes != nil || v.blobs[ledger.Hash{4}].Bytes == nil {
		t.Errorf("%d blobs, %d bytes", len(v.blobs), v.bytes)
	}
	v.wipe()
	if v.bytes != 0 || len(v.blobs) != 0 {
		t.Error("not wiped")
	}
}
