package bus

import "testing"

// A mux setting that is taken is a channel that exists, in the one spelling that it has: two spellings would hide a conflict.
func FuzzChannel(f *testing.F) {
	for _, s := range []string{"", "0x70.0", "0x71.3", "0x77.7", "0x78.0", "0x71.8", "0X71.3", "0x7/.3", "0x71./", "0x7\xff.3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseChannel(s)
		switch {
		case err != nil && c != (channel{}):
			t.Fatalf("%q is refused and gives %v", s, c)
		case err != nil || s == "":
		case c.mux < 0x70 || c.mux > 0x77 || c.number < 0 || c.number > 7 || c.String() != s:
			t.Fatalf("%q gives %v", s, c)
		}
	})
}
