package store

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"telecart/device/kit"
)

// noSync is a disk on which the next sync of a file fails.
type noSync struct{ fail bool }

func (n *noSync) Do(op kit.Op, do func() error) error {
	if op.Kind == kit.OpSync && n.fail {
		n.fail = false
		return syscall.EIO
	}
	return do()
}

// A sync that failed is not tried again on the same file: the kernel may have forgotten what it could not write, and the
// next sync would say yes.
func TestSettleAfterFailedSync(t *testing.T) {
	d := &noSync{}
	s, err := Open(context.Background(), t.TempDir(), Options{Disk: kit.Disk{Watch: d}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m, h, bs := sealed(t, 2)
	p, _, err := s.Partial(m, h)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range bs {
		if err := p.PutChunk(i, b); err != nil {
			t.Fatal(err)
		}
	}
	d.fail = true
	if err := s.Settle(p); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	p.Close()
	p, held, err := s.Partial(m, h)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i, here := range held {
		if here {
			t.Errorf("chunk %d is believed to be here", i)
		}
	}
}
