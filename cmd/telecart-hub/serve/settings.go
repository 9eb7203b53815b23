package serve

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/BurntSushi/toml"

	"telecart/provisioning/claim"
)

// Settings are the settings file: hub.toml, where every key is described.
type Settings struct {
	Name           string   `toml:"name"`
	Listen         string   `toml:"listen"`
	Address        string   `toml:"address"`
	PeopleListen   string   `toml:"people_listen"`
	MediaListen    string   `toml:"media_listen"`
	MediaAddresses []string `toml:"media_addresses"`
	State          string   `toml:"state"`
	MetricsListen  string   `toml:"metrics_listen"`
}

// LoadSettings reads and checks a settings file.
func LoadSettings(path string) (Settings, error) {
	var s Settings
	meta, err := toml.DecodeFile(path, &s)
	if err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	if odd := meta.Undecoded(); len(odd) > 0 {
		names := make([]string, len(odd))
		for i, k := range odd {
			names[i] = k.String()
		}
		return s, fmt.Errorf("settings: %s: no such key: %s; hub.toml in the documentation lists them all", path, strings.Join(names, ", "))
	}
	if err := s.Validate(); err != nil {
		return s, fmt.Errorf("settings: %s: %w", path, err)
	}
	return s, nil
}

// Validate says what is wrong and what to do.
func (s Settings) Validate() error {
	if !claim.ValidName(s.Name) {
		return fmt.Errorf("name %q: give the hub's DNS name in lower case, like hub.example.org", s.Name)
	}
	if s.State == "" {
		return fmt.Errorf("state: give the folder that `telecart-hub keys init` prepared")
	}
	for _, a := range []struct{ key, value string }{{"listen", s.Listen}, {"media_listen", s.MediaListen}} {
		if a.value == "" {
			return fmt.Errorf("%s: give an address like :443", a.key)
		}
	}
	for _, a := range []struct{ key, value string }{{"listen", s.Listen}, {"media_listen", s.MediaListen}, {"people_listen", s.PeopleListen},
		{"metrics_listen", s.MetricsListen}, {"address", s.Address}} {
		if a.value == "" || a.key == "media_listen" && a.value == noMedia {
			continue
		}
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			return fmt.Errorf("%s %q: want host:port", a.key, a.value)
		}
	}
	if s.PeopleListen != "" && !loopback(s.PeopleListen) {
		return fmt.Errorf("people_listen %q: it has no TLS, so it must be a loopback address like 127.0.0.1:8080, with a proxy in front", s.PeopleListen)
	}
	for _, a := range s.MediaAddresses {
		if _, err := netip.ParseAddr(a); err != nil {
			return fmt.Errorf("media_addresses: %q is no IP address", a)
		}
	}
	return nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
