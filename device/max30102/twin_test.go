package max30102

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"telecart/device/kit"
)

// board is a twin without a driver.
type board struct {
	*Twin
	t     *testing.T
	clock *kit.Manual
}

func newBoard(t *testing.T) board {
	clock := kit.NewManual(start)
	return board{NewTwin(clock), t, clock}
}

func (b board) write(w ...byte) {
	b.t.Helper()
	if err := b.Tx(address, w, nil); err != nil {
		b.t.Fatal(err)
	}
}

func (b board) read(reg byte, n int) []byte {
	b.t.Helper()
	r := make([]byte, n)
	if err := b.Tx(address, []byte{reg}, r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b board) expect(what string, reg byte, want ...byte) {
	b.t.Helper()
	if got := b.read(reg, len(want)); !bytes.Equal(got, want) {
		b.t.Errorf("%s: % x, want % x", what, got, want)
	}
}

// sampling sets it up as the driver does, but for the FIFO's configuration.
func (b board) sampling(fifo byte) {
	b.write(regFIFO, fifo)
	b.write(regSpO2, spo2Config)
	b.write(regRed, startLamp, startLamp)
	b.write(regMode, modeSpO2)
}

func TestTwinPowerOnAndReset(t *testing.T) {
	b := newBoard(t)
	b.expect("part", regPart, 0x15)
	b.expect("status, then cleared", regStatus1, powerReady, 0, 0, 0)
	b.expect("status again", regStatus1, 0)
	b.expect("the rest", regWrite, 0, 0, 0)
	b.expect("configuration", regFIFO, 0, 0, 0, 0, 0, 0)
	b.write(regFIFO, 0x5F)
	b.write(regPart, 0x99)
	b.expect("read only", regPart, 0x15)
	b.write(regMode, modeReset)
	b.expect("during the reset", regMode, modeReset)
	b.clock.Advance(resetTime)
	b.expect("after it", regFIFO, 0, 0)
	b.BrownOut()
	b.expect("after a brown-out", regStatus1, powerReady)
	if err := b.Tx(0x58, []byte{0}, nil); !errors.Is(err, ErrNACK) {
		t.Error(err)
	}
	b.NACK(1)
	if err := b.Tx(address, []byte{0}, nil); !errors.Is(err, ErrNACK) {
		t.Error(err)
	}
	b.expect("after a NACK", regPart, 0x15)
}

func TestTwinFIFO(t *testing.T) {
	b := newBoard(t)
	b.sampling(0x5F)
	b.clock.Advance(9 * time.Millisecond)
	b.expect("before the first", regWrite, 0, 0, 0)
	b.clock.Advance(time.Millisecond)
	b.expect("after it", regWrite, 1, 0, 0)
	b.read(regData, 5)
	b.expect("not yet whole", regWrite, 1, 0, 0)
	b.read(regData, 1)
	b.expect("whole", regWrite, 1, 0, 1)
	b.write(regData, 1, 2, 3)
	b.expect("data can't be written", regWrite, 1, 0, 1)
	b.clock.Advance(320 * time.Millisecond)
	b.expect("full", regWrite, 1, 0, 1)
	b.clock.Advance(30 * time.Millisecond)
	b.expect("rolled over", regWrite, 4, 3, 4)
	b.read(regData, 6)
	b.expect("a sample was read", regWrite, 4, 0, 5)
	b.clock.Advance(time.Hour)
	if got := b.read(regLost, 1); got[0] != pointers {
		t.Errorf("lost %d", got[0])
	}
	b.write(regWrite, 0, 0, 0)
	b.expect("flushed", regWrite, 0, 0, 0)

	full := newBoard(t)
	full.sampling(0x4F) // no rollover
	full.clock.Advance(350 * time.Millisecond)
	full.expect("the newest are dropped", regWrite, 0, 3, 0)
	full.write(regMode, modeShutdown|modeSpO2)
	full.clock.Advance(time.Second)
	full.expect("asleep", regWrite, 0, 3, 0)
	full.expect("still configured", regFIFO, 0x4F, 0x83, 0x2F)
	if red, ir := full.Lamps(); red|ir != 0 {
		t.Error("its lamps are on")
	}
}

func TestTwinFlags(t *testing.T) {
	b := newBoard(t)
	b.read(regStatus1, 1)
	b.write(regEnable1, almostFull)
	b.sampling(0x5F)
	b.clock.Advance(160 * time.Millisecond)
	b.expect("16 samples", regStatus1, 0)
	b.clock.Advance(10 * time.Millisecond)
	b.expect("17", regStatus1, almostFull)
	b.expect("cleared", regStatus1, 0)
}

func TestTwinLight(t *testing.T) {
	mean := func(b board) (red, ir float64) {
		b.write(regWrite, 0, 0, 0)
		b.clock.Advance(300 * time.Millisecond)
		return means(decode(b.read(regData, 30*sampleLen)))
	}
	near := func(a, b float64) bool { return a > 0.9*b && a < 1.1*b }
	b := newBoard(t)
	b.sampling(0x5F)
	red, ir := mean(b)
	if !near(red, 36*2200) || !near(ir, 36*3000) {
		t.Errorf("a finger: %.0f, %.0f", red, ir)
	}
	b.write(regRed, 72, 18)
	if red2, ir2 := mean(b); !near(red2, 2*red) || !near(ir2, ir/2) {
		t.Errorf("other currents: %.0f, %.0f", red2, ir2)
	}
	b.write(regSpO2, 0x4F) // 8192 nA
	if red2, _ := mean(b); !near(red2, red) {
		t.Errorf("a wider range: %.0f", red2)
	}
	b.write(regSpO2, 0x2C) // 15 bits
	for _, s := range decode(b.read(regData, 3*sampleLen)) {
		if s.red&7 != 0 || s.ir&7 != 0 {
			t.Errorf("%+v has more than 15 bits", s)
		}
	}
	b.write(regSpO2, spo2Config)
	b.write(regRed, 255, 255)
	if red, ir := mean(b); red != fullScale || ir != fullScale {
		t.Errorf("beyond the converter: %.0f, %.0f", red, ir)
	}
	b.Take()
	if red, ir := mean(b); red != 255*empty || ir != 255*empty {
		t.Errorf("no finger: %.0f, %.0f", red, ir)
	}
}

// Any registers and bytes at all may come over the bus. What is read is bounded, whole, and of 18 bits; and equal
// pointers never lose what a full FIFO held unnoticed.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x00, 0x00, 0x80, 0x00, 0x0A, 0x00, 0x00}, []byte{0x01, 0x35, 0x60, 0x01, 0xA5, 0xE0}) // 10 unread
	f.Add([]byte{0x80, 0x00, 0x80, 0x00, 0x05, 0x00, 0x05}, []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}) // full
	f.Add([]byte{0x01, 0x00, 0x00, 0x00, 0x02, 0x1F, 0x1E}, []byte{0x03, 0xFF, 0xFF})                   // restarted, overflow, half a sample
	f.Fuzz(func(t *testing.T, registers, data []byte) {
		var head [regRead + 1]byte
		copy(head[:], registers)
		b := parseBacklog(head)
		if b.unread < 0 || b.unread >= depth || (int(head[regRead])+b.unread-int(head[regWrite]))%depth != 0 {
			t.Fatalf("% x: %+v", head, b)
		}
		if b.unread == 0 && head[regStatus1]&almostFull != 0 && !b.lost || head[regLost]&pointers != 0 && !b.lost {
			t.Fatalf("% x: %+v: samples are lost unnoticed", head, b)
		}
		samples := decode(data)
		if len(samples) != len(data)/sampleLen {
			t.Fatalf("%d samples of %d bytes", len(samples), len(data))
		}
		var again []byte
		for _, s := range samples {
			if s.red < 0 || s.red >= 1<<18 || s.ir < 0 || s.ir >= 1<<18 {
				t.Fatalf("%+v", s)
			}
			again = append(again, byte(s.red>>16), byte(s.red>>8), byte(s.red), byte(s.ir>>16), byte(s.ir>>8), byte(s.ir))
		}
		for i := range again {
			if want := data[i] & [3]byte{0x03, 0xFF, 0xFF}[i%3]; again[i] != want {
				t.Fatalf("byte %d: %#02x of %#02x", i, again[i], data[i])
			}
		}
		if !slices.Equal(decode(again), samples) {
			t.Fatal("read again it is something else")
		}
	})
}

// Any message at all may come; the chip answers, keeps its FIFO's pointers together, and works after a reset.
func FuzzTwinMessages(f *testing.F) {
	f.Add([]byte{regMode, modeSpO2}, uint8(2), uint16(100))
	f.Add([]byte{regWrite, 0x1F, 0x1F, 0x03}, uint8(6), uint16(400))
	f.Add([]byte{regData, 1, 2, 3}, uint8(255), uint16(10))
	f.Fuzz(func(t *testing.T, message []byte, n uint8, ms uint16) {
		b := newBoard(t)
		b.sampling(0x5F)
		for range 3 {
			if err := b.Tx(address, message, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			b.clock.Advance(time.Duration(ms) * time.Millisecond)
		}
		b.do(func() {
			if f := b.fifo; f.n < 0 || f.n > depth || (int(f.read)+f.n-int(f.write))%depth != 0 || f.part >= sampleLen {
				t.Fatalf("%+v", f)
			}
		})
		b.write(regMode, modeReset)
		b.clock.Advance(resetTime)
		b.sampling(0x5F)
		b.clock.Advance(105 * time.Millisecond)
		b.expect("ten samples", regWrite, 10, 0, 0)
	})
}
