package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"telecart/capture/ledger"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// The oracle is a folder outside of the tested disk: keys.json, and promises.jsonl with a line for each item that was
// called saved. When it was called so is in the write log, as marks:
//
//	put-N   item N is being put            ack-N   Put returned nil
//	rcpt-N  Receipt returned nil           retire  what has a receipt may be erased from here on
const (
	markPut     = "put"
	markAck     = "ack"
	markReceipt = "rcpt"
	markRetire  = "retire"
	markStart   = "start"             // the first mount is over: states before it tell nothing
	markEnd     = "dm-log-writes-end" // the kernel's own, when the device goes
)

// book is whose items these are.
func book() ledger.Book { return ledger.Book{Tenant: "lab", Cart: "cart-1"} }

// promise is one item that was called saved.
type promise struct {
	N     int          `json:"n"`
	Entry ledger.Entry `json:"entry"`
}

// oracle is what was promised in the whole recording.
type oracle struct {
	promises map[int]promise
	items    map[ledger.Hash]int // by the item's hash
	numbers  map[place]int
}

// place is a number in the ledger.
type place struct {
	incarnation ledger.ID
	number      uint64
}

func newOracle(ps []promise) oracle {
	o := oracle{map[int]promise{}, map[ledger.Hash]int{}, map[place]int{}}
	for _, p := range ps {
		o.promises[p.N], o.items[p.Entry.Body], o.numbers[place{p.Entry.Incarnation, p.Entry.Number}] = p, p.N, p.N
	}
	return o
}

const promisesFile = "promises.jsonl"

func readOracle(dir string) (oracle, error) {
	f, err := os.Open(filepath.Join(dir, promisesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return newOracle(nil), nil
	} else if err != nil {
		return oracle{}, err
	}
	defer f.Close()
	var ps []promise
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var p promise
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return oracle{}, fmt.Errorf("cutlab: %s: %w", promisesFile, err)
		}
		ps = append(ps, p)
	}
	return newOracle(ps), nil
}

// instant is how far the promises went at one point of the recording.
type instant struct {
	begun, saved, receipted, erasable map[int]bool
	troubled                          bool // the disk failed: Puts may have failed, and the ledger may go on in another incarnation
}

func newInstant() instant {
	return instant{begun: map[int]bool{}, saved: map[int]bool{}, receipted: map[int]bool{}, erasable: map[int]bool{}}
}

// instantAfter is the instant after these marks.
func instantAfter(marks []string) (instant, error) {
	at := newInstant()
	for _, m := range marks {
		if err := at.take(m); err != nil {
			return at, err
		}
	}
	return at, nil
}

func (at instant) take(mark string) error {
	if mark == markStart || mark == markEnd {
		return nil
	}
	what, number, _ := strings.Cut(mark, "-")
	if what == markRetire {
		for n := range at.receipted {
			at.erasable[n] = true
		}
		return nil
	}
	n, err := strconv.Atoi(number)
	set := map[string]map[int]bool{markPut: at.begun, markAck: at.saved, markReceipt: at.receipted}[what]
	if err != nil || set == nil {
		return fmt.Errorf("cutlab: a mark %q in the write log", mark)
	}
	set[n] = true
	return nil
}

// body is what item n holds: its number, and bytes that nobody writes by accident.
func body(n int) []byte {
	seed := [32]byte{}
	binary.BigEndian.PutUint64(seed[:], uint64(n))
	random := mathrand.NewChaCha8(seed)
	b := binary.BigEndian.AppendUint64(nil, uint64(n))
	b = append(b, make([]byte, size(n, random))...)
	random.Read(b[8:])
	return b
}

// size gives item n the size of what carts save: mostly notes and readings, now and then a still of several chunks, and a
// clip's worth that takes more than one transaction.
func size(n int, random *mathrand.ChaCha8) int {
	u := int(random.Uint64() >> 33)
	switch {
	case n%29 == 17:
		return 1100<<10 + u%(100<<10)
	case n%9 == 5:
		return 70<<10 + u%(130<<10)
	case n%3 == 0:
		return 40 + u%400
	}
	return 300 + u%3000
}

// urgency makes every fifth item urgent.
func urgency(n int) wire.Urgency {
	if n%5 == 0 {
		return wire.Urgent
	}
	return wire.Routine
}

// keys are those of the lab's cart and hub.
type keys struct {
	Device []byte         `json:"device"` // EC private key, DER
	Record seal.RecordKey `json:"record"`
	Public wire.RecordKey `json:"public"`

	device  *ecdsa.PrivateKey
	records *seal.Records
}

const keysFile = "keys.json"

// readKeys reads the oracle's keys; the first time it draws them.
func readKeys(dir string) (k keys, err error) {
	path := filepath.Join(dir, keysFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if k, err = drawKeys(); err != nil {
			return k, err
		}
		if b, err = json.Marshal(k); err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
	}
	if err != nil {
		return k, err
	}
	if err = json.Unmarshal(b, &k); err != nil {
		return k, err
	}
	if k.device, err = x509.ParseECPrivateKey(k.Device); err != nil {
		return k, err
	}
	k.records, err = seal.NewRecords([]seal.RecordKey{k.Record})
	return k, err
}

func drawKeys() (k keys, err error) {
	device, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return k, err
	}
	if k.Device, err = x509.MarshalECPrivateKey(device); err != nil {
		return k, err
	}
	k.Record, k.Public, err = seal.NewRecordKey(1, false, 0x20) // RFC 9180 section 7.1: X25519
	return k, err
}
