package nonin

import (
	"time"

	"telecart/device/kit"
	"telecart/device/oximeter/line"
)

// burst is what came without a long silence in between.
type burst struct {
	bytes []byte // its last ones, as many as the longest record has
	n     int    // all that came, the damaged included
	began time.Time
	ended time.Time // with the last byte until now
	at    kit.Stamp // then
	read  bool      // since then: it is no record, or one that was dealt with
}

func (b *burst) add(now time.Time, at kit.Stamp, c line.Chunk) {
	if b.n == 0 {
		b.began = now
	}
	b.n += len(c.Bytes) + c.Damaged
	b.ended, b.at, b.read = now, at, false
	b.bytes = append(b.bytes, c.Bytes...)
	if over := len(b.bytes) - maxRecord; over > 0 {
		b.bytes = b.bytes[:copy(b.bytes, b.bytes[over:])]
	}
}
