package emulator

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestPayload(t *testing.T) {
	const (
		ip   = "4500 002b 0000 4000 4006 0000 0a4d 0001 0a4d 0002" // 43 bytes, TCP
		tcp  = "c350 20fb 00000001 00000002 5018 ffff 0000 0000"   // from port 50000
		long = "c350 20fb 00000001 00000002 8018 ffff 0000 0000 0101080a 00000000 00000000"
	)
	for name, c := range map[string]struct {
		packet string
		port   uint16
		n      int
	}{
		"three bytes":     {ip + tcp + "616263", 50000, 3},
		"timestamps":      {ip + long + "616263", 50000, 3},
		"nothing":         {ip + tcp, 50000, 0},
		"IP options":      {"46" + ip[2:] + "94040000" + tcp + "61", 50000, 1},
		"UDP":             {strings.Replace(ip, "4006", "4011", 1) + tcp, 0, 0},
		"cut off":         {ip + tcp[:18], 0, 0},
		"header too long": {ip + strings.Replace(tcp, "5018", "f018", 1), 50000, 0},
	} {
		p, err := hex.DecodeString(strings.ReplaceAll(c.packet, " ", ""))
		if err != nil {
			t.Fatal(name, err)
		}
		if port, n := payload(p); port != c.port || n != c.n {
			t.Errorf("%s: port %d, %d bytes", name, port, n)
		}
	}
}
