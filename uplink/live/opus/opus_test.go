package opus

import (
	"errors"
	"math"
	"testing"
	"time"
)

// tone is a stretch of a sine at half of full scale.
func tone(hz float64, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(16000 * math.Sin(2*math.Pi*hz*float64(i)/Rate))
	}
	return out
}

// level is how much of a frequency there is in a sound, in decibels below that of tone (Goertzel's algorithm).
func level(values []int16, hz float64) float64 {
	w := 2 * math.Cos(2*math.Pi*hz/Rate)
	var a, b float64
	for _, v := range values {
		a, b = float64(v)+w*a-b, a
	}
	return 10 * math.Log10((a*a+b*b-w*a*b)/(16000*16000/4*float64(len(values))*float64(len(values)))+1e-12)
}

func pair(t testing.TB, o Options) (*Encoder, *Decoder) {
	t.Helper()
	e, err := NewEncoder(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	d, err := NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return e, d
}

// through encodes and decodes a whole sound; bytes is what it took.
func through(t testing.TB, o Options, values []int16) (out []int16, bytes int) {
	t.Helper()
	e, d := pair(t, o)
	for n := Samples(o.Frame); len(values) >= n; values = values[n:] {
		p, err := e.Encode(values[:n])
		if err != nil {
			t.Fatal(err)
		}
		bytes += len(p)
		got, err := d.Decode(p)
		if err != nil || len(got) != n {
			t.Fatalf("%d values of %d, %v", len(got), n, err)
		}
		out = append(out, got...)
	}
	return out, bytes
}

// Low delay keeps what a heart sounds like; a voice encoder takes it away, which is why there are two.
func TestToneEnergies(t *testing.T) {
	low := Options{Use: LowDelay, Bitrate: 64000, Frame: 20 * time.Millisecond, Complexity: 10}
	voice := Options{Use: Voice, Bitrate: 24000, Frame: 20 * time.Millisecond, Complexity: 10}
	for _, x := range []struct {
		name       string
		o          Options
		hz         float64
		least, top float64 // dB
	}{
		{"low delay", low, 20, -3, 3}, {"low delay", low, 40, -3, 3}, {"low delay", low, 100, -3, 3},
		{"low delay", low, 1000, -3, 3}, {"low delay", low, 2000, -3, 3},
		{"voice", voice, 20, -200, -12}, {"voice", voice, 40, -200, -3},
		{"voice", voice, 300, -3, 3}, {"voice", voice, 1000, -3, 3}, {"voice", voice, 2000, -3, 3},
	} {
		out, _ := through(t, x.o, tone(x.hz, 3*Rate))
		if got := level(out[Rate:], x.hz); got < x.least || got > x.top {
			t.Errorf("%s: %.0f Hz comes out at %.1f dB, want %.0f to %.0f", x.name, x.hz, got, x.least, x.top)
		}
	}
}

func TestFrames(t *testing.T) {
	for _, d := range frames() {
		o := Options{Use: Voice, Bitrate: 64000, Frame: d, Complexity: 5}
		out, bytes := through(t, o, tone(440, Rate))
		if got := level(out[Rate/2:], 440); got < -3 || len(out) < Rate-Samples(d) {
			t.Errorf("%v: %d values, 440 Hz at %.1f dB", d, len(out), got)
		}
		if d >= 10*time.Millisecond && bytes > o.Bitrate/8*13/10 {
			t.Errorf("%v: %d bytes in a second of 64 kb/s", d, bytes)
		}
		e, _ := pair(t, o)
		if p, err := e.Encode(tone(440, Samples(d))); err != nil {
			t.Error(err)
		} else if n, err := Duration(p); err != nil || n != Samples(d) {
			t.Errorf("%v: the packet says %d values, %v", d, n, err)
		}
	}
}

// syllables are three vowels a second, of a voice that goes up and down.
func syllables(n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		s := float64(i) / Rate
		for k := 1.0; k < 20; k++ {
			out[i] += int16(2500 * math.Pow(math.Sin(math.Pi*3*s), 2) * math.Sin(2*math.Pi*k*(140*s+10*math.Sin(6*s))) / k)
		}
	}
	return out
}

// A lost packet comes back from the next one's copy; without the copy it is guessed, and worse.
func TestLost(t *testing.T) {
	const frame = 60 * time.Millisecond
	n, said := Samples(frame), syllables(40*Samples(frame))
	hear := func(lost func(i int) bool, recovers bool) (out []int16) {
		e, d := pair(t, Options{Use: Voice, Bitrate: 20000, Frame: frame, Loss: 10, FEC: true, Complexity: 5})
		for i := range len(said) / n {
			p, err := e.Encode(said[i*n : (i+1)*n])
			if err != nil {
				t.Fatal(err)
			}
			if lost(i) {
				continue
			}
			if lost(i - 1) {
				got, err := d.Conceal(n)
				if recovers {
					got, err = d.Recover(p, n)
				}
				if err != nil || len(got) != n {
					t.Fatalf("%d values, %v", len(got), err)
				}
				out = append(out, got...)
			}
			got, err := d.Decode(p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, got...)
		}
		return out
	}
	fourth := func(i int) bool { return i%4 == 2 }
	whole := hear(func(int) bool { return false }, false)
	like := func(got []int16) float64 { // dB above what differs, in the lost frames alone
		var signal, noise float64
		for i, v := range whole {
			if fourth(i / n) {
				signal += float64(v) * float64(v)
				noise += (float64(v) - float64(got[i])) * (float64(v) - float64(got[i]))
			}
		}
		return 10 * math.Log10(signal/noise)
	}
	recovered, concealed := like(hear(fourth, true)), like(hear(fourth, false))
	if recovered < 3 || concealed > recovered-3 {
		t.Errorf("recovered at %.1f dB, concealed at %.1f dB", recovered, concealed)
	}
}

func TestSilenceIsNotSent(t *testing.T) {
	o := Options{Use: Voice, Bitrate: 12000, Frame: 60 * time.Millisecond, DTX: true, Complexity: 5}
	e, _ := pair(t, o)
	small := 0
	for range 50 {
		p, err := e.Encode(make([]int16, Samples(o.Frame)))
		if err != nil {
			t.Fatal(err)
		}
		if len(p) <= 2 {
			small++
		}
	}
	if small < 35 {
		t.Errorf("%d of 50 packets of silence need not be sent", small)
	}
}

func TestRefused(t *testing.T) {
	good := Options{Use: Voice, Bitrate: 12000, Frame: 60 * time.Millisecond}
	for name, spoil := range map[string]func(*Options){
		"use": func(o *Options) { o.Use = 7 }, "rate": func(o *Options) { o.Bitrate = 0 }, "frame": func(o *Options) { o.Frame = 30 * time.Millisecond },
		"loss": func(o *Options) { o.Loss = 101 }, "complexity": func(o *Options) { o.Complexity = 11 },
		"low delay with copies": func(o *Options) { o.Use, o.Frame, o.FEC = LowDelay, 10*time.Millisecond, true },
		"low delay in long":     func(o *Options) { o.Use = LowDelay },
	} {
		o := good
		spoil(&o)
		if e, err := NewEncoder(o); err == nil {
			e.Close()
			t.Errorf("%s: taken", name)
		}
	}
	e, d := pair(t, good)
	if _, err := e.Encode(make([]int16, 960)); !errors.Is(err, ErrFrame) {
		t.Error(err)
	}
	for _, p := range [][]byte{nil, make([]byte, MaxPacket+1), {0xFF}, {3, 63}} { // the last: 63 frames (RFC 6716 3.2.5, R5)
		if _, err := d.Decode(p); !errors.Is(err, ErrPacket) {
			t.Errorf("%x: %v", p, err)
		}
	}
	if _, err := d.Conceal(100); err == nil {
		t.Error("100 values were missing")
	}
	if err := errors.Join(e.SetBitrate(8000), e.SetLoss(300)); err != nil || e.Delay() == 0 {
		t.Error(err, e.Delay())
	}
	e.Close()
	d.Close()
	_, err1 := e.Encode(make([]int16, 2880))
	_, err2 := d.Conceal(960)
	if !errors.Is(err1, ErrClosed) || !errors.Is(err2, ErrClosed) || !errors.Is(e.SetLoss(1), ErrClosed) {
		t.Error(err1, err2)
	}
}

// Whatever came, the next good packet is heard.
func FuzzDecode(f *testing.F) {
	o := Options{Use: Voice, Bitrate: 12000, Frame: 20 * time.Millisecond, FEC: true, Loss: 10}
	var good [][]byte
	for _, use := range []Options{o, {Use: LowDelay, Bitrate: 64000, Frame: 10 * time.Millisecond}} {
		e, _ := pair(f, use)
		for range 5 {
			p, err := e.Encode(tone(440, Samples(use.Frame)))
			if err != nil {
				f.Fatal(err)
			}
			good = append(good, append([]byte(nil), p...))
			f.Add(good[len(good)-1])
		}
	}
	f.Add([]byte{3, 63})
	f.Fuzz(func(t *testing.T, packet []byte) {
		_, d := pair(t, o)
		n, bad := Duration(packet)
		got, err := d.Decode(packet)
		if err == nil && (bad != nil || len(got) != n) {
			t.Fatalf("decoded %d values of a packet of %d, %v", len(got), n, bad)
		}
		if got, err := d.Recover(packet, 960); err == nil && len(got) > MaxFrame {
			t.Fatal(len(got))
		}
		if got, err := d.Decode(good[1]); err != nil || len(got) != 960 {
			t.Fatalf("the next packet: %d values, %v", len(got), err)
		}
	})
}
