package agent

import (
	"math"
	"testing"

	"telecart/uplink/ladder"
	"telecart/uplink/link"
)

// Items take what the ladder leaves them, the newest still before pictures; without media nobody limits them.
func TestSharing(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.start()
	r.do("open", `{}`)
	r.do("scan", scanA)
	if d := a.ladder.demand(0); d != (ladder.Demand{Picture: d.Picture, Backlog: true}) || d.Picture < a.set.Live.Bitrate {
		t.Errorf("%+v", d)
	}
	r.do("still", `{"instrument":"room camera"}`)
	d := a.ladder.demand(2)
	if d.Still != stillRate || d.Pictures != 2 {
		t.Errorf("with a still that waits: %+v", d)
	}
	if n := a.ladder.items(); n != math.MaxInt32 {
		t.Errorf("%d bytes a second although there is no media", n)
	}
	s := a.ladder.shell.Session()
	defer s.Close()
	s.Sent(1200, ladder.Media)
	d.Pictures = 1
	a.ladder.shell.Want(d)
	if n, sh := a.ladder.items(), a.ladder.shell.Shares(); n != (sh.Still+sh.Backlog)/8 || sh.Still == 0 {
		t.Errorf("%d bytes a second of %+v", n, sh)
	}
	st := a.ladder.state()
	if st.Kbps == 0 || st.Step == "" || len(st.Log) > link.LadderLog {
		t.Errorf("%+v", st)
	}
}
