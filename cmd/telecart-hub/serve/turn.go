package serve

import (
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"telecart/uplink/hub/room"
	"telecart/uplink/hub/turn"
)

// noMedia in media_listen is a hub without UDP.
const noMedia = "none"

// turnServers are what the room tells the bearer of a token. The port is the one that carts dial.
func (h *hub) turnServers(token string) []room.Server {
	_, port, err := net.SplitHostPort(h.f.address)
	if err != nil {
		return nil
	}
	c := h.turn.Issue(token)
	return []room.Server{{URL: "turns:" + net.JoinHostPort(h.f.authority.TurnName(), port) + "?transport=tcp", Username: c.Username, Credential: c.Password}}
}

// watchTurn adds what passes through the TURN server.
func (m *metrics) watchTurn(s *turn.Server) {
	gauge := func(name, help string, f func(turn.Counts) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "telecart_hub_turn_" + name, Help: help}, func() float64 { return f(s.Counts()) }))
	}
	counter := func(name, help, label, value string, f func(turn.Counts) uint64) {
		o := prometheus.CounterOpts{Name: "telecart_hub_turn_" + name + "_total", Help: help}
		if label != "" {
			o.ConstLabels = prometheus.Labels{label: value}
		}
		m.registry.MustRegister(prometheus.NewCounterFunc(o, func() float64 { return float64(f(s.Counts())) }))
	}
	gauge("connections", "Connections to turn.NAME.", func(c turn.Counts) float64 { return float64(c.Connections) })
	gauge("allocations", "Sessions whose media goes by TURN.", func(c turn.Counts) float64 { return float64(c.Allocations) })
	counter("allocations", "Allocations made.", "", "", func(c turn.Counts) uint64 { return c.Authenticated })
	const refused = "What was not let through, by reason."
	counter("refused", refused, "why", "full", func(c turn.Counts) uint64 { return c.Refused })
	counter("refused", refused, "why", "credential", func(c turn.Counts) uint64 { return c.Denied })
	counter("refused", refused, "why", "malformed", func(c turn.Counts) uint64 { return c.Malformed })
	counter("refused", refused, "why", "stranger", func(c turn.Counts) uint64 { return c.Stray })
	counter("dropped", "Packets beyond rate, queue or age.", "", "", func(c turn.Counts) uint64 { return c.Dropped })
	counter("bytes", "Media.", "to", "room", func(c turn.Counts) uint64 { return c.In })
	counter("bytes", "Media.", "to", "client", func(c turn.Counts) uint64 { return c.Out })
}
