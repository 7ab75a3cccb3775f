package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// finder finds what a test says.
type finder struct {
	found flow.Found
	err   error
}

func (f finder) Find(context.Context, flow.FindRequest) (flow.Found, error) { return f.found, f.err }

// TestSetupOfWhatIsFound: a server whose issuer wants a client made by hand leads
// to the page that says where, and with what.
func TestSetupOfWhatIsFound(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	b := s.browser()
	b.get("/mcp/servers")
	s.starter.Finder = finder{flow.Found{Found: connection.Found{Issuer: "https://auth.example"}, Scopes: []string{"read"}}, fmt.Errorf("%w: register one at https://auth.example: <b>no</b>", flow.ErrNoClient)}
	if rec := b.post("/mcp/servers/notion-remote/connect"); rec.Code != 303 || rec.Header().Get("Location") != "/mcp/servers/notion-remote/setup" {
		t.Fatalf("%d %s", rec.Code, excerpt(rec))
	}
	rec := b.get("/mcp/servers/notion-remote/setup")
	text := rec.Body.String()
	for _, want := range []string{"NOTION_REMOTE_CLIENT_ISSUER=https://auth.example", "NOTION_REMOTE_CLIENT_ID", loopURL + flow.CallbackPath + "<", "another client", "&lt;b&gt;no"} {
		if rec.Code != 200 || !strings.Contains(text, want) {
			t.Errorf("%d without %q: %s", rec.Code, want, excerpt(rec))
		}
	}
	want(t, "for a program", s.api("POST", "/api/v1/mcp/servers/notion-remote/oauth/connect", `{"user_id":"me"}`), 409, "client_missing")
	s.starter.Finder = finder{err: fmt.Errorf("%w: its metadata are about another server", flow.ErrDiscovery)}
	want(t, "a server that cannot be connected", b.post("/mcp/servers/notion-remote/connect"), 502, "discovery_failed")
	want(t, "its setup", b.get("/mcp/servers/notion-remote/setup"), 502, "discovery_failed")
	s.starter.Finder = finder{err: errors.Join(flow.ErrProviderDown)}
	want(t, "one that is down", b.post("/mcp/servers/notion-remote/connect"), 502, "provider_unavailable")
	reconnect := b.request()
	reconnect.PostForm = url.Values{"csrf": {"x"}, "connection_id": {"con_1"}}
	if a := s.connect.again(reconnect); a.Post || a.URL != "/mcp/connections/con_1" {
		t.Errorf("reconnecting again: %+v", a)
	}
	// An API call is told the same, without the page.
	s.starter.Finder = finder{err: fmt.Errorf("%w: mcp.notion.com could not be reached", flow.ErrProviderDown)}
	for what, c := range map[string]struct {
		rec   *httptest.ResponseRecorder
		again string
	}{
		"the card":           {b.post("/mcp/servers/notion-remote/connect"), `<form method="post" action="/mcp/servers/notion-remote/connect"`},
		"a form with values": {b.post("/mcp/servers/notion-remote/connect", "param.x", "y"), `href="/mcp/servers?server=notion-remote"`},
		"its setup page":     {b.get("/mcp/servers/notion-remote/setup"), `href="/mcp/servers/notion-remote/setup"`},
	} {
		want(t, what, c.rec, 502, "provider_unavailable")
		text := c.rec.Body.String()
		for _, w := range []string{"Notion cannot be connected right now", "mcp.notion.com could not be reached.", "Check the network", c.again, ">Try again<"} {
			if !strings.Contains(text, w) {
				t.Errorf("%s without %q: %s", what, w, excerpt(c.rec))
			}
		}
		if strings.Contains(text, "other side said") || strings.Contains(text, "out of order") {
			t.Errorf("%s: %s", what, excerpt(c.rec))
		}
	}
	rec = s.api("POST", "/api/v1/mcp/servers/notion-remote/oauth/connect", `{"user_id":"me"}`)
	if want(t, "for a program", rec, 502, "provider_unavailable"); field(t, rec, "error_description") != "mcp.notion.com could not be reached" {
		t.Errorf("%s", rec.Body)
	}
	s.starter.Finder = nil
	want(t, "where nothing is found", b.post("/mcp/servers/notion-remote/connect"), 404, "server_unknown")
}

// TestNamesOfServers: no two that Lanyard comes with have the same name in a list,
// though a provider may run one beside that which runs here.
func TestNamesOfServers(t *testing.T) {
	t.Parallel()
	_, known := shared()
	names := map[string]string{}
	for _, s := range known.Servers() {
		if other, taken := names[nameOf(s)]; taken {
			t.Errorf("%s and %s are both called %q", other, s.Name, nameOf(s))
		}
		names[nameOf(s)] = s.Name
	}
	if names["Linear"] != "linear" || names["Linear at mcp.linear.app"] != "linear-remote" {
		t.Errorf("%v", names)
	}
}

// TestClientDocument: our document at the very URL that it says it is at, for
// anybody, for one issuer.
func TestClientDocument(t *testing.T) {
	t.Parallel()
	const base = "https://lanyard.example"
	s := newSite(t, base, "")
	url := discover.DocumentURL(base, "https://auth.example")
	rec := s.browser().get(strings.TrimPrefix(url, base))
	var got discover.Metadata
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != 200 || rec.Header().Get("Content-Type") != "application/json" || got.ClientID != url {
		t.Fatalf("%d %v %+v", rec.Code, err, got)
	}
	if want := flow.RedirectURI(base, &connection.Found{Issuer: "https://auth.example", Public: true}); len(got.RedirectURIs) != 1 || got.RedirectURIs[0] != want {
		t.Errorf("%q, want %s", got.RedirectURIs, want)
	}
	if h := rec.Header(); h.Get("Cache-Control") == "" || len(h.Values("Set-Cookie")) > 0 {
		t.Errorf("%v", h)
	}
}

// TestIssuersOwnRedirectURI: it takes no answer to a flow of a provider.
func TestIssuersOwnRedirectURI(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	b := s.browser()
	b.get("/mcp/servers")
	back := s.answer(b.toProvider(b.start("notes")))
	elsewhere := strings.Replace(back, flow.CallbackPath, flow.CallbackPath+"/"+flow.IssuerKey("https://auth.example"), 1)
	want(t, "the answer at another's address", b.get(elsewhere), 400, "issuer_mismatch")
}
