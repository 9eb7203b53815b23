package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"telecart/capture/ledger"
)

// Upload is an item of which only a part is here.
type Upload struct {
	Tenant string
	Cart   string
	Item   ledger.Hash
	Bytes  int64     // that it takes when whole
	Seen   time.Time // when the cart last sent some of it
}

// Uploads lists the partial items of all carts. Files that are none are ignored.
func (s *Store) Uploads() ([]Upload, error) { return s.uploads("*", "*") }

// CartUploads lists the partial items of one cart.
func (s *Store) CartUploads(tenant, cart string) ([]Upload, error) {
	if err := safe(tenant, cart); err != nil {
		return nil, err
	}
	return s.uploads(tenant, cart)
}

func (s *Store) uploads(tenant, cart string) ([]Upload, error) {
	var out []Upload
	paths, err := filepath.Glob(filepath.Join(s.dir, "partial", tenant, cart, "*.part"))
	if err != nil {
		return nil, wrap(err)
	}
	for _, p := range paths {
		fi, err := os.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just become whole
		}
		if err != nil {
			return nil, wrap(err)
		}
		cart := filepath.Dir(p)
		u := Upload{Tenant: filepath.Base(filepath.Dir(cart)), Cart: filepath.Base(cart), Bytes: fi.Size(), Seen: fi.ModTime()}
		if u.Item.UnmarshalText([]byte(strings.TrimSuffix(filepath.Base(p), ".part"))) == nil {
			out = append(out, u)
		}
	}
	return out, nil
}

// Held says which chunks of an item are here and good, without changing anything. ErrNotFound if nothing is.
func (s *Store) Held(tenant, cart string, item ledger.Hash) ([]bool, error) {
	if err := safe(tenant, cart); err != nil {
		return nil, err
	}
	p, err := s.openSealed(filepath.Join(s.dir, partialPath(tenant, cart, item)), item)
	if errors.Is(err, ErrNotFound) {
		p, err = s.OpenItem(tenant, item)
	}
	if errors.Is(err, ErrDamaged) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if p.Header.Cart != cart {
		return nil, ErrNotFound
	}
	return p.held()
}

// DropUpload forgets a partial item. Its cart still has it whole.
func (s *Store) DropUpload(u Upload) error {
	if err := safe(u.Tenant, u.Cart); err != nil {
		return err
	}
	err := s.disk.Remove(filepath.Join(s.dir, partialPath(u.Tenant, u.Cart, u.Item)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return wrap(err)
}
