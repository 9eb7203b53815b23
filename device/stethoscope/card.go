package stethoscope

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/stethoscope/alsa"
)

// card is a stethoscope behind the kernel's sound interface. Its mixer is open all the time, its microphone only while it is
// listened to.
type card struct {
	*alsa.Card
	number, pcm int
	gain        int
	said        device.About
}

// openCard finds the port's card, fixes its gain and makes sure that it has a format of ours, without turning it on.
func openCard(port string, gain int) (source, error) {
	c := &card{gain: gain}
	path := port
	if !strings.HasPrefix(port, "hw:") {
		node, err := hotplug.Find("sound", port)
		if err != nil {
			return nil, err
		}
		path, c.said = node.Path, device.About{Model: node.Name, Serial: node.Serial}
	}
	if _, err := fmt.Sscanf(path, "hw:%d,%d", &c.number, &c.pcm); err != nil {
		return nil, fmt.Errorf("stethoscope: the sound device at %s is %q, not hw:CARD,DEVICE", port, path)
	}
	var err error
	if c.Card, err = alsa.OpenCard(c.number); err != nil {
		return nil, err
	}
	if c.said.Model == "" {
		c.said.Model = c.Card.Name
	}
	if err := errors.Join(c.Fix(gain), alsa.Probe(c.number, c.pcm)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *card) about() device.About { return c.said }
func (c *card) alive() error        { return c.Alive() }

// listen fixes the gain again: any program of the machine may have changed it.
func (c *card) listen() (stream, error) {
	if err := c.Fix(c.gain); err != nil {
		return nil, err
	}
	in, err := alsa.Open(c.number, c.pcm)
	if err != nil {
		return nil, err
	}
	return capture{in}, nil
}

type capture struct{ *alsa.Capture }

func (c capture) rate() int { return c.RateHz }

func (c capture) read(ctx context.Context, dst []int16) (n int, lost uint64, err error) {
	return c.Read(ctx, dst)
}
