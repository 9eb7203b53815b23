package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/camera"
	"telecart/device/camera/v4l2"
)

// inject works a control of vivid's, which stands for something that goes wrong (vivid-ctrls.c; their names are in the
// kernel's documentation, admin-guide/media/vivid.rst, "Error Injection").
func (b *bench) inject(ctx context.Context, name string, value int) (err error) {
	c, err := v4l2.OpenControls(b.vivid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	list, err := c.List(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(k v4l2.Control) bool { return k.Name == name })
	if i < 0 {
		var have []string
		for _, k := range list {
			have = append(have, k.Name)
		}
		return fmt.Errorf("vivid has no control %q, but %q", name, have)
	}
	return c.Set(ctx, v4l2.Value{ID: list[i].ID, Value: value})
}

// bars is vivid's picture, which stays as it is but for the lines of text on top.
type bars struct {
	first device.Frame
}

const barsFrom = 300 // the first line without text

func (p bars) same(f device.Frame) error {
	if f.Format != device.YUYV || f.Width != 640 || f.Height != 480 || len(f.Data) != 2*640*480 {
		return fmt.Errorf("a frame %s of %dx%d, %d bytes", f.Format, f.Width, f.Height, len(f.Data))
	}
	if n := 2 * 640 * barsFrom; !slices.Equal(f.Data[n:], p.first.Data[n:]) {
		return fmt.Errorf("frame %d does not show the colour bars", f.Seq)
	}
	return nil
}

// scope is vivid under the supervisor, watched, and a photographer who takes a still after another, whatever happens.
type scope struct {
	*bench
	*ward
	device.View
	bars
	stop func() error

	mu             sync.Mutex
	stills, failed int
}

const scopeName = "scope"

func (b *bench) scope(ctx context.Context) (_ *scope, err error) {
	w, err := b.lenses(ctx, lensBed(scopeName, b.vivid, "still", "stream"))
	if err != nil {
		return nil, err
	}
	s := &scope{bench: b, ward: w}
	shooting, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	s.stop = func() error {
		cancel()
		return errors.Join(<-ended, w.stop())
	}
	if s.View, err = w.watch(scopeName); err == nil {
		for { // the first
			if s.first, err = s.Next(ctx); !errors.Is(err, device.ErrGone) {
				break
			}
			<-b.clock.After(100 * time.Millisecond)
		}
	}
	shooter, ok := w.Shooter(scopeName)
	if err != nil || !ok {
		ended <- nil
		return nil, errors.Join(err, s.stop(), errors.New("vivid did not start"))
	}
	go func() { ended <- s.photograph(shooting, shooter) }()
	return s, nil
}

// photograph returns an error for a still that isn't good: no still is not an error.
func (s *scope) photograph(ctx context.Context, shooter device.Shooter) error {
	for ctx.Err() == nil {
		f, err := shooter.Shoot(ctx)
		s.mu.Lock()
		if err == nil {
			s.stills++
			err = s.same(f)
		} else {
			s.failed++
			err = nil
		}
		s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("a still: %w", err)
		}
		select {
		case <-s.bench.clock.After(300 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// good waits for some good frames; a view may see it gone before.
func (s *scope) good(ctx context.Context) error {
	for n := 0; n < someFrames; {
		f, err := s.Next(ctx)
		switch {
		case errors.Is(err, device.ErrGone):
			select {
			case <-s.bench.clock.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("it did not come back: %w: %s", ctx.Err(), s.status(scopeName).LastError)
			}
			continue
		case err == nil:
			err = s.same(f)
		}
		if err != nil {
			return err
		}
		n++
	}
	return nil
}

// counted waits until a counter has grown by n, and looks at every frame meanwhile.
func (s *scope) counted(ctx context.Context, what string, n uint64) error {
	before := s.status(scopeName).Counters[what]
	for s.status(scopeName).Counters[what] < before+n {
		f, err := s.Next(ctx)
		if err == nil {
			err = s.same(f)
		}
		if err != nil {
			return fmt.Errorf("while %s were to be counted: %w", what, err)
		}
	}
	return nil
}

// vividErrors: damaged and dropped buffers are counted, and that is all that happens.
func vividErrors(ctx context.Context, b *bench) (seen string, err error) {
	s, err := b.scope(ctx)
	if err != nil {
		return "", err
	}
	defer func() {
		s.Close()
		err = errors.Join(err, s.stop())
	}()
	restarted := s.since(scopeName)
	for range 5 {
		before := s.status(scopeName).Counters["frames_flagged"]
		if err := b.inject(ctx, "Inject V4L2_BUF_FLAG_ERROR", 1); err != nil {
			return "", err
		}
		for s.status(scopeName).Counters["frames_flagged"] == before {
			if _, err := s.Next(ctx); err != nil {
				return "", fmt.Errorf("a damaged buffer: %w", err)
			}
		}
	}
	if err := b.inject(ctx, "Percentage of Dropped Buffers", 60); err != nil {
		return "", err
	}
	err = s.counted(ctx, "frames_lost", 20)
	if err := errors.Join(err, b.inject(ctx, "Percentage of Dropped Buffers", 0), s.good(ctx), restarted()); err != nil {
		return "", err
	}
	n := s.status(scopeName).Counters
	return fmt.Sprintf("%d damaged, %d lost of %d, counted; not restarted; %s", n["frames_flagged"], n["frames_lost"], n["frames"], s.photos()), nil
}

func (s *scope) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stills
}

func (s *scope) photos() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d stills, all good, %d refused", s.stills, s.failed)
}

// vividFailures: what ends a stream, or keeps it from starting, ends one life of the instrument; the next one shows pictures.
func vividFailures(ctx context.Context, b *bench) (seen string, err error) {
	s, err := b.scope(ctx)
	if err != nil {
		return "", err
	}
	defer func() {
		s.Close()
		err = errors.Join(err, s.stop())
	}()
	const fatal = "Inject Fatal Streaming Error"
	for _, x := range []struct {
		what   []string
		wanted device.Reason // it says when it is gone; "" for any
	}{
		{[]string{fatal}, camera.StreamFailed},
		{[]string{"Inject VIDIOC_QBUF Error"}, ""},
		{[]string{"Inject VIDIOC_STREAMON Error", fatal}, ""},
		{[]string{"Inject VIDIOC_REQBUFS Error", fatal}, ""},
		{[]string{"Disconnect"}, camera.Unplugged},
	} {
		lives := s.status(scopeName).Restarts
		for _, name := range x.what {
			if err := b.inject(ctx, name, 1); err != nil {
				return "", fmt.Errorf("%q: %w", name, err)
			}
		}
		for {
			if _, err = s.Next(ctx); err != nil {
				break
			}
		}
		if !errors.Is(err, device.ErrGone) {
			return "", fmt.Errorf("%q: the view saw %v, want %w", x.what, err, device.ErrGone)
		}
		h := s.status(scopeName).Health
		went := b.clock.Now()
		if x.wanted != "" && h.State != device.Live && h.Reason != x.wanted {
			return "", fmt.Errorf("%q: it is %s %s, not %s", x.what, h.State, h.Reason, x.wanted)
		}
		if err := s.good(ctx); err != nil {
			return "", fmt.Errorf("%q: %w", x.what, err)
		}
		now := s.status(scopeName)
		if now.Restarts-lives < len(x.what) {
			return "", fmt.Errorf("%q: restarted %d times", x.what, now.Restarts-lives)
		}
		seen += fmt.Sprintf("%s: back after %.1f s, %d restarts; ", x.what[0], b.clock.Now().Sub(went).Seconds(), now.Restarts-lives)
	}
	if s.taken() == 0 {
		return "", errors.New("no still was taken meanwhile")
	}
	return seen + s.photos(), nil
}
