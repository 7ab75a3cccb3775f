package connection

// Found is the authorization server that a remote MCP server named itself, as it
// was when the person granted access. A grant is renewed and revoked there, with
// the client that it was made for, whatever the server names later.
type Found struct {
	Issuer string `json:"issuer"`
	// AuthorizationEndpoint is empty once access was granted: nobody is sent there
	// with this record again.
	AuthorizationEndpoint string `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string `json:"token_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint,omitempty"`
	// Resource is what the tokens are for (RFC 8707), as the server writes it.
	Resource string `json:"resource"`
	// Auth is how a client with a secret proves itself.
	Auth string `json:"auth,omitempty"`
	// Public: our client there has no secret, and is known to no list of ours.
	Public bool `json:"public,omitempty"`
	// ISS: each of its answers names it (RFC 9207).
	ISS bool `json:"iss,omitempty"`
	// Offline: it gives refresh tokens to who asks for offline_access.
	Offline bool `json:"offline,omitempty"`
}
