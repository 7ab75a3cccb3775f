package provider

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/demo"
)

var consentField = regexp.MustCompile(`name="consent" value="([^"]+)"`)

// allow plays the person who grants some scopes at the demo provider.
func allow(t *testing.T, authorizeURL string, scopes ...string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	page, err := browser.Get(authorizeURL)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	body, err := io.ReadAll(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	field := consentField.FindSubmatch(body)
	if field == nil {
		t.Fatalf("no consent page: %d", page.StatusCode)
	}
	form := url.Values{"consent": {string(field[1])}, "account": {"ada"}, "scope": scopes, "decision": {"allow"}}
	answer, err := browser.PostForm(strings.SplitN(authorizeURL, "?", 2)[0], form)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	back, err := answer.Location()
	if err != nil {
		t.Fatal(err)
	}
	return back.Query()
}

// The whole life of a grant at an authorization server that shares no code with
// the engine, over the transport that is shipped.
func TestJourneyAtTheDemoProvider(t *testing.T) {
	t.Parallel()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	defer server.Close()
	var err error
	handler, err = demo.New(demo.Config{
		BaseURL: server.URL, ClientID: "app + 1%", ClientSecret: "s3cret + more%:/", RedirectURIs: []string{"http://127.0.0.1:8080/cb"},
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../../presets/providers/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	e, ctx := &Engine{AllowLoopback: true}, t.Context()
	target := Target{
		Provider: decodeProvider(t, data), Client: Client{ID: "app + 1%", Secret: "s3cret + more%:/"},
		RedirectURI: "http://127.0.0.1:8080/cb", Deployment: map[string]string{"base": server.URL},
	}
	to, err := e.AuthorizeURL(target, AuthorizeRequest{State: "the-state", Verifier: verifier, Scopes: Scopes{"": {"profile", "notes.read", "notes.write"}}})
	if err != nil {
		t.Fatal(err)
	}
	callback := allow(t, to, "profile", "notes.read")

	r, err := e.Exchange(ctx, target, callback.Get("code"), verifier, callback)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Sort(r.ScopesGranted); !slices.Equal(r.ScopesGranted, []string{"notes.read", "profile"}) || !r.ScopesKnown {
		t.Errorf("fewer scopes were granted: %v", r.ScopesGranted)
	}
	if a, err := e.Identity(ctx, target, r); err != nil || a.Label != "ada@demo.example" {
		t.Errorf("identity %+v %v", a, err)
	}
	renewed, err := e.Refresh(ctx, target, r.Set.Grant, r.Set.Access)
	if err != nil || !renewed.Rotated {
		t.Fatalf("refresh: %v", err)
	}
	if v, err := e.Validate(ctx, target, renewed.Set.Access); v != OK {
		t.Errorf("validate: %s %v", v, err)
	}
	if o, err := e.Revoke(ctx, target, renewed.Set); err != nil || o.Revoked != RevokedAtProvider {
		t.Errorf("revoke: %+v %v", o, err)
	}
	if v, _ := e.Validate(ctx, target, renewed.Set.Access); v != Reconnect {
		t.Errorf("after the revocation: %s", v)
	}
	for name, err := range map[string]error{
		"a spent code":            second(e.Exchange(ctx, target, callback.Get("code"), verifier, callback)),
		"a revoked refresh token": second(e.Refresh(ctx, target, renewed.Set.Grant, renewed.Set.Access)),
	} {
		var failed *Error
		if !errors.As(err, &failed) || failed.Verdict != Reconnect || failed.Code != "invalid_grant" {
			t.Errorf("%s: %v", name, err)
		}
	}
	target.Client.Secret = "wrong"
	err = second(e.Refresh(ctx, target, renewed.Set.Grant, renewed.Set.Access))
	check(t, err, ClientMisconfigured, false)
}

func second(_ Result, err error) error { return err }
