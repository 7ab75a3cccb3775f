package discover_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/presets"
)

// TestClientOrder: an operator's at this issuer, our document, a registration, and
// then the operator is asked.
func TestClientOrder(t *testing.T) {
	t.Parallel()
	document := baseURL + "/oauth/client-metadata/" + flow.IssuerKey(issuer) + ".json"
	for _, test := range []struct {
		name           string
		own, at        string
		change         doc
		base           string
		want           string
		public         bool
		says           string
		registrations  int
		secretMethod   string
		registerAnswer doc
	}{
		{name: "an operator's", own: "by-hand", at: issuer, change: doc{"client_id_metadata_document_supported": true}, want: "by-hand"},
		{name: "an operator's, by post", own: "by-hand", at: issuer, change: doc{"token_endpoint_auth_methods_supported": []string{"client_secret_post"}}, want: "by-hand", secretMethod: presets.AuthPost},
		{name: "an operator's of another issuer", own: "by-hand", at: "https://old.example", want: "client-at-auth", public: true, registrations: 1},
		{name: "an operator's of nobody knows where", own: "by-hand", says: "registered at an issuer that was not named"},
		{name: "our document", change: doc{"client_id_metadata_document_supported": true}, want: document, public: true},
		{name: "no document of a machine of one's own", change: doc{"client_id_metadata_document_supported": true}, base: "http://127.0.0.1:8080", want: "client-at-auth", public: true, registrations: 1},
		{name: "no document where clients need a secret", change: doc{"client_id_metadata_document_supported": true, "token_endpoint_auth_methods_supported": []string{"private_key_jwt"}}, says: "to have a secret"},
		{name: "a registration", want: "client-at-auth", public: true, registrations: 1},
		{name: "methods are not told", change: doc{"token_endpoint_auth_methods_supported": nil}, want: "client-at-auth", public: true, registrations: 1},
		{name: "no registration", change: doc{"registration_endpoint": nil}, says: "registers no clients"},
		{name: "a client with a secret", registerAnswer: doc{"client_id": "x", "client_secret": "canary", "token_endpoint_auth_method": "client_secret_basic"}, says: "a client with a secret"},
		{name: "a secret that nobody needs", registerAnswer: doc{"client_id": "x", "client_secret": "canary", "token_endpoint_auth_method": "none"}, want: "x", public: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.set(asURL, says(with(as(issuer), test.change)))
			if test.registerAnswer != nil {
				w.set(issuer+"/register", func(rw http.ResponseWriter, r *http.Request) {
					rw.WriteHeader(http.StatusCreated)
					says(test.registerAnswer)(rw, r)
				})
			}
			if test.base != "" {
				w.finder.BaseURL = test.base
			}
			r := w.request()
			r.ClientID, r.Issuer = test.own, test.at
			f, err := w.finder.Find(t.Context(), r)
			if f.ClientID != test.want || f.Public != test.public || f.Auth != test.secretMethod || len(w.registered) != test.registrations {
				t.Errorf("%+v, %d registered: %v", f, len(w.registered), err)
			}
			if test.says != "" && (!errors.Is(err, flow.ErrNoClient) || !strings.Contains(err.Error(), test.says) || f.Issuer != issuer) {
				t.Errorf("%v, want %q and where: %+v", err, test.says, f)
			}
			if strings.Contains(fmt.Sprint(err), "canary") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

// TestRegistrationRequest: a client without a secret, of one redirect URI, that is
// this issuer's alone.
func TestRegistrationRequest(t *testing.T) {
	t.Parallel()
	for base, kind := range map[string]string{baseURL: "web", "http://127.0.0.1:8080": "native"} {
		w := newWorld(t)
		w.finder.BaseURL = base
		w.found()
		got, err := json.Marshal(w.registered[0])
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"application_type":%q,"client_name":"Lanyard","grant_types":["authorization_code","refresh_token"],"redirect_uris":["%s/mcp/oauth/callback/%s"],"response_types":["code"],"token_endpoint_auth_method":"none"}`,
			kind, base, flow.IssuerKey(issuer))
		if string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestRegistrationsAreKept: one for a tenant and an issuer, as long as it is of
// use, and never at another issuer.
func TestRegistrationsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := 0
	w.set(issuer+"/register", func(rw http.ResponseWriter, r *http.Request) {
		n++
		rw.WriteHeader(http.StatusCreated)
		says(doc{"client_id": fmt.Sprint("client-", n)})(rw, r)
	})
	find := func(change func(*flow.FindRequest), want string) {
		t.Helper()
		r := w.request()
		if change != nil {
			change(&r)
		}
		if f, err := w.finder.Find(t.Context(), r); err != nil || f.ClientID != want {
			t.Errorf("%q, want %q: %v", f.ClientID, want, err)
		}
	}
	find(nil, "client-1")
	find(nil, "client-1")
	find(func(r *flow.FindRequest) { r.Tenant = "other" }, "client-2")
	find(func(r *flow.FindRequest) { r.Refused = "client-of-old" }, "client-1")
	find(func(r *flow.FindRequest) { r.Refused = "client-1" }, "client-3")
	find(nil, "client-3")
	w.now = w.now.Add(31 * 24 * time.Hour)
	find(nil, "client-4")
	w.finder.BaseURL = "https://moved.example"
	find(nil, "client-5")
	// Another server of the same issuer is the same client's.
	const second = "https://second.example/mcp"
	w.set(second, status(401))
	w.set("https://second.example/.well-known/oauth-protected-resource/mcp", says(doc{"resource": second, "authorization_servers": []string{issuer}}))
	find(func(r *flow.FindRequest) { r.Server.Host, r.Server.Path = "second.example", "/mcp" }, "client-5")
	// The server moves to another issuer: nothing of ours goes along.
	const other = "https://new.example"
	w.set(prmURL, says(with(prm(), doc{"authorization_servers": []string{other}})))
	w.set(other+"/.well-known/oauth-authorization-server", says(as(other)))
	w.registers(other, "client-at-new")
	find(func(r *flow.FindRequest) { r.Anew = true }, "client-at-new")
	if sent := fmt.Sprint(w.registered); strings.Contains(sent, "client-5") {
		t.Errorf("the new issuer was told %s", sent)
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	url := discover.DocumentURL(baseURL, issuer)
	m, ok := discover.Document(baseURL, strings.TrimPrefix(url, baseURL+discover.DocumentPath))
	if !ok || m.ClientID != url || len(m.RedirectURIs) != 1 || m.RedirectURIs[0] != baseURL+"/mcp/oauth/callback/"+flow.IssuerKey(issuer) ||
		m.TokenEndpointAuthMethod != "none" || m.ApplicationType != "web" {
		t.Errorf("%v %+v", ok, m)
	}
	for _, name := range []string{"", ".json", "x.json", "AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAA/.json", "AAAAAAAAAAAAAAA\".json", "AAAAAAAAAAAAAAAAA.json", "../AAAAAAAAAAAAA.json"} {
		if m, ok := discover.Document(baseURL, name); ok {
			t.Errorf("%q is %+v", name, m)
		}
	}
	for _, base := range []string{"http://127.0.0.1:8080", "http://localhost:1", "https://localhost", "https://10.0.0.1", "https://lanyard.internal", "http://lanyard.example"} {
		if u := discover.DocumentURL(base, issuer); u != "" {
			t.Errorf("nobody can read %s", u)
		}
	}
}
