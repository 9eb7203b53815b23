package agent

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"telecart/capture"
	"telecart/capture/code"
	"telecart/device"
)

// Settings is the agent's one file. telecartd.toml beside main documents every key; a test holds the two together.
type Settings struct {
	State   string   `toml:"state"`
	Site    string   `toml:"site"`
	Swap    string   `toml:"swap"` // RefuseSwap or WarnSwap
	Wipe    []string `toml:"wipe"`
	Bedside struct {
		Listen string `toml:"listen"`
	} `toml:"bedside"`
	Metrics struct {
		Listen string `toml:"listen"`
	} `toml:"metrics"`
	Log struct {
		Level string `toml:"level"`
	} `toml:"log"`
	Delivery struct {
		Grace Duration `toml:"grace"`
	} `toml:"delivery"`
	Live struct {
		Bitrate   int     `toml:"bitrate"`
		FrameRate float32 `toml:"frame_rate"`
	} `toml:"live"`
	Proxy   string `toml:"proxy"`
	Patient struct {
		Wristband string `toml:"wristband"`
		Check     string `toml:"check"`
		GS1Prefix string `toml:"gs1_prefix"`
	} `toml:"patient"`
	Hotplug struct {
		Adopt bool `toml:"adopt"`
	} `toml:"hotplug"`
	Instrument []device.Settings `toml:"instrument"`
}

// What happens when patients' data could be swapped out readable.
const (
	RefuseSwap = "refuse"
	WarnSwap   = "warn"
)

// Duration is written "72h".
type Duration time.Duration

func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Defaults are what an empty file means.
func Defaults() Settings {
	var s Settings
	s.State = "/var/lib/telecart"
	s.Swap = RefuseSwap
	s.Wipe = []string{}
	s.Bedside.Listen = "127.0.0.1:7070"
	s.Metrics.Listen = "127.0.0.1:9101"
	s.Log.Level = "info"
	s.Patient.Wristband = capture.DefaultWristband
	s.Patient.Check = code.None
	s.Delivery.Grace = Duration(72 * time.Hour)
	s.Hotplug.Adopt = true
	s.Live.Bitrate = 2_000_000
	s.Live.FrameRate = 30
	return s
}

// Load reads a settings file and refuses what it does not know, by name.
func Load(path string) (Settings, error) {
	s := Defaults()
	b, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	meta, err := toml.Decode(string(b), &s)
	if err != nil {
		return s, fmt.Errorf("settings: %s: %w", path, err)
	}
	if left := meta.Undecoded(); len(left) > 0 {
		names := make([]string, len(left))
		for i, k := range left {
			names[i] = k.String()
		}
		return s, fmt.Errorf("settings: %s: unknown: %s; see telecartd.toml for what there is", path, strings.Join(names, ", "))
	}
	return s, s.check()
}

// codes is what a scan can mean here.
func (s Settings) codes() (code.Site, error) {
	c, err := code.NewSite(s.Patient.Wristband, s.Patient.Check, s.Patient.GS1Prefix)
	if err != nil {
		return c, fmt.Errorf("settings: patient.wristband, check or gs1_prefix: %w", err)
	}
	return c, nil
}

// inside says whether path is dir or lies in it, as far as their names tell.
func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err != nil || rel != ".." && !strings.HasPrefix(rel, "../")
}

func (s Settings) check() error {
	host, _, err := net.SplitHostPort(s.Bedside.Listen)
	if err != nil {
		return fmt.Errorf("settings: bedside.listen: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("settings: bedside.listen is %q: the nurse's screen is served on this machine alone; use 127.0.0.1", host)
	}
	if s.State == "" {
		return fmt.Errorf("settings: state names no folder")
	}
	for _, p := range s.Wipe {
		if !filepath.IsAbs(p) || filepath.Dir(filepath.Clean(p)) == "/" || inside(p, s.State) || inside(s.State, p) {
			return fmt.Errorf("settings: wipe: %q: name files or folders of the site's secrets, by absolute paths, and nothing in or around %s", p, s.State)
		}
	}
	if s.Swap != RefuseSwap && s.Swap != WarnSwap {
		return fmt.Errorf("settings: swap is %q; it can be %q or %q", s.Swap, RefuseSwap, WarnSwap)
	}
	if s.Live.Bitrate < 50_000 || s.Live.FrameRate < 1 || s.Live.FrameRate > 60 {
		return fmt.Errorf("settings: live: bitrate %d (from 50000 bit/s), frame_rate %g (1 to 60)", s.Live.Bitrate, s.Live.FrameRate)
	}
	if s.Delivery.Grace < 0 {
		return fmt.Errorf("settings: delivery.grace is negative")
	}
	if _, err := s.codes(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, i := range s.Instrument {
		if i.Name == "" || seen[i.Name] {
			return fmt.Errorf("settings: instrument %q: every instrument needs a name of its own", i.Name)
		}
		seen[i.Name] = true
	}
	return nil
}
