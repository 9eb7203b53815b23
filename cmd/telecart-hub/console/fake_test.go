package console

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"telecart/capture/ledger"
	"telecart/provisioning/people"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/link"
)

// fake is every interface that the server and the clinic declare, in memory.
type fake struct {
	mu     sync.Mutex
	audit  []string
	viewed map[ledger.Hash][]string
	notes  []clinic.Note
	revoke []string
	kicked []string
}

func (f *fake) SaveConsult(context.Context, clinic.Consult) error      { return nil }
func (f *fake) OpenConsults(context.Context) ([]clinic.Consult, error) { return nil, nil }
func (f *fake) Head(context.Context, clinic.Cart, ledger.Head) error   { return nil }
func (f *fake) Still(context.Context, clinic.Cart) error               { return nil }
func (f *fake) Seen(context.Context, clinic.Recipient, string) error   { return nil }
func (f *fake) Viewers(_ context.Context, _ string, i ledger.Hash) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.viewed[i], nil
}
func (f *fake) Welcome(context.Context, clinic.Cart, link.Hello) (link.Welcome, error) {
	return link.Welcome{}, nil
}

func (f *fake) KickToken(token string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kicked = append(f.kicked, token)
	return 1
}

func (f *fake) wasKicked(token string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.kicked, token)
}

func (f *fake) Viewed(_ context.Context, _, account string, _ time.Time, items []ledger.Hash) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range items {
		f.viewed[i] = append(f.viewed[i], account)
	}
	return nil
}

func (f *fake) Notify(_ context.Context, n clinic.Note) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notes = append(f.notes, n)
	return nil
}

func (f *fake) Unseen(_ context.Context, to clinic.Recipient) (out []clinic.Note, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.notes {
		if n.To == to {
			out = append(out, n)
		}
	}
	return out, nil
}

func (f *fake) Record(_ context.Context, tenant, who, action string, with map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.audit = append(f.audit, fmt.Sprintf("%s/%s %s %v", tenant, who, action, with))
	return nil
}

func (f *fake) viewers(i ledger.Hash) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.viewed[i]
}

func (f *fake) Blob(_ context.Context, tenant string, item ledger.Hash, w io.Writer) error {
	if tenant != "north" || item != picture {
		return clinic.ErrUnknown
	}
	_, err := io.WriteString(w, "\xff\xd8 the very bytes")
	return err
}

func (f *fake) Claim(_ context.Context, tenant, cart, site string) (string, string, error) {
	return "TC1-" + tenant + cart + site, "qr", nil
}

func (f *fake) Revoke(_ context.Context, tenant, cart string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoke = append(f.revoke, tenant+"/"+cart)
	return nil
}

func (f *fake) Ledger(_ context.Context, tenant, cart string, d ingest.Depth) (Ledger, error) {
	if tenant != "north" || cart != "cart-1" {
		return Ledger{}, clinic.ErrUnknown
	}
	return Ledger{Cart: cart, Every: d == ingest.Bytes, Receipts: 9, Backup: 7, Unseen: true}, nil
}

func (f *fake) LedgerSeen(_ context.Context, tenant, cart string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoke = append(f.revoke, "seen "+tenant+"/"+cart)
	return nil
}

type doorman struct{ book *people.Book }

func (d doorman) SignIn(ctx context.Context, name, password string) (people.Account, error) {
	tenant, plain, _ := strings.Cut(name, "/")
	return d.book.SignIn(ctx, tenant, plain, password)
}
