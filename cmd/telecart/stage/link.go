package stage

import (
	"net"
)

// Link is the cart's way to its hub, which can be cut: the hub's claims lead here.
type Link struct{ r *relay }

// NewLink chooses the hub's addresses and stands in front of them.
func NewLink(s *Stage) (*Link, error) {
	var err error
	for _, p := range []*string{&s.Hub.HTTPS, &s.Hub.Public, &s.Hub.People, &s.Hub.Metrics, &s.Bedside, &s.CartMetrics} {
		if *p != "" {
			continue
		}
		if *p, err = FreePort(); err != nil {
			return nil, err
		}
	}
	// The hub's media port, and the same port number on another loopback address, where the relay stands.
	_, port, err := net.SplitHostPort(s.Hub.HTTPS)
	if err != nil {
		return nil, err
	}
	s.Hub.Media, s.Hub.MediaPublic = "127.0.0.2:"+port, "127.0.0.3"
	r, err := newRelay(s.Hub.Public, "127.0.0.3:"+port)
	if err != nil {
		return nil, err
	}
	if err := r.run(s.Hub.HTTPS, s.Hub.Media); err != nil {
		r.close()
		return nil, err
	}
	return &Link{r}, nil
}

// Cut cuts the link (true) or restores it.
func (l *Link) Cut(cut bool) { l.r.setCut(cut) }

// Close ends it.
func (l *Link) Close() { l.r.close() }
