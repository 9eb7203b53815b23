package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sys/unix"

	"telecart/uplink/hub/clinic"
	"telecart/uplink/hub/room"
)

// metrics are what IT watches. Labels name kinds and states, never a cart's patient or a person.
type metrics struct {
	registry *prometheus.Registry
	received *prometheus.CounterVec
	refused  prometheus.Counter
	forks    prometheus.Counter
	database prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "telecart_hub_items_received_total", Help: "Items opened, kept and signed for."}, []string{"kind"}),
		refused:  prometheus.NewCounter(prometheus.CounterOpts{Name: "telecart_hub_items_refused_total", Help: "Signed refusals: items that do not open."}),
		forks:    prometheus.NewCounter(prometheus.CounterOpts{Name: "telecart_hub_ledger_forks_total", Help: "Contradictions in carts' ledgers."}),
		database: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "telecart_hub_database_write_seconds", Help: "One durable write, as /healthz measures it.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3}})}
	m.registry.MustRegister(m.received, m.refused, m.forks, m.database, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch adds what is read at the moment of asking.
func (m *metrics) watch(dir *directory, c *clinic.Service, r *room.Room) {
	count := func(what func(clinic.CartView) bool) func() float64 {
		return func() (n float64) {
			for _, t := range dir.tenants() {
				for _, v := range c.Carts(t) {
					if what(v) {
						n++
					}
				}
			}
			return n
		}
	}
	gauge := func(name, help string, f func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	gauge("telecart_hub_carts_online", "Carts with a link.", count(func(v clinic.CartView) bool { return v.State != clinic.Offline }))
	gauge("telecart_hub_consults", "Consults that are not over.", count(func(v clinic.CartView) bool { return v.Consult != nil && !v.Consult.Over() }))
	gauge("telecart_hub_streams", "Streams with a publisher.", func() (n float64) {
		for _, s := range r.Streams() {
			if s.Publishing {
				n++
			}
		}
		return n
	})
}

// countRefusals counts the receipts that say no, as they leave: "TCR" 01, then the verdict.
func (m *metrics) countRefusals(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(&verdictWriter{ResponseWriter: w, refused: m.refused}, r)
	})
}

type verdictWriter struct {
	http.ResponseWriter
	refused prometheus.Counter
}

func (v *verdictWriter) Write(p []byte) (int, error) {
	const receipt, refused = "TCR\x01", 2 // wire.Receipt, wire.Refused
	if len(p) > len(receipt) && string(p[:len(receipt)]) == receipt && p[len(receipt)] == refused {
		v.refused.Inc()
	}
	return v.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (v *verdictWriter) Unwrap() http.ResponseWriter { return v.ResponseWriter }

const (
	healthFor    = 5 * time.Second // an answer is good for
	minFree      = 256 << 20       // bytes
	probeTimeout = 5 * time.Second
)

// health says whether the hub can do its work now.
type health struct {
	f       *folder
	metrics *metrics

	mu      sync.Mutex
	asked   time.Time
	reasons []string
}

// check writes a row, looks at the disk and at the key list, at most once in healthFor.
func (h *health) check(ctx context.Context) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.f.clock.Now()
	if !h.asked.IsZero() && now.Sub(h.asked) < healthFor {
		return h.reasons
	}
	h.asked, h.reasons = now, []string{}
	// Somebody who stops asking must not make the hub look ill to the next.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	begin := time.Now()
	err := h.f.store.Clinic().SaveConsult(ctx, clinic.Consult{Tenant: "-", ID: "health", Cart: "-", Base: clinic.Ended, Since: now})
	h.metrics.database.Observe(time.Since(begin).Seconds())
	if err != nil {
		h.reasons = append(h.reasons, "database: not writable")
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(h.f.path, &fs); err != nil {
		h.reasons = append(h.reasons, "disk: "+err.Error())
	} else if free := fs.Bavail * uint64(fs.Bsize); free < minFree {
		h.reasons = append(h.reasons, fmt.Sprintf("disk: %d MiB free, want at least %d", free>>20, minFree>>20))
	}
	if _, list, _, err := readList(h.f.path); err != nil {
		h.reasons = append(h.reasons, "key list: not valid")
	} else if !now.Before(list.Expires) {
		h.reasons = append(h.reasons, "key list: expired; run `telecart-hub keys renew`")
	}
	return h.reasons
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reasons := h.check(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(map[string]any{"ok": len(reasons) == 0, "reasons": reasons})
}
