package v4l2

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func withControls(t *testing.T, change func(*fakeNode)) (*fakeNode, *Controls) {
	t.Helper()
	n := newFake()
	n.controls = []queryExtCtrl{
		{ID: 0x980001, Type: uint32(class), Name: named("User Controls")},
		{ID: 0x980900, Type: uint32(Integer), Name: named("Brightness"), Min: -64, Max: 64, Step: 1},
		{ID: 0x980901, Type: uint32(Integer), Flags: FlagDisabled},
		{ID: ExposureAuto, Type: uint32(Menu), Name: named("Auto Exposure"), Max: 3, Default: 3},
		{ID: Pan, Type: uint32(Integer), Name: named("Pan"), Min: -36000, Max: 36000, Step: 3600},
		{ID: Tilt, Type: uint32(Integer), Name: named("Tilt"), Min: -36000, Max: 36000, Step: 3600},
		{ID: Focus, Type: uint32(Integer), Name: named("Focus"), Max: 250, Step: 5, Flags: FlagInactive},
		{ID: 0x9A0915, Type: uint32(IntegerMenu), Name: named("Bias"), Max: 1},
	}
	n.menus = map[[2]uint32]queryMenu{
		{ExposureAuto, 1}: {Name: named("Manual Mode")}, {ExposureAuto, 3}: {Name: named("Aperture Priority Mode")},
		{0x9A0915, 0}: {Name: integer(-500)}, {0x9A0915, 1}: {Name: integer(1 << 40)},
	}
	n.values = map[uint32]int32{Pan: 0, Tilt: 3600, Focus: 10, 0x980900: -5}
	n.locked = map[uint32]bool{Focus: true}
	if change != nil {
		change(n)
	}
	c, err := newControls(n)
	if err != nil {
		t.Fatal(err)
	}
	return n, c
}

func TestListControls(t *testing.T) {
	want := []Control{
		{ID: 0x980900, Name: "Brightness", Type: Integer, Min: -64, Max: 64, Step: 1},
		{ID: ExposureAuto, Name: "Auto Exposure", Type: Menu, Max: 3, Default: 3, Menu: []Item{{1, "Manual Mode"}, {3, "Aperture Priority Mode"}}},
		{ID: Pan, Name: "Pan", Type: Integer, Min: -36000, Max: 36000, Step: 3600},
		{ID: Tilt, Name: "Tilt", Type: Integer, Min: -36000, Max: 36000, Step: 3600},
		{ID: Focus, Name: "Focus", Type: Integer, Max: 250, Step: 5, Flags: FlagInactive},
		{ID: 0x9A0915, Name: "Bias", Type: IntegerMenu, Max: 1, Menu: []Item{{0, "-500"}, {1, "1099511627776"}}},
	}
	for _, old := range []string{"", "old kernel"} {
		_, c := withControls(t, func(n *fakeNode) { n.oldKernel = old != "" })
		got, err := c.List(context.Background())
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", old, err, d)
		}
		if c.Info != (Info{"uvcvideo", "Test Camera", "usb-1.2"}) {
			t.Errorf("info %+v", c.Info)
		}
	}
}

func TestGetAndSet(t *testing.T) {
	ctx := context.Background()
	n, c := withControls(t, nil)
	if err := c.Set(ctx, Value{Pan, -7200}, Value{Tilt, 36000}); err != nil {
		t.Fatal(err)
	}
	if len(n.groups) != 1 || !slices.Equal(n.groups[0], []uint32{Pan, Tilt}) {
		t.Errorf("set in groups %#x: pan and tilt must go together", n.groups)
	}
	got, err := c.Get(ctx, Tilt, Pan, 0x980900)
	if d := cmp.Diff([]Value{{Tilt, 36000}, {Pan, -7200}, {0x980900, -5}}, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	if err := c.Set(ctx, Value{Focus, 5}); !errors.Is(err, ErrInactive) || !strings.Contains(err.Error(), "0x9a090a") {
		t.Errorf("focus under automatic control: %v", err)
	}
	if _, err := c.Get(ctx, Pan, 0x99); err == nil || !strings.Contains(err.Error(), "0x99") {
		t.Errorf("unknown: %v", err)
	}
	if k, err := c.Query(ctx, Focus); err != nil || !k.Is(FlagInactive) || k.Fit(53) != 55 {
		t.Errorf("query: %+v, %v", k, err)
	}
	n.mu.Lock()
	n.controls[6].Flags = 0
	n.mu.Unlock()
	if k, err := c.Query(ctx, Focus); err != nil || k.Is(FlagInactive) {
		t.Errorf("query again: %+v, %v", k, err)
	}
	if err := c.Set(ctx); err != nil {
		t.Errorf("nothing to set: %v", err)
	}
}

func TestControlsUnplugged(t *testing.T) {
	ctx := context.Background()
	n, c := withControls(t, nil)
	if err := c.Alive(ctx); err != nil {
		t.Error(err)
	}
	n.gone = true
	_, get := c.Get(ctx, Pan)
	_, list := c.List(ctx)
	_, query := c.Query(ctx, Pan)
	for what, err := range map[string]error{"alive": c.Alive(ctx), "get": get, "set": c.Set(ctx, Value{Pan, 0}), "list": list, "query": query} {
		if !errors.Is(err, ErrUnplugged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	n.gone = false
	if err := c.Close(); err != nil || !n.closed {
		t.Errorf("close: %v", err)
	}
	if err := c.Set(ctx, Value{Pan, 0}); !errors.Is(err, ErrUnplugged) {
		t.Errorf("after Close: %v", err)
	}
}

// A camera that hangs holds one caller; those behind it can leave.
func TestControlsHang(t *testing.T) {
	n, c := withControls(t, func(n *fakeNode) { n.block = make(chan struct{}) })
	first := make(chan error)
	go func() { first <- c.Set(context.Background(), Value{Pan, 3600}) }()
	n.block <- struct{}{} // it is inside; let it go on, and hold the next
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	<-c.turn // as if someone hung
	ctx, cancel := context.WithCancel(context.Background())
	go func() { first <- c.Set(ctx, Value{Pan, 7200}) }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("waiting behind a hung call: %v", err)
	}
	c.turn <- struct{}{}
}
