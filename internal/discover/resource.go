package discover

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/lanyardhq/lanyard/internal/flow"
)

const (
	resourcePath = "/.well-known/oauth-protected-resource"
	// maxIssuers is how many authorization servers of a server are looked at.
	maxIssuers = 4
	// maxScopes bounds how many scopes a server may ask for, maxScope their length.
	maxScopes, maxScope = 100, 256
)

// resource is what a server says of itself (RFC 9728 §2).
type resource struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	Scopes               []string `json:"scopes_supported"`

	// wanted are the scopes of its challenge.
	wanted []string
	// legacy: it says nothing, so that it is its own authorization server, as
	// MCP's revision 2025-03-26 had it.
	legacy bool
}

// scopes are those to ask for: what the challenge names goes before what there
// is at all.
func (r resource) scopes() []string {
	from := r.Scopes
	if len(r.wanted) > 0 {
		from = r.wanted
	}
	var out []string
	for _, s := range from {
		bad := strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) // RFC 6749 §3.3
		if s != "" && len(s) <= maxScope && !bad && len(out) < maxScopes {
			out = append(out, s)
		}
	}
	return out
}

// resource asks a server about itself: where its challenge says that it does,
// then at the well-known paths.
func (f fetcher) resource(ctx context.Context, server *url.URL) (resource, error) {
	a, err := f.do(ctx, http.MethodPost, server, "application/json, text/event-stream", []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`), 0)
	if err != nil {
		return resource{}, err
	}
	var said map[string]string
	if a.status == http.StatusUnauthorized {
		said = challenge(a.header.Values("Www-Authenticate"))
	}
	wanted := strings.Fields(said["scope"])
	places := []*url.URL{at(server, resourcePath+strings.TrimSuffix(server.Path, "/")), at(server, resourcePath)}
	if named := said["resource_metadata"]; named != "" {
		u, err := f.trusted("resource_metadata", named)
		if err != nil {
			return resource{}, err
		}
		// A server speaks for itself: at another origin somebody else would.
		if u.Scheme != server.Scheme || !strings.EqualFold(u.Host, server.Host) {
			return resource{}, fmt.Errorf("%w: its challenge leads to metadata at %s, another origin than its own", flow.ErrDiscovery, u.Host)
		}
		places = append([]*url.URL{u}, places...)
	}
	for i, u := range places {
		if i > 0 && *u == *places[i-1] {
			continue
		}
		res := resource{wanted: wanted}
		switch err := f.document(ctx, u, &res); {
		case errors.Is(err, errAbsent):
			continue
		case err != nil:
			return resource{}, err
		}
		return res, f.about(server, &res)
	}
	origin := at(server, "").String()
	return resource{Resource: server.String(), AuthorizationServers: []string{origin}, wanted: wanted, legacy: true}, nil
}

// about holds what was read against the server that it must be about: its own
// URL, or one above it (RFC 9728 §3.3).
func (f fetcher) about(server *url.URL, r *resource) error {
	u, err := f.trusted("resource", r.Resource)
	if err != nil {
		return err
	}
	prefix := strings.TrimSuffix(u.EscapedPath(), "/")
	path := server.EscapedPath()
	within := path == u.EscapedPath() || path == prefix || strings.HasPrefix(path, prefix+"/")
	if u.Scheme != server.Scheme || !strings.EqualFold(u.Host, server.Host) || !within || u.RawQuery != "" && u.RawQuery != server.RawQuery {
		return fmt.Errorf("%w: its metadata are about another server", flow.ErrDiscovery)
	}
	if len(r.AuthorizationServers) == 0 {
		return fmt.Errorf("%w: its metadata name no authorization server", flow.ErrDiscovery)
	}
	r.AuthorizationServers = r.AuthorizationServers[:min(maxIssuers, len(r.AuthorizationServers))]
	return nil
}
