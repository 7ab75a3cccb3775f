package conformance_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/fake"
)

func authServers(adapter func(*fake.AuthServer) authserver.Store) func(*testing.T) {
	return func(t *testing.T) {
		conformance.AuthServer(t, func(*testing.T) authserver.Store { return adapter(fake.New().AuthServer()) })
	}
}

func init() {
	mutants["a grant is written as it was read before"] = broken{"UpdateGrantRaced",
		authServers(func(s *fake.AuthServer) authserver.Store { return grantsOutside{s} })}
	mutants["a refused change of a grant is kept"] = broken{"UpdateGrantErrorLeavesIt",
		authServers(func(s *fake.AuthServer) authserver.Store { return keepsRefused{s} })}
	mutants["an update brings a grant back"] = broken{"DeleteGrantRacedByUpdates",
		authServers(func(s *fake.AuthServer) authserver.Store { return revivesGrant{s, &sync.Map{}} })}
	mutants["delete forgets the grant"] = broken{"DeletedGrantIsNotAdded",
		authServers(func(s *fake.AuthServer) authserver.Store { return forgetsGrants{s} })}
	mutants["a request is overwritten"] = broken{"UpdateRequestRaced",
		authServers(func(s *fake.AuthServer) authserver.Store { return overwritesRequest{s} })}
	mutants["what works once is looked up, then noted"] = broken{"SpendOnce",
		authServers(func(s *fake.AuthServer) authserver.Store { return spendsAnew{s} })}
	mutants["one more is let in than there may be"] = broken{"AdmitSoMany",
		authServers(func(s *fake.AuthServer) authserver.Store { return admitsOneMore{s} })}
	mutants["a user's consents stay"] = broken{"DeleteUserOfGrants",
		authServers(func(s *fake.AuthServer) authserver.Store { return deletesGrantsOnly{s} })}
	mutants["all clients are listed"] = broken{"RegisteredClients",
		authServers(func(s *fake.AuthServer) authserver.Store { return registersAll{s} })}
}

type grantsOutside struct{ *fake.AuthServer }

func (s grantsOutside) UpdateGrant(ctx context.Context, id string, change func(*authserver.Grant) error) (authserver.Grant, error) {
	g, err := s.GetGrant(ctx, id)
	if err != nil {
		return g, err
	}
	if err := change(&g); err != nil {
		return authserver.Grant{}, err
	}
	meanwhile()
	return s.AuthServer.UpdateGrant(ctx, id, func(stored *authserver.Grant) error {
		*stored = g
		return nil
	})
}

type keepsRefused struct{ *fake.AuthServer }

func (s keepsRefused) UpdateGrant(ctx context.Context, id string, change func(*authserver.Grant) error) (authserver.Grant, error) {
	var refused error
	g, err := s.AuthServer.UpdateGrant(ctx, id, func(g *authserver.Grant) error {
		refused = change(g)
		return nil
	})
	if refused != nil {
		return authserver.Grant{}, refused
	}
	return g, err
}

// revivesGrant stores what it read, whether it is still there or not.
type revivesGrant struct {
	*fake.AuthServer
	back *sync.Map
}

func (s revivesGrant) GetGrant(ctx context.Context, id string) (authserver.Grant, error) {
	if g, ok := s.back.Load(id); ok {
		return g.(authserver.Grant), nil
	}
	return s.AuthServer.GetGrant(ctx, id)
}

func (s revivesGrant) UpdateGrant(ctx context.Context, id string, change func(*authserver.Grant) error) (authserver.Grant, error) {
	g, err := s.GetGrant(ctx, id)
	if err != nil {
		return g, err
	}
	if err := change(&g); err != nil {
		return authserver.Grant{}, err
	}
	for { // until somebody has deleted it
		if _, err := s.AuthServer.GetGrant(ctx, id); err != nil {
			s.back.Store(id, g)
			return g, nil
		}
		meanwhile()
	}
}

type forgetsGrants struct{ *fake.AuthServer }

func (s forgetsGrants) AddGrant(ctx context.Context, g authserver.Grant) error {
	err := s.AuthServer.AddGrant(ctx, g)
	if _, gone := s.GetGrant(ctx, g.ID); gone != nil {
		return nil
	}
	return err
}

type overwritesRequest struct{ *fake.AuthServer }

func (s overwritesRequest) UpdateRequest(ctx context.Context, r authserver.Request) (authserver.Request, error) {
	there, err := s.GetRequest(ctx, r.ID)
	if err != nil {
		return there, err
	}
	r.Revision = there.Revision
	return s.AuthServer.UpdateRequest(ctx, r)
}

type spendsAnew struct{ *fake.AuthServer }

func (s spendsAnew) Spend(ctx context.Context, what string, until time.Time) error {
	meanwhile()
	_ = s.AuthServer.Spend(ctx, what, until)
	return nil
}

type admitsOneMore struct{ *fake.AuthServer }

func (s admitsOneMore) Admit(ctx context.Context, window string, most int, until time.Time) error {
	return s.AuthServer.Admit(ctx, window, most+1, until)
}

type deletesGrantsOnly struct{ *fake.AuthServer }

func (s deletesGrantsOnly) DeleteUser(ctx context.Context, tenant, user string) error {
	grants, err := s.Grants(ctx, tenant, user)
	for _, g := range grants {
		_ = s.DeleteGrant(ctx, g.ID)
	}
	return err
}

type registersAll struct{ *fake.AuthServer }

func (s registersAll) RegisteredClients(ctx context.Context) ([]authserver.Client, error) {
	all, err := s.AuthServer.RegisteredClients(ctx)
	if c, dynamic := s.GetClient(ctx, "cli_3"); dynamic == nil {
		all = append(all, c)
	}
	return all, err
}
