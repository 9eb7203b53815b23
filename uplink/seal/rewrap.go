package seal

import (
	"bytes"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// Rewrap is a data key that the hub keeps for itself, HPKE-sealed to a newer record key than its wire.Wrap: what makes an
// item that is at the hub outlive the record key that it came under. The item is not touched; it goes on naming its Wrap.
type Rewrap struct {
	Wrap           ledger.ID // names the wire.Wrap whose data key this is
	KEM, KDF, AEAD uint16    // RFC 9180 section 7
	Epoch          uint32    // of the record key it is sealed to
	Practice       bool
	Enc, Sealed    []byte
}

// info binds the data key to the wrap that it came in; its domain differs from a Wrap's, so that neither passes for the other.
func (k Rewrap) info() []byte {
	b := append([]byte("telecart stored data key v1\x00"), k.Wrap[:]...)
	for _, id := range []uint16{k.KEM, k.KDF, k.AEAD} {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	b = append(binary.BigEndian.AppendUint32(b, k.Epoch), 0)
	if k.Practice {
		b[len(b)-1] = 1
	}
	return b
}

// Public is the public half, as a key list has it.
func (k RecordKey) Public() (wire.RecordKey, error) {
	kem, err := hpke.NewKEM(k.KEM)
	if err != nil {
		return wire.RecordKey{}, fmt.Errorf("seal: record key of epoch %d: %w", k.Epoch, err)
	}
	p, err := kem.NewPrivateKey(k.Private)
	if err != nil {
		return wire.RecordKey{}, fmt.Errorf("seal: record key of epoch %d: %w", k.Epoch, err)
	}
	return wire.RecordKey{Epoch: k.Epoch, Practice: k.Practice, KEM: k.KEM, Public: p.PublicKey().Bytes()}, nil
}

// Holds says whether the private key for a record key is here.
func (r *Records) Holds(k wire.RecordKey) bool {
	p, ok := r.keys[recordID{k.Epoch, k.Practice, k.KEM}]
	return ok && bytes.Equal(p.PublicKey().Bytes(), k.Public)
}

// Rewrap opens the data key of a wrap and seals it to another record key, whose private half is here too.
func (r *Records) Rewrap(w wire.Wrap, to wire.RecordKey) (Rewrap, error) {
	private, ok := r.keys[recordID{w.Epoch, w.Practice, w.KEM}]
	if !ok {
		return Rewrap{}, fmt.Errorf("%w: epoch %d, practice %t", ErrNoKey, w.Epoch, w.Practice)
	}
	secret, err := unwrap(private, w)
	if err != nil {
		return Rewrap{}, err
	}
	defer clear(secret)
	return r.keep(w.ID(), w.Practice, secret, to)
}

// Again seals a data key that was kept before to a newer record key.
func (r *Records) Again(k Rewrap, to wire.RecordKey) (Rewrap, error) {
	secret, err := r.secret(k)
	if err != nil {
		return Rewrap{}, err
	}
	defer clear(secret)
	return r.keep(k.Wrap, k.Practice, secret, to)
}

// keep seals a data key, and opens it again before anybody relies on it.
func (r *Records) keep(wrap ledger.ID, practice bool, secret []byte, to wire.RecordKey) (Rewrap, error) {
	if to.Practice != practice {
		return Rewrap{}, errors.New("seal: practice and care have record keys of their own")
	}
	if !r.Holds(to) {
		return Rewrap{}, fmt.Errorf("%w: epoch %d, practice %t", ErrNoKey, to.Epoch, to.Practice)
	}
	kdf, aead := hpke.HKDFSHA256(), hpke.ChaCha20Poly1305()
	k := Rewrap{Wrap: wrap, KEM: to.KEM, KDF: kdf.ID(), AEAD: aead.ID(), Epoch: to.Epoch, Practice: practice}
	public := r.keys[recordID{to.Epoch, to.Practice, to.KEM}].PublicKey()
	enc, sender, err := hpke.NewSender(public, kdf, aead, k.info())
	if err == nil {
		k.Enc = enc
		k.Sealed, err = sender.Seal(nil, secret)
	}
	if err != nil {
		return Rewrap{}, fmt.Errorf("seal: keep data key: %w", err)
	}
	again, err := r.secret(k)
	if err != nil {
		return Rewrap{}, err
	}
	defer clear(again)
	if !bytes.Equal(again, secret) {
		return Rewrap{}, errors.New("seal: a data key did not come back as it was kept")
	}
	return k, nil
}

// secret is the data key that is kept.
func (r *Records) secret(k Rewrap) ([]byte, error) {
	private, ok := r.keys[recordID{k.Epoch, k.Practice, k.KEM}]
	if !ok {
		return nil, fmt.Errorf("%w: epoch %d, practice %t", ErrNoKey, k.Epoch, k.Practice)
	}
	return openKey(private, k.KDF, k.AEAD, k.Enc, k.Sealed, k.info())
}

// Opener opens items by the record key they came under or, once that is destroyed, by the data key that the hub kept.
type Opener struct {
	Records *Records
	// Kept finds the kept data key of a wrap; false: there is none.
	Kept func(tenant string, wrap ledger.ID) (Rewrap, bool, error)
}

// Open is Records.Open.
func (o Opener) Open(w wire.Wrap, header []byte, h wire.Header, chunks func(i int) ([]byte, error), sink func(plain []byte) error) error {
	if _, ok := o.Records.keys[recordID{w.Epoch, w.Practice, w.KEM}]; ok {
		return o.Records.Open(w, header, h, chunks, sink)
	}
	k, ok, err := o.Kept(w.Tenant, w.ID())
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: epoch %d, practice %t; it was destroyed, or is in another hub's state", ErrNoKey, w.Epoch, w.Practice)
	}
	secret, err := o.Records.secret(k)
	if errors.Is(err, ErrOpen) { // the hub's own row is damaged: no word about the item, which must not be refused for it
		return fmt.Errorf("seal: the kept data key of wrap %s can't be read; restore the hub's database from its backup", k.Wrap)
	}
	if err != nil {
		return err
	}
	defer clear(secret)
	return openWith(secret, header, h, chunks, sink)
}
