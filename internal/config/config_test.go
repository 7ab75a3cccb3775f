package config_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
)

// environment is a getenv over pairs of name and value.
func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// TestDefaults: with nothing set, a machine of one's own.
func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := config.Load(environment())
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != "127.0.0.1:8080" || c.BaseURL != "http://127.0.0.1:8080" || c.APIKey != "" || c.Confirm || c.StartOn != config.StartOnList || c.IdleStop != 10*time.Minute ||
		!filepath.IsAbs(c.DataDir) || filepath.Base(c.DataDir) != ".lanyard" || !c.Personal() {
		t.Errorf("%+v", c)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	c, err := config.Load(environment("LANYARD_ADDR", " 0.0.0.0:9000 ", "LANYARD_BASE_URL", "https://connect.example.com/", "LANYARD_DATA", "/var/lib/lanyard",
		"LANYARD_API_KEY", "canary", "LANYARD_PRESETS", "a: b ::c", "LANYARD_RETURN_URLS", "https://app.example.com/in/  http://localhost:3000/done",
		"LANYARD_CONFIRM", "on", "LANYARD_SERVER_ENV", "HTTPS_PROXY, EMPTY,,NODE_EXTRA_CA_CERTS", "HTTPS_PROXY", "http://proxy:3128", "NODE_EXTRA_CA_CERTS", "/ca.pem",
		"SECRET", "not asked for", "LANYARD_OAUTH_REDIRECTS", " zed://mcp/cb  goose://oauth ", "LANYARD_SERVER_READ", "/etc/ssl:/opt/x", "LANYARD_START_ON", "call", "LANYARD_IDLE_STOP", "90s", "LANYARD_MAX_LIFE", "3h", "LANYARD_DEMO_ADDR", "off",
		"LANYARD_WEBHOOK_URL", "https://app.example.com/hook ", "LANYARD_WEBHOOK_SECRET", "canary", "LANYARD_WEBHOOK_RETURN_URL", "http://localhost:3000/done"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != "0.0.0.0:9000" || c.BaseURL != "https://connect.example.com" || c.DataDir != "/var/lib/lanyard" || c.APIKey.Reveal() != "canary" ||
		!slices.Equal(c.Presets, []string{"a", "b", "c"}) || !slices.Equal(c.ReturnURLs, []string{"https://app.example.com/in/", "http://localhost:3000/done"}) ||
		!c.Confirm || c.StartOn != config.StartOnCall || c.IdleStop != 90*time.Second || c.MaxLife != 3*time.Hour || c.DemoAddr != "off" || !slices.Equal(c.ServerRead, []string{"/etc/ssl", "/opt/x"}) {
		t.Errorf("%+v", c)
	}
	if c.WebhookURL != "https://app.example.com/hook" || c.WebhookSecret.Reveal() != "canary" || c.WebhookReturnURL != "http://localhost:3000/done" {
		t.Errorf("webhooks to %s and %s", c.WebhookURL, c.WebhookReturnURL)
	}
	if !slices.Equal(c.OAuthRedirects, []string{"zed://mcp/cb", "goose://oauth"}) {
		t.Errorf("redirects %q", c.OAuthRedirects)
	}
	if len(c.ServerEnv) != 2 || c.ServerEnv["HTTPS_PROXY"] != "http://proxy:3128" || c.ServerEnv["NODE_EXTRA_CA_CERTS"] != "/ca.pem" {
		t.Errorf("servers get %v", c.ServerEnv)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", c, c), "canary") {
		t.Error("the API key is printed with the settings")
	}
}

// TestBadSettings: each is refused at the start, by its name.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, value string }{
		{"LANYARD_ADDR", "8080"}, {"LANYARD_ADDR", ":8080"}, {"LANYARD_ADDR", "127.0.0.1"}, {"LANYARD_ADDR", "http://127.0.0.1:8080"},
		{"LANYARD_ADDR", "127.0.0.1:"}, {"LANYARD_ADDR", "127.0.0.1:http-alt"}, {"LANYARD_ADDR", "127.0.0.1:65536"},
		{"LANYARD_BASE_URL", "connect.example.com"}, {"LANYARD_BASE_URL", "http://connect.example.com"}, {"LANYARD_BASE_URL", "ftp://127.0.0.1"},
		{"LANYARD_BASE_URL", "https://connect.example.com/path"}, {"LANYARD_BASE_URL", "https://user:canary@connect.example.com"},
		{"LANYARD_BASE_URL", "https://connect.example.com?x=canary"}, {"LANYARD_BASE_URL", "https://connect.example.com#x"}, {"LANYARD_BASE_URL", "https://"},
		{"LANYARD_BASE_URL", "http://localhost.example.com"}, {"LANYARD_BASE_URL", "https://%zz"},
		{"LANYARD_SIGN_IN", "password"}, {"LANYARD_SIGN_IN", "oidc"}, {"LANYARD_SIGN_IN", "login_url"}, {"LANYARD_OIDC_ISSUER", "https://accounts.example"},
		{"LANYARD_LOGIN_URL", "https://app.example/login"}, {"LANYARD_OIDC_ANYBODY", "yes"}, {"LANYARD_OIDC_DOMAINS", "example.com"},
		{"LANYARD_OAUTH_REDIRECTS", "https://client.example/cb"}, {"LANYARD_OAUTH_REDIRECTS", "ok://app/cb javascript://%0aalert(1)"}, {"LANYARD_OAUTH_REDIRECTS", "app:cb"},
		{"LANYARD_CONFIRM", "yes"}, {"LANYARD_CONFIRM", "ON"},
		{"LANYARD_RETURN_URLS", "app.example.com"}, {"LANYARD_RETURN_URLS", "https://ok.example.com javascript:alert(1)"}, {"LANYARD_RETURN_URLS", "https:///x"},
		{"LANYARD_START_ON", "never"}, {"LANYARD_IDLE_STOP", "10"}, {"LANYARD_IDLE_STOP", "0s"}, {"LANYARD_IDLE_STOP", "-1m"}, {"LANYARD_IDLE_STOP", "soon"}, {"LANYARD_MAX_LIFE", "12"}, {"LANYARD_MAX_LIFE", "0s"}, {"LANYARD_MAX_LIFE", "337h"}, {"LANYARD_KEEP_FRESH", "7d"}, {"LANYARD_KEEP_FRESH", "1s"},
	} {
		_, err := config.Load(environment(test.name, test.value))
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(fmt.Sprint(err), test.name) {
			t.Errorf("%s=%s: %v", test.name, test.value, err)
		}
		if strings.Contains(fmt.Sprint(err), "canary") {
			t.Errorf("%s: the error repeats a secret: %v", test.name, err)
		}
	}
}

// TestPersonal: only whoever sits at the machine is signed in without a link.
func TestPersonal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		addr, base string
		personal   bool
	}{
		{"127.0.0.1:8080", "", true}, {"localhost:8080", "", true}, {"[::1]:8080", "", true}, {"127.0.0.2:8080", "http://localhost:8080", true},
		{"127.0.0.1:8080", "https://tunnel.example.com", false}, {"0.0.0.0:8080", "http://127.0.0.1:8080", false}, {"192.168.1.2:8080", "https://127.0.0.1:8080", false},
		{"127.0.0.1:8080", "https://localhost.example.com", false}, {"127.0.0.1:8080", "https://127.0.0.1.example.com", false},
	} {
		c, err := config.Load(environment("LANYARD_ADDR", test.addr, "LANYARD_BASE_URL", test.base))
		if err != nil || c.Personal() != test.personal {
			t.Errorf("%s %s: personal %v, %v", test.addr, test.base, c.Personal(), err)
		}
	}
}

// hostOf says that one provider's clients have a host.
func hostOf(id string) func(string) []string {
	return func(asked string) []string {
		if asked == id {
			return []string{"host"}
		}
		return nil
	}
}

// rules: Google wants a secret, and a host is no URL.
type rules struct{ err error }

func (r rules) NeedsSecret(name, _ string) (bool, error) { return name == "GOOGLE", r.err }

func (r rules) Unfit(_, _, parameter, value string) (string, error) {
	if parameter == "host" && strings.Contains(value, "/") {
		return "no host", r.err
	}
	return "", r.err
}

// TestClientParameters: where a client is registered is said beside its id, and
// what is said beside another provider's means nothing.
func TestClientParameters(t *testing.T) {
	t.Parallel()
	c, err := config.Load(environment("GITLAB_CLIENT_ID", "l", "GITLAB_CLIENT_SECRET", "canary", "GITLAB_CLIENT_HOST", "gitlab.example", "GITLAB_HOST", "another program's",
		"GOOGLE_CLIENT_ID", "g", "GOOGLE_CLIENT_SECRET", "canary", "GOOGLE_CLIENT_HOST", "evil.example"))
	if err != nil {
		t.Fatal(err)
	}
	clients := c.Clients(hostOf("gitlab"), nil)
	for id, want := range map[string]map[string]string{"gitlab": {"host": "gitlab.example"}, "google": nil} {
		full, err := clients.Client(t.Context(), flow.DefaultTenant, id, "")
		if err != nil || !maps.Equal(full.Parameters, want) {
			t.Errorf("%s: %v, %v", id, full.Parameters, err)
		}
		known, err := clients.Current(t.Context(), flow.DefaultTenant, id)
		if err != nil || !maps.Equal(known.Parameters, want) || known.Secret != "" {
			t.Errorf("%s without its secret: %v, %v, %v", id, known.Parameters, known.Secret != "", err)
		}
	}
}

func TestClients(t *testing.T) {
	t.Parallel()
	c, err := config.Load(environment("GOOGLE_CLIENT_ID", "g", "GOOGLE_CLIENT_SECRET", "canary-g", "MICROSOFT_ENTRA_CLIENT_ID", "m", "MICROSOFT_ENTRA_CLIENT_VARIANT", "public",
		"NOTES_REMOTE_CLIENT_ID", "n", "NOTES_REMOTE_CLIENT_ISSUER", "https://auth.example",
		"HALF_CLIENT_SECRET", "canary-half", "DEMO_CLIENT_ID", "from the environment"))
	if err != nil {
		t.Fatal(err)
	}
	clients := c.Clients(hostOf("gitlab"), map[string]provider.Client{"demo": {ID: "own", Secret: "canary-own"}})
	ctx := context.Background()
	for _, test := range []struct{ provider, wanted, id, secret, variant, missing string }{
		{"google", "", "g", "canary-g", "", ""}, {"google", "g", "g", "canary-g", "", ""},
		{"microsoft-entra", "", "m", "", "public", ""},
		{"notes-remote", "", "n", "", "https://auth.example", ""},
		{"demo", "", "own", "canary-own", "", ""},
		{"half", "", "", "", "", "HALF_CLIENT_ID"}, {"none-at-all", "", "", "", "", "NONE_AT_ALL_CLIENT_ID"},
		{"google", "the one before", "", "", "", "GOOGLE_CLIENT_ID"}, {"demo", "the one before", "", "", "", "DEMO_CLIENT_ID"},
	} {
		got, err := clients.Client(ctx, flow.DefaultTenant, test.provider, test.wanted)
		if got.ID != test.id || got.Secret.Reveal() != test.secret || got.Variant != test.variant {
			t.Errorf("%s %s: %s %s", test.provider, test.wanted, got.ID, got.Variant)
		}
		if failed := test.missing != ""; failed != errors.Is(err, flow.ErrNoClient) || failed && !strings.Contains(err.Error(), test.missing) || strings.Contains(fmt.Sprint(err), "canary") {
			t.Errorf("%s %s: %v", test.provider, test.wanted, err)
		}
	}
	public, err := clients.Current(ctx, flow.DefaultTenant, "microsoft-entra")
	if public.ID != "m" || public.Variant != "public" || err != nil {
		t.Errorf("%s %s %v", public.ID, public.Variant, err)
	}
}

// TestUnfinishedClients: a client that cannot work counts as not there, and what it
// lacks is said without its values; one that needs no secret works.
func TestUnfinishedClients(t *testing.T) {
	t.Parallel()
	pairs := []string{
		"GOOGLE_CLIENT_ID", "canary", "SLACK_CLIENT_ID", "canary", "SLACK_CLIENT_SECRET", "…", "ASANA_CLIENT_ID", "….apps.example", "ASANA_CLIENT_SECRET", "canary",
		"ZOOM_CLIENT_ID", "z", "ZOOM_CLIENT_SECRET", "...", "SPOTIFY_CLIENT_ID", "s", "GITHUB_CLIENT_ID", "g", "GITHUB_CLIENT_SECRET", "s.e.c...", "EMPTY_CLIENT_ID", "",
		"GITLAB_CLIENT_ID", "l", "GITLAB_CLIENT_SECRET", "canary", "GITLAB_CLIENT_HOST", "https://gitlab.example", "GITLAB_CLIENT_HSOT", "x",
	}
	var environ []string
	for i := 0; i < len(pairs); i += 2 {
		environ = append(environ, pairs[i]+"="+pairs[i+1])
	}
	c, err := config.Load(environment(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	lacks, err := c.LeaveOutUnfinished(environ, rules{})
	if want := []string{"ASANA_CLIENT_ID still holds a placeholder", "GITLAB_CLIENT_HOST: no host", "GOOGLE_CLIENT_SECRET is missing", "SLACK_CLIENT_SECRET still holds a placeholder",
		"ZOOM_CLIENT_SECRET still holds a placeholder"}; err != nil || !slices.Equal(lacks, want) {
		t.Errorf("%q, %v", lacks, err)
	}
	clients := c.Clients(hostOf("gitlab"), map[string]provider.Client{"zoom": {ID: "own"}})
	for id, there := range map[string]bool{"google": false, "slack": false, "asana": false, "spotify": true, "github": true, "zoom": true, "empty": false, "gitlab": false} {
		got, err := clients.Client(t.Context(), flow.DefaultTenant, id, "")
		if there != (err == nil) || there != (got.ID != "") || !there && !errors.Is(err, flow.ErrNoClient) {
			t.Errorf("%s: %q, %v", id, got.ID, err)
		}
	}
	odd := errors.New("presets not readable")
	if _, err := c.LeaveOutUnfinished(environ, rules{odd}); !errors.Is(err, odd) {
		t.Error(err)
	}
}

// TestConfirmByDefault: links to a public address can be mailed to anybody, so
// what they connect waits for the tenant; on a machine alone nobody would
// confirm.
func TestConfirmByDefault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		base, confirm string
		want          bool
	}{
		{"", "", false},
		{"", "on", true},
		{"https://connect.example", "", true},
		{"https://connect.example", "off", false},
	} {
		cfg, err := config.Load(func(name string) string {
			return map[string]string{"LANYARD_BASE_URL": c.base, "LANYARD_CONFIRM": c.confirm}[name]
		})
		if err != nil || cfg.Confirm != c.want {
			t.Errorf("%+v: confirm %v, %v", c, cfg.Confirm, err)
		}
	}
}

// TestSignIn: the machine's owner is signed in by being there, unless the
// settings say otherwise.
func TestSignIn(t *testing.T) {
	t.Parallel()
	const public = "https://connect.example"
	for _, test := range []struct {
		base string
		env  []string
		want string // a method, or a part of the error
	}{
		{"", nil, "local"},
		{public, nil, "link"},
		{"", []string{"LANYARD_SIGN_IN", "link"}, "link"},
		{public, []string{"LANYARD_SIGN_IN", "local"}, "nobody else can open"},
		{"", []string{"LANYARD_SIGN_IN", "oidc", "LANYARD_OIDC_ISSUER", "http://127.0.0.1:9000", "LANYARD_OIDC_DOMAINS", "example.com, example.org"}, "oidc"},
		{public, []string{"LANYARD_SIGN_IN", "oidc", "LANYARD_OIDC_ISSUER", "https://accounts.example", "LANYARD_OIDC_SUBJECTS", "1,2", "LANYARD_OIDC_USER", "email"}, "oidc"},
		{public, []string{"LANYARD_SIGN_IN", "oidc", "LANYARD_OIDC_ISSUER", "https://accounts.example", "LANYARD_OIDC_ANYBODY", "on"}, "oidc"},
		{public, []string{"LANYARD_SIGN_IN", "oidc", "LANYARD_OIDC_ISSUER", "https://accounts.example"}, "everybody"},
		{public, []string{"LANYARD_SIGN_IN", "oidc", "LANYARD_OIDC_ISSUER", "http://accounts.example", "LANYARD_OIDC_SUBJECTS", "1"}, "https"},
		{public, []string{"LANYARD_SIGN_IN", "login_url", "LANYARD_LOGIN_URL", "https://app.example/login?x=1"}, "login_url"},
		{public, []string{"LANYARD_SIGN_IN", "login_url", "LANYARD_LOGIN_URL", "http://app.example/login"}, "https"},
	} {
		c, err := config.Load(environment(append(test.env, "LANYARD_BASE_URL", test.base)...))
		if err != nil && (!errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), test.want)) || err == nil && string(c.SignIn.Method) != test.want {
			t.Errorf("%s %v: %q, %v; want %s", test.base, test.env, c.SignIn.Method, err, test.want)
		}
		if test.want == "oidc" && len(c.SignIn.Domains)+len(c.SignIn.Subjects) == 1 {
			t.Errorf("%v: %+v", test.env, c.SignIn)
		}
	}
}
