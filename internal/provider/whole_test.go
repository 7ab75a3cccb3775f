package provider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/lanyardhq/lanyard/presets"
)

// The tests of this file put several departures from the RFCs together, as real
// providers do.

// A host from the person, a signed callback, JSON without grant_type, an API
// header of its own: https://shopify.dev/docs/apps/build/authentication-authorization
func TestShopProvider(t *testing.T) {
	t.Parallel()
	p := decodeProvider(t, []byte(`
id: shop
display_name: Shop
parameters: {shop: {label: Shop, pattern: '^[a-z0-9][a-z0-9-]*\.shop\.example$'}}
authorization_endpoint: https://{shop}/admin/oauth/authorize
token_endpoint: https://{shop}/admin/oauth/access_token
client_auth: {methods: [client_secret_post]}
pkce: {mode: disabled}
scope: {separator: ",", response: {separator: ","}}
callback: {match: {shop: shop}, verify: {type: hmac_sha256, param: hmac}}
redirect_uri: {send_on_token: never, https_only: true}
requests:
  code: {encoding: json, omit: [grant_type], params: {expiring: "1"}}
  refresh: {encoding: json}
api: {authorization: none, headers: {X-Shop-Access-Token: "{access_token}"}}
identity: {from: request, request: {url: "https://{shop}/admin/shop.json"}, subject: [shop.id], label: [shop.name]}
`))
	target := targetOf(p)
	target.Params = map[string]string{"shop": "ada.shop.example"}
	callback := url.Values{"code": {"the-code"}, "shop": {"ada.shop.example"}, "state": {"s"}}
	mac := hmac.New(sha256.New, []byte("client-secret"))
	mac.Write([]byte(callback.Encode()))
	callback.Set("hmac", hex.EncodeToString(mac.Sum(nil)))

	stub := &canned{body: `{"access_token":"shpat","scope":"a,b","expires_in":3600,"refresh_token":"r","refresh_token_expires_in":7776000}`}
	r, err := engineOver(stub).Exchange(t.Context(), target, "the-code", "", callback)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]string
	if err := json.Unmarshal([]byte(stub.seen[0].body), &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"client_id": "client-id", "client_secret": "client-secret", "code": "the-code", "expiring": "1"}
	if stub.seen[0].url != "https://ada.shop.example/admin/oauth/access_token" || len(body) != len(want) {
		t.Errorf("sent %+v", stub.seen[0])
	}
	for name, value := range want {
		if body[name] != value {
			t.Errorf("%s = %q", name, body[name])
		}
	}
	stub = &canned{body: `{"shop":{"id":42,"name":"Ada's"}}`}
	a, err := engineOver(stub).Identity(t.Context(), target, r)
	header := stub.seen[0].header
	if err != nil || a != (Account{Subject: "42", Label: "Ada's"}) || header.Get("X-Shop-Access-Token") != "shpat" || header.Get("Authorization") != "" {
		t.Errorf("%+v %v %v", a, err, header)
	}
	for _, shop := range []string{"evil.example", "ada.shop.example.evil.example", "ada.shop.example@evil.example", "127.0.0.1", ""} {
		target.Params["shop"] = shop
		if _, err := engineOver(stub).AuthorizeURL(target, AuthorizeRequest{State: "s"}); !errors.Is(err, ErrTarget) {
			t.Errorf("%q: %v", shop, err)
		}
	}
}

// JSON in, expires_at out, revocation with a scheme of its own:
// https://developer.squareup.com/reference/square/oauth-api
func TestMerchantProvider(t *testing.T) {
	t.Parallel()
	p := decodeProvider(t, []byte(`
id: merchant
display_name: Merchant
authorization_endpoint: https://merchant.example/oauth2/authorize
token_endpoint: https://merchant.example/oauth2/token
client_auth: {methods: [client_secret_post], revocation: header, header: "Client {client_secret}"}
requests: {code: {encoding: json}, refresh: {encoding: json}}
response: {metadata: [merchant_id]}
identity: {from: token_response, subject: [merchant_id]}
revocation:
  mode: custom
  use: access_token
  revokes: app_install
  request: {url: https://merchant.example/oauth2/revoke, method: POST, authorization: client, encoding: json, params: {client_id: "{client_id}", access_token: "{token}"}}
`))
	stub := &canned{body: `{"access_token":"a","token_type":"bearer","expires_at":"2026-02-01T03:04:05Z","merchant_id":"M1","refresh_token":"r"}`}
	r, err := engineOver(stub).Exchange(t.Context(), targetOf(p), "the-code", verifier, nil)
	if err != nil || r.Account.Subject != "M1" || !r.Set.Access.Tokens[""].ExpiresAt.Equal(epoch.Add(30*24*time.Hour)) {
		t.Fatalf("%v %+v", err, r)
	}
	stub = &canned{body: `{"success":true}`}
	o, err := engineOver(stub).Revoke(t.Context(), targetOf(p), r.Set)
	if err != nil || o.Revoked != RevokedAtProvider || stub.seen[0].header.Get("Authorization") != "Client client-secret" || stub.seen[0].body != `{"access_token":"a","client_id":"client-id"}` {
		t.Errorf("%+v %v %+v", o, err, stub.seen)
	}
}

// Errors with status 200, form replies, and two kinds of registration of which
// one expires: https://docs.github.com/en/apps
func TestVariantProvider(t *testing.T) {
	t.Parallel()
	var p presets.Provider
	err := yaml.UnmarshalWithOptions([]byte(`
id: forge
display_name: Forge
authorization_endpoint: https://forge.example/login/oauth/authorize
token_endpoint: https://forge.example/login/oauth/access_token
client_auth: {methods: [client_secret_post]}
scope: {response: {separator: ","}}
refresh: {grant: none}
errors:
  - {when: {code: [bad_verification_code]}, class: reauthorize}
  - {when: {code: [incorrect_client_credentials, redirect_uri_mismatch]}, class: operator}
variants:
  app:
    scope: {param: none}
    refresh: {grant: refresh_token, rotation: always, issued: app_setting, on_reuse: {old_access_token: dies}}
    errors: [{when: {code: [bad_refresh_token]}, class: reauthorize}]
`), &p, yaml.Strict())
	if err != nil {
		t.Fatal(err)
	}
	classic, err := p.Resolve("", nil)
	if err != nil {
		t.Fatal(err)
	}
	app, err := p.Resolve("app", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := engineOver(&canned{body: "access_token=gho&scope=repo%2Cuser&token_type=bearer"}).Exchange(t.Context(), targetOf(classic), "c", verifier, nil)
	if err != nil || len(r.ScopesGranted) != 2 || r.Notice != "" {
		t.Errorf("classic: %v %+v", err, r)
	}
	for body, want := range map[string]Verdict{
		"error=bad_verification_code&error_description=expired": Reconnect,
		`{"error":"incorrect_client_credentials"}`:              ClientMisconfigured,
	} {
		_, err := engineOver(&canned{body: body}).Exchange(t.Context(), targetOf(classic), "c", verifier, nil)
		check(t, err, want, false)
	}
	set := held(app)
	_, err = engineOver(&canned{body: `{"error":"bad_refresh_token"}`}).Refresh(t.Context(), targetOf(app), set.Grant, set.Access)
	check(t, err, Reconnect, false)
	r, err = engineOver(&canned{body: `{"access_token":"ghu","expires_in":"28800","refresh_token":"ghr","refresh_token_expires_in":15897600,"scope":""}`}).
		Refresh(t.Context(), targetOf(app), set.Grant, set.Access)
	if err != nil || !r.Rotated || !r.Set.Access.Tokens[""].ExpiresAt.Equal(epoch.Add(8*time.Hour)) {
		t.Errorf("app: %v %+v", err, r)
	}
	r, err = engineOver(&canned{body: `{"access_token":"ghu"}`}).Exchange(t.Context(), targetOf(app), "c", verifier, nil)
	if err != nil || r.Notice == "" {
		t.Errorf("an app without expiring tokens deserves a notice: %v", err)
	}
}
