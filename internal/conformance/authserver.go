package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

// AuthServer is the suite of authserver.Store.
func AuthServer(t *testing.T, newStore func(*testing.T) authserver.Store) {
	for name, check := range map[string]func(*testing.T, authserver.Store){
		"AddKeepsEveryField":        addKeepsEveryField,
		"AddRefusesATakenKey":       addRefusesATakenKey,
		"AddRaced":                  addRaced,
		"GetUnknownRecords":         getUnknownRecords,
		"SaveClientReplaces":        saveClientReplaces,
		"RegisteredClients":         registeredClients,
		"DeleteClient":              deleteClient,
		"UpdateRequest":             updateRequest,
		"UpdateRequestRefused":      updateRequestRefused,
		"UpdateRequestRaced":        updateRequestRaced,
		"UpdateGrant":               updateGrant,
		"UpdateGrantErrorLeavesIt":  updateGrantErrorLeavesIt,
		"UpdateGrantRaced":          updateGrantRaced,
		"DeleteGrant":               deleteGrant,
		"DeletedGrantIsNotAdded":    deletedGrantIsNotAdded,
		"DeleteGrantRacedByUpdates": deleteGrantRacedByUpdates,
		"GrantsOfAUser":             grantsOfAUser,
		"SaveConsentReplaces":       saveConsentReplaces,
		"DeleteUserOfGrants":        deleteUserOfGrants,
		"SpendOnce":                 spendOnce,
		"AdmitSoMany":               admitSoMany,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newStore(t))
		})
	}
}

func sampleClient() authserver.Client {
	return authserver.Client{
		ID: "https://client.example/metadata.json?a=b#c%", Kind: authserver.Document, Name: "A client", URI: "https://client.example",
		RedirectURIs: []string{"https://client.example/callback", "http://localhost/callback"}, AuthMethod: authserver.AuthKeyJWT,
		SecretHash: "hash", JWKS: json.RawMessage(`{"keys":[]}`), JWKSURI: "https://client.example/keys", CreatedAt: epoch, ExpiresAt: expiry,
	}
}

func sampleRequest() authserver.Request {
	return authserver.Request{
		ID: "req_1", ClientID: "cli_1", RedirectURI: "https://client.example/callback", State: "state", Challenge: "challenge",
		Scopes: []string{"a", "b"}, Resource: "https://lanyard.example/mcp/drive", Tenant: tenant, Server: "drive", Browser: "mine",
		UserID: "ann", Servers: []string{"drive"}, FlowID: "flo_1", ConnectionID: "con_1", Status: authserver.Allowed,
		CreatedAt: epoch, ExpiresAt: expiry, Revision: 4,
	}
}

func sampleConsent() authserver.Consent {
	return authserver.Consent{
		Tenant: tenant, UserID: "ann", ClientID: "https://client.example/metadata.json", Resource: "https://lanyard.example/mcp/drive",
		RedirectURI: "https://client.example/callback", Scopes: []string{"a"}, At: epoch, ExpiresAt: expiry,
	}
}

// addAll adds the samples.
func addAll(t *testing.T, s authserver.Store) {
	t.Helper()
	ok(t, s.AddClient(t.Context(), sampleClient()))
	ok(t, s.AddRequest(t.Context(), sampleRequest()))
	ok(t, s.AddGrant(t.Context(), oauthGrant(1)))
}

// addKept checks that the samples are there, unchanged.
func addKept(t *testing.T, s authserver.Store) {
	t.Helper()
	wantClient(t, s, sampleClient())
	r, err := s.GetRequest(t.Context(), "req_1")
	ok(t, err)
	same(t, r, sampleRequest())
	wantGrantRow(t, s, oauthGrant(1))
}

func wantClient(t *testing.T, s authserver.Store, want authserver.Client) {
	t.Helper()
	got, err := s.GetClient(t.Context(), want.ID)
	ok(t, err)
	same(t, got, want)
}

func addKeepsEveryField(t *testing.T, s authserver.Store) {
	addAll(t, s)
	addKept(t, s)
}

func addRefusesATakenKey(t *testing.T, s authserver.Store) {
	addAll(t, s)
	c, r, g := sampleClient(), sampleRequest(), oauthGrant(1)
	c.Name, r.UserID, g.UserID = "eve", "eve", "eve"
	wantErr(t, s.AddClient(t.Context(), c), authserver.ErrExists)
	wantErr(t, s.AddRequest(t.Context(), r), authserver.ErrExists)
	wantErr(t, s.AddGrant(t.Context(), g), authserver.ErrExists)
	addKept(t, s)
	wantGrantRows(t, s, tenant, "eve")
}

func addRaced(t *testing.T, s authserver.Store) {
	for _, add := range []func() error{
		func() error { return s.AddClient(t.Context(), sampleClient()) },
		func() error { return s.AddRequest(t.Context(), sampleRequest()) },
		func() error { return s.AddGrant(t.Context(), oauthGrant(1)) },
	} {
		oneWins(t, 8, authserver.ErrExists, func(int) error { return add() })
	}
}

func getUnknownRecords(t *testing.T, s authserver.Store) {
	addAll(t, s)
	for _, id := range []string{"nothing", "", "con_1"} {
		_, err := s.GetClient(t.Context(), id)
		wantErr(t, err, authserver.ErrNoClient)
		_, err = s.GetRequest(t.Context(), id)
		wantErr(t, err, authserver.ErrNoRequest)
		_, err = s.GetGrant(t.Context(), id)
		wantErr(t, err, authserver.ErrNoGrant)
	}
}

func saveClientReplaces(t *testing.T, s authserver.Store) {
	ok(t, s.SaveClient(t.Context(), sampleClient())) // none there
	wantClient(t, s, sampleClient())
	other := authserver.Client{ID: sampleClient().ID, Kind: authserver.Document, AuthMethod: authserver.AuthNone, CreatedAt: epoch}
	ok(t, s.SaveClient(t.Context(), other))
	wantClient(t, s, other)
	wantErr(t, s.AddClient(t.Context(), sampleClient()), authserver.ErrExists)
}

func registeredClients(t *testing.T, s authserver.Store) {
	client := func(id string, kind authserver.Kind) authserver.Client {
		return authserver.Client{ID: id, Kind: kind, CreatedAt: epoch}
	}
	ok(t, s.AddClient(t.Context(), sampleClient()))
	ok(t, s.AddClient(t.Context(), client("cli_2", authserver.Registered)))
	ok(t, s.AddClient(t.Context(), client("cli_3", authserver.Dynamic)))
	ok(t, s.SaveClient(t.Context(), client("cli_1", authserver.Registered)))
	got, err := s.RegisteredClients(t.Context())
	ok(t, err)
	same(t, got, []authserver.Client{client("cli_1", authserver.Registered), client("cli_2", authserver.Registered)})
	ok(t, s.SaveClient(t.Context(), client("cli_1", authserver.Dynamic)))
	ok(t, s.DeleteClient(t.Context(), "cli_2"))
	got, err = s.RegisteredClients(t.Context())
	ok(t, err)
	same(t, len(got), 0)
}

func deleteClient(t *testing.T, s authserver.Store) {
	ok(t, s.AddClient(t.Context(), sampleClient()))
	wantErr(t, s.DeleteClient(t.Context(), "nothing"), authserver.ErrNoClient)
	oneWins(t, 8, authserver.ErrNoClient, func(int) error { return s.DeleteClient(t.Context(), sampleClient().ID) })
	_, err := s.GetClient(t.Context(), sampleClient().ID)
	wantErr(t, err, authserver.ErrNoClient)
}

func updateRequest(t *testing.T, s authserver.Store) {
	ok(t, s.AddRequest(t.Context(), sampleRequest()))
	want := sampleRequest()
	want.Status, want.UserID = authserver.Answered, "bob"
	got, err := s.UpdateRequest(t.Context(), want)
	ok(t, err)
	want.Revision++
	same(t, got, want)
	got, err = s.UpdateRequest(t.Context(), got) // what it returns can be updated on
	ok(t, err)
	want.Revision++
	same(t, got, want)
	got, err = s.GetRequest(t.Context(), want.ID)
	ok(t, err)
	same(t, got, want)
}

func updateRequestRefused(t *testing.T, s authserver.Store) {
	ok(t, s.AddRequest(t.Context(), sampleRequest()))
	for _, revision := range []int64{3, 5, 0} {
		r := sampleRequest()
		r.Revision, r.Status = revision, authserver.Denied
		_, err := s.UpdateRequest(t.Context(), r)
		wantErr(t, err, authserver.ErrChanged)
	}
	unknown := sampleRequest()
	unknown.ID = "req_2"
	_, err := s.UpdateRequest(t.Context(), unknown)
	wantErr(t, err, authserver.ErrNoRequest)
	got, err := s.GetRequest(t.Context(), "req_1")
	ok(t, err)
	same(t, got, sampleRequest())
}

func updateRequestRaced(t *testing.T, s authserver.Store) {
	ok(t, s.AddRequest(t.Context(), sampleRequest()))
	oneWins(t, 32, authserver.ErrChanged, func(i int) error {
		r := sampleRequest()
		r.UserID = fmt.Sprint("user", i)
		_, err := s.UpdateRequest(t.Context(), r)
		return err
	})
}

func saveConsentReplaces(t *testing.T, s authserver.Store) {
	want := sampleConsent()
	get := func(tenant, user, client, resource string) (authserver.Consent, error) {
		return s.GetConsent(t.Context(), tenant, user, client, resource)
	}
	_, err := get(want.Tenant, want.UserID, want.ClientID, want.Resource)
	wantErr(t, err, authserver.ErrNoConsent)
	for _, scope := range []string{"a", "b"} {
		want.Scopes = []string{scope}
		ok(t, s.SaveConsent(t.Context(), want))
		got, err := get(want.Tenant, want.UserID, want.ClientID, want.Resource)
		ok(t, err)
		same(t, got, want)
	}
	for _, key := range [][4]string{
		{"other", want.UserID, want.ClientID, want.Resource},
		{want.Tenant, "bob", want.ClientID, want.Resource},
		{want.Tenant, want.UserID, "cli_1", want.Resource},
		{want.Tenant, want.UserID, want.ClientID, "https://lanyard.example/mcp/mail"},
		{want.Tenant, want.UserID, want.Resource, want.ClientID},
	} {
		_, err := get(key[0], key[1], key[2], key[3])
		wantErr(t, err, authserver.ErrNoConsent)
	}
}

func spendOnce(t *testing.T, s authserver.Store) {
	oneWins(t, 16, authserver.ErrSpent, func(int) error { return s.Spend(t.Context(), "jti one", expiry) })
	wantErr(t, s.Spend(t.Context(), "jti one", expiry.Add(time.Hour)), authserver.ErrSpent)
	ok(t, s.Spend(t.Context(), "jti two", expiry))
}

func admitSoMany(t *testing.T, s authserver.Store) {
	const most = 5
	admitted := make(chan bool, 12)
	race(cap(admitted), func(int) {
		err := s.Admit(t.Context(), "a window", most, expiry)
		if err != nil && !errors.Is(err, authserver.ErrTooMany) {
			t.Error(err)
		}
		admitted <- err == nil
	})
	n := 0
	for range cap(admitted) {
		if <-admitted {
			n++
		}
	}
	if n != most {
		t.Errorf("%d were let in, want %d", n, most)
	}
	wantErr(t, s.Admit(t.Context(), "a window", most, expiry), authserver.ErrTooMany)
	ok(t, s.Admit(t.Context(), "a window", most+1, expiry))
	ok(t, s.Admit(t.Context(), "another window", 1, expiry))
	wantErr(t, s.Admit(t.Context(), "no window", 0, expiry), authserver.ErrTooMany)
}
