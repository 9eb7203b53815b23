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
	disk kit.Disk
	dir  string
	f    *kit.File
	file uint32
	next int             // slot
	room func() bool     // makes some on a full disk, or can't
	dark map[uint32]bool // files that could not be read: they stay
}

// openReceipts reads all receipts that are kept. A damaged slot costs that receipt alone: its item is offered again.
// A file that can't be read costs what is in it, and nothing more is written to it.
func openReceipts(disk kit.Disk, dir string, room func() bool, found func(k kept, file uint32, slot int)) (l *receiptLog, bad []error, err error) {
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("outbox: %w", err)
	}
	if err := disk.SyncDir(dir); err != nil { // names that a killed agent left are built upon from here
		return nil, nil, fmt.Errorf("outbox: %w", err)
	}
	files, err := receiptFiles(dir)
	if err != nil {
		return nil, nil, err
	}
	l = &receiptLog{disk: disk, dir: dir, room: room, next: fileSlots, dark: map[uint32]bool{}}
	for _, n := range files {
		l.file, l.next = n, fileSlots
		used, err := readSlots(l.path(n), func(slot int, k kept) { found(k, n, slot) })
		if err != nil {
			bad = append(bad, err)
			l.dark[n] = true
			continue
		}
		l.next = used
	}
	if len(files) > 0 && l.next < fileSlots {
		if l.f, err = disk.Open(l.path(l.file), os.O_RDWR, 0); err == nil {
			if err = l.f.Sync(); err == nil { // what was just read may not have reached the disk when the agent was killed
				return l, bad, nil
			}
		}
		bad = append(bad, err)
	}
	if err := l.grow(); err != nil { // the first receipt tries again: capture does not wait for it
		bad = append(bad, err)
	}
	return l, bad, nil
}

// receiptFiles gives the numbers of the receipt files, oldest first.
func receiptFiles(dir string) (out []uint32, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+receiptExt))
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	for _, name := range names {
		var n uint32
		if _, err := fmt.Sscanf(filepath.Base(name), "%08d", &n); err == nil && filepath.Base(name) == fmt.Sprintf("%08d%s", n, receiptExt) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// readSlots reads one file's receipts, and says how many slots were ever written.
func readSlots(path string, found func(slot int, k kept)) (used int, err error) {
	f, err := kit.OpenRegular(path)
	if err != nil {
		return 0, fmt.Errorf("outbox: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("outbox: %w", err)
	}
	w := window{f: f}
	for i := 0; i < fileSlots && int64(i+1)*slotSize <= st.Size(); i++ {
		slot := w.at(int64(i)*slotSize, slotSize)
		if slot != nil && zero(slot) {
			continue
		}
		used = i + 1 // what can't be read may have been written
		if k, err := decodeSlot(slot); err == nil {
			found(i, k)
		}
	}
	if !st.Mode().IsRegular() || st.Size() < fileSlots*slotSize {
		used = fileSlots // cut short: nothing more is written to it
	}
	return used, nil
}

func (l *receiptLog) path(n uint32) string {
	return filepath.Join(l.dir, fmt.Sprintf("%08d%s", n, receiptExt))
}

func (l *receiptLog) grow() error {
	l.close()
	l.next = fileSlots
	l.file++
	path := l.path(l.file)
	blank := make([]byte, fileSlots*slotSize)
	err := l.disk.WriteFile(path, blank, 0o600)
	if errors.Is(err, unix.ENOSPC) && l.room() {
		err = l.disk.WriteFile(path, blank, 0o600)
	}
	if err != nil {
		return fmt.Errorf("outbox: no room for receipts; items that the hub has are offered again until there is: %w", err)
	}
	if l.f, err = l.disk.Open(path, os.O_RDWR, 0); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	l.next = 0
	return nil
}

// add makes a receipt durable, and says where.
func (l *receiptLog) add(k kept) (file uint32, slot int, err error) {
	if l.f == nil || l.next == fileSlots {
		if err := l.grow(); err != nil {
			return 0, 0, err
		}
	}
	file, slot = l.file, l.next
	l.next++ // a slot is never written twice, not even after a failed sync
	if _, err := l.f.WriteAt(encodeSlot(k), int64(slot)*slotSize); err != nil {
		return 0, 0, errors.Join(fmt.Errorf("outbox: keep receipt: %w", err), l.grow())
	}
	if err := l.f.Sync(); err != nil {
		return 0, 0, errors.Join(fmt.Errorf("outbox: keep receipt: %w", err), l.grow())
	}
	return file, slot, nil
}

// read gives one receipt back.
func (l *receiptLog) read(file uint32, slot uint16) (k kept, err error) {
	f, err := kit.OpenRegular(l.path(file))
	if err != nil {
		return k, fmt.Errorf("outbox: %w", err)
	}
	defer f.Close()
	b := make([]byte, slotSize)
	if _, err := f.ReadAt(b, int64(slot)*slotSize); err != nil {
		return k, fmt.Errorf("outbox: %w", err)
	}
	return decodeSlot(b)
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
func ReadReceipts(dir string) (out []wire.Receipt, err error) {
	dir = filepath.Join(dir, "receipts")
	files, err := receiptFiles(dir)
	if err != nil {
		return nil, err
	}
	l := receiptLog{dir: dir}
	for _, n := range files {
		if _, err := readSlots(l.path(n), func(_ int, k kept) { out = append(out, k.Receipt) }); err != nil {
			return nil, err
		}
	}
	return out, nil
}
