package provider

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// fixture is a reply in the shape that a provider's documents show, and what
// must come of it.
type fixture struct {
	Source        string            `yaml:"source"`
	Request       string            `yaml:"request"` // code, refresh, identity, revoke
	Name          string            `yaml:"name"`    // of the token to refresh
	Authorization string            `yaml:"authorization"`
	Sent          map[string]string `yaml:"sent"`
	Status        int               `yaml:"status"`
	Headers       map[string]string `yaml:"headers"`
	Body          string            `yaml:"body"`
	Want          struct {
		Verdict         Verdict           `yaml:"verdict"`
		Code            string            `yaml:"code"`
		Description     string            `yaml:"description"`
		RetryAfter      int               `yaml:"retry_after"`
		Ambiguous       bool              `yaml:"ambiguous"`
		Tokens          map[string]string `yaml:"tokens"`
		Refresh         map[string]string `yaml:"refresh"`
		Lifetime        int               `yaml:"lifetime"`
		RefreshLifetime int               `yaml:"refresh_lifetime"`
		Scopes          []string          `yaml:"scopes"`
		Metadata        map[string]string `yaml:"metadata"`
		Subject         string            `yaml:"subject"`
		Label           string            `yaml:"label"`
		Revoked         string            `yaml:"revoked"`
	} `yaml:"want"`
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// sent is a request as the provider would have seen it.
type sent struct {
	method, url string
	header      http.Header
	body        string
}

func (s sent) form(t *testing.T) url.Values {
	t.Helper()
	values, err := url.ParseQuery(s.body)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// canned answers every request alike and keeps what was sent.
type canned struct {
	status int
	header map[string]string
	body   string
	seen   []sent
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	s := sent{method: r.Method, url: r.URL.String(), header: r.Header}
	if r.Body != nil {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		s.body = string(data)
	}
	c.seen = append(c.seen, s)
	status := c.status
	if status == 0 {
		status = http.StatusOK
	}
	header := http.Header{}
	for name, value := range c.header {
		header.Set(name, value)
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(c.body)), Request: r}, nil
}

func engineOver(transport http.RoundTripper) *Engine {
	return &Engine{HTTP: &http.Client{Transport: transport}, Now: func() time.Time { return epoch }, AllowLoopback: true}
}

func decodeProvider(t testing.TB, data []byte) presets.Provider {
	t.Helper()
	var p presets.Provider
	if err := yaml.UnmarshalWithOptions(data, &p, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	p, err := p.Resolve("", nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func targetOf(p presets.Provider) Target {
	return Target{
		Provider: p, Client: Client{ID: "client-id", Secret: "client-secret"},
		RedirectURI: "https://lanyard.example/cb", Deployment: map[string]string{"base": "http://127.0.0.1:9"},
	}
}

// held is a set whose tokens are named after what they are.
func held(p presets.Provider) token.Set {
	set := token.Set{
		Grant:  token.Grant{Renewables: map[string]token.Renewable{}},
		Access: token.Access{Tokens: map[string]token.Token{}},
	}
	for _, root := range roots(p) {
		name := orElse(root.Name, "main")
		set.Grant.Renewables[root.Name] = token.Renewable{RefreshToken: token.Secret("refresh-" + name)}
		set.Access.Tokens[root.Name] = token.Token{AccessToken: token.Secret("access-" + name)}
	}
	return set
}

// TestCatalogue replays every fixture that a shipped provider names; a file
// without fixtures, or a fixture that no file names, fails.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../presets/providers/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no providers: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p := decodeProvider(t, data)
		onDisk, err := filepath.Glob("testdata/" + p.ID + "/*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if len(onDisk) != len(p.Fixtures) || !slices.Contains(p.Fixtures, "code_ok") {
			t.Errorf("%s names %v, testdata has %v", p.ID, p.Fixtures, onDisk)
		}
		for _, name := range p.Fixtures {
			t.Run(p.ID+"/"+name, func(t *testing.T) {
				t.Parallel()
				replay(t, p, "testdata/"+p.ID+"/"+name+".yaml")
			})
		}
	}
}

func replay(t *testing.T, p presets.Provider, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var f fixture
	if err := yaml.UnmarshalWithOptions(data, &f, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(f.Source, "https://") {
		t.Error("a fixture cites its source")
	}
	stub := &canned{status: f.Status, header: f.Headers, body: f.Body}
	e, target, ctx := engineOver(stub), targetOf(p), context.Background()
	switch f.Request {
	case "code":
		callback := url.Values{"code": {"the-code"}}
		if p.Callback.ISS == "required" {
			callback.Set("iss", "http://127.0.0.1:9")
		}
		r, err := e.Exchange(ctx, target, "the-code", strings.Repeat("v", 43), callback)
		f.checkResult(t, r, err, "")
	case "refresh":
		set := held(p)
		r, err := e.Refresh(ctx, target, set.Grant, set.Access, f.Name)
		f.checkResult(t, r, err, f.Name)
	case "identity":
		a, err := e.Identity(ctx, target, Result{Set: held(p)})
		f.checkError(t, err)
		if a.Subject != f.Want.Subject || a.Label != f.Want.Label {
			t.Errorf("account %+v", a)
		}
	case "revoke":
		o, err := e.Revoke(ctx, target, held(p))
		f.checkError(t, err)
		if o.Revoked != f.Want.Revoked {
			t.Errorf("outcome %+v", o)
		}
	default:
		t.Fatalf("request %q", f.Request)
	}
	if len(stub.seen) == 0 {
		t.Fatal("nothing was sent")
	}
	f.checkSent(t, stub.seen[0])
}

func (f fixture) checkSent(t *testing.T, s sent) {
	t.Helper()
	form := s.form(t)
	for name, value := range f.Sent {
		if form.Get(name) != value {
			t.Errorf("sent %s = %q, want %q", name, form.Get(name), value)
		}
	}
	scheme, _, _ := strings.Cut(strings.ToLower(s.header.Get("Authorization")), " ")
	if f.Authorization != "" && scheme != f.Authorization {
		t.Errorf("authorization scheme %q, want %q", scheme, f.Authorization)
	}
	if strings.Contains(s.url, "secret") || strings.Contains(s.url, "access-") {
		t.Error("a secret is in the URL")
	}
}

func (f fixture) checkError(t *testing.T, err error) {
	t.Helper()
	if f.Want.Verdict == OK {
		if err != nil {
			t.Fatalf("error: %v", err)
		}
		return
	}
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("no provider error: %v", err)
	}
	w := f.Want
	if failed.Verdict != w.Verdict || failed.Code != w.Code || failed.Ambiguous != w.Ambiguous ||
		failed.RetryAfter != time.Duration(w.RetryAfter)*time.Second ||
		w.Description != "" && failed.Description != w.Description {
		t.Errorf("got %+v, want %+v", failed, w)
	}
}

func (f fixture) checkResult(t *testing.T, r Result, err error, name string) {
	t.Helper()
	f.checkError(t, err)
	if err != nil {
		return
	}
	got := map[string]string{}
	for name, token := range r.Set.Access.Tokens {
		got[name] = token.AccessToken.Reveal()
	}
	if !maps.Equal(got, f.Want.Tokens) {
		t.Errorf("tokens %v, want %v", got, f.Want.Tokens)
	}
	got = map[string]string{}
	for name, renewable := range r.Set.Grant.Renewables {
		got[name] = renewable.RefreshToken.Reveal()
	}
	if !maps.Equal(got, f.Want.Refresh) {
		t.Errorf("refresh tokens %v, want %v", got, f.Want.Refresh)
	}
	if at := r.Set.Access.Tokens[name].ExpiresAt; !at.Equal(epoch.Add(time.Duration(f.Want.Lifetime) * time.Second)) {
		t.Errorf("expires at %v", at)
	}
	if w := f.Want.RefreshLifetime; w != 0 {
		if at := r.Set.Grant.Renewables[name].ExpiresAt; !at.Equal(epoch.Add(time.Duration(w) * time.Second)) {
			t.Errorf("refresh token expires at %v", at)
		}
	}
	if !slices.Equal(r.ScopesGranted, f.Want.Scopes) {
		t.Errorf("scopes %v, want %v", r.ScopesGranted, f.Want.Scopes)
	}
	for path, value := range f.Want.Metadata {
		if r.Set.Access.Metadata[path] != value {
			t.Errorf("metadata %s = %q, want %q", path, r.Set.Access.Metadata[path], value)
		}
	}
}
