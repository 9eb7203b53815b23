package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"telecart/capture"
	"telecart/capture/sound"
	"telecart/device"
)

// stillWait is how long a camera may take for its first picture.
const stillWait = 5 * time.Second

// shootWait is how long a still may take in all: a camera that changes its size for it may need five seconds.
const shootWait = 12 * time.Second

// still saves the camera's own bytes of its next picture.
func (a *Agent) still(ctx context.Context, instrument, site, side, by string) (Saved, error) {
	b, enc, err := a.body(capture.Still)
	if err != nil {
		return Saved{}, err
	}
	ctx, cancel := within(ctx, enc)
	defer cancel()
	f, err := a.shoot(ctx, instrument)
	if err != nil {
		return Saved{}, err
	}
	b.At, b.By, b.Site, b.Side, b.Blob = f.At, by, site, side, f.Data
	b.Media = &capture.MediaInfo{Type: "image/jpeg", Width: f.Width, Height: f.Height}
	b.Instrument = a.identity(instrument)
	return a.save(ctx, b)
}

// shoot takes one picture, at the sensor's resolution if the camera can.
func (a *Agent) shoot(ctx context.Context, instrument string) (device.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, shootWait)
	defer cancel()
	if s, ok := a.sup.Shooter(instrument); ok {
		f, err := s.Shoot(ctx)
		if err == nil {
			return AsJPEG(f)
		}
		a.log.Warn("agent: no still at full size; the live picture is taken", "instrument", instrument, "err", err)
	}
	frames, err := a.frames(ctx, instrument, 1, 0)
	if err != nil {
		return device.Frame{}, err
	}
	return frames[0], nil
}

// frames watches a camera for n pictures, or for so long.
func (a *Agent) frames(ctx context.Context, instrument string, n int, during time.Duration) ([]device.Frame, error) {
	cam, ok := a.sup.Camera(instrument)
	if !ok {
		return nil, fmt.Errorf("%w: %q is no camera", errInstrument, instrument)
	}
	v := cam.Watch()
	defer v.Close()
	ctx, cancel := context.WithTimeout(ctx, stillWait+during)
	defer cancel()
	var end <-chan time.Time
	var out []device.Frame
	size := 0
	for {
		f, err := v.Next(ctx)
		if errors.Is(err, device.ErrGone) && len(out) == 0 { // starting, or just plugged in again
			select {
			case <-a.clock.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		}
		if err != nil && during > 0 && len(out) > 1 {
			return out, nil // what was seen before it was unplugged is worth keeping
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s gives no picture: %v", errInstrument, instrument, err)
		}
		if f, err = AsJPEG(f); err != nil {
			return nil, err
		}
		out = append(out, f)
		size += len(f.Data)
		if end == nil && during > 0 {
			end = a.clock.After(during)
		}
		select {
		case <-end:
			return out, nil
		default:
		}
		if during == 0 && len(out) == n || size > maxClip || during > 0 && a.lastGasp.Load() {
			return out, nil
		}
	}
}

// maxClip bounds a clip in memory, in bytes.
const maxClip = 48 << 20

// clip saves some seconds of a camera as it gave them.
func (a *Agent) clip(ctx context.Context, instrument string, seconds int, site, side string) (Saved, error) {
	if seconds < 1 || seconds > 10 {
		return Saved{}, fmt.Errorf("%w: a clip has 1 to 10 seconds", errArgument)
	}
	if err := a.roomForClips(); err != nil {
		return Saved{}, err
	}
	b, enc, err := a.body(capture.Clip)
	if err != nil {
		return Saved{}, err
	}
	ctx, cancel := within(ctx, enc)
	defer cancel()
	frames, err := a.frames(ctx, instrument, 0, time.Duration(seconds)*time.Second)
	if err != nil {
		return Saved{}, err
	}
	jpegs, at := make([][]byte, len(frames)), make([]int64, len(frames))
	for i, f := range frames {
		jpegs[i], at[i] = f.Data, (f.At.Mono-frames[0].At.Mono)/1e6
	}
	first, last := frames[0], at[len(at)-1]
	fps := max(1, int(int64(len(frames)-1)*1000/max(1, last)))
	if b.Blob, err = capture.AVI(jpegs, first.Width, first.Height, fps); err != nil {
		return Saved{}, err
	}
	defer clear(b.Blob) // ours alone; the frames are the camera's, and others may be looking at them
	b.At, b.Site, b.Side, b.Instrument = first.At, site, side, a.identity(instrument)
	b.Media = &capture.MediaInfo{Type: "video/x-msvideo", Width: first.Width, Height: first.Height, DurationMS: last, FrameMS: at}
	return a.save(ctx, b)
}

// sound saves what a stethoscope hears from now on, bit for bit.
func (a *Agent) sound(ctx context.Context, instrument string, seconds int, site, side string) (Saved, error) {
	if most := int(sound.MaxDuration / time.Second); seconds < 1 || seconds > most {
		return Saved{}, fmt.Errorf("%w: a sound has 1 to %d seconds", errArgument, most)
	}
	if err := a.roomForClips(); err != nil {
		return Saved{}, err
	}
	mic, ok := a.sup.Microphone(instrument)
	if !ok {
		return Saved{}, fmt.Errorf("%w: %q is no stethoscope", errInstrument, instrument)
	}
	b, enc, err := a.body(capture.Sound)
	if err != nil {
		return Saved{}, err
	}
	ctx, cancel := within(ctx, enc)
	defer cancel()
	r, err := a.hear(ctx, mic, time.Duration(seconds)*time.Second)
	if err != nil {
		return Saved{}, fmt.Errorf("%w: %s: %w", errInstrument, instrument, err)
	}
	defer clear(r.Values)
	if b.Blob, err = sound.Encode(r); err != nil {
		return Saved{}, err
	}
	defer clear(b.Blob)
	b.At, b.Site, b.Side, b.Instrument = r.Start, site, side, a.identity(instrument)
	b.Media = &capture.MediaInfo{Type: sound.Type, DurationMS: r.Duration().Milliseconds(), RateHz: r.RateHz}
	for _, g := range r.Gaps {
		b.Media.Gaps = append(b.Media.Gaps, [2]int{g.At, g.Values})
	}
	return a.save(ctx, b)
}

// hear records for so long, or until the battery or the instrument ends: what was heard by then is kept.
func (a *Agent) hear(ctx context.Context, mic device.Microphone, during time.Duration) (sound.Recording, error) {
	ear := mic.Listen()
	defer ear.Close()
	ctx, cancel := context.WithTimeout(ctx, during+stillWait)
	defer cancel()
	var rec sound.Recorder
	for {
		s, err := ear.Next(ctx)
		r := rec.Recording()
		if errors.Is(err, device.ErrGone) && len(r.Values) == 0 { // starting, or just plugged in again
			select {
			case <-a.clock.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		}
		if err == nil {
			err = rec.Add(s)
			r = rec.Recording()
		}
		switch {
		case err != nil && r.Duration() < time.Second: // too short to be of use
			return r, err
		case err != nil || r.Duration() >= during || a.lastGasp.Load():
			return r, nil
		}
	}
}

// roomForClips refuses what is large when the disk or the battery is nearly at its end.
func (a *Agent) roomForClips() error {
	if a.lastGasp.Load() {
		return fmt.Errorf("%w: no clip or sound now; notes, values and pictures are still saved", errBattery)
	}
	if a.diskPercent() >= clipsUpTo {
		return fmt.Errorf("%w: %d %% of the disk are used; there is room for readings, notes and stills alone", errDiskFull, clipsUpTo)
	}
	return nil
}

// reading saves every present value of an instrument.
func (a *Agent) reading(ctx context.Context, instrument, site, side string) ([]Saved, error) {
	b, _, err := a.body(capture.Reading)
	if err != nil {
		return nil, err
	}
	var out []Saved
	for _, s := range a.sup.Snapshot() {
		if s.Name != instrument {
			continue
		}
		for _, r := range s.Readings {
			if r.Absent != "" || r.Stale || ofCart(r.Quantity) || r.Quantity == pressureNow {
				continue
			}
			if err := mayKeep(r.Reading, b.Practice); err != nil {
				return out, err
			}
			one, value := b, r.Reading
			value.Site, value.Side = site, side
			one.At, one.Reading, one.Site, one.Side, one.Instrument = value.At, &value, site, side, &value.Instrument
			saved, err := a.save(ctx, one)
			if err != nil {
				return out, err
			}
			out = append(out, saved)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %s shows no value at this moment", errNothing, instrument)
	}
	return out, nil
}

// waveform saves the last seconds of what an instrument drew, waiting for as much as is missing.
func (a *Agent) waveform(ctx context.Context, instrument string, seconds int, site, side string) (Saved, error) {
	if seconds < 1 || seconds > waveSeconds {
		return Saved{}, fmt.Errorf("%w: a waveform has 1 to %d seconds", errArgument, waveSeconds)
	}
	b, enc, err := a.body(capture.Waveform)
	if err != nil {
		return Saved{}, err
	}
	ctx, cancel := within(ctx, enc)
	defer cancel()
	news, leave := a.waves.join()
	defer leave()
	give := a.clock.After(time.Duration(seconds)*time.Second + 5*time.Second)
	for {
		if s, ok := a.waves.tail(instrument, seconds, a.stamp.Now()); ok {
			if s.Instrument.Grade == device.Uncalibrated && !b.Practice {
				return Saved{}, fmt.Errorf("%w: %s", errPractice, instrument)
			}
			for _, v := range s.Values {
				b.Blob = binary.LittleEndian.AppendUint32(b.Blob, uint32(v))
			}
			defer clear(s.Values)
			defer clear(b.Blob)
			b.At, b.Site, b.Side, b.Instrument = s.At, site, side, &s.Instrument
			b.Waveform = &capture.WaveformInfo{Quantity: s.Quantity, Unit: s.Unit, RateHz: s.RateHz, Count: len(s.Values)}
			return a.save(ctx, b)
		}
		select {
		case <-news:
		case <-give:
			return Saved{}, fmt.Errorf("%w: %s draws no waveform of %d s", errNothing, instrument, seconds)
		case <-ctx.Done():
			return Saved{}, ctx.Err()
		}
	}
}
