package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

const acme = `
id: acme
display_name: Acme
authorization_endpoint: https://acme.example/authorize
token_endpoint: https://acme.example/token
`

// exchange runs a code exchange with a provider of the given extra YAML.
func exchange(t *testing.T, extra, reply string, callback url.Values) (Result, sent, error) {
	t.Helper()
	stub := &canned{body: reply}
	r, err := engineOver(stub).Exchange(context.Background(), targetOf(decodeProvider(t, []byte(acme+extra))), "the-code", verifier, callback)
	if len(stub.seen) != 1 {
		t.Fatalf("%d requests: %v", len(stub.seen), err)
	}
	return r, stub.seen[0], err
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	hour := epoch.Add(time.Hour)
	for _, tt := range []struct {
		fields, extra string
		want          time.Time
	}{
		{`"expires_in":3600`, "", hour},
		{`"expires_in":3600.0`, "", hour},
		{`"expires_in":3599.5`, "", epoch.Add(3599500 * time.Millisecond)},
		{`"expires_in":"3600"`, "", hour},
		{`"expires_in":" 3600 "`, "", hour},
		{`"expires_in":3.6e3`, "", hour},
		{`"expires_in":null`, "", time.Time{}},
		{`"expires_in":""`, "", time.Time{}},
		{`"expires_in":0`, "", time.Time{}},
		{`"expires_in":-5`, "", time.Time{}},
		{`"expires_in":"NaN"`, "", time.Time{}},
		{`"expires_in":"Infinity"`, "", time.Time{}},
		{`"expires_in":1e400`, "", time.Time{}},
		{`"expires_in":315360000`, "", epoch.Add(maxLifetime)},
		{`"expires_in":315360001`, "", time.Time{}},
		{`"expires_in":1e300`, "", time.Time{}},
		{`"expires_in":99999999999999999999`, "", time.Time{}},
		{`"expires_in":99999999999999999999`, "refresh: {access_token_ttl: 1h}", hour},
		{`"expires_in":{"a":1}`, "", time.Time{}},
		{`"expires_in":true`, "", time.Time{}},
		{`"x":1`, "", time.Time{}},
		{`"x":1`, "refresh: {access_token_ttl: 1h}", hour},
		{`"expires_in":0`, "refresh: {access_token_ttl: 1h}", hour},
		{`"x":1`, "refresh: {access_token_ttl: 1h, ttl_if_absent: never}", time.Time{}},
		{`"expires_in":60`, "refresh: {access_token_ttl: 1h}", epoch.Add(time.Minute)},
		{`"expires_at":"2026-01-02T04:04:05Z"`, "", hour},
		{`"expires_at":"2026-01-02T06:04:05+02:00"`, "", hour},
		{`"expires_at":1767326645`, "", hour},
		{`"expires_at":"1767326645"`, "", hour},
		{`"expires_at":1767326645000`, "", hour},
		{`"expires_at":"2020-01-02T04:04:05Z"`, "", time.Time{}},
		{`"expires_at":"soon"`, "", time.Time{}},
		{`"expires_at":1e30`, "", time.Time{}},
		{`"expires_in":3600,"expires_at":"2027-01-02T04:04:05Z"`, "", hour},
		{`"data":{"ttl":3600}`, "response: {fields: {expires_in: [data.ttl]}}", hour},
	} {
		r, _, err := exchange(t, tt.extra, `{"access_token":"a",`+tt.fields+`}`, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.fields, err)
			continue
		}
		if got := r.Set.Access.Tokens[""].ExpiresAt; !got.Equal(tt.want) {
			t.Errorf("%s %s: %v, want %v", tt.fields, tt.extra, got, tt.want)
		}
	}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, extra, reply, access string }{
		{"json", "", `{"access_token":"a"}`, "a"},
		{"json after a byte order mark", "", "\ufeff {\"access_token\":\"a\"}\n", "a"},
		{"form", "", "access_token=a&scope=x%2Cy&token_type=bearer", "a"},
		{"forced form", "response: {format: form}", "access_token=a", "a"},
		{"renamed", "response: {fields: {access_token: [token]}}", `{"token":"a"}`, "a"},
		{"nested", "response: {tokens: [{root: data.0}]}", `{"data":[{"access_token":"a"}]}`, "a"},
		{"either name", "response: {fields: {access_token: [access_token, token]}}", `{"token":"a"}`, "a"},
		{"number as token", "", `{"access_token":12345678901234567890}`, "12345678901234567890"},
		{"success by path", "response: {success: {path: ok, equals: 'true'}}", `{"ok":true,"access_token":"a"}`, "a"},
		{"failure by path", "response: {success: {path: ok, equals: 'true'}}", `{"ok":false,"error":"x","access_token":"a"}`, ""},
		{"success path absent", "response: {success: {path: ok, equals: 'true'}}", `{"access_token":"a"}`, ""},
		{"two documents", "", `{"access_token":"a"}{"access_token":"b"}`, ""},
		{"token with newline", "", `{"access_token":"a\nSet-Cookie: x"}`, ""},
		{"token with space around", "", `{"access_token":"é"}`, ""},
		{"token is an object", "", `{"access_token":{"a":1}}`, ""},
		{"empty token", "", `{"access_token":""}`, ""},
		{"null token", "", `{"access_token":null}`, ""},
		{"array", "", `["access_token"]`, ""},
		{"html", "", `<html>access_token=a</html>`, ""},
		{"text", "", `access_token`, ""},
		{"empty", "", ``, ""},
	} {
		r, _, err := exchange(t, tt.extra, tt.reply, nil)
		if (err == nil) != (tt.access != "") || r.Set.Access.Tokens[""].AccessToken.Reveal() != tt.access {
			t.Errorf("%s: %q, %v", tt.name, r.Set.Access.Tokens[""].AccessToken.Reveal(), err)
		}
	}
}

func TestTokenRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, extra string
		want        map[string]string // "" means absent
		check       func(sent) bool
	}{
		{"rfc", "", map[string]string{"grant_type": "authorization_code", "code": "the-code", "code_verifier": verifier, "redirect_uri": "https://lanyard.example/cb", "client_id": "", "client_secret": ""},
			func(s sent) bool {
				return s.method == "POST" && s.header.Get("Authorization") == "Basic Y2xpZW50LWlkOmNsaWVudC1zZWNyZXQ="
			}},
		{"post", "client_auth: {methods: [client_secret_post]}", map[string]string{"client_id": "client-id", "client_secret": "client-secret"},
			func(s sent) bool { return s.header.Get("Authorization") == "" }},
		{"own header", "client_auth: {methods: [header], header: 'Client {client_secret}'}", map[string]string{"client_secret": ""},
			func(s sent) bool { return s.header.Get("Authorization") == "Client client-secret" }},
		{"no pkce", "pkce: {mode: disabled}", map[string]string{"code_verifier": ""}, nil},
		{"no redirect", "redirect_uri: {send_on_token: never}", map[string]string{"redirect_uri": ""}, nil},
		{"omit and rename", "client_auth: {methods: [client_secret_post]}\nrequests: {code: {omit: [grant_type], rename: {client_id: client_key}, params: {expiring: '1'}}}",
			map[string]string{"grant_type": "", "client_id": "", "client_key": "client-id", "expiring": "1"}, nil},
		{"headers", "requests: {code: {headers: {X-Client: 'id {client_id}', User-Agent: mine}}}", nil,
			func(s sent) bool {
				return s.header.Get("X-Client") == "id client-id" && s.header.Get("User-Agent") == "mine" && s.header.Get("Accept") == "application/json"
			}},
	} {
		_, s, err := exchange(t, tt.extra, `{"access_token":"a"}`, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		for name, value := range tt.want {
			if got := s.form(t).Get(name); got != value {
				t.Errorf("%s: %s = %q, want %q", tt.name, name, got, value)
			}
		}
		if tt.check != nil && !tt.check(s) {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	_, s, err := exchange(t, "requests: {code: {encoding: json}}", `{"access_token":"a"}`, nil)
	var body map[string]string
	if err != nil || json.Unmarshal([]byte(s.body), &body) != nil || body["code"] != "the-code" || s.header.Get("Content-Type") != "application/json" {
		t.Errorf("json: %v %+v", err, s)
	}
	_, s, err = exchange(t, "requests: {code: {encoding: query}}", `{"access_token":"a"}`, nil)
	u, _ := url.Parse(s.url)
	if err != nil || s.body != "" || s.method != http.MethodPost || u.Query().Get("code") != "the-code" {
		t.Errorf("query: %v %+v", err, s)
	}
	_, s, err = exchange(t, "requests: {code: {method: GET, encoding: query}}", `{"access_token":"a"}`, nil)
	if err != nil || s.method != http.MethodGet {
		t.Errorf("get: %v %+v", err, s)
	}
}

// RFC 6749 §2.3.1: id and secret are form-encoded before Basic.
func TestBasicIsFormEncoded(t *testing.T) {
	t.Parallel()
	stub := &canned{body: `{"access_token":"a"}`}
	target := targetOf(decodeProvider(t, []byte(acme)))
	target.Client = Client{ID: "id:with/colon", Secret: "a b+c%"}
	if _, err := engineOver(stub).Exchange(context.Background(), target, "c", verifier, nil); err != nil {
		t.Fatal(err)
	}
	r := http.Request{Header: stub.seen[0].header}
	id, secret, _ := r.BasicAuth()
	if id != "id%3Awith%2Fcolon" || secret != "a+b%2Bc%25" {
		t.Errorf("basic %q %q", id, secret)
	}
}

func TestClientWithoutSecret(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		methods string
		ok      bool
	}{{"", true}, {"client_auth: {methods: [client_secret_basic]}", false}, {"client_auth: {methods: [client_secret_post, none]}", true}} {
		stub := &canned{body: `{"access_token":"a"}`}
		target := targetOf(decodeProvider(t, []byte(acme+tt.methods)))
		target.Client.Secret = ""
		_, err := engineOver(stub).Exchange(context.Background(), target, "c", verifier, nil)
		if (err == nil) != tt.ok || !tt.ok && len(stub.seen) > 0 {
			t.Errorf("%q: %v, %d sent", tt.methods, err, len(stub.seen))
		}
		if tt.ok && (stub.seen[0].form(t).Get("client_id") != "client-id" || stub.seen[0].header.Get("Authorization") != "") {
			t.Errorf("%q: %+v", tt.methods, stub.seen[0])
		}
	}
}

func TestScopesGranted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		extra, scope string
		want         []string
	}{
		{"", `"a b"`, []string{"a", "b"}},
		{"", `["a","b"]`, []string{"a", "b"}},
		{"scope: {response: {separator: ','}}", `"a,b, c"`, []string{"a", "b", "c"}},
		{"", `""`, nil},
		{"", `null`, nil},
		{"", `{"a":true}`, nil},
		{"", `"a \u0007 b"`, []string{"a", "b"}},
	} {
		r, _, err := exchange(t, tt.extra, `{"access_token":"a","scope":`+tt.scope+`}`, nil)
		if err != nil || !slices.Equal(r.ScopesGranted, tt.want) || r.ScopesKnown != (tt.want != nil) {
			t.Errorf("%s: %q known %v, %v", tt.scope, r.ScopesGranted, r.ScopesKnown, err)
		}
	}
}

func TestMetadataAndCallback(t *testing.T) {
	t.Parallel()
	extra := `
callback: {capture: [realmId]}
response: {metadata: [instance_url, n, deep.er, gone, echo]}
parameters: {instance_url: {source: token_response, pattern: '^https://[a-z]+\.acme\.example$'}}
identity: {from: request, subject: [id], request: {url: '{instance_url}/me'}}
`
	r, _, err := exchange(t, extra,
		`{"access_token":"secret-a","instance_url":"https://na.acme.example","n":12345678901234567,"deep":{"er":true},"echo":"x secret-a\u0000"}`,
		url.Values{"realmId": {"9130"}, "other": {"1"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"realmId": "9130", "instance_url": "https://na.acme.example", "n": "12345678901234567", "deep.er": "true", "echo": "x [redacted]"}
	for name, value := range want {
		if r.Set.Access.Metadata[name] != value {
			t.Errorf("%s = %q, want %q", name, r.Set.Access.Metadata[name], value)
		}
	}
	if len(r.Set.Access.Metadata) != len(want) {
		t.Errorf("metadata %v", r.Set.Access.Metadata)
	}
	stub := &canned{body: `{"id":7}`}
	a, err := engineOver(stub).Identity(context.Background(), targetOf(decodeProvider(t, []byte(acme+extra))), r)
	if err != nil || a.Subject != "7" || stub.seen[0].url != "https://na.acme.example/me" {
		t.Errorf("identity %+v %v %+v", a, err, stub.seen)
	}
	r.Set.Access.Metadata["instance_url"] = "https://evil.example"
	if _, err := engineOver(stub).Identity(context.Background(), targetOf(decodeProvider(t, []byte(acme+extra))), r); err == nil {
		t.Error("a host that the pattern refuses was asked")
	}
}

func TestIdentityInTokenResponse(t *testing.T) {
	t.Parallel()
	extra := "identity: {from: token_response, subject: [data.id], label: [data.name], fallback: [data.mail]}\n"
	for reply, want := range map[string]Account{
		`{"access_token":"a","data":{"id":1,"name":"Ada\u202e"}}`: {Subject: "1", Label: "Ada"},
		`{"access_token":"a","data":{"id":1,"mail":"a@b"}}`:       {Subject: "1", Label: "a@b"},
		`{"access_token":"a","data":{"id":1}}`:                    {Subject: "1", Label: "1"},
		`{"access_token":"a","data":{"name":"Ada"}}`:              {},
		`{"access_token":"a","data":{"id":"a\u0000b"}}`:           {},
	} {
		r, _, err := exchange(t, extra, reply, nil)
		if err != nil || r.Account != want {
			t.Errorf("%s: %+v %v", reply, r.Account, err)
		}
		a, err := engineOver(&canned{}).Identity(context.Background(), targetOf(decodeProvider(t, []byte(acme+extra))), r)
		if a != want || (err == nil) != (want.Subject != "") {
			t.Errorf("%s: identity %+v %v", reply, a, err)
		}
	}
}

// Facebook's way: no refresh token; a living token is traded for a longer one.
func TestExchangeGrant(t *testing.T) {
	t.Parallel()
	p := decodeProvider(t, []byte(acme+`
refresh: {grant: exchange}
requests: {exchange: {grant_type: fb_exchange_token, token_param: fb_exchange_token, request: {method: GET, encoding: query}}}
`))
	stub := &canned{body: `{"access_token":"long","expires_in":5184000}`}
	r, err := engineOver(stub).Exchange(context.Background(), targetOf(p), "c", verifier, nil)
	if err != nil || len(stub.seen) != 2 || !strings.Contains(stub.seen[1].url, "fb_exchange_token=long") || r.Notice != "" {
		t.Fatalf("%v %+v", err, stub.seen)
	}
	stub = &canned{body: `{"access_token":"longer","expires_in":5184000}`}
	r, err = engineOver(stub).Refresh(context.Background(), targetOf(p), token.Grant{}, r.Set.Access)
	if err != nil || r.Set.Access.Tokens[""].AccessToken != "longer" || r.Rotated {
		t.Errorf("%v %+v", err, r)
	}
}

// FuzzTokenResponse: whatever a provider sends, there is no panic, no success
// without an access token, and no lifetime that is over before it began.
func FuzzTokenResponse(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","expires_in":1}`, `{"access_token":"a","expires_in":"NaN","scope":["x",1]}`, `access_token=a&expires_in=-1`,
		`{"ok":true,"authed_user":{"access_token":"u","expires_in":1e400}}`, `[[[[`, `<html>`, "\ufeff{}", `{"error":{"code":[1,{"a":null}]}}`,
		`{"access_token":"a","expires_at":-9223372036854775808,"refresh_token_expires_in":9223372036854775807}`,
	} {
		f.Add(200, seed)
		f.Add(400, seed)
	}
	const extra = `
response:
  tokens: [{optional: true}, {name: user, root: authed_user, optional: true}]
  error: {code: [error, error.code]}
  metadata: [team.id, scope]
identity: {from: token_response, subject: [authed_user.id]}
`
	p := decodeProvider(f, []byte(acme+extra))
	f.Fuzz(func(t *testing.T, status int, body string) {
		e, ctx, target, set := engineOver(&canned{status: 100 + (status&0x1ff)%500, body: body}), context.Background(), targetOf(p), held(p)
		r, err := e.Exchange(ctx, target, "the-code", verifier, nil)
		if err == nil {
			checkSet(t, r.Set)
			if len(r.Set.Access.Tokens) == 0 {
				t.Error("success without a token")
			}
		} else if strings.Contains(err.Error(), "client-secret") {
			t.Error(err)
		}
		r, err = e.Refresh(ctx, target, set.Grant, set.Access)
		checkSet(t, r.Set)
		if err == nil && len(r.Renewed) != 2 {
			t.Errorf("success that renewed %v", r.Renewed)
		}
	})
}

func checkSet(t *testing.T, set token.Set) {
	t.Helper()
	for name, token := range set.Access.Tokens {
		if token.AccessToken == "" {
			t.Errorf("empty token %q", name)
		}
		if !token.ExpiresAt.IsZero() && (token.ExpiresAt.Before(epoch) || token.ExpiresAt.After(epoch.Add(maxLifetime))) {
			t.Errorf("token %q expires at %v", name, token.ExpiresAt)
		}
	}
	for name, renewable := range set.Grant.Renewables {
		if renewable.RefreshToken == "" || !renewable.ExpiresAt.IsZero() && renewable.ExpiresAt.Before(epoch) {
			t.Errorf("renewable %q expires at %v", name, renewable.ExpiresAt)
		}
	}
}
