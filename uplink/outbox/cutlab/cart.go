package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// cart is an agent reduced to its outbox, in one run.
type cart struct {
	keys keys
	box  *outbox.Outbox
	key  *seal.Key
	seen map[ledger.Hash][]byte // chunks that were hashed before: comparing is faster, and states are many
}

// openCart starts a run on the outbox in a folder, with the options of the agent (cmd/telecartd/agent). Two differ: the
// grace is over at once, and segments may be small, so that a recording of seconds goes through many.
func openCart(dir string, k keys, segment int64, check outbox.Checker) (*cart, error) {
	run := ledger.NewID()
	sealer, err := seal.NewSealer(book(), run, k.Public)
	if err != nil {
		return nil, err
	}
	key, err := sealer.NewKey(ledger.NewID())
	if err != nil {
		return nil, err
	}
	box, err := outbox.Open(context.Background(), outbox.Options{Dir: filepath.Join(dir, "care"), Book: book(), Run: run, Signer: k.device,
		Clock: kit.System{}, Trusted: func() bool { return true }, SegmentSize: segment, Check: check})
	if err != nil {
		return nil, err
	}
	return &cart{keys: k, box: box, key: key, seen: map[ledger.Hash][]byte{}}, nil
}

// execChecker checks old segments in a child process, as on a cart.
func execChecker() (outbox.Checker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return outbox.ExecChecker(exe), nil
}

const loadTimeout = 40 * time.Second

// loaded waits until every old segment was checked.
func (c *cart) loaded() error {
	done := make(chan struct{}, 1)
	c.box.Subscribe(func() {
		select {
		case done <- struct{}{}:
		default:
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	for c.box.Stats().Loading > 0 {
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("cutlab: %d old segments still unchecked after %v", c.box.Stats().Loading, loadTimeout)
		}
	}
	return nil
}

// put saves item n.
func (c *cart) put(n int) (promise, error) {
	s, err := c.box.Put(context.Background(), c.key, 1, urgency(n), body(n))
	return promise{n, s.Entry}, err
}

// refs are all items that are held, delivered ones included: for a hub whose store is new everything is offered again.
func (c *cart) refs() []outbox.Ref {
	c.box.Store(ledger.NewID())
	return c.box.Pending(math.MaxInt, func(outbox.Ref) bool { return false })
}

// whole reads an item as the link would, and checks it without the outbox's help: its entry, the hash of each chunk, the
// item's own.
func (c *cart) whole(r outbox.Ref) (wire.Manifest, wire.Header, error) {
	m, err := c.box.Manifest(r.Hash)
	if err != nil {
		return m, wire.Header{}, err
	}
	_, h, _, err := wire.UnmarshalManifest(m.Marshal())
	if err != nil {
		return m, h, err
	}
	if m.Entry != r.Entry || m.Entry.Body != r.Hash || m.Hash() != r.Hash || h.Chunks() != len(m.Chunks) {
		return m, h, errors.New("cutlab: the manifest is another item's")
	}
	for i, want := range m.Chunks {
		b, err := c.box.Chunk(m, h, i)
		if err != nil {
			return m, h, err
		}
		if !c.chunkIs(b, want) || len(b) != h.SealedSize(i) {
			return m, h, fmt.Errorf("cutlab: chunk %d is not what the manifest says", i)
		}
	}
	return m, h, nil
}

func (c *cart) chunkIs(b []byte, want ledger.Hash) bool {
	if known, ok := c.seen[want]; ok {
		return bytes.Equal(b, known)
	}
	if sha256.Sum256(b) != want {
		return false
	}
	c.seen[want] = bytes.Clone(b)
	return true
}

// opened opens an item with the hub's record key, and says which of ours it is.
func (c *cart) opened(r outbox.Ref) (n int, err error) {
	m, h, err := c.whole(r)
	if err != nil {
		return 0, err
	}
	_, _, w, err := wire.UnmarshalManifest(m.Marshal())
	if err != nil {
		return 0, err
	}
	var plain bytes.Buffer
	err = c.keys.records.Open(w, m.Header, h, func(i int) ([]byte, error) { return c.box.Chunk(m, h, i) },
		func(p []byte) error { plain.Write(p); return nil })
	if err != nil {
		return 0, err
	}
	if plain.Len() < 8 {
		return 0, fmt.Errorf("cutlab: a body of %d bytes", plain.Len())
	}
	n = int(binary.BigEndian.Uint64(plain.Bytes()))
	if !bytes.Equal(plain.Bytes(), body(n)) {
		return n, fmt.Errorf("cutlab: item %d opens, but is not what was put", n)
	}
	return n, nil
}
