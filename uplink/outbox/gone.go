package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// What an erased segment leaves of its receipts, so that a hub that was restored from a backup can be told what it once
// signed for and nobody has any more:
//
//	"TCG" 01 | segment 4 | receipts 4 | each: length 2, receipt | CRC-32C 4 (over all before it)
const (
	goneMagic   = "TCG\x01"
	goneExt     = ".gone"
	goneHead    = len(goneMagic) + 4 + 4
	maxGoneFile = goneHead + (1<<16)*(2+wire.MaxReceipt) + 4
)

func encodeGone(segment uint32, receipts []wire.Receipt) []byte {
	b := binary.BigEndian.AppendUint32([]byte(goneMagic), segment)
	b = binary.BigEndian.AppendUint32(b, uint32(len(receipts)))
	for _, r := range receipts {
		m := r.Marshal()
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(m))), m...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeGone(b []byte) (segment uint32, out []wire.Receipt, err error) {
	bad := fmt.Errorf("%w: the receipts of an erased segment", ErrDamaged)
	if len(b) < goneHead+4 || len(b) > maxGoneFile || string(b[:len(goneMagic)]) != goneMagic ||
		crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return 0, nil, bad
	}
	segment = binary.BigEndian.Uint32(b[4:])
	n := binary.BigEndian.Uint32(b[8:])
	for b = b[goneHead : len(b)-4]; len(b) > 0; n-- {
		if len(b) < 2 || n == 0 || int(binary.BigEndian.Uint16(b)) > len(b)-2 {
			return 0, nil, bad
		}
		size := int(binary.BigEndian.Uint16(b))
		r, err := wire.UnmarshalReceipt(b[2 : 2+size])
		if err != nil {
			return 0, nil, fmt.Errorf("%w: %v", ErrDamaged, err)
		}
		out, b = append(out, r), b[2+size:]
	}
	if n != 0 {
		return 0, nil, bad
	}
	return segment, out, nil
}

// leaveReceipts writes the receipts of a segment's items down, before they are erased.
func (o *Outbox) leaveReceipts(s *segment) error {
	o.mu.Lock()
	rows := slices.Clone(s.receipts)
	o.mu.Unlock()
	var receipts []wire.Receipt
	for _, r := range rows[:min(len(rows), 1<<16)] {
		if r.store == 0 {
			continue
		}
		k, err := o.receipts.read(r.file, r.slot)
		if err != nil { // the item has a receipt that was checked; it just won't be named later
			o.opt.Log.Warn("outbox: a receipt does not read back", "err", err)
			continue
		}
		receipts = append(receipts, k.Receipt)
	}
	if len(receipts) == 0 {
		return nil
	}
	return o.opt.Disk.WriteFile(o.gonePath(s.n), encodeGone(s.n, receipts), 0o600)
}

func (o *Outbox) gonePath(n uint32) string {
	return filepath.Join(o.opt.Dir, fmt.Sprintf("%08d%s", n, goneExt))
}

// goneFiles gives the numbers of the erased segments whose receipts are kept, oldest first.
func (o *Outbox) goneFiles() (out []uint32, err error) {
	files, err := os.ReadDir(o.opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	for _, f := range files {
		var n uint32
		stem, ok := strings.CutSuffix(f.Name(), goneExt)
		if !ok || !f.Type().IsRegular() {
			continue
		}
		if _, err := fmt.Sscanf(stem, "%d", &n); err == nil && filepath.Base(o.gonePath(n)) == f.Name() {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

func readGone(path string) ([]wire.Receipt, error) {
	f, err := kit.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(maxGoneFile)+1))
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	_, out, err := decodeGone(b)
	return out, err
}

// Gone gives the receipts of items that were erased under a store of the hub which is not its present one: whoever has
// that store's backup no longer has them, neither has the cart.
func (o *Outbox) Gone(store ledger.ID) iter.Seq[wire.Receipt] {
	return func(yield func(wire.Receipt) bool) {
		files, err := o.goneFiles()
		if err != nil {
			o.opt.Log.Error("outbox: receipts of erased items", "err", err)
		}
		for _, n := range files {
			receipts, err := readGone(o.gonePath(n))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				o.opt.Log.Error("outbox: receipts of erased items", "segment", n, "err", err)
			}
			for _, r := range receipts {
				if _, _, _, here := o.where(r.Item); here || r.Store == store || r.Verdict != wire.Received {
					continue
				}
				if !yield(r) {
					return
				}
			}
		}
	}
}

// pruneGone keeps the receipts of as many erased items as are to be kept: the newest.
func (o *Outbox) pruneGone() error {
	files, err := o.goneFiles()
	if err != nil {
		return err
	}
	left := o.opt.KeepGone
	for _, n := range slices.Backward(files) {
		if left > 0 {
			receipts, err := readGone(o.gonePath(n))
			if err == nil {
				left -= len(receipts)
			}
			continue
		}
		if err := o.opt.Disk.Remove(o.gonePath(n)); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	}
	return nil
}
