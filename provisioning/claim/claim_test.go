package claim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"telecart/device/kit"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sample() Claim {
	c := Claim{HubAddress: "203.0.113.7:443", HubName: "hub.example", Tenant: "st-mary", Cart: "cart-7",
		Expires: time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC)}
	for i := range 32 {
		c.RootHash[i], c.KeysRoot[i] = byte(i), byte(255-i)
	}
	copy(c.Secret[:], "0123456789abcdef")
	return c
}

// golden pins the format (computed apart from this code): codes that are on their way to a cart must stay readable.
const golden = "TC1-1WS30CSE60Q32C9K5RVKMD1M6C5PGXB25SJQGRBDE1P6A1VKEGPPTRBJF4366RBJEGPKE001081G81860W40J2GB1G6GW3RG2491650N2RBHG68T3CE1T7GZZZZFVZ7VZBWZHXZPYQTF7WQHY3QYXVFCXFNEKT77WVJY9RZ2W7G30C9J6CT3ADHQ70WP2RK3CHJPCTDDCK085ZVJP0"

func TestCode(t *testing.T) {
	c := sample()
	code := c.Code()
	if code != golden {
		t.Errorf("code\n%s\nwant\n%s", code, golden)
	}
	for name, text := range map[string]string{
		"as is":          code,
		"lower case":     strings.ToLower(code),
		"mail's breaks":  "  " + code[:40] + "\r\n" + code[40:80] + "\n\t" + code[80:] + "\n",
		"grouped":        code[:20] + "-" + code[20:30] + " " + code[30:],
		"letters for 01": code[:4] + strings.NewReplacer("0", "O", "1", "l").Replace(code[4:]),
	} {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(c, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	code := sample().Code()
	swapped := []byte(code)
	swapped[50], swapped[51] = swapped[51], swapped[50]
	with := func(change func(*Claim)) string {
		c := sample()
		change(&c)
		return c.Code()
	}
	for name, tc := range map[string]struct{ code, says string }{
		"empty":        {" \n", "empty"},
		"a link":       {"https://hub.example", "':', character 6"},
		"other text":   {"HELLO", "does not begin with TC1-"},
		"newer":        {"TC2" + code[3:], "version is not TC1"},
		"letter U":     {code[:9] + "U" + code[10:], "'U', character 10"},
		"cut short":    {code[:len(code)-9], "copy the whole code"},
		"prefix alone": {"TC1-", "end is missing"},
		"swapped":      {string(swapped), "checksum"},
		"doubled":      {code + code[4:], "copy the whole code"},
		"far too long": {strings.Repeat("A", maxCode+1), "4097 characters"},
		"no port":      {with(func(c *Claim) { c.HubAddress = "hub.example" }), "host:port"},
		"port 0":       {with(func(c *Claim) { c.HubAddress = "hub.example:0" }), "port"},
		"bad host":     {with(func(c *Claim) { c.HubAddress = "hub_x:443" }), "neither"},
		"upper name":   {with(func(c *Claim) { c.HubName = "Hub.example" }), "hub name"},
		"colon":        {with(func(c *Claim) { c.Cart = "a:b" }), `cart "a:b"`},
		"no tenant":    {with(func(c *Claim) { c.Tenant = "" }), "tenant"},
		"dots":         {with(func(c *Claim) { c.Cart = ".." }), "cart"},
		"zero secret":  {with(func(c *Claim) { c.Secret = Secret{} }), "zero"},
		"zero root":    {with(func(c *Claim) { c.RootHash = [32]byte{} }), "zero"},
		"no expiry":    {with(func(c *Claim) { c.Expires = time.Unix(0, 0) }), "expiry"},
	} {
		_, err := Parse(tc.code)
		if !errors.Is(err, ErrCode) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
}

// One wrong character anywhere must never go unnoticed.
func TestEveryTypoIsSeen(t *testing.T) {
	code := sample().Code()
	for i := range code {
		for _, r := range "0Z" {
			b := []byte(code)
			if b[i] == byte(r) || b[i] == '-' {
				continue
			}
			b[i] = byte(r)
			if _, err := Parse(string(b)); err == nil {
				t.Fatalf("place %d as %c was accepted", i, r)
			}
		}
	}
}

func TestSecretStaysSecret(t *testing.T) {
	c := sample()
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "claim", c, "secret", c.Secret)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "claim", c, "secret", c.Secret)
	fmt.Fprintf(&out, "%v %+v %#v %s", c, c, c, c.Secret)
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{"0123456789abcdef", "30313233", "48 49 50", "0x30, 0x31"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("leaks %q: %s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Error("nothing was printed")
	}
}

func TestQR(t *testing.T) {
	lines := strings.Split(strings.TrimRight(sample().QR(), "\n"), "\n")
	width := utf8.RuneCountInString(lines[0])
	if (width+1)/2 != len(lines) || width < 21+8 || width > 80 {
		t.Fatalf("%d lines of %d: want a square that fits 80 columns", len(lines), width)
	}
	for i, l := range lines {
		if utf8.RuneCountInString(l) != width || strings.Trim(l, "█▀▄ ") != "" {
			t.Fatalf("line %d: %q", i, l)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(golden)
	f.Add(strings.ToLower(golden))
	f.Add("TC1-")
	f.Add("TC2-00")
	f.Fuzz(func(t *testing.T, code string) {
		c, err := Parse(code)
		if err != nil {
			if !errors.Is(err, ErrCode) {
				t.Fatalf("%v is no ErrCode", err)
			}
			return
		}
		again, err := Parse(c.Code())
		if err != nil || again != c {
			t.Fatalf("%+v came back as %+v, %v", c, again, err)
		}
	})
}

func TestCodeProperty(t *testing.T) {
	name := rapid.StringMatching(`[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?`)
	rapid.Check(t, func(t *rapid.T) {
		c := sample()
		c.Tenant, c.Cart = name.Draw(t, "tenant"), name.Draw(t, "cart")
		copy(c.Secret[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "secret"))
		c.Secret[0] |= 1
		c.Expires = time.Unix(rapid.Int64Range(1, 1<<32-1).Draw(t, "expires"), 0).UTC()
		got, err := Parse(c.Code())
		if err != nil || got != c {
			t.Fatalf("%v, %v", got, err)
		}
	})
}

func TestRegistry(t *testing.T) {
	ctx := context.Background()
	clock := kit.NewManual(start)
	r := NewRegistry(NewMemory(), clock)
	keyA, keyB := [32]byte{1}, [32]byte{2}

	c, err := r.Issue(ctx, sample(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if c.Secret == sample().Secret || !c.Expires.Equal(start.Add(time.Hour)) {
		t.Fatalf("secret %x, expires %v", c.Secret[:], c.Expires)
	}
	redeem := func(cart string, s Secret, key [32]byte, want error) {
		t.Helper()
		rec, err := r.Redeem(ctx, cart, s, key)
		if !errors.Is(err, want) {
			t.Fatalf("redeem: %v, want %v", err, want)
		}
		if err == nil && (rec.Tenant != "st-mary" || rec.Cart != cart || rec.Key != key) {
			t.Fatalf("record %+v", rec)
		}
	}
	redeem("cart-7", Secret{1}, keyA, ErrUnknown)
	redeem("cart-8", c.Secret, keyA, ErrUnknown) // and it wasn't used up by that
	redeem("cart-7", c.Secret, keyA, nil)
	redeem("cart-7", c.Secret, keyA, nil) // the reply was lost
	redeem("cart-7", c.Secret, keyB, ErrUsed)
	clock.Advance(time.Hour - 1)
	redeem("cart-7", c.Secret, keyA, nil)
	clock.Advance(1)
	redeem("cart-7", c.Secret, keyA, ErrExpired)

	old, err := r.Issue(ctx, sample(), Life)
	if err != nil {
		t.Fatal(err)
	}
	other := sample()
	other.Cart = "cart-8"
	kept, err := r.Issue(ctx, other, Life)
	if err != nil {
		t.Fatal(err)
	}
	newer, err := r.Issue(ctx, sample(), Life)
	if err != nil {
		t.Fatal(err)
	}
	redeem("cart-7", old.Secret, keyA, ErrUnknown) // replaced
	redeem("cart-7", newer.Secret, keyB, nil)
	redeem("cart-8", kept.Secret, keyA, nil)
}

func TestIssueRefuses(t *testing.T) {
	r := NewRegistry(NewMemory(), kit.NewManual(start))
	for _, life := range []time.Duration{-1, 0, MaxLife + 1} {
		if _, err := r.Issue(context.Background(), sample(), life); err == nil {
			t.Errorf("a life of %v was accepted", life)
		}
	}
	bad := sample()
	bad.Cart = "Cart 7"
	if _, err := r.Issue(context.Background(), bad, Life); err == nil || !strings.Contains(err.Error(), "Cart 7") {
		t.Errorf("got %v", err)
	}
}

// Of many keys at the same moment exactly one wins.
func TestRedeemRace(t *testing.T) {
	r := NewRegistry(NewMemory(), kit.NewManual(start))
	c, err := r.Issue(context.Background(), sample(), Life)
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = r.Redeem(context.Background(), "cart-7", c.Secret, [32]byte{byte(i + 1)}) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrUsed):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Fatalf("%d keys won", won)
	}
}

// FuzzFields gets behind the checksum, which a fuzzer doesn't guess.
func FuzzFields(f *testing.F) {
	raw, err := crockford.DecodeString(golden[4:])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw[:len(raw)-sumBytes])
	f.Add([]byte{255})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(prefix + crockford.EncodeToString(append(b[:len(b):len(b)], checksum(b)...)))
		if err == nil && c.Validate() != nil {
			t.Fatalf("%+v is not valid", c)
		}
	})
}
