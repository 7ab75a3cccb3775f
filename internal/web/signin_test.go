package web

import (
	"errors"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/signin"
)

const loginURL = "https://app.test/login?from=lanyard"

// atIssuer is a site whose people sign in at an issuer.
func atIssuer(t *testing.T, change ...func(*flow.SignIn)) (*site, *issuer) {
	t.Helper()
	s := newSite(t, loopURL, "")
	i := newIssuer(t, s.clock.now)
	in := flow.SignIn{Method: flow.OIDC, Issuer: i.url, Domains: []string{"example.com"}}
	for _, c := range change {
		c(&in)
	}
	s.signIn = map[string]flow.SignIn{flow.DefaultTenant: in, "other": in}
	return s, i
}

// atLogin is a site whose people sign in at their tenant's own login.
func atLogin(t *testing.T) *site {
	t.Helper()
	s := newSite(t, loopURL, "")
	in := flow.SignIn{Method: flow.LoginURL, LoginURL: loginURL}
	s.signIn = map[string]flow.SignIn{flow.DefaultTenant: in, "other": in}
	return s
}

// begin begins a sign-in and returns where the browser was sent.
func (b *browser) begin(back string) *url.URL {
	b.s.t.Helper()
	rec := b.get("/oauth/sign-in?" + url.Values{"return": {back}}.Encode())
	u, err := url.Parse(rec.Header().Get("Location"))
	if rec.Code != 303 || err != nil || !u.IsAbs() {
		b.s.t.Fatalf("begin: %d %s", rec.Code, excerpt(rec))
	}
	return u
}

// confirmed confirms the sign-in that the login was asked for, and returns the
// path to go on at.
func (s *site) confirmed(asked *url.URL, user string) string {
	s.t.Helper()
	rec := s.api("POST", "/api/v1/sign-ins/"+asked.Query().Get("flow_id")+"/confirm", `{"user_id":"`+user+`"}`)
	if rec.Code != 200 {
		s.t.Fatalf("confirm: %d %s", rec.Code, rec.Body)
	}
	return strings.TrimPrefix(field(s.t, rec, "continue_url"), s.base)
}

// who is the user that the browser's pages are of; "" if it is not signed in.
func (b *browser) who() string {
	ses, err := b.s.connect.Sessions.Session(b.s.t.Context(), b.s.connect.cookie(b.request(), "session"), b.s.connect.known(b.request()))
	if err != nil {
		return ""
	}
	return ses.Tenant + " " + ses.UserID
}

func wantLed(t *testing.T, rec *httptest.ResponseRecorder, to string) {
	t.Helper()
	if rec.Code != 303 || rec.Header().Get("Location") != to {
		t.Errorf("led to %d %s, want %s", rec.Code, excerpt(rec), to)
	}
}

// TestSignInAtAnIssuer is the whole way: from a page, to the issuer, and back to
// that page.
func TestSignInAtAnIssuer(t *testing.T) {
	t.Parallel()
	s, i := atIssuer(t)
	b := s.browser()
	rec := b.get("/mcp/servers?server=notes")
	if rec.Code != 401 || !strings.Contains(rec.Body.String(), `href="/oauth/sign-in?return=%2Fmcp%2Fservers%3Fserver%3Dnotes&amp;tenant=default"`) || !strings.Contains(rec.Body.String(), HostOf(i.url)) {
		t.Fatalf("not signed in: %d %s", rec.Code, excerpt(rec))
	}
	asked := b.begin("/mcp/servers?server=notes")
	if q := asked.Query(); q.Get("scope") != "openid email" || q.Get("redirect_uri") != loopURL+signin.CallbackPath {
		t.Errorf("asked %v", q)
	}
	wantLed(t, b.get(i.authorize(asked)), "/mcp/servers?server=notes")
	if want := "default " + signin.UserOf(i.url, "ada-1"); b.who() != want {
		t.Errorf("signed in as %q, want %q", b.who(), want)
	}
	page := b.get("/mcp/servers").Body.String()
	if !strings.Contains(page, "Ada@Example.com") || !strings.Contains(page, `action="/oauth/sign-out"`) {
		t.Error("the page neither names the person nor lets them sign out")
	}
	s.clock.advance(11 * time.Hour)
	if b.who() == "" {
		t.Error("signed out within half a day")
	}
	s.clock.advance(2 * time.Hour)
	if b.who() != "" {
		t.Errorf("%s is signed in still", b.who())
	}
}

// TestSignInAtALogin: the same by the tenant's own login.
func TestSignInAtALogin(t *testing.T) {
	t.Parallel()
	s := atLogin(t)
	b := s.browser()
	asked := b.begin("/mcp/servers?server=notes")
	if q := asked.Query(); asked.Host != "app.test" || asked.Path != "/login" || q.Get("from") != "lanyard" || !strings.HasPrefix(q.Get("flow_id"), "sgn_") || q.Get("server") != "notes" {
		t.Errorf("asked %s", asked)
	}
	path := s.confirmed(asked, "ada")
	if again := s.confirmed(asked, "ada"); again != path {
		t.Error("confirmed again, it leads elsewhere")
	}
	rec := b.get(path)
	wantLed(t, rec, "/mcp/servers?server=notes")
	if b.who() != "default ada" || rec.Header().Get("Referrer-Policy") != "no-referrer" || rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("signed in as %q, %v", b.who(), rec.Header())
	}
	late := s.browser()
	asked = late.begin("/mcp/servers")
	path = s.confirmed(asked, "ada")
	s.clock.advance(11 * time.Minute)
	want(t, "late", late.get(path), 410, "sign_in_expired")
	want(t, "confirmed late", s.api("POST", "/api/v1/sign-ins/"+asked.Query().Get("flow_id")+"/confirm", `{"user_id":"ada"}`), 410, "sign_in_expired")
}

// TestSignInByLink: who is told to open a link goes on, once it is open, where
// they were going.
func TestSignInByLink(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	b := s.browser()
	want(t, "no login", b.get("/oauth/sign-in?return=/oauth/requests/req_1"), 401, "")
	link := s.link(`{"user_id":"ada","servers":["notes"]}`)
	b.get(link)
	wantLed(t, b.post(link), "/oauth/requests/req_1")
	wantLed(t, b.post(link), "/mcp/servers?server=notes") // once
	for _, planted := range []string{"https://evil.test/", "//evil.test/", "/\\evil.test", "/api/v1/audit", "javascript:alert(1)", ""} {
		b.cookies[b.name("request")] = planted
		wantLed(t, b.post(link), "/mcp/servers?server=notes")
	}
	want(t, "of another tenant", s.browser().get("/oauth/sign-in?tenant=acme&return=/oauth/requests/req_1"), 401, "")
}

// TestSignInOnThisMachine: its owner is signed in by opening the page.
func TestSignInOnThisMachine(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	s.signIn = map[string]flow.SignIn{flow.DefaultTenant: {Method: flow.Local}}
	b := s.browser()
	wantLed(t, b.get("/oauth/sign-in?return=/oauth/requests/req_1"), "/oauth/requests/req_1")
	want(t, "a script of another page", s.browser().send("GET", "/oauth/sign-in", "", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "cross-site"), 401, "")
}

// TestSignedInNeedsNoConfirmation: who has shown who they are is not somebody who
// was sent a link.
func TestSignedInNeedsNoConfirmation(t *testing.T) {
	t.Parallel()
	s := atLogin(t)
	s.confirm = true
	b := s.browser()
	b.get(s.confirmed(b.begin("/mcp/servers"), "ada"))
	b.get(s.answer(b.toProvider(b.start("notes"))))
	byLink := s.signedIn("ada")
	pending := byLink.start("mail")
	byLink.get(s.answer(byLink.toProvider(pending)))
	own, err := s.connect.connectionsOf(t.Context(), flow.DefaultTenant, "ada")
	if err != nil || len(own) != 2 || own[0].Status == own[1].Status {
		t.Fatalf("%+v %v", own, err)
	}
	for _, c := range own {
		if want := map[string]string{"notes": "connected", "mail": "pending"}[c.Server]; string(c.Status) != want {
			t.Errorf("%s is %s, want %s", c.Server, c.Status, want)
		}
	}
}

// TestSignOut ends the session on our side: a copy of the cookie is worth nothing.
func TestSignOut(t *testing.T) {
	t.Parallel()
	s := atLogin(t)
	b := s.browser()
	b.get(s.confirmed(b.begin("/mcp/servers"), "ada"))
	kept := b.cookies[b.name("session")]
	want(t, "from another page", b.send("POST", "/oauth/sign-out", "csrf="+b.csrf(), "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.test"), 403, "cross_site")
	if b.who() == "" {
		t.Fatal("another page signed the person out")
	}
	wantLed(t, b.post("/oauth/sign-out"), "/mcp/servers")
	b.cookies[b.name("session")] = kept
	if b.who() != "" {
		t.Errorf("%s is signed in still", b.who())
	}
	// A cookie that another browser stole signs nobody out there.
	ada, thief := s.signedIn("ada"), s.browser()
	thief.get("/mcp/servers")
	thief.cookies[b.name("session")] = ada.cookies[b.name("session")]
	thief.post("/oauth/sign-out")
	if ada.who() == "" {
		t.Error("another browser ended the session")
	}
}

// TestSessionOfAnotherTenant: pages of one tenant know nobody of another one.
func TestSessionOfAnotherTenant(t *testing.T) {
	t.Parallel()
	s, i := atIssuer(t)
	c := s.connected(signin.UserOf(i.url, "ada-1"), "notes")
	b := s.browser()
	asked, err := url.Parse(b.get("/oauth/sign-in?tenant=other").Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	b.get(i.authorize(asked))
	if want := "other " + signin.UserOf(i.url, "ada-1"); b.who() != want {
		t.Fatalf("signed in as %q, want %q", b.who(), want)
	}
	want(t, "the connection of that user of our own tenant", b.get("/api/v1/connections/"+c.ID), 404, "connection_unknown")
	for tenant, known := range map[string]bool{"other": true, flow.DefaultTenant: false, "third": false} {
		_, err := s.connect.personOf(httptest.NewRecorder(), b.request(), tenant)
		if known != (err == nil) || !known && !errors.Is(err, flow.ErrNoSession) {
			t.Errorf("%s: %v", tenant, err)
		}
	}
}
