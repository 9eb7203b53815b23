package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"telecart/device/kit"
	"telecart/provisioning/claim"
	"telecart/provisioning/identity"
	"telecart/provisioning/people"
	"telecart/uplink/hub/store"
	"telecart/uplink/wire"
)

// ClaimRequest asks for a claim for one cart. Address may be "": where the hub itself says that it is.
type ClaimRequest struct {
	Tenant  string `json:"tenant"`
	Cart    string `json:"cart"`
	Site    string `json:"site"`
	Address string `json:"address"`
}

// ClaimReply is the code, and the same as a picture for a terminal.
type ClaimReply struct {
	Code    string    `json:"code"`
	QR      string    `json:"qr"`
	Expires time.Time `json:"expires"`
}

// UserRequest asks for an account.
type UserRequest struct {
	Tenant   string `json:"tenant"`
	Name     string `json:"name"`
	Display  string `json:"display"` // "": Name
	Role     string `json:"role"`
	Password string `json:"password"`
}

// BackupRequest asks for a backup to a folder on another disk.
type BackupRequest struct {
	To string `json:"to"`
}

// office does what the command line asks. One process holds a state folder: when the hub runs, its own office answers on
// a socket in that folder, and without one the command opens the folder itself.
type office struct {
	f      *folder
	backed func(context.Context) error // after a backup; nil when no hub runs
}

// folder is an open state folder.
type folder struct {
	path      string
	clock     kit.Clock
	store     *store.Store
	dir       *directory
	authority *identity.Authority
	registry  *claim.Registry
	book      *people.Book
	signed    wire.SignedKeyList
	list      wire.KeyList
	root      [32]byte // of the key list
	address   string   // that carts dial
}

const (
	addressFile = "address"
	socketFile  = "control.sock"
	socketTime  = 10 * time.Minute // a backup takes its time
)

func openFolder(ctx context.Context, state string, o store.Options) (f *folder, err error) {
	f = &folder{path: state, clock: o.Clock}
	if f.signed, f.list, f.root, err = readList(state); err != nil {
		return nil, err
	}
	if f.dir, err = openDirectory(state); err != nil {
		return nil, err
	}
	if f.authority, err = identity.NewAuthority(filepath.Join(state, "ca"), o.Clock, f.list.Hub); err != nil {
		return nil, err
	}
	if b, err := os.ReadFile(filepath.Join(state, addressFile)); err == nil {
		f.address = string(b)
	}
	if f.store, err = store.Open(ctx, filepath.Join(state, "store"), o); err != nil {
		return nil, err
	}
	if err := errors.Join(finishReplacing(filepath.Join(state, keysFile)), f.store.NoteKeyList(ctx, f.list)); err != nil {
		return nil, errors.Join(err, f.store.Close())
	}
	known, err := f.store.Tenants(ctx)
	for _, t := range known { // a store that was brought here without its directory
		err = errors.Join(err, f.dir.admit(t))
	}
	if err != nil {
		return nil, errors.Join(err, f.store.Close())
	}
	f.registry = claim.NewRegistry(f.store.Claims(), o.Clock)
	f.book = people.NewBook(f.store.People(), o.Clock, people.DefaultRules())
	return f, nil
}

// Claim issues a claim.
func (o office) Claim(ctx context.Context, r ClaimRequest) (ClaimReply, error) {
	if r.Address == "" {
		r.Address = o.f.address
	}
	if r.Address == "" {
		return ClaimReply{}, errors.New("claim: where the hub listens is not known before it has run once; give --address HOST:PORT")
	}
	if len(r.Site) > maxSite {
		return ClaimReply{}, fmt.Errorf("claim: a site's name has at most %d bytes", maxSite)
	}
	if err := o.f.dir.admit(r.Tenant); err != nil {
		return ClaimReply{}, err
	}
	c, err := o.f.registry.Issue(ctx, claim.Claim{HubAddress: r.Address, HubName: o.f.list.Hub, RootHash: o.f.authority.RootHash(), KeysRoot: o.f.root,
		Tenant: r.Tenant, Cart: r.Cart}, claim.Life)
	if err != nil {
		return ClaimReply{}, err
	}
	if r.Site != "" {
		err = o.f.store.SetSite(ctx, r.Tenant, r.Cart, r.Site)
		if errors.Is(err, store.ErrNotFound) {
			err = o.f.dir.place(r.Tenant, r.Cart, r.Site)
		}
	}
	return ClaimReply{c.Code(), c.QR(), c.Expires}, err
}

// AddUser opens an account.
func (o office) AddUser(ctx context.Context, r UserRequest) (struct{}, error) {
	if r.Display == "" {
		r.Display = r.Name
	}
	if err := o.f.dir.admit(r.Tenant); err != nil {
		return struct{}{}, err
	}
	return struct{}{}, o.f.book.Add(ctx, people.Account{Tenant: r.Tenant, Name: r.Name, Display: r.Display, Role: people.Role(r.Role)}, r.Password)
}

// Backup copies the store, and then what is needed to read and go on with it.
func (o office) Backup(ctx context.Context, r BackupRequest) (struct{}, error) {
	if !filepath.IsAbs(r.To) {
		return struct{}{}, fmt.Errorf("backup: %q: give an absolute path", r.To)
	}
	if err := os.MkdirAll(filepath.Join(r.To, "ca"), 0o700); err != nil {
		return struct{}{}, fmt.Errorf("backup: %w", err)
	}
	for _, name := range []string{keysFile, rootPubFile, keyListFile, directoryFile, addressFile, "ca/root.pem"} {
		b, err := os.ReadFile(filepath.Join(o.f.path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && name == keysFile { // which may hold fewer keys than the one there
			err = replaceSecret(filepath.Join(r.To, name), b)
		} else if err == nil {
			err = kit.WriteFile(filepath.Join(r.To, name), b, 0o600)
		}
		if err != nil {
			return struct{}{}, fmt.Errorf("backup: %w", err)
		}
	}
	// The store comes last: when it is there carts may erase, so the keys must be there already.
	err := o.f.store.Backup(ctx, filepath.Join(r.To, "store"))
	if err == nil && o.backed != nil {
		err = o.backed(ctx)
	}
	return struct{}{}, err
}

// handler is the office as the control socket serves it. Who can open the socket can read the whole folder anyway.
func (o office) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /claim", controlDoor(o.Claim))
	mux.Handle("POST /user", controlDoor(o.AddUser))
	mux.Handle("POST /backup", controlDoor(o.Backup))
	mux.Handle("POST /keys", controlDoor(o.Keys))
	mux.Handle("POST /keys/write-off", controlDoor(o.WriteOff))
	return mux
}

const maxControl = 64 << 10

func controlDoor[Q, A any](do func(context.Context, Q) (A, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q Q
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControl)).Decode(&q)
		var a A
		if err == nil {
			a, err = do(r.Context(), q)
		}
		if err != nil {
			wire.NewProblem(http.StatusUnprocessableEntity, "refused", "Refused", err.Error()).Write(w)
			return
		}
		json.NewEncoder(w).Encode(a)
	})
}

// IssueClaim makes a claim at the hub whose state folder this is, running or not.
func IssueClaim(ctx context.Context, state string, r ClaimRequest) (ClaimReply, error) {
	return ask(ctx, state, "claim", r, office.Claim)
}

// AddUser opens an account at the hub whose state folder this is, running or not.
func AddUser(ctx context.Context, state string, r UserRequest) error {
	_, err := ask(ctx, state, "user", r, office.AddUser)
	return err
}

// Backup copies the hub's state to a folder, running or not.
func Backup(ctx context.Context, state, to string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	_, err = ask(ctx, state, "backup", BackupRequest{to}, office.Backup)
	return err
}

// ask asks the running hub, or opens the folder when none runs.
func ask[Q, A any](ctx context.Context, state, path string, q Q, do func(office, context.Context, Q) (A, error)) (a A, err error) {
	f, err := openFolder(ctx, state, store.Options{Clock: kit.System{}})
	if err == nil {
		a, err = do(office{f: f}, ctx, q)
		return a, errors.Join(err, f.store.Close())
	}
	if !errors.Is(err, store.ErrInUse) {
		return a, err
	}
	return call[Q, A](ctx, filepath.Join(state, socketFile), path, q)
}

func call[Q, A any](ctx context.Context, socket, path string, q Q) (a A, err error) {
	ctx, cancel := context.WithTimeout(ctx, socketTime)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://hub/"+path, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return a, fmt.Errorf("the hub holds its folder and does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var p wire.Problem
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Detail == "" {
			return a, fmt.Errorf("the hub refused: %s", resp.Status)
		}
		return a, errors.New(p.Detail)
	}
	return a, json.NewDecoder(resp.Body).Decode(&a)
}
