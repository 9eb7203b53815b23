package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"telecart/provisioning/claim"
)

const directoryFile = "directory.json"

// directory is which tenants this hub serves, and where carts are to stand that have not enrolled yet. A file beside the
// store, for it is read before anybody's tenant is known.
type directory struct {
	path string
	mu   sync.Mutex
	said struct {
		Tenants []string          `json:"tenants"`
		Sites   map[string]string `json:"sites"` // TENANT/CART
	}
}

func openDirectory(state string) (*directory, error) {
	d := &directory{path: filepath.Join(state, directoryFile)}
	err := readJSON(d.path, &d.said)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("directory: %w", err)
	}
	if d.said.Sites == nil {
		d.said.Sites = map[string]string{}
	}
	return d, nil
}

func (d *directory) tenants() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.said.Tenants)
}

// admit adds a tenant.
func (d *directory) admit(tenant string) error {
	if !claim.ValidName(tenant) {
		return fmt.Errorf("tenant %q: want 1 to 64 of a-z 0-9 - . beginning and ending with a letter or digit", tenant)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.Contains(d.said.Tenants, tenant) {
		return nil
	}
	d.said.Tenants = append(d.said.Tenants, tenant)
	slices.Sort(d.said.Tenants)
	return writeJSON(d.path, d.said)
}

const (
	maxSite    = 100
	maxPending = 10_000
)

// place remembers where a cart is to stand, until it is enrolled; "" forgets.
func (d *directory) place(tenant, cart, site string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := maps.Clone(d.said.Sites)
	if site == "" {
		delete(d.said.Sites, tenant+"/"+cart)
	} else if len(d.said.Sites) < maxPending {
		d.said.Sites[tenant+"/"+cart] = site
	}
	if maps.Equal(before, d.said.Sites) {
		return nil
	}
	return writeJSON(d.path, d.said)
}

func (d *directory) site(tenant, cart string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.Sites[tenant+"/"+cart]
}
