package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/token"
)

// signIns knows grants by their access tokens.
type signIns struct {
	grants map[token.Secret]authserver.Grant
	err    error
}

func (s signIns) Check(_ context.Context, bearer token.Secret, resource string) (authserver.Grant, error) {
	g, ok := s.grants[bearer]
	if s.err != nil {
		return g, s.err
	}
	if !ok || g.Resource != resource {
		return authserver.Grant{}, authserver.ErrNoGrant
	}
	return g, nil
}

// grant lets a client in, and returns its access token.
func (s signIns) grant(tenant, user, server, con string) (token.Secret, authserver.Grant) {
	g := authserver.Grant{ID: token.NewID("gnt"), Tenant: tenant, UserID: user, ClientID: "https://client.test/", Server: server, Connection: con,
		Resource: "https://lanyard.test" + authserver.EndpointPath(tenant, server), Scopes: []string{"notes.read"}}
	access := token.Secret("lat_" + g.ID + ".canary" + strings.Repeat("-", 37))
	s.grants[access] = g
	return access, g
}

// TestSignedIn: the access token of a client that has signed in is good at the
// endpoint that its person allowed it, of that server and tenant, as long as the
// connection is there.
func TestSignedIn(t *testing.T) {
	t.Parallel()
	w, _ := newOrders(t)
	ctx := t.Context()
	in := signIns{grants: map[token.Secret]authserver.Grant{}}
	c := w.connect("ada", "notes")
	abroad := c
	abroad.Tenant = "acme"
	if err := w.store.Create(ctx, abroad); err != nil {
		t.Fatal(err)
	}
	access, g := in.grant("default", "ada", "notes", c.ID)
	_, _, err := w.service.Bearer(ctx, access, "default", "notes")
	wantErr(t, "where nobody can sign in", err, host.ErrNoToken)
	w.service.SignIns = in
	got, who, err := w.service.Bearer(ctx, access, "default", "notes")
	if err != nil || got.ID != c.ID || who.User != "ada" || who.Client != "oauth:"+g.ID || who.Application != g.ClientID || who.Server != "notes" || len(who.Scopes) != 1 {
		t.Errorf("%s %+v %v", got.ID, who, err)
	}
	if caller := who.Caller(c.ID); caller.Actor != "oauth:"+g.ID || caller.User != "ada" || caller.Tenant != "default" || caller.Connection != c.ID {
		t.Errorf("%+v", caller)
	}
	far, farGrant := in.grant("acme", "ada", "notes", c.ID)
	if got, who, err := w.service.Bearer(ctx, far, "acme", "notes"); err != nil || got.Key != abroad.Key || who.Tenant != "acme" || w.service.EndpointURL(got) != farGrant.Resource {
		t.Errorf("%v %+v %v", got.Key, who, err)
	}
	foreign, _ := in.grant("default", "grace", "notes", c.ID)
	wrong, _ := in.grant("default", "ada", "mail", c.ID)
	gone, _ := in.grant("default", "ada", "notes", "con_gone")
	deleting := w.with(w.connect("ada", "notes"), connection.Deleting)
	ended, _ := in.grant("default", "ada", "notes", deleting.ID)
	all, _ := in.grant("default", "ada", "", "")
	minted := w.mint(c)
	// What a grant says of itself must agree, whatever the store holds.
	crooked := map[string]func(*authserver.Grant){
		"tenant": func(g *authserver.Grant) { g.Tenant = "acme" }, "server": func(g *authserver.Grant) { g.Server = "mail" },
		"no connection": func(g *authserver.Grant) { g.Connection = "" },
	}
	for name, change := range crooked {
		access, g := in.grant("default", "ada", "notes", c.ID)
		change(&g)
		in.grants[access] = g
		_, _, err := w.service.Bearer(ctx, access, "default", "notes")
		wantErr(t, "a grant of another "+name, err, host.ErrNoToken)
	}
	for name, test := range map[string]struct {
		bearer         token.Secret
		tenant, server string
	}{
		"at another server":                 {access, "default", "mail"},
		"at another tenant's path":          {access, "acme", "notes"},
		"another tenant's at ours":          {far, "default", "notes"},
		"another user's connection":         {foreign, "default", "notes"},
		"a connection of another server":    {wrong, "default", "mail"},
		"a connection that has gone":        {gone, "default", "notes"},
		"a connection that is ended":        {ended, "default", "notes"},
		"for all servers, at one":           {all, "default", "notes"},
		"an MCP token at another tenant":    {minted.Token, "acme", "notes"},
		"made up":                           {"lat_" + token.Secret(g.ID) + "." + token.Secret(strings.Repeat("x", 43)), "default", "notes"},
		"a refresh token":                   {"lrt_" + access[4:], "default", "notes"},
		"cut short":                         {access[:len(access)-1], "default", "notes"},
		"its grant's id":                    {token.Secret(g.ID), "default", "notes"},
		"no server, for one's token":        {access, "default", ""},
		"a tenant that does not exist":      {access, "nobody", "notes"},
		"a path that begins with the other": {access, "default", "notes2"},
	} {
		_, _, err := w.service.Bearer(ctx, test.bearer, test.tenant, test.server)
		wantErr(t, name, err, host.ErrNoToken)
	}
	if who, err := w.service.BearerAll(ctx, all, "default"); err != nil || who.User != "ada" || who.Server != "" {
		t.Errorf("%+v %v", who, err)
	}
	for name, bearer := range map[string]token.Secret{"one server's": access, "another tenant's": far} {
		_, err := w.service.BearerAll(ctx, bearer, "default")
		wantErr(t, name+" at all", err, host.ErrNoToken)
	}
	_, err = w.service.BearerAll(ctx, all, "acme")
	wantErr(t, "for all, at another tenant", err, host.ErrNoToken)

	w.with(c, connection.ReconnectNeeded)
	_, _, err = w.service.Bearer(ctx, access, "default", "notes")
	wantErr(t, "a connection that needs its person", err, host.ErrNotConnected)
	in.err = errors.New("the table is away")
	w.service.SignIns = in
	_, _, err = w.service.Bearer(ctx, access, "default", "notes")
	wantErr(t, "a store that does not answer", err, in.err)
}

// TestSessionsOfApplications: a session is one application's; to sign in again
// does not end it. It is no bearer.
func TestSessionsOfApplications(t *testing.T) {
	t.Parallel()
	w, _ := newOrders(t, knownServer("notes", `{"tools":{}}`))
	w.service.OnlyForCalls = true
	c := w.connect("ada", "notes")
	as := func(grant, application string) host.Holder {
		who := holderOf(c)
		who.Client, who.Application = "oauth:"+grant, application
		return who
	}
	id := w.visit(c.Key, as("gnt_1", "https://client.test/"), initialize).header.Get(mcp.SessionHeader)
	ofToken := w.sessionOf(c)
	for name, test := range map[string]struct {
		who    host.Holder
		id     string
		status int
	}{
		"its own":                     {as("gnt_1", "https://client.test/"), id, 200},
		"signed in again":             {as("gnt_2", "https://client.test/"), id, 200},
		"another application's grant": {as("gnt_3", "https://other.test/"), id, 404},
		"an MCP token":                {holderOf(c), id, 404},
		"a session of an MCP token":   {as("gnt_1", "https://client.test/"), ofToken, 404},
		"that token itself":           {holderOf(c), ofToken, 200},
		"no session":                  {as("gnt_1", "https://client.test/"), "", 400},
	} {
		if got := w.visit(c.Key, test.who, list, mcp.SessionHeader, test.id); got.status != test.status {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
}
