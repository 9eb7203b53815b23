package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"telecart/cmd/telecartd/agent"
)

// metrics are the agent's figures. None of them names a patient.
type metrics struct {
	a        *agent.Agent
	later    func() error // what was fine at the start and must stay so
	registry *prometheus.Registry
	picture  prometheus.Histogram
}

func newMetrics(a *agent.Agent, later func() error) *metrics {
	m := &metrics{a: a, later: later, registry: prometheus.NewRegistry(), picture: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "telecart_bedside_picture_seconds", Help: "From the capture of a frame until it was on the nurse's screen.",
		Buckets: []float64{.01, .02, .04, .06, .08, .1, .15, .2, .5, 1, 2}})}
	m.registry.MustRegister(m.picture, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(newInstruments(a))
	for name, g := range map[string]struct {
		help string
		get  func(agent.Figures) float64
	}{
		"telecart_items_held":          {"Items saved and not yet receipted.", func(f agent.Figures) float64 { return float64(f.Held) }},
		"telecart_items_receipted":     {"Items with the hub's receipt that are still on the cart.", func(f agent.Figures) float64 { return float64(f.Receipted) }},
		"telecart_items_refused":       {"Items that the hub could not open.", func(f agent.Figures) float64 { return float64(f.Refused) }},
		"telecart_items_damaged":       {"Items that can't be read back.", func(f agent.Figures) float64 { return float64(f.Damaged) }},
		"telecart_segments_quarantine": {"Segments that failed their check.", func(f agent.Figures) float64 { return float64(f.Quarantine) }},
		"telecart_segments_condemned":  {"Segments given up after a failed commit.", func(f agent.Figures) float64 { return float64(f.Condemned) }},
		"telecart_disk_used_percent":   {"Of the state folder's disk.", func(f agent.Figures) float64 { return float64(f.DiskPercent) }},
		"telecart_link_up":             {"1 while the hub is connected.", func(f agent.Figures) float64 { return f.LinkUp }},
		"telecart_instruments_live":    {"Instruments that deliver.", func(f agent.Figures) float64 { return float64(f.InstrumentsLive) }},
		"telecart_ready_seconds":       {"From the start of the agent until items could be captured; 0: not yet.", func(f agent.Figures) float64 { return f.ReadySeconds }},
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: g.help}, func() float64 { return g.get(a.Figures()) }))
	}
	return m
}

// instruments are the counts that the instruments keep of themselves.
type instruments struct {
	a                *agent.Agent
	events, restarts *prometheus.Desc
}

func newInstruments(a *agent.Agent) instruments {
	return instruments{a,
		prometheus.NewDesc("telecart_instrument_events_total", "What an instrument counted since it was started: frames lost, errors, retries.", []string{"instrument", "driver", "event"}, nil),
		prometheus.NewDesc("telecart_instrument_restarts_total", "How often an instrument was started anew.", []string{"instrument", "driver"}, nil)}
}

func (i instruments) Describe(c chan<- *prometheus.Desc) { c <- i.events; c <- i.restarts }

func (i instruments) Collect(c chan<- prometheus.Metric) {
	for _, s := range i.a.Instruments() {
		for event, n := range s.Counters {
			c <- prometheus.MustNewConstMetric(i.events, prometheus.CounterValue, float64(n), s.Name, s.Identity.Driver, event)
		}
		c <- prometheus.MustNewConstMetric(i.restarts, prometheus.CounterValue, float64(s.Restarts), s.Name, s.Identity.Driver)
	}
}

func (m *metrics) drawn(d time.Duration) { m.picture.Observe(d.Seconds()) }

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		problems := m.a.Health()
		if err := m.later(); err != nil {
			problems = append(problems, err.Error())
		}
		if len(problems) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(map[string]any{"ok": len(problems) == 0, "problems": problems})
	})
	return mux
}
