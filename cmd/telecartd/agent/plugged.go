package agent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"telecart/device"
	"telecart/device/hotplug"
)

// maxAdopted bounds how many instruments the settings don't name.
const maxAdopted = 16

// plugs keeps the instruments in step with what is plugged in: those that are down are tried at once, and what no settings
// name, but a driver knows for one of its own, is taken.
type plugs struct {
	a       *Agent
	machine hotplug.Machine
	tracker hotplug.Tracker
	adopted []device.Settings
	shells  sync.WaitGroup
}

func (p *plugs) run(ctx context.Context) error {
	defer p.shells.Wait()
	return hotplug.Watch(ctx, p.a.clock, func() { p.look(ctx) })
}

func (p *plugs) look(ctx context.Context) {
	nodes, err := p.machine.Scan()
	if err != nil {
		p.a.log.Warn("agent: what is plugged in can't be seen", "err", err)
		return
	}
	added, gone := p.tracker.Update(nodes)
	if len(added) == 0 && len(gone) == 0 {
		return
	}
	p.a.sup.Wake()
	if p.a.set.Hotplug.Adopt {
		for _, n := range added {
			p.adopt(ctx, n, nodes)
		}
	}
}

// adopt makes an instrument of a node that nobody named. It is called by what it is and where it is, so that it has the same
// name after any replug.
func (p *plugs) adopt(ctx context.Context, n device.Node, present []device.Node) {
	i := slices.IndexFunc(p.a.drivers, func(d device.Driver) bool { return d.Adopts != nil && d.Adopts(n) })
	if i < 0 || len(p.adopted) == maxAdopted || p.named(n) {
		return
	}
	port := hotplug.Name(n, present)
	if n.Class == "video4linux" && n.Port != "" { // cheap cameras share a serial number, and the second one may come later
		port = "usb-port:" + n.Port
	}
	_, where, _ := strings.Cut(port, ":")
	what := cmp.Or(strings.TrimSpace(n.Name), string(p.a.drivers[i].Kind))
	s := device.Settings{Name: fmt.Sprintf("%.40s %.40s", what, where), Driver: p.a.drivers[i].Name, Port: port}
	if err := p.a.sup.Add(s); err != nil {
		p.a.log.Warn("agent: not taken", "port", port, "err", err)
		return
	}
	p.adopted = append(p.adopted, s)
	p.a.log.Info("agent: found", "instrument", s.Name, "driver", s.Driver, "port", port)
	if p.a.consult.steers(s.Name) != nil {
		p.a.consult.launch(ctx, &p.shells, s.Name)
	}
	p.a.change()
}

// named says whether an instrument, of the settings or adopted, is at the device that has this node.
func (p *plugs) named(n device.Node) bool {
	for _, s := range slices.Concat(p.a.set.Instrument, p.adopted) {
		nodes, err := p.machine.All(n.Class, s.Port)
		if err == nil && slices.ContainsFunc(nodes, func(x device.Node) bool { return x.Path == n.Path }) {
			return true
		}
	}
	return false
}
