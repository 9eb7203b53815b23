package alsa

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	silence     = 2 * time.Second // without a value this long is a fault
	maxSpurious = 100             // wake-ups without a value, likewise
	maxChannels = 32
)

// Capture is a microphone that is open.
type Capture struct {
	Setup
	n   node
	raw []byte
}

// Setup is what the hardware was set to.
type Setup struct {
	RateHz   int
	Channels int // what Read gives is the first
	Period   int // frames between two wake-ups
	Buffer   int // frames that the kernel keeps for us
}

func (s Setup) String() string {
	return fmt.Sprintf("S16 %d Hz, %d channels, period %d, buffer %d", s.RateHz, s.Channels, s.Period, s.Buffer)
}

// Probe says whether Open would find a format, and opens no microphone: it asks the driver alone.
func Probe(card, device int) (err error) {
	n, err := openNode(fmt.Sprintf("/dev/snd/pcmC%dD%dc", card, device))
	if err != nil {
		return err
	}
	_, err = choose(n, rates(), anyNumber)
	return errors.Join(err, n.Close())
}

// Open sets the hardware to 16 bits, one channel if it can, 48 kHz or else 44.1 kHz, and starts. Close it to turn the
// microphone off.
func Open(card, device int) (*Capture, error) {
	n, err := openNode(fmt.Sprintf("/dev/snd/pcmC%dD%dc", card, device))
	if err != nil {
		return nil, err
	}
	return begin(n)
}

// begin owns the node.
func begin(n node) (c *Capture, err error) {
	defer func() {
		if err != nil {
			c, err = nil, errors.Join(err, n.Close())
		}
	}()
	p, err := choose(n, rates(), anyNumber)
	if err != nil {
		return nil, err
	}
	s, err := set(n, p)
	if err != nil {
		return nil, err
	}
	// Started by hand, stopped by an overrun, woken once a period, stamped by a clock that nobody sets.
	soft := swParams{StampMode: stampEnabled, PeriodStep: 1, AvailMin: uint64(s.Period), StartThreshold: math.MaxInt32,
		StopThreshold: uint64(s.Buffer), Proto: protocol, StampType: stampMonotonic}
	if err := n.ioctl(reqSoft, unsafe.Pointer(&soft)); err != nil {
		return nil, failed("set when to wake", err)
	}
	c = &Capture{Setup: s, n: n}
	return c, c.start()
}

// set sets the hardware, and makes sure that it is what was asked for.
func set(n node, p hwParams) (Setup, error) {
	asked := p
	p.RMask, p.CMask, p.Info, p.RateNum, p.RateDen = math.MaxUint32, 0, 0, 0, 0
	if err := n.ioctl(reqParams, unsafe.Pointer(&p)); err != nil {
		return Setup{}, failed("set "+asked.setup().String(), err)
	}
	s := p.setup()
	if s.RateHz != asked.setup().RateHz || s.Channels != asked.setup().Channels || !p.exact() {
		return s, fmt.Errorf("%w: asked for %v, it was set to %v (%d/%d Hz)", ErrFormat, asked.setup(), s, p.RateNum, p.RateDen)
	}
	return s, nil
}

func (c *Capture) start() error {
	if err := c.n.ioctl(reqPrepare, nil); err != nil {
		return failed("prepare", err)
	}
	return failed("start", c.n.ioctl(reqStart, nil))
}

// rates that we take, the best first.
func rates() []int { return []int{48000, 44100} }

// anyNumber of channels: the fewest that there are.
const anyNumber = 0

// choose finds the parameters to ask for, with the rate and the number of channels decided.
func choose(n node, rates []int, count int) (hwParams, error) {
	var all hwParams
	for i := range all.Masks { // everything, to begin with
		for j := range all.Masks[i] {
			all.Masks[i][j] = math.MaxUint32
		}
	}
	for i := range all.Intervals {
		all.Intervals[i].Max = math.MaxUint32
	}
	all.Flags = noResample
	all.only(access, accessInterleaved)
	all.only(format, formatS16)
	all.only(subformat, subformatStd)
	if count != anyNumber {
		all.between(channels, uint32(count), uint32(count))
	}
	for _, r := range rates {
		p, hz := all, uint32(r)
		p.between(rate, hz, hz)
		ok, err := refine(n, &p)
		if err != nil {
			return p, err
		}
		if !ok || p.Intervals[channels].Min > maxChannels {
			continue
		}
		p.between(channels, max(1, p.Intervals[channels].Min), max(1, p.Intervals[channels].Min))
		// Woken every 20 ms; a second in hand, should the cart be busy. What a driver does not like is left to it.
		for _, size := range [][4]uint32{
			{hz / 50, hz / 50, hz / 4, hz}, {hz / 100, hz / 10, hz / 10, 2 * hz}, {1, math.MaxInt32, 1, math.MaxInt32},
		} {
			q := p
			q.between(periodSize, size[0], size[1])
			q.between(bufferSize, size[2], size[3])
			if ok, err := refine(n, &q); err != nil || ok {
				return q, err
			}
		}
	}
	return all, ErrFormat
}

// refine narrows the parameters to what the hardware can do. Not ok: nothing is left.
func refine(n node, p *hwParams) (ok bool, err error) {
	p.RMask, p.CMask, p.Info, p.RateNum, p.RateDen = math.MaxUint32, 0, 0, 0, 0
	err = n.ioctl(reqRefine, unsafe.Pointer(p))
	if errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	return err == nil, failed("ask what the hardware can do", err)
}

func (p *hwParams) only(mask, value int) {
	p.Masks[mask] = [8]uint32{}
	p.Masks[mask][value/32] = 1 << (value % 32)
}

func (p *hwParams) between(i int, low, high uint32) { p.Intervals[i] = interval{Min: low, Max: high} }

func (p *hwParams) setup() Setup {
	least := func(i int) int { return int(p.Intervals[i].Min) }
	return Setup{RateHz: least(rate), Channels: least(channels), Period: least(periodSize), Buffer: least(bufferSize)}
}

// exact says that the hardware runs as the parameters say, and at no rate in between.
func (p *hwParams) exact() bool {
	var want hwParams
	want.only(access, accessInterleaved)
	want.only(format, formatS16)
	s := p.setup()
	single := func(i int) bool { return p.Intervals[i].Min == p.Intervals[i].Max }
	return single(rate) && single(channels) && p.Masks[access] == want.Masks[access] && p.Masks[format] == want.Masks[format] &&
		p.RateDen > 0 && uint64(p.RateNum) == uint64(s.RateHz)*uint64(p.RateDen) && s.Period > 0 && s.Buffer >= s.Period
}

// Read waits for values and gives as many as there are, at most as many as fit; lost is how many were lost before the first. It
// returns the context's error when that ends, ErrUnplugged when the card is gone, ErrStalled when nothing comes any more.
func (c *Capture) Read(ctx context.Context, dst []int16) (n int, lost uint64, err error) {
	frame := 2 * c.Channels
	if want := len(dst) * frame; len(c.raw) < want {
		c.raw = make([]byte, want)
	}
	for range maxSpurious {
		if err := c.n.wait(ctx, unix.POLLIN, silence); err != nil {
			return 0, lost, err
		}
		got, err := c.n.read(c.raw[:len(dst)*frame])
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EPIPE):
			more, err := c.recover()
			lost += more
			if err != nil {
				return 0, lost, err
			}
			continue
		case err != nil:
			return 0, lost, c.why(err)
		}
		for i := range got / frame {
			dst[i] = int16(binary.LittleEndian.Uint16(c.raw[i*frame:]))
		}
		if got >= frame {
			return got / frame, lost, nil
		}
	}
	return 0, lost, fmt.Errorf("%w: woken %d times for nothing", ErrStalled, maxSpurious)
}

// recover begins again after an overrun: nobody came for the values in time, and the hardware was stopped. Lost is what the kernel
// still held, and what would have come from the stop to the new start.
func (c *Capture) recover() (lost uint64, err error) {
	stopped, err := c.status()
	if err != nil {
		return 0, err
	}
	if err := c.start(); err != nil {
		return 0, err
	}
	started, err := c.status()
	if err != nil {
		return 0, err
	}
	lost = min(stopped.Avail, uint64(c.Buffer))
	if pause := started.Trigger.sub(stopped.Trigger); stopped.State == stateXrun && pause > 0 && pause < time.Hour {
		lost += uint64(math.Round(pause.Seconds() * float64(c.RateHz)))
	}
	return max(1, lost), nil
}

func (c *Capture) status() (s status, err error) {
	if err := c.n.ioctl(reqStatus, unsafe.Pointer(&s)); err != nil {
		return s, failed("ask how it stands", err)
	}
	if s.State == stateDisconnected {
		return s, ErrUnplugged
	}
	return s, nil
}

// why finds out what a failed read means: a card on its way out first answers EBADFD, then ENODEV.
func (c *Capture) why(err error) error {
	if err := failed("read", err); errors.Is(err, ErrUnplugged) {
		return err
	}
	if _, gone := c.status(); errors.Is(gone, ErrUnplugged) {
		return gone
	}
	return fmt.Errorf("%w: %w", ErrStalled, err)
}

// Close turns the microphone off.
func (c *Capture) Close() error {
	err := failed("stop", c.n.ioctl(reqDrop, nil))
	if errors.Is(err, ErrUnplugged) || errors.Is(err, unix.EBADFD) { // it is off anyway
		err = nil
	}
	return errors.Join(err, c.n.Close())
}
