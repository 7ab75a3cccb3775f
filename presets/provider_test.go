package presets

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

const minimal = `
id: acme
display_name: Acme
authorization_endpoint: https://acme.example/authorize
token_endpoint: https://acme.example/token
`

func decode(t *testing.T, text string) Provider {
	t.Helper()
	var p Provider
	if err := yaml.UnmarshalWithOptions([]byte(text), &p, yaml.Strict()); err != nil {
		t.Fatalf("decode: %v\n%s", err, text)
	}
	return p
}

func TestShippedProviders(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("providers/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no provider files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := decode(t, string(data))
			for _, problem := range p.Check() {
				t.Errorf("%s: %s", problem.Path, problem.Message)
			}
			if p.ID+".yaml" != filepath.Base(file) {
				t.Errorf("id %s in %s", p.ID, file)
			}
			if p.VerifiedAt == "" || len(p.Sources) == 0 {
				t.Error("a shipped provider has verified_at and sources")
			}
			for name := range p.Variants {
				if _, err := p.Resolve(name, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestMinimalIsEnough(t *testing.T) {
	t.Parallel()
	p := decode(t, minimal)
	if problems := p.Check(); len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
}

func TestRationedIsFine(t *testing.T) {
	t.Parallel()
	for _, refresh := range []string{"not_before: 30s", "rate_limit: {per: user, limit: 1, window: 1s}", "rate_limit: {per: client, limit: 8, window: 1d}"} {
		p := decode(t, minimal+"refresh: {"+refresh+"}\n")
		if problems := p.Check(); len(problems) > 0 {
			t.Errorf("%s: %v", refresh, problems)
		}
	}
}

func TestCheckFindsEachProblem(t *testing.T) {
	t.Parallel()
	shop := "parameters: {shop: {pattern: '%s'}}\ntoken_endpoint: https://{shop}/token\n"
	for _, tt := range []struct{ name, yaml, path, message string }{
		{"no endpoints", "id: a\ndisplay_name: A\n", "$.token_endpoint", "required"},
		{"bad id", "id: A!\n", "$.id", "lower-case"},
		{"http endpoint", "token_endpoint: http://acme.example/token\n", "$.token_endpoint", "must be https"},
		{"user in endpoint", "token_endpoint: https://u@acme.example/token\n", "$.token_endpoint", "user in it"},
		{"undeclared parameter", "token_endpoint: https://{shop}.acme.example/token\n", "$.token_endpoint", "does not declare"},
		{"parameter without pattern", "parameters: {shop: {label: Shop}}\n", "$.parameters.shop", "needs a pattern"},
		{"pattern not anchored", "parameters: {shop: {pattern: 'a+'}}\n", "$.parameters.shop.pattern", "anchored"},
		{"pattern broken", "parameters: {shop: {pattern: '^($'}}\n", "$.parameters.shop.pattern", "does not compile"},
		{"default refused", "parameters: {shop: {pattern: '^a$', default: b}}\n", "$.parameters.shop.default", "must match"},
		{"any host", strings.Replace(shop, "%s", "^[a-z0-9.-]+$", 1), "$.parameters.shop", "attacker.example"},
		{"host or path", "parameters: {t: {pattern: '^.+$'}}\ntoken_endpoint: https://acme.example/{t}/token\n", "$.parameters.t", "a/b"},
		{"any base", "parameters: {b: {pattern: '^https://.*$'}}\ntoken_endpoint: '{b}/token'\n", "$.parameters.b", "attacker.example"},
		{"reserved name", "parameters: {client_id: {pattern: '^a$'}}\n", "$.parameters.client_id", "taken"},
		{"callback not captured", "parameters: {r: {pattern: '^a$', source: callback}}\n", "$.parameters.r.source", "callback.capture"},
		{"metadata not named", "parameters: {r: {pattern: '^a$', source: token_response}}\n", "$.parameters.r.source", "response.metadata"},
		{"jwt client", "client_auth: {methods: [private_key_jwt]}\n", "$.client_auth.methods[0]", "not supported"},
		{"header without template", "client_auth: {methods: [header]}\n", "$.client_auth.header", "belong together"},
		{"pkce word", "pkce: {mode: plain}\n", "$.pkce.mode", "not supported"},
		{"state omitted", "authorization_params: {omit: [state]}\n", "$.authorization_params.omit", "protects"},
		{"redirect override", "authorization_params: {allowed: [redirect_uri]}\n", "$.authorization_params.allowed[0]", "engine's own"},
		{"fixed state", "authorization_params: {fixed: {state: x}}\n", "$.authorization_params.fixed.state", "engine's own"},
		{"scope none", "scope: {param: none, offline: [a]}\n", "$.scope", "no scope"},
		{"iss without issuer", "callback: {iss: required}\n", "$.callback.iss", "issuer"},
		{"match undeclared", "callback: {match: {shop: shop}}\n", "$.callback.match.shop", "does not declare"},
		{"verify half", "callback: {verify: {type: hmac_sha256}}\n", "$.callback.verify", "belong together"},
		{"discovery of nothing", "discovery: {request: {url: 'https://acme.example/sites'}, kind: site, id: id, label: name}\n", "$.discovery", "what is kept"},
		{"discovery of what", "discovery: {request: {url: 'https://acme.example/sites'}, id: id, label: name, metadata: {site: id}}\n", "$.discovery", "what a place is"},
		{"discovery without identity", "discovery: {request: {url: 'https://acme.example/sites'}, kind: site, label: name, metadata: {site: id}}\n", "$.discovery", "what identifies it"},
		{"discovery in the clear", "discovery: {request: {url: 'http://acme.example/sites'}, kind: site, id: id, label: name, metadata: {site: id}}\n", "$.discovery.request.url", "https"},
		{"discovery twice", "response: {metadata: [site]}\ndiscovery: {request: {url: 'https://acme.example/sites'}, kind: site, id: id, label: name, metadata: {site: id}}\n", "$.discovery.metadata.site", "taken"},
		{"gone status", "revocation: {gone_status: [gone]}\n", "$.revocation.gone_status[0]", "not a status"},
		{"introspection", "introspection_endpoint: https://acme.example/introspect\n", "$.introspection_endpoint", "not supported yet"},
		{"hourly check", "validation_interval: 1h\n", "$.validation_interval", "not supported yet"},
		{"callback by post", "callback: {method: POST}\n", "$.callback.method", "not supported yet"},
		{"ration of nobody", "refresh: {rate_limit: {limit: 8, window: 1m}}\n", "$.refresh.rate_limit.per", "required"},
		{"ration per tenant", "refresh: {rate_limit: {per: tenant, limit: 8, window: 1m}}\n", "$.refresh.rate_limit.per", "not supported"},
		{"ration of none", "refresh: {rate_limit: {per: user, window: 1m}}\n", "$.refresh.rate_limit.limit", "1 or more"},
		{"negative ration", "refresh: {rate_limit: {per: user, limit: -1, window: 1m}}\n", "$.refresh.rate_limit.limit", "1 or more"},
		{"ration without window", "refresh: {rate_limit: {per: client, limit: 8}}\n", "$.refresh.rate_limit.window", "1s to 1d"},
		{"ration in no time", "refresh: {rate_limit: {per: client, limit: 8, window: 10ms}}\n", "$.refresh.rate_limit.window", "1s to 1d"},
		{"ration of a week", "refresh: {rate_limit: {per: client, limit: 8, window: 7d}}\n", "$.refresh.rate_limit.window", "1s to 1d"},
		{"not before when", "refresh: {not_before: soon}\n", "$.refresh.not_before", "not a duration"},
		{"never before", "refresh: {not_before: 0s}\n", "$.refresh.not_before", "no time to renew"},
		{"encoding", "requests: {code: {encoding: xml}}\n", "$.requests.code.encoding", "not supported"},
		{"get with body", "requests: {refresh: {method: GET}}\n", "$.requests.refresh.encoding", "no body"},
		{"secret metadata", "response: {metadata: [authed_user.refresh_token]}\n", "$.response.metadata[0]", "secret"},
		{"two main tokens", "response: {tokens: [{}, {root: x}]}\n", "$.response.tokens[1].name", "two tokens"},
		{"path", "response: {error: {code: ['a..b']}}\n", "$.response.error.code[0]", "not a path"},
		{"client_credentials", "refresh: {grant: client_credentials}\n", "$.refresh.grant", "not supported"},
		{"introspect", "refresh: {ttl_if_absent: introspect}\n", "$.refresh.ttl_if_absent", "not supported"},
		{"exchange without request", "refresh: {grant: exchange}\n", "$.refresh.grant", "requests.exchange"},
		{"duration", "refresh: {idle_ttl: 6 months}\n", "$.refresh.idle_ttl", "not a duration"},
		{"negative duration", "refresh: {margin: -5m}\n", "$.refresh.margin", "not a duration"},
		{"rule without condition", "errors: [{when: {}, class: temporary}]\n", "$.errors[0].when", "needs"},
		{"rule class", "errors: [{when: {code: [a]}, class: fatal}]\n", "$.errors[0].class", "not supported"},
		{"rule status", "errors: [{when: {status: ['9xx']}, class: temporary}]\n", "$.errors[0].when.status[0]", "not a status"},
		{"identity without subject", "identity: {from: token_response}\n", "$.identity.subject", "required"},
		{"id_token", "identity: {from: id_token, subject: [sub]}\n", "$.identity.from", "not supported"},
		{"identity url", "identity: {from: request, subject: [sub], request: {url: 'http://acme.example/me'}}\n", "$.identity.request.url", "https"},
		{"revocation endpoint", "revocation: {mode: rfc7009, revokes: token}\n", "$.revocation.endpoint", "belong together"},
		{"revocation reach", "revocation: {mode: rfc7009, endpoint: 'https://acme.example/r'}\n", "$.revocation.revokes", "required"},
		{"sunset undated", "lifecycle: {status: sunset}\n", "$.lifecycle", "date"},
		{"day", "verified_at: yesterday\n", "$.verified_at", "not a day"},
		{"variant", "variants: {app: {pkce: {mode: odd}}}\n", "$.variants.app", "pkce.mode"},
		{"variant with id", "variants: {app: {id: x}}\n", "$.variants.app", "no id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			doc := map[string]any{}
			if err := yaml.Unmarshal([]byte(minimal), &doc); err != nil {
				t.Fatal(err)
			}
			if tt.name == "no endpoints" {
				doc = map[string]any{}
			}
			var over map[string]any
			if err := yaml.Unmarshal([]byte(tt.yaml), &over); err != nil {
				t.Fatal(err)
			}
			merge(doc, over)
			data, err := yaml.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			p := decode(t, string(data))
			var found []string
			for _, problem := range p.Check() {
				found = append(found, problem.Path+": "+problem.Message)
				if problem.Path == tt.path && strings.Contains(problem.Message, tt.message) {
					return
				}
			}
			t.Errorf("no problem %s: …%s…; found %q", tt.path, tt.message, found)
		})
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	parent := decode(t, minimal+`
scope: {separator: ",", default: [a, b]}
authorization_params: {fixed: {x: "1", y: "2"}}
refresh: {rotation: never, idle_ttl: 60d}
variants:
  app: {scope: {param: none, default: []}, authorization_params: {fixed: {y: "3"}}, refresh: {rotation: always}}
  bare: {scope: {default: [c]}}
`)
	child := decode(t, "id: child\nextends: acme\ndisplay_name: Child\nrefresh: {margin: 1m}\n")
	if problems := child.Check(); len(problems) > 0 {
		t.Fatalf("child: %v", problems)
	}
	lookup := func(id string) (Provider, bool) { return parent, id == "acme" }

	got, err := child.Resolve("bare", lookup)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "child" || got.DisplayName != "Child" || got.TokenEndpoint != parent.TokenEndpoint {
		t.Errorf("identity or endpoints: %+v", got)
	}
	if strings.Join(got.Scope.Default, " ") != "c" || got.Scope.Separator != "," {
		t.Errorf("a list must replace, a neighbour must stay: %+v", got.Scope)
	}
	if got.Refresh.Margin.Value() != time.Minute || got.Refresh.IdleTTL.Value() != 60*24*time.Hour || got.Refresh.Rotation != RotationNever {
		t.Errorf("refresh: %+v", got.Refresh)
	}
	if got.Variants != nil || got.Extends != "" {
		t.Error("a resolved provider has neither variants nor extends")
	}
	if _, err := child.Resolve("app", lookup); err == nil {
		t.Error("an empty list cannot unset the default scopes, so this variant must be refused")
	}
	for _, bad := range []struct{ name, variant, yaml string }{
		{"unknown variant", "nope", minimal},
		{"unknown parent", "", "id: x\nextends: nobody\n"},
	} {
		if _, err := decode(t, bad.yaml).Resolve(bad.variant, func(string) (Provider, bool) { return Provider{}, false }); err == nil {
			t.Errorf("%s: no error", bad.name)
		}
	}
	loop := decode(t, "id: loop\nextends: loop\n")
	if _, err := loop.Resolve("", func(string) (Provider, bool) { return loop, true }); err == nil {
		t.Error("a cycle must end with an error")
	}
	if parent.AuthorizationParams.Fixed["y"] != "2" {
		t.Error("resolving changed the parent")
	}
}

func TestValuesKeepSourcesApart(t *testing.T) {
	t.Parallel()
	p := decode(t, minimal+`
parameters:
  shop: {pattern: '^[a-z-]+\.shop\.example$'}
  base: {source: deployment}
  region: {enum: [eu, us], default: eu}
  instance: {source: token_response, pattern: '^https://[a-z]+\.acme\.example$'}
`)
	got, err := p.Values(Inputs{
		User:       map[string]string{"shop": "x.shop.example", "base": "https://attacker.example", "instance": "https://evil.acme.example", "other": "1"},
		Deployment: map[string]string{"base": "https://base.example"},
		Metadata:   map[string]string{"instance": "https://na.acme.example", "shop": "y.shop.example"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"shop": "x.shop.example", "base": "https://base.example", "region": "eu", "instance": "https://na.acme.example"}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s = %q, want %q", name, got[name], value)
		}
	}
	for _, bad := range []string{"x.shop.example.evil.example", "evil.example", "x.shop.example\n", "x.shop.example/", "é.shop.example"} {
		_, err := p.Values(Inputs{User: map[string]string{"shop": bad}})
		if !errors.Is(err, ErrParameter) {
			t.Errorf("shop %q: %v", bad, err)
		}
		if err != nil && strings.Contains(err.Error(), bad) {
			t.Errorf("the error repeats the value: %v", err)
		}
	}
}

func TestAllowsAnchorsAlternatives(t *testing.T) {
	t.Parallel()
	p := Parameter{Pattern: "^a|b$"}
	if p.Allows("a.attacker.example") == nil {
		t.Error("^a|b$ must not allow what only starts with a")
	}
}

func TestCheckRedirect(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule RedirectURI
		uri  string
		ok   bool
	}{
		{RedirectURI{}, "https://x.example/cb", true},
		{RedirectURI{}, "http://localhost:8080/cb", true},
		{RedirectURI{}, "http://127.0.0.1:8080/cb", true},
		{RedirectURI{}, "http://x.example/cb", false},
		{RedirectURI{}, "https://x.example/cb#f", false},
		{RedirectURI{}, "https://u@x.example/cb", false},
		{RedirectURI{}, "/cb", false},
		{RedirectURI{HTTPSOnly: true}, "http://localhost/cb", false},
		{RedirectURI{HTTPSOnly: true}, "https://localhost/cb", true},
		{RedirectURI{Loopback: LoopbackIP}, "http://localhost/cb", false},
		{RedirectURI{Loopback: LoopbackIP}, "http://[::1]:1/cb", true},
		{RedirectURI{Loopback: LoopbackNone}, "http://127.0.0.1/cb", false},
	} {
		p := Provider{DisplayName: "Acme", RedirectURI: tt.rule}
		if err := p.CheckRedirect(tt.uri); (err == nil) != tt.ok {
			t.Errorf("%+v %s: %v", tt.rule, tt.uri, err)
		}
	}
}

func TestExpandURLBase(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"https://acme.example":             "https://acme.example/me",
		"https://acme.example/":            "https://acme.example/me",
		"https://acme.example:8443/x":      "https://acme.example:8443/x/me",
		"https://user@acme.example":        "",
		"https://acme.example?x=":          "",
		"https://acme.example#":            "",
		"https://acme.example/{client_id}": "",
		"acme.example":                     "",
		"":                                 "",
	} {
		u, err := ExpandURL("{base}/me", map[string]string{"base": base, "client_id": "id"})
		if err == nil && u.String() != want || (err == nil) != (want != "") {
			t.Errorf("%q: %v %v", base, u, err)
		}
	}
}

// A value, whatever it is, never moves a URL to another host or scheme.
func FuzzExpandURL(f *testing.F) {
	for _, seed := range []string{"shop", "a/b", "..", "a@evil.example", "a#", "a?b=c", "a\\b", "a:80", "%2e", "é", "{x}", "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		values := map[string]string{"v": value}
		for _, template := range []string{"https://{v}.acme.example/token", "https://acme.example/{v}/token", "https://acme.example/t?x={v}"} {
			u, err := ExpandURL(template, values)
			if err != nil {
				continue
			}
			if u.Scheme != "https" || !strings.HasSuffix(u.Host, "acme.example") || u.User != nil || u.Fragment != "" {
				t.Errorf("%s with %q led to %s", template, value, u)
			}
		}
	})
}
