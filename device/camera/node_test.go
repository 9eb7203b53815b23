package camera

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecart/device"
	"telecart/device/camera/v4l2"
	"telecart/device/kit"
)

// desk is a camera's controls in memory: focus and exposure rest while automatic, as uvcvideo has it.
type desk struct {
	values map[uint32]int
	sets   [][]v4l2.Value
	says   uint32 // the flag that it shows on resting controls
	fail   map[uint32]error
}

func (d *desk) rests(id uint32) bool {
	return id == v4l2.Focus && d.values[v4l2.FocusAuto] == 1 ||
		id == v4l2.Exposure && d.values[v4l2.ExposureAuto] != v4l2.ExposureManual
}

func (d *desk) Query(_ context.Context, id uint32) (v4l2.Control, error) {
	k := v4l2.Control{ID: id}
	if d.rests(id) {
		k.Flags = d.says
	}
	return k, d.fail[id]
}

func (d *desk) Get(_ context.Context, ids ...uint32) (list []v4l2.Value, err error) {
	for _, id := range ids {
		if _, ok := d.values[id]; !ok || d.fail[id] != nil {
			return nil, errors.Join(errors.New("v4l2: read"), d.fail[id])
		}
		list = append(list, v4l2.Value{ID: id, Value: d.values[id]})
	}
	return list, nil
}

func (d *desk) Set(_ context.Context, values ...v4l2.Value) error {
	for _, v := range values {
		if d.rests(v.ID) {
			return v4l2.ErrInactive
		}
		if d.fail[v.ID] != nil {
			return d.fail[v.ID]
		}
		d.values[v.ID] = v.Value
	}
	d.sets = append(d.sets, values)
	return nil
}

func newDesk(says uint32) (*desk, knobs) {
	d := &desk{says: says, fail: map[uint32]error{}, values: map[uint32]int{v4l2.Pan: 7200, v4l2.Tilt: -3600, v4l2.Zoom: 150, v4l2.Focus: 10, v4l2.FocusAuto: 1,
		v4l2.Exposure: 250, v4l2.ExposureAuto: v4l2.ExposureAperturePriority, v4l2.PanSpeed: 1}}
	return d, newKnobs(d, []v4l2.Control{
		{ID: 0x980900, Name: "Brightness"},
		{ID: v4l2.ExposureAuto, Max: 3, Default: 3, Menu: []v4l2.Item{{Value: 1}, {Value: 3}}},
		{ID: v4l2.Exposure, Min: 3, Max: 2047, Step: 1, Default: 250},
		{ID: v4l2.Pan, Min: -36000, Max: 36000, Step: 3600},
		{ID: v4l2.Tilt, Min: -36000, Max: 36000, Step: 3600},
		{ID: v4l2.Focus, Max: 250, Step: 5},
		{ID: v4l2.FocusAuto, Max: 1, Step: 1, Default: 1},
		{ID: v4l2.Zoom, Min: 100, Max: 500, Default: 100},
		{ID: v4l2.PanSpeed, Min: -1, Max: 1, Default: 1},
	})
}

func TestAxesOfACamera(t *testing.T) {
	for name, says := range map[string]uint32{"flags": v4l2.FlagInactive, "a kernel without the flag": 0} {
		d, k := newDesk(says)
		got, err := k.axes(t.Context())
		want := []device.Axis{
			{Name: "pan", Unit: "arcsec", Min: -36000, Max: 36000, Step: 3600, Value: 7200},
			{Name: "tilt", Unit: "arcsec", Min: -36000, Max: 36000, Step: 3600, Value: -3600},
			{Name: "zoom", Unit: "1", Min: 100, Max: 500, Step: 1, Default: 100, Value: 150},
			{Name: "focus", Unit: "1", Max: 250, Step: 5, Value: 10, Locked: true},
			{Name: "exposure", Unit: "100us", Min: 3, Max: 2047, Step: 1, Default: 250, Value: 250, Locked: true},
			{Name: "focus-auto", Unit: "1", Max: 1, Step: 1, Default: 1, Value: 1},
			{Name: "exposure-auto", Unit: "1", Max: 1, Step: 1, Default: 1, Value: 1},
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		d.fail[v4l2.Zoom] = v4l2.ErrUnplugged
		if _, err := k.axes(t.Context()); !errors.Is(err, v4l2.ErrUnplugged) {
			t.Errorf("%s: unplugged: %v", name, err)
		}
	}
	k := newKnobs(nil, []v4l2.Control{{ID: v4l2.Zoom, Flags: v4l2.FlagReadOnly}, {ID: v4l2.Focus, Flags: v4l2.FlagWriteOnly},
		{ID: v4l2.ExposureAuto, Menu: []v4l2.Item{{Value: v4l2.ExposureManual}}}})
	if len(k.list) != 0 {
		t.Errorf("axes that can't be steered are listed: %+v", k.list)
	}
}

func TestSteerACamera(t *testing.T) {
	type sets = [][]v4l2.Value
	for _, x := range []struct {
		name string
		set  map[string]int
		want sets
		err  string
	}{
		{"pan brings tilt along", map[string]int{"pan": 3600}, sets{{{ID: v4l2.Pan, Value: 3600}, {ID: v4l2.Tilt, Value: -3600}}}, ""},
		{"both at once", map[string]int{"pan": 0, "tilt": 36000}, sets{{{ID: v4l2.Pan, Value: 0}, {ID: v4l2.Tilt, Value: 36000}}}, ""},
		{"resting", map[string]int{"focus": 50, "zoom": 200}, sets{{{ID: v4l2.Zoom, Value: 200}}}, "set focus-auto to 0 before focus"},
		{"automatic off first", map[string]int{"focus": 50, "focus-auto": 0, "exposure": 100, "exposure-auto": 0},
			sets{{{ID: v4l2.FocusAuto, Value: 0}}, {{ID: v4l2.ExposureAuto, Value: v4l2.ExposureManual}}, {{ID: v4l2.Focus, Value: 50}}, {{ID: v4l2.Exposure, Value: 100}}}, ""},
		{"automatic on", map[string]int{"exposure-auto": 1}, sets{{{ID: v4l2.ExposureAuto, Value: v4l2.ExposureAperturePriority}}}, ""},
		{"nothing", nil, nil, ""},
	} {
		for _, says := range []uint32{v4l2.FlagInactive, 0} {
			d, k := newDesk(says)
			err := k.set(t.Context(), x.set)
			if (err == nil) != (x.err == "") || err != nil && (!strings.Contains(err.Error(), x.err) || !errors.Is(err, ErrLocked)) {
				t.Errorf("%s: %v, want %q", x.name, err, x.err)
			}
			if diff := cmp.Diff(x.want, d.sets); diff != "" {
				t.Errorf("%s:\n%s", x.name, diff)
			}
		}
	}
	d, k := newDesk(0)
	d.fail[v4l2.Pan] = v4l2.ErrUnplugged
	if err := k.set(t.Context(), map[string]int{"tilt": 0}); !errors.Is(err, v4l2.ErrUnplugged) {
		t.Errorf("unplugged: %v", err)
	}
}

func TestHaltHolds(t *testing.T) {
	d, k := newDesk(0)
	if err := k.halt(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := [][]v4l2.Value{{{ID: v4l2.PanSpeed}}, {{ID: v4l2.Pan, Value: 7200}, {ID: v4l2.Tilt, Value: -3600}}, {{ID: v4l2.Zoom, Value: 150}}}
	if diff := cmp.Diff(want, d.sets); diff != "" {
		t.Error(diff)
	}
	d.fail[v4l2.Zoom] = errors.New("stuck")
	d.sets = nil
	if err := k.halt(t.Context()); err == nil || !slices.ContainsFunc(d.sets, func(s []v4l2.Value) bool { return s[0].ID == v4l2.Pan }) {
		t.Errorf("one stuck axis must be told and not hold up the others: %v, %v", err, d.sets)
	}
}

func TestEarlier(t *testing.T) {
	s := kit.Stamp{Wall: noon, Mono: int64(time.Minute)}
	if got := earlier(s, time.Second); !got.Wall.Equal(noon.Add(-time.Second)) || got.Mono != int64(59*time.Second) {
		t.Errorf("%+v", got)
	}
}
