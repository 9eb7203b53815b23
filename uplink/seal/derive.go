package seal

import "crypto/sha256"

// derived is what belongs to one item: its key, and what its header commits to.
type derived struct{ key, commitment [keySize]byte }

// itemKey derives both from the data key and the item's salt: HKDF-SHA256 (RFC 5869) with one block of output each. It is spelled
// out for keys of this one size because crypto/hkdf leaves a dozen pieces of key on the heap for each item, and erasing those
// costs ten times the derivation: here all stays on the stack.
func itemKey(secret, salt *[keySize]byte) derived {
	prk := mac(salt, secret[:])
	return derived{mac(&prk, []byte("telecart item key v1\x01")), mac(&prk, []byte("telecart key commitment v1\x01"))}
}

// macMost is the longest message that mac takes.
const macMost = 32

// mac is HMAC-SHA256 (RFC 2104) of a short message under a key of 32 bytes.
func mac(key *[keySize]byte, message []byte) [sha256.Size]byte {
	var inner [sha256.BlockSize + macMost]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], key[:])
	copy(outer[:], key[:])
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	n := copy(inner[sha256.BlockSize:], message)
	sum := sha256.Sum256(inner[:sha256.BlockSize+n])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}
