package connection

import (
	"bytes"
	"maps"
	"slices"
)

// Clone returns a copy that shares nothing with c that can be changed.
func (c Connection) Clone() Connection {
	c.Granted, c.Set = c.Granted.clone(), c.Set.clone()
	if c.Proposal != nil {
		p := *c.Proposal
		p.Granted, p.Set, p.Places = p.Granted.clone(), p.Set.clone(), slices.Clone(p.Places)
		for i, place := range p.Places {
			p.Places[i] = place.clone()
		}
		c.Proposal = &p
	}
	c.Retired = slices.Clone(c.Retired)
	for i, r := range c.Retired {
		c.Retired[i] = Retired{Set: r.Set.clone(), Granted: r.Granted.clone()}
	}
	c.Lease, c.Intent, c.Failure = another(c.Lease), another(c.Intent), another(c.Failure)
	c.ScopesLost, c.Events = slices.Clone(c.ScopesLost), slices.Clone(c.Events)
	c.Tools = ToolFilter{Allow: slices.Clone(c.Tools.Allow), Deny: slices.Clone(c.Tools.Deny)}
	return c
}

// another is a copy of what has nothing to share.
func another[T Lease | Intent | Failure | Found](of *T) *T {
	if of == nil {
		return nil
	}
	t := *of
	return &t
}

func (s Set) clone() Set {
	s.Access = bytes.Clone(s.Access)
	return s
}

func (g Granted) clone() Granted {
	g.ScopesAsked, g.Scopes = slices.Clone(g.ScopesAsked), slices.Clone(g.Scopes)
	g.ClientAt, g.Parameters = maps.Clone(g.ClientAt), maps.Clone(g.Parameters)
	g.Found = another(g.Found)
	if g.Place != nil {
		p := g.Place.clone()
		g.Place = &p
	}
	return g
}
