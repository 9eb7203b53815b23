package evdev

import (
	"os"
	"strconv"
	"strings"
)

// SysHas says whether an input node has all of these keys, going by its folder in sysfs alone: nothing is opened.
func SysHas(sys string, keys ...uint16) bool {
	b, err := os.ReadFile(sys + "/device/capabilities/key")
	if err != nil {
		return false
	}
	bits := parseBits(string(b))
	for _, k := range keys {
		if int(k/64) >= len(bits) || bits[k/64]&(1<<(k%64)) == 0 {
			return false
		}
	}
	return len(bits) > 0
}

// parseBits reads a bitmap as sysfs shows it: hexadecimal words, the most significant first, of 64 bits on a 64-bit kernel
// (drivers/input/input.c, input_bits_to_string). It returns them the least significant first; nil if it can't be read.
func parseBits(s string) []uint64 {
	words := strings.Fields(s)
	if len(words) > keyBytes/8+1 {
		return nil
	}
	bits := make([]uint64, len(words))
	for i, w := range words {
		v, err := strconv.ParseUint(w, 16, 64)
		if err != nil {
			return nil
		}
		bits[len(words)-1-i] = v
	}
	return bits
}
