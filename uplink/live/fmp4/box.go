package fmp4

import "encoding/binary"

// box is an ISO/IEC 14496-12 box (section 4.2) of what parts hold.
func box(kind string, parts ...[]byte) []byte {
	n := 8
	for _, p := range parts {
		n += len(p)
	}
	b := append(binary.BigEndian.AppendUint32(make([]byte, 0, n), uint32(n)), kind...)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// full is one with version and flags.
func full(kind string, version byte, flags uint32, parts ...[]byte) []byte {
	return box(kind, append([][]byte{u32(uint32(version)<<24 | flags)}, parts...)...)
}

func u16(v ...uint16) (b []byte) {
	for _, x := range v {
		b = binary.BigEndian.AppendUint16(b, x)
	}
	return b
}

func u32(v ...uint32) (b []byte) {
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// matrix leaves the picture as it is (8.2.2.2).
func matrix() []byte { return u32(1<<16, 0, 0, 0, 1<<16, 0, 0, 0, 1<<30) }

const track = 1

// initialization is what a stream begins with: one video track, whose pictures come in fragments.
func initialization(sps, pps []byte, s Size) []byte {
	// 14496-15, 5.3.3.1: the first three bytes of the SPS after its head; lengths of four bytes; one set of each.
	avcC := box("avcC", []byte{1, sps[1], sps[2], sps[3], 0xff, 0xe1}, u16(uint16(len(sps))), sps, []byte{1}, u16(uint16(len(pps))), pps)
	// 14496-12, 12.1.3: reserved, data reference 1, 16 bytes reserved, size, 72 dpi, one frame a sample, no name, depth 24.
	avc1 := box("avc1", make([]byte, 6), u16(1), make([]byte, 16), u16(uint16(s.Width), uint16(s.Height)), u32(72<<16, 72<<16, 0), u16(1),
		make([]byte, 32), u16(24, 0xffff), avcC)
	empty := u32(0)
	stbl := box("stbl", full("stsd", 0, 0, u32(1), avc1), full("stts", 0, 0, empty), full("stsc", 0, 0, empty), full("stsz", 0, 0, u32(0, 0)), full("stco", 0, 0, empty))
	dinf := box("dinf", full("dref", 0, 0, u32(1), full("url ", 0, 1)))
	minf := box("minf", full("vmhd", 0, 1, make([]byte, 8)), dinf, stbl)
	const und = ('u'-0x60)<<10 | ('n'-0x60)<<5 | ('d' - 0x60) // ISO 639-2, five bits a letter
	mdia := box("mdia", full("mdhd", 0, 0, u32(0, 0, Clock, 0), u16(und, 0)), full("hdlr", 0, 0, u32(0), []byte("vide"), make([]byte, 12), []byte("\x00")), minf)
	tkhd := full("tkhd", 0, 3, u32(0, 0, track, 0, 0, 0, 0), u16(0, 0, 0, 0), matrix(), u32(uint32(s.Width)<<16, uint32(s.Height)<<16))
	mvhd := full("mvhd", 0, 0, u32(0, 0, Clock, 0, 1<<16), u16(1<<8, 0), u32(0, 0), matrix(), make([]byte, 24), u32(track+1))
	mvex := box("mvex", full("trex", 0, 0, u32(track, 1, 0, 0, 0)))
	ftyp := box("ftyp", []byte("iso5"), u32(512), []byte("iso5iso6avc1mp41"))
	return append(ftyp, box("moov", mvhd, box("trak", tkhd, mdia), mvex)...)
}

// fragment is one picture.
func fragment(sequence uint32, at uint64, lasts uint32, key bool, data []byte) []byte {
	flags := uint32(0x0101_0000) // 8.8.3.1: depends on others, is no sync sample
	if key {
		flags = 0x0200_0000
	}
	moof := func(offset uint32) []byte {
		// Offsets count from the fragment's first byte (default-base-is-moof); duration, size and flags are given of the sample.
		trun := full("trun", 0, 0x701, u32(1, offset, lasts, uint32(len(data)), flags))
		return box("moof", full("mfhd", 0, 0, u32(sequence)), box("traf", full("tfhd", 0, 0x2_0000, u32(track)), full("tfdt", 1, 0, u64(at)), trun))
	}
	head := moof(0)
	return append(moof(uint32(len(head)+8)), box("mdat", data)...)
}
