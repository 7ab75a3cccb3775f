package refresh

import (
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/presets"
)

// reuseEndsOthers reports whether presenting a spent refresh token would end
// grants beyond this connection: then an attempt whose answer was lost is not
// repeated.
func (s *Service) reuseEndsOthers(c connection.Connection) bool {
	return s.habits(c).OnReuse.Family == "all"
}

// renewable reports whether there is anything to renew the connection's tokens
// with: a refresh token, or the access token itself.
func (s *Service) renewable(c connection.Connection) bool {
	return renewable(c, s.habits(c))
}

func renewable(c connection.Connection, h presets.Refresh) bool {
	switch h.Grant {
	case presets.GrantExchange:
		return true
	case presets.GrantNone:
		return false // whatever it gave us
	}
	return c.Set.Renewable()
}

// habits are how the connection's provider renews. They are resolved once: it
// checks the whole provider, and a catalogue does not change.
func (s *Service) habits(c connection.Connection) presets.Refresh {
	name := [2]string{c.Provider, c.Variant}
	if known, ok := s.known.Load(name); ok {
		return known.(presets.Refresh)
	}
	p, ok := s.Catalogue.Provider(c.Provider)
	if !ok {
		return presets.Refresh{}
	}
	p, err := p.Resolve(c.Variant, s.Catalogue.Provider)
	if err != nil {
		return presets.Refresh{}
	}
	s.known.Store(name, p.Refresh)
	return p.Refresh
}
