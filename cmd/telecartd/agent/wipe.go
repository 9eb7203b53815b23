package agent

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/provisioning/identity"
	"telecart/uplink/outbox"
)

// wipedFile says in STATE that the cart was wiped, and whose items lie there. It goes when the cart is claimed anew.
const wipedFile = "wiped.json"

// formerFile has the SHA-256 of the keys that signed this cart's ledger before it was wiped and claimed again. It is no secret.
const formerFile = "former.json"

// ErrWiped: the cart was wiped, and nobody has claimed it since. It captures nothing and calls nobody.
var ErrWiped = errors.New("agent: this cart was wiped: enrol it with a new claim")

// ErrNothingToWipe: the folder is no cart's state, or nothing of a cart's identity is in it. Nothing was touched.
var ErrNothingToWipe = errors.New("agent: nothing was here to wipe")

// Owner is whose items lie in the books, and since when nobody can add to them.
type Owner struct {
	Tenant string    `json:"tenant"`
	Cart   string    `json:"cart"`
	At     time.Time `json:"at"`
	Device string    `json:"device"` // SHA-256 of the public key that was destroyed
	// Claiming is the SHA-256 of the public key that a claim is about to have certified: an identity for it came after the wipe.
	Claiming string `json:"claiming,omitempty"`
}

// Wiped is what a wipe did. Unsigned says why the end of a book could not be signed: a courier can carry what lies there all
// the same, but nobody can prove that it is all.
type Wiped struct {
	Owner
	Unsigned error
}

// Wipe is a crypto-erase: it destroys the device key, the certificate, the key list, the open encounter's name and what
// settings call the site's secrets. Sealed items stay: nobody who finds them can open them, and a courier can bring them home.
// The agent must not run. Cut short, it is called again.
func Wipe(ctx context.Context, s Settings, clock kit.Clock) (w Wiped, err error) {
	if err := wipeable(s.State); err != nil {
		return w, err
	}
	unlock, err := lockState(s.State)
	if err != nil {
		return w, err
	}
	defer unlock()
	id, err := identity.Open(filepath.Join(s.State, "identity"), clock)
	if err != nil {
		return w, err
	}
	before, was, err := readOwner(s.State)
	if err != nil {
		return w, err
	}
	w.Owner = before
	if me, err := id.Identity(); err == nil {
		w.Owner = Owner{Tenant: me.Tenant, Cart: me.Cart, At: clock.Now().UTC(), Device: deviceName(id)}
		for _, practice := range []bool{false, true} {
			book := ledger.Book{Tenant: me.Tenant, Cart: me.Cart, Practice: practice}
			if err := signEnd(ctx, filepath.Join(s.State, bookName(book)), book, id.Signer()); err != nil {
				w.Unsigned = errors.Join(w.Unsigned, err)
			}
		}
	} else if !was {
		w.Owner.At = clock.Now().UTC()
	}
	w.Owner.Claiming = "" // no claim is under way any more
	b, err := json.Marshal(w.Owner)
	if err != nil {
		return w, fmt.Errorf("agent: wipe: %w", err)
	}
	// From here on the cart counts as wiped, whatever stops this. A full disk must not keep the key alive.
	marked := kit.WriteFile(filepath.Join(s.State, wipedFile), b, 0o600)
	errs := []error{marked, destroy(s.State, id)}
	for _, path := range s.Wipe {
		errs = append(errs, shredAll(path))
	}
	return w, errors.Join(append(errs, kit.SyncDir(s.State))...)
}

// wipeable makes sure that this is a cart's state: to make one here and wipe that would leave the real key on the disk, and say
// that it is gone.
func wipeable(state string) error {
	if st, err := os.Stat(state); err != nil || !st.IsDir() {
		return fmt.Errorf("%w: there is no folder %s. Give the cart's settings: --config FILE (`state` in it names the folder)", ErrNothingToWipe, state)
	}
	if _, err := os.Lstat(filepath.Join(state, wipedFile)); err == nil {
		return nil
	}
	// All that is in identity/ counts, also what is damaged or was being written.
	if files, err := os.ReadDir(filepath.Join(state, "identity")); err == nil && len(files) > 0 {
		return nil
	}
	return fmt.Errorf("%w: in %s is neither an identity/ nor a %s. If it is not the cart's state folder, give the cart's settings: --config FILE",
		ErrNothingToWipe, state, wipedFile)
}

// destroy takes away all in STATE but the sealed items.
func destroy(state string, id *identity.Cart) error {
	return errors.Join(id.Wipe(), identity.Shred(filepath.Join(state, "keys.json")), identity.Shred(filepath.Join(state, "encounter.json")))
}

// deviceName names the key that is there.
func deviceName(id *identity.Cart) string {
	der, err := x509.MarshalPKIXPublicKey(id.Signer().Public())
	if err != nil {
		return "" // no key is called that
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// resumeWipe ends a wipe that was cut short, and forgets one that a claim has followed.
func resumeWipe(state string, id *identity.Cart) (wiped bool, err error) {
	was, wiped, err := readOwner(state)
	if err != nil || !wiped {
		return wiped, err
	}
	if _, err := id.Identity(); err != nil {
		return true, nil
	}
	switch me := deviceName(id); {
	case was.Device == me:
		return true, destroy(state, id)
	case was.Claiming == me:
		return false, claimedAnew(state)
	case was.Device == "":
		return true, destroy(state, id)
	}
	return false, claimedAnew(state)
}

// claiming writes down, before a claim, which key it will have certified: if power fails before the mark of a wipe is gone,
// the next start knows the new identity from the one that the wipe was for.
func claiming(state string, id *identity.Cart) error {
	was, wiped, err := readOwner(state)
	if err != nil || !wiped {
		return err
	}
	if was.Device == deviceName(id) { // the wipe was cut short, and the identity is damaged: that key is never certified again
		if err := destroy(state, id); err != nil {
			return err
		}
	}
	was.Claiming = deviceName(id)
	b, err := json.Marshal(was)
	if err != nil {
		return fmt.Errorf("agent: claim: %w", err)
	}
	return kit.WriteFile(filepath.Join(state, wipedFile), b, 0o600)
}

// signEnd signs the end of a book as it lies on the disk, while there is a key to sign with. It reads the ledger alone.
func signEnd(ctx context.Context, dir string, book ledger.Book, key crypto.Signer) error {
	var end *ledger.Entry
	for f, err := range outbox.Inspect(dir) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("agent: the end of %s can't be signed: %w", dir, err)
		}
		if f.Entry != nil && !f.Entry.Salvaged {
			e := f.Entry.Entry
			end = &e
		}
	}
	if end == nil {
		return nil // what was retired left its signed checkpoint
	}
	head, err := ledger.Chain{Incarnation: end.Incarnation, Next: end.Number + 1, Head: end.Hash()}.Sign(book, key)
	if err != nil {
		return err
	}
	b, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return kit.WriteFile(filepath.Join(dir, outbox.HeadFile), b, 0o600)
}

// shredAll shreds a file, or all files in a folder, and does not follow links.
func shredAll(path string) error {
	var errs []error
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		errs = append(errs, identity.Shred(p))
		return nil
	})
	errs = append(errs, err)
	if err := os.RemoveAll(path); err != nil {
		errs = append(errs, fmt.Errorf("agent: wipe: %w", err))
	}
	return errors.Join(errs...)
}

func readOwner(state string) (o Owner, wiped bool, err error) {
	b, err := os.ReadFile(filepath.Join(state, wipedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return o, false, nil
	}
	if err == nil && json.Unmarshal(b, &o) != nil {
		o = Owner{} // damaged: it was wiped all the same
	}
	if err != nil {
		return o, true, fmt.Errorf("agent: %w", err)
	}
	return o, true, nil
}

// lockState keeps a second agent, and a wipe, out of a state folder in use.
func lockState(state string) (unlock func(), err error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(state, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("agent: another agent works in %s; stop it first", state), f.Close())
	}
	return func() { f.Close() }, nil
}

// left is where a cart's items wait for a courier after the cart was wiped and claimed under another name.
func left(state string, o Owner) string { return filepath.Join(state, "left", o.Tenant+"_"+o.Cart) }

// settle ends a wipe at a new claim: the ledger goes on if the cart keeps its name; else its items are set aside, as they are
// another's. A cart that gets its old name back gets its items back.
func settle(state string, id *identity.Cart, tenant, cart string) error {
	if wiped, err := resumeWipe(state, id); err != nil || !wiped {
		return err
	}
	was, _, err := readOwner(state)
	if err != nil {
		return err
	}
	if was.Cart != "" && (was.Tenant != tenant || was.Cart != cart) {
		if err := moveBooks(state, left(state, was)); err != nil {
			return err
		}
	}
	return moveBooks(left(state, Owner{Tenant: tenant, Cart: cart}), state)
}

// moveBooks moves the books that are there. It never moves one over another.
func moveBooks(from, to string) error {
	for _, practice := range []bool{false, true} {
		name := bookName(ledger.Book{Practice: practice})
		if _, err := os.Lstat(filepath.Join(from, name)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(to, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("agent: %s and %s: the items of both are kept; move one elsewhere for a courier", filepath.Join(from, name), filepath.Join(to, name))
		}
		if err := os.MkdirAll(to, 0o700); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		if err := errors.Join(kit.SyncDir(from), kit.SyncDir(to), kit.SyncDir(filepath.Dir(to))); err != nil {
			return err
		}
	}
	return nil
}

// maxFormer bounds how many keys a cart remembers to have had.
const maxFormer = 16

// claimedAnew says that the wipe is over. By which key the ledger was signed until then stays known, by fingerprint: what it
// signed would look forged.
func claimedAnew(state string) error {
	was, _, err := readOwner(state)
	if err != nil {
		return err
	}
	path := filepath.Join(state, formerFile)
	var former []string
	if b, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(b, &former) // damaged: begun anew
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("agent: %w", err)
	}
	if was.Device != "" && !slices.Contains(former, was.Device) {
		former = append(former, was.Device)
		b, err := json.Marshal(former[max(0, len(former)-maxFormer):])
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		if err := kit.WriteFile(path, b, 0o600); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
	}
	if err := os.Remove(filepath.Join(state, wipedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("agent: %w", err)
	}
	return kit.SyncDir(state)
}
