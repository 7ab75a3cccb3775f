package presets

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
)

// checkOAuth judges what an oauth server asks for and how it is kept supplied.
func (c *serverCheck) checkOAuth() {
	if c.OAuthService == "" {
		c.add("$.oauth_service", "oauth_service is missing: the id of the provider that grants access")
	}
	if c.Discovers() && !c.Remote() {
		c.add("$.oauth_service", "discover is for registry remote: only a server that runs elsewhere says who grants access to it")
	}
	c.refuse("auth_type oauth", "$.env_values", len(c.EnvValues) > 0)
	for i, s := range c.OAuthScopes {
		c.checkScope(fmt.Sprintf("$.oauth_scopes[%d]", i), s, c.OAuthScopes[:i])
	}
	c.checkEnable()
	if c.Server.Server.Registry == RegistryRemote {
		c.refuse("registry remote", "$.rotation", c.Rotation != "")
		return
	}
	c.checkRotation()
	switch p := c.provider; {
	case c.ShareRefreshToken && p != nil && p.Refresh.Rotation != RotationNever:
		c.add("$.share_refresh_token", "provider %s rotates its refresh tokens: a second refresher would make ours invalid", p.ID)
	case c.ShareRefreshToken:
		c.add("$.share_refresh_token", "is not supported: no server is given a refresh token; choose a rotation that brings it access tokens")
	}
}

// ScopeNames are the scopes that the server wants, in the preset's order, each once
// however many parameters it stands in.
func (s Server) ScopeNames() []string {
	var out []string
	for _, scope := range s.OAuthScopes {
		if !slices.Contains(out, scope.Scope) {
			out = append(out, scope.Scope)
		}
	}
	return out
}

func (c *serverCheck) checkScope(path string, s OAuthScope, before []OAuthScope) {
	if s.Scope == "" || strings.ContainsAny(s.Scope, " \t\n\"\\") {
		c.add(path, "must be one scope (RFC 6749 §3.3)")
	}
	if slices.ContainsFunc(before, func(o OAuthScope) bool { return o.Scope == s.Scope && o.Param == s.Param }) {
		c.add(path, "scope %s is there twice", s.Scope)
	}
	if p := c.provider; s.Param != "" && p != nil &&
		!slices.ContainsFunc(p.Scope.Additional, func(a ScopeParam) bool { return a.Param == s.Param }) {
		c.add(path+".param", "provider %s has no scope parameter %q", p.ID, s.Param)
	}
}

// checkTools reports what a scope is said to be for and is no tool of the
// server's. It is no part of [Server.Check], as it wants the catalogue.
func (s Server) checkTools() []Problem {
	var out []Problem
	for i, scope := range s.OAuthScopes {
		if len(scope.For) == 0 {
			continue
		}
		known := s.toolNames()
		for _, tool := range scope.For {
			if known != nil && !slices.Contains(known, tool) {
				out = append(out, Problem{fmt.Sprintf("$.oauth_scopes[%d].for", i), fmt.Sprintf("%q is no tool of the server's", tool)})
			}
		}
	}
	return out
}

// checkRotation wants a way for the first access token to reach the server,
// and for every later one.
func (c *serverCheck) checkRotation() {
	if len(c.OAuthToEnvMapping) == 0 && len(c.CredentialFiles) == 0 {
		c.add("$.oauth_to_env_mapping", "nothing gives the server its token: map a field, or add a credential file")
	}
	switch c.Rotation {
	case task.RotateBroker:
		if !c.usesBroker() {
			c.add("$.rotation", "broker needs a credential file that names .broker.token_url")
		}
		c.checkStale()
	case task.RotateFile:
		if len(c.CredentialFiles) == 0 {
			c.add("$.rotation", "file needs a credential file that the server re-reads")
		}
		c.checkStale()
	case task.RotateRestart:
	default:
		c.add("$.rotation", "must be broker, file or restart: how a renewed token reaches the running server")
	}
}

// checkStale: a variable cannot change in a running process.
func (c *serverCheck) checkStale() {
	for _, field := range slices.Sorted(maps.Keys(c.OAuthToEnvMapping)) {
		if last := field[strings.LastIndex(field, ".")+1:]; last == "access_token" || last == "expires_at" {
			c.add(under("$.oauth_to_env_mapping", field),
				"goes stale in a variable when the token is renewed: use rotation restart, or only a credential file")
		}
	}
}

func (c *serverCheck) checkAPIKey() {
	if len(c.EnvValues) == 0 {
		c.add("$.env_values", "env_values is missing: what the person is asked for")
	}
	c.refuseOAuth("auth_type api_key")
}

// refuseOAuth reports the keys that only an oauth server has.
func (c *serverCheck) refuseOAuth(where string) {
	c.refuse(where, "$.oauth_service", c.OAuthService != "")
	c.refuse(where, "$.oauth_scopes", len(c.OAuthScopes) > 0)
	c.refuse(where, "$.oauth_enable", len(c.OAuthEnable) > 0)
	c.refuse(where, "$.share_refresh_token", c.ShareRefreshToken)
	c.refuse(where, "$.rotation", c.Rotation != task.RotateNone)
}

// sampleTokenURL marks where a template puts the broker's address.
const sampleTokenURL = "http://127.0.0.1:1/token"

// checkTemplate renders the file with sample data that holds exactly what the
// runner will have: a misspelt field shows here and not at the first connect.
func (c *serverCheck) checkTemplate(path, text string) {
	t, err := parseTemplate(text)
	if err != nil {
		c.add(path, "is no template: %s", strings.TrimPrefix(err.Error(), "template: "))
		return
	}
	if c.OAuthService != "" && c.provider == nil {
		return
	}
	if err := t.Execute(&strings.Builder{}, c.sample()); err != nil {
		c.add(path, "cannot be filled in: %s", strings.TrimPrefix(err.Error(), "template: "))
	}
}

func (c *serverCheck) usesBroker() bool {
	for _, f := range c.CredentialFiles {
		var out strings.Builder
		t, err := parseTemplate(f.Template)
		if err != nil || c.provider == nil {
			return true // the template, or the provider, is reported already
		}
		if t.Execute(&out, c.sample()) != nil || strings.Contains(out.String(), sampleTokenURL) {
			return true
		}
	}
	return false
}

func parseTemplate(text string) (*template.Template, error) {
	return template.New("template").Option("missingkey=error").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
	}).Parse(text)
}

// sample is the data that a credential file may use.
func (c *serverCheck) sample() map[string]any {
	values := map[string]any{}
	for _, v := range c.EnvValues {
		values[v.Name] = "value"
	}
	parameters := map[string]any{}
	for name := range c.Parameters {
		parameters[name] = "parameter"
	}
	data := map[string]any{"values": values, "parameters": parameters}
	if c.AuthType != TypeOAuth {
		return data
	}
	if c.provider != nil {
		for name, p := range c.provider.Parameters {
			if p.Source == "" || p.Source == SourceUser {
				parameters[name] = "parameter"
			}
		}
		for _, path := range c.provider.kept() {
			put(data, strings.Split(path, "."), "metadata")
		}
		for _, t := range c.provider.Response.Tokens {
			if t.Name != "" {
				for field, value := range sampleToken() {
					put(data, []string{t.Name, field}, value)
				}
			}
		}
	}
	maps.Copy(data, sampleToken())
	if c.Rotation == task.RotateBroker {
		data["broker"] = map[string]any{
			"token_url": sampleTokenURL, "introspect_url": "http://127.0.0.1:1/introspect",
			"client_id": "id", "client_secret": "secret", "refresh_token": "handle",
		}
	}
	return data
}

func sampleToken() map[string]any {
	return map[string]any{
		"access_token": "token", "token_type": "Bearer", "scopes": []string{"scope"},
		"expires_at": time.Unix(1<<31, 0), "expires_in": 3600,
	}
}

// put sets a value at a path of nested maps.
func put(data map[string]any, path []string, value any) {
	for _, name := range path[:len(path)-1] {
		below, ok := data[name].(map[string]any)
		if !ok {
			below = map[string]any{}
			data[name] = below
		}
		data = below
	}
	data[path[len(path)-1]] = value
}
