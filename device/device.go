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

	"telecart/device/kit"
)

// Instrument is anything plugged in. Run opens the port, works until ctx ends or the port fails, closes everything it
// opened and says why. It never restarts itself. A nil or context error after ctx ended is a clean stop.
type Instrument interface {
	Run(ctx context.Context) error
}

// Outlet takes what an instrument observes. Its methods never block and may be called from any goroutine.
type Outlet interface {
	Reading(Reading)
	Samples(Samples)
	Health(Health)
}

// Kind is what sort of thing an instrument is.
type Kind string

const (
	KindCamera      Kind = "camera"
	KindThermometer Kind = "thermometer"
	KindOximeter    Kind = "oximeter"
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
}

// State is an instrument's condition.
type State string

const (
	Absent   State = "absent"   // not plugged in, or not answering
	Settling State = "settling" // there, but not to be trusted yet
	Live     State = "live"
	Faulty   State = "faulty"
)

// Health is a state and the reason for it as a code, which both screens put in words a nurse can act on
// ("no-finger" -> "Oximeter: no finger").
type Health struct {
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// Reading is one observed value.
type Reading struct {
	Quantity   string    `json:"quantity"` // a name in capture's table: "body-temperature"
	Value      Decimal   `json:"value"`    // meaningless when Absent is set
	Unit       string    `json:"unit"`     // UCUM: "Cel", "%", "/min"
	Absent     string    `json:"absent,omitempty"`
	Instrument Identity  `json:"instrument"`
	Site       string    `json:"site,omitempty"`   // "" is "not stated"
	Side       string    `json:"side,omitempty"`   //
	Method     string    `json:"method,omitempty"` //
	Quality    string    `json:"quality,omitempty"`
	At         kit.Stamp `json:"at"`
	Period     Duration  `json:"period_ms,omitempty"` // how often this comes; 0: once
}

// Reasons why a value is absent. They are FHIR data-absent-reason codes where one fits.
const (
	NoSensor    = "no-sensor"    // sensor disconnected
	NoFinger    = "no-finger"    //
	LowSignal   = "low-signal"   // out of track, artifact, low perfusion
	NotYet      = "not-yet"      // still settling
	SensorFault = "sensor-fault" //
)

// StaleAfter says when a reading is too old to be shown as current: streams (a period under one second) after 3 s
// without a valid packet, others after three of their periods.
func (r Reading) StaleAfter() time.Duration { return max(3*time.Second, 3*time.Duration(r.Period)) }

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
)

// Camera is an instrument that sees. It streams only while somebody watches: a lens that nobody looks through is off.
type Camera interface {
	Instrument
	// Watch starts a view of the live picture. The latest frame wins: a slow viewer misses frames and delays nobody.
	Watch() View
}

// View is one viewer's place at a camera.
type View interface {
	Next(ctx context.Context) (Frame, error) // waits for a frame newer than the last one; ErrGone when the camera is gone
	Close()
}

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
	New        func(Settings, Outlet) (Instrument, error)
}

// Settings is what the settings file says of one instrument, and what main adds.
type Settings struct {
	Name    string `toml:"name"`    // unique on the cart
	Driver  string `toml:"driver"`  // a name in the table
	Port    string `toml:"port"`    // "/dev/i2c-1", "/dev/ttyUSB0", "/dev/video0", a USB serial number, or "twin"
	Address int    `toml:"address"` // on I2C; 0 is the driver's default
	// Options are the driver's own; a driver refuses a name it does not know, naming those it does.
	Options map[string]string `toml:"options"`
	Clock   kit.Clock         `toml:"-"`
	Stamp   *kit.Stamper      `toml:"-"`
}

// Twin says that the simulated counterpart is wanted.
func (s Settings) Twin() bool { return s.Port == "twin" }
