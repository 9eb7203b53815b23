// Package intake decides what to do with what a cart sends: the pure half of ingest. It touches no disk, clock or network.
//
// Parties: ingest gives it bytes and does what it says. Keys: none.
//
// Invariants: a manifest is let in only for the item and the cart that it was sent for; a chunk is kept only if it is the
// one that the manifest names; nothing is allocated beyond what can be right.
package intake

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"telecart/uplink/wire"
)

// What can be wrong with the stream of a PUT, before any of it means something.
var (
	ErrCut      = errors.New("the stream ends inside a frame")
	ErrTooLarge = errors.New("the manifest is longer than any can be")
)

// Stream takes a PUT's body apart: length of the manifest (4, big endian), the manifest, then chunk frames: index (4),
// length (4), bytes.
type Stream struct {
	R   io.Reader
	buf []byte // of the newest chunk
}

func (s *Stream) u32() (uint32, error) {
	var b [4]byte
	_, err := io.ReadFull(s.R, b[:])
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrCut
	}
	return binary.BigEndian.Uint32(b[:]), err
}

// Manifest reads the front of the stream.
func (s *Stream) Manifest() ([]byte, error) {
	n, err := s.u32()
	if errors.Is(err, io.EOF) {
		err = ErrCut
	}
	if err != nil {
		return nil, err
	}
	if n > wire.MaxManifest {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, n)
	}
	b := make([]byte, n)
	return b, cut(io.ReadFull(s.R, b))
}

// Chunk reads the next frame; check says from its index and length whether it can be one. io.EOF: there are no more. The
// slice is good until the next call.
func (s *Stream) Chunk(check func(i, n uint32) error) (i int, b []byte, err error) {
	index, err := s.u32()
	if err != nil {
		return 0, nil, err
	}
	n, err := s.u32()
	if errors.Is(err, io.EOF) {
		err = ErrCut
	}
	if err == nil {
		err = check(index, n)
	}
	if err != nil {
		return 0, nil, err
	}
	if s.buf == nil {
		s.buf = make([]byte, wire.ChunkSize+wire.Overhead)
	}
	if int(n) > len(s.buf) {
		return 0, nil, fmt.Errorf("a chunk of %d bytes", n)
	}
	return int(index), s.buf[:n], cut(io.ReadFull(s.R, s.buf[:n]))
}

func cut(_ int, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return err
}
