package flow_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// TestJourney is one connection from link to sealed set.
func TestJourney(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	_, path, err := w.start.CreateLink(ctx, flow.LinkRequest{Tenant: tenant, UserID: user, Servers: []string{"notes"},
		ReturnURL: "https://app.example/done/1"})
	wantError(t, err, nil)
	ses, cookie, err := w.start.ClaimLink(ctx, strings.TrimPrefix(path, "/l/"), anna)
	wantError(t, err, nil)
	if ses, err = w.start.Session(ctx, cookie, anna); err != nil || ses.UserID != user || ses.Servers[0] != "notes" {
		t.Fatalf("session %+v: %v", ses, err)
	}
	_, err = w.start.Session(ctx, cookie, bert)
	wantError(t, err, flow.ErrNoSession)

	f := w.begin(flow.StartRequest{Tenant: tenant, UserID: ses.UserID, Server: "notes", ReturnURL: ses.ReturnURL, Browser: anna})
	c, err := w.start.Consent(ctx, f.ID, anna)
	wantError(t, err, nil)
	if c.ProviderOrigin != "https://acme.example" || !slices.Equal(c.Asked, []string{"read", "write"}) || c.Flow.Status != flow.Started {
		t.Errorf("consent shows %q %v, status %s", c.ProviderOrigin, c.Asked, c.Flow.Status)
	}
	f, err = w.fin.Finish(ctx, w.consent(f, anna, "ada1"), anna)
	wantError(t, err, nil)
	if f.Status != flow.Connected || f.Result.Code != "" || len(f.Result.Missing) > 0 {
		t.Errorf("flow ended %s, %+v", f.Status, f.Result)
	}
	row := w.row(f.Result.ConnectionID)
	if row.Status != connection.Connected || row.UserID != user || row.Account.Subject != "ada1" || row.Account.Label != "ada1@acme.example" ||
		row.ClientID != "lanyard-client" || !slices.Equal(row.Scopes, []string{"read", "write"}) || row.Set.AccessVersion != f.Result.SetID {
		t.Errorf("row %+v", row)
	}
	set := w.open(row)
	if !strings.HasPrefix(set.Access.Tokens[""].AccessToken.Reveal(), "at-") || !strings.HasPrefix(set.Grant.Renewables[""].RefreshToken.Reveal(), "rt-") {
		t.Error("the sealed set is not what the provider granted")
	}
	if !row.Set.AccessExpiresAt.Equal(w.clock().Add(time.Hour)) {
		t.Errorf("expires at %v", row.Set.AccessExpiresAt)
	}
	if got, err := w.start.Look(ctx, f.ID); err != nil || got.Status != flow.Connected {
		t.Errorf("look: %s %v", got.Status, err)
	}
	lines, _, err := w.store.Audit().List(ctx, tenant, struct{ Connection, User string }{Connection: row.ID}, "", 10)
	sealed := slices.ContainsFunc(lines, func(l vault.Line) bool { return l.Action == "seal" && l.Actor == "callback" && l.Purpose == "connect" })
	if err != nil || !sealed {
		t.Errorf("no audit line of the sealing: %v", err)
	}
}

// A link brings what its servers ask a person for, and nothing else.
func TestLinkParameters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		servers []string
		given   string
		want    error
	}{
		{[]string{"notes", "shop"}, "shop", nil}, {nil, "anything", nil},
		{[]string{"notes"}, "shop", flow.ErrParameter}, {[]string{"notes", "shop"}, "shpo", flow.ErrParameter},
	} {
		_, _, err := w.start.CreateLink(t.Context(), flow.LinkRequest{Tenant: tenant, UserID: user, Servers: c.servers, Parameters: map[string]string{c.given: "a"}})
		wantError(t, err, c.want)
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	l, path, err := w.start.CreateLink(ctx, flow.LinkRequest{Tenant: tenant, UserID: user, TTL: 90 * 24 * time.Hour})
	wantError(t, err, nil)
	if got := l.ExpiresAt.Sub(l.CreatedAt); got != flow.MaxLinkTTL {
		t.Errorf("the link lives %v", got)
	}
	ref := strings.TrimPrefix(path, "/l/")
	for _, wrong := range []string{"", ".", l.ID, l.ID + ".", ref + "x", "x" + ref, l.ID + "." + l.SecretHash} {
		_, _, err := w.start.ClaimLink(ctx, wrong, anna)
		wantError(t, err, flow.ErrLinkUnknown)
	}
	_, _, err = w.start.ClaimLink(ctx, "other~"+ref, anna)
	wantError(t, err, flow.ErrLinkUnknown)
	for range 2 {
		_, _, err = w.start.ClaimLink(ctx, ref, anna)
		wantError(t, err, nil)
	}
	_, _, err = w.start.ClaimLink(ctx, ref, bert)
	wantError(t, err, flow.ErrLinkClaimed)
	w.pass(flow.MaxLinkTTL + time.Second)
	_, _, err = w.start.ClaimLink(ctx, ref, anna)
	wantError(t, err, flow.ErrLinkExpired)
	_, _, err = w.start.CreateLink(ctx, flow.LinkRequest{Tenant: tenant, UserID: user, Servers: []string{"nope"}})
	wantError(t, err, flow.ErrServer)
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, cookie, err := w.start.OpenSession(t.Context(), flow.Session{Tenant: tenant, UserID: user, Browser: anna})
	wantError(t, err, nil)
	w.pass(flow.SessionTTL + time.Second)
	_, err = w.start.Session(t.Context(), cookie, anna)
	wantError(t, err, flow.ErrNoSession)
}

// A repeated request with one Idempotency-Key gets the same answer; another
// request with that key is refused.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	w, ctx, seed := newWorld(t), t.Context(), []byte("a seed of 256 bits, derived from the key")
	link := flow.LinkRequest{Tenant: tenant, UserID: user, Servers: []string{"notes", "shop"}, Seed: seed}
	first, path, err := w.start.CreateLink(ctx, link)
	wantError(t, err, nil)
	w.pass(time.Minute)
	again, path2, err := w.start.CreateLink(ctx, link)
	if err != nil || again.ID != first.ID || path2 != path || !again.ExpiresAt.Equal(first.ExpiresAt) {
		t.Errorf("the repeated link differs: %v", err)
	}
	for name, change := range map[string]func(*flow.LinkRequest){
		"user": func(r *flow.LinkRequest) { r.UserID = "eve" }, "servers": func(r *flow.LinkRequest) { r.Servers = nil },
		"return_url": func(r *flow.LinkRequest) { r.ReturnURL = "https://app.example/exact" },
		"params":     func(r *flow.LinkRequest) { r.Parameters = map[string]string{"shop": "a"} },
	} {
		other := link
		change(&other)
		if _, _, err := w.start.CreateLink(ctx, other); err == nil {
			t.Errorf("link: another %s was answered with the first link", name)
		}
	}
	r := w.request()
	r.Seed = seed
	f := w.begin(r)
	w.pass(time.Minute)
	if g := w.begin(r); g.ID != f.ID || !g.CreatedAt.Equal(f.CreatedAt) {
		t.Error("the repeated flow differs")
	}
	for name, change := range map[string]func(*flow.StartRequest){
		"user": func(r *flow.StartRequest) { r.UserID = "eve" }, "server": func(r *flow.StartRequest) { r.Server = "mail" },
		"scopes":     func(r *flow.StartRequest) { r.Scopes = []string{"admin"} },
		"return_url": func(r *flow.StartRequest) { r.ReturnURL = "https://app.example/exact" },
		"account":    func(r *flow.StartRequest) { r.AllowOtherAccount = true },
	} {
		other := r
		change(&other)
		if _, err := w.start.Start(ctx, other); err == nil {
			t.Errorf("flow: another %s was answered with the first flow", name)
		}
	}
}

// The browser may close the page as soon as the provider has redirected it.
func TestFinishGoesOnWhenTheBrowserLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.consent(w.begin(w.request()), anna, "ada1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f, err := w.fin.Finish(ctx, q, anna)
	wantError(t, err, nil)
	if w.row(f.Result.ConnectionID).Status != connection.Connected {
		t.Error("not connected")
	}
}

func TestScopeShortfallIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.acme.scopes = "read"
	f, err := w.connect(w.request(), "ada1")
	wantError(t, err, nil)
	if !slices.Equal(f.Result.Missing, []string{"write"}) || f.Status != flow.Connected {
		t.Errorf("missing %v, status %s", f.Result.Missing, f.Status)
	}
	if got := w.row(f.Result.ConnectionID).Scopes; !slices.Equal(got, []string{"read"}) {
		t.Errorf("granted %v", got)
	}
}

func TestPastedKey(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	paste := func(value string) flow.KeyRequest {
		return flow.KeyRequest{Tenant: tenant, UserID: user, Server: "search", Values: map[string]token.Secret{
			"SEARCH_KEY": token.Secret(value), "PATH": "/evil"}}
	}
	f, c, err := w.fin.Connect(ctx, paste(" key-"+canary+"\n"))
	wantError(t, err, nil)
	if f.Status != flow.Connected || f.Result.ConnectionID != c.ID {
		t.Errorf("flow %+v", f)
	}
	values := w.open(w.row(c.ID)).Access.Values
	if len(values) != 1 || values["SEARCH_KEY"].Reveal() != "key-"+canary {
		t.Errorf("%d values are sealed", len(values))
	}
	for _, bad := range []string{"", "  ", "a\x00b", strings.Repeat("k", 16<<10+1)} {
		_, _, err := w.fin.Connect(ctx, paste(bad))
		wantError(t, err, flow.ErrParameter)
	}
	again := paste("other-" + canary)
	again.ConnectionID = c.ID
	_, d, err := w.fin.Connect(ctx, again)
	if err != nil || d.ID != c.ID || w.open(w.row(c.ID)).Access.Values["SEARCH_KEY"].Reveal() != "other-"+canary {
		t.Errorf("replaced: %v", err)
	}
	again.UserID = "eve"
	_, _, err = w.fin.Connect(ctx, again)
	wantError(t, err, flow.ErrConnection)
	_, _, err = w.fin.Connect(ctx, flow.KeyRequest{Tenant: tenant, UserID: user, Server: "notes"})
	wantError(t, err, flow.ErrAuthType)
	_, _, err = w.fin.Connect(ctx, flow.KeyRequest{Tenant: tenant, UserID: user, Server: "nope"})
	wantError(t, err, flow.ErrServer)
	_, free, err := w.fin.Connect(ctx, flow.KeyRequest{Tenant: tenant, UserID: user, Server: "clock"})
	if err != nil || free.Status != connection.Connected {
		t.Errorf("a server without credential: %s, %v", free.Status, err)
	}
	w.conns.broken = errBroken
	_, _, err = w.fin.Connect(ctx, paste("key-"+canary))
	wantError(t, err, flow.ErrStore)
	w.noSecret(err)
}

// Every step that opens or seals is allowed to the flow's own user alone.
func TestTokensAreTheUsersOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connected(w.request(), "ada1")
	_, err := w.fin.Vault.Access(t.Context(), vault.Caller{Tenant: tenant, User: "eve", Actor: "page"}, c, c.Set, "token")
	wantError(t, err, vault.ErrForbidden)
}

func TestMissingScopes(t *testing.T) {
	t.Parallel()
	if got := flow.MissingScopes([]string{"a", "b"}, []string{"b", "c"}); !slices.Equal(got, []string{"a"}) {
		t.Errorf("missing %v", got)
	}
	if got := flow.EnvPrefix("google-workspace"); got != "GOOGLE_WORKSPACE" {
		t.Errorf("prefix %s", got)
	}
	if got := flow.Asked(catalogue{}, mustServer("shop")); len(got) != 1 || got[0].Name != "shop" {
		t.Errorf("asked %v", got)
	}
	if got := flow.Asked(catalogue{}, mustServer("regional")); len(got) != 1 || got[0].Name != "region" {
		t.Errorf("asked %v", got)
	}
}

func mustServer(name string) presets.Server {
	s, _ := catalogue{}.Server(name)
	return s
}

// TestLinkOfATenant: a link leads to its own tenant, and ends with it.
func TestLinkOfATenant(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	l, path, err := w.start.CreateLink(ctx, flow.LinkRequest{Tenant: "acme", UserID: user})
	wantError(t, err, nil)
	ref := strings.TrimPrefix(path, "/l/")
	if !strings.HasPrefix(ref, "acme~"+l.ID+".") {
		t.Errorf("the link's path does not name its tenant")
	}
	_, rest, _ := strings.Cut(ref, "~")
	for _, wrong := range []string{rest, "other~" + rest, tenant + "~" + rest, "~" + rest, "acme~acme~" + rest} {
		_, err := w.start.FindLink(ctx, wrong)
		wantError(t, err, flow.ErrLinkUnknown)
	}
	ses, cookie, err := w.start.ClaimLink(ctx, ref, anna)
	wantError(t, err, nil)
	if ses.Tenant != "acme" || ses.UserID != user {
		t.Errorf("a session of %s/%s", ses.Tenant, ses.UserID)
	}
	if ses, err = w.start.Session(ctx, cookie, anna); err != nil || ses.Tenant != "acme" {
		t.Errorf("a session of %s: %v", ses.Tenant, err)
	}
	w.removed = "acme"
	_, err = w.start.Session(ctx, cookie, anna)
	wantError(t, err, flow.ErrNoSession)
	_, err = w.start.FindLink(ctx, ref)
	wantError(t, err, flow.ErrLinkUnknown)
}
