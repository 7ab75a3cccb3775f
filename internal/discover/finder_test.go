package discover_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/presets"
)

// TestFind: all that a server says, in as few requests as that takes, and what is
// made of it is a provider that the engine accepts.
func TestFind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.found()
	want := flow.Found{ClientID: "client-at-auth", Scopes: []string{"read", "write"}, Found: connection.Found{
		Issuer: issuer, AuthorizationEndpoint: issuer + "/authorize", TokenEndpoint: issuer + "/token", RevocationEndpoint: issuer + "/revoke",
		Resource: serverURL, Public: true, ISS: true}}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("found %+v\nwant  %+v", got, want)
	}
	if asked := w.requests(); !slices.Equal(asked, []string{"POST " + serverURL, "GET " + prmURL, "GET " + asURL, "POST " + issuer + "/register"}) {
		t.Errorf("asked %q", asked)
	}
	p := flow.FoundProvider(presets.Server{DisplayName: "Notes"}, "notes", got.Found)
	if problems := p.Check(); len(problems) > 0 {
		t.Errorf("the engine would not accept it: %v", problems)
	}
}

// TestWhereMetadataAre: MCP's order of places, and no more of them than need be.
func TestWhereMetadataAre(t *testing.T) {
	t.Parallel()
	const root, custom = "https://mcp.example/.well-known/oauth-protected-resource", "https://mcp.example/about.json"
	const tenant = "https://auth.example/t1"
	for _, test := range []struct {
		name, challenge, prm, resource, issuer, as string
		want                                       []string
	}{
		{"where the challenge says", `Bearer resource_metadata="` + custom + `"`, custom, serverURL, issuer, asURL, []string{custom, asURL}},
		{"below the well-known path", "", prmURL, serverURL, issuer, asURL, []string{prmURL, asURL}},
		{"at the root", "", root, "https://mcp.example", issuer, asURL, []string{prmURL, root, asURL}},
		{"the challenge's are not there", `Bearer resource_metadata="` + custom + `"`, root, "https://mcp.example/v1/", issuer, asURL, []string{custom, prmURL, root, asURL}},
		{"OpenID", "", prmURL, serverURL, issuer, "https://auth.example/.well-known/openid-configuration",
			[]string{prmURL, asURL, "https://auth.example/.well-known/openid-configuration"}},
		{"an issuer with a path", "", prmURL, serverURL, tenant, "https://auth.example/.well-known/oauth-authorization-server/t1",
			[]string{prmURL, "https://auth.example/.well-known/oauth-authorization-server/t1"}},
		{"the last form", "", prmURL, serverURL, tenant, "https://auth.example/t1/.well-known/openid-configuration",
			[]string{prmURL, "https://auth.example/.well-known/oauth-authorization-server/t1", "https://auth.example/.well-known/openid-configuration/t1",
				"https://auth.example/t1/.well-known/openid-configuration"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for url := range w.at {
				delete(w.at, url)
			}
			w.set(serverURL, status(401, "WWW-Authenticate", test.challenge))
			w.set(test.prm, says(with(prm(), doc{"resource": test.resource, "authorization_servers": []string{test.issuer}})))
			w.set(test.as, says(as(test.issuer)))
			w.registers(test.issuer, "id")
			if f := w.found(); f.Resource != test.resource || f.Issuer != test.issuer {
				t.Errorf("%+v", f)
			}
			var got []string
			for _, r := range w.requests() {
				if url, ok := strings.CutPrefix(r, "GET "); ok {
					got = append(got, url)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("asked %q", got)
			}
		})
	}
}

// TestScopes: the challenge's, else all there are, else none; never one that is
// none.
func TestScopes(t *testing.T) {
	t.Parallel()
	const challenge = `Bearer resource_metadata="` + prmURL + `"`
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprint("s", i)
	}
	for _, test := range []struct {
		name, challenge string
		supported       any
		offers          []string
		want            string
		offline         bool
	}{
		{"the challenge's", challenge + `, scope="files:read files:list"`, []string{"other"}, nil, "[files:read files:list]", false},
		{"all there are", challenge, []string{"a", "b"}, []string{"a"}, "[a b]", false},
		{"none", challenge, nil, []string{"x"}, "[]", false},
		{"offline_access apart", challenge, []string{"a", "offline_access"}, []string{"a", "offline_access"}, "[a]", true},
		{"what is no scope", challenge + `, scope="good b\"ad"`, nil, nil, "[good]", false},
		{"hostile scopes", challenge, []string{"good", "", "a b", "x\n", `q"`, strings.Repeat("l", 300)}, nil, "[good]", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.set(serverURL, status(401, "WWW-Authenticate", test.challenge))
			w.set(prmURL, says(with(prm(), doc{"scopes_supported": test.supported})))
			w.set(asURL, says(with(as(issuer), doc{"scopes_supported": test.offers})))
			if f := w.found(); fmt.Sprint(f.Scopes) != test.want || f.Offline != test.offline {
				t.Errorf("%q, offline %v", f.Scopes, f.Offline)
			}
		})
	}
	w := newWorld(t)
	w.set(prmURL, says(with(prm(), doc{"scopes_supported": many})))
	if f := w.found(); len(f.Scopes) != 100 {
		t.Errorf("%d scopes are asked for", len(f.Scopes))
	}
}

// TestRemembered: for five minutes, unless somebody reconnects.
func TestRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.found()
	w.now = w.now.Add(4 * time.Minute)
	w.found()
	if n := w.count("GET " + prmURL); n != 1 {
		t.Errorf("asked %d times", n)
	}
	const other = "https://new.example"
	w.set(prmURL, says(with(prm(), doc{"authorization_servers": []string{other}})))
	w.set(other+"/.well-known/oauth-authorization-server", says(as(other)))
	w.registers(other, "client-at-new")
	r := w.request()
	r.Anew = true
	if f, err := w.finder.Find(t.Context(), r); err != nil || f.Issuer != other || f.ClientID != "client-at-new" {
		t.Errorf("a reconnect finds %+v %v", f, err)
	}
	w.set(prmURL, says(prm()))
	w.now = w.now.Add(6 * time.Minute)
	if f := w.found(); f.Issuer != issuer || f.ClientID != "client-at-auth" {
		t.Errorf("later %+v", f)
	}
}

// TestFirstOfUse: of several authorization servers the first that can be used.
func TestFirstOfUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(prmURL, says(with(prm(), doc{"authorization_servers": []string{"https://gone.example", issuer}})))
	if f := w.found(); f.Issuer != issuer {
		t.Errorf("%+v", f)
	}
	w = newWorld(t)
	w.set(prmURL, says(with(prm(), doc{"authorization_servers": []string{"https://a.example", "https://b.example", "https://c.example", "https://d.example", issuer}})))
	w.refused(flow.ErrDiscovery)
}

// TestLegacy: a server that says nothing is its own authorization server, as MCP's
// revision 2025-03-26 had it. One that is out of order is not taken for it.
func TestLegacy(t *testing.T) {
	t.Parallel()
	const own = "https://mcp.example"
	w := newWorld(t)
	w.set(prmURL, nil)
	w.registers(own, "client")
	f := w.found()
	if f.Issuer != own || f.AuthorizationEndpoint != own+"/authorize" || f.TokenEndpoint != own+"/token" || f.Resource != serverURL || f.ISS {
		t.Errorf("without metadata: %+v", f)
	}
	w = newWorld(t)
	w.set(prmURL, nil)
	w.set(own+"/.well-known/oauth-authorization-server", says(with(as(own), doc{"issuer": own + "/", "token_endpoint": own + "/oauth/token"})))
	w.registers(own, "client")
	if f := w.found(); f.TokenEndpoint != own+"/oauth/token" || f.Issuer != own+"/" {
		t.Errorf("with metadata: %+v", f)
	}
	for _, down := range []string{prmURL, "https://mcp.example/.well-known/oauth-protected-resource", own + "/.well-known/oauth-authorization-server"} {
		for _, code := range []int{500, 503, 429} {
			w = newWorld(t)
			w.set(prmURL, nil)
			w.registers(own, "client")
			w.set(down, status(code))
			w.refused(flow.ErrProviderDown)
		}
	}
	w = newWorld(t)
	w.set(prmURL, nil)
	w.set(own+"/.well-known/oauth-authorization-server", says(as("https://evil.example")))
	w.registers(own, "client")
	w.refused(flow.ErrDiscovery)
}

// TestPages: what some sites answer to every request is no document.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(prmURL, func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "<!doctype html><title>{}</title>") })
	w.set("https://mcp.example/.well-known/oauth-protected-resource", says(prm()))
	if f := w.found(); f.Issuer != issuer {
		t.Errorf("%+v", f)
	}
}
