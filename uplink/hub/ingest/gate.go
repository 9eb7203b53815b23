package ingest

import (
	"context"
	"sync"
)

// gate lets in a few requests of each cart, and one at a time for each item.
type gate struct {
	most int

	mu    sync.Mutex
	carts map[[2]string]int
	turns map[turnKey]*turn
}

// turnKey is an item's hash, or a cart's name, within a tenant.
type turnKey struct{ tenant, name string }

// turn is a lock that can be waited for with a context.
type turn struct {
	c     chan struct{}
	users int
	hurry func() // the newest of those who came by follow
}

func newGate(most int) *gate {
	return &gate{most: most, carts: map[[2]string]int{}, turns: map[turnKey]*turn{}}
}

func (g *gate) enter(p Peer) (leave func(), ok bool) {
	key := [2]string{p.Tenant, p.Cart}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.carts[key] >= g.most {
		return nil, false
	}
	g.carts[key]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.carts[key]--; g.carts[key] == 0 {
			delete(g.carts, key)
		}
	}, true
}

// follow is lock; who came before is told to hurry, be it at its turn or still waiting, and so is this one by the next.
func (g *gate) follow(ctx context.Context, tenant, name string, hurry func()) (unlock func(), err error) {
	return g.enqueue(ctx, turnKey{tenant, name}, hurry)
}

func (g *gate) lock(ctx context.Context, tenant, name string) (unlock func(), err error) {
	return g.enqueue(ctx, turnKey{tenant, name}, nil)
}

func (g *gate) enqueue(ctx context.Context, key turnKey, hurry func()) (unlock func(), err error) {
	g.mu.Lock()
	t := g.turns[key]
	if t == nil {
		t = &turn{c: make(chan struct{}, 1)}
		g.turns[key] = t
	}
	t.users++
	before := t.hurry
	if hurry != nil {
		t.hurry = hurry
	}
	g.mu.Unlock()
	if hurry != nil && before != nil {
		before()
	}
	select {
	case t.c <- struct{}{}:
		return func() { <-t.c; g.forget(key, t) }, nil
	case <-ctx.Done():
		g.forget(key, t)
		return nil, ctx.Err()
	}
}

// tryLock takes a turn if nobody has it or waits for it.
func (g *gate) tryLock(tenant, name string) (unlock func(), ok bool) {
	key := turnKey{tenant, name}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.turns[key] != nil {
		return nil, false
	}
	t := &turn{c: make(chan struct{}, 1), users: 1}
	t.c <- struct{}{}
	g.turns[key] = t
	return func() { <-t.c; g.forget(key, t) }, true
}

func (g *gate) forget(key turnKey, t *turn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(g.turns, key)
	}
}
