package flow

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/lanyardhq/lanyard/presets"
)

const (
	// askWindow is for how long the same question has the same flow: half of its
	// life, so that the person has the other half.
	askWindow = flowTTL / 2
	// maxAgain bounds how many flows a question may begin in that time, because
	// those before have ended.
	maxAgain = 8
)

// Question is what a person is asked in the middle of a conversation of their
// MCP client: to connect a server, or to grant it more.
type Question struct {
	Tenant, UserID, Server string
	// ConnectionID is the connection to reconnect; empty: there is none.
	ConnectionID string
	// Scopes are those that are missing.
	Scopes []string
	// Seed is secret and a function of the question.
	Seed []byte
}

// Ask begins a flow for the question, or finds the one that it has, and returns
// the address of our page. Nobody but that user proceeds there: see
// [Flow.Asks]. Who finishes it is confirmed as the tenant says.
func (s *Starter) Ask(ctx context.Context, q Question) (string, error) {
	server, ok := s.Catalogue.Server(q.Server)
	if !ok {
		return "", ErrServer
	}
	r := StartRequest{Tenant: q.Tenant, UserID: q.UserID, Server: q.Server, ConnectionID: q.ConnectionID, Scopes: withOwn(server, q.Scopes), Elicited: true}
	window := s.Now().UTC().Truncate(askWindow)
	for again := range uint64(maxAgain) {
		r.Seed = binary.BigEndian.AppendUint64(slices.Clone(q.Seed), uint64(window.Unix()))
		r.Seed = binary.BigEndian.AppendUint64(r.Seed, again)
		f, err := s.Start(ctx, r)
		switch {
		case errors.Is(err, ErrExists): // in other words, such as more scopes
		case err != nil:
			return "", err
		case !f.Status.Ended() && f.Status != Pending && f.Status != Picking && f.ExpiresAt.Sub(s.Now()) > time.Minute:
			return s.BaseURL + "/c/" + f.ID, nil
		}
	}
	return "", ErrFlowEnded
}

// withOwn are the scopes of the server's main parameter and those that are
// missing there. None are missing: none, which asks for the server's own.
func withOwn(server presets.Server, missing []string) []string {
	if len(missing) == 0 {
		return nil
	}
	var out, elsewhere []string
	for _, sc := range server.OAuthScopes {
		if sc.Param == "" {
			out = append(out, sc.Scope)
		} else {
			elsewhere = append(elsewhere, sc.Scope)
		}
	}
	for _, sc := range missing {
		if !slices.Contains(out, sc) && !slices.Contains(elsewhere, sc) {
			out = append(out, sc)
		}
	}
	return out
}

// Asks checks that an elicited flow asks the person of the page session: its
// address may have been sent to somebody else. ErrFlowOther if it does not.
func (f Flow) Asks(ses Session) error {
	if f.Elicited && (ses.Tenant != f.Tenant || ses.UserID != f.UserID || len(ses.Servers) > 0 && !slices.Contains(ses.Servers, f.Server)) {
		return ErrFlowOther
	}
	return nil
}

// TakeUp notes that the person whom a flow asks takes it up. Who has shown who
// they are, as the owner of this machine or by signing in, has nobody to confirm
// it.
func (s *Starter) TakeUp(ctx context.Context, f Flow, ses Session) error {
	if err := f.Asks(ses); err != nil || !ses.Owner && !ses.Proven || !f.Elicited || !f.Confirm {
		return err
	}
	f.Confirm = false
	_, err := s.Store.UpdateFlow(ctx, f)
	return err
}
