package demo

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	all := []string{"profile", "notes.read", "notes.write"}
	for name, tt := range map[string]struct {
		form func() url.Values
		code string
	}{
		"no grant type":         {func() url.Values { return url.Values{} }, "invalid_request"},
		"password":              {func() url.Values { return url.Values{"grant_type": {"password"}} }, "unsupported_grant_type"},
		"client credentials":    {func() url.Values { return url.Values{"grant_type": {"client_credentials"}} }, "unsupported_grant_type"},
		"no code":               {func() url.Values { return redeemForm("") }, "invalid_request"},
		"unknown code":          {func() url.Values { return redeemForm("demo_code_x") }, "invalid_grant"},
		"no verifier":           {func() url.Values { return redeemForm(s.code(all...), "code_verifier", "-") }, "invalid_grant"},
		"wrong verifier":        {func() url.Values { return redeemForm(s.code(all...), "code_verifier", strings.Repeat("x", 43)) }, "invalid_grant"},
		"challenge as verifier": {func() url.Values { return redeemForm(s.code(all...), "code_verifier", challengeOf(testVerifier)) }, "invalid_grant"},
		"no redirect URI":       {func() url.Values { return redeemForm(s.code(all...), "redirect_uri", "-") }, "invalid_grant"},
		"other redirect URI": {func() url.Values {
			return redeemForm(s.code(all...), "redirect_uri", "http://127.0.0.1:8080/cb")
		}, "invalid_grant"},
		"no refresh token":        {func() url.Values { return renewForm("") }, "invalid_request"},
		"unknown refresh token":   {func() url.Values { return renewForm("demo_rt_x") }, "invalid_grant"},
		"access token as refresh": {func() url.Values { return renewForm(s.connect().AccessToken) }, "invalid_grant"},
		"code as refresh token":   {func() url.Values { return renewForm(s.code(all...)) }, "invalid_grant"},
		"refresh asking for more": {func() url.Values {
			return renewForm(s.tokens(redeemForm(s.code("profile"))).RefreshToken, "scope", "notes.read")
		}, "invalid_scope"},
		"refresh asking the moon":  {func() url.Values { return renewForm(s.connect().RefreshToken, "scope", "admin") }, "invalid_scope"},
		"repeated parameter":       {func() url.Values { f := renewForm("x"); f.Add("refresh_token", "y"); return f }, "invalid_request"},
		"body larger than allowed": {func() url.Values { return renewForm(strings.Repeat("x", maxBody)) }, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) { s.wantError(s.post("/token", tt.form()), http.StatusBadRequest, tt.code) })
	}
}

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	basic := func(id, secret string) string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		return r.Header.Get("Authorization")
	}
	const secret = "s3cret + more%"
	inBody := "client_id=" + url.QueryEscape(testClient) + "&client_secret=" + url.QueryEscape(secret)
	for _, path := range []string{"/token", "/revoke", "/introspect"} {
		for name, tt := range map[string]struct {
			body, header, kind string
			status             int
			code               string
		}{
			"none":               {"token=x", "", "", 401, "invalid_client"},
			"wrong secret":       {"client_id=" + url.QueryEscape(testClient) + "&client_secret=x", "", "", 401, "invalid_client"},
			"empty secret":       {"client_id=" + url.QueryEscape(testClient) + "&client_secret=", "", "", 401, "invalid_client"},
			"wrong client":       {strings.Replace(inBody, "app", "App", 1), "", "", 401, "invalid_client"},
			"wrong basic":        {"token=x", basic(testClient, "x"), "", 401, "invalid_client"},
			"bearer":             {"token=x", "Bearer x", "", 401, "invalid_client"},
			"basic not encoded":  {"token=x", "Basic JTp4", "", 401, "invalid_client"},
			"basic and other id": {"client_id=other", basic(testClient, secret), "", 401, "invalid_client"},
			"both ways":          {inBody, basic(testClient, secret), "", 400, "invalid_request"},
			"as JSON":            {`{}`, basic(testClient, secret), "application/json", 400, "invalid_request"},
			"unparsable":         {"a=%zz", basic(testClient, secret), "", 400, "invalid_request"},
			"basic, no content":  {"", basic(testClient, secret), "", 400, "invalid_request"},
			"post, no content":   {inBody, "", "", 400, "invalid_request"},
		} {
			kind := tt.kind
			if kind == "" {
				kind = "application/x-www-form-urlencoded"
			}
			a := s.postRaw(path, tt.body, "Authorization", tt.header, "Content-Type", kind)
			if a.StatusCode != tt.status || a.errorCode() != tt.code {
				t.Errorf("%s %s: %d %s, want %d %s", path, name, a.StatusCode, a.errorCode(), tt.status, tt.code)
			}
			if (tt.status == 401) != strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s %s: challenge %q", path, name, a.Header.Get("WWW-Authenticate"))
			}
		}
	}
	form := redeemForm(s.code("profile"))
	if a := s.postRaw("/token", form.Encode(), "Authorization", basic(testClient, secret)); a.StatusCode != http.StatusOK {
		t.Errorf("client_secret_basic: %d %s", a.StatusCode, a.errorCode())
	}
	if a := s.postRaw("/token?"+inBody, renewForm("x").Encode()); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a secret in the URL: %d, want 401", a.StatusCode)
	}
}

func TestCodeExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	inTime, late := s.code("profile"), s.code("profile")
	s.clock.advance(codeTTL - time.Second)
	s.tokens(redeemForm(inTime))
	s.clock.advance(time.Second)
	s.wantError(s.post("/token", redeemForm(late)), http.StatusBadRequest, "invalid_grant")
}

func TestReplayedCodeRevokes(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	bystander := s.connect()
	value := s.code("notes.read")
	first := s.tokens(redeemForm(value))
	next := s.tokens(renewForm(first.RefreshToken))
	s.clock.advance(2 * codeTTL)
	s.connect() // lets go of what has expired; a spent code stays known
	s.wantAPI(http.StatusOK, next.AccessToken)
	s.wantError(s.post("/token", redeemForm(value)), http.StatusBadRequest, "invalid_grant")
	s.wantAPI(http.StatusUnauthorized, first.AccessToken)
	s.wantAPI(http.StatusUnauthorized, next.AccessToken)
	s.wantError(s.post("/token", renewForm(next.RefreshToken)), http.StatusBadRequest, "invalid_grant")
	s.wantAPI(http.StatusOK, bystander.AccessToken)
}

func TestWrongVerifierSpendsTheCode(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	value := s.code("profile")
	s.wantError(s.post("/token", redeemForm(value, "code_verifier", strings.Repeat("y", 43))), http.StatusBadRequest, "invalid_grant")
	s.wantError(s.post("/token", redeemForm(value)), http.StatusBadRequest, "invalid_grant")
}

func TestRotationAndReuse(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	bystander, first := s.connect(), s.connect()
	second := s.tokens(renewForm(first.RefreshToken))
	third := s.tokens(renewForm(second.RefreshToken))
	if first.RefreshToken == second.RefreshToken || first.AccessToken == second.AccessToken {
		t.Error("a renewal repeats a token")
	}
	s.wantAPI(http.StatusOK, third.AccessToken)
	s.wantError(s.post("/token", renewForm(first.RefreshToken)), http.StatusBadRequest, "invalid_grant")
	for _, dead := range []tokenAnswer{first, second, third} {
		s.wantAPI(http.StatusUnauthorized, dead.AccessToken)
		s.wantError(s.post("/token", renewForm(dead.RefreshToken)), http.StatusBadRequest, "invalid_grant")
	}
	s.wantAPI(http.StatusOK, bystander.AccessToken)
	s.tokens(renewForm(bystander.RefreshToken))
}

// A verifier that hashes to the challenge must also look like one
// (RFC 7636 §4.1).
func TestVerifierForm(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for _, verifier := range []string{"short", strings.Repeat("x", 42), strings.Repeat("x", 129), strings.Repeat("+", 43)} {
		token := s.open(authQuery("code_challenge", challengeOf(verifier)))
		back := s.decideWith(url.Values{"consent": {token}, "account": {"ada"}, "scope": {"profile"}, "decision": {"allow"}}).sentBack(t)
		s.wantError(s.post("/token", redeemForm(back.Get("code"), "code_verifier", verifier)), http.StatusBadRequest, "invalid_grant")
	}
}

// The grant lives as long as its refresh token, not its access token.
func TestIdleGrantStays(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	idle := s.connect()
	s.clock.advance(refreshTTL - time.Second)
	s.connect() // lets go of what has expired
	if got := s.tokens(renewForm(idle.RefreshToken)); got.Scope != idle.Scope {
		t.Errorf("scope %q after a long idle time, want %q", got.Scope, idle.Scope)
	}
}

// Spent tokens are not remembered for ever: a family of many renewals stays
// small, and its oldest tokens are merely unknown.
func TestSpentTokensAreForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	first := s.connect()
	second := s.tokens(renewForm(first.RefreshToken))
	s.clock.advance(spentMemory)
	third := s.tokens(renewForm(second.RefreshToken))
	s.store.view(func(st state) {
		if len(st.Refresh) != 2 {
			t.Errorf("%d refresh tokens remembered, want 2", len(st.Refresh))
		}
	})
	s.wantError(s.post("/token", renewForm(first.RefreshToken)), http.StatusBadRequest, "invalid_grant")
	s.tokens(renewForm(third.RefreshToken))
}

func TestRefusedScopeDoesNotSpend(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	first := s.connect()
	s.wantError(s.post("/token", renewForm(first.RefreshToken, "scope", "admin")), http.StatusBadRequest, "invalid_scope")
	narrow := s.tokens(renewForm(first.RefreshToken, "scope", "profile"))
	if narrow.Scope != "profile" {
		t.Errorf("scope %q, want profile", narrow.Scope)
	}
	s.wantAPI(http.StatusForbidden, narrow.AccessToken)
	if full := s.tokens(renewForm(narrow.RefreshToken)); full.Scope != first.Scope {
		t.Errorf("scope %q after a narrow renewal, want %q", full.Scope, first.Scope)
	}
}

func TestRefreshTokenExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	idle := s.connect()
	s.clock.advance(refreshTTL)
	s.wantError(s.post("/token", renewForm(idle.RefreshToken)), http.StatusBadRequest, "invalid_grant")
	s.connect() // a change lets go of what has died
	s.store.view(func(st state) {
		if len(st.Grants) != 1 || len(st.Refresh) != 1 || len(st.Access) != 1 {
			t.Errorf("%d grants, %d refresh, %d access tokens remembered, want one each", len(st.Grants), len(st.Refresh), len(st.Access))
		}
	})
}

func TestRevokeEitherKind(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for _, pick := range []func(tokenAnswer) string{
		func(a tokenAnswer) string { return a.AccessToken },
		func(a tokenAnswer) string { return a.RefreshToken },
	} {
		got := s.connect()
		if a := s.post("/revoke", url.Values{"token": {pick(got)}, "token_type_hint": {"nonsense"}}); a.StatusCode != http.StatusOK {
			t.Errorf("revoke: %d", a.StatusCode)
		}
		s.wantAPI(http.StatusUnauthorized, got.AccessToken)
		s.wantError(s.post("/token", renewForm(got.RefreshToken)), http.StatusBadRequest, "invalid_grant")
	}
	if a := s.post("/revoke", url.Values{"token": {"unknown"}}); a.StatusCode != http.StatusOK {
		t.Errorf("revoke an unknown token: %d, want 200", a.StatusCode)
	}
}

// Of many at once, one wins; the others are replays, which end the grant.
func TestSpendingRaces(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for name, form := range map[string]url.Values{
		"code": redeemForm(s.code("notes.read")), "refresh token": renewForm(s.connect().RefreshToken),
	} {
		form.Set("client_id", testClient)
		form.Set("client_secret", "s3cret + more%")
		body := form.Encode()
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				resp, err := http.Post(s.url+"/token", "application/x-www-form-urlencoded", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%s: %d requests won, want 1", name, won.Load())
		}
	}
	s.store.view(func(st state) {
		if len(st.Grants) != 0 {
			t.Errorf("%d grants survive being spent twice", len(st.Grants))
		}
	})
}
