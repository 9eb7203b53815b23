package live

import (
	"errors"

	"telecart/uplink/ladder"
)

var (
	// errShape: the ladder wants another size or frame rate. The encoder is made anew, the session stays: H.264 announces its
	// size itself (the SPS), and a viewer's decoder follows.
	errShape = errors.New("live: another size or rate")
	// errTooMuch: the camera's own stream needs more than the link gives it, or is not wanted at all.
	errTooMuch = errors.New("live: the camera's own stream does not fit the link")
	// errFits: it would fit again.
	errFits = errors.New("live: the camera's own stream fits the link again")
)

// shape is what the encoder is set to.
type shape struct {
	width, height int
	fps           float32
}

// shape is what is wanted now, within what the options allow.
func (o *Options) shape(p ladder.Plan) shape {
	s := shape{o.Width, o.Height, o.FrameRate}
	if o.Ladder == nil || p.Step == ladder.Stills {
		return s
	}
	// The same share of the picture each way, or it would be squeezed.
	if k := min(float64(p.Width)/float64(s.width), float64(p.Height)/float64(s.height)); k < 1 {
		s.width, s.height = int(float64(s.width)*k)&^1, int(float64(s.height)*k)&^1
	}
	s.fps = min(s.fps, float32(p.Rate))
	return s
}

// plan is the ladder's; without one, everything.
func (o *Options) plan() ladder.Plan {
	if o.Ladder == nil {
		return ladder.Plan{Step: ladder.Full, Bitrate: o.Bitrate, Rate: int(o.FrameRate), Width: o.Width, Height: o.Height}
	}
	p := o.Ladder.Plan()
	p.Bitrate = min(p.Bitrate, o.Bitrate)
	return p
}
