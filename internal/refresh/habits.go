package refresh

import (
	"fmt"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
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

// habits are how the connection's provider renews.
func (s *Service) habits(c connection.Connection) presets.Refresh {
	if c.Found != nil {
		return presets.Refresh{} // those of the RFCs
	}
	p, err := s.provider(c.Provider, c.Variant)
	if err != nil {
		return presets.Refresh{}
	}
	return p.Refresh
}

// provider is the provider as its variant has it, which nobody changes. It is
// resolved once: that checks the whole of it, and a catalogue stays as it is.
func (s *Service) provider(id, variant string) (*presets.Provider, error) {
	name := [2]string{id, variant}
	if known, ok := s.known.Load(name); ok {
		return known.(*presets.Provider), nil
	}
	p, ok := s.Catalogue.Provider(id)
	if !ok {
		return nil, fmt.Errorf("%w: provider %q", flow.ErrServer, id)
	}
	p, err := p.Resolve(variant, s.Catalogue.Provider)
	if err != nil {
		return nil, err
	}
	s.known.Store(name, &p)
	return &p, nil
}
