// Package device is what is plugged into the cart: the words that drivers and the rest of the agent share.
//
// Parties: a driver (one package per chip or instrument, each with its twin) implements Instrument; the Supervisor alone
// starts, restarts and judges it; an Outlet, given to the driver when it is made, takes what it observes.
//
// Invariants: a driver knows no patient. A value that can't be trusted is not sent as a number but as an Absent reason.
// Site and side of the body are "not stated" until a person touches them; a driver never guesses them.
package device

import (
	"context"
	"errors"
	"time"

	"telecart/device/bus"
	"telecart/device/kit"
)

// Instrument is anything plugged in. Run opens the port, works until ctx ends or the port fails, closes everything it
// opened and says why. It never restarts itself. A nil or context error after ctx ended is a clean stop.
type Instrument interface {
	Run(ctx context.Context) error
}

// Outlet takes what an instrument observes. Observe never blocks and may be called from any goroutine.
type Outlet interface {
	Observe(Observation)
}

// Observation is a Reading, Samples, Health, About or Input.
type Observation interface{ observation() }

func (Reading) observation() {}
func (Samples) observation() {}
func (Health) observation()  {}
func (About) observation()   {}
func (Input) observation()   {}

// Kind is what sort of thing an instrument is.
type Kind string

const (
	KindCamera      Kind = "camera"
	KindThermometer Kind = "thermometer"
	KindOximeter    Kind = "oximeter"
	KindCuff        Kind = "cuff" // blood pressure
	KindECG         Kind = "ecg"
	KindStethoscope Kind = "stethoscope"
	KindScale       Kind = "scale"
	KindScanner     Kind = "scanner"
	KindPedal       Kind = "pedal"
	KindLight       Kind = "light"
	KindPower       Kind = "power"
	KindClock       Kind = "clock"
	KindVoice       Kind = "voice" // the room's microphone and loudspeaker
	KindRoom        Kind = "room"  // of the room or the cart, no patient's
	KindHand        Kind = "hand"  // no instrument: a person measured and entered it
)

// Grade says how far an instrument's values go; "" is a medical instrument. It travels with every value.
type Grade string

const (
	Consumer     Grade = "consumer"     // sold for wellness
	Uncalibrated Grade = "uncalibrated" // research: its values are kept in practice alone
)

// Identity says which instrument observed something; it travels with every value.
type Identity struct {
	Name   string `json:"name"`             // as configured: "oximeter"
	Kind   Kind   `json:"kind"`             //
	Driver string `json:"driver"`           // "nonin"
	Model  string `json:"model,omitempty"`  // as the instrument itself says, if it does
	Serial string `json:"serial,omitempty"` //
	Port   string `json:"port"`             // where it was found
	Twin   bool   `json:"twin,omitempty"`   // simulated; never mistaken for the real thing
	Grade  Grade  `json:"grade,omitempty"`  //
}

// About is what an instrument says of itself once it is known: before it observes anything, or with nothing to observe.
type About struct {
	Model  string
	Serial string
	Grade  Grade // if it is less than the driver's line says
}

// State is an instrument's condition.
type State string

const (
	Absent   State = "absent"   // not plugged in, or not answering
	Settling State = "settling" // there, but not to be trusted yet
	Live     State = "live"
	Faulty   State = "faulty"
)

// Fault is an error of Run that knows what the nurse is to be told. Any other error counts as "disconnected".
type Fault struct {
	Health Health
	Err    error
}

func (f Fault) Error() string { return f.Err.Error() }
func (f Fault) Unwrap() error { return f.Err }

// Reason is a code for why something is as it is. Both screens put it in words a nurse can act on ("no-finger" ->
// "Oximeter: no finger"); a test finds every constant of this type and holds the screens to it.
type Reason string

// Health is a state and the reason for it.
type Health struct {
	State  State  `json:"state"`
	Reason Reason `json:"reason,omitempty"`
}

// Method is how a value was come by where that matters: values of different methods never share a trend.
type Method string

// ByHand: a person measured and entered it.
const ByHand Method = "by-hand"

// Act is what a person did with an instrument.
type Act string

const (
	Scanned Act = "scanned" // Text is what was read
	Shutter Act = "shutter" // a button or pedal that means: take the picture
)

// Input is what a person did with an instrument.
type Input struct {
	Act        Act       `json:"act"`
	Text       string    `json:"text,omitempty"`
	Symbology  string    `json:"symbology,omitempty"` // AIM identifier of the code, "]C1", if the scanner says
	Instrument Identity  `json:"instrument"`
	At         kit.Stamp `json:"at"`
}

// Reading is one observed value.
type Reading struct {
	Quantity   string    `json:"quantity"` // a name in capture's table: "body-temperature"
	Value      Decimal   `json:"value"`    // meaningless when Absent is set
	Unit       string    `json:"unit"`     // UCUM: "Cel", "%", "/min"
	Absent     Reason    `json:"absent,omitempty"`
	Instrument Identity  `json:"instrument"`
	Site       string    `json:"site,omitempty"`   // "" is "not stated"
	Side       string    `json:"side,omitempty"`   //
	Method     Method    `json:"method,omitempty"` //
	Quality    string    `json:"quality,omitempty"`
	At         kit.Stamp `json:"at"`
	Period     Duration  `json:"period_ms,omitempty"` // how often this comes; 0: once
}

// Reasons why a value is absent. They are FHIR data-absent-reason codes where one fits.
const (
	NoSensor    Reason = "no-sensor"    // sensor disconnected
	NoFinger    Reason = "no-finger"    //
	LowSignal   Reason = "low-signal"   // out of track, artifact, low perfusion
	NotYet      Reason = "not-yet"      // still settling
	SensorFault Reason = "sensor-fault" //
	NoData      Reason = "no-data"      // silent

	// BatteryCritical: the cart's own battery is about to end; what is being captured is to be saved now.
	BatteryCritical Reason = "battery-critical"
	SupplyLow       Reason = "supply-low" // and so is what feeds the cart: it sags
)

// onceStands is how long a value that was measured once (a cuff's, a scale's) is shown as current. The end of the
// encounter ends it sooner.
const onceStands = 5 * time.Minute

// Once says that the value was measured once, and is not one of a stream.
func (r Reading) Once() bool { return r.Period == 0 }

// StaleAfter says when a reading is too old to be shown as current: streams (a period under one second) after 3 s
// without a valid packet, others after three of their periods, what was measured once after 5 min.
func (r Reading) StaleAfter() time.Duration {
	if r.Once() {
		return onceStands
	}
	return max(3*time.Second, 3*time.Duration(r.Period))
}

// Samples is a stretch of a waveform.
type Samples struct {
	Quantity   string    `json:"quantity"` // "pleth"
	Unit       string    `json:"unit"`     // UCUM; "1" for a bare scale
	RateHz     float64   `json:"rate_hz"`
	Values     []int32   `json:"values"`
	Instrument Identity  `json:"instrument"`
	At         kit.Stamp `json:"at"` // of the last value
}

// Frame is one picture as the camera gave it: Data is never altered by anyone.
type Frame struct {
	Format Format
	Data   []byte // not to be written to: several readers share it
	Width  int
	Height int
	Seq    uint64    // the camera's own frame number; gaps are lost frames
	At     kit.Stamp // when the frame was captured
}

// Format is a picture's encoding.
type Format string

const (
	MJPEG Format = "MJPG" // Data is a whole JPEG file
	YUYV  Format = "YUYV" // packed 4:2:2, two bytes a pixel
	H264  Format = "H264" // Data is one access unit, Annex B
)

// Camera is an instrument that sees. It streams only while somebody watches: a lens that nobody looks through is off.
type Camera interface {
	Instrument
	// Watch starts a view of the live picture. The latest frame wins: a slow viewer misses frames and delays nobody.
	Watch() View
}

// Coded is a camera with an encoder of its own.
type Coded interface {
	// WatchCoded starts a view of H264 frames: every access unit in order, from a key frame with SPS and PPS on; a slow viewer
	// misses all up to the next one. An error: there is no coded picture, now or ever; Watch's can be encoded instead.
	WatchCoded() (View, error)
}

// View is one viewer's place at a camera.
type View interface {
	Next(ctx context.Context) (Frame, error) // waits for a frame newer than the last one; ErrGone when the camera is gone
	Close()
}

// Sound is a stretch of what a stethoscope or a microphone hears: 16 bits, one channel, as the converter gave it.
type Sound struct {
	RateHz int
	Values []int16 // not to be written to: several readers share it
	Seq    uint64  // number of the first value since the instrument was plugged in; a jump is a gap
	At     kit.Stamp
}

// Microphone is an instrument that hears. It is open only while somebody listens.
type Microphone interface {
	Instrument
	// Listen starts an ear. Every stretch comes, in order; an ear that falls seconds behind loses the oldest, seen in Seq.
	Listen() Ear
}

// Ear is one listener's place at a microphone.
type Ear interface {
	Next(ctx context.Context) (Sound, error) // ErrGone when the microphone is gone
	Close()
}

// Loudspeaker is an instrument that plays. It is on only while somebody speaks.
type Loudspeaker interface {
	Instrument
	// Speak starts a mouth; what all of them say is heard together.
	Speak() Mouth
}

// Mouth is one speaker's place at a loudspeaker: 16 bits, one channel, 48 kHz.
type Mouth interface {
	// Write waits until there is room for the values, at the pace at which they are played. ErrGone when the loudspeaker is gone.
	Write(ctx context.Context, values []int16) error
	Close()
}

// Shooter is a camera that can take a still at its sensor's resolution, even while it streams something smaller.
type Shooter interface {
	// Shoot returns a whole JPEG of the camera's own bytes. The live picture may stand still meanwhile.
	Shoot(ctx context.Context) (Frame, error)
}

// Triggerable is an instrument that measures when told to, and only then.
type Triggerable interface {
	Modes() []string                              // what must be chosen first, in order: patient sizes
	Start(ctx context.Context, mode string) error // ErrMode, ErrBusy, ErrTooSoon; returns when the instrument has begun
	Abort(ctx context.Context) error              // at any time; safe to repeat
}

// Counted is an instrument that counts what happened to it, for metrics: names are snake_case, counts only grow.
type Counted interface{ Counters() map[string]uint64 }

// What an instrument can be refused for.
var (
	ErrMode    = errors.New("device: no such mode")
	ErrBusy    = errors.New("device: the instrument is at work")
	ErrTooSoon = errors.New("device: too soon after the last time")
)

// ErrGone: the instrument is not there (unplugged, or not yet started). It may come back.
var ErrGone = errors.New("device: instrument is gone")

// Steerable is an instrument that a remote specialist can turn, under a lease.
type Steerable interface {
	Axes(ctx context.Context) ([]Axis, error)            // with their present values
	Steer(ctx context.Context, set map[string]int) error // name -> value, in the axis's own unit; clamped and rounded to a step
	Halt(ctx context.Context) error                      // stop all motion now
}

// Axis is one thing that can be steered.
type Axis struct {
	Name    string `json:"name"` // pan, tilt, zoom, focus, exposure; focus-auto and exposure-auto are 0 or 1
	Unit    string `json:"unit"` // "arcsec", "100us", "1"
	Min     int    `json:"min"`
	Max     int    `json:"max"`
	Step    int    `json:"step"`
	Default int    `json:"default"`
	Value   int    `json:"value"`
	Locked  bool   `json:"locked,omitempty"` // under automatic control now
}

// Driver is one line of the table in device/all: how to make instruments of one sort.
type Driver struct {
	Name string // as in the settings file: "tmp117"
	Kind Kind
	// Quantities that its readings and samples carry; each must be in capture's table.
	Quantities []string
	Grade      Grade
	New        func(Settings, Outlet) (Instrument, error)
	// Adopts says whether a node that was just plugged in, and that no settings name, is surely one of these; the cart then
	// takes it by itself. nil: never. A driver must not need to send anything to find out.
	Adopts func(Node) bool
}

// Node is a kernel device node of something that is plugged in, as sysfs describes it.
type Node struct {
	Class     string // video4linux, tty, hidraw, input, sound
	Path      string // "/dev/ttyUSB0"; for sound "hw:1,0"
	Port      string // USB socket, "1-1.2": the same after any replug; "" if it isn't USB
	Interface int    // USB interface number
	Vendor    uint16 // USB idVendor
	Product   uint16 // USB idProduct
	Serial    string // USB iSerial, if the maker gave each its own
	Name      string // the product's name
	Sys       string // its folder in sysfs
}

// Settings is what the settings file says of one instrument, and what main adds.
type Settings struct {
	Name   string `toml:"name"`   // unique on the cart
	Driver string `toml:"driver"` // a name in the table
	// Port is a node ("/dev/i2c-1", "/dev/ttyUSB0"), a USB serial number ("usb:CAM-A"), a USB socket ("usb-port:1-1.2"), or "twin".
	Port    string `toml:"port"`
	Address int    `toml:"address"` // on I2C; 0 is the driver's default
	Mux     string `toml:"mux"`     // on I2C behind a PCA9548: "0x71.3" is its channel 3
	// Options are the driver's own; a driver refuses a name it does not know, naming those it does.
	Options map[string]string `toml:"options"`
	Clock   kit.Clock         `toml:"-"`
	Stamp   *kit.Stamper      `toml:"-"`
	Buses   *bus.Buses        `toml:"-"` // the cart's I2C buses
}

// Twin says that the simulated counterpart is wanted.
func (s Settings) Twin() bool { return s.Port == "twin" }
