package authserver

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

const resourceMetadataPath = "/.well-known/oauth-protected-resource"

// EndpointPath is the path of an MCP endpoint, the reverse of [EndpointAt].
func EndpointPath(tenant, server string) string {
	path := "/mcp"
	if tenant != flow.DefaultTenant {
		path = "/t/" + tenant + path
	}
	if server != "" {
		path += "/" + server
	}
	return path
}

// EndpointAt is what stands at the path of an MCP endpoint: server "" is all
// servers of a person. Whether there is such a tenant or server it does not know.
func EndpointAt(path string) (tenant, server string, ok bool) {
	tenant = flow.DefaultTenant
	if rest, other := strings.CutPrefix(path, "/t/"); other {
		tenant, path, _ = strings.Cut(rest, "/")
		// The default tenant has no other path than its own.
		if path = "/" + path; tenant == flow.DefaultTenant || !flow.ValidTenant(tenant) {
			return "", "", false
		}
	}
	if path == "/mcp" {
		return tenant, "", true
	}
	server, ok = strings.CutPrefix(path, "/mcp/")
	return tenant, server, ok && server != "" && !strings.Contains(server, "/")
}

// Endpoint is [EndpointAt] for the servers that there are. Whether there is such
// a tenant it does not know.
func (s *Server) Endpoint(path string) (tenant, server string, ok bool) {
	if tenant, server, ok = EndpointAt(path); ok && server != "" {
		_, ok = s.Catalogue.Server(server)
	}
	return tenant, server, ok
}

// target is an endpoint of ours as an audience.
type target struct{ resource, tenant, server string }

// target returns what the resource parameter of a request names (RFC 8707 §2).
// One that is left out is clear where only one server is offered.
func (s *Server) target(resources []string) (target, *Error) {
	switch {
	case len(resources) > 1:
		return target{}, refuse(invalidTarget, "name one resource: a token is for one endpoint")
	case len(resources) == 0 || resources[0] == "":
		if all := s.Catalogue.Servers(); len(all) == 1 {
			return s.targetAt(EndpointPath(flow.DefaultTenant, all[0].Name))
		}
		return target{}, refuse(invalidTarget, "the resource parameter is missing: name the URL of the MCP endpoint")
	}
	path, ok := s.pathOf(resources[0])
	if !ok {
		return target{}, refuse(invalidTarget, "the resource is no endpoint of this server")
	}
	return s.targetAt(path)
}

func (s *Server) targetAt(path string) (target, *Error) {
	tenant, server, ok := s.Endpoint(path)
	if !ok {
		return target{}, refuse(invalidTarget, "there is no MCP server at this resource")
	}
	return target{s.BaseURL + path, tenant, server}, nil
}

// pathOf is the path of a URL of ours. Scheme and host may be written in either
// case, and a slash may follow (RFC 3986 §6.2); nothing else is forgiven.
func (s *Server) pathOf(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#") || u.RawPath != "" {
		return "", false
	}
	plain := strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host) + u.Path
	return strings.CutPrefix(strings.TrimSuffix(plain, "/"), s.BaseURL)
}

// scopes are those of a server.
func (s *Server) scopes(server string) []string {
	preset, _ := s.Catalogue.Server(server)
	return preset.ScopeNames()
}

// granted are the scopes of an answer to what was asked: those that are known
// here, or all that the server needs where none is.
func (s *Server) granted(server, asked string) []string {
	words, all := strings.Fields(asked), s.scopes(server)
	known := slices.DeleteFunc(slices.Clone(all), func(scope string) bool { return !slices.Contains(words, scope) })
	if len(known) == 0 {
		return all
	}
	return known
}

type serverMetadata struct {
	Issuer                string   `json:"issuer"`
	Authorization         string   `json:"authorization_endpoint"`
	Token                 string   `json:"token_endpoint"`
	Revocation            string   `json:"revocation_endpoint"`
	Registration          string   `json:"registration_endpoint"`
	ResponseTypes         []string `json:"response_types_supported"`
	ResponseModes         []string `json:"response_modes_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	AuthAlgorithms        []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	RevocationAuthMethods []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAlgorithms  []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	Challenges            []string `json:"code_challenge_methods_supported"`
	Iss                   bool     `json:"authorization_response_iss_parameter_supported"`
	Documents             bool     `json:"client_id_metadata_document_supported"`

	// What OpenID Connect Discovery requires beside. We issue no id_token; who
	// reads this document looks for the endpoints.
	JWKS       string   `json:"jwks_uri,omitempty"`
	Subjects   []string `json:"subject_types_supported,omitempty"`
	Algorithms []string `json:"id_token_signing_alg_values_supported,omitempty"`
}

// Metadata is the document of RFC 8414; openID adds what OpenID Connect
// Discovery wants beside. Scopes are not in it: each endpoint has its own.
func (s *Server) Metadata(openID bool) json.RawMessage {
	m := serverMetadata{
		Issuer:                s.BaseURL,
		Authorization:         s.BaseURL + "/oauth/authorize",
		Token:                 s.tokenEndpoint(),
		Revocation:            s.BaseURL + "/oauth/revoke",
		Registration:          s.BaseURL + "/oauth/register",
		ResponseTypes:         []string{"code"},
		ResponseModes:         []string{"query"},
		GrantTypes:            grantTypes,
		AuthMethods:           authMethods,
		AuthAlgorithms:        algorithmNames(),
		RevocationAuthMethods: authMethods,
		RevocationAlgorithms:  algorithmNames(),
		Challenges:            []string{"S256"},
		Iss:                   true,
		Documents:             true,
	}
	if openID {
		m.JWKS, m.Subjects, m.Algorithms = s.BaseURL+"/oauth/jwks", []string{"public"}, []string{"RS256"}
	}
	return document(m)
}

func (s *Server) tokenEndpoint() string { return s.BaseURL + "/oauth/token" }

// document is a value as JSON. The values are plain data, which json.Marshal
// never refuses.
func document(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// ResourceMetadata is the document of RFC 9728 of the endpoint at a path, such as
// /mcp/slack or /t/acme/mcp/slack; false: nothing stands there. At the root it is
// that of the only server, where there is one: clients take what they find there
// for whatever begins with its resource.
func (s *Server) ResourceMetadata(path string) (json.RawMessage, bool) {
	if all := s.Catalogue.Servers(); strings.Trim(path, "/") == "" && len(all) == 1 {
		path = EndpointPath(flow.DefaultTenant, all[0].Name)
	}
	_, server, ok := s.Endpoint(path)
	if !ok {
		return nil, false
	}
	name := "Lanyard"
	if preset, ok := s.Catalogue.Server(server); ok {
		name = preset.DisplayName
	}
	return document(struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
		Methods  []string `json:"bearer_methods_supported"`
		Scopes   []string `json:"scopes_supported,omitempty"`
		Name     string   `json:"resource_name"`
	}{s.BaseURL + path, []string{s.BaseURL}, []string{"header"}, s.scopes(server), name}), true
}

// Challenge is what WWW-Authenticate says to whoever comes to an endpoint without
// a good token (RFC 9728 §5.1), code being empty where there was none, else
// invalid_token or insufficient_scope.
func (s *Server) Challenge(path, code, description string, scopes []string) string {
	challenge := `Bearer resource_metadata="` + quotable(s.BaseURL+resourceMetadataPath+path) + `"`
	for _, p := range [...]struct{ name, value string }{
		{"error", code}, {"error_description", description}, {"scope", strings.Join(scopes, " ")},
	} {
		if p.value != "" {
			challenge += ", " + p.name + `="` + quotable(p.value) + `"`
		}
	}
	return challenge
}

// quotable is what stands in a quoted string as it is (RFC 9110 §5.6.4, and RFC
// 6750 §3, which allows less).
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, s)
}

// Accepts reports whether a bearer has the form of one of our access tokens.
func Accepts(bearer token.Secret) bool {
	_, ok := parse(accessToken, bearer)
	return ok
}
