package connection

import (
	"maps"
	"slices"
	"time"
)

// Place is one of several places of a provider that a grant can be for: a site, an
// organisation. All of it is the provider's text, and none of it is secret.
type Place struct {
	// ID identifies it for good.
	ID string `json:"id"`
	// Label tells it from other places, Name is what people call it, if something
	// else.
	Label string `json:"label,omitempty"`
	Name  string `json:"name,omitempty"`
	// Metadata is what is kept of it beside the tokens.
	Metadata map[string]string `json:"metadata,omitempty"`
}

func (p Place) clone() Place {
	p.Metadata = maps.Clone(p.Metadata)
	return p
}

// Offers returns the place of that id if the proposal of that flow waits for one to
// be picked, and it is one of those.
func (c Connection) Offers(flowID, placeID string, now time.Time) (Place, bool) {
	if !c.picking(flowID, now) {
		return Place{}, false
	}
	i := slices.IndexFunc(c.Proposal.Places, func(p Place) bool { return p.ID == placeID })
	if i < 0 {
		return Place{}, false
	}
	return c.Proposal.Places[i], true
}

func (c Connection) picking(flowID string, now time.Time) bool {
	p := c.Proposal
	return c.Status != Deleting && p != nil && p.FlowID == flowID && len(p.Places) > 0 && !now.After(p.ConfirmBy)
}

// Pick says which of its places the proposal of that flow is for, once. set is
// its set with what is kept of the place; the proposal now waits until confirmBy.
func (c *Connection) Pick(flowID, placeID string, set Set, now, confirmBy time.Time) error {
	place, ok := c.Offers(flowID, placeID, now)
	if !ok {
		return ErrNoProposal
	}
	p := c.Proposal
	p.Granted.Place, p.Places, p.More = &place, nil, false
	p.Set, p.ConfirmBy = set, confirmBy
	return nil
}

// Surrender takes away the proposal of that flow, whose place another connection
// is for: the grant lives on there, so that it is not retired here. The row is left
// with the place, for whoever is not told that it was written.
func (c *Connection) Surrender(flowID, placeID string, now time.Time) error {
	place, ok := c.Offers(flowID, placeID, now)
	if !ok {
		return ErrNoProposal
	}
	c.Proposal = nil
	if c.leave(); c.Status == Deleting {
		c.Place = &place
	}
	return nil
}

// Surrendered reports whether the only grant that the row ever had was surrendered for
// that place.
func (c Connection) Surrendered(placeID string) bool {
	return c.Status == Deleting && c.Proposal == nil && !c.InUse() && len(c.Retired) == 0 && c.Place != nil && c.Place.ID == placeID
}

// Decline gives up the proposal of that flow, of whose places the person wants
// none.
func (c *Connection) Decline(flowID string, now time.Time) error {
	if !c.picking(flowID, now) {
		return ErrNoProposal
	}
	c.dropProposal()
	c.leave()
	return nil
}

// leave ends a connection that never had a set in force, and now has no proposal.
func (c *Connection) leave() {
	if c.Status == Pending {
		c.Status = Deleting
	}
}
