package peer

import (
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"

	"telecart/uplink/ladder"
)

// What pion's recorder writes is what is read here, over the wrap of the numbers and across reports.
func TestReport(t *testing.T) {
	rec := twcc.NewRecorder(1)
	var f farTime
	at := 7 * time.Second
	want := map[uint16]time.Duration{}
	seen := 0
	for i := range 400 {
		seq := uint16(65400 + i)
		at += time.Duration(1+i%7) * time.Millisecond
		if i%11 == 5 {
			at += 90 * time.Millisecond // a large delta
		}
		if i%5 != 3 { // else it was lost
			rec.Record(9, seq, at.Microseconds())
			want[seq] = at
		}
		if i%16 != 15 {
			continue
		}
		for _, p := range rec.BuildFeedbackPacket() {
			b, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			var cc rtcp.TransportLayerCC
			if err := cc.Unmarshal(b); err != nil {
				t.Fatal(err)
			}
			r := f.report(&cc)
			for k, x := range r.Arrivals {
				at, got := want[r.First+uint16(k)]
				if got == x.Lost || got && (x.At-at).Abs() > time.Millisecond {
					t.Fatalf("packet %d: %+v, want %s %t", r.First+uint16(k), x, at, got)
				}
				seen++
			}
		}
	}
	if seen < 395 {
		t.Errorf("%d packets reported on", seen)
	}
}

// The far end's clock wraps after twelve days: time goes on.
func TestFarTimeWraps(t *testing.T) {
	var f farTime
	one := func(ref uint32) time.Duration {
		return f.report(&rtcp.TransportLayerCC{ReferenceTime: ref, PacketStatusCount: 1,
			PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 1}},
			RecvDeltas:   []*rtcp.RecvDelta{{Delta: 250}}}).Arrivals[0].At
	}
	a, b, c := one(1<<24-1), one(1), one(1<<24-2)
	if b-a != 2*farTick || c-a != -farTick {
		t.Errorf("%s, %s, %s", a, b, c)
	}
}

func FuzzFeedback(f *testing.F) {
	rec := twcc.NewRecorder(1)
	for i := range 40 {
		if i%3 > 0 {
			rec.Record(9, uint16(i), int64(i*5000))
		}
	}
	for _, p := range rec.BuildFeedbackPacket() {
		b, err := p.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	// The example of the draft's 3.1: seven packets, the middle ones missing.
	f.Add([]byte{0xaf, 0xcd, 0, 5, 0xfa, 0x17, 0xfa, 0x17, 0x43, 3, 0x2f, 0xa0, 0, 0x99, 0, 1, 0x3d, 0xe8, 2, 0x17, 0x20, 1, 0x94, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var cc rtcp.TransportLayerCC
		if cc.Unmarshal(b) != nil {
			return
		}
		var far farTime
		r := far.report(&cc)
		if len(r.Arrivals) > int(cc.PacketStatusCount) {
			t.Fatalf("%d of %d packets", len(r.Arrivals), cc.PacketStatusCount)
		}
		now := time.Unix(0, 0)
		l := ladder.New(now, ladder.Options{})
		tr := l.Join(now)
		for i := range 20 {
			l.Sent(tr, now.Add(time.Duration(i)*time.Millisecond), 1000, ladder.Media)
		}
		l.Report(tr, now.Add(time.Second), r)
	})
}
