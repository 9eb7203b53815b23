package console

import (
	"context"

	"telecart/provisioning/people"
	"telecart/uplink/hub/clinic"
)

// voice is what somebody says of the own microphone. Who may see and hear a consult may speak in it.
func (p *page) voice(ctx context.Context, c command) (any, error) {
	cl := p.s.o.Clinic
	if err := p.may(people.Watch, people.Stream, cl.Members(p.who.Tenant, "", c.Consult)...); err != nil {
		return nil, err
	}
	said := map[string]clinic.Saying{"mute": clinic.Muted, "unmute": clinic.Unmuted, "hush": clinic.Hushed, "show": clinic.Shown}
	if what, ok := said[c.Verb]; ok {
		return nil, cl.Say(p.who, c.Consult, what)
	}
	endpoint, token, err := cl.Speak(p.who, c.Consult)
	if err != nil {
		return nil, err
	}
	return named{"endpoint": endpoint, "token": token}, p.audit(ctx, "speak", named{"consult": c.Consult})
}
