package serve

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/provisioning/identity"
	"telecart/provisioning/people"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/hub/room"
	"telecart/uplink/hub/store"
	"telecart/uplink/link"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// history is what arrived lately, encounter by encounter, whole.
const (
	historyDays    = 30
	maxEncounters  = 10_000 // of one tenant
	maxItemsLoaded = 20_000 // of one encounter
)

// What nobody was told of yet is left out: that comes as news.
func history(ctx context.Context, s *store.Store, tenant string, now time.Time, untold func(tenant string, item ledger.Hash) bool) (out []clinic.Arrival, err error) {
	rows, err := s.Encounters(ctx, tenant, now.AddDate(0, 0, -historyDays), maxEncounters)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		items, err := s.Items(ctx, tenant, r.Encounter, maxItemsLoaded)
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			if !untold(tenant, i.Item) {
				out = append(out, i.Arrival())
			}
		}
	}
	return out, nil
}

// greeter is clinic's Greeter. A cart's certificate rides in the context of its connection.
type greeter struct {
	f       *folder
	ingest  *ingest.Ingest
	desk    *identity.Desk
	version string
	log     *slog.Logger
}

type peerKey struct{}

type peer struct {
	ingest.Peer
	certificate identity.Certificate
}

// peerOf is the cart behind a request that identity.Desk.Require let through.
func peerOf(r *http.Request) (peer, error) {
	c, err := identity.FromContext(r.Context())
	if err != nil {
		return peer{}, err
	}
	return peer{ingest.Peer{Tenant: c.Tenant, Cart: c.Cart, Key: r.TLS.PeerCertificates[0].PublicKey}, c}, nil
}

func (g greeter) Welcome(ctx context.Context, c clinic.Cart, h link.Hello) (link.Welcome, error) {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		return link.Welcome{}, identity.ErrNoCertificate
	}
	heads, err := g.ingest.Hello(ctx, p.Peer, h.Heads)
	if err != nil {
		return link.Welcome{}, headProblem(err)
	}
	if err := g.settle(ctx, c); err != nil {
		return link.Welcome{}, err
	}
	if err := g.heard(ctx, p, h); err != nil {
		return link.Welcome{}, err
	}
	w, err := g.ingest.Watermark(ctx)
	return link.Welcome{Hub: g.f.list.Hub, Version: g.version, Store: g.f.store.Incarnation(), Keys: g.f.signed, Heads: heads, Watermark: &w}, err
}

// heard writes down which keys the cart seals by, and that it is about to be offered the present list.
func (g greeter) heard(ctx context.Context, p peer, h link.Hello) error {
	back, err := g.f.store.KeysHeard(ctx, store.KeyHello{Tenant: p.Tenant, Cart: p.Cart, Device: p.certificate.Key, Held: min(h.Keys, math.MaxInt64), Empty: h.Empty && h.Store == g.f.store.Incarnation(), Offered: g.f.list.Version})
	if back {
		g.log.Warn("hub: a cart came with an older key list than it had: a restored card, or a second one", "tenant", p.Tenant, "cart", p.Cart, "list", h.Keys)
	}
	return err
}

// settle notes that the cart is there, and puts it in its site if that waited for it.
func (g greeter) settle(ctx context.Context, c clinic.Cart) error {
	if site := g.f.dir.site(c.Tenant, c.Name); site != "" {
		if err := g.f.store.SetSite(ctx, c.Tenant, c.Name, site); err != nil {
			return err
		}
		if err := g.f.dir.place(c.Tenant, c.Name, ""); err != nil {
			return err
		}
	}
	return g.f.store.Seen(ctx, c.Tenant, c.Name, g.f.clock.Now())
}

func headProblem(err error) error {
	if errors.Is(err, ingest.ErrHead) {
		return wire.NewProblem(http.StatusForbidden, "ledger-head", "The ledger head was refused", err.Error())
	}
	return err
}

func (g greeter) Head(ctx context.Context, _ clinic.Cart, h ledger.Head) error {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		return identity.ErrNoCertificate
	}
	return headProblem(g.ingest.Head(ctx, p.Peer, h))
}

func (g greeter) Still(ctx context.Context, _ clinic.Cart) error {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		return identity.ErrNoCertificate
	}
	if err := g.desk.Check(ctx, p.certificate); err != nil {
		return wire.NewProblem(http.StatusForbidden, "certificate", "The certificate does not hold any more", err.Error())
	}
	return nil
}

// siteOf is where the cart stands.
func siteOf(ctx context.Context, f *folder, tenant, cart string) string {
	if c, err := f.store.Cart(ctx, tenant, cart); err == nil && c.Site != "" {
		return c.Site
	}
	return f.dir.site(tenant, cart)
}

// blobs opens sealed items for people.
type blobs struct {
	store   *store.Store
	records seal.Opener
}

func (b blobs) Blob(_ context.Context, tenant string, item ledger.Hash, w io.Writer) error {
	s, err := b.store.OpenItem(tenant, item)
	if errors.Is(err, store.ErrNotFound) {
		return errors.Join(clinic.ErrUnknown, err)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	skip := blobSkipper{w: w}
	return b.records.Open(s.Wrap, s.Manifest.Header, s.Header, s.Chunk, skip.write)
}

// blobSkipper passes on what comes after the JSON part of a body.
type blobSkipper struct {
	w    io.Writer
	head []byte // of the length
	left uint32 // of the JSON
}

func (s *blobSkipper) write(p []byte) error {
	for len(s.head) < 4 && len(p) > 0 {
		if s.head, p = append(s.head, p[0]), p[1:]; len(s.head) == 4 {
			if s.left = binary.BigEndian.Uint32(s.head); s.left > capture.MaxMeta {
				return errors.New("a stored body that can't be read")
			}
		}
	}
	n := min(uint64(s.left), uint64(len(p)))
	s.left -= uint32(n)
	if p = p[n:]; len(p) == 0 {
		return nil
	}
	_, err := s.w.Write(p)
	return err
}

// trail is the audit trail: each line names the hash of the one before.
type trail struct {
	store *store.Store
	clock kit.Clock
}

type trailLine struct {
	With   map[string]string `json:"with,omitempty"`
	Before string            `json:"before"` // SHA-256 of the line before
}

func (t trail) Record(ctx context.Context, tenant, who, action string, with map[string]string) error {
	_, err := t.store.AppendAudit(ctx, tenant, func(_ uint64, before store.AuditEvent) (store.AuditEvent, error) {
		sum := sha256.Sum256(fmt.Appendf(nil, "telecart audit v1\x00%d %d %q %q %s", before.Number, before.At.UnixNano(), before.Who, before.Action, before.JSON))
		b, err := json.Marshal(trailLine{with, hex.EncodeToString(sum[:])})
		return store.AuditEvent{At: t.clock.Now(), Who: who, Action: action, JSON: b}, err
	})
	return err
}

// door finds a person's tenant: "TENANT/NAME", or a name that is in one tenant only.
type door struct{ f *folder }

func (d door) SignIn(ctx context.Context, name, password string) (people.Account, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	tenant, plain, said := strings.Cut(name, "/")
	if !said {
		plain, tenant = name, "unknown"
		var in []string
		for _, t := range d.f.dir.tenants() {
			if _, err := d.f.store.People().Account(ctx, t, plain); err == nil {
				in = append(in, t)
			}
		}
		if len(in) == 1 {
			tenant = in[0]
		}
	}
	return d.f.book.SignIn(ctx, tenant, plain, password)
}

// fleet is what IT does with carts at the console.
type fleet struct {
	o      office
	clinic *clinic.Service
	books
}

func (l fleet) Claim(ctx context.Context, tenant, cart, site string) (code, qr string, err error) {
	r, err := l.o.Claim(ctx, ClaimRequest{Tenant: tenant, Cart: cart, Site: site})
	return r.Code, r.QR, err
}

func (l fleet) Revoke(ctx context.Context, tenant, cart string) error {
	if _, err := l.o.f.store.Cart(ctx, tenant, cart); errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: cart %q", clinic.ErrUnknown, cart)
	}
	if err := l.o.f.store.RevokeCart(ctx, tenant, cart, l.o.f.clock.Now()); err != nil {
		return err
	}
	l.clinic.Revoked(clinic.Cart{Tenant: tenant, Name: cart})
	return nil
}

// authorize puts the clinic's answer about a token in the room's words.
func authorize(t *clinic.Tokens) func(context.Context, string, string, room.Action) error {
	return func(ctx context.Context, token, stream string, a room.Action) error {
		if err := t.Authorize(ctx, token, stream, string(a)); err != nil {
			return fmt.Errorf("%w: %w", room.ErrToken, err)
		}
		return nil
	}
}

func discard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
