package jitter

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const (
	frame = 60 * Rate / 1000
	piece = Rate / 50
)

// path is what the network does to packets.
type path struct {
	jitter time.Duration // most
	loss   float64
	skew   float64 // how much faster the speaker's clock goes
	dtx    bool    // a second of every four is silence
	outage bool    // from 10 s to 13 s nothing comes
	stall  bool    // every ten seconds the listener stands still for one
}

// played is what a listener heard of them.
type played struct {
	Buffer
	order  []byte // of packets, by their first byte
	delays []time.Duration
	gap    time.Duration // longest, in which something was said and nothing of it was heard
}

// play runs a minute of packets through the machine, with a loudspeaker that takes 20 ms at a time.
func play(t *testing.T, seed uint64, p path) *played {
	rnd := rand.New(rand.NewPCG(seed, 1))
	type packet struct {
		at  time.Duration
		seq uint16
		ts  uint32
		n   int
	}
	var sent []packet
	seq, ts0 := uint16(65500), uint32(1<<32-Rate) // both are about to begin anew
	for n := range 1000 {
		said := time.Duration(float64(n)*60e6/(1+p.skew)) * 1
		if p.dtx && said%(4*time.Second) > 3*time.Second {
			continue
		}
		at := said + 300*time.Millisecond + time.Duration(rnd.Float64()*float64(p.jitter))
		if rnd.Float64() >= p.loss && !(p.outage && at > 10*time.Second && at < 13*time.Second) {
			sent = append(sent, packet{at, seq, ts0 + uint32(n*frame), n})
		}
		seq++
	}
	slices.SortStableFunc(sent, func(a, b packet) int { return int(a.at - b.at) })
	out := &played{}
	ahead, gap := 0, time.Duration(0) // values in hand
	for now := time.Duration(0); now < 61*time.Second; now += 20 * time.Millisecond {
		for len(sent) > 0 && sent[0].at <= now {
			s := sent[0]
			sent = sent[1:]
			out.Put(s.at, s.seq, s.ts, frame, binary.BigEndian.AppendUint16(nil, uint16(s.n)))
			if len(out.packets) > maxHeld {
				t.Fatal("too much is held")
			}
		}
		if p.stall && now%(10*time.Second) < time.Second {
			continue // the loudspeaker is silent meanwhile
		}
		for ahead < piece {
			s := out.Next(now + duration(int64(ahead)))
			heard := now + duration(int64(ahead))
			switch s.Order {
			case Wait:
				ahead, gap = piece, 0
			case Guess:
				ahead += s.Samples
				gap += duration(int64(s.Samples))
			case Recover:
				ahead += s.Samples
			case Decode:
				n := binary.BigEndian.Uint16(s.Packet)
				out.gap = max(out.gap, gap)
				out.order = append(out.order, s.Packet...)
				out.delays = append(out.delays, heard-300*time.Millisecond-time.Duration(float64(n)*60e6/(1+p.skew)))
				ahead, gap = ahead+frame, 0
				switch s.Fit {
				case Longer:
					ahead += 400
				case Shorter:
					ahead -= 400
				}
			}
		}
		ahead -= piece
	}
	return out
}

func TestPaths(t *testing.T) {
	const ms = time.Millisecond
	for name, x := range map[string]struct {
		path
		delay   time.Duration // 95th percentile of the last half, on top of the quickest's way
		gap     time.Duration
		missing float64 // of all packets, neither played nor recovered
	}{
		"still":          {path{}, 45 * ms, 0, 0.01},
		"jitter":         {path{jitter: 100 * ms}, 160 * ms, 120 * ms, 0.05},
		"loss":           {path{jitter: 20 * ms, loss: 0.02}, 70 * ms, 130 * ms, 0.04},
		"heavy loss":     {path{jitter: 40 * ms, loss: 0.2}, 110 * ms, 250 * ms, 0.25},
		"fast speaker":   {path{jitter: 20 * ms, skew: 300e-6}, 75 * ms, 60 * ms, 0.03},
		"slow speaker":   {path{jitter: 20 * ms, skew: -300e-6}, 75 * ms, 60 * ms, 0.03},
		"silence":        {path{jitter: 20 * ms, dtx: true}, 80 * ms, 130 * ms, 0.03},
		"outage":         {path{jitter: 20 * ms, outage: true}, 75 * ms, 130 * ms, 0.10},
		"standing still": {path{jitter: 20 * ms, stall: true}, 320 * ms, 130 * ms, 0.20},
		"out of order":   {path{jitter: 250 * ms}, 320 * ms, 130 * ms, 0.05},
		"everything bad": {path{jitter: 120 * ms, loss: 0.05, skew: 200e-6, dtx: true}, 200 * ms, 130 * ms, 0.12},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(5) {
				got := play(t, seed, x.path)
				last := -1
				for i := 0; i < len(got.order); i += 2 {
					n := int(binary.BigEndian.Uint16(got.order[i:]))
					if n <= last {
						t.Fatalf("seed %d: packet %d was played after %d", seed, n, last)
					}
					last = n
				}
				sent := 1000.0
				if x.dtx {
					sent = 750
				}
				tail := slices.Sorted(slices.Values(got.delays[len(got.delays)/2:]))
				p95, missing := tail[len(tail)*95/100], 1-float64(got.Played+got.Recovered)/sent
				if p95 > x.delay || got.gap > x.gap || missing > x.missing {
					t.Errorf("seed %d: delay %v (most %v), gap %v (most %v), %.1f %% missing (most %.1f); %+v", seed,
						p95, x.delay, got.gap, x.gap, 100*missing, 100*x.missing, got.Counts)
				}
			}
		})
	}
}

// Whatever comes, the machine holds little, goes on, and never gives an order that nobody can follow.
func FuzzBuffer(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 60, 1, 0, 2, 0, 60, 2})
	f.Add([]byte{255, 255, 255, 255, 255, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var j Buffer
		now := time.Duration(0)
		for len(b) >= 6 {
			now += time.Duration(b[0]) * time.Millisecond
			j.Put(now, binary.BigEndian.Uint16(b[1:]), uint32(b[3])<<24|uint32(b[4])*960, int(b[5])*40, b[:2])
			for range b[5] % 4 {
				s := j.Next(now)
				if s.Order == Decode && len(s.Packet) == 0 || (s.Order == Recover || s.Order == Guess) && s.Samples <= 0 {
					t.Fatalf("%+v", s)
				}
			}
			if len(j.packets) > maxHeld || len(j.late) > history || len(j.quick) > history || j.target > Most {
				t.Fatal("too much is held")
			}
			b = b[6:]
		}
	})
}
