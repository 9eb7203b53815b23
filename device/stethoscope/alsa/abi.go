package alsa

import (
	"time"
	"unsafe"
)

// ioctl requests: direction, size of the argument, 'A' (pcm) or 'U' (control), number.
const (
	reqRefine  = 0xC2604110
	reqParams  = 0xC2604111
	reqSoft    = 0xC0884113
	reqStatus  = 0x80984120
	reqPrepare = 0x4140
	reqStart   = 0x4142
	reqDrop    = 0x4143

	reqCard      = 0x81785501
	reqElemList  = 0xC0505510
	reqElemInfo  = 0xC1105511
	reqElemRead  = 0xC4C85512
	reqElemWrite = 0xC4C85513
)

const (
	accessInterleaved = 3 // SNDRV_PCM_ACCESS_RW_INTERLEAVED
	formatS16         = 2 // SNDRV_PCM_FORMAT_S16_LE
	subformatStd      = 0
	noResample        = 1 // SNDRV_PCM_HW_PARAMS_NORESAMPLE

	stateRunning      = 3
	stateXrun         = 4
	stateSuspended    = 7
	stateDisconnected = 8

	stampEnabled   = 1       // SNDRV_PCM_TSTAMP_ENABLE
	stampMonotonic = 1       // SNDRV_PCM_TSTAMP_TYPE_MONOTONIC
	protocol       = 0x2000F // 2.0.15; from 2.0.12 the kind of stamp is heeded

	elemBoolean  = 1
	elemInteger  = 2
	elemWritable = 1 << 1 // SNDRV_CTL_ELEM_ACCESS_WRITE
)

// Parameters of the hardware: masks, then intervals.
const (
	access    = 0
	format    = 1
	subformat = 2

	firstInterval = 8
	channels      = 10 - firstInterval
	rate          = 11 - firstInterval
	periodSize    = 13 - firstInterval
	bufferSize    = 17 - firstInterval
)

type interval struct {
	Min, Max, Flags uint32 // openmin, openmax, integer, empty
}

type hwParams struct {
	Flags            uint32
	Masks            [3][8]uint32
	_                [5][8]uint32
	Intervals        [12]interval
	_                [9]interval
	RMask, CMask     uint32
	Info, MSBits     uint32
	RateNum, RateDen uint32
	FIFO             uint64
	_                [64]byte
}

type swParams struct {
	StampMode, PeriodStep, SleepMin uint32
	AvailMin, XferAlign             uint64
	StartThreshold, StopThreshold   uint64
	SilenceThreshold, SilenceSize   uint64
	Boundary                        uint64
	Proto, StampType                uint32
	_                               [56]byte
}

type timespec struct{ Sec, Nsec int64 }

func (t timespec) sub(u timespec) time.Duration {
	return time.Duration(t.Sec-u.Sec)*time.Second + time.Duration(t.Nsec-u.Nsec)
}

type status struct {
	State                      int32
	_                          int32
	Trigger, Stamp             timespec
	ApplPtr, HwPtr             uint64
	Delay                      int64
	Avail, AvailMax, Overrange uint64
	SuspendedState             int32
	_                          uint32
	_, _                       timespec
	_                          uint32
	_                          [20]byte
}

type cardInfo struct {
	Card, _    int32
	ID, Driver [16]byte
	Name       [32]byte
	Long       [80]byte
	_          [16]byte
	Mixer      [80]byte
	Components [128]byte
}

type elemID struct {
	NumID, Iface, Device, Subdevice uint32
	Name                            [44]byte
	Index                           uint32
}

type elemList struct {
	Offset, Space, Used, Count uint32
	IDs                        unsafe.Pointer
	_                          [50]byte
}

type elemInfo struct {
	ID                         elemID
	Type, Access, Count, Owner uint32
	Min, Max, Step             int64 // of an integer
	_                          [104]byte
	_                          [64]byte
}

type elemValue struct {
	ID     elemID
	_      uint64
	Values [128]int64 // of integers and booleans
	_      [128]byte
}

const _ = uint(unsafe.Sizeof(uintptr(0)) - 8) // a 32-bit machine has other layouts

// text is a C string.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
