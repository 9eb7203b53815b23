package ingest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/uplink/hub/store"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// Opener opens sealed items; *seal.Records does. It gives the unpadded plaintext to sink in order, and fails with
// seal.ErrOpen if anything does not authenticate and with seal.ErrNoKey if it has no key for it. Every other error means
// that the item could not be judged.
type Opener interface {
	Open(w wire.Wrap, header []byte, h wire.Header, chunks func(i int) ([]byte, error), sink func(plain []byte) error) error
}

// body gathers what is to be known of a plaintext as it streams by, and keeps only its JSON part.
type body struct {
	sum  hash.Hash
	size int64
	meta []byte // length and JSON
	said capture.Body
	err  error
}

// errBody stops an opener: the plaintext is no body.
var errBody = errors.New("ingest: the plaintext is no item's body")

func (b *body) write(p []byte) error {
	b.sum.Write(p)
	b.size += int64(len(p))
	for len(p) > 0 {
		want := 4 - len(b.meta)
		if want <= 0 {
			n := binary.BigEndian.Uint32(b.meta)
			if n > capture.MaxMeta {
				b.err = errBody
				return errBody
			}
			want += int(n)
		}
		if want == 0 {
			break // the rest is blob
		}
		n := min(want, len(p))
		b.meta, p = append(b.meta, p[:n]...), p[n:]
	}
	return nil
}

// open opens a complete item. It returns an error only when the item could not be judged.
func (in *Ingest) open(p *store.Sealed) (b body, refusal string, err error) {
	b.sum = sha256.New()
	var unread error
	err = in.opt.Opener.Open(p.Wrap, p.Manifest.Header, p.Header, func(i int) ([]byte, error) {
		c, err := p.Chunk(i)
		unread = errors.Join(unread, err)
		return c, err
	}, b.write)
	switch {
	case unread != nil:
		return b, "", unread
	case errors.Is(err, seal.ErrNoKey):
		return b, "", err
	case errors.Is(err, seal.ErrOpen):
		return body{}, "does-not-open", nil
	case err != nil && b.err == nil:
		return b, "", fmt.Errorf("ingest: open: %w", err)
	}
	if b.err == nil {
		b.said, b.err = capture.UnmarshalBody(b.meta)
	}
	if refusal = judge(p.Header, b); refusal != "" {
		return body{}, refusal, nil
	}
	return b, "", nil
}

// arrival is what the store is to keep of an item that was opened, or was refused.
func arrival(p *store.Sealed, entry ledger.Entry, b body, refusal string) store.Arrival {
	m := p.Manifest
	m.Entry = entry // the file has the one that it first came with
	a := store.Arrival{Manifest: m, Header: p.Header, Verdict: wire.Refused, Reason: refusal}
	if refusal == "" {
		a.Verdict, a.At, a.Meta, a.Size = wire.Received, b.said.At.Wall, b.meta[4:], b.size
		a.Plain = ledger.Hash(b.sum.Sum(nil))
	}
	return a
}

// judge is what an item's opened body means for it: "" or the code of a refusal.
func judge(h wire.Header, b body) (refusal string) {
	switch {
	case b.err != nil:
		return "not-a-body"
	case uint8(b.said.Kind) != h.Kind, b.said.Encounter != h.Encounter, b.said.Practice != h.Practice:
		return "header-differs" // it would be filed under the wrong encounter, or practice as care
	}
	return ""
}
