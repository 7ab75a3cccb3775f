package refresh_test

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
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

// reply of the authorization server.
type reply struct {
	status     int
	body       string
	retryAfter string
}

// acme is an authorization server behind a RoundTripper. A refresh token works
// once; presented again it is refused (RFC 9700 §4.14.2). An access token lives
// for an hour.
type acme struct {
	// on, when set, may answer a request in place of the server, or do
	// something before it does.
	on func(path string, form url.Values) (reply, bool)
	// keeps says that refresh tokens are not rotated; lenient, that a spent one
	// is accepted again.
	keeps, lenient bool

	mu        sync.Mutex
	made      int
	refresh   map[string]string // account by living refresh token
	spent     map[string]string
	access    map[string]time.Time // end of life
	of        map[string]string    // account by any token
	refreshes int
	revoked   []string
}

func newAcme() *acme {
	return &acme{refresh: map[string]string{}, spent: map[string]string{}, access: map[string]time.Time{}, of: map[string]string{}}
}

// granted is what a code would have yielded.
func (a *acme) granted(provider, account string) token.Set {
	a.mu.Lock()
	defer a.mu.Unlock()
	set := token.Set{Access: token.Access{Tokens: map[string]token.Token{}}, Grant: token.Grant{Renewables: map[string]token.Renewable{}}}
	names := []string{""}
	if strings.HasPrefix(provider, "two-tokens") {
		names = append(names, "user")
	}
	for _, name := range names {
		access, refresh := a.pair(account)
		set.Access.Tokens[name] = token.Token{AccessToken: token.Secret(access), ExpiresAt: a.access[access]}
		set.Grant.Renewables[name] = token.Renewable{RefreshToken: token.Secret(refresh)}
	}
	if provider == "exchanging" || provider == "no-refresh" {
		set.Grant = token.Grant{}
	}
	return set
}

func (a *acme) pair(account string) (access, refresh string) {
	a.made++
	access, refresh = fmt.Sprintf("at-%s-%d", canary, a.made), fmt.Sprintf("rt-%s-%d", canary, a.made)
	a.access[access], a.refresh[refresh] = time.Now().Add(time.Hour).UTC(), account
	a.of[access], a.of[refresh] = account, account
	return access, refresh
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
	answer := a.serve(r, form)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	header := http.Header{}
	if answer.retryAfter != "" {
		header.Set("Retry-After", answer.retryAfter)
	}
	return &http.Response{StatusCode: answer.status, Header: header, Body: io.NopCloser(strings.NewReader(answer.body)), Request: r}, nil
}

func (a *acme) serve(r *http.Request, form url.Values) reply {
	path := r.URL.Path
	if path == "/token" {
		a.mu.Lock()
		a.refreshes++
		a.mu.Unlock()
	}
	if a.on != nil {
		if answer, ok := a.on(path, form); ok {
			return answer
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch path {
	case "/token":
		return a.renew(form)
	case "/me":
		if end, ok := a.access[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]; !ok || !time.Now().Before(end) {
			return reply{status: 401, body: `{"error":"invalid_token"}`}
		}
		return reply{status: 200, body: `{"sub":"x"}`}
	case "/revoke":
		account := a.of[form.Get("token")]
		a.revoked = append(a.revoked, account)
		maps.DeleteFunc(a.refresh, func(_, owner string) bool { return owner == account })
		maps.DeleteFunc(a.access, func(access string, _ time.Time) bool { return a.of[access] == account })
		return reply{status: 200}
	}
	return reply{status: 404}
}

func (a *acme) renew(form url.Values) reply {
	old := form.Get("refresh_token")
	account, ok := a.refresh[old]
	if form.Get("grant_type") == "exchange_token" {
		account, ok = a.of[form.Get("access_token")]
	} else if !ok && a.lenient {
		account, ok = a.spent[old]
	}
	if !ok {
		return reply{status: 400, body: `{"error":"invalid_grant","error_description":"` + old + ` is spent"}`}
	}
	access, refresh := a.pair(account)
	answer := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600}
	if !a.keeps {
		delete(a.refresh, old)
		a.spent[old] = account
		answer["refresh_token"] = refresh
	}
	doc, _ := json.Marshal(answer)
	return reply{status: 200, body: string(doc)}
}

func (a *acme) accepts(access string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Now().Before(a.access[access])
}

func (a *acme) sent() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refreshes
}

func (a *acme) ended() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.revoked)
}

// answers makes the token endpoint answer so for some time.
func (a *acme) answers(r reply) {
	a.on = func(path string, _ url.Values) (reply, bool) { return r, path == "/token" }
}
