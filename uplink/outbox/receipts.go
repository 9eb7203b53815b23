package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"telecart/device/kit"
	"telecart/uplink/wire"
)

// Receipts have files of their own, written beforehand in slots, so that taking one is a single overwrite and fdatasync.
//
//	slot: magic "TCRS" | length 2 | arrival, ms since 1970, 8 | clock trusted 1 | receipt | CRC-32C 4, in 512 bytes
const (
	slotSize   = 512
	slotMagic  = "TCRS"
	slotHead   = len(slotMagic) + 2 + 8 + 1
	fileSlots  = 2048 // 1 MiB a file
	receiptExt = ".rcp"
)

// kept is a receipt with when it came.
type kept struct {
	wire.Receipt
	arrived time.Time
	trusted bool // was the clock, then?
}

// receiptLog is the folder of receipt files.
type receiptLog struct {
	dir  string
	f    *os.File
	file int
	next int // slot
}

// openReceipts reads all receipts that are kept. A damaged slot costs that receipt alone: its item is offered again.
func openReceipts(dir string) (*receiptLog, []kept, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("outbox: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+receiptExt))
	if err != nil {
		return nil, nil, fmt.Errorf("outbox: %w", err)
	}
	slices.Sort(names)
	l := &receiptLog{dir: dir}
	var all []kept
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, fmt.Errorf("outbox: %w", err)
		}
		l.next = 0
		for i := 0; (i+1)*slotSize <= len(b); i++ {
			slot := b[i*slotSize : (i+1)*slotSize]
			if binary.BigEndian.Uint32(slot) != 0 {
				l.next = i + 1
			}
			if k, err := decodeSlot(slot); err == nil {
				all = append(all, k)
			}
		}
		fmt.Sscanf(filepath.Base(name), "%d", &l.file)
	}
	if len(names) > 0 && l.next < fileSlots {
		if l.f, err = os.OpenFile(names[len(names)-1], os.O_RDWR, 0); err != nil {
			return nil, nil, fmt.Errorf("outbox: %w", err)
		}
		return l, all, nil
	}
	return l, all, l.grow()
}

func (l *receiptLog) grow() error {
	l.close()
	l.file++
	path := filepath.Join(l.dir, fmt.Sprintf("%08d%s", l.file, receiptExt))
	if err := kit.WriteFile(path, make([]byte, fileSlots*slotSize), 0o600); err != nil {
		return err
	}
	var err error
	if l.f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	l.next = 0
	return nil
}

// add makes a receipt durable.
func (l *receiptLog) add(k kept) error {
	if l.next == fileSlots {
		if err := l.grow(); err != nil {
			return err
		}
	}
	if _, err := l.f.WriteAt(encodeSlot(k), int64(l.next)*slotSize); err != nil {
		return fmt.Errorf("outbox: keep receipt: %w", err)
	}
	l.next++ // a slot is never written twice, not even after a failed sync
	if err := unix.Fdatasync(int(l.f.Fd())); err != nil {
		return errors.Join(fmt.Errorf("outbox: keep receipt: %w", err), l.grow())
	}
	return nil
}

func (l *receiptLog) close() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}

func encodeSlot(k kept) []byte {
	r := k.Receipt.Marshal()
	b := make([]byte, 0, slotSize)
	b = append(b, slotMagic...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r)))
	b = binary.BigEndian.AppendUint64(b, uint64(k.arrived.UnixMilli()))
	trusted := byte(0)
	if k.trusted {
		trusted = 1
	}
	b = append(append(b, trusted), r...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, make([]byte, slotSize-len(b))...)
}

func decodeSlot(b []byte) (k kept, err error) {
	if len(b) != slotSize || string(b[:len(slotMagic)]) != slotMagic {
		return k, fmt.Errorf("%w: no receipt in this slot", ErrDamaged)
	}
	n := int(binary.BigEndian.Uint16(b[len(slotMagic):]))
	end := slotHead + n
	if end+4 > slotSize || crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return k, fmt.Errorf("%w: a receipt's slot", ErrDamaged)
	}
	k.arrived = time.UnixMilli(int64(binary.BigEndian.Uint64(b[6:])))
	k.trusted = b[14] == 1
	k.Receipt, err = wire.UnmarshalReceipt(b[slotHead:end])
	return k, err
}

// ReadReceipts reads the receipts in an outbox's folder, for checking it from outside.
func ReadReceipts(dir string) ([]wire.Receipt, error) {
	names, err := filepath.Glob(filepath.Join(dir, "receipts", "*"+receiptExt))
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	var out []wire.Receipt
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("outbox: %w", err)
		}
		for ; len(b) >= slotSize; b = b[slotSize:] {
			if k, err := decodeSlot(b[:slotSize]); err == nil {
				out = append(out, k.Receipt)
			}
		}
	}
	return out, nil
}
