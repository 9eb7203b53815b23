package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// Inspection reads a store's folder from the files alone, for an auditor: nothing under it is written or touched, and a hub
// may be running on it.
//
// A database without a write-ahead log is read where it is (immutable). One with a log belongs to a hub that runs or was
// killed; even reading it there would change its -shm file, so it is copied, into memory if the machine has room, and its
// copy's names are removed as soon as it is open.
type Inspection struct {
	Dir     string
	Running bool // a hub holds the folder
	Copied  bool
	Store   ledger.ID
	Moved   bool // the database is not the one that last ran here: the folder was restored or copied

	db   *sql.DB
	stat [2]os.FileInfo
}

// inspectTries bounds how often the database is copied again that a hub was just writing.
const inspectTries = 20

// Inspect opens a store's folder for reading.
func Inspect(ctx context.Context, dir string) (i *Inspection, err error) {
	if dir, err = filepath.Abs(dir); err != nil { // in a URL a relative path would be a host's name
		return nil, fmt.Errorf("store: %w", err)
	}
	i = &Inspection{Dir: dir, Running: held(filepath.Join(dir, "lock"))}
	path := filepath.Join(dir, dbName)
	if i.stat, err = stats(path); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if i.stat[1] == nil && !i.Running {
		i.db, err = openRead(path, "immutable=1&mode=ro")
	} else {
		i.Copied = true
		i.db, err = i.copied(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	if err := i.meta(ctx); err != nil {
		return nil, errors.Join(err, i.db.Close())
	}
	return i, nil
}

// Close says as well if the database changed while it was read where it is: a hub was started meanwhile.
func (i *Inspection) Close() error {
	err := i.db.Close()
	if now, serr := stats(filepath.Join(i.Dir, dbName)); serr != nil || !i.Copied && (now[1] != nil || !sameStat(now[0], i.stat[0])) {
		err = errors.Join(err, serr, errors.New("store: the database changed while it was read; read it again"))
	}
	return err
}

// held says whether a process holds the folder.
func held(lock string) bool {
	f, err := os.Open(lock)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// stats are those of the database and of its write-ahead log; nil: it has none.
func stats(path string) (out [2]os.FileInfo, err error) {
	if out[0], err = os.Stat(path); err != nil {
		return out, err
	}
	out[1], err = os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		out[1], err = nil, nil
	}
	return out, err
}

func sameStat(a, b os.FileInfo) bool { return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) }

func openRead(path, query string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query + "&" + url.Values{"_pragma": {"busy_timeout(1000)", "query_only(1)"}}.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db.SetMaxOpenConns(1) // the copy's names go once it is open
	return db, nil
}

// copied opens a copy of the database with its log. While a hub runs only a checkpoint writes to the database itself, and begins
// the log anew: if the database, and the head of the log, are the same before and after, the copy is of one moment.
func (i *Inspection) copied(ctx context.Context, path string) (*sql.DB, error) {
	tmp, err := scratch(i.stat)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	to := filepath.Join(tmp, dbName)
	for range inspectTries {
		before, err1 := stats(path)
		salt, err2 := walHead(path)
		err3 := errors.Join(copyFile(path, to), copyFile(path+"-wal", to+"-wal"))
		after, err4 := stats(path)
		again, err5 := walHead(path)
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		if !sameStat(before[0], after[0]) || salt != again {
			continue
		}
		db, err := openRead(to, "mode=rw")
		if err != nil {
			return nil, err
		}
		var ok string
		if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&ok); err == nil && ok == "ok" {
			return db, nil
		}
		db.Close()
	}
	return nil, errors.New("store: no whole copy of the database could be made: it is damaged, or the hub writes too much; stop it")
}

// scratch makes a folder of our own, in memory if there is room: the database is readable.
func scratch(stat [2]os.FileInfo) (string, error) {
	need := stat[0].Size()
	if stat[1] != nil {
		need += stat[1].Size()
	}
	var st unix.Statfs_t
	base := "/dev/shm"
	if err := unix.Statfs(base, &st); err != nil || int64(st.Bavail)*st.Bsize < 2*need {
		base = ""
	}
	tmp, err := os.MkdirTemp(base, "telecart-verify-")
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	return tmp, nil
}

// walHead is what changes when a log begins anew (https://sqlite.org/fileformat2.html#walformat: checkpoint sequence and salts).
func walHead(path string) (string, error) {
	f, err := os.Open(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, 32)
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return string(b[:n]), err
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Remove(to); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

func (i *Inspection) meta(ctx context.Context) error {
	var token string
	if err := i.db.QueryRowContext(ctx, `SELECT store, token FROM meta`).Scan(asText(&i.Store), &token); err != nil {
		return fmt.Errorf("store: this database is no hub's: %w", err)
	}
	s := Store{dir: i.Dir}
	st, err := s.readStamp()
	if err != nil {
		return err
	}
	inode, err := inodeOf(filepath.Join(i.Dir, dbName))
	i.Moved = st.Inode != inode
	for _, t := range st.Tokens {
		if t == token && token != "" {
			return err
		}
	}
	i.Moved = true
	return err
}

func (i *Inspection) reader() *Store { return &Store{dir: i.Dir, r: i.db} }

// Books are those of which anything is here.
func (i *Inspection) Books(ctx context.Context) (out []ledger.Book, err error) {
	err = i.reader().each(ctx, func(scan func(...any) error) error {
		var b ledger.Book
		err := scan(&b.Tenant, &b.Cart, &b.Practice)
		out = append(out, b)
		return err
	}, `SELECT tenant, cart, practice FROM entries UNION SELECT tenant, cart, practice FROM heads UNION SELECT tenant, cart, practice FROM items ORDER BY 1, 2, 3`)
	return out, err
}

// InspectedEntry is an entry with the hash that is kept beside it.
type InspectedEntry struct {
	ledger.Entry
	Hash ledger.Hash
}

// Entries are a book's.
func (i *Inspection) Entries(ctx context.Context, b ledger.Book) (out []InspectedEntry, err error) {
	err = i.reader().each(ctx, func(scan func(...any) error) error {
		var e InspectedEntry
		err := scan(asText(&e.Incarnation), &e.Number, &e.Kind, asText(&e.Run), asText(&e.Prev), asText(&e.Body), asText(&e.Hash))
		out = append(out, e)
		return err
	}, `SELECT incarnation, number, kind, run, prev, body, hash FROM entries WHERE tenant = ? AND cart = ? AND practice = ?
		ORDER BY arrived, incarnation, number`, b.Tenant, b.Cart, b.Practice)
	return out, err
}

// InspectedHead is a head as the hub keeps it.
type InspectedHead struct {
	ledger.Head
	Key      []byte // PKIX DER of the device key that it was verified with; empty: an earlier release did not keep it
	Disputed bool
}

// SignedHeads are a book's.
func (i *Inspection) SignedHeads(ctx context.Context, b ledger.Book) (out []InspectedHead, err error) {
	key := "x''"
	var known bool
	if err := i.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pragma_table_info('heads') WHERE name = 'key')`).Scan(&known); err != nil {
		return nil, wrap(err)
	}
	if known {
		key = "key"
	}
	err = i.reader().each(ctx, func(scan func(...any) error) error {
		h := InspectedHead{Head: ledger.Head{Book: b}}
		err := scan(asText(&h.Incarnation), &h.Number, asText(&h.Hash), &h.Signature, &h.Disputed, &h.Key)
		out = append(out, h)
		return err
	}, `SELECT incarnation, number, hash, signature, disputed, `+key+` FROM heads WHERE tenant = ? AND cart = ? AND practice = ? ORDER BY incarnation, number`,
		b.Tenant, b.Cart, b.Practice)
	return out, err
}

// InspectedItem is an item's row.
type InspectedItem struct {
	Item, Entry, Plain ledger.Hash
	Kind               uint8
	Verdict            wire.Verdict
	Reason             string
	Size               int64
	Blob, Meta         string
}

// Items are a book's.
func (i *Inspection) Items(ctx context.Context, b ledger.Book) (out []InspectedItem, err error) {
	err = i.reader().each(ctx, func(scan func(...any) error) error {
		var it InspectedItem
		err := scan(asText(&it.Item), asText(&it.Entry), asText(&it.Plain), &it.Kind, &it.Verdict, &it.Reason, &it.Size, &it.Blob, &it.Meta)
		out = append(out, it)
		return err
	}, `SELECT item, entry, plain_sha256, kind, verdict, reason, size, blob, meta FROM items WHERE tenant = ? AND cart = ? AND practice = ?`, b.Tenant, b.Cart, b.Practice)
	return out, err
}

// Receipts are those that the hub gave for a book's items.
func (i *Inspection) Receipts(ctx context.Context, b ledger.Book) (out [][]byte, err error) {
	err = i.reader().each(ctx, func(scan func(...any) error) error {
		var r []byte
		err := scan(&r)
		out = append(out, r)
		return err
	}, `SELECT r.receipt FROM receipts r JOIN items i ON i.tenant = r.tenant AND i.item = r.item WHERE i.tenant = ? AND i.cart = ? AND i.practice = ?
		ORDER BY r.rowid`, b.Tenant, b.Cart, b.Practice)
	return out, err
}

// Fingerprints are the SHA-256 of the device keys that a cart was ever certified with, in hexadecimal.
func (i *Inspection) Fingerprints(ctx context.Context, tenant, cart string) (out []string, err error) {
	err = i.reader().each(ctx, func(scan func(...any) error) error {
		var f string
		err := scan(&f)
		out = append(out, f)
		return err
	}, `SELECT key FROM carts WHERE tenant = ?1 AND cart = ?2 AND key <> '' UNION SELECT key FROM certificates WHERE tenant = ?1 AND cart = ?2`, tenant, cart)
	return out, err
}

// OpenItem opens a whole item for reading.
func (i *Inspection) OpenItem(tenant string, item ledger.Hash) (*Sealed, error) {
	if err := safe(tenant); err != nil {
		return nil, err
	}
	path := filepath.Join(i.Dir, blobPath(tenant, item))
	f, err := kit.Disk{}.Open(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, wrap(err)
	}
	p := &Sealed{f: f, path: path}
	if err := p.readHead(item); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

// Files names the items that lie in the folder, by tenant.
func (i *Inspection) Files(tell func(tenant string, item ledger.Hash)) error {
	names, err := filepath.Glob(filepath.Join(i.Dir, "blobs", "*", "??", "*.item"))
	for _, n := range names {
		var h ledger.Hash
		if h.UnmarshalText([]byte(strings.TrimSuffix(filepath.Base(n), ".item"))) == nil {
			tell(filepath.Base(filepath.Dir(filepath.Dir(n))), h)
		}
	}
	return err
}
