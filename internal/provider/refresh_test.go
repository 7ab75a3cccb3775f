package provider

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

func slack(t *testing.T) presets.Provider {
	t.Helper()
	data, err := os.ReadFile("../../presets/providers/slack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return decodeProvider(t, data)
}

// byToken answers each refresh token differently.
func byToken(t *testing.T, replies map[string]string) (*Engine, *[]string) {
	var seen []string
	return engineOver(roundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		key := orElse(form.Get("refresh_token"), r.Header.Get("Authorization"))
		seen = append(seen, key)
		stub := canned{body: replies[key]}
		return stub.RoundTrip(r)
	})), &seen
}

// Two tokens, two refresh tokens, two lives.
func TestRefreshOfSeveralTokens(t *testing.T) {
	t.Parallel()
	p := slack(t)
	set := held(p)
	set.Access.Metadata = map[string]string{"team.id": "T1"}
	e, _ := byToken(t, map[string]string{
		"refresh-main": `{"ok":true,"access_token":"bot2","refresh_token":"refresh2","expires_in":43200,"scope":"a,b"}`,
		"refresh-user": `{"ok":false,"error":"invalid_refresh_token"}`,
	})
	r, err := e.Refresh(t.Context(), targetOf(p), set.Grant, set.Access)
	var failed *Error
	if !errors.As(err, &failed) || failed.Verdict != Reconnect {
		t.Fatalf("error %v", err)
	}
	if !slices.Equal(r.Renewed, []string{""}) || !r.Rotated || r.ScopesKnown {
		t.Errorf("renewed %q rotated %v known %v", r.Renewed, r.Rotated, r.ScopesKnown)
	}
	if r.Set.Access.Tokens[""].AccessToken != "bot2" || r.Set.Grant.Renewables[""].RefreshToken != "refresh2" {
		t.Error("what was renewed beside the failure is lost")
	}
	if r.Set.Access.Tokens["user"].AccessToken != "access-user" || r.Set.Grant.Renewables["user"].RefreshToken != "refresh-user" {
		t.Error("what failed must stay as it was")
	}
	if r.Set.Access.Metadata["team.id"] != "T1" {
		t.Error("metadata lost")
	}
	if set.Access.Tokens[""].AccessToken != "access-main" || set.Grant.Renewables[""].RefreshToken != "refresh-main" {
		t.Error("the caller's set was changed")
	}
	e, _ = byToken(t, map[string]string{
		"refresh-main": `{"ok":true,"access_token":"bot2","refresh_token":"refresh2"}`,
		"refresh-user": `{"ok":true,"access_token":"user2"}`,
	})
	if r, err := e.Refresh(t.Context(), targetOf(p), set.Grant, set.Access); err != nil || !r.Rotated || len(r.Renewed) != 2 {
		t.Errorf("one of two rotated: %v %v", r.Rotated, err)
	}
	one := token.Grant{Renewables: map[string]token.Renewable{"": {RefreshToken: "refresh-main"}}}
	if r, err := e.Refresh(t.Context(), targetOf(p), one, set.Access, "", "user"); err != nil || len(r.Renewed) != 1 {
		t.Errorf("a name without refresh token: %v %v", r.Renewed, err)
	}
	if _, err := e.Refresh(t.Context(), targetOf(p), one, set.Access, "user"); !errors.Is(err, ErrNotRenewable) {
		t.Errorf("only names without refresh token: %v", err)
	}
	e, seen := byToken(t, map[string]string{"refresh-main": `{"ok":true,"access_token":"bot2"}`})
	if _, err := e.Refresh(t.Context(), targetOf(p), set.Grant, set.Access, ""); err != nil || !slices.Equal(*seen, []string{"refresh-main"}) {
		t.Errorf("one name: %v, sent %q", err, *seen)
	}
}

func TestRefreshKeepsAndReplaces(t *testing.T) {
	t.Parallel()
	late := epoch.Add(48 * time.Hour)
	for _, tt := range []struct {
		name, reply string
		refresh     token.Secret
		rotated     bool
		expires     time.Time
		scopes      []string
	}{
		{"kept", `{"access_token":"b"}`, "old", false, late, []string{"was"}},
		{"same", `{"access_token":"b","refresh_token":"old"}`, "old", false, late, []string{"was"}},
		{"null", `{"access_token":"b","refresh_token":null}`, "old", false, late, []string{"was"}},
		{"rotated", `{"access_token":"b","refresh_token":"new"}`, "new", true, time.Time{}, []string{"was"}},
		{"rotated with a lifetime", `{"access_token":"b","refresh_token":"new","refresh_token_expires_in":"60"}`, "new", true, epoch.Add(time.Minute), []string{"was"}},
		{"slides", `{"access_token":"b","refresh_token_expires_in":60}`, "old", false, epoch.Add(time.Minute), []string{"was"}},
		{"scopes", `{"access_token":"b","scope":"now"}`, "old", false, late, []string{"now"}},
	} {
		grant := token.Grant{Renewables: map[string]token.Renewable{"": {RefreshToken: "old", ExpiresAt: late}}}
		prev := token.Access{Tokens: map[string]token.Token{"": {AccessToken: "a", Scopes: []string{"was"}}}}
		r, err := engineOver(&canned{body: tt.reply}).Refresh(t.Context(), targetOf(decodeProvider(t, []byte(acme))), grant, prev)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		got := r.Set.Grant.Renewables[""]
		if got.RefreshToken != tt.refresh || r.Rotated != tt.rotated || !got.ExpiresAt.Equal(tt.expires) || !slices.Equal(r.ScopesGranted, tt.scopes) {
			t.Errorf("%s: %+v %q", tt.name, got.ExpiresAt, got.RefreshToken.Reveal())
		}
	}
}

func TestRefreshRequest(t *testing.T) {
	t.Parallel()
	p := decodeProvider(t, []byte(acme+`
refresh_endpoint: https://acme.example/renew
requests: {refresh: {params: {redirect_uri: "{redirect_uri}"}, omit: [grant_type]}}
`))
	stub, set := &canned{body: `{"access_token":"b"}`}, held(p)
	if _, err := engineOver(stub).Refresh(t.Context(), targetOf(p), set.Grant, set.Access); err != nil {
		t.Fatal(err)
	}
	form := stub.seen[0].form(t)
	if stub.seen[0].url != "https://acme.example/renew" || form.Get("redirect_uri") != "https://lanyard.example/cb" || form.Has("grant_type") || form.Has("scope") {
		t.Errorf("%+v", stub.seen[0])
	}
}

func TestNothingToRenew(t *testing.T) {
	t.Parallel()
	stub := &canned{}
	for extra, grant := range map[string]token.Grant{
		"":                           {},
		"refresh: {grant: none}":     {Renewables: map[string]token.Renewable{"": {RefreshToken: "r"}}},
		"refresh: {rotation: never}": {Renewables: map[string]token.Renewable{"": {}}},
	} {
		_, err := engineOver(stub).Refresh(t.Context(), targetOf(decodeProvider(t, []byte(acme+extra))), grant, token.Access{})
		if !errors.Is(err, ErrNotRenewable) || len(stub.seen) > 0 {
			t.Errorf("%q: %v", extra, err)
		}
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	const rfc = "revocation: {mode: rfc7009, endpoint: 'https://acme.example/revoke', revokes: "
	for _, tt := range []struct {
		name, extra string
		status      int
		body        string
		want        string
		fails       bool
		tokens      []string
	}{
		{"none", "", 200, "", RevokedLocally, false, nil},
		{"token", rfc + "token}", 200, "", RevokedAtProvider, false, []string{"refresh-main", "refresh-user"}},
		{"grant", rfc + "grant}", 200, "", RevokedAtProvider, false, []string{"refresh-main"}},
		{"access token", rfc + "grant, use: access_token}", 200, "", RevokedAtProvider, false, []string{"access-main"}},
		{"already gone", rfc + "grant}", 400, `{"error":"invalid_token"}`, RevokedAtProvider, false, []string{"refresh-main"}},
		{"gone by its own code", rfc + "grant, gone: [nothing_there]}", 404, `{"error":"nothing_there"}`, RevokedAtProvider, false, []string{"refresh-main"}},
		{"refused", rfc + "grant}", 401, `{"error":"invalid_client"}`, RevokedLocally, true, []string{"refresh-main"}},
		{"each is tried", rfc + "token}", 503, ``, RevokedLocally, true, []string{"refresh-main", "refresh-user"}},
		{"down", rfc + "grant}", 503, ``, RevokedLocally, true, []string{"refresh-main"}},
	} {
		p := decodeProvider(t, []byte(acme+"response: {tokens: [{}, {name: user, root: u, optional: true}]}\n"+tt.extra))
		stub := &canned{status: tt.status, body: tt.body}
		o, err := engineOver(stub).Revoke(t.Context(), targetOf(p), held(p))
		if o.Revoked != tt.want || o.Detail == "" || (err != nil) != tt.fails {
			t.Errorf("%s: %+v %v", tt.name, o, err)
		}
		var tokens []string
		for _, s := range stub.seen {
			tokens = append(tokens, s.form(t).Get("token"))
		}
		if !slices.Equal(tokens, tt.tokens) {
			t.Errorf("%s: revoked %q, want %q", tt.name, tokens, tt.tokens)
		}
	}
}

// GitHub's and HubSpot's ways: our client proves itself, the token is in a JSON
// body or in the path.
func TestCustomRevocation(t *testing.T) {
	t.Parallel()
	for extra, want := range map[string]sent{
		`{url: "https://acme.example/applications/{client_id}/token", method: DELETE, authorization: client, encoding: json, params: {access_token: "{token}"}}`: {method: "DELETE", url: "https://acme.example/applications/client-id/token", body: `{"access_token":"access-main"}`},
		`{url: "https://acme.example/tokens/{token}", method: DELETE, authorization: client}`:                                                                    {method: "DELETE", url: "https://acme.example/tokens/access-main"},
	} {
		p := decodeProvider(t, []byte(acme+"revocation: {mode: custom, use: access_token, revokes: token, request: "+extra+"}"))
		stub := &canned{status: 204}
		o, err := engineOver(stub).Revoke(t.Context(), targetOf(p), held(p))
		if err != nil || o.Revoked != RevokedAtProvider {
			t.Fatalf("%+v %v", o, err)
		}
		s := stub.seen[0]
		if s.method != want.method || s.url != want.url || s.body != want.body || !strings.HasPrefix(s.header.Get("Authorization"), "Basic ") {
			t.Errorf("%+v", s)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	const me = "identity: {from: request, subject: [id], request: {url: 'https://acme.example/me'}}\n"
	for _, tt := range []struct {
		name, extra string
		status      int
		body        string
		want        Verdict
	}{
		{"alive", me, 200, `{"id":1}`, OK},
		{"refused", me, 401, ``, Reconnect},
		{"refused by code", me, 400, `{"error":"invalid_token"}`, Reconnect},
		{"forbidden is not dead", me, 403, ``, Transient},
		{"scope", me, 403, `{"error":"insufficient_scope"}`, ScopeLost},
		{"busy", me, 429, ``, Transient},
		{"down", me, 502, `<html>`, ProviderDown},
		{"own request", me + "validation: {url: 'https://acme.example/validate', authorization: 'OAuth {access_token}'}\n", 200, ``, OK},
	} {
		p := decodeProvider(t, []byte(acme+tt.extra))
		stub := &canned{status: tt.status, body: tt.body}
		got, err := engineOver(stub).Validate(t.Context(), targetOf(p), held(p).Access)
		if got != tt.want || (err == nil) != (tt.want == OK) {
			t.Errorf("%s: %s %v", tt.name, got, err)
		}
		if tt.name == "own request" && (stub.seen[0].url != "https://acme.example/validate" || stub.seen[0].header.Get("Authorization") != "OAuth access-main") {
			t.Errorf("%+v", stub.seen[0])
		}
	}
	if _, err := engineOver(&canned{}).Validate(t.Context(), targetOf(decodeProvider(t, []byte(acme))), token.Access{}); !errors.Is(err, ErrNotCheckable) {
		t.Errorf("without a request: %v", err)
	}
}

// However many scopes a reply names, what is kept of them can be stored.
func TestScopesAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a ", 100_000)
	if got, known := scopes(long, " "); !known || len(got) > 500 {
		t.Errorf("%d scopes are kept, known %v", len(got), known)
	}
}
