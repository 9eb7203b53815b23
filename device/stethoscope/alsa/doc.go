// Package alsa takes sound from the Linux kernel's own sound interface, without a library and without cgo.
//
// Parties: the kernel driver behind /dev/snd/pcmC1D0c (snd-usb-audio for USB microphones), whose one Capture owns it; the
// card's mixer behind /dev/snd/controlC1, by which a Card fixes the gain and sees whether the card is still there.
//
// Keys: a card and a device number, as in "hw:1,0". Card numbers change when things are plugged in again.
//
// Invariants: what Read gives is what the converter gave, value for value: this interface has no resampler, no format or channel
// converter and no sound server, and Open refuses what the hardware doesn't set exactly as asked. Every value that was lost is
// counted. A card that is unplugged ends a waiting Read at once. A Capture belongs to one goroutine.
//
// Why not a library: miniaudio (malgo 0.11.24), told to take 48 kHz from hardware that gives 44.1, resamples and says it has 48;
// told to take what there is it is raw, but it recovers from overruns without telling that anything was lost, and after an unplug
// it spins in readi() at ENODEV, a processor's worth of it, and never calls back (miniaudio.h 0.11.23, ma_device_read__alsa).
// Also, libasound would have to be on the image.
//
// Source: include/uapi/sound/asound.h, sound/core/pcm_native.c, pcm_lib.c and control.c of Linux 6.1. Struct layouts are those of
// 64-bit little-endian machines (amd64, arm64); elsewhere this package does not compile.
package alsa

import "errors"

// States of a microphone. Errors of this package wrap one of them where it fits.
var (
	ErrUnplugged = errors.New("alsa: the microphone is unplugged")
	ErrBusy      = errors.New("alsa: another program uses the microphone; close it")
	ErrFormat    = errors.New("alsa: the microphone offers no 16-bit sound at 48 or 44.1 kHz")
	ErrStalled   = errors.New("alsa: the microphone stopped sending")
	ErrGain      = errors.New("alsa: the microphone's automatic gain can't be switched off")
)
