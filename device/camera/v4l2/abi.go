package v4l2

import "unsafe"

// ioctl requests, linux/videodev2.h on 64-bit machines: direction, size of the argument, 'V', number.
const (
	reqQueryCap       = 0x80685600
	reqEnumFmt        = 0xC0405602
	reqSetFmt         = 0xC0D05605
	reqBuffers        = 0xC0145608
	reqQueryBuf       = 0xC0585609
	reqQBuf           = 0xC058560F
	reqDQBuf          = 0xC0585611
	reqStreamOn       = 0x40045612
	reqStreamOff      = 0x40045613
	reqSetParm        = 0xC0CC5616
	reqQueryCtrl      = 0xC0445624
	reqQueryMenu      = 0xC02C5625
	reqGetExtCtrls    = 0xC0205647
	reqSetExtCtrls    = 0xC0205648
	reqEnumFrameSizes = 0xC02C564A
	reqEnumIntervals  = 0xC034564B
	reqQueryExtCtrl   = 0xC0E85667
)

const (
	capVideoCapture = 0x00000001
	capM2MPlanar    = 0x00004000 // codecs and scalers, not cameras
	capM2M          = 0x00008000
	capMetaCapture  = 0x00800000
	capDeviceCaps   = 0x80000000

	typeCapture      = 1 // V4L2_BUF_TYPE_VIDEO_CAPTURE
	memoryMMAP       = 1
	fieldNone        = 1
	bufError         = 0x40
	bufMonotonic     = 0x2000
	bufTimestampMask = 0xE000
	canTimePerFrame  = 0x1000

	discrete = 1 // of frame sizes and intervals; 2 continuous, 3 stepwise
)

type capability struct {
	Driver       [16]byte
	Card         [32]byte
	Bus          [32]byte
	Version      uint32
	Capabilities uint32
	DeviceCaps   uint32
	_            [3]uint32
}

type fmtDesc struct {
	Index, Type, Flags uint32
	Description        [32]byte
	PixelFormat, Mbus  uint32
	_                  [3]uint32
}

type frameSizeEnum struct {
	Index, PixelFormat, Type         uint32
	MinW, MaxW, StepW                uint32 // discrete: width, height, -
	MinH, MaxH, StepH, _reserve, _re uint32
}

type fraction struct{ Num, Den uint32 }

type intervalEnum struct {
	Index, PixelFormat, Width, Height, Type uint32
	Min, Max, Step                          fraction // discrete: Min only
	_                                       [2]uint32
}

type format struct {
	Type, _                                   uint32
	Width, Height, PixelFormat, Field         uint32
	BytesPerLine, SizeImage, Colorspace, Priv uint32
	Flags, Encoding, Quantization, XferFunc   uint32
	_                                         [152]byte
}

type streamParm struct {
	Type             uint32
	Capability, Mode uint32
	TimePerFrame     fraction
	Extended, Bufs   uint32
	_                [176]byte
}

type requestBuffers struct {
	Count, Type, Memory, Capabilities uint32
	_                                 [4]byte
}

type buffer struct {
	Index, Type, BytesUsed, Flags, Field, _ uint32
	Sec, Usec                               int64
	Timecode                                [16]byte
	Sequence, Memory                        uint32
	Offset                                  uint64 // a union; for mapped buffers the low 32 bits
	Length, _, RequestFD, _                 uint32
}

type queryCtrl struct {
	ID, Type                uint32
	Name                    [32]byte
	Min, Max, Step, Default int32
	Flags                   uint32
	_                       [2]uint32
}

type queryExtCtrl struct {
	ID, Type                          uint32
	Name                              [32]byte
	Min, Max                          int64
	Step                              uint64
	Default                           int64
	Flags, ElemSize, Elems, NumOfDims uint32
	_                                 [4 + 32]uint32
}

type queryMenu struct {
	ID, Index uint32
	Name      [32]byte // or a little-endian int64 for integer menus
	_         uint32
}

type extControl struct { // packed, so the 64-bit value is two words
	ID, Size, _ uint32
	Value, High int32
}

type extControls struct {
	Which, Count, ErrorIdx uint32
	RequestFD              int32
	_, _                   uint32
	Controls               unsafe.Pointer
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
