package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
)

// request asks the verifying process about the disk that is mounted now.
type request struct {
	Marks int  `json:"marks"` // that many marks of the recording lie before the cut
	Pick  int  `json:"pick"`  // which item to open with the record key
	Exec  bool `json:"exec"`  // check old segments in child processes, as on a cart
}

const marksFile = "marks.json"

// verifyMain answers one request a line. It is a process of its own because a broken disk may crash or hang what reads it.
func verifyMain(mount, oracleDir, segment string) error {
	v := verifier{mount: mount, seen: map[ledger.Hash][]byte{}}
	var err error
	if v.segment, err = strconv.ParseInt(segment, 10, 64); err != nil {
		return err
	}
	if v.oracle, err = readOracle(oracleDir); err != nil {
		return err
	}
	if v.keys, err = readKeys(oracleDir); err != nil {
		return err
	}
	b, err := os.ReadFile(oracleDir + "/" + marksFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &v.marks); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var q request
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			return err
		}
		if err := out.Encode(v.answer(q)); err != nil {
			return err
		}
	}
	return nil
}

type verifier struct {
	mount   string
	segment int64
	oracle  oracle
	keys    keys
	marks   []string
	seen    map[ledger.Hash][]byte // across states
}

func (v *verifier) answer(q request) (w verdict) {
	defer func() {
		if p := recover(); p != nil {
			w.wrong("PANIC: %v", p)
		}
	}()
	at, err := instantAfter(v.marks[:q.Marks])
	if err != nil {
		w.wrong("%v", err)
		return w
	}
	var check outbox.Checker
	if q.Exec {
		if check, err = execChecker(); err != nil {
			w.wrong("%v", err)
			return w
		}
	}
	before, w := v.first(q, at, check)
	if len(w.Wrong) == 0 {
		v.again(before, check, &w)
	}
	return w
}

// first opens the outbox, looks at everything, and puts one item more.
func (v *verifier) first(q request, at instant, check outbox.Checker) (items map[place]bool, w verdict) {
	c, err := openCart(v.mount, v.keys, v.segment, check)
	if err != nil {
		w.lost("LOST: the outbox does not open: %v", err)
		return nil, w
	}
	defer closeCart(c, &w)
	c.seen = v.seen
	h, err := c.look(q.Pick)
	if err != nil {
		w.wrong("LOOK: %v", err)
		return nil, w
	}
	w = judge(v.oracle, at, h)
	p, err := c.put(nextItem)
	if err != nil {
		w.wrong("PUT: after the cut nothing can be saved: %v", err)
	} else if p.Entry.Number != h.head.Number+1 || p.Entry.Prev != h.head.Hash {
		w.wrong("PUT: number %d follows a head of %d", p.Entry.Number, h.head.Number)
	}
	items = map[place]bool{{p.Entry.Incarnation, p.Entry.Number}: true}
	for _, it := range h.items {
		items[place{it.entry.Incarnation, it.entry.Number}] = true
	}
	return items, w
}

// nextItem is the item that is put after a cut.
const nextItem = 1 << 30

// again opens the outbox once more: the same items, and the one that was put.
func (v *verifier) again(want map[place]bool, check outbox.Checker, w *verdict) {
	c, err := openCart(v.mount, v.keys, v.segment, check)
	if err != nil {
		w.lost("LOST: the outbox does not open a second time: %v", err)
		return
	}
	defer closeCart(c, w)
	if err := c.loaded(); err != nil {
		w.wrong("AGAIN: %v", err)
		return
	}
	refs := c.refs()
	for _, r := range refs {
		delete(want, place{r.Entry.Incarnation, r.Entry.Number})
		if n, err := c.openedIf(r, nextItem); err != nil || n != 0 && n != nextItem {
			w.wrong("AGAIN: what was put after the cut opens as %d: %v", n, err)
		}
	}
	for p := range want {
		w.lost("LOST: number %d is not here at the second start", p.number)
	}
}

// openedIf opens an item if it is the newest: the one put last.
func (c *cart) openedIf(r outbox.Ref, n int) (int, error) {
	head, err := c.box.Head()
	if err != nil {
		return 0, err
	}
	if r.Entry.Number != head.Number-1 { // the run's own entry came after it
		return 0, nil
	}
	got, err := c.opened(r)
	if err == nil && got != n {
		err = errors.New("cutlab: another item")
	}
	return got, err
}

func closeCart(c *cart, w *verdict) {
	if err := c.box.Close(); err != nil {
		w.wrong("CLOSE: %v", err)
	}
}

// look reads everything that an outbox holds.
func (c *cart) look(pick int) (h held, err error) {
	if err := c.loaded(); err != nil {
		return h, err
	}
	sent := map[place]bool{}
	refs := c.refs()
	c.box.Store(ledger.ID{}) // a receipt of whichever store counts
	for i, r := range refs {
		_, _, bad := c.whole(r)
		got, _ := c.box.Sent(r.Hash)
		h.items = append(h.items, heldItem{entry: r.Entry, sent: got, bad: bad})
		sent[place{r.Entry.Incarnation, r.Entry.Number}] = got
		if i == pick%len(refs) && bad == nil {
			n, err := c.opened(r)
			h.opened = &openedItem{r.Entry, n, err}
		}
	}
	h.plain = c.box.Entries()
	h.stats = c.box.Stats()
	if h.head, err = c.box.Head(); err != nil {
		return h, err
	}
	if err := h.head.Verify(c.keys.device.Public()); err != nil {
		return h, fmt.Errorf("cutlab: the head: %w", err)
	}
	return h, nil
}
