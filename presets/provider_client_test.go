package presets

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

const forge = minimal + `
parameters:
  host: {source: client, label: Host, default: forge.example, pattern: '^([a-z0-9-]+\.)+[a-z]+$'}
  api:
    source: derived
    cases:
      - {when: {host: '^forge\.example$'}, value: https://api.forge.example}
      - {value: 'https://{host}/api'}
`

// TestClientValues: where a client is, nobody says but whoever sets it; what is
// derived from that follows.
func TestClientValues(t *testing.T) {
	t.Parallel()
	p := decode(t, forge)
	if found := p.Check(); len(found) > 0 {
		t.Fatalf("%v", found)
	}
	evil := map[string]string{"host": "evil.example", "api": "https://evil.example"}
	for _, tt := range []struct {
		set       map[string]string
		host, api string
	}{
		{nil, "forge.example", "https://api.forge.example"},
		{map[string]string{"host": "git.acme.example"}, "git.acme.example", "https://git.acme.example/api"},
		{map[string]string{"host": "git.acme.example", "api": "https://evil.example"}, "git.acme.example", "https://git.acme.example/api"},
		{map[string]string{"host": "forge.example.acme.example"}, "forge.example.acme.example", "https://forge.example.acme.example/api"},
	} {
		got, err := p.Values(Inputs{User: evil, Deployment: evil, Metadata: evil, Client: tt.set})
		if err != nil || got["host"] != tt.host || got["api"] != tt.api {
			t.Errorf("%v: %v, %v", tt.set, got, err)
		}
		at, err := p.ClientValues(tt.set)
		if err != nil || !maps.Equal(at, map[string]string{"host": tt.host}) {
			t.Errorf("%v: the client is at %v, %v", tt.set, at, err)
		}
	}
	if _, err := p.Values(Inputs{Client: map[string]string{"host": "a/b"}}); !errors.Is(err, ErrParameter) {
		t.Errorf("a value that is not allowed: %v", err)
	}
	alone, _, _ := strings.Cut(forge, "  api:")
	for _, text := range []string{forge, alone} {
		nowhere := decode(t, strings.Replace(text, "default: forge.example, ", "", 1))
		if at, err := nowhere.ClientValues(nil); !errors.Is(err, ErrParameter) || !strings.Contains(err.Error(), "host") {
			t.Errorf("without a default, a client is at %v, %v", at, err)
		}
		if at, err := nowhere.ClientValues(map[string]string{"host": "git.acme.example"}); err != nil || at["host"] != "git.acme.example" {
			t.Errorf("without a default: %v, %v", at, err)
		}
	}
	if none := decode(t, minimal); none.ClientParameters() != nil {
		t.Error("a provider at one place has no parameters of the client")
	}
}

// TestClientParameterRules: what a provider's file may not say of them.
func TestClientParameterRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, old, new, want string }{
		{"no pattern", `, pattern: '^([a-z0-9-]+\.)+[a-z]+$'`, "", "parameters.host: needs a pattern"},
		{"a path", `^([a-z0-9-]+\.)+[a-z]+$`, `^[a-z0-9./-]+$`, `allows "a/b"`},
		{"a user", `^([a-z0-9-]+\.)+[a-z]+$`, `^[a-z0-9.@-]+$`, `allows "a@b"`},
		{"a port, which would be escaped", `^([a-z0-9-]+\.)+[a-z]+$`, `^[a-z0-9:-]+(\.[a-z0-9:-]+)*$`, `allows "a:1"`},
		{"a default that is not allowed", "default: forge.example", "default: localhost", "parameters.host.default"},
		{"a client's own setting", "  host: {", "  secret: {source: client, pattern: '^a$'}\n  host: {", "a client has a setting of it"},
		{"nothing to derive", "    cases:\n", "    default: x\n    cases:\n", "no default, pattern or enum"},
		{"derived by nobody", "source: derived\n", "source: deployment\n", "cases are for source derived"},
		{"derived from what a person types", "source: client", "source: user", "is no parameter of the client"},
		{"derived from what is not there", "{host}/api", "{hots}/api", "{hots} is no parameter of the client"},
		{"not anchored", `^forge\.example$`, `forge\.example`, "must be anchored"},
		{"no last case", "      - {value: 'https://{host}/api'}\n", "", "the last case"},
		{"a case after the last", "{when: {host: '^forge\\.example$'}, value", "{value", "the last case"},
		{"an empty case", "value: https://api.forge.example", "value: ''", "cases[0].value: required"},
	} {
		text := strings.Replace(forge, tt.old, tt.new, 1)
		if text == forge {
			t.Fatalf("%s changes nothing", tt.name)
		}
		// The parameters have to lead somewhere, or nothing is to be said of paths.
		text = strings.Replace(text, "https://acme.example/token", "https://{host}/token", 1)
		p := decode(t, text)
		var all []string
		for _, problem := range p.Check() {
			all = append(all, strings.TrimPrefix(problem.Path, "$.")+": "+problem.Message)
		}
		if !strings.Contains(strings.Join(all, "\n"), tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, all, tt.want)
		}
	}
}

// TestShippedHosts: what a host of GitLab or GitHub may be, and where it leads.
func TestShippedHosts(t *testing.T) {
	t.Parallel()
	c, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"gitlab", "github"} {
		p, _ := c.Provider(id)
		for _, ok := range []string{"gitlab.example.com", "git.acme.co", "a-b.c1.example", "octocorp.ghe.com", "xn--bcher-kva.example"} {
			if err := p.Parameters["host"].Allows(ok); err != nil {
				t.Errorf("%s at %s: %v", id, ok, err)
			}
		}
		for _, bad := range []string{
			"https://gitlab.example.com", "gitlab.example.com/", "gitlab.example.com/gitlab", "gitlab.example.com:8443", "user@gitlab.example.com",
			"gitlab", "localhost", "10.0.0.1", "169.254.169.254", "[::1]", "::1", "0x7f.1", "1.2.3.4.5", "gitlab.example.com.", ".example.com", "a..b",
			"-a.example", "a-.example", "Gitlab.example.com", "gitlab.exämple.com", "a b.example", "a.example?x", "a.example#x", "a.example\\x", "a.example\n", "*.example.com", "{host}.example", "%2e.example",
		} {
			if p.Parameters["host"].Allows(bad) == nil {
				t.Errorf("%s may be at %q", id, bad)
			}
		}
	}
	for _, variant := range []string{"", "app"} {
		p, _ := c.Provider("github")
		p, err := p.Resolve(variant, c.Provider)
		if err != nil {
			t.Fatal(err)
		}
		for host, api := range map[string]string{"": "https://api.github.com", "github.com": "https://api.github.com", "octocorp.ghe.com": "https://api.octocorp.ghe.com",
			"github.example.com": "https://github.example.com/api/v3", "ghe.com.example.com": "https://ghe.com.example.com/api/v3", "github.com.example.com": "https://github.com.example.com/api/v3"} {
			values, err := p.Values(Inputs{Client: map[string]string{"host": host}})
			if err != nil || values["api"] != api {
				t.Errorf("GitHub %s at %q: its API is at %q, %v", variant, host, values["api"], err)
			}
		}
	}
}

// TestServersAtTheClient: a server is for where its token is from, or not used.
func TestServersAtTheClient(t *testing.T) {
	t.Parallel()
	c, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]string{"host": "git.acme.example"}
	gitlab, _ := c.Server("gitlab")
	p, _ := c.Provider("gitlab")
	if err := gitlab.Serves(p, at); err != nil {
		t.Error(err)
	}
	values, err := p.Values(Inputs{Client: at})
	if err != nil {
		t.Fatal(err)
	}
	r, err := gitlab.Recipe("/opt/gitlab", Inputs{User: map[string]string{"host": "evil.example"}, Client: values})
	if err != nil || r.Env["GITLAB_API_URL"] != "https://git.acme.example/api/v4" || r.Parameters["host"] != "git.acme.example" {
		t.Errorf("GitLab's server is told %v, %v, %v", r.Env, r.Parameters, err)
	}
	for what, in := range map[string]Inputs{"nothing": {}, "what a person types": {User: at}} {
		if r, err := gitlab.Recipe("/opt/gitlab", in); !errors.Is(err, ErrParameter) {
			t.Errorf("of %s: %v, %v", what, r.Env, err)
		}
	}

	github, _ := c.Server("github")
	p, _ = c.Provider("github")
	if err := github.Serves(p, map[string]string{"host": "github.com"}); err != nil {
		t.Error(err)
	}
	if err := github.Serves(p, at); err == nil || !strings.Contains(err.Error(), "git.acme.example") || !strings.Contains(err.Error(), "github.com") {
		t.Errorf("GitHub's server, which knows github.com alone: %v", err)
	}
	narrow := Server{DisplayName: "Narrow", Parameters: map[string]Parameter{"host": {Source: SourceClient, Enum: []string{"git.acme.example"}}}}
	if narrow.Serves(p, at) != nil || narrow.Serves(p, map[string]string{"host": "github.com"}) == nil {
		t.Error("a server says itself for which hosts it is")
	}
	derived := Server{DisplayName: "Derived", Parameters: map[string]Parameter{"api": {Source: SourceClient}}}
	if err := derived.Serves(p, at); err != nil {
		t.Errorf("what is derived of a host is of every host: %v", err)
	}
}
