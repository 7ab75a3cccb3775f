package authserver_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

func TestMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const want = `{"issuer":"https://lanyard.example","authorization_endpoint":"https://lanyard.example/oauth/authorize",
		"token_endpoint":"https://lanyard.example/oauth/token","revocation_endpoint":"https://lanyard.example/oauth/revoke",
		"registration_endpoint":"https://lanyard.example/oauth/register","response_types_supported":["code"],
		"response_modes_supported":["query"],"grant_types_supported":["authorization_code","refresh_token"],
		"token_endpoint_auth_methods_supported":["none","client_secret_basic","client_secret_post","private_key_jwt"],
		"token_endpoint_auth_signing_alg_values_supported":["ES256","ES384","RS256","PS256","EdDSA"],
		"revocation_endpoint_auth_methods_supported":["none","client_secret_basic","client_secret_post","private_key_jwt"],
		"revocation_endpoint_auth_signing_alg_values_supported":["ES256","ES384","RS256","PS256","EdDSA"],
		"code_challenge_methods_supported":["S256"],"authorization_response_iss_parameter_supported":true,
		"client_id_metadata_document_supported":true}`
	wantDocument(t, w.Metadata(false), want)
	wantDocument(t, w.Metadata(true), want[:len(want)-1]+`,"jwks_uri":"https://lanyard.example/oauth/jwks",
		"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}`)
}

func wantDocument(t *testing.T, got json.RawMessage, want string) {
	t.Helper()
	if g, w := members(t, got), members(t, json.RawMessage(want)); !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestResourceMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc := func(resource, more string) string {
		return `{"resource":"` + base + resource + `","authorization_servers":["` + base + `"],"bearer_methods_supported":["header"],` + more + `}`
	}
	const driveMore = `"scopes_supported":["files.read","files.write"],"resource_name":"Drive"`
	for path, want := range map[string]string{
		"/mcp/drive":        doc("/mcp/drive", driveMore),
		"/t/acme/mcp/drive": doc("/t/acme/mcp/drive", driveMore),
		"/mcp/mail":         doc("/mcp/mail", `"resource_name":"Mail"`),
		"/mcp":              doc("/mcp", `"resource_name":"Lanyard"`),
		"/t/acme/mcp":       doc("/t/acme/mcp", `"resource_name":"Lanyard"`),
		// A document at the root would be taken for every server.
		"": "", "/": "", "/mcp/": "", "/mcp/unknown": "", "/mcp/drive/": "", "/mcp/drive/x": "", "/t/acme": "", "/t/default/mcp/drive": "",
		"/t//mcp/drive": "", "/t/A/mcp/drive": "", "/t/../mcp/drive": "", "/oauth": "",
	} {
		got, ok := w.ResourceMetadata(path)
		if ok != (want != "") {
			t.Errorf("%q: %v", path, ok)
		} else if ok {
			wantDocument(t, got, want)
		}
	}
	w.Catalogue = twoServers[:1]
	for _, root := range []string{"", "/"} {
		got, ok := w.ResourceMetadata(root)
		if !ok {
			t.Fatal("no document at the root for the only server")
		}
		wantDocument(t, got, doc("/mcp/drive", driveMore))
	}
}

// TestEndpointAt: what stands at which path.
func TestEndpointAt(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/mcp": "default//true", "/mcp/notes": "default/notes/true", "/t/acme/mcp": "acme//true", "/t/acme/mcp/notes": "acme/notes/true",
		"/t/default/mcp": "//false", "/t/default/mcp/notes": "//false", "/t//mcp": "//false", "/t/acme": "//false", "/t/acme/": "acme//false",
		"/mcp/": "default//false", "/mcp/a/b": "default/a/b/false", "/": "default//false", "": "default//false", "/mcpx": "default//false",
		"/t/../mcp": "//false", "/t/A/mcp": "//false", "/t/\"\r\n/mcp": "//false", "/t/" + strings.Repeat("a", 41) + "/mcp": "//false",
	} {
		tenant, server, ok := authserver.EndpointAt(path)
		got := tenant + "/" + server + map[bool]string{true: "/true", false: "/false"}[ok]
		if ok != strings.HasSuffix(want, "true") || ok && got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestEndpointPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/mcp", "/mcp/drive", "/t/acme/mcp", "/t/acme/mcp/mail"} {
		tenant, server, ok := w.Endpoint(path)
		if !ok || authserver.EndpointPath(tenant, server) != path {
			t.Errorf("%s: %s, %s, %v", path, tenant, server, ok)
		}
	}
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const prefix = `Bearer resource_metadata="https://lanyard.example/.well-known/oauth-protected-resource/mcp/drive"`
	for _, test := range []struct {
		code, description string
		scopes            []string
		want              string
	}{
		{"", "", nil, prefix},
		{"", "", []string{"a", "b"}, prefix + `, scope="a b"`},
		{"invalid_token", "it has expired", nil, prefix + `, error="invalid_token", error_description="it has expired"`},
		{"insufficient_scope", "a\"b\\c\r\nX: y ü", []string{"a"}, prefix + `, error="insufficient_scope", error_description="a_b_c__X: y _", scope="a"`},
	} {
		if got := w.Challenge("/mcp/drive", test.code, test.description, test.scopes); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}
