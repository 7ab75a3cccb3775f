package flow_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// acme is an authorization server behind a RoundTripper. It holds what RFC 6749
// §4.1 and RFC 7636 ask of it: a code works once, for one client, redirect URI
// and verifier.
type acme struct {
	now func() time.Time
	// answer, when set, stands in for the token endpoint; identity for /me; sites is
	// what lists the places of a grant.
	answer, identity, sites func(r *http.Request, form url.Values) (int, string)
	// scopes, when set, are granted in place of those asked for.
	scopes string

	mu        sync.Mutex
	made      int
	codes     map[string]code
	accounts  map[string]string // by access and refresh token, living ones
	labels    map[string]string
	exchanges int
	revoked   []string
}

type code struct{ account, challenge, redirect, scope string }

func newAcme(now func() time.Time) *acme {
	return &acme{now: now, codes: map[string]code{}, accounts: map[string]string{}, labels: map[string]string{}}
}

// grant is the person saying yes: it returns what the browser brings back.
func (a *acme) grant(t *testing.T, to, account string) url.Values {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("state") == "" || q.Get("client_id") != "lanyard-client" {
		t.Fatalf("the authorization request lacks something: %v", slices.Sorted(maps.Keys(q)))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made++
	value := fmt.Sprintf("code-%s-%d", canary, a.made)
	scope := q.Get("scope")
	if a.scopes != "" {
		scope = a.scopes
	}
	a.codes[value] = code{account, q.Get("code_challenge"), q.Get("redirect_uri"), scope}
	return url.Values{"code": {value}, "state": {q.Get("state")}, "iss": {"https://acme.example"}}
}

// RoundTrip implements http.RoundTripper.
func (a *acme) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	form, _ := url.ParseQuery(string(body))
	status, answer := a.serve(r, form)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

func (a *acme) serve(r *http.Request, form url.Values) (int, string) {
	switch r.URL.Path {
	case "/token":
		a.mu.Lock()
		a.exchanges++
		answer := a.answer
		a.mu.Unlock()
		if answer != nil {
			return answer(r, form)
		}
		return a.token(form)
	case "/me":
		if a.identity != nil {
			return a.identity(r, form)
		}
		return a.me(r)
	case "/sites":
		return a.sites(r, form)
	case "/revoke":
		a.mu.Lock()
		defer a.mu.Unlock()
		a.revoked = append(a.revoked, a.accounts[form.Get("token")])
		return 200, ""
	}
	return 404, ""
}

func (a *acme) token(form url.Values) (int, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.codes[form.Get("code")]
	delete(a.codes, form.Get("code"))
	if !ok || c.redirect != form.Get("redirect_uri") || c.challenge != oauth2.S256ChallengeFromVerifier(form.Get("code_verifier")) {
		return 400, `{"error":"invalid_grant"}`
	}
	a.made++
	access, refresh := fmt.Sprintf("at-%s-%d", canary, a.made), fmt.Sprintf("rt-%s-%d", canary, a.made)
	a.accounts[access], a.accounts[refresh] = c.account, c.account
	doc, _ := json.Marshal(map[string]any{"access_token": access, "refresh_token": refresh, "token_type": "Bearer",
		"expires_in": 3600, "scope": c.scope})
	return 200, string(doc)
}

func (a *acme) me(r *http.Request) (int, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	account, ok := a.accounts[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		return 401, `{"error":"invalid_token"}`
	}
	label := a.labels[account]
	if label == "" {
		label = account + "@acme.example"
	}
	doc, _ := json.Marshal(map[string]string{"sub": account, "email": label})
	return 200, string(doc)
}

func (a *acme) sent() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.exchanges
}

func (a *acme) ended() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.revoked)
}
