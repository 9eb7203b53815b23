//go:build lab

package alsa

import (
	"context"
	"errors"
	"testing"
	"time"
	"unsafe"
)

// What the driver's own tests on a kernel (../lab_test.go, which says how) don't see: overruns and the mixer.

// After an overrun the count of what was lost is right: the player counts up, so every value tells its place.
func TestLabOverrun(t *testing.T) {
	p, err := OpenPlayer(0, 0, 48000, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		part, at := make([]int16, 960), 0
		for {
			for i := range part {
				part[i] = int16(at)
				at++
			}
			if err := p.Write(ctx, part); err != nil {
				done <- err
				return
			}
		}
	}()
	defer func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("player: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	c, err := Open(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]int16, 960)
	got, last, lostOnce := 0, int16(0), false
	for got < 5*48000 {
		if got > 2*48000 && !lostOnce {
			time.Sleep(2500 * time.Millisecond) // a cart that is very busy
		}
		n, lost, err := c.Read(ctx, buf)
		if err != nil {
			t.Fatal(err)
		}
		if lost > 0 {
			// The values wrap round after 1.4 s; the error of the count is far smaller.
			wrong := int16(uint64(uint16(buf[0]-last-1)) - lost)
			t.Logf("lost %d, wrong by %d", lost, wrong)
			if lostOnce = true; lost < 2*48000 || wrong > 960 || wrong < -960 {
				t.Errorf("%d lost, which is wrong by %d values: want within 20 ms", lost, wrong)
			}
		} else if got > 48000 && buf[0] != last+1 {
			t.Fatalf("%d after %d without a word of a gap", buf[0], last)
		}
		got, last = got+n, buf[n-1]
	}
	if !lostOnce {
		t.Error("2.5 s without a read, and nothing is lost")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// An automatic gain, which this test adds to the card, is off afterwards.
func TestLabMixer(t *testing.T) {
	const add = 0xC1105517 // SNDRV_CTL_IOCTL_ELEM_ADD
	n, err := openNode("/dev/snd/controlC0")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []elemInfo{element("Mic Auto Gain Control", elemBoolean, 1), element("Mic Capture Volume", elemInteger, 1, -16, 48)} {
		e.ID.Iface = 2 // SNDRV_CTL_ELEM_IFACE_MIXER
		if err := n.ioctl(add, unsafe.Pointer(&e)); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil { // they stay, and may be written by others now
		t.Fatal(err)
	}
	c, err := OpenCard(0)
	if err != nil {
		t.Fatal(err)
	}
	elements, err := c.elements()
	if err != nil {
		t.Fatal(err)
	}
	var gain, volume elemInfo
	for _, e := range elements {
		switch text(e.ID.Name[:]) {
		case "Mic Auto Gain Control":
			gain = e
		case "Mic Capture Volume":
			volume = e
		}
	}
	t.Logf("card %q, %d elements", c.Name, len(elements))
	if err := errors.Join(c.set(gain, 1), c.is(gain, 1), c.Fix(75), c.is(gain, 0), c.is(volume, 32)); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.Alive(), c.Close()); err != nil {
		t.Error(err)
	}
}
