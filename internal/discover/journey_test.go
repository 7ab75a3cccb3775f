package discover_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/presets"
)

const other = "https://other.example"

// TestJourney: connected, renewed and revoked at whom the server named, for the
// server alone: its resource is in each request.
func TestJourney(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	f := j.begin(flow.StartRequest{})
	to := j.leave(f)
	redirect := baseURL + "/mcp/oauth/callback/" + flow.IssuerKey(issuer)
	for name, want := range map[string]string{"client_id": "client-at-auth", "redirect_uri": redirect, "resource": serverURL, "scope": "read write", "code_challenge_method": "S256"} {
		if got := to.Query()[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	done, err := j.arrive(j.agree(to))
	if err != nil || done.Status != flow.Connected || len(done.Result.Missing) > 0 {
		t.Fatalf("%+v %v", done, err)
	}
	exchange := j.last(issuer + "/token")
	if exchange.Get("resource") != serverURL || exchange.Get("client_id") != "client-at-auth" || exchange.Get("redirect_uri") != redirect || exchange.Has("client_secret") {
		t.Errorf("the code was sent with %v", exchange)
	}
	c := j.row(done.Result.ConnectionID)
	want := connection.Found{Issuer: issuer, TokenEndpoint: issuer + "/token", RevocationEndpoint: issuer + "/revoke", Resource: serverURL, Public: true, ISS: true}
	if c.Found == nil || *c.Found != want || c.ClientID != "client-at-auth" || c.Provider != "notes" || c.Account != (connection.Account{}) {
		t.Errorf("the row has %+v of %+v", c.Found, c.Granted)
	}

	j.noServer = true // as when its preset is taken out: what was granted goes on
	j.now = j.now.Add(59 * time.Minute)
	first := c.Set.AccessVersion
	a, c, err := j.refresh.Token(t.Context(), ada(), c.Key, 5*time.Minute, "test")
	if err != nil || c.Set.AccessVersion == first || !strings.Contains(secretOf(a), canary) {
		t.Errorf("not renewed: %v", err)
	}
	renewal := j.last(issuer + "/token")
	if renewal.Get("grant_type") != "refresh_token" || renewal.Get("resource") != serverURL || renewal.Get("client_id") != "client-at-auth" {
		t.Errorf("renewed with %v", renewal)
	}
	out, err := j.refresh.Disconnect(t.Context(), ada(), c.Key)
	if err != nil || out.Revoked != refresh.RevokedAtProvider {
		t.Errorf("%+v %v", out, err)
	}
	revoked := j.last(issuer + "/revoke")
	if !strings.HasPrefix(revoked.Get("token"), "rt-") || revoked.Get("client_id") != "client-at-auth" {
		t.Errorf("revoked with %v", revoked)
	}
}

// TestTwoAccounts: nobody says whose account it is, so each connect makes a
// connection, and a reconnect keeps the one that it names.
func TestTwoAccounts(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	a, b := j.connected(flow.StartRequest{}), j.connected(flow.StartRequest{})
	if a.ID == b.ID {
		t.Error("the second account took the place of the first")
	}
	if again := j.connected(flow.StartRequest{ConnectionID: a.ID}); again.ID != a.ID || again.Set.AccessVersion == a.Set.AccessVersion {
		t.Errorf("%s became %s", a.ID, again.ID)
	}
	if _, err := j.refresh.Disconnect(t.Context(), ada(), a.Key); err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.refresh.Token(t.Context(), ada(), b.Key, 0, "test"); err != nil {
		t.Errorf("the other one ended, too: %v", err)
	}
}

// TestMixUp: the server that the person connects sends their browser on to
// another issuer, in whose name a code then comes back. It reaches nobody.
func TestMixUp(t *testing.T) {
	t.Parallel()
	own, theirs := "/mcp/oauth/callback/"+flow.IssuerKey(issuer), "/mcp/oauth/callback/"+flow.IssuerKey(other)
	for _, test := range []struct {
		name, path, iss string
		want            error
	}{
		{"the other's iss", own, other, flow.ErrIssuer},
		{"no iss, where it is promised", own, "", flow.ErrIssuer},
		{"the other's redirect URI, its iss", theirs, other, flow.ErrIssuer},
		{"the other's redirect URI, our iss", theirs, issuer, flow.ErrIssuer},
		{"the other's redirect URI, no iss", theirs, "", flow.ErrIssuer},
		{"the redirect URI of providers", flow.CallbackPath, issuer, flow.ErrIssuer},
		{"iss almost the same", own, issuer + "/", flow.ErrIssuer},
		{"two of them", own, issuer + "&iss=" + other, flow.ErrCallback},
		{"as it should be", own, issuer, nil},
	} {
		for _, promised := range []bool{true, false} {
			if test.iss == "" && test.path == own && !promised {
				continue // it promises no iss, and sends none
			}
			j := newJourney(t)
			j.set(asURL, says(with(as(issuer), doc{"authorization_response_iss_parameter_supported": promised})))
			back := j.agree(j.leave(j.begin(flow.StartRequest{})))
			back.Path = test.path
			q := back.Query()
			q.Del("iss")
			if back.RawQuery = q.Encode(); test.iss != "" {
				back.RawQuery += "&iss=" + test.iss
			}
			_, err := j.arrive(back)
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("%s: %v", test.name, err)
			}
			if sent := len(j.sent[issuer+"/token"]); (sent > 0) != (test.want == nil) {
				t.Errorf("%s: the code was sent %d times", test.name, sent)
			}
		}
	}
}

// TestErrorsAreCheckedToo: an error is believed no sooner than a code.
func TestErrorsAreCheckedToo(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	back := j.agree(j.leave(j.begin(flow.StartRequest{})))
	q := back.Query()
	q.Del("code")
	q.Set("error", "access_denied")
	q.Set("iss", other)
	back.RawQuery = q.Encode()
	if _, err := j.arrive(back); !errors.Is(err, flow.ErrIssuer) {
		t.Errorf("%v", err)
	}
}

// TestServerMoves: what was granted stays with who granted it. A reconnect goes to
// the new issuer, with a client of its own, no scope of before, and the old grant
// is revoked where it was made.
func TestServerMoves(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	c := j.connected(flow.StartRequest{})
	j.moves(other)
	j.now = j.now.Add(59 * time.Minute)
	if _, _, err := j.refresh.Token(t.Context(), ada(), c.Key, 5*time.Minute, "test"); err != nil || j.reached("other.example") {
		t.Errorf("renewed elsewhere: %v", err)
	}
	to := j.leave(j.begin(flow.StartRequest{ConnectionID: c.ID}))
	if q := to.Query(); to.Host != "other.example" || q.Get("client_id") != "client-at-other" || q.Get("scope") != "other" {
		t.Errorf("sent to %s with %v", to.Host, q)
	}
	if _, err := j.arrive(j.agree(to)); err != nil {
		t.Fatal(err)
	}
	again := j.row(c.ID)
	if again.Found.Issuer != other || again.ClientID != "client-at-other" || len(again.Retired) != 1 || again.Retired[0].Granted.Found.Issuer != issuer {
		t.Fatalf("%+v, retired %+v", again.Granted, again.Retired)
	}
	if err := j.refresh.Attend(t.Context(), c.Key); err != nil {
		t.Fatal(err)
	}
	if revoked := j.last(issuer + "/revoke"); revoked.Get("client_id") != "client-at-auth" || len(j.sent[other+"/revoke"]) > 0 {
		t.Errorf("revoked with %v, and at the other %v", revoked, j.sent[other+"/revoke"])
	}
	for at, forms := range j.sent {
		for _, form := range forms {
			if strings.HasPrefix(at, other) && strings.Contains(form.Encode(), "client-at-auth") {
				t.Errorf("%s was sent the other's client", at)
			}
		}
	}
}

// TestStepUp: more access is asked for beside what was granted.
func TestStepUp(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	c := j.connected(flow.StartRequest{})
	again := j.connected(flow.StartRequest{ConnectionID: c.ID, Scopes: []string{"admin"}})
	got := slices.Sorted(slices.Values(again.ScopesAsked))
	if !slices.Equal(got, []string{"admin", "read", "write"}) || !slices.Equal(got, slices.Sorted(slices.Values(again.Scopes))) {
		t.Errorf("asked for %q, granted %q", got, again.Scopes)
	}
	third := j.connected(flow.StartRequest{ConnectionID: c.ID})
	if got := slices.Sorted(slices.Values(third.ScopesAsked)); !slices.Equal(got, []string{"admin", "read", "write"}) {
		t.Errorf("a later reconnect asks for %q", got)
	}
}

// TestOffline: offline_access beside other scopes, and never alone.
func TestOffline(t *testing.T) {
	t.Parallel()
	for scopes, want := range map[string]string{"a": "a offline_access", "": ""} {
		j := newJourney(t)
		j.set(prmURL, says(with(prm(), doc{"scopes_supported": strings.Fields(scopes)})))
		j.set(asURL, says(with(as(issuer), doc{"scopes_supported": []string{"a", "offline_access"}})))
		if got := j.leave(j.begin(flow.StartRequest{})).Query().Get("scope"); got != want {
			t.Errorf("%q is asked for as %q", scopes, got)
		}
	}
}

// TestOperatorsClient: it proves itself with its secret, by the redirect URI that
// operators know, and to its own issuer alone.
func TestOperatorsClient(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.own = provider.Client{ID: "by-hand", Secret: canary + "-secret", Variant: issuer}
	to := j.leave(j.begin(flow.StartRequest{}))
	if q := to.Query(); q.Get("client_id") != "by-hand" || q.Get("redirect_uri") != baseURL+flow.CallbackPath {
		t.Errorf("sent with %v", q)
	}
	back := j.agree(to)
	if _, err := j.arrive(back); err != nil || j.basic[issuer+"/token"] != "by-hand" {
		t.Fatalf("%v, proven as %q", err, j.basic[issuer+"/token"])
	}
	// The registration is changed to another issuer's while somebody is away.
	back = j.agree(j.leave(j.begin(flow.StartRequest{})))
	j.own.Variant = other
	before := len(j.sent[issuer+"/token"])
	if _, err := j.arrive(back); !errors.Is(err, flow.ErrNoClient) || len(j.sent[issuer+"/token"]) != before {
		t.Errorf("its secret went to another issuer: %v", err)
	}
	// The server moves: the operator's client is not for there.
	j.own.Variant = issuer
	j.moves(other)
	j.now = j.now.Add(time.Hour)
	if id := j.leave(j.begin(flow.StartRequest{})).Query().Get("client_id"); id != "client-at-other" {
		t.Errorf("the new issuer is shown %q", id)
	}
}

// TestForgottenClient: a client that its issuer does not know any more is the
// person's affair, who gets another one.
func TestForgottenClient(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	c := j.connected(flow.StartRequest{})
	j.answer = func(url.Values) (int, string) { return 401, `{"error":"invalid_client"}` }
	j.now = j.now.Add(59 * time.Minute)
	if _, _, err := j.refresh.Token(t.Context(), ada(), c.Key, 5*time.Minute, "test"); !errors.Is(err, refresh.ErrReconnect) {
		t.Errorf("%v", err)
	}
	j.answer = nil
	j.registers(issuer, "client-anew")
	if again := j.connected(flow.StartRequest{ConnectionID: c.ID}); again.ClientID != "client-anew" || again.Status != connection.Connected {
		t.Errorf("%+v", again)
	}
}

// TestServerRefusesTheToken: it alone is who the token is for, so its word is
// enough to renew it, and to end what cannot be renewed.
func TestServerRefusesTheToken(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	c := j.connected(flow.StartRequest{})
	a, _, err := j.refresh.Token(t.Context(), ada(), c.Key, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	doubt := refresh.Doubt{Refused: a.Hash()}
	b, _, err := j.refresh.Check(t.Context(), ada(), c.Key, doubt, "check")
	if err != nil || secretOf(b) == secretOf(a) {
		t.Errorf("not renewed: %v", err)
	}
	doubt = refresh.Doubt{Refused: b.Hash(), Quiet: true}
	if again, _, err := j.refresh.Check(t.Context(), ada(), c.Key, doubt, "check"); err != nil || secretOf(again) != secretOf(b) {
		t.Errorf("renewed a moment after it was: %v", err)
	}
	j.answer = func(url.Values) (int, string) {
		return 200, `{"access_token":"at-` + canary + `-x","token_type":"Bearer"}`
	}
	lone := j.connected(flow.StartRequest{})
	if _, _, err := j.refresh.Check(t.Context(), ada(), lone.Key, refresh.Doubt{}, "check"); !errors.Is(err, refresh.ErrReconnect) {
		t.Errorf("what cannot be renewed: %v", err)
	}
}

// TestOwnScopes: a preset that names scopes is asked with those.
func TestOwnScopes(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	s, _ := j.Server("notes")
	s.OAuthScopes = []presets.OAuthScope{{Scope: "mine"}}
	j.start.Catalogue = oneServer{s}
	if got := j.leave(j.begin(flow.StartRequest{})).Query().Get("scope"); got != "mine" {
		t.Errorf("%q", got)
	}
}

// oneServer is a catalogue of it.
type oneServer struct{ of presets.Server }

func (o oneServer) Server(string) (presets.Server, bool) { return o.of, true }

func (oneServer) Provider(string) (presets.Provider, bool) { return presets.Provider{}, false }
