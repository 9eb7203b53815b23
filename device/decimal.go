package device

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Decimal is Coef x 10^Exp: a value with its precision. 37.0 is {370, -1} and stays "37.0" through JSON, where a
// float64 would lose its zero.
type Decimal struct {
	Coef int64
	Exp  int8 // -9..9
}

func (d Decimal) String() string {
	if d.Exp >= 0 {
		return strconv.FormatInt(d.Coef, 10) + strings.Repeat("0", int(d.Exp))
	}
	neg, c := d.Coef < 0, strconv.FormatUint(abs(d.Coef), 10)
	n := -int(d.Exp)
	if len(c) <= n {
		c = strings.Repeat("0", n-len(c)+1) + c
	}
	s := c[:len(c)-n] + "." + c[len(c)-n:]
	if neg {
		return "-" + s
	}
	return s
}

func abs(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

// Float is for drawing only.
func (d Decimal) Float() float64 {
	f, _ := strconv.ParseFloat(d.String(), 64)
	return f
}

// MarshalJSON writes a JSON number that keeps its trailing zeros.
func (d Decimal) MarshalJSON() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalJSON reads a JSON number with its precision. Exponents are refused: nothing here writes them.
func (d *Decimal) UnmarshalJSON(b []byte) error {
	p, err := ParseDecimal(string(b))
	if err == nil {
		*d = p
	}
	return err
}

// ParseDecimal reads "-12.50" as {-1250, -2}.
func ParseDecimal(s string) (Decimal, error) {
	digits, frac, dot := strings.Cut(s, ".")
	if dot && (frac == "" || len(frac) > 9) || strings.ContainsAny(digits+frac, "eE+_") || strings.Contains(frac, "-") {
		return Decimal{}, fmt.Errorf("device: %q is not a decimal number like 36.6", s)
	}
	c, err := strconv.ParseInt(digits+frac, 10, 64)
	if err != nil {
		return Decimal{}, fmt.Errorf("device: %q is not a decimal number like 36.6", s)
	}
	return Decimal{c, -int8(len(frac))}, nil
}

// Duration is a time.Duration that is milliseconds in JSON.
type Duration time.Duration

func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).Milliseconds())
}

func (d *Duration) UnmarshalJSON(b []byte) error {
	var ms int64
	if err := json.Unmarshal(b, &ms); err != nil {
		return err
	}
	*d = Duration(time.Duration(ms) * time.Millisecond)
	return nil
}
