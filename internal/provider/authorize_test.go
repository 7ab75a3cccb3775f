package provider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
)

func authorize(t *testing.T, extra string, r AuthorizeRequest) (url.Values, error) {
	t.Helper()
	r.State, r.Verifier = "the-state", verifier
	text, err := engineOver(nil).AuthorizeURL(targetOf(decodeProvider(t, []byte(acme+extra))), r)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host != "acme.example" || u.Path != "/authorize" {
		t.Fatalf("url %s: %v", text, err)
	}
	return u.Query(), nil
}

func TestAuthorizeURL(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte(verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	for _, tt := range []struct {
		name, extra string
		request     AuthorizeRequest
		want        map[string]string // "" means absent
	}{
		{"rfc", "", AuthorizeRequest{Scopes: Scopes{"": {"a", "b", "a"}}}, map[string]string{
			"response_type": "code", "client_id": "client-id", "redirect_uri": "https://lanyard.example/cb", "state": "the-state",
			"code_challenge": challenge, "code_challenge_method": "S256", "scope": "a b", "code_verifier": "", "client_secret": ""}},
		{"no pkce", "pkce: {mode: disabled}", AuthorizeRequest{}, map[string]string{"code_challenge": "", "code_challenge_method": "", "scope": ""}},
		{"scopes", "scope: {separator: ',', offline: [off], default: [d], additional: [{param: user_scope, separator: ','}]}",
			AuthorizeRequest{Scopes: Scopes{"": {"a"}, "user_scope": {"u", "v"}}}, map[string]string{"scope": "a,off", "user_scope": "u,v"}},
		{"default scope", "scope: {offline: [off], default: [d]}", AuthorizeRequest{}, map[string]string{"scope": "d off"}},
		{"no scope parameter", "scope: {param: none}", AuthorizeRequest{Scopes: Scopes{"": {"a"}}}, map[string]string{"scope": "", "none": ""}},
		{"params", "authorization_params: {fixed: {prompt: consent}, allowed: [login_hint, prompt], omit: [response_type], rename: {client_id: client_key}}",
			AuthorizeRequest{Extra: map[string]string{"login_hint": "ada", "prompt": "none", "redirect_uri": "https://evil.example", "x": "1"}},
			map[string]string{"prompt": "consent", "login_hint": "ada", "response_type": "", "client_id": "", "client_key": "client-id", "x": "", "redirect_uri": "https://lanyard.example/cb"}},
	} {
		got, err := authorize(t, tt.extra, tt.request)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		for name, value := range tt.want {
			if got.Get(name) != value || value != "" && len(got[name]) != 1 {
				t.Errorf("%s: %s = %q, want %q", tt.name, name, got[name], value)
			}
		}
	}
}

func TestAuthorizeURLRefuses(t *testing.T) {
	t.Parallel()
	for name, scopes := range map[string]Scopes{
		"two in one":        {"": {"a b"}},
		"control":           {"": {"a\n"}},
		"empty":             {"": {""}},
		"unknown parameter": {"admin_scope": {"a"}},
	} {
		if _, err := authorize(t, "", AuthorizeRequest{Scopes: scopes}); !errors.Is(err, ErrTarget) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := authorize(t, "scope: {separator: ','}", AuthorizeRequest{Scopes: Scopes{"": {"a,b"}}}); !errors.Is(err, ErrTarget) {
		t.Errorf("smuggled separator: %v", err)
	}
	e, target := engineOver(nil), targetOf(decodeProvider(t, []byte(acme)))
	for name, r := range map[string]AuthorizeRequest{
		"no state": {Verifier: verifier}, "no verifier": {State: "s"}, "short verifier": {State: "s", Verifier: "short"},
	} {
		if _, err := e.AuthorizeURL(target, r); !errors.Is(err, ErrTarget) {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone := target
	gone.Provider.Lifecycle.Status, gone.Provider.Lifecycle.Replacement = "sunset", "use the new one"
	if _, err := e.AuthorizeURL(gone, AuthorizeRequest{State: "s", Verifier: verifier}); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "use the new one") {
		t.Errorf("sunset: %v", err)
	}
	target.Provider.RedirectURI.HTTPSOnly = true
	target.RedirectURI = "http://localhost:8080/cb"
	if _, err := e.AuthorizeURL(target, AuthorizeRequest{State: "s", Verifier: verifier}); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "LANYARD_BASE_URL") {
		t.Errorf("redirect: %v", err)
	}
}

// A person's parameter cannot stand in for the deployment's.
func TestPeopleCannotMoveTheDemoProvider(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../presets/providers/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	target := targetOf(decodeProvider(t, data))
	target.Deployment, target.Params = nil, map[string]string{"base": "http://127.0.0.1:1"}
	if text, err := engineOver(nil).AuthorizeURL(target, AuthorizeRequest{State: "s", Verifier: verifier}); !errors.Is(err, ErrTarget) {
		t.Errorf("%s: %v", text, err)
	}
}

func TestCheckCallback(t *testing.T) {
	t.Parallel()
	const issuer = "issuer: https://acme.example\n"
	for _, tt := range []struct {
		name, extra, query string
		ok                 bool
	}{
		{"nothing declared", "", "code=c&state=s", true},
		{"iss without issuer", "", "code=c&iss=https://other.example", true},
		{"iss equal", issuer, "code=c&iss=https://acme.example", true},
		{"iss equal in an error", issuer, "error=access_denied&iss=https://acme.example", true},
		{"iss absent", issuer, "code=c", true},
		{"iss required and absent", issuer + "callback: {iss: required}", "code=c", false},
		{"iss other", issuer, "code=c&iss=https://evil.example", false},
		{"iss empty", issuer, "code=c&iss=", false},
		{"iss with slash", issuer, "code=c&iss=https://acme.example/", false},
		{"iss in capitals", issuer, "code=c&iss=https://ACME.example", false},
		{"iss twice", issuer, "iss=https://acme.example&iss=https://evil.example", false},
		{"code twice", "", "code=a&code=b", false},
		{"state twice", "", "state=a&state=b", false},
		{"match", "parameters: {shop: {pattern: '^[a-z]+$'}}\ncallback: {match: {shop: shop}}", "code=c&shop=mine", true},
		{"match other", "parameters: {shop: {pattern: '^[a-z]+$'}}\ncallback: {match: {shop: shop}}", "code=c&shop=other", false},
		{"match absent", "parameters: {shop: {pattern: '^[a-z]+$'}}\ncallback: {match: {shop: shop}}", "code=c", false},
		{"signature absent", "callback: {verify: {type: hmac_sha256, param: hmac}}", "code=c", false},
		{"signature wrong", "callback: {verify: {type: hmac_sha256, param: hmac}}", "code=c&hmac=00", false},
	} {
		query, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		target := targetOf(decodeProvider(t, []byte(acme+tt.extra)))
		target.Params = map[string]string{"shop": "mine"}
		err = engineOver(nil).CheckCallback(target, query)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrCallback) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestCallbackSignature(t *testing.T) {
	t.Parallel()
	target := targetOf(decodeProvider(t, []byte(acme+"callback: {verify: {type: hmac_sha256, param: hmac}}")))
	query := url.Values{"code": {"c"}, "shop": {"a.example"}, "timestamp": {"1"}}
	mac := hmac.New(sha256.New, []byte("client-secret"))
	mac.Write([]byte("code=c&shop=a.example&timestamp=1"))
	query.Set("hmac", hex.EncodeToString(mac.Sum(nil)))
	if err := engineOver(nil).CheckCallback(target, query); err != nil {
		t.Error(err)
	}
	query.Set("shop", "b.example")
	if err := engineOver(nil).CheckCallback(target, query); !errors.Is(err, ErrCallback) {
		t.Errorf("changed: %v", err)
	}
	target.Client.Secret = ""
	query.Del("hmac")
	mac = hmac.New(sha256.New, nil)
	mac.Write([]byte(query.Encode()))
	query.Set("hmac", hex.EncodeToString(mac.Sum(nil)))
	if err := engineOver(nil).CheckCallback(target, query); !errors.Is(err, ErrCallback) {
		t.Errorf("without a secret anybody could sign: %v", err)
	}
}

// A callback that is refused spends no code.
func TestExchangeChecksTheCallback(t *testing.T) {
	t.Parallel()
	stub := &canned{body: `{"access_token":"a"}`}
	target := targetOf(decodeProvider(t, []byte(acme+"issuer: https://acme.example\n")))
	_, err := engineOver(stub).Exchange(t.Context(), target, "c", verifier, url.Values{"iss": {"https://evil.example"}})
	if !errors.Is(err, ErrCallback) || len(stub.seen) != 0 {
		t.Errorf("%v, %d sent", err, len(stub.seen))
	}
	if _, err := engineOver(stub).Exchange(t.Context(), target, "", verifier, nil); !errors.Is(err, ErrCallback) || len(stub.seen) != 0 {
		t.Errorf("no code: %v, %d sent", err, len(stub.seen))
	}
}
