package presets

import "slices"

// Provider is what is known of one OAuth authorization server: its endpoints
// and every way in which it departs from the RFCs. All knowledge about a
// provider is in its file; the engine (internal/provider) has none.
//
// Only ID, DisplayName, AuthorizationEndpoint and TokenEndpoint are required.
// A zero value means what the RFCs say, so "no" always has a word of its own
// (scope.param: none): variants and extends can then be merged key by key.
//
// URLs and request parameters may hold {parameter}, see [Parameter].
type Provider struct {
	ID          string `yaml:"id,omitempty"`
	DisplayName string `yaml:"display_name,omitempty"`
	// VerifiedAt is the day (2006-01-02) on which the file was last compared
	// with Sources.
	VerifiedAt string    `yaml:"verified_at,omitempty"`
	Sources    []string  `yaml:"sources,omitempty"`
	Lifecycle  Lifecycle `yaml:"lifecycle,omitzero"`

	// Extends names a provider whose file this one overrides key by key.
	Extends string `yaml:"extends,omitempty"`
	// Variants override keys for one kind of client registration (GitHub: OAuth
	// app or GitHub App); the registration says which it is.
	Variants   map[string]Provider  `yaml:"variants,omitempty"`
	Parameters map[string]Parameter `yaml:"parameters,omitempty"`

	AuthorizationEndpoint string `yaml:"authorization_endpoint,omitempty"`
	TokenEndpoint         string `yaml:"token_endpoint,omitempty"`
	// RefreshEndpoint is where refresh requests go instead of TokenEndpoint.
	RefreshEndpoint string `yaml:"refresh_endpoint,omitempty"`
	// IntrospectionEndpoint (RFC 7662) tells an expiry that no reply names.
	IntrospectionEndpoint string `yaml:"introspection_endpoint,omitempty"`
	// Issuer is compared with the iss of the callback (RFC 9207).
	Issuer string `yaml:"issuer,omitempty"`

	Registration        Registration        `yaml:"registration,omitzero"`
	ClientAuth          ClientAuth          `yaml:"client_auth,omitzero"`
	PKCE                PKCE                `yaml:"pkce,omitzero"`
	Scope               Scope               `yaml:"scope,omitzero"`
	AuthorizationParams AuthorizationParams `yaml:"authorization_params,omitzero"`
	RedirectURI         RedirectURI         `yaml:"redirect_uri,omitzero"`
	Callback            Callback            `yaml:"callback,omitzero"`
	Requests            Requests            `yaml:"requests,omitzero"`
	Response            Response            `yaml:"response,omitzero"`
	Refresh             Refresh             `yaml:"refresh,omitzero"`
	// Errors are tried in order, the first match wins; then the RFCs apply, and
	// what nobody knows is temporary.
	Errors   []ErrorRule `yaml:"errors,omitempty"`
	API      API         `yaml:"api,omitzero"`
	Identity Identity    `yaml:"identity,omitzero"`
	// Validation is a request that succeeds while an access token lives; the
	// identity request stands in.
	Validation *APIRequest `yaml:"validation,omitempty"`
	// ValidationInterval: a token that is not checked so often ends.
	ValidationInterval Duration   `yaml:"validation_interval,omitempty"`
	Discovery          *Discovery `yaml:"discovery,omitempty"`
	Revocation         Revocation `yaml:"revocation,omitzero"`
}

// Lifecycle dates a provider that is going away.
type Lifecycle struct {
	Status string `yaml:"status,omitempty"` // active (default), deprecated, sunset
	Date   string `yaml:"date,omitempty"`   // 2006-01-02, when it stops or stopped
	// Replacement tells a person what to use instead.
	Replacement string `yaml:"replacement,omitempty"`
}

// Where the value of a parameter comes from.
const (
	SourceUser          = "user"           // the person is asked before connecting (default)
	SourceDeployment    = "deployment"     // Lanyard itself fills it in
	SourceClient        = "client"         // whoever runs Lanyard says it with the client, which is registered there
	SourceDerived       = "derived"        // it follows from those of the client, by Cases
	SourceCallback      = "callback"       // captured from the callback
	SourceTokenResponse = "token_response" // named in response.metadata
)

// Parameter is a part of a URL that differs between people: shop, tenant,
// region. Nothing a person types reaches a URL before Pattern or Enum allowed
// it, and no URL made of it may name a private host.
type Parameter struct {
	Label   string `yaml:"label,omitempty"`
	Help    string `yaml:"help,omitempty"`
	Source  string `yaml:"source,omitempty"`
	Default string `yaml:"default,omitempty"`
	// Pattern is a regular expression (RE2), anchored with ^ and $.
	Pattern string   `yaml:"pattern,omitempty"`
	Enum    []string `yaml:"enum,omitempty"`
	// Cases say what a derived parameter is: the first that applies.
	Cases []ParameterCase `yaml:"cases,omitempty"`
}

// ParameterCase is what a derived parameter is in one case.
type ParameterCase struct {
	// When are patterns (RE2, anchored) of parameters of the client, all of which
	// must match. Empty: always.
	When map[string]string `yaml:"when,omitempty"`
	// Value may hold {parameters} of the client.
	Value string `yaml:"value"`
}

// Registration tells the operator how to get a client, shown when none is
// configured.
type Registration struct {
	ConsoleURL   string `yaml:"console_url,omitempty"`
	Help         string `yaml:"help,omitempty"`
	RedirectNote string `yaml:"redirect_note,omitempty"`
}

// Ways in which a client authenticates at the token endpoint (RFC 6749 §2.3.1,
// RFC 8414 token_endpoint_auth_methods_supported).
const (
	AuthBasic  = "client_secret_basic"
	AuthPost   = "client_secret_post"
	AuthNone   = "none"
	AuthHeader = "header" // ClientAuth.Header, for providers with a scheme of their own
)

// ClientAuth is how our client proves itself.
type ClientAuth struct {
	// Methods in order of preference; the first that the client's registration
	// can do is used, and no other is ever tried. Default: client_secret_basic,
	// then none.
	Methods []string `yaml:"methods,omitempty"`
	// Revocation is the method at the revocation endpoint, if another.
	Revocation string `yaml:"revocation,omitempty"`
	// Header is the Authorization header of the method header, a template over
	// client_id and client_secret.
	Header string `yaml:"header,omitempty"`
}

// NeedsSecret reports whether a client without a secret can prove itself in none
// of the ways.
func (a ClientAuth) NeedsSecret() bool {
	return len(a.Methods) > 0 && !slices.Contains(a.Methods, AuthNone)
}

// PKCE (RFC 7636); S256 only.
type PKCE struct {
	Mode string `yaml:"mode,omitempty"` // required, supported (default), disabled
}

// Scope is how scopes are asked for and reported.
type Scope struct {
	// Param is the authorization parameter: scope by default; none for
	// providers that fix the scopes at registration.
	Param     string `yaml:"param,omitempty"`
	Separator string `yaml:"separator,omitempty"` // a space by default
	// Offline scopes are added to every request: without them no refresh token.
	Offline []string `yaml:"offline,omitempty"`
	// Default is asked for when a server names no scope.
	Default []string `yaml:"default,omitempty"`
	// Additional parameters that take scopes (Slack: user_scope).
	Additional []ScopeParam  `yaml:"additional,omitempty"`
	Response   ScopeResponse `yaml:"response,omitzero"`
}

// ScopeParam is a second scope parameter.
type ScopeParam struct {
	Param     string `yaml:"param"`
	Separator string `yaml:"separator,omitempty"`
}

// ScopeResponse is how granted scopes are reported: a string or an array.
type ScopeResponse struct {
	Path      string `yaml:"path,omitempty"`      // scope by default, below the token's root
	Separator string `yaml:"separator,omitempty"` // a space by default
}

// AuthorizationParams changes the authorization request.
type AuthorizationParams struct {
	Fixed   map[string]string `yaml:"fixed,omitempty"`
	Allowed []string          `yaml:"allowed,omitempty"` // what a caller may add, such as login_hint
	Omit    []string          `yaml:"omit,omitempty"`
	Rename  map[string]string `yaml:"rename,omitempty"` // RFC name → the provider's
}

// Which http loopback hosts a provider accepts in a redirect URI (RFC 8252 §7.3).
const (
	LoopbackAny  = "any"
	LoopbackIP   = "ip_only"
	LoopbackNone = "none"
)

// RedirectURI is what the provider demands of ours.
type RedirectURI struct {
	HTTPSOnly bool `yaml:"https_only,omitempty"`
	// Single: a client has one redirect URI, so each deployment needs its own.
	Single   bool   `yaml:"single,omitempty"`
	Loopback string `yaml:"loopback,omitempty"` // any (default), ip_only, none
	// SendOnToken says whether the code exchange repeats it: always (default)
	// or never.
	SendOnToken string `yaml:"send_on_token,omitempty"`
}

// Callback is what comes back with the code.
type Callback struct {
	Method string `yaml:"method,omitempty"` // GET (default), POST (form_post)
	ISS    string `yaml:"iss,omitempty"`    // required: a callback without iss (RFC 9207) is refused
	// Capture names query parameters kept in the metadata of the tokens. Every
	// other one is ignored.
	Capture []string `yaml:"capture,omitempty"`
	// Match names query parameters that must equal a parameter of the flow.
	Match  map[string]string `yaml:"match,omitempty"`
	Verify CallbackVerify    `yaml:"verify,omitzero"`
}

// CallbackVerify is a signature over the callback: hex HMAC-SHA256 with the
// client's secret, over the other query parameters, sorted.
type CallbackVerify struct {
	Type  string `yaml:"type,omitempty"` // hmac_sha256
	Param string `yaml:"param,omitempty"`
}
