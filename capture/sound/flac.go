package sound

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mewkiz/flac"
	"github.com/mewkiz/flac/frame"
	"github.com/mewkiz/flac/meta"
)

// Type is the media type of the file (RFC 9639, section 12.1).
const Type = "audio/flac"

const (
	block    = 4096 // values; of 1024, 2048 and 4096 the one that packs heart sounds smallest
	gapTag   = "GAP"
	vendor   = "telecart"
	maxNotes = 64 << 10 // bytes of comments that are read: 1000 gaps take 24 kB
)

// ErrDamaged: this is not a whole file of ours.
var ErrDamaged = errors.New("sound: the file is damaged")

// Encode makes the file. Its STREAMINFO has the MD5 of the values, so that any FLAC program can tell a damaged copy.
func Encode(r Recording) ([]byte, error) {
	if err := r.valid(); err != nil {
		return nil, err
	}
	info := &meta.StreamInfo{BlockSizeMin: block, BlockSizeMax: block, SampleRate: uint32(r.RateHz), NChannels: 1,
		BitsPerSample: 16, NSamples: uint64(len(r.Values)), MD5sum: digest(r.Values)}
	notes := &meta.VorbisComment{Vendor: vendor}
	for _, g := range r.Gaps {
		notes.Tags = append(notes.Tags, [2]string{gapTag, fmt.Sprintf("%d+%d", g.At, g.Values)})
	}
	var out bytes.Buffer
	out.Grow(len(r.Values)) // about half of what the values take: heart sounds need a third
	// Length only has to differ from 0; the encoder counts for itself.
	enc, err := flac.NewEncoder(&out, info, &meta.Block{Header: meta.Header{Type: meta.TypeVorbisComment, Length: 1}, Body: notes})
	if err != nil {
		return nil, fmt.Errorf("sound: encode: %w", err)
	}
	var wide [block]int32
	for part := range slices.Chunk(r.Values, block) {
		for i, v := range part {
			wide[i] = int32(v)
		}
		if err := enc.WriteFrame(framed(wide[:len(part)], r.RateHz)); err != nil {
			return nil, fmt.Errorf("sound: encode: %w", err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("sound: encode: %w", err)
	}
	return out.Bytes(), nil
}

// framed is one block, whose prediction the encoder chooses.
func framed(values []int32, rateHz int) *frame.Frame {
	return &frame.Frame{
		Header: frame.Header{HasFixedBlockSize: true, BlockSize: uint16(len(values)), SampleRate: uint32(rateHz),
			Channels: frame.ChannelsMono, BitsPerSample: 16},
		Subframes: []*frame.Subframe{{SubHeader: frame.SubHeader{Pred: frame.PredVerbatim}, Samples: values, NSamples: len(values)}},
	}
}

// digest is the MD5 of the values as FLAC takes it: little-endian, signed (RFC 9639, section 8.2).
func digest(values []int16) (sum [md5.Size]uint8) {
	h := md5.New()
	for part := range slices.Chunk(values, block) {
		h.Write(little(part))
	}
	h.Sum(sum[:0])
	return sum
}

func little(values []int16) []byte {
	b := make([]byte, 0, 2*len(values))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}

// Decode reads a file of Encode's and checks that every value is as it was. It takes no more memory than the longest recording.
func Decode(file []byte) (r Recording, err error) {
	defer func() {
		if v := recover(); v != nil { // the library indexes by what the file says
			r, err = Recording{}, fmt.Errorf("%w: %v", ErrDamaged, v)
		}
	}()
	r, err = decode(file)
	if err == nil {
		err = r.valid()
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return Recording{}, err
	}
	return r, nil
}

func decode(file []byte) (r Recording, err error) {
	if r.Gaps, err = gaps(file); err != nil {
		return r, err
	}
	s, err := flac.New(bytes.NewReader(file))
	if err != nil {
		return r, err
	}
	if s.Info.NChannels != 1 || s.Info.BitsPerSample != 16 || s.Info.SampleRate > maxRate {
		return r, fmt.Errorf("%d channels of %d bits at %d Hz", s.Info.NChannels, s.Info.BitsPerSample, s.Info.SampleRate)
	}
	r.RateHz = int(s.Info.SampleRate)
	if s.Info.NSamples > uint64(capacity(r.RateHz)) {
		return r, fmt.Errorf("it says it has %d values", s.Info.NSamples)
	}
	for {
		f, err := s.ParseNext()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r, err
		}
		if f.SampleRate != s.Info.SampleRate || f.BitsPerSample != 16 || len(f.Subframes) != 1 {
			return r, fmt.Errorf("a frame of %d channels of %d bits at %d Hz", len(f.Subframes), f.BitsPerSample, f.SampleRate)
		}
		if uint64(len(r.Values)+f.Subframes[0].NSamples) > s.Info.NSamples {
			return r, fmt.Errorf("more than the %d values it says", s.Info.NSamples)
		}
		for _, v := range f.Subframes[0].Samples {
			r.Values = append(r.Values, int16(v))
		}
	}
	if uint64(len(r.Values)) != s.Info.NSamples || digest(r.Values) != s.Info.MD5sum {
		return r, fmt.Errorf("%d values that are not the %d of which it has the sum", len(r.Values), s.Info.NSamples)
	}
	return r, nil
}

// gaps finds the comments. They are read here, for the library believes every length that a file states.
func gaps(file []byte) (found []Gap, err error) {
	rest, ok := bytes.CutPrefix(file, []byte("fLaC"))
	for last := false; ok && !last; {
		var head, body []byte
		if head, rest, ok = cut(rest, 4); !ok {
			break
		}
		last = head[0]&0x80 != 0
		if body, rest, ok = cut(rest, int(head[1])<<16|int(head[2])<<8|int(head[3])); !ok {
			break
		}
		if head[0]&0x7F == byte(meta.TypeVorbisComment) {
			if len(body) > maxNotes {
				return nil, fmt.Errorf("%d bytes of comments", len(body))
			}
			if found, err = comments(body); err != nil {
				return nil, err
			}
		}
	}
	if !ok {
		return nil, errors.New("it ends in its head")
	}
	return found, nil
}

// comments reads a VORBIS_COMMENT block: little-endian lengths before each text (RFC 9639, section 8.6).
func comments(body []byte) (found []Gap, err error) {
	next := func() (text string, ok bool) {
		var head, t []byte
		if head, body, ok = cut(body, 4); !ok {
			return "", false
		}
		t, body, ok = cut(body, int(binary.LittleEndian.Uint32(head)))
		return string(t), ok
	}
	_, ok := next() // the vendor
	count, body, counted := cut(body, 4)
	if !ok || !counted {
		return nil, errors.New("its comments break off")
	}
	for range binary.LittleEndian.Uint32(count) {
		text, ok := next()
		if !ok {
			return nil, errors.New("its comments break off")
		}
		value, ok := strings.CutPrefix(text, gapTag+"=")
		if !ok {
			continue
		}
		var g Gap
		if _, err := fmt.Sscanf(value, "%d+%d", &g.At, &g.Values); err != nil || value != fmt.Sprintf("%d+%d", g.At, g.Values) {
			return nil, fmt.Errorf("a gap at %q", value)
		}
		found = append(found, g)
	}
	return found, nil
}

func cut(b []byte, n int) (head, rest []byte, ok bool) {
	if n < 0 || n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
