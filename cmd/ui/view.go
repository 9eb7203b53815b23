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
	Absent   string         `json:"absent,omitempty"`
	Site     string         `json:"site,omitempty"`
	Side     string         `json:"side,omitempty"`
	Method   string         `json:"method,omitempty"`
	Quality  string         `json:"quality,omitempty"`
	At       time.Time      `json:"at"`
	Stale    bool           `json:"stale"`
}

// ShowInstrument shows an instrument with its values.
func ShowInstrument(i link.Instrument) Instrument {
	out := Instrument{Name: i.Name, Kind: i.Kind, Health: i.Health, Since: i.Since, Twin: i.Twin, Readings: []Reading{}, Axes: i.Axes}
	for _, r := range i.Readings {
		out.Readings = append(out.Readings, ShowReading(r))
	}
	return out
}

// ShowReading shows a value; an absent one has no number, whatever it carries.
func ShowReading(r link.ReadingState) Reading {
	out := Reading{Quantity: r.Quantity, Unit: r.Unit, Absent: r.Absent, Site: r.Site, Side: r.Side, Method: r.Method, Quality: r.Quality,
		At: r.At.Wall, Stale: r.Stale}
	if r.Absent == "" {
		out.Value, out.Text = r.Value, r.Value.String()
	}
	return out
}
