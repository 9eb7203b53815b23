// Package ui is what both screens share. Its Go half has the shapes of cmd/ui/api.ts that both daemons send.
package ui

import (
	"time"

	"telecart/device"
	"telecart/uplink/link"
)

// Instrument is an instrument as a page takes it.
type Instrument struct {
	Name     string        `json:"name"`
	Kind     device.Kind   `json:"kind"`
	Health   device.Health `json:"health"`
	Since    time.Time     `json:"since"`
	Grade    device.Grade  `json:"grade,omitempty"`
	Modes    []string      `json:"modes,omitempty"`
	Twin     bool          `json:"twin"`
	Readings []Reading     `json:"readings"`
	Axes     []device.Axis `json:"axes,omitempty"`
}

// Reading is a value as it is drawn: Text keeps its precision, and is empty when the value is absent.
type Reading struct {
	Quantity string         `json:"quantity"`
	Value    device.Decimal `json:"value"`
	Text     string         `json:"text"`
	Unit     string         `json:"unit"`
	Absent   device.Reason  `json:"absent,omitempty"`
	Site     string         `json:"site,omitempty"`
	Side     string         `json:"side,omitempty"`
	Method   device.Method  `json:"method,omitempty"`
	Quality  string         `json:"quality,omitempty"`
	At       time.Time      `json:"at"`
	Stale    bool           `json:"stale"`
	Once     bool           `json:"once,omitempty"`
}

// ShowInstrument shows an instrument with its values.
func ShowInstrument(i link.Instrument) Instrument {
	out := Instrument{Name: i.Name, Kind: i.Kind, Health: i.Health, Since: i.Since, Twin: i.Twin, Grade: i.Grade, Modes: i.Modes, Readings: []Reading{}, Axes: i.Axes}
	for _, r := range i.Readings {
		out.Readings = append(out.Readings, ShowReading(r))
	}
	return out
}

// ShowReading shows a value; an absent one has no number, whatever it carries.
func ShowReading(r link.ReadingState) Reading {
	out := Reading{Quantity: r.Quantity, Unit: r.Unit, Absent: r.Absent, Site: r.Site, Side: r.Side, Method: r.Method, Quality: r.Quality,
		At: r.At.Wall, Stale: r.Stale, Once: r.Once()}
	if r.Absent == "" {
		out.Value, out.Text = r.Value, r.Value.String()
	}
	return out
}
