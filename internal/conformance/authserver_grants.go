package conformance

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

func oauthGrant(n int) authserver.Grant {
	return authserver.Grant{
		ID: fmt.Sprint("gnt_", n), Tenant: tenant, UserID: "ann", ClientID: "cli_1", ClientName: "A client",
		Resource: "https://lanyard.example/mcp/drive", Server: "drive", Servers: []string{"drive"}, Connection: "con_1", Scopes: []string{"a"},
		Code:    authserver.Code{Hash: "code", Challenge: "challenge", RedirectURI: "https://client.example/callback", ExpiresAt: expiry, Taken: true},
		Refresh: authserver.Refresh{Family: "family", Last: "last", Next: []string{"next"}},
		Access:  []authserver.Access{{Hash: "access", ExpiresAt: expiry}},
		// The list is by this.
		CreatedAt: epoch.Add(time.Duration(n) * time.Second), UsedAt: epoch, ExpiresAt: expiry, Revision: 4,
	}
}

func wantGrantRow(t *testing.T, s authserver.Store, want authserver.Grant) {
	t.Helper()
	got, err := s.GetGrant(t.Context(), want.ID)
	ok(t, err)
	same(t, got, want)
}

func wantGrantRows(t *testing.T, s authserver.Store, tenant, user string, want ...authserver.Grant) {
	t.Helper()
	got, err := s.Grants(t.Context(), tenant, user)
	ok(t, err)
	same(t, got, want)
}

func updateGrant(t *testing.T, s authserver.Store) {
	ok(t, s.AddGrant(t.Context(), oauthGrant(1)))
	want := oauthGrant(1)
	for i := range 3 {
		got, err := s.UpdateGrant(t.Context(), want.ID, func(g *authserver.Grant) error {
			same(t, *g, want)
			g.Refresh.Last, g.ExpiresAt = fmt.Sprint("last", i), expiry.Add(time.Hour)
			return nil
		})
		ok(t, err)
		want.Refresh.Last, want.ExpiresAt = fmt.Sprint("last", i), expiry.Add(time.Hour)
		want.Revision++
		same(t, got, want)
		wantGrantRow(t, s, want) // what was written last, at once
		wantGrantRows(t, s, tenant, "ann", want)
	}
	_, err := s.UpdateGrant(t.Context(), "gnt_2", func(*authserver.Grant) error {
		t.Error("a grant that is not there is changed")
		return nil
	})
	wantErr(t, err, authserver.ErrNoGrant)
}

func updateGrantErrorLeavesIt(t *testing.T, s authserver.Store) {
	ok(t, s.AddGrant(t.Context(), oauthGrant(1)))
	no := errors.New("no")
	_, err := s.UpdateGrant(t.Context(), "gnt_1", func(g *authserver.Grant) error {
		g.UserID, g.Access[0].Hash, g.Refresh.Next[0] = "eve", "changed", "changed"
		return no
	})
	if err != no {
		t.Errorf("error %v, want change's own", err)
	}
	wantGrantRow(t, s, oauthGrant(1))
}

func updateGrantRaced(t *testing.T, s authserver.Store) {
	const racers = 16
	g := oauthGrant(1)
	g.Refresh.Next = nil
	ok(t, s.AddGrant(t.Context(), g))
	race(racers, func(i int) {
		_, err := s.UpdateGrant(t.Context(), g.ID, func(g *authserver.Grant) error {
			g.Refresh.Next = append(g.Refresh.Next, fmt.Sprint(i))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	got, err := s.GetGrant(t.Context(), g.ID)
	ok(t, err)
	if len(got.Refresh.Next) != racers || got.Revision != g.Revision+racers {
		t.Errorf("%d of %d changes are there, at revision %d", len(got.Refresh.Next), racers, got.Revision)
	}
}

func deleteGrant(t *testing.T, s authserver.Store) {
	ok(t, s.AddGrant(t.Context(), oauthGrant(1)))
	ok(t, s.AddGrant(t.Context(), oauthGrant(2)))
	for range 2 { // one that is gone, too
		ok(t, s.DeleteGrant(t.Context(), "gnt_1"))
		_, err := s.GetGrant(t.Context(), "gnt_1")
		wantErr(t, err, authserver.ErrNoGrant)
		_, err = s.UpdateGrant(t.Context(), "gnt_1", func(*authserver.Grant) error { return nil })
		wantErr(t, err, authserver.ErrNoGrant)
		wantGrantRows(t, s, tenant, "ann", oauthGrant(2))
	}
	ok(t, s.DeleteGrant(t.Context(), "gnt_3")) // one that never was
}

func deletedGrantIsNotAdded(t *testing.T, s authserver.Store) {
	ok(t, s.AddGrant(t.Context(), oauthGrant(1)))
	ok(t, s.DeleteGrant(t.Context(), "gnt_1"))
	wantErr(t, s.AddGrant(t.Context(), oauthGrant(1)), authserver.ErrExists)
	_, err := s.GetGrant(t.Context(), "gnt_1")
	wantErr(t, err, authserver.ErrNoGrant)
	wantGrantRows(t, s, tenant, "ann")
}

// deleteGrantRacedByUpdates: no update brings back what was deleted.
func deleteGrantRacedByUpdates(t *testing.T, s authserver.Store) {
	ok(t, s.AddGrant(t.Context(), oauthGrant(1)))
	var once sync.Once
	underway := make(chan struct{}) // one update has read what it will write
	race(8, func(i int) {
		if i == 0 {
			<-underway
			if err := s.DeleteGrant(t.Context(), "gnt_1"); err != nil {
				t.Error(err)
			}
			return
		}
		_, err := s.UpdateGrant(t.Context(), "gnt_1", func(*authserver.Grant) error {
			once.Do(func() { close(underway) })
			return nil
		})
		if err != nil && !errors.Is(err, authserver.ErrNoGrant) {
			t.Error(err)
		}
	})
	_, err := s.GetGrant(t.Context(), "gnt_1")
	wantErr(t, err, authserver.ErrNoGrant)
}

func grantsOfAUser(t *testing.T, s authserver.Store) {
	elsewhere, theirs := oauthGrant(4), oauthGrant(5)
	elsewhere.Tenant, theirs.UserID = "other", "bob"
	for _, g := range []authserver.Grant{oauthGrant(3), oauthGrant(1), elsewhere, oauthGrant(2), theirs} {
		ok(t, s.AddGrant(t.Context(), g))
	}
	wantGrantRows(t, s, tenant, "ann", oauthGrant(1), oauthGrant(2), oauthGrant(3)) // oldest first
	wantGrantRows(t, s, "other", "ann", elsewhere)
	wantGrantRows(t, s, tenant, "bob", theirs)
	wantGrantRows(t, s, tenant, "nobody")
}

func deleteUserOfGrants(t *testing.T, s authserver.Store) {
	ok(t, s.DeleteUser(t.Context(), tenant, "ann")) // who has nothing
	elsewhere, theirs := oauthGrant(3), oauthGrant(4)
	elsewhere.Tenant, theirs.UserID = "other", "bob"
	other, their := sampleConsent(), sampleConsent()
	other.Tenant, their.UserID = "other", "bob"
	for _, g := range []authserver.Grant{oauthGrant(1), oauthGrant(2), elsewhere, theirs} {
		ok(t, s.AddGrant(t.Context(), g))
	}
	for _, c := range []authserver.Consent{sampleConsent(), other, their} {
		ok(t, s.SaveConsent(t.Context(), c))
	}
	for range 2 {
		ok(t, s.DeleteUser(t.Context(), tenant, "ann"))
		wantGrantRows(t, s, tenant, "ann")
		wantGrantRows(t, s, "other", "ann", elsewhere)
		wantGrantRows(t, s, tenant, "bob", theirs)
		for _, id := range []string{"gnt_1", "gnt_2"} {
			_, err := s.GetGrant(t.Context(), id)
			wantErr(t, err, authserver.ErrNoGrant)
		}
		for c, want := range map[*authserver.Consent]error{{Tenant: tenant, UserID: "ann"}: authserver.ErrNoConsent, &other: nil, &their: nil} {
			_, err := s.GetConsent(t.Context(), c.Tenant, c.UserID, sampleConsent().ClientID, sampleConsent().Resource)
			wantErr(t, err, want)
		}
	}
	wantErr(t, s.AddGrant(t.Context(), oauthGrant(1)), authserver.ErrExists)
}
