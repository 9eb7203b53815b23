package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"telecart/device"
	"telecart/device/camera"
	"telecart/device/camera/v4l2"
	"telecart/device/lab/uvc"
)

// someFever is what the thermometer's model shows, in thousandths of a degree; lo and hi are the same on the screen.
const (
	someFever          = 37_900
	feverFrom, feverTo = 37.8, 38.0
)

// someSize is the size at which the agent opens both cameras.
var someSize = uvc.Size{Width: 640, Height: 480}

const patientID = "LAB-20417"

// wristband is scanned at the start, and again after the agent was killed.
func wristband() map[string]any {
	return map[string]any{"code": patientID + "|Labworth Ada|1958-03-02"}
}

// agentRuns enrols the agent and waits until it is at work: link, instruments, a patient.
func agentRuns(ctx context.Context, b *bench) (string, error) {
	a, from := b.agent, b.clock.Now()
	if err := a.start(ctx, os.Getenv("LAB_CLAIM")); err != nil {
		return "", err
	}
	s, err := a.nurse.await(ctx, "the link", func(s bedside) bool { return s.Link.State == "up" })
	if err != nil {
		return "", fmt.Errorf("%w (%s)", err, s.Link.Reason)
	}
	linked := b.clock.Now().Sub(from)
	for _, name := range []string{roomCamera, otoscope} {
		if s, err = a.nurse.await(ctx, name+" to be live", func(s bedside) bool { return s.instrument(name).Health.State == device.Live }); err != nil {
			return "", fmt.Errorf("%w (%s)", err, s.instrument(name).Health)
		}
	}
	if _, err := a.capture(ctx, "scan", wristband()); err != nil {
		return "", err
	}
	return fmt.Sprintf("enrolled as %s, linked after %.1f s, both cameras live, an encounter open", s.Cart, linked.Seconds()), nil
}

// stillUVC: the bytes at the hub are those of one picture that the camera on the cable sent.
func stillUVC(ctx context.Context, b *bench) (string, error) {
	jpeg, err := b.agent.one(ctx, "still", map[string]any{"instrument": roomCamera})
	if err != nil {
		return "", err
	}
	if err := b.cams["CAM-A"].sent.has(jpeg); err != nil {
		return "", err
	}
	return fmt.Sprintf("the hub opened %d bytes, SOI to EOI the very JPEG that the camera sent", len(jpeg)), nil
}

// clipUVC: so is every frame of a clip, and none comes twice.
func clipUVC(ctx context.Context, b *bench) (string, error) {
	avi, err := b.agent.one(ctx, "clip", map[string]any{"instrument": roomCamera, "seconds": 2})
	if err != nil {
		return "", err
	}
	frames, err := aviFrames(avi)
	if err != nil {
		return "", err
	}
	for i, f := range frames {
		if err := b.cams["CAM-A"].sent.has(f); err != nil {
			return "", fmt.Errorf("frame %d of %d: %w", i, len(frames), err)
		}
		if i > 0 && bytes.Equal(f, frames[i-1]) {
			return "", fmt.Errorf("frame %d is the same as the one before", i)
		}
	}
	if len(frames) < 4 {
		return "", fmt.Errorf("%d frames in two seconds", len(frames))
	}
	return fmt.Sprintf("%d frames in an AVI of %d bytes, each the camera's own JPEG", len(frames), len(avi)), nil
}

// aviFrames takes the video chunks out of an AVI of one stream.
func aviFrames(b []byte) (frames [][]byte, err error) {
	at := bytes.Index(b, []byte("movi"))
	if at < 0 || !bytes.HasPrefix(b, []byte("RIFF")) {
		return nil, errors.New("that is no AVI")
	}
	for b = b[at+4:]; len(b) >= 8 && string(b[:4]) == "00dc"; {
		n := int(binary.LittleEndian.Uint32(b[4:]))
		if n > len(b)-8 {
			return nil, fmt.Errorf("frame %d of the AVI breaks off", len(frames))
		}
		frames = append(frames, b[8:8+n])
		b = b[min(len(b), 8+n+n%2):]
	}
	return frames, nil
}

// stillVivid: raw pixels of the kernel's own camera arrive as a JPEG with its colour bars in it.
func stillVivid(ctx context.Context, b *bench) (string, error) {
	jpeg, err := b.agent.one(ctx, "still", map[string]any{"instrument": otoscope})
	if err != nil {
		return "", err
	}
	if _, err := v4l2.ScanJPEG(jpeg); err != nil {
		return "", err
	}
	img, err := camera.Decode(device.Frame{Format: device.MJPEG, Data: jpeg, Width: someSize.Width, Height: someSize.Height})
	if err != nil {
		return "", err
	}
	if r := img.Bounds(); r.Dx() != someSize.Width || r.Dy() != someSize.Height {
		return "", fmt.Errorf("a picture of %v", r)
	}
	colours := map[[3]uint32]bool{}
	for x := range someSize.Width {
		r, g, bl, _ := img.At(x, someSize.Height/2).RGBA()
		colours[[3]uint32{r >> 14, g >> 14, bl >> 14}] = true
	}
	if len(colours) < 5 {
		return "", fmt.Errorf("%d colours in a row of vivid's test picture", len(colours))
	}
	return fmt.Sprintf("the hub opened %d bytes: %dx%d, %d colours in the middle row", len(jpeg), someSize.Width, someSize.Height, len(colours)), nil
}

// read saves an instrument's values and gives those items, as the screen lists them, once they are sent.
func (a *agent) read(ctx context.Context, instrument string) (map[string]itemView, error) {
	items, err := a.capture(ctx, "reading", map[string]any{"instrument": instrument})
	if err != nil {
		return nil, err
	}
	out := map[string]itemView{}
	s, err := a.nurse.await(ctx, "the receipts of "+instrument, func(s bedside) bool {
		for _, t := range items {
			if !s.sent(t.ID) {
				return false
			}
		}
		return true
	})
	for _, t := range items {
		for _, i := range s.Items {
			if i.ID == t.ID {
				out[i.Quantity] = i
			}
		}
	}
	return out, err
}

// temperature: what the chip on the bus measures becomes an item.
func temperature(ctx context.Context, b *bench) (string, error) {
	if b.agent.nurse == nil {
		return "", errNoAgent
	}
	const quantity = "body-temperature"
	s, err := b.agent.nurse.await(ctx, "a temperature", func(s bedside) bool { return s.shows(thermo, quantity, feverFrom, feverTo) })
	if err != nil {
		return "", fmt.Errorf("%w: the screen shows %+v", err, s.instrument(thermo))
	}
	items, err := b.agent.read(ctx, thermo)
	if err != nil {
		return "", err
	}
	i, ok := items[quantity]
	if !ok || i.Unit != "Cel" {
		return "", fmt.Errorf("the items are %+v", items)
	}
	return fmt.Sprintf("%s %s %s from %s, sent", i.Quantity, i.Text, i.Unit, b.i2c), nil
}

const plethSeconds, plethHz = 4, 75

// saturation: the byte stream on the serial line becomes two readings and a waveform.
func saturation(ctx context.Context, b *bench) (string, error) {
	if b.agent.nurse == nil {
		return "", errNoAgent
	}
	const spo2, pulse = "oxygen-saturation", "pulse-rate"
	s, err := b.agent.nurse.await(ctx, "a saturation and a pulse", func(s bedside) bool {
		return s.shows(oxi, spo2, 90, 100) && s.shows(oxi, pulse, 90, 140)
	})
	if err != nil {
		return "", fmt.Errorf("%w: the screen shows %+v", err, s.instrument(oxi))
	}
	items, err := b.agent.read(ctx, oxi)
	if err != nil {
		return "", err
	}
	sat, ok := items[spo2]
	rate, ok2 := items[pulse]
	if !ok || !ok2 {
		return "", fmt.Errorf("the items are %+v", items)
	}
	wave, err := b.agent.one(ctx, "waveform", map[string]any{"instrument": oxi, "seconds": plethSeconds})
	if err != nil {
		return "", err
	}
	lo, hi := int32(1<<30), int32(-1<<30)
	for w := wave; len(w) >= 4; w = w[4:] {
		v := int32(binary.LittleEndian.Uint32(w))
		lo, hi = min(lo, v), max(hi, v)
	}
	if len(wave) != plethSeconds*plethHz*4 || lo >= hi {
		return "", fmt.Errorf("a pleth of %d bytes, from %d to %d", len(wave), lo, hi)
	}
	return fmt.Sprintf("%s %s, %s %s, %d samples of pleth from %d to %d, sent", sat.Text, sat.Unit, rate.Text, rate.Unit, len(wave)/4, lo, hi), nil
}

// pulled takes the camera's cable out: the screen says so, a still of it is refused in words, the others go on; plugged in
// again it works, with nobody's help.
func pulled(ctx context.Context, b *bench) (string, error) {
	a, cam := b.agent, b.cams["CAM-A"]
	if a.nurse == nil {
		return "", errNoAgent
	}
	if err := cam.unplug(ctx); err != nil {
		return "", err
	}
	from := b.clock.Now()
	if s, err := a.nurse.await(ctx, "the camera to be called absent", func(s bedside) bool {
		return s.instrument(roomCamera).Health.State == device.Absent
	}); err != nil {
		return "", fmt.Errorf("%w (%s)", err, s.instrument(roomCamera).Health)
	}
	noticed := b.clock.Now().Sub(from)
	_, err := a.capture(ctx, "still", map[string]any{"instrument": roomCamera})
	if no := (*refused)(nil); !errors.As(err, &no) || no.code != "instrument-gone" {
		return "", fmt.Errorf("a still of a camera that is not there: %v, want instrument-gone", err)
	}
	if _, err := a.one(ctx, "still", map[string]any{"instrument": otoscope}); err != nil {
		return "", fmt.Errorf("the other camera meanwhile: %w", err)
	}
	if _, err := a.read(ctx, oxi); err != nil {
		return "", fmt.Errorf("the oximeter meanwhile: %w", err)
	}
	if err := cam.plug(ctx); err != nil {
		return "", err
	}
	from = b.clock.Now()
	if _, err := a.nurse.await(ctx, "the camera to be live again", func(s bedside) bool {
		return s.instrument(roomCamera).Health.State == device.Live
	}); err != nil {
		return "", err
	}
	back := b.clock.Now().Sub(from)
	jpeg, err := a.one(ctx, "still", map[string]any{"instrument": roomCamera})
	if err != nil {
		return "", fmt.Errorf("after it was plugged in again: %w", err)
	}
	if err := cam.sent.has(jpeg); err != nil {
		return "", err
	}
	return fmt.Sprintf("absent after %.1f s, stills of it refused, the others went on; live %.1f s after the plug, next still saved and sent",
		noticed.Seconds(), back.Seconds()), nil
}

// fromHub is who says the patient's name after a restart.
const fromHub = "hub"

// killed kills the agent in the middle of saving, and starts it again: the encounter goes on, and its name comes back from
// the hub, for the cart's disk has none. What was told saved before is looked for outside, in the end.
func killed(ctx context.Context, b *bench) (string, error) {
	a := b.agent
	if a.nurse == nil {
		return "", errNoAgent
	}
	before, err := a.nurse.await(ctx, "an encounter", func(s bedside) bool { return s.Encounter != nil })
	if err != nil {
		return "", err
	}
	saves, err := a.saveUntilKilled(ctx)
	if err != nil {
		return "", err
	}
	from := b.clock.Now()
	if err := a.start(ctx, ""); err != nil {
		return "", err
	}
	s, err := a.nurse.await(ctx, "the encounter to go on", func(s bedside) bool { return s.Encounter != nil })
	if err != nil {
		return "", err
	}
	back := b.clock.Now().Sub(from)
	if s.Encounter.ID != before.Encounter.ID || !s.Encounter.Restored || s.Damaged > 0 {
		return "", fmt.Errorf("encounter %s came back as %+v, %d items damaged", before.Encounter.ID, *s.Encounter, s.Damaged)
	}
	if s, err = a.nurse.await(ctx, "the patient's name from the hub", func(s bedside) bool { return s.Patient != nil }); err != nil {
		return "", err
	}
	if s.Patient.Source != fromHub || s.Patient.ID != patientID {
		return "", fmt.Errorf("patient %s by %s after the restart: a name must not lie on the cart's disk", s.Patient.ID, s.Patient.Source)
	}
	if _, err := a.capture(ctx, "scan", wristband()); err != nil {
		return "", err
	}
	if _, err := a.one(ctx, "still", map[string]any{"instrument": roomCamera}); err != nil {
		return "", err
	}
	return fmt.Sprintf("killed after %d saves in a row, its encounter restored %.1f s after the new start, the name by the hub", saves, back.Seconds()), nil
}

// savesBeforeKill is how many are saved before the signal goes out.
const savesBeforeKill = 15

// saveUntilKilled saves without a pause, in three loops at once, and kills the agent meanwhile.
func (a *agent) saveUntilKilled(ctx context.Context) (int, error) {
	saved := make(chan struct{})
	dead := make(chan struct{})
	var loops sync.WaitGroup
	errs := make(chan error, 3)
	for verb, args := range map[string]map[string]any{"still": {"instrument": roomCamera}, "note": {"text": "No complaints"}, "reading": {"instrument": oxi}} {
		loops.Go(func() {
			for {
				_, err := a.capture(ctx, verb, args)
				if err != nil {
					errs <- err
					return
				}
				select {
				case saved <- struct{}{}:
				case <-dead: // what was told after the signal counts as well
				}
			}
		})
	}
	n, done := 0, make(chan struct{})
	go func() { loops.Wait(); close(done) }()
	for n < savesBeforeKill {
		select {
		case <-saved:
			n++
		case <-done:
			return n, fmt.Errorf("saving ended before the agent was killed: %w", <-errs)
		}
	}
	close(dead)
	err := a.cmd.Process.Signal(syscall.SIGKILL)
	<-done // the page's connection ends with the agent
	close(errs)
	for e := range errs {
		if !errors.Is(e, errGone) {
			err = errors.Join(err, e)
		}
	}
	// It has gone already: this waits for the process, and for the page.
	_ = a.end(syscall.SIGKILL)
	return n, err
}

// receipts closes the encounter and waits until the cart holds nothing that the hub has not signed for.
func receipts(ctx context.Context, b *bench) (string, error) {
	a := b.agent
	if a.nurse == nil {
		return "", errNoAgent
	}
	if _, err := a.capture(ctx, "close", nil); err != nil {
		return "", err
	}
	n, err := a.writeTold()
	if err != nil {
		return "", err
	}
	s, err := a.nurse.await(ctx, "every receipt", func(s bedside) bool { return s.Encounter == nil && s.Held == 0 })
	if err != nil {
		return "", fmt.Errorf("%w: %d held, link %s %s", err, s.Held, s.Link.State, s.Link.Reason)
	}
	if s.Refused > 0 || s.Damaged > 0 {
		return "", fmt.Errorf("%d items refused by the hub, %d damaged", s.Refused, s.Damaged)
	}
	return fmt.Sprintf("%d items were told saved; 0 held", n), nil
}
