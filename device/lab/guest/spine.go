package main

import (
	"context"
	"fmt"
	"os"

	"github.com/BurntSushi/toml"

	"telecart/device"
	"telecart/device/kit"
)

// spineChecks are what is looked at while the whole agent runs: one story, in order. The bench is theirs, to unplug and
// steer; the hub is outside.
func spineChecks() stage {
	return stage{{
		{"agent-runs", agentRuns},
		{"agent-still-uvc", stillUVC},
		{"agent-clip-uvc", clipUVC},
		{"agent-still-vivid", stillVivid},
		{"agent-temperature", temperature},
		{"agent-oximeter", saturation},
		{"agent-unplug", pulled},
		{"agent-kill", killed},
		{"agent-receipts", receipts},
	}}
}

// delivered is the check that comes last, outside, when the guest and the hub have ended: see package delivered.
const delivered = "delivered"

// The instruments' names, as a clinic would give them.
const roomCamera, otoscope, thermo, oxi = "room camera", "otoscope", "thermometer", "oximeter"

// instruments is the agent's list of them.
func (b *bench) instruments() []device.Settings {
	size := map[string]string{"width": "640", "height": "480", "still": "stream"}
	return []device.Settings{
		{Name: roomCamera, Driver: "camera", Port: "usb:CAM-A", Options: size},
		{Name: otoscope, Driver: "camera", Port: b.vivid, Options: size},
		{Name: thermo, Driver: "tmp117", Port: b.i2c, Address: chipAddress, Options: map[string]string{"settle_s": "3"}},
		{Name: oxi, Driver: "nonin", Port: b.tty},
	}
}

const (
	settingsFile = "/run/telecartd.toml"
	stateFolder  = "/run/telecart"
	bedsideAddr  = "127.0.0.1:7070"
	agentLog     = "/lab/agent.log"  // for people, when something failed
	toldFile     = "/lab/told.jsonl" // for package delivered
)

// settings is the part of the agent's settings file (cmd/telecartd/telecartd.toml) that the lab sets.
type settings struct {
	State   string `toml:"state"`
	Site    string `toml:"site"`
	Bedside struct {
		Listen string `toml:"listen"`
	} `toml:"bedside"`
	Metrics struct {
		Listen string `toml:"listen"`
	} `toml:"metrics"`
	Instrument []device.Settings `toml:"instrument"`
}

// spine plugs everything in and tells the story.
func spine(ctx context.Context, binary string) error {
	b, err := openBench(ctx, kit.System{})
	if err != nil {
		return err
	}
	defer b.close()
	b.chip.SetTemperature(someFever)
	b.cams["CAM-A"].draw(someSize).JPEG(0, b.clock.Now()) // painted beforehand: see gallery
	set := settings{State: stateFolder, Site: "Lab", Instrument: b.instruments()}
	set.Bedside.Listen = bedsideAddr
	f, err := os.Create(settingsFile)
	if err != nil {
		return err
	}
	if err := toml.NewEncoder(f).Encode(set); err != nil {
		return fmt.Errorf("%s: %w", settingsFile, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if b.agent, err = newAgent(binary); err != nil {
		return err
	}
	defer b.agent.stop()
	return runChecks(ctx, b, nil, spineChecks())
}
