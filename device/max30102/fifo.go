package max30102

// fifo is the twin's: 32 samples, of which the next one's bytes are read one at a time.
type fifo struct {
	write, read, lost byte
	n                 int // unread
	samples           [depth][2]uint32
	part              int // bytes of the next sample that were read
}

func (f *fifo) push(red, ir uint32, rollover bool) {
	if f.n == depth {
		f.lost = min(f.lost+1, pointers)
		if !rollover {
			return
		}
		f.read, f.n, f.part = (f.read+1)&pointers, f.n-1, 0
	}
	f.samples[f.write] = [2]uint32{red, ir}
	f.write = (f.write + 1) & pointers
	f.n++
}

// set moves the pointers; equal ones are an empty FIFO.
func (f *fifo) set(write, read byte) {
	f.write, f.read, f.part = write, read, 0
	f.n = int(write-read) & pointers
}

// next is the next byte. Reading an empty FIFO repeats its last sample and moves nothing.
func (f *fifo) next(wide bool) byte {
	size := sampleLen
	if !wide {
		size = sampleLen / 2
	}
	v := f.samples[f.read][f.part/3]
	b := byte(v >> (16 - 8*(f.part%3)))
	if f.part++; f.part < size {
		return b
	}
	f.part = 0
	if f.n > 0 {
		f.read, f.n, f.lost = (f.read+1)&pointers, f.n-1, 0
	}
	return b
}
