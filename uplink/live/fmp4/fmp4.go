// Package fmp4 packs a live H.264 stream into fragmented MP4 (ISO/IEC 14496-12, 14496-15) for Media Source Extensions: the
// nurse's page shows what a specialist's camera sends without any WebRTC of its own.
//
// Parties: whoever received the stream (live.Watch), and a page that appends what comes out, in order, to one SourceBuffer.
// Keys: none; the bytes are clear and stay on the cart's loopback.
//
// Invariants: nothing comes out before a key frame with its parameter sets. A fragment is one picture; it comes out when the
// next one has come, for only then is its duration known: with a guess, a late picture would look like a gap, and after a gap
// a browser drops all up to the next key frame (Media Source Extensions, coded frame processing). New parameter sets begin with
// an initialization segment of their own. No picture is kept but the last. Streams with reordered pictures (B slices) are not
// for live use, and not served.
package fmp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Clock is RTP's for video, and the timescale of the track, in ticks a second.
const Clock = 90_000

// maxGap is the longest that a picture may last, in ticks: 10 s. A longer silence is one of the network's, and the picture
// did not last that long.
const maxGap = 10 * Clock

// Segment is what is to be appended next.
type Segment struct {
	Codec string // of an initialization segment, for the SourceBuffer's type (RFC 6381): "avc1.42e01f"; "" of a fragment
	Data  []byte
}

// ErrStream: it can't be packed. The stream may go on at its next key frame.
var ErrStream = errors.New("fmp4: not a stream that can be shown")

// Muxer packs one stream. Its zero value waits for a key frame.
type Muxer struct {
	sps, pps []byte
	begun    bool
	time     uint64 // of the picture that waits, in ticks since the first
	stamp    uint32 // its RTP time
	waiting  []byte // its NAL units, each behind its length
	key      bool
	sequence uint32
}

// Add takes an access unit (Annex B) with its RTP timestamp and gives what is complete with it.
func (m *Muxer) Add(au []byte, stamp uint32) (out []Segment, err error) {
	u := split(au)
	if !m.begun && (!u.key || u.sps == nil || u.pps == nil) {
		return nil, nil
	}
	fresh := u.key && u.sps != nil && u.pps != nil && !(bytes.Equal(u.sps, m.sps) && bytes.Equal(u.pps, m.pps))
	var size Size
	if fresh {
		if size, err = ParseSPS(u.sps); err != nil {
			*m = Muxer{}
			return nil, fmt.Errorf("%w: %w", ErrStream, err)
		}
	}
	if len(u.data) == 0 {
		return nil, nil // parameter sets alone
	}
	if m.begun {
		lasted := stamp - m.stamp
		if lasted == 0 || lasted > maxGap { // repeated, gone back, or a silence
			lasted = Clock / 30
		}
		m.sequence++
		out = append(out, Segment{Data: fragment(m.sequence, m.time, lasted, m.key, m.waiting)})
		m.time += uint64(lasted)
	}
	if fresh {
		m.sps, m.pps = bytes.Clone(u.sps), bytes.Clone(u.pps)
		out = append(out, Segment{Codec: fmt.Sprintf("avc1.%02x%02x%02x", m.sps[1], m.sps[2], m.sps[3]), Data: initialization(m.sps, m.pps, size)})
	}
	m.begun, m.stamp, m.key, m.waiting = true, stamp, u.key, u.data
	return out, nil
}

// unit is an access unit, taken apart.
type unit struct {
	sps, pps []byte
	key      bool
	data     []byte // slices and SEI as MP4 has them: a length of four bytes before each
}

// NAL unit types (H.264 table 7-1).
const (
	nalSlice = 1
	nalIDR   = 5
	nalSEI   = 6
	nalSPS   = 7
	nalPPS   = 8
)

// split sorts the NAL units of an Annex B access unit. What an MP4 sample doesn't hold (delimiters, fillers) is left out.
func split(au []byte) (u unit) {
	start := []byte{0, 0, 1}
	for i := bytes.Index(au, start); i >= 0; {
		au = au[i+len(start):]
		i = bytes.Index(au, start)
		nal := au
		if i >= 0 {
			nal = au[:i]
		}
		if nal = bytes.TrimRight(nal, "\x00"); len(nal) == 0 {
			continue
		}
		switch nal[0] & 0x1f {
		case nalSPS:
			u.sps = nal
		case nalPPS:
			u.pps = nal
		case nalIDR:
			u.key = true
			fallthrough
		case nalSlice, nalSEI:
			u.data = append(binary.BigEndian.AppendUint32(u.data, uint32(len(nal))), nal...)
		}
	}
	return u
}
