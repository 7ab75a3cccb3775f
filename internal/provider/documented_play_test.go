package provider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

func (d documented) target(p presets.Provider) Target {
	t := targetOf(p)
	t.Params = d.Params
	return t
}

// held is a set whose tokens are named after what they are.
func (d documented) held(p presets.Provider) token.Set {
	set := held(p)
	set.Access.Metadata = map[string]string{}
	maps.Copy(set.Access.Metadata, d.Metadata)
	return set
}

func (d documented) authorize(t *testing.T, p presets.Provider) {
	d.Authorize.check(t)
	text, err := engineOver(nil).AuthorizeURL(d.target(p), AuthorizeRequest{State: "the-state", Verifier: verifier, Scopes: d.Authorize.Scopes})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"response_type": "code", "client_id": "client-id", "redirect_uri": "https://lanyard.example/cb", "state": "the-state",
	}
	if p.PKCE.Mode != "disabled" {
		// The S256 challenge (RFC 7636 §4.2) of the verifier.
		want["code_challenge"], want["code_challenge_method"] = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM", "S256"
	}
	maps.Copy(want, d.Authorize.Query)
	got := map[string]string{}
	for name, values := range u.Query() {
		got[name] = strings.Join(values, " | ")
	}
	if u.RawQuery = ""; u.String() != d.Authorize.URL || !maps.Equal(got, want) {
		t.Errorf("%s\n%v, want %s\n%v", u, got, d.Authorize.URL, want)
	}
}

// play sends what the part sends, answers as is documented and compares what
// comes of it.
func (d documented) play(t *testing.T, p presets.Provider, part string, c exchangeCase) {
	c.check(t)
	stub := &canned{status: c.Status, body: c.Body}
	e, target, set := engineOver(stub), d.target(p), d.held(p)
	switch part {
	case "code":
		r, err := e.Exchange(t.Context(), target, "the-code", verifier, callbackOf(p, c.Callback))
		if err != nil {
			t.Fatal(err)
		}
		c.Want.checkTokens(t, r, "")
		if a := r.Account; p.Identity.From == presets.IdentityTokenResponse && (a.Subject != c.Want.Subject || a.Label != c.Want.Label) {
			t.Errorf("account %+v", a)
		}
	case "refresh":
		r, err := e.Refresh(t.Context(), target, set.Grant, set.Access, c.Token)
		if err != nil {
			t.Fatal(err)
		}
		c.Want.checkTokens(t, r, c.Token)
	case "identity":
		if p.Identity.From == presets.IdentityTokenResponse {
			t.Fatal("it is in the reply to the code: show it there")
		}
		a, err := e.Identity(t.Context(), target, Result{Set: set})
		if err != nil || a.Subject != c.Want.Subject || a.Label != c.Want.Label {
			t.Errorf("account %+v: %v", a, err)
		}
	case "discovery":
		places, err := e.Discover(t.Context(), target, Result{Set: set})
		if said := errorText(err); (said == "") != (c.Want.Error == "") || !strings.Contains(said, c.Want.Error) {
			t.Fatalf("error %q", said)
		}
		want := []placeShape{}
		for _, p := range places {
			want = append(want, placeShape(p))
		}
		if !reflect.DeepEqual(want, append([]placeShape{}, c.Want.Places...)) {
			t.Errorf("found %+v, want %+v", places, c.Want.Places)
		}
	case "revocation":
		o, err := e.Revoke(t.Context(), target, set)
		if err != nil || o.Revoked != RevokedAtProvider {
			t.Errorf("outcome %+v: %v", o, err)
		}
	}
	if len(stub.seen) == 0 {
		t.Fatal("nothing was sent")
	}
	if c.Sent != nil {
		c.Sent.check(t, stub.seen[0])
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// callbackOf is what a provider sends back with a code, signed where it signs.
func callbackOf(p presets.Provider, with map[string]string) url.Values {
	q := url.Values{"code": {"the-code"}, "state": {"the-state"}}
	for name, value := range with {
		q.Set(name, value)
	}
	if p.Callback.ISS == "required" {
		q.Set("iss", "http://127.0.0.1:9")
	}
	if name := p.Callback.Verify.Param; name != "" {
		q.Set(name, signature(q))
	}
	return q
}

// signature is the hex HMAC-SHA256, with the client's secret, of the parameters
// in order. None of them needs escaping here.
func signature(q url.Values) string {
	var parts []string
	for _, name := range names(q) {
		parts = append(parts, name+"="+q.Get(name))
	}
	mac := hmac.New(sha256.New, []byte("client-secret"))
	mac.Write([]byte(strings.Join(parts, "&")))
	return hex.EncodeToString(mac.Sum(nil))
}

func (s sentShape) check(t *testing.T, got sent) {
	t.Helper()
	if method := orElse(s.Method, "POST"); got.method != method || got.url != s.URL {
		t.Errorf("sent %s %s, want %s %s", got.method, got.url, method, s.URL)
	}
	authorization := s.Authorization
	if authorization == "basic" {
		authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte("client-id:client-secret"))
	}
	if got.header.Get("Authorization") != authorization {
		t.Errorf("authorization %q, want %q", got.header.Get("Authorization"), authorization)
	}
	for name, value := range s.Headers {
		if got.header.Get(name) != value {
			t.Errorf("header %s is %q, want %q", name, got.header.Get(name), value)
		}
	}
	types := map[string]string{"form": "application/x-www-form-urlencoded", "json": "application/json"}
	if got.header.Get("Content-Type") != types[s.Encoding] || (got.body == "") != (s.Encoding == "") {
		t.Errorf("sent %q as %q, want %s", got.body, got.header.Get("Content-Type"), s.Encoding)
	}
	params := map[string]string{}
	if s.Encoding == "json" {
		if err := json.Unmarshal([]byte(got.body), &params); err != nil {
			t.Error(err)
		}
	} else {
		for name, values := range got.form(t) {
			params[name] = strings.Join(values, " | ")
		}
	}
	want := map[string]string{}
	for name, value := range s.Params {
		want[name] = strings.ReplaceAll(value, "VERIFIER", verifier)
	}
	if !maps.Equal(params, want) {
		t.Errorf("sent %v, want %v", params, want)
	}
}

func (w wantShape) checkTokens(t *testing.T, r Result, name string) {
	t.Helper()
	access, refresh := map[string]string{}, map[string]string{}
	for name, token := range r.Set.Access.Tokens {
		access[name] = token.AccessToken.Reveal()
	}
	for name, renewable := range r.Set.Grant.Renewables {
		refresh[name] = renewable.RefreshToken.Reveal()
	}
	if !maps.Equal(access, w.Tokens) || !maps.Equal(refresh, w.Refresh) {
		t.Errorf("tokens %v and %v, want %v and %v", access, refresh, w.Tokens, w.Refresh)
	}
	if got := r.Set.Access.Tokens[name].ExpiresAt; !got.Equal(after(w.Lifetime)) {
		t.Errorf("expires at %v, want %v", got, after(w.Lifetime))
	}
	if got := r.Set.Grant.Renewables[name].ExpiresAt; !got.Equal(after(w.RefreshLifetime)) {
		t.Errorf("the refresh token expires at %v, want %v", got, after(w.RefreshLifetime))
	}
	if !slices.Equal(r.ScopesGranted, w.Scopes) {
		t.Errorf("scopes %v, want %v", r.ScopesGranted, w.Scopes)
	}
	w.checkMetadata(t, r.Set.Access.Metadata)
}

func (w wantShape) checkMetadata(t *testing.T, got map[string]string) {
	t.Helper()
	for name, value := range w.Metadata {
		if got[name] != value {
			t.Errorf("metadata %s is %q, want %q", name, got[name], value)
		}
	}
}

// after is a time in so many seconds; none for 0.
func after(seconds int) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return epoch.Add(time.Duration(seconds) * time.Second)
}

// fail answers each request with each failure and compares the verdict.
func (d documented) fail(t *testing.T, p presets.Provider, c errorCase) {
	c.check(t)
	if len(c.Verdicts) == 0 {
		t.Fatal("no verdict")
	}
	for code, verdict := range c.Verdicts {
		stub := &canned{status: c.Status, header: c.Headers, body: strings.ReplaceAll(c.Body, "CODE", code)}
		e, target, set := engineOver(stub), d.target(p), d.held(p)
		var err error
		switch c.Request {
		case "code":
			_, err = e.Exchange(t.Context(), target, "the-code", verifier, callbackOf(p, d.Code[0].Callback))
		case "refresh":
			_, err = e.Refresh(t.Context(), target, set.Grant, set.Access, "")
		case "api":
			_, err = e.Validate(t.Context(), target, set.Access)
		case "revocation":
			_, err = e.Revoke(t.Context(), target, set)
		}
		var failed *Error
		if !errors.As(err, &failed) {
			t.Fatalf("%s %s: %v", c.Request, code, err)
		}
		if failed.Verdict != verdict || failed.Code != code || failed.Ambiguous != c.Ambiguous || failed.RetryAfter != time.Duration(c.RetryAfter)*time.Second {
			t.Errorf("%s %q: got %+v, want %s", c.Request, code, failed, verdict)
		}
	}
}
