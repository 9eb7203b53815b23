package mcp9808

import (
	"testing"

	"telecart/device/conformance"
)

func TestConformance(t *testing.T) { conformance.Chip(t, Driver(), 0x18, Twin) }

func FuzzCelsius(f *testing.F) {
	f.Add(uint16(0xC158)) // 21.5 Cel, and two alarms
	f.Add(uint16(0x1FF8)) // -0.5 Cel
	f.Fuzz(func(t *testing.T, v uint16) {
		want := (float64(v&0x0FFF) - float64(v&0x1000)) / 16
		if got := celsius(v); got.Exp != -1 || got.Float() < want-0.0501 || got.Float() > want+0.0501 {
			t.Errorf("%#04x is %s, want %g", v, got, want)
		}
	})
}
