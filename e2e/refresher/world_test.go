package refresher

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// account is one connection at one authorization server, as the test that
// watches sees it: by the stores' own contents and by the provider's.
type account struct {
	t      *testing.T
	auth   *authServer
	place  place
	stores stores
	key    connection.Key
	// ahead is by how much the clocks of the processes are ahead.
	ahead time.Duration
}

// newAccount connects an account whose token lives for an hour.
func newAccount(t *testing.T, p place, h habit) *account {
	t.Helper()
	a := &account{t: t, auth: newAuthServer(t, h), place: p, key: connection.Key{Tenant: "default", ID: token.NewID("con")}}
	var err error
	if a.stores, err = p.open(t.Context(), a.now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.stores.close() })
	err = a.stores.connections.Create(t.Context(), connection.Connection{Key: a.key, UserID: "ada", Server: "engine", AuthType: "oauth",
		Provider: "engine", Status: connection.Pending, CreatedAt: a.now().UTC()})
	if err != nil {
		t.Fatal(err)
	}
	a.reconnect()
	return a
}

func (a *account) now() time.Time { return time.Now().Add(a.ahead) }

// reconnect is what a person does, and the only remedy for a lost grant.
func (a *account) reconnect() {
	a.t.Helper()
	version, flow := token.NewID("set"), token.NewID("flo")
	set, err := a.stores.vault.Seal(a.t.Context(), vault.Caller{Tenant: a.key.Tenant, Actor: "callback"}, a.row(), version, "connect", a.auth.connect(a.t, a.now()))
	if err != nil {
		a.t.Fatal(err)
	}
	_, err = a.stores.connections.Update(a.t.Context(), a.key, func(c *connection.Connection) error {
		g := connection.Granted{Account: connection.Account{Subject: "ada"}, ClientID: a.auth.ClientID}
		return errors.Join(
			c.Propose(connection.Proposal{FlowID: flow, ConfirmBy: a.now().Add(time.Minute), Set: set, Granted: g}),
			c.Promote(flow, a.now()))
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *account) row() connection.Connection {
	a.t.Helper()
	c, err := a.stores.connections.Get(a.t.Context(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// stored reports whether a grant of that version is stored, and its refresh token.
func (a *account) stored(version string) (string, bool) {
	a.t.Helper()
	if version == "" {
		return "", false
	}
	caller := vault.Caller{Tenant: a.key.Tenant, Actor: "test"}
	g, err := a.stores.vault.Grant(a.t.Context(), caller, a.row(), connection.Set{GrantVersion: version}, "test")
	if errors.Is(err, vault.ErrNoGrant) {
		return "", false
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return g.Renewables[""].RefreshToken.Reveal(), true
}

// recoverable reports whether the provider would still honour a refresh token
// of the connection that our stores hold: whether it can go on.
func (a *account) recoverable() bool {
	a.t.Helper()
	honoured, c := a.auth.seen(a.t).Honoured, a.row()
	versions := []string{c.Set.GrantVersion}
	if c.Intent != nil {
		versions = append(versions, c.Intent.ID)
	}
	return slices.ContainsFunc(versions, func(v string) bool {
		rt, ok := a.stored(v)
		return ok && slices.Contains(honoured, rt)
	})
}

// order is one to get a token of this connection, by a clock that is now as
// much ahead as the account's.
func (a *account) order() order {
	return order{Do: "token", Auth: a.auth, Key: a.key, Clock: max(a.ahead, 1)}
}
