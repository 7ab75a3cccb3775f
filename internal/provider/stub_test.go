package provider

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

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
