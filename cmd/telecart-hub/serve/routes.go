package serve

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"telecart/cmd/telecart-hub/console"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/link"
)

// Doors of the hub, by the name that was asked for.
const (
	doorPeople  = "people"
	doorCarts   = "carts"
	doorEnrol   = "enrol"
	doorMetrics = "metrics"
)

// route is one line of the hub's HTTP surface, which openapi.yaml describes.
type route struct {
	door, method, path string
	handler            http.Handler
}

// routes is the whole surface but the console's pages.
func (h *hub) routes() []route {
	carts := h.desk.Require(h.metrics.countRefusals(h.ingest.Handler()))
	link1 := h.desk.Require(http.HandlerFunc(h.serveLink))
	enrol, live := h.desk.Enrol(), h.room.Handler()
	out := []route{
		{doorCarts, "GET", link.Path, link1},
		{doorCarts, "GET", "/v1/items/{hash}", carts},
		{doorCarts, "PUT", "/v1/items/{hash}", carts},
		{doorCarts, "POST", "/v1/ledger", carts},
		{doorCarts, "POST", "/v1/receipts", carts},
		{doorEnrol, "POST", "/.well-known/est/simpleenroll", enrol},
		{doorEnrol, "POST", "/.well-known/est/simplereenroll", enrol},
		{doorEnrol, "GET", "/.well-known/est/cacerts", enrol},
		{doorPeople, "GET", "/healthz", h.health},
		{doorMetrics, "GET", "/healthz", h.health},
		{doorMetrics, "GET", "/metrics", promhttp.HandlerFor(h.metrics.registry, promhttp.HandlerOpts{})},
	}
	for _, at := range []struct{ door, kind string }{{doorCarts, "whip"}, {doorCarts, "whep"}, {doorPeople, "whip"}, {doorPeople, "whep"}} {
		for _, method := range []string{"POST", "OPTIONS"} {
			out = append(out, route{at.door, method, "/v1/" + at.kind + "/{stream}", live})
		}
		for _, method := range []string{"PATCH", "DELETE", "OPTIONS"} {
			out = append(out, route{at.door, method, "/v1/" + at.kind + "/{stream}/{session}", live})
		}
	}
	for _, r := range h.console.Routes() {
		out = append(out, route{doorPeople, r.Method, r.Path, r.Handler})
	}
	return out
}

// door is everything behind one name.
func (h *hub) door(name string) http.Handler {
	mux := http.NewServeMux()
	for _, r := range h.routes() {
		if r.door == name {
			mux.Handle(r.method+" "+r.path, r.handler)
		}
	}
	if name == doorPeople {
		mux.Handle("/", console.Static(console.Pages()))
		return h.console.Guard(mux)
	}
	return mux
}

// byName tells the doors apart by the TLS name, for that is what decided whether a certificate was asked for.
func (h *hub) byName() http.Handler {
	people, carts, enrol := h.door(doorPeople), h.door(doorCarts), h.door(doorEnrol)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.TLS.ServerName {
		case "carts." + h.f.list.Hub:
			carts.ServeHTTP(w, r)
		case "enrol." + h.f.list.Hub:
			enrol.ServeHTTP(w, r)
		default:
			people.ServeHTTP(w, r)
		}
	})
}

func (h *hub) serveLink(w http.ResponseWriter, r *http.Request) {
	p, err := peerOf(r)
	if err != nil {
		http.Error(w, "no certificate", http.StatusUnauthorized)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer ws.CloseNow()
	ws.SetReadLimit(link.MaxMessage)
	ctx := context.WithValue(r.Context(), peerKey{}, p)
	err = h.clinic.ServeLink(ctx, ws, clinic.Cart{Tenant: p.Tenant, Name: p.Cart, Site: siteOf(ctx, h.f, p.Tenant, p.Cart)})
	h.log.Info("hub: a link ended", "tenant", p.Tenant, "cart", p.Cart, "why", err)
	ws.Close(websocket.StatusGoingAway, "")
}

// endWith ends long-lived requests (WebSockets) with ctx: http.Server.Shutdown does not know them.
func endWith(ctx context.Context, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			next.ServeHTTP(w, r)
			return
		}
		mine, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		next.ServeHTTP(w, r.WithContext(mine))
	})
}
