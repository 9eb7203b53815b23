package alsa

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fakeCard is a control node with a mixer.
type fakeCard struct {
	fakeNode
	elements []elemInfo
	values   map[uint32][]int64 // by numid
	stuck    uint32             // this one can't be changed, though writing is no error
	refuses  uint32             // writing this one is an error
}

func mixer(list ...elemInfo) *fakeCard {
	c := &fakeCard{values: map[uint32][]int64{}}
	for i, e := range list {
		e.ID.NumID = uint32(i + 1)
		c.elements = append(c.elements, e)
		c.values[e.ID.NumID] = make([]int64, e.Count)
	}
	return c
}

func element(name string, kind uint32, count uint32, value ...int64) elemInfo {
	e := elemInfo{Type: kind, Access: 3, Count: count}
	copy(e.ID.Name[:], name)
	if len(value) == 2 {
		e.Min, e.Max = value[0], value[1]
	}
	return e
}

func (c *fakeCard) ioctl(req uint, arg unsafe.Pointer) error {
	if c.gone {
		return unix.ENODEV
	}
	switch req {
	case reqCard:
		copy((*cardInfo)(arg).Name[:], "Steth One")
	case reqElemList:
		l := (*elemList)(arg)
		l.Count = uint32(len(c.elements))
		for l.Used = 0; l.Used < min(l.Space, l.Count); l.Used++ {
			unsafe.Slice((*elemID)(l.IDs), l.Space)[l.Used] = c.elements[l.Used].ID
		}
	case reqElemInfo:
		e := (*elemInfo)(arg)
		*e = c.elements[e.ID.NumID-1]
	case reqElemWrite:
		v := (*elemValue)(arg)
		switch v.ID.NumID {
		case c.refuses:
			return unix.EPIPE
		case c.stuck:
		default:
			copy(c.values[v.ID.NumID], v.Values[:])
		}
	case reqElemRead:
		v := (*elemValue)(arg)
		copy(v.Values[:], c.values[v.ID.NumID])
	default:
		return unix.ENOTTY
	}
	return nil
}

func TestFix(t *testing.T) {
	agc := element("Auto Gain Control", elemBoolean, 1)
	micAGC := element("Mic Auto Gain Control", elemBoolean, 2)
	volume := element("Mic Capture Volume", elemInteger, 2, -16, 48)
	on := element("Mic Capture Switch", elemBoolean, 1)
	fixed := volume
	fixed.Access = 1
	stays, refuses := mixer(agc), mixer(agc)
	stays.stuck, refuses.refuses = 1, 1
	for _, x := range []struct {
		name  string
		card  *fakeCard
		gain  int
		want  [][]int64 // values afterwards; automatic gains are on before, everything else 0
		err   error
		words string
	}{
		{"a whole microphone", mixer(agc, on, volume), 50, [][]int64{{0}, {1}, {16, 16}}, nil, ""},
		{"gain as it is", mixer(agc, on, volume), AsItIs, [][]int64{{0}, {1}, {0, 0}}, nil, ""},
		{"lowest gain", mixer(volume), 0, [][]int64{{-16, -16}}, nil, ""},
		{"two channels", mixer(micAGC), AsItIs, [][]int64{{0, 0}}, nil, ""},
		{"no mixer", mixer(), AsItIs, nil, nil, ""},
		{"two switches", mixer(on, on), AsItIs, [][]int64{{0}, {0}}, nil, ""},
		{"no volume to set", mixer(on, fixed), 30, [][]int64{{1}, {0, 0}}, nil, "0 capture volumes"},
		{"automatic gain stays", stays, AsItIs, [][]int64{{1}}, ErrGain, "Auto Gain Control"},
		{"automatic gain refuses", refuses, AsItIs, [][]int64{{1}}, ErrGain, "Auto Gain Control"},
	} {
		for _, e := range x.card.elements {
			if strings.Contains(text(e.ID.Name[:]), "Auto") {
				x.card.values[e.ID.NumID] = slices.Repeat([]int64{1}, int(e.Count))
			}
		}
		c, err := openCard(x.card)
		if err != nil || c.Name != "Steth One" {
			t.Fatalf("%v, %v", c, err)
		}
		err = c.Fix(x.gain)
		switch bad := x.err != nil || x.words != ""; {
		case bad != (err != nil), x.err != nil && !errors.Is(err, x.err), bad && !strings.Contains(err.Error(), x.words):
			t.Errorf("%s: %v", x.name, err)
		}
		for i, want := range x.want {
			if got := x.card.values[uint32(i+1)]; !slices.Equal(got, want) {
				t.Errorf("%s: %s is %v, want %v", x.name, text(x.card.elements[i].ID.Name[:]), got, want)
			}
		}
	}
}

func TestAlive(t *testing.T) {
	n := mixer()
	c, err := openCard(n)
	if err != nil || c.Alive() != nil {
		t.Fatalf("%v", err)
	}
	n.gone = true
	if err := c.Alive(); !errors.Is(err, ErrUnplugged) {
		t.Errorf("gone: %v", err)
	}
	if _, err := openCard(n); !errors.Is(err, ErrUnplugged) || !n.closed {
		t.Errorf("opened after it was gone: %v, closed %v", err, n.closed)
	}
}
