package clinic

import (
	"errors"
	"strings"
	"testing"
	"time"

	"telecart/device/kit"
)

func TestTokens(t *testing.T) {
	clock := kit.NewManual(start)
	tokens := NewTokens(clock)
	a := tokens.Issue("c1", "s", Watch, "ada", time.Minute)
	b := tokens.Issue("c1", "s", Watch, "ben", time.Minute)
	open := func(token string) bool { return tokens.Authorize(t.Context(), token, "s", Watch) == nil }
	if !open(a) || !open(b) || open("") || open(a+"x") {
		t.Fatal("a token opens what it should not, or not what it should")
	}
	if got := tokens.Void("c1", Watch, "ada"); len(got) != 1 || got[0] != a || open(a) || !open(b) {
		t.Fatalf("%v", got)
	}
	if got := tokens.Void("c2", Watch, ""); len(got) != 0 {
		t.Fatal("another consult's tokens ended")
	}
	clock.Advance(time.Minute)
	if err := tokens.Authorize(t.Context(), b, "s", Watch); !errors.Is(err, ErrToken) {
		t.Fatal("it outlived its minutes")
	}
	for range maxTokens + 10 {
		tokens.Issue("c1", "s", Watch, "ada", time.Minute)
	}
	if n := len(tokens.held); n > maxTokens {
		t.Fatalf("%d tokens held", n)
	}
}

func TestStreamName(t *testing.T) {
	for in, want := range map[[3]string]string{
		{"north", "cart-1", "scope"}:        "north~cart-1~scope",
		{"north", "cart-1", "Scope_2 / äö"}: "north~cart-1~Scope_5f2_20_2f_20_c3_a4_c3_b6",
		{"a", "b", "~"}:                     "a~b~_7e",
	} {
		if got := StreamName(in[0], in[1], in[2]); got != want {
			t.Errorf("%v: %s", in, got)
		}
	}
	long := strings.Repeat("x", 64)
	one, two := StreamName(long, long, "scope"), StreamName(long, long, "scope2")
	if one == two || len(one) > maxStreamName {
		t.Errorf("%s %s", one, two)
	}
}
