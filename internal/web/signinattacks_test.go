package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// TestAttackLoginFixation: somebody begins a sign-in and lets another person
// finish it. Neither of the two browsers gets in: one has no proof, the other did
// not begin.
func TestAttackLoginFixation(t *testing.T) {
	t.Parallel()
	s := atLogin(t)
	mallory, victim := s.browser(), s.browser()
	asked := mallory.begin("/mcp/servers") // mails the login's address, with its flow_id
	victim.get("/mcp/servers")
	path := s.confirmed(asked, "victim") // the victim is signed in there
	want(t, "the victim's browser", victim.get(path), 403, "sign_in_other_browser")
	id := asked.Query().Get("flow_id")
	for _, proof := range []string{"", "?proof=", "?proof=" + token.NewSecret().Reveal()} {
		want(t, "the attacker's, proof "+proof, mallory.get("/oauth/sign-ins/"+id+proof), 403, "sign_in_not_confirmed")
	}
	if mallory.who() != "" || victim.who() != "" {
		t.Errorf("signed in: %q, %q", mallory.who(), victim.who())
	}
}

// TestAttackOIDCLoginFixation: the same at an issuer, with a callback address that
// somebody was sent.
func TestAttackOIDCLoginFixation(t *testing.T) {
	t.Parallel()
	s, i := atIssuer(t)
	mallory, victim := s.browser(), s.browser()
	victim.get("/mcp/servers")
	path := i.authorize(mallory.begin("/mcp/servers"))
	want(t, "another browser", victim.get(path), 403, "sign_in_other_browser")
	want(t, "a browser without a cookie", s.browser().get(path), 403, "sign_in_other_browser")
	if victim.who() != "" || i.exchanged != 0 {
		t.Errorf("signed in %q, %d codes exchanged", victim.who(), i.exchanged)
	}
	wantLed(t, mallory.get(path), "/mcp/servers") // the attempt was left for its own
}

func TestAttackProofReplay(t *testing.T) {
	t.Parallel()
	s := atLogin(t)
	b := s.browser()
	path := s.confirmed(b.begin("/mcp/servers"), "ada")
	if rec := b.send(http.MethodHead, path, ""); rec.Code != http.StatusOK || b.who() != "" {
		t.Errorf("a look at it: %d, %q signed in", rec.Code, b.who())
	}
	wantLed(t, b.get(path), "/mcp/servers")
	want(t, "again", b.get(path), 409, "sign_in_used")
	b.post("/oauth/sign-out")
	want(t, "after signing out", b.get(path), 409, "sign_in_used")
	if b.who() != "" {
		t.Errorf("%s is signed in again", b.who())
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(path, "/oauth/sign-ins/"), "?")
	want(t, "confirmed again", s.api("POST", "/api/v1/sign-ins/"+id+"/confirm", `{"user_id":"ada"}`), 409, "sign_in_used")
}

// TestAttackProofInAnotherBrowser: an address that leaked, by a history or a log.
func TestAttackProofInAnotherBrowser(t *testing.T) {
	t.Parallel()
	s := atLogin(t)
	b, thief := s.browser(), s.browser()
	thief.get("/mcp/servers")
	path := s.confirmed(b.begin("/mcp/servers"), "ada")
	want(t, "another browser", thief.get(path), 403, "sign_in_other_browser")
	want(t, "a browser without a cookie", s.browser().get(path), 403, "sign_in_other_browser")
	wantLed(t, b.get(path), "/mcp/servers")
}

func TestAttackConfirmAnotherUser(t *testing.T) {
	t.Parallel()
	s := atLogin(t)
	b := s.browser()
	asked := b.begin("/mcp/servers")
	path := s.confirmed(asked, "ada")
	want(t, "as another user", s.api("POST", "/api/v1/sign-ins/"+asked.Query().Get("flow_id")+"/confirm", `{"user_id":"mallory"}`), 403, "sign_in_other_user")
	wantLed(t, b.get(path), "/mcp/servers")
	if b.who() != "default ada" {
		t.Errorf("signed in as %s", b.who())
	}
}

func TestAttackConfirmByAnotherTenant(t *testing.T) {
	t.Parallel()
	s := atLogin(t)
	b := s.browser()
	asked := b.begin("/mcp/servers")
	rec := s.send("POST", "/api/v1/sign-ins/"+asked.Query().Get("flow_id")+"/confirm", `{"user_id":"ada"}`, "Authorization", "Bearer "+otherKey, "Content-Type", "application/json")
	want(t, "another tenant's key", rec, 404, "sign_in_unknown")
	ada := s.signedIn("ada")
	want(t, "a page session", ada.fetch("POST", "/api/v1/sign-ins/"+asked.Query().Get("flow_id")+"/confirm", `{"user_id":"ada"}`), 401, "unauthorized")
}

// TestAttackWrongDoor: who signs in at an issuer is confirmed by nobody else, and
// the secret of one way opens no other.
func TestAttackWrongDoor(t *testing.T) {
	t.Parallel()
	s, i := atIssuer(t)
	b := s.browser()
	asked := b.begin("/mcp/servers")
	id, secret, _ := strings.Cut(asked.Query().Get("state"), ".")
	want(t, "confirmed by the backend", s.api("POST", "/api/v1/sign-ins/"+id+"/confirm", `{"user_id":"mallory"}`), 409, "sign_in_method")
	want(t, "the state's secret as a proof", b.get("/oauth/sign-ins/"+id+"?proof="+secret), 409, "sign_in_method")
	s.signIn[flow.DefaultTenant] = flow.SignIn{Method: flow.LoginURL, LoginURL: loginURL}
	path := s.confirmed(b.begin("/mcp/servers"), "ada")
	id, secret, _ = strings.Cut(strings.TrimPrefix(path, "/oauth/sign-ins/"), "?proof=")
	want(t, "a proof as a state", b.get("/oauth/sign-in/callback?code=x&iss="+url.QueryEscape(i.url)+"&state="+id+"."+secret), 404, "sign_in_unknown")
	// What was begun by a way that the tenant has given up ends.
	want(t, "the issuer's answer", b.get(i.authorize(asked)), 409, "sign_in_method")
	s.signIn[flow.DefaultTenant] = flow.SignIn{}
	want(t, "the backend's", b.get(path), 409, "sign_in_method")
	if b.who() != "" || i.exchanged != 0 {
		t.Errorf("signed in as %q, %d codes exchanged", b.who(), i.exchanged)
	}
}

func TestAttackOIDCStateReplay(t *testing.T) {
	t.Parallel()
	s, i := atIssuer(t)
	b := s.browser()
	asked := b.begin("/mcp/servers")
	first, second := i.authorize(asked), i.authorize(asked)
	wantLed(t, b.get(first), "/mcp/servers")
	want(t, "the same answer", b.get(first), 409, "sign_in_used")
	want(t, "another code", b.get(second), 409, "sign_in_used")
	state := asked.Query().Get("state")
	for name, forged := range map[string]string{"no state": "", "made up": "sgn_x." + token.NewSecret().Reveal(), "no secret": strings.Split(b.begin("/c/flo_1").Query().Get("state"), ".")[0] + "."} {
		rec := b.get(i.authorize(asked, "state", forged))
		if rec.Code < 400 || rec.Code > 404 {
			t.Errorf("%s: %d %s", name, rec.Code, excerpt(rec))
		}
	}
	want(t, "two states", b.get(i.authorize(asked)+"&state="+url.QueryEscape(state)), 400, "callback_invalid")
	if i.exchanged != 1 {
		t.Errorf("%d codes exchanged", i.exchanged)
	}
}

// TestAttackMixUp: an answer that another issuer gives, or that does not say whose
// it is although the issuer's do (RFC 9207).
func TestAttackSignInMixUp(t *testing.T) {
	t.Parallel()
	s, i := atIssuer(t)
	for _, iss := range []string{"https://evil.test", i.url + "/", ""} {
		b := s.browser()
		want(t, "iss "+iss, b.get(i.authorize(b.begin("/mcp/servers"), "iss", iss)), 400, "issuer_mismatch")
		want(t, "iss "+iss+", with an error", b.get(i.authorize(b.begin("/mcp/servers"), "iss", iss, "error", "access_denied")), 400, "issuer_mismatch")
	}
	b := s.browser()
	want(t, "refused", b.get(i.authorize(b.begin("/mcp/servers"), "code", "", "error", "access_denied")), 403, "access_denied")
	if i.exchanged != 0 {
		t.Errorf("%d codes exchanged", i.exchanged)
	}
}

// TestAttackIDToken: what does not prove who signed in here, now and with us.
func TestAttackIDToken(t *testing.T) {
	t.Parallel()
	set := func(name string, value any) func(*issuer) {
		return func(i *issuer) { i.claims = func(c map[string]any) { c[name] = value } }
	}
	unset := func(name string) func(*issuer) {
		return func(i *issuer) { i.claims = func(c map[string]any) { delete(c, name) } }
	}
	encode := base64.RawURLEncoding.EncodeToString
	for name, attack := range map[string]func(*issuer){
		"another nonce":         set("nonce", token.NewSecret().Reveal()),
		"no nonce":              unset("nonce"),
		"an empty nonce":        set("nonce", ""),
		"another issuer":        set("iss", "https://evil.test"),
		"no issuer":             unset("iss"),
		"another audience":      set("aud", "somebody-else"),
		"two audiences, no azp": set("aud", []string{"lanyard", "somebody-else"}),
		"another azp":           set("azp", "somebody-else"),
		"expired":               set("exp", 1),
		"not valid yet":         set("nbf", 1<<40),
		"nobody":                set("sub", ""),
		"another access token":  set("at_hash", "canary"),
		"no id token":           func(i *issuer) { i.sign = func(string) string { return "" } },
		"no JWT":                func(i *issuer) { i.sign = func(string) string { return "canary" } },
		"alg none": func(i *issuer) {
			i.sign = func(claims string) string {
				return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + "."
			}
		},
		"signed with the client's secret": func(i *issuer) {
			i.sign = func(claims string) string {
				signed := encode([]byte(`{"alg":"HS256","kid":"k1"}`)) + "." + encode([]byte(claims))
				mac := hmac.New(sha256.New, []byte("canary-client-secret"))
				mac.Write([]byte(signed))
				return signed + "." + encode(mac.Sum(nil))
			}
		},
		"another key": func(i *issuer) {
			other := newIssuer(i.t, i.now)
			i.sign = func(claims string) string { return signedBy(other, claims) }
		},
		"claims changed after signing": func(i *issuer) {
			i.sign = func(claims string) string {
				parts := strings.Split(signedBy(i, claims), ".")
				return parts[0] + "." + encode([]byte(strings.Replace(claims, "ada-1", "eve-1", 1))) + "." + parts[2]
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := atIssuer(t)
			attack(i)
			b := s.browser()
			rec := b.get(i.authorize(b.begin("/mcp/servers")))
			want(t, name, rec, 502, "id_token_invalid")
			if b.who() != "" || strings.Contains(rec.Body.String(), "canary") {
				t.Errorf("signed in as %q; %s", b.who(), excerpt(rec))
			}
			if !strings.Contains(rec.Body.String(), `href="/oauth/sign-in?return=%2Fmcp%2Fservers&amp;tenant=default"`) {
				t.Error("the page does not lead back to signing in")
			}
		})
	}
}

// TestAttackAccount: real accounts of the issuer that the tenant did not let in.
func TestAttackAccount(t *testing.T) {
	t.Parallel()
	subjects := func(in *flow.SignIn) { in.Domains, in.Subjects = nil, []string{"ada-1", "ada-2"} }
	byEmail := func(in *flow.SignIn) {
		in.Domains, in.Anybody, in.UserClaim = nil, true, flow.ClaimEmail
	}
	for name, test := range map[string]struct {
		tenant   func(*flow.SignIn)
		claims   map[string]any
		userinfo map[string]any
		want     string // who is signed in, or a code
	}{
		"as it should be":                    {nil, nil, nil, "oidc:"},
		"verified, in words":                 {nil, map[string]any{"email_verified": "true"}, nil, "oidc:"},
		"address not verified":               {nil, map[string]any{"email_verified": false}, nil, "sign_in_not_allowed"},
		"address not said to be verified":    {nil, map[string]any{"email_verified": nil}, nil, "sign_in_not_allowed"},
		"verified, in other words":           {nil, map[string]any{"email_verified": "yes"}, nil, "sign_in_not_allowed"},
		"another domain":                     {nil, map[string]any{"email": "ada@evil.test"}, nil, "sign_in_not_allowed"},
		"a domain below":                     {nil, map[string]any{"email": "ada@x.example.com"}, nil, "sign_in_not_allowed"},
		"a domain that ends alike":           {nil, map[string]any{"email": "ada@evilexample.com"}, nil, "sign_in_not_allowed"},
		"two domains":                        {nil, map[string]any{"email": "ada@example.com@evil.test"}, nil, "sign_in_not_allowed"},
		"two domains, the other way":         {nil, map[string]any{"email": "ada@evil.test@example.com"}, nil, "sign_in_not_allowed"},
		"no name before it":                  {nil, map[string]any{"email": "@example.com"}, nil, "sign_in_not_allowed"},
		"the domain in hd alone":             {nil, map[string]any{"email": "ada@evil.test", "hd": "example.com"}, nil, "sign_in_not_allowed"},
		"by userinfo":                        {nil, map[string]any{"email": nil, "email_verified": nil}, map[string]any{"sub": "ada-1", "email": "ada@example.com", "email_verified": true}, "oidc:"},
		"by another person's userinfo":       {nil, map[string]any{"email": nil, "email_verified": nil}, map[string]any{"sub": "eve", "email": "ada@example.com", "email_verified": true}, "id_token_invalid"},
		"a subject":                          {subjects, nil, nil, "oidc:"},
		"another subject":                    {subjects, map[string]any{"sub": "ada-3"}, nil, "sign_in_not_allowed"},
		"a subject in other letters":         {subjects, map[string]any{"sub": "ADA-1"}, nil, "sign_in_not_allowed"},
		"by address":                         {byEmail, nil, nil, "email:ada@example.com"},
		"by an address that is not verified": {byEmail, map[string]any{"email_verified": false}, nil, "sign_in_not_allowed"},
		"a name that is too long":            {nil, map[string]any{"sub": strings.Repeat("x", 255)}, nil, "id_token_invalid"},
		"a name that is no text":             {nil, map[string]any{"sub": "a\x00b"}, nil, "id_token_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := atIssuer(t)
			if test.tenant != nil {
				in := s.signIn[flow.DefaultTenant]
				test.tenant(&in)
				s.signIn[flow.DefaultTenant] = in
			}
			i.userinfo = test.userinfo
			i.claims = func(c map[string]any) {
				for name, value := range test.claims {
					c[name] = value
					if value == nil {
						delete(c, name)
					}
				}
			}
			b := s.browser()
			rec := b.get(i.authorize(b.begin("/mcp/servers")))
			if got := strings.TrimPrefix(b.who(), "default "); got != "" && strings.HasPrefix(got, test.want) && rec.Code == 303 {
				return
			}
			if codeOf(rec) != test.want || b.who() != "" {
				t.Errorf("%d %q, signed in as %q; want %s", rec.Code, codeOf(rec), b.who(), test.want)
			}
		})
	}
}

// TestAttackOpenRedirect: a sign-in leads to our own pages alone.
func TestAttackSignInOpenRedirect(t *testing.T) {
	t.Parallel()
	login := atLogin(t)
	issuer, _ := atIssuer(t)
	link := newSite(t, loopURL, "")
	for _, back := range []string{
		"//evil.test/", "///evil.test", "/\\evil.test", "\\\\evil.test", "https://evil.test/", "http:evil.test", "https:/evil.test", "javascript:alert(1)", "data:text/html,x",
		"mcp/servers", "/", "/mcp", "/mcp/notes", "/api/v1/audit", "/oauth/sign-out", "/oauth/sign-in", "/oauth/requests/", "/oauth/requests/../sign-in", "/c/", "/c/../x", "/c//evil.test",
		"/mcp/servers/../../x", "/mcp/servers//", "/mcp/serversx", "/mcp/connections", "/mcp/servers#x", "/mcp/servers\r\nSet-Cookie: x=y", "/mcp/servers\t", " /mcp/servers",
		"/%2f%2fevil.test", "/c/%2e%2e/x", "/c/%5cevil.test", "/mcp/servers;x", "/mcp/servers?x=\"", "/@evil.test", "/.evil.test", "/mcp/servers?" + strings.Repeat("x", 600),
	} {
		for _, s := range []*site{login, issuer, link} {
			rec := s.browser().get("/oauth/sign-in?return=" + url.QueryEscape(back))
			want(t, "return "+back, rec, 400, "sign_in_return_invalid")
		}
	}
}
