package voice

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"github.com/gen2brain/malgo"

	"telecart/device"
)

// card is the sound server's pair, through miniaudio: it loads the server's library when it is there, and needs none to be built.
// For a chest this would not do (device/stethoscope/alsa says why); of a voice nothing is measured.
type card struct {
	ctx  *malgo.AllocatedContext
	name string
}

// servers that are tried, in this order. ALSA's default is PipeWire's too, where that is installed.
func servers() []malgo.Backend {
	return []malgo.Backend{malgo.BackendPulseaudio, malgo.BackendAlsa}
}

func openCard(servers []malgo.Backend) (source, error) {
	ctx, err := malgo.InitContext(servers, malgo.ContextConfig{}, nil)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoSound, err)
	}
	c := &card{ctx: ctx}
	c.name, err = c.look()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// look makes sure that there are both, and says what the microphone is called.
func (c *card) look() (name string, err error) {
	ears, err1 := c.ctx.Devices(malgo.Capture)
	mouths, err2 := c.ctx.Devices(malgo.Playback)
	if err := errors.Join(err1, err2); err != nil {
		return "", fmt.Errorf("%w (%w)", ErrNoSound, err)
	}
	if len(ears) == 0 || len(mouths) == 0 {
		return "", fmt.Errorf("%w (%d microphones, %d loudspeakers)", ErrNoSound, len(ears), len(mouths))
	}
	for _, e := range ears {
		if e.IsDefault != 0 || name == "" {
			name = e.Name()
		}
	}
	return name, nil
}

func (c *card) about() device.About { return device.About{Model: c.name} }

func (c *card) alive() error {
	_, err := c.look()
	return err
}

func (c *card) Close() error {
	err := c.ctx.Uninit()
	c.ctx.Free()
	if err != nil {
		return fmt.Errorf("voice: %w", err)
	}
	return nil
}

func (c *card) hear(ctx context.Context, take func([]int16)) error {
	return c.on(ctx, malgo.Capture, func(_, in []byte) { take(values(in)) })
}

func (c *card) play(ctx context.Context, fill func([]int16)) error {
	return c.on(ctx, malgo.Playback, func(out, _ []byte) { fill(values(out)) })
}

// values are the bytes as miniaudio has them: the machine's own order.
func values(b []byte) []int16 {
	if len(b) < 2 {
		return nil
	}
	return unsafe.Slice((*int16)(unsafe.Pointer(&b[0])), len(b)/2)
}

// on has one direction on until ctx ends or the server stops it.
func (c *card) on(ctx context.Context, way malgo.DeviceType, data func(out, in []byte)) error {
	o := malgo.DefaultDeviceConfig(way)
	o.SampleRate, o.PeriodSizeInMilliseconds, o.Periods = RateHz, 10, 3
	o.Capture.Format, o.Capture.Channels = malgo.FormatS16, 1
	o.Playback.Format, o.Playback.Channels = malgo.FormatS16, 1
	stopped := make(chan struct{}, 1)
	d, err := malgo.InitDevice(c.ctx.Context, o, malgo.DeviceCallbacks{
		Data: func(out, in []byte, _ uint32) { data(out, in) },
		Stop: func() {
			select {
			case stopped <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrNoSound, err)
	}
	defer d.Uninit()
	if err := d.Start(); err != nil {
		return fmt.Errorf("%w (%w)", ErrNoSound, err)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-stopped:
		return ErrUnplugged
	}
}
