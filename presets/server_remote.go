package presets

import (
	"fmt"
	"net/url"
	"strings"
)

// Remote reports whether the server runs elsewhere, and is spoken to over HTTP.
func (s Server) Remote() bool { return s.Server.Registry == RegistryRemote }

// OAuthDiscover in place of a provider's id: a remote server says itself who
// grants access to it (RFC 9728).
const OAuthDiscover = "discover"

// Discovers reports whether who grants access is found when somebody connects.
func (s Server) Discovers() bool { return s.OAuthService == OAuthDiscover }

// ProviderID is whom connections name as their provider, and by which our client
// there is set: the server's own name where who grants access is found.
func (s Server) ProviderID() string {
	if s.Discovers() {
		return s.Name
	}
	return s.OAuthService
}

// RemoteHost is where a remote server is, for people: what they choose themselves
// stands in braces. Empty for others.
func (s Server) RemoteHost() string {
	if !s.Remote() {
		return ""
	}
	_, rest, _ := strings.Cut(s.Server.URL, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// Endpoint is the URL of a remote server, of the same inputs as [Server.Recipe].
func (s Server) Endpoint(in Inputs) (*url.URL, error) {
	if !s.Remote() {
		return nil, fmt.Errorf("server %s: %w: it is not remote", s.Name, ErrNoProgram)
	}
	values, err := s.values(in)
	if err != nil {
		return nil, err
	}
	u, err := ExpandURL(s.Server.URL, values)
	if err != nil {
		return nil, fmt.Errorf("server %s: url: %w", s.Name, err)
	}
	return u, nil
}

// checkRemote judges where a remote server is, and that nothing is said of a
// program that is not started here. It is given the provider's access token, or
// nothing.
func (c *serverCheck) checkRemote() {
	const with, path = "registry remote", "$.server.url"
	template := c.Server.Server.URL
	u, err := url.Parse(placeholder.ReplaceAllString(template, "x"))
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || strings.HasPrefix(template, "{"),
		u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		c.add(path, "must be an https URL without user and fragment (http is for loopback, on one machine)")
	case !fixedHost(template):
		c.add(path, "must end its host in a fixed domain, such as {shop}.example.com: what a person types must not choose whom the token is sent to")
	}
	if c.AuthType == TypeAPIKey {
		c.add("$.auth_type", "must be oauth or none with registry remote: what a remote server is given is an access token")
	}
	c.refuse(with, "$.oauth_to_env_mapping", len(c.OAuthToEnvMapping) > 0)
	c.refuse(with, "$.credential_files", len(c.CredentialFiles) > 0)
	c.refuse(with, "$.env", len(c.Env) > 0)
	c.refuse(with, "$.auth_failure", len(c.AuthFailure) > 0)
}

// fixedHost reports whether the last two labels of a URL's host are not for
// anybody to choose. Values are escaped, so that none ends the host.
func fixedHost(template string) bool {
	_, rest, _ := strings.Cut(template, "://")
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	at := strings.LastIndexByte(host, '}')
	if at < 0 {
		return true
	}
	suffix := host[at+1:]
	return strings.HasPrefix(suffix, ".") && strings.Count(suffix, ".") >= 2 && !strings.Contains(suffix, "..")
}
