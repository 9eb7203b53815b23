package courier

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

const (
	frameMark = "\x8dTCFRM1\n"
	frameHead = len(frameMark) + 1 + 8 + 4
	frameTail = 4
	version   = 1

	// maxSmall bounds every frame but an item's.
	maxSmall = 1 << 20
	// maxItem is the longest body of a PUT: the manifest and every chunk of the largest item.
	maxItem = 4 + wire.MaxManifest + (wire.MaxLength/wire.ChunkSize)*(8+wire.ChunkSize+wire.Overhead)

	entriesInFrame = 4096
)

// Types of frames.
const (
	typeBook    = 'B'
	typeKeys    = 'K'
	typeHead    = 'H'
	typeEntries = 'E'
	typeItem    = 'I'
	typeWater   = 'W'
	typeReceipt = 'R'
	typeEnd     = 'Z'
)

// ErrMalformed: a courier file, or a part of one, is not what it claims to be.
var ErrMalformed = errors.New("courier: malformed")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func headOf(t byte, length int64) []byte {
	b := append([]byte(frameMark), t)
	b = binary.BigEndian.AppendUint64(b, uint64(length))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func small(t byte, payload []byte) []byte {
	b := append(headOf(t, int64(len(payload))), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli))
}

// frame is one frame of a file. Small ones were checked; an item's payload is read from the file.
type frame struct {
	kind    byte
	offset  int64  // of the payload
	length  int64  // as far as it is there
	cut     bool   // the file ends within it
	payload []byte // of a small one
}

// scan gives the frames of a file in order. What can't be read is told by damage, and passed over.
func scan(r io.ReaderAt, size int64, found func(frame) error, damage func(offset int64, what string)) error {
	head := make([]byte, frameHead)
	for at := int64(0); at < size; {
		n, err := r.ReadAt(head, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("courier: %w", err)
		}
		f, ok := parseHead(head[:n], at, size)
		if !ok {
			next, err := resync(r, at+1, size)
			if err != nil {
				return err
			}
			damage(at, fmt.Sprintf("%d bytes are no frame", next-at))
			at = next
			continue
		}
		at = min(size, f.offset+f.length+frameTail)
		if f.kind != typeItem {
			if f.payload, err = readSmall(r, f); err != nil {
				damage(f.offset, fmt.Sprintf("a frame of type %q is damaged or cut off", f.kind))
				at = f.offset // what its length says is not to be believed: look for the next mark
				continue
			}
		}
		if err := found(f); err != nil {
			return err
		}
	}
	return nil
}

func parseHead(b []byte, at, size int64) (f frame, ok bool) {
	if len(b) < frameHead || !bytes.HasPrefix(b, []byte(frameMark)) || crc32.Checksum(b[:frameHead-4], castagnoli) != binary.BigEndian.Uint32(b[frameHead-4:]) {
		return f, false
	}
	n := binary.BigEndian.Uint64(b[len(frameMark)+1:])
	f = frame{kind: b[len(frameMark)], offset: at + int64(frameHead)}
	if n > maxItem || f.kind != typeItem && n > maxSmall {
		return f, false
	}
	f.length = int64(n)
	if left := size - f.offset - frameTail; f.length > left {
		f.length, f.cut = max(0, min(f.length, size-f.offset)), true
	}
	return f, true
}

func readSmall(r io.ReaderAt, f frame) ([]byte, error) {
	b := make([]byte, f.length+frameTail)
	if _, err := r.ReadAt(b, f.offset); err != nil || f.cut {
		return nil, ErrMalformed
	}
	if crc32.Checksum(b[:f.length], castagnoli) != binary.BigEndian.Uint32(b[f.length:]) {
		return nil, ErrMalformed
	}
	return b[:f.length], nil
}

// resync finds the next mark.
func resync(r io.ReaderAt, at, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for at < size {
		n, err := r.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("courier: %w", err)
		}
		if i := bytes.Index(buf[:n], []byte(frameMark)); i >= 0 {
			return at + int64(i), nil
		}
		if n < len(buf) {
			break
		}
		at += int64(n - len(frameMark) + 1)
	}
	return size, nil
}

// NameOf is how a book's files begin.
func NameOf(b ledger.Book) string {
	sum := sha256.Sum256([]byte(b.Tenant + "/" + b.Cart))
	kind := "care"
	if b.Practice {
		kind = "practice"
	}
	return hex.EncodeToString(sum[:6]) + "-" + kind
}

func encodeBook(b ledger.Book) []byte {
	out := append([]byte{version, byte(len(b.Tenant))}, b.Tenant...)
	out = append(append(out, byte(len(b.Cart))), b.Cart...)
	if b.Practice {
		return append(out, 1)
	}
	return append(out, 0)
}

func decodeBook(p []byte) (b ledger.Book, err error) {
	if len(p) > 0 && p[0] != version {
		return b, fmt.Errorf("%w: courier files of version %d are not known here; use a newer release", ErrMalformed, p[0])
	}
	take := func() string {
		if len(p) == 0 || len(p) < 1+int(p[0]) {
			p = nil
			return ""
		}
		s := string(p[1 : 1+int(p[0])])
		p = p[1+int(p[0]):]
		return s
	}
	if len(p) > 0 {
		p = p[1:]
	}
	b.Tenant, b.Cart = take(), take()
	if len(p) != 1 || p[0] > 1 || !wire.ValidName(b.Tenant) || !wire.ValidName(b.Cart) {
		return ledger.Book{}, fmt.Errorf("%w: it does not say whose book it is", ErrMalformed)
	}
	b.Practice = p[0] == 1
	return b, nil
}

func encodeHead(h ledger.Head) []byte {
	b := append([]byte(nil), h.Incarnation[:]...)
	b = append(binary.BigEndian.AppendUint64(b, h.Number), h.Hash[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.Signature)))
	return append(b, h.Signature...)
}

func decodeHead(b ledger.Book, p []byte) (h ledger.Head, err error) {
	const fixed = 16 + 8 + 32 + 2
	if len(p) < fixed || len(p) != fixed+int(binary.BigEndian.Uint16(p[fixed-2:])) || len(p) > fixed+128 {
		return h, fmt.Errorf("%w: a head", ErrMalformed)
	}
	h = ledger.Head{Book: b, Incarnation: ledger.ID(p[:16]), Number: binary.BigEndian.Uint64(p[16:]), Hash: ledger.Hash(p[24:56]), Signature: bytes.Clone(p[fixed:])}
	if h.Number > math.MaxInt64 {
		return h, fmt.Errorf("%w: a head with an impossible number", ErrMalformed)
	}
	return h, nil
}

func decodeEntries(p []byte) (out []ledger.Entry, err error) {
	if len(p)%ledger.EntrySize != 0 || len(p) > entriesInFrame*ledger.EntrySize {
		return nil, fmt.Errorf("%w: entries", ErrMalformed)
	}
	for ; len(p) > 0; p = p[ledger.EntrySize:] {
		e, err := ledger.UnmarshalEntry(p[:ledger.EntrySize])
		if err != nil || e.Number > math.MaxInt64 {
			return nil, fmt.Errorf("%w: an entry", ErrMalformed)
		}
		out = append(out, e)
	}
	return out, nil
}

// manifestOf reads the front of an item's payload.
func manifestOf(r io.ReaderAt, f frame) (m wire.Manifest, h wire.Header, size int64, err error) {
	var n [4]byte
	if _, err := r.ReadAt(n[:], f.offset); err != nil || f.length < 4 {
		return m, h, 0, fmt.Errorf("%w: an item without a manifest", ErrMalformed)
	}
	size = int64(binary.BigEndian.Uint32(n[:]))
	if size > wire.MaxManifest || 4+size > f.length {
		return m, h, 0, fmt.Errorf("%w: an item's manifest is cut off", ErrMalformed)
	}
	b := make([]byte, size)
	if _, err := r.ReadAt(b, f.offset+4); err != nil {
		return m, h, 0, fmt.Errorf("courier: %w", err)
	}
	m, h, _, err = wire.UnmarshalManifest(b)
	return m, h, size, err
}

// whole checks an item's payload through and through: every chunk there, in order, as its hash says, and the frame's CRC.
func whole(r io.ReaderAt, f frame, m wire.Manifest, h wire.Header, manifest int64) error {
	if f.cut {
		return fmt.Errorf("%w: cut off", ErrMalformed)
	}
	sum := crc32.New(castagnoli)
	in := io.TeeReader(io.NewSectionReader(r, f.offset, f.length), sum)
	if _, err := io.CopyN(io.Discard, in, 4+manifest); err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	buf := make([]byte, 8+wire.ChunkSize+wire.Overhead)
	for i := range m.Chunks {
		b := buf[:8+h.SealedSize(i)]
		if _, err := io.ReadFull(in, b); err != nil {
			return fmt.Errorf("%w: chunk %d is cut off", ErrMalformed, i)
		}
		if binary.BigEndian.Uint32(b) != uint32(i) || int(binary.BigEndian.Uint32(b[4:])) != len(b)-8 || ledger.Hash(sha256.Sum256(b[8:])) != m.Chunks[i] {
			return fmt.Errorf("%w: chunk %d", ErrMalformed, i)
		}
	}
	var tail [frameTail]byte
	if n, _ := in.Read(buf[:1]); n != 0 {
		return fmt.Errorf("%w: something follows the last chunk", ErrMalformed)
	}
	if _, err := r.ReadAt(tail[:], f.offset+f.length); err != nil || binary.BigEndian.Uint32(tail[:]) != sum.Sum32() {
		return fmt.Errorf("%w: its checksum", ErrMalformed)
	}
	return nil
}
