package rtc

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"telecart/device/kit"
)

// Twin is a clock chip with a battery, as the kernel's driver for a PCF8523 shows it. It counts by the clock it was given. Safe
// for concurrent use.
type Twin struct {
	clock kit.Clock

	mu      sync.Mutex
	set     time.Time // what it was set to,
	at      time.Time // and when
	stopped bool
	lost    bool
	flags   uint32
	absent  bool
	fails   []error
	held    bool
	mute    bool // a chip whose driver can't tell of voltages
}

// NewTwin is a chip that was set right, with a good battery.
func NewTwin(clock kit.Clock) *Twin {
	now := clock.Now()
	return &Twin{clock: clock, set: now, at: now}
}

// Set sets its time, as hwclock does; it goes again, and knows it.
func (t *Twin) Set(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set, t.at, t.stopped, t.lost = at, t.clock.Now(), false, false
	t.flags &^= dataInvalid
}

// Stop halts the oscillator without a word.
func (t *Twin) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set, t.stopped = t.now(), true
}

// Forget is a cart switched off without a battery: the chip knows that it lost the time.
func (t *Twin) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost, t.flags = true, t.flags|dataInvalid
}

// ForgetSilently is the same under a kernel that clears a DS3231's flag: it starts at the first second of 2000.
func (t *Twin) ForgetSilently() { t.Set(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) }

// Charge is how the battery is.
type Charge uint32

// Charges, as RTC_VL_READ has them.
const (
	Full  Charge = 0
	Low   Charge = backupLow
	Empty Charge = backupEmpty
)

// Battery changes it.
func (t *Twin) Battery(c Charge) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flags = t.flags&^(backupLow|backupEmpty) | uint32(c)
}

// Fail makes the next reads end with these errors.
func (t *Twin) Fail(errs ...error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fails = append(t.fails, errs...)
}

// Unplug takes the chip away.
func (t *Twin) Unplug() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.absent = true
}

func (t *Twin) now() time.Time {
	if t.stopped {
		return t.set
	}
	return t.set.Add(t.clock.Now().Sub(t.at))
}

// open lends the chip to one reader at a time, as the kernel does.
func (t *Twin) open() (node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.absent:
		return nil, unix.ENOENT
	case t.held:
		return nil, unix.EBUSY
	}
	t.held = true
	return lent{t}, nil
}

type lent struct{ *Twin }

func (l lent) Time() (unix.RTCTime, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.absent:
		return unix.RTCTime{}, unix.ENODEV
	case len(l.fails) > 0:
		err := l.fails[0]
		l.fails = l.fails[1:]
		return unix.RTCTime{}, err
	case l.lost:
		return unix.RTCTime{}, unix.EINVAL
	}
	return render(l.now().UTC()), nil
}

func (l lent) Voltage() (uint32, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mute {
		return 0, unix.ENOTTY
	}
	return l.flags, nil
}

func (l lent) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	return nil
}
