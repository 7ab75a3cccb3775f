package presets_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/presets"
)

// shipped is the catalogue as it is without overlays.
func shipped(t *testing.T) *presets.Catalogue {
	t.Helper()
	c, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestShipped: what holds for each server that comes with Lanyard, beyond the
// rules that hold for every preset.
func TestShipped(t *testing.T) {
	t.Parallel()
	servers := shipped(t).Servers()
	if len(servers) < 4 {
		t.Fatalf("only %d servers are shipped", len(servers))
	}
	for _, s := range servers {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			for _, scope := range s.OAuthScopes {
				if scope.Why == "" {
					t.Errorf("scope %s has no why", scope.Scope)
				}
			}
			if s.Discovers() {
				if s.RemoteHost() == "" || !strings.HasSuffix(s.Name, "-remote") {
					t.Error("a server that says everything itself has a URL and a name that no provider will have")
				}
				return
			}
			if _, ok := s.ToolsCount(); !ok || len(s.AuthFailure) == 0 || s.OAuthService != "" && s.OAuthService != "notion" && len(s.OAuthScopes) == 0 {
				t.Error("tools, auth_failure or scopes are missing")
			}
			// A host name in a lock would tie every installation to it.
			if regexp.MustCompile(`"resolved"`).Match(s.Lock.Lockfile) {
				t.Error("the lock names the host that it was made with")
			}
			for name, f := range s.CredentialFiles {
				if out := render(t, f.Template, nil); !json.Valid([]byte(out)) {
					t.Errorf("credential file %s is no JSON: %s", name, out)
				}
			}
		})
	}
}

// render fills a credential file with a hostile token.
func render(t *testing.T, text string, broker map[string]any) string {
	t.Helper()
	if broker == nil {
		broker = map[string]any{"token_url": "u", "introspect_url": "u", "client_id": "i", "client_secret": "s", "refresh_token": "r"}
	}
	tmpl, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"json": func(v any) (string, error) {
		b, err := json.Marshal(v)
		return string(b), err
	}}).Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := tmpl.Execute(&out, map[string]any{"access_token": "to\"ken\\\n", "scopes": []string{"s"}, "broker": broker}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestGoogleServersNameTheirAPIs: each uses one at least, and an API has one name
// and one page.
func TestGoogleServersNameTheirAPIs(t *testing.T) {
	t.Parallel()
	c, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	page := regexp.MustCompile(`^https://console\.cloud\.google\.com/apis/library/[a-z-]+\.googleapis\.com$`)
	names := map[string]string{}
	for _, s := range c.Servers() {
		if s.OAuthService == "google" && len(s.OAuthEnable) == 0 {
			t.Errorf("%s names no API", s.Name)
		}
		for _, f := range s.OAuthEnable {
			if known, ok := names[f.URL]; s.OAuthService == "google" && !page.MatchString(f.URL) || ok && known != f.Name {
				t.Errorf("%s: %s at %s", s.Name, f.Name, f.URL)
			}
			names[f.URL] = f.Name
		}
	}
}

func TestDemoRecipe(t *testing.T) {
	t.Parallel()
	s, _ := shipped(t).Server("demo")
	deployment := map[string]string{"self": "/Applications/My Tools/lanyard", "demo_base": "http://127.0.0.1:4001"}
	r, err := s.Recipe("", presets.Inputs{User: map[string]string{"self": "/bin/sh", "demo_base": "http://evil.example"}, Deployment: deployment})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Command, []string{deployment["self"], "demo-server"}) || r.Env["DEMO_NOTES_URL"] != deployment["demo_base"] {
		t.Errorf("a person's parameter stands in for the deployment's: %q %q", r.Command, r.Env)
	}
	if r.Rotation != task.RotateFile || r.Clients != task.ClientsShared || r.Mapping["credential_files.token"] != "DEMO_TOKEN_FILE" ||
		!strings.Contains(r.Files["token"].Template, ".access_token") || !slices.Equal(r.AuthFailure, s.AuthFailure) || r.Server != "demo" {
		t.Errorf("recipe: %+v", r)
	}
	if _, err := s.Recipe("", presets.Inputs{Deployment: map[string]string{"self": "/x"}}); !errors.Is(err, presets.ErrParameter) || !strings.Contains(err.Error(), "demo_base") {
		t.Errorf("a missing deployment value: %v", err)
	}
}

func TestRecipeParameters(t *testing.T) {
	t.Parallel()
	s := presets.Server{
		Name:     "acme",
		AuthType: presets.TypeAPIKey,
		Env:      map[string]string{"ACME_SHOP": "{shop}", "ACME_JSON": `{"shop": "{shop}"}`, "ACME_SIZE": "{size}", "ACME_HOST": "{theirs}"},
		Parameters: map[string]presets.Parameter{
			"shop": {Label: "Shop", Pattern: `^a|b$`},
			"size": {Label: "Size", Enum: []string{"s", "l"}, Default: "s"},
		},
		EnvValues: []presets.EnvValue{{Name: "ACME_KEY", Label: "Key"}},
		Server:    presets.Program{Registry: presets.RegistryCommand, Command: []string{"acme", "--shop={shop}"}},
	}
	tests := map[string]struct {
		params map[string]string
		want   []string // command, ACME_SHOP, ACME_JSON, ACME_SIZE, ACME_HOST; nil: refused
	}{
		"fits":            {map[string]string{"shop": "a", "size": "l", "theirs": "h"}, []string{"--shop=a", "a", `{"shop": "a"}`, "l", "h"}},
		"default":         {map[string]string{"shop": "b", "theirs": "h"}, []string{"--shop=b", "b", `{"shop": "b"}`, "s", "h"}},
		"no expansion":    {map[string]string{"shop": "a", "theirs": "{shop}"}, []string{"--shop=a", "a", `{"shop": "a"}`, "s", "{shop}"}},
		"missing":         {map[string]string{"theirs": "h"}, nil},
		"provider's":      {map[string]string{"shop": "a"}, nil},
		"half anchored":   {map[string]string{"shop": "a; rm -rf /", "theirs": "h"}, nil},
		"newline at end":  {map[string]string{"shop": "a\n", "theirs": "h"}, nil},
		"not in the enum": {map[string]string{"shop": "a", "size": "xl", "theirs": "h"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := s.Recipe("", presets.Inputs{User: test.params})
			if test.want == nil {
				if !errors.Is(err, presets.ErrParameter) {
					t.Errorf("got %v %v", r.Command, err)
				}
				if err != nil && strings.Contains(err.Error(), "rm -rf") {
					t.Errorf("the error repeats what was typed: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := []string{r.Command[1], r.Env["ACME_SHOP"], r.Env["ACME_JSON"], r.Env["ACME_SIZE"], r.Env["ACME_HOST"]}
			if !slices.Equal(got, test.want) || r.Mapping["value.ACME_KEY"] != "ACME_KEY" {
				t.Errorf("got %q %v, want %q", got, r.Mapping, test.want)
			}
		})
	}
}

// TestRecipeProgram: which file of an npm package is started. The lock says it:
// nothing needs to be installed.
func TestRecipeProgram(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ bins, bin, want string }{
		"the only one":       {`{"acme-mcp": "./cli.js"}`, "", "cli.js"},
		"its own name":       {`{"server": "a.js", "setup": "b.js"}`, "", "a.js"},
		"the named one":      {`{"server": "a.js", "setup": "b.js"}`, "setup", "b.js"},
		"not there":          {`{"server": "a.js"}`, "setup", ""},
		"ambiguous":          {`{"a": "a.js", "b": "b.js"}`, "", ""},
		"outside":            {`{"server": "../../evil.js"}`, "", ""},
		"absolute":           {`{"server": "/bin/sh"}`, "", ""},
		"no bin":             {`{}`, "", ""},
		"bin is a number":    {`1`, "", ""},
		"not JSON":           {`x`, "", ""},
		"a path that is odd": {`{"server": ""}`, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const dir = "/nowhere/{shop}" // not a parameter of the preset
			s := presets.Server{Name: "acme", Server: presets.Program{Registry: presets.RegistryNPM,
				Package: "@acme/server", Version: "1.0.0", Bin: test.bin, Args: []string{"--stdio"}}}
			s.Lock.Lockfile = []byte(`{"packages": {"node_modules/@acme/server": {"bin": ` + test.bins + `}}}`)
			r, err := s.Recipe(dir, presets.Inputs{})
			if test.want == "" {
				if !errors.Is(err, presets.ErrNoProgram) {
					t.Errorf("got %q %v", r.Command, err)
				}
				return
			}
			want := []string{"node", filepath.Join(dir, "node_modules/@acme/server", test.want), "--stdio"}
			if err != nil || !slices.Equal(r.Command, want) {
				t.Errorf("got %q %v, want %q", r.Command, err, want)
			}
		})
	}
	remote := presets.Server{Name: "acme", Server: presets.Program{Registry: presets.RegistryRemote, URL: "https://acme.example/mcp"}}
	if _, err := remote.Recipe("", presets.Inputs{}); !errors.Is(err, presets.ErrNoProgram) {
		t.Errorf("a remote server: %v", err)
	}
	if u, err := remote.Endpoint(presets.Inputs{}); err != nil || u.String() != "https://acme.example/mcp" || remote.RemoteHost() != "acme.example" {
		t.Errorf("its endpoint: %v %v, at %q", u, err, remote.RemoteHost())
	}
	own := presets.Server{Name: "acme", Server: presets.Program{Registry: presets.RegistryRemote, URL: "https://{shop}.acme.example/{shop}?x=1"},
		Parameters: map[string]presets.Parameter{"shop": {Label: "Shop", Pattern: "^[a-z]+$"}}}
	if u, err := own.Endpoint(presets.Inputs{User: map[string]string{"shop": "ada"}}); err != nil || u.String() != "https://ada.acme.example/ada?x=1" || own.RemoteHost() != "{shop}.acme.example" {
		t.Errorf("one's own endpoint: %v %v, at %q", u, err, own.RemoteHost())
	}
	for _, params := range []map[string]string{nil, {"shop": "a.b"}, {"shop": "A"}, {"other": "ada"}} {
		if u, err := own.Endpoint(presets.Inputs{User: params}); !errors.Is(err, presets.ErrParameter) {
			t.Errorf("%v: %v %v", params, u, err)
		}
	}
	if _, err := (presets.Server{Name: "npm"}).Endpoint(presets.Inputs{}); !errors.Is(err, presets.ErrNoProgram) {
		t.Errorf("an endpoint of a program: %v", err)
	}
}

// TestRecipePyPI: a server from PyPI is started by the interpreter of its
// virtual environment.
func TestRecipePyPI(t *testing.T) {
	t.Parallel()
	for bin, want := range map[string]string{"": "acme.server", "serve": "serve"} {
		s := presets.Server{Name: "acme", Server: presets.Program{Registry: presets.RegistryPyPI,
			Package: "acme.server", Version: "1.0", Bin: bin, Args: []string{"--transport", "stdio"}}}
		r, err := s.Recipe("/srv/acme", presets.Inputs{})
		if want := []string{"/srv/acme/bin/python3", "/srv/acme/bin/" + want, "--transport", "stdio"}; err != nil || !slices.Equal(r.Command, want) {
			t.Errorf("got %q %v, want %q", r.Command, err, want)
		}
	}
}

// TestShippedRecipes: what mcprun does for a task of a server that is installed
// on another machine, in the task's image.
func TestShippedRecipes(t *testing.T) {
	t.Parallel()
	c := shipped(t)
	for _, s := range c.Servers() {
		if !s.Server.Packaged() {
			continue
		}
		dir := "/opt/lanyard/servers/" + s.Name
		at, err := c.AtDefaults(s)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Recipe(dir, presets.Inputs{Client: at})
		if err != nil || len(r.Command) < 2 || !strings.HasPrefix(r.Command[1], dir+"/") {
			t.Errorf("%s: %q %v", s.Name, r.Command, err)
		}
	}
}

// TestLockOfEarlierLayer: a preset that is overlaid to change its scopes keeps
// the embedded lock, unless it wants another version.
func TestLockOfEarlierLayer(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("servers/slack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	original, _ := shipped(t).Server("slack")
	same := overlay(t, map[string]string{"servers/slack.yaml": strings.Replace(string(data), "display_name: Slack", "display_name: Chat", 1)})
	c, err := presets.Load([]string{same})
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := c.Server("slack"); s.DisplayName != "Chat" || s.Lock.Hash() != original.Lock.Hash() {
		t.Error("the overlaid preset does not have the embedded lock")
	}
	other := overlay(t, map[string]string{"servers/slack.yaml": strings.Replace(string(data), "version: 0.0.1", "version: 0.0.2", 1)})
	if found := presets.Lint([]string{other}); len(found) != 1 || !strings.Contains(found[0].Message, "the lock does not fit") {
		t.Errorf("another version with the embedded lock: %v", found)
	}
}
