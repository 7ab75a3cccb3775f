package discover

import (
	"net/url"
	"strings"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
)

// DocumentPath is where our client metadata documents are, one for each issuer,
// by its [flow.IssuerKey].
const DocumentPath = "/oauth/client-metadata/"

// Metadata are our client's (RFC 7591 §2, and the Client ID Metadata Documents of
// draft-ietf-oauth-client-id-metadata-document).
type Metadata struct {
	// ClientID is the document's own URL; empty where a client is registered.
	ClientID                string   `json:"client_id,omitempty"`
	ClientName              string   `json:"client_name"`
	ClientURI               string   `json:"client_uri,omitempty"`
	RedirectURIs            []string `json:"redirect_uris"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
	ApplicationType         string   `json:"application_type"`
}

func metadataOf(redirect string) Metadata {
	m := Metadata{
		ClientName: clientName, RedirectURIs: []string{redirect}, GrantTypes: []string{"authorization_code", "refresh_token"},
		ResponseTypes: []string{"code"}, TokenEndpointAuthMethod: "none", ApplicationType: "web",
	}
	if strings.HasPrefix(redirect, "http:") {
		m.ApplicationType = "native" // which alone may be sent to http on loopback
	}
	return m
}

// DocumentURL is the URL of our document for an issuer, which is our client's id
// there; empty where nobody else could read it.
func DocumentURL(baseURL, issuer string) string {
	u, err := url.Parse(baseURL)
	if err != nil || provider.CheckURL(u, false) != nil {
		return ""
	}
	return baseURL + DocumentPath + flow.IssuerKey(issuer) + ".json"
}

// Document is ours by the last part of its path; false for what is none's.
func Document(baseURL, name string) (Metadata, bool) {
	key, ok := strings.CutSuffix(name, ".json")
	if !ok || len(key) != len(flow.IssuerKey("")) || strings.ContainsFunc(key, notBase64) {
		return Metadata{}, false
	}
	m := metadataOf(baseURL + flow.CallbackPath + "/" + key)
	m.ClientID, m.ClientURI = baseURL+DocumentPath+name, baseURL
	return m, true
}

func notBase64(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}
