package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// Look returns the flow as it stands. One that waits for what can no longer come,
// a confirmation or a choice, has failed, whether or not that was written down.
func (s *Starter) Look(ctx context.Context, id string) (Flow, error) {
	f, err := s.Store.GetFlow(ctx, id)
	if err != nil || f.Status != Pending && f.Status != Picking {
		if err == nil && !f.Status.Ended() && s.Now().After(f.ExpiresAt.Add(stateTTL)) {
			f.Status, f.Result.Code, f.Result.Detail = Failed, ErrFlowExpired.Code, ErrFlowExpired.Message
		}
		return f, err
	}
	c, err := s.Connections.Get(ctx, connection.Key{Tenant: f.Tenant, ID: f.Result.ConnectionID})
	if err != nil && !errors.Is(err, connection.ErrNotFound) {
		return f, err
	}
	switch {
	case inForce(c, f):
		f.Status = Connected // its confirmation was interrupted
	case c.Proposal != nil && c.Proposal.FlowID == f.ID && !s.Now().After(c.Proposal.ConfirmBy):
		if len(c.Proposal.Places) == 0 {
			f.Status = Pending // the choice was interrupted
		}
	case f.Status == Picking:
		f.Status, f.Result.Code, f.Result.Detail = Failed, "not_picked", "nobody picked in time what it is for, and it has been given back"
	default:
		f.Status, f.Result.Code, f.Result.Detail = Failed, "not_confirmed", "it was not confirmed in time and has been revoked"
	}
	return f, nil
}

// Confirm is the tenant's backend saying that the browser it sees at return_url
// is that user. Only then is the connection in force.
func (s *Starter) Confirm(ctx context.Context, tenant, id, user string) (Flow, error) {
	f, err := s.Store.GetFlow(ctx, id)
	if err != nil || f.Tenant != tenant {
		return Flow{}, cmpErr(err, ErrFlowUnknown)
	}
	switch {
	case f.UserID != user:
		return Flow{}, ErrOtherUser
	case f.Status == Connected:
		return f, nil // a repeated confirmation
	case f.Status != Pending && f.Status != Picking: // the row knows whether a place is picked
		return Flow{}, ErrNotConfirmable
	}
	k := connection.Key{Tenant: tenant, ID: f.Result.ConnectionID}
	_, err = s.Connections.Update(ctx, k, func(c *connection.Connection) error { return c.Promote(f.ID, s.Now().UTC()) })
	if errors.Is(err, connection.ErrNoProposal) || errors.Is(err, connection.ErrNotFound) || errors.Is(err, connection.ErrGone) {
		if c, err := s.Connections.Get(ctx, k); err != nil || !inForce(c, f) {
			return Flow{}, fmt.Errorf("%w: it was not confirmed in time, was replaced by a later attempt, or waits for the person to pick a place", ErrNotConfirmable)
		}
		// It was confirmed before: at this moment, or by a call that was
		// interrupted before it could say so.
	} else if err != nil {
		return Flow{}, err
	}
	f.Status = Connected
	written, err := s.Store.UpdateFlow(ctx, f)
	if errors.Is(err, ErrChanged) {
		return s.Store.GetFlow(ctx, id) // the other confirmation has written it
	}
	return written, err
}

// inForce reports whether the set that the flow made is the connection's own.
func inForce(c connection.Connection, f Flow) bool {
	return c.Status == connection.Connected && f.Result.SetID != "" &&
		(c.Set.AccessVersion == f.Result.SetID || c.Set.GrantVersion == f.Result.SetID)
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
