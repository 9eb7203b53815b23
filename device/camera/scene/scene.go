// Package scene draws what a simulated camera sees: a recognisable picture that obeys pan, tilt, zoom, focus and
// exposure, with a swinging ball for motion and a row that a machine can read.
//
// Parties: a twin of a camera asks for pictures and moves the axes; a test reads the row back with ReadCells, also after
// the picture went through a video codec.
//
// Keys: the row holds the sequence number and the capture time, so that lost, stale and frozen pictures are told apart.
//
// Invariants: a picture is a plain baseline JPEG. It is cheap: the picture is made of tiles, each a restart interval of
// its own (ITU-T T.81 section E.1.4), so a new picture is the old tiles with the few that changed put in. Only moving an
// axis draws and encodes everything again.
package scene

import (
	"fmt"
	"image"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"telecart/device"
)

// Limits of a picture's width and height in pixels. New brings others into them.
const (
	MinWidth, MaxWidth   = 128, 4096
	MinHeight, MaxHeight = 64, 4096
)

const (
	bestExposure = 250      // 100 us
	fieldOfView  = 216000.0 // arc seconds across the picture at zoom 100: 60 degrees
	phases       = 48       // pictures of the ball's swing
	period       = 2400 * time.Millisecond
)

// Scene is one simulated view. Its methods may be called from any goroutine.
type Scene struct {
	w, h int
	world
	mu    sync.Mutex
	axes  []device.Axis
	stale bool // an axis moved since the picture was drawn
	drawn *image.YCbCr
	tone  [256]uint8 // of luma, by exposure
	tiles tiles
	ball  map[int]patch // by phase, as drawn
	cells map[uint64][]byte
}

// New is the scene of a room camera: a face, a chart and a ball.
func New(width, height int) *Scene {
	s, _ := Named("room", width, height)
	return s
}

// Names are the scenes there are.
func Names() []string { return []string{"room", "otoscope", "dermatoscope"} }

// Named is the scene of that name.
func Named(name string, width, height int) (*Scene, error) {
	paint := map[string]painter{"room": room, "otoscope": otoscope, "dermatoscope": dermatoscope}[name]
	if paint.at == nil {
		return nil, fmt.Errorf("scene: no scene is named %q; there are %q", name, Names())
	}
	w, h := max(MinWidth, min(width, MaxWidth)), max(MinHeight, min(height, MaxHeight))
	s := &Scene{w: w, h: h, world: newWorld(w, h, paint), stale: true, tiles: newTiles(w, h)}
	s.drawn = image.NewYCbCr(image.Rect(0, 0, (w+15)&^15, (h+15)&^15), image.YCbCrSubsampleRatio420)
	s.axes = []device.Axis{
		{Name: "pan", Unit: "arcsec", Min: -36000, Max: 36000, Step: 360},
		{Name: "tilt", Unit: "arcsec", Min: -36000, Max: 36000, Step: 360},
		{Name: "zoom", Unit: "1", Min: 100, Max: 500, Step: 1, Default: 100},
		{Name: "focus", Unit: "1", Min: 0, Max: 250, Step: 5, Default: paint.focus},
		{Name: "exposure", Unit: "100us", Min: 3, Max: 2047, Step: 1, Default: bestExposure},
		{Name: "focus-auto", Unit: "1", Max: 1, Step: 1, Default: 1},
		{Name: "exposure-auto", Unit: "1", Max: 1, Step: 1, Default: 1},
	}
	for i := range s.axes {
		s.axes[i].Value = s.axes[i].Default
	}
	s.lock()
	return s, nil
}

// Enlarged is the same view in twice the size, within the limits: a sensor that has more than it streams. Nothing finer
// is to be seen there, but painting that would take seconds.
func (s *Scene) Enlarged() *Scene {
	w, h := min(2*s.w, MaxWidth), min(2*s.h, MaxHeight)
	e := &Scene{w: w, h: h, world: s.world.resampled(s.w, w, h), stale: true, tiles: newTiles(w, h)}
	e.drawn = image.NewYCbCr(image.Rect(0, 0, (w+15)&^15, (h+15)&^15), image.YCbCrSubsampleRatio420)
	e.axes = s.Axes()
	return e
}

// axis finds one by name.
func (s *Scene) axis(name string) *device.Axis {
	for i := range s.axes {
		if s.axes[i].Name == name {
			return &s.axes[i]
		}
	}
	return nil
}

// lock lets automatic control rule: what it governs goes to its best value and can't be set.
func (s *Scene) lock() {
	for _, name := range []string{"focus", "exposure"} {
		a := s.axis(name)
		if a.Locked = s.axis(name+"-auto").Value == 1; a.Locked {
			a.Value = a.Default
		}
	}
}

// Axes are the axes with their present values.
func (s *Scene) Axes() []device.Axis {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.axes)
}

// Set moves an axis at once, clamped and rounded to a step. As with a real camera nothing happens to an axis under
// automatic control, nor to one that does not exist.
func (s *Scene) Set(axis string, value int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.axis(axis)
	if a == nil || a.Locked {
		return
	}
	v := max(a.Min, min(value, a.Max))
	v = a.Min + (v-a.Min+a.Step/2)/a.Step*a.Step
	if v = min(v, a.Max); v == a.Value {
		return
	}
	a.Value, s.stale = v, true
	s.lock()
}

// JPEG is the picture with this sequence number (its low 16 bits) and capture time (milliseconds since 1970, the low
// 32 bits) in its top row. The caller owns the bytes.
func (s *Scene) JPEG(seq uint64, at time.Time) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale {
		s.draw()
		s.tiles.encode(s.drawn)
		s.ball, s.cells, s.stale = map[int]patch{}, map[uint64][]byte{}, false
	}
	ms := at.UnixMilli()
	p := int(((ms%period.Milliseconds())+period.Milliseconds())%period.Milliseconds()) * phases / int(period.Milliseconds())
	return s.tiles.join(s.row(code(uint32(ms), uint16(seq))), s.swing(p))
}

// swing is the tiles that the ball covers at a phase.
func (s *Scene) swing(p int) patch {
	got, ok := s.ball[p]
	if ok {
		return got
	}
	a := 2 * math.Pi * float64(p) / phases
	x, y, scale := s.project(s.paint.ballX+s.paint.swing*math.Sin(a), s.paint.ballY+s.paint.swing*0.25*math.Cos(2*a))
	r, soft := s.paint.ballR*scale, max(1.5, s.blurRadius())
	box := image.Rect(int(x-r-soft)-1, int(y-r-soft)-1, int(x+r+soft)+2, int(y+r+soft)+2).
		Intersect(image.Rect(0, cellRows, s.w, s.h))
	gain := s.gain()
	got = s.tiles.redraw(s.drawn, box, func(m *image.YCbCr, b image.Rectangle) {
		for py := b.Min.Y; py < b.Max.Y; py++ {
			for px := b.Min.X; px < b.Max.X; px++ {
				cover := (r-math.Hypot(float64(px)-x, float64(py)-y))/soft + 0.5
				if cover <= 0 {
					continue
				}
				cover = min(cover, 1)
				mix(&m.Y[m.YOffset(px, py)], s.tone[90], cover)
				if px&1 == 0 && py&1 == 0 {
					mix(&m.Cb[m.COffset(px, py)], chroma(60, gain), cover)
					mix(&m.Cr[m.COffset(px, py)], chroma(220, gain), cover)
				}
			}
		}
	})
	s.ball[p] = got
	return got
}

func mix(p *uint8, to uint8, cover float64) {
	*p = uint8(float64(*p) + (float64(to)-float64(*p))*cover + 0.5)
}

// Look turns the scene to where another one looks.
func (s *Scene) Look(other *Scene) {
	axes := other.Axes()
	for _, a := range axes { // automatic control is turned off before what it governs is set
		if strings.HasSuffix(a.Name, "-auto") {
			s.Set(a.Name, a.Value)
		}
	}
	for _, a := range axes {
		s.Set(a.Name, a.Value)
	}
}
