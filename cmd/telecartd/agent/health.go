package agent

import (
	"fmt"

	"telecart/device"
	"telecart/device/supervisor"
)

// Figures are what metrics show.
type Figures struct {
	Held, Receipted, Refused, Damaged, Quarantine, Condemned int
	DiskPercent, InstrumentsLive                             int
	LinkUp, ReadySeconds                                     float64
}

// Figures counts.
func (a *Agent) Figures() (f Figures) {
	for _, b := range a.boxes() {
		s := b.Stats()
		f.Held += s.Held
		f.Receipted += s.Receipted
		f.Refused += s.Refused
		f.Damaged += s.Damaged
		f.Quarantine += s.Quarantine
		f.Condemned += s.Condemned
	}
	for _, s := range a.sup.Snapshot() {
		if s.Health.State == device.Live {
			f.InstrumentsLive++
		}
	}
	f.DiskPercent = a.diskPercent()
	if l := a.currentLink(); l != nil && l.Status().Up {
		f.LinkUp = 1
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f.ReadySeconds = a.ready.Seconds()
	return f
}

// warnDisk is the percentage from which on the disk is a problem.
const warnDisk = 80

// Health says what keeps this cart from its job: that items can't be captured or may soon not be. A missing link is no
// such thing, nor is an unplugged instrument.
func (a *Agent) Health() []string {
	out := []string{}
	if err := a.Ready(); err != nil {
		out = append(out, err.Error())
	}
	f := a.Figures()
	if f.DiskPercent >= warnDisk {
		out = append(out, fmt.Sprintf("%d %% of the disk are used", f.DiskPercent))
	}
	if f.Damaged > 0 || f.Quarantine > 0 {
		out = append(out, fmt.Sprintf("%d segments in quarantine, %d items damaged", f.Quarantine, f.Damaged))
	}
	if f.Refused > 0 {
		out = append(out, fmt.Sprintf("%d items refused by the hub", f.Refused))
	}
	return out
}

// Instruments is how every instrument is.
func (a *Agent) Instruments() []supervisor.Status { return a.sup.Snapshot() }
