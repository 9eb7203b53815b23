package clinic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"telecart/device"
	"telecart/uplink/link"
)

// A consult's voices: the cart's microphone, which is a stream like a camera's, and one stream for each member who turned a
// microphone on. The cart hears all of them; so may the members hear each other.

// speaker is a member whose microphone is on.
type speaker struct {
	Person
	muted bool
	seen  bool       // the stream has a picture, too
	heard publishing // the cart's token to listen
}

// Voice is a member who can be heard, or who is muted for now.
type Voice struct {
	Who    string // account
	Name   string
	Source string // what WatchStream takes
	Muted  bool
	Seen   bool // there is a picture, too
}

// voiceOf is what a member's stream is called in place of an instrument: no instrument's name begins so.
func voiceOf(account string) string { return "@" + account }

// microphones are the cart's, of those that are there.
func microphones(p link.Presence) (names []string) {
	for _, i := range p.Instruments {
		if i.Kind == device.KindVoice && i.Health.State != device.Absent {
			names = append(names, i.Name)
		}
	}
	return names
}

// Speak lets a member of a live consult be heard: a WHIP address and a token for some minutes. From now on the cart listens.
func (s *Service) Speak(w Who, consult string) (endpoint, token string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.talks(w, consult)
	if err != nil {
		return "", "", err
	}
	stream := StreamName(st.Tenant, st.Name, voiceOf(w.ID))
	if st.speaking == nil {
		st.speaking = map[string]*speaker{}
	}
	st.speaking[w.ID] = &speaker{Person: w.Person}
	s.settle(st)
	return whip(stream), s.o.Tokens.Issue(consult, stream, Publish, w.ID, watchLife), nil
}

// Saying is what became of a member's microphone.
type Saying string

const (
	Muted   Saying = "muted"   // the session stays, and says nothing
	Unmuted Saying = "unmuted" //
	Hushed  Saying = "hushed"  // it is off
	Shown   Saying = "shown"   // there is a picture, too, until the next Speak
)

// Say takes a member's word on the own microphone.
func (s *Service) Say(w Who, consult string, what Saying) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.consult(w.Tenant, consult)
	if err != nil {
		return err
	}
	switch k := st.speaking[w.ID]; {
	case what == Hushed:
		s.hush(st, w.ID)
	case k == nil:
		return fmt.Errorf("%w: your microphone is not on", ErrNotNow)
	case what == Shown:
		k.seen = true
	default:
		k.muted = what == Muted
	}
	s.settle(st)
	return nil
}

func (s *Service) talks(w Who, consult string) (*station, error) {
	st, err := s.consult(w.Tenant, consult)
	switch {
	case err != nil:
		return nil, err
	case !st.consult.Member(w.ID):
		return nil, ErrMember
	case st.consult.Base != Live:
		return nil, fmt.Errorf("%w: it is %s", ErrNotNow, st.consult.Phase())
	}
	return st, nil
}

// hush ends what a member says, or with "" what all of them say.
func (s *Service) hush(st *station, account string) {
	for id, k := range st.speaking {
		if account == "" || id == account {
			s.kick(s.o.Tokens.Void(st.consult.ID, Publish, k.ID))
			delete(st.speaking, id)
		}
	}
}

// hear is what the cart is to listen to: those who are there, for only they are named at the bedside.
func (s *Service) hear(st *station) (all []link.Voice) {
	if st.consult.Base != Live {
		return nil
	}
	now := s.o.Clock.Now()
	for id, k := range st.speaking {
		if s.present[tenantID[string]{st.Tenant, id}] == 0 {
			continue
		}
		stream := StreamName(st.Tenant, st.Name, voiceOf(id))
		if k.heard.ends.Sub(now) < publishRenew {
			k.heard = publishing{s.o.Tokens.Issue(st.consult.ID, stream, Watch, "", publishLife), now.Add(publishLife)}
		}
		all = append(all, link.Voice{Stream: link.Stream{Instrument: voiceOf(id), Endpoint: whep(stream), Token: k.heard.token}, Name: k.Name, Muted: k.muted, Seen: k.seen})
	}
	slices.SortFunc(all, func(a, b link.Voice) int { return cmp.Compare(a.Stream.Instrument, b.Stream.Instrument) })
	return all
}

// voices are the members who can be heard.
func (s *Service) voices(st *station) (all []Voice) {
	for id, k := range st.speaking {
		all = append(all, Voice{id, k.Name, voiceOf(id), k.muted, k.seen})
	}
	slices.SortFunc(all, func(a, b Voice) int { return cmp.Compare(a.Who, b.Who) })
	return all
}

// hears says whether a member of the consult may listen to the source: the cart's microphone, or another member's.
func (s *Service) hears(st *station, source string) bool {
	account, isMember := strings.CutPrefix(source, "@")
	if !isMember {
		return slices.Contains(microphones(st.presence), source)
	}
	_, speaks := st.speaking[account]
	return speaks
}
