package agent

import (
	"bytes"
	"fmt"
	"image/jpeg"

	"telecart/device"
	"telecart/device/camera"
)

// rawQuality is for cameras that give raw pictures: there is no original JPEG to keep. 92 stays below 20:1 on skin.
const rawQuality = 92

// AsJPEG encodes a raw frame; a JPEG it gives back as it is.
func AsJPEG(f device.Frame) (device.Frame, error) {
	if f.Format == device.MJPEG {
		return f, nil
	}
	img, err := camera.Decode(f)
	if err != nil {
		return f, fmt.Errorf("agent: %w", err)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: rawQuality}); err != nil {
		return f, fmt.Errorf("agent: %w", err)
	}
	f.Format, f.Data = device.MJPEG, b.Bytes()
	return f, nil
}
