package discover_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

const (
	anna = "anna's browser"
	// canary is a part of every code, token and secret.
	canary = "canary"
)

// journey is a world with all that comes after finding: authorization servers
// that grant, and ours that connects, renews and revokes.
type journey struct {
	*world
	start   *flow.Starter
	fin     *flow.Finisher
	refresh *refresh.Service
	log     *fake.Log
	// own is an operator's client.
	own provider.Client
	// noServer: the preset has gone.
	noServer bool
	made     int
	codes    map[string]code
	// sent are the forms that each endpoint was sent, by its URL.
	sent map[string][]url.Values
	// basic are the clients that proved themselves by a header, by URL.
	basic map[string]string
	// answer, when set, is what token endpoints say.
	answer func(form url.Values) (int, string)
}

type code struct{ issuer, client, challenge, redirect, scope string }

func newJourney(t *testing.T) *journey {
	j := &journey{world: newWorld(t), log: &fake.Log{}, codes: map[string]code{}, sent: map[string][]url.Values{}, basic: map[string]string{}}
	j.grants(issuer)
	logger := slog.New(slog.NewTextHandler(j.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	j.finder.Logger = logger
	engine := &provider.Engine{HTTP: &http.Client{Transport: j.internet}, Now: j.finder.Now, Logger: logger}
	sealed := &vault.Vault{Sealer: &vault.Sealer{Keys: fake.NewKeys(), Rand: rand.Reader}, Grants: j.store.Grants(), Audit: j.store.Audit(), Now: j.finder.Now}
	j.start = &flow.Starter{Store: j.store, Connections: j.store, Catalogue: j, Clients: j, Tenants: j, Finder: j.finder, Engine: engine, BaseURL: baseURL, Now: j.finder.Now}
	j.fin = &flow.Finisher{Store: j.store, Connections: j.store, Catalogue: j, Secrets: j, Engine: engine, Vault: sealed, BaseURL: baseURL, Now: j.finder.Now, Logger: logger}
	j.refresh = &refresh.Service{Connections: j.store, Vault: sealed, Catalogue: j, Secrets: j, Engine: engine, BaseURL: baseURL, Now: j.finder.Now, Logger: logger}
	t.Cleanup(func() {
		if leaked := j.log.String(); strings.Contains(leaked, canary) {
			t.Errorf("a secret was logged:\n%s", leaked)
		}
	})
	return j
}

func (j *journey) Server(name string) (presets.Server, bool) {
	return presets.Server{Name: "notes", DisplayName: "Notes", AuthType: presets.TypeOAuth, OAuthService: presets.OAuthDiscover,
		Server: presets.Program{Registry: presets.RegistryRemote, URL: serverURL}}, name == "notes" && !j.noServer
}

func (j *journey) Provider(string) (presets.Provider, bool) { return presets.Provider{}, false }

func (j *journey) Tenant(context.Context, string) (flow.Tenant, error) { return flow.Tenant{}, nil }

func (j *journey) Current(_ context.Context, _, id string) (provider.Client, error) {
	if id != "notes" || j.own.ID == "" {
		return provider.Client{}, flow.ErrNoClient
	}
	return provider.Client{ID: j.own.ID, Variant: j.own.Variant}, nil
}

func (j *journey) Client(_ context.Context, _, _, id string) (provider.Client, error) {
	if j.own.ID == "" || id != j.own.ID {
		return provider.Client{}, flow.ErrNoClient
	}
	return j.own, nil
}

// grants makes an issuer trade codes, renew and revoke.
func (j *journey) grants(issuer string) {
	note := func(r *http.Request) url.Values {
		if err := r.ParseForm(); err != nil {
			j.t.Errorf("form: %v", err)
		}
		at := "https://" + r.URL.Host + r.URL.Path
		j.sent[at] = append(j.sent[at], r.PostForm)
		if id, _, ok := r.BasicAuth(); ok {
			j.basic[at] = id
		}
		return r.PostForm
	}
	j.set(issuer+"/token", func(w http.ResponseWriter, r *http.Request) {
		form := note(r)
		if j.answer != nil {
			status, text := j.answer(form)
			w.WriteHeader(status)
			fmt.Fprint(w, text)
			return
		}
		scope := ""
		if c, ok := j.codes[form.Get("code")]; form.Get("grant_type") == "authorization_code" {
			if !ok || c.issuer != issuer || c.redirect != form.Get("redirect_uri") || c.challenge != oauth2.S256ChallengeFromVerifier(form.Get("code_verifier")) {
				w.WriteHeader(400)
				fmt.Fprint(w, `{"error":"invalid_grant"}`)
				return
			}
			delete(j.codes, form.Get("code"))
			scope = c.scope
		}
		j.made++
		says(doc{"access_token": fmt.Sprintf("at-%s-%d", canary, j.made), "refresh_token": fmt.Sprintf("rt-%s-%d", canary, j.made),
			"token_type": "Bearer", "expires_in": 3600, "scope": scope})(w, r)
	})
	j.set(issuer+"/revoke", func(w http.ResponseWriter, r *http.Request) { note(r) })
}

func (j *journey) begin(r flow.StartRequest) flow.Flow {
	j.t.Helper()
	r.Tenant, r.UserID, r.Server = "default", "ada", "notes"
	f, err := j.start.Start(j.t.Context(), r)
	if err != nil {
		j.t.Fatalf("start: %v", err)
	}
	return f
}

// leave is where the browser is sent, as a URL.
func (j *journey) leave(f flow.Flow) *url.URL {
	j.t.Helper()
	to, err := j.start.Authorize(j.t.Context(), f.ID, anna)
	if err != nil {
		j.t.Fatalf("authorize: %v", err)
	}
	u, err := url.Parse(to)
	if err != nil {
		j.t.Fatal(err)
	}
	return u
}

// agree is a person saying yes at whoever the browser was sent to: where it is
// sent back.
func (j *journey) agree(to *url.URL) *url.URL {
	q, at := to.Query(), to.Scheme+"://"+to.Host
	j.made++
	value := fmt.Sprintf("code-%s-%d", canary, j.made)
	j.codes[value] = code{at, q.Get("client_id"), q.Get("code_challenge"), q.Get("redirect_uri"), q.Get("scope")}
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		j.t.Fatal(err)
	}
	back.RawQuery = url.Values{"code": {value}, "state": {q.Get("state")}, "iss": {at}}.Encode()
	return back
}

// arrive is the browser at our redirect URI.
func (j *journey) arrive(back *url.URL) (flow.Flow, error) {
	j.t.Helper()
	rest := strings.TrimPrefix(back.Path, flow.CallbackPath)
	f, err := j.fin.FinishAt(j.t.Context(), strings.TrimPrefix(rest, "/"), back.Query(), anna)
	if err != nil && strings.Contains(err.Error(), canary) {
		j.t.Errorf("an error holds a secret: %v", err)
	}
	return f, err
}

// connected is a whole flow.
func (j *journey) connected(r flow.StartRequest) connection.Connection {
	j.t.Helper()
	f, err := j.arrive(j.agree(j.leave(j.begin(r))))
	if err != nil {
		j.t.Fatalf("connect: %v", err)
	}
	return j.row(f.Result.ConnectionID)
}

func (j *journey) row(id string) connection.Connection {
	j.t.Helper()
	c, err := j.store.Get(j.t.Context(), connection.Key{Tenant: "default", ID: id})
	if err != nil {
		j.t.Fatal(err)
	}
	return c
}

func (j *journey) last(url string) url.Values {
	j.t.Helper()
	all := j.sent[url]
	if len(all) == 0 {
		j.t.Fatalf("%s was sent nothing", url)
	}
	return all[len(all)-1]
}

// moves makes the server name another issuer.
func (j *journey) moves(to string) {
	j.set(prmURL, says(with(prm(), doc{"authorization_servers": []string{to}, "scopes_supported": []string{"other"}})))
	j.set(to+"/.well-known/oauth-authorization-server", says(as(to)))
	j.registers(to, "client-at-other")
	j.grants(to)
}

func ada() vault.Caller { return vault.Caller{Tenant: "default", User: "ada", Actor: "page"} }

func secretOf(a token.Access) string { return a.Tokens[""].AccessToken.Reveal() }
