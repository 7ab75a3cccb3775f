package presets

import (
	"strconv"
	"strings"
	"time"
)

// Requests change the requests to the token endpoint.
type Requests struct {
	Code    TokenRequest `yaml:"code,omitzero"`
	Refresh TokenRequest `yaml:"refresh,omitzero"`
	// Exchange trades an access token for one that lives longer: after the
	// code, and as the renewal where refresh.grant is exchange.
	Exchange *TokenExchange `yaml:"exchange,omitempty"`
}

// Encodings of a request's parameters.
const (
	EncodingForm  = "form"
	EncodingJSON  = "json"
	EncodingQuery = "query"
)

// TokenRequest is one request to the token endpoint, as far as it departs from
// RFC 6749 §4.1.3 and §6.
type TokenRequest struct {
	Method   string `yaml:"method,omitempty"`   // POST by default
	Encoding string `yaml:"encoding,omitempty"` // form (default), json, query
	// Headers and Params are templates over the parameters, client_id and
	// redirect_uri.
	Headers map[string]string `yaml:"headers,omitempty"`
	Params  map[string]string `yaml:"params,omitempty"`
	Omit    []string          `yaml:"omit,omitempty"`
	Rename  map[string]string `yaml:"rename,omitempty"` // RFC name → the provider's
}

// TokenExchange is the request of [Requests].Exchange.
type TokenExchange struct {
	Endpoint   string       `yaml:"endpoint,omitempty"` // the token endpoint by default
	GrantType  string       `yaml:"grant_type"`
	TokenParam string       `yaml:"token_param"`
	Request    TokenRequest `yaml:"request,omitzero"`
}

// Response is how a token response is read. Paths are keys and array indices
// joined by dots: authed_user.id, emails.0.value.
type Response struct {
	Format  string      `yaml:"format,omitempty"` // auto (default: the body tells), json, form
	Success Success     `yaml:"success,omitzero"`
	Error   ErrorFields `yaml:"error,omitzero"`
	Tokens  []TokenRoot `yaml:"tokens,omitempty"`
	Fields  TokenFields `yaml:"fields,omitzero"`
	// Metadata lists the paths of what is kept beside the tokens, by path. What
	// it names is public to the caller: never a secret.
	Metadata []string `yaml:"metadata,omitempty"`
}

// Success is how a reply tells success beyond its status being 2xx.
type Success struct {
	Status []string `yaml:"status,omitempty"` // 200, 2xx
	Path   string   `yaml:"path,omitempty"`
	Equals string   `yaml:"equals,omitempty"` // the value at Path, as text
}

// ErrorFields are where a failure names itself; every code found counts.
type ErrorFields struct {
	Code        []string `yaml:"code,omitempty"`        // error by default
	Description []string `yaml:"description,omitempty"` // error_description by default
}

// TokenRoot is one of several tokens in a reply.
type TokenRoot struct {
	// Name is empty for the main token.
	Name string `yaml:"name,omitempty"`
	// Root is the path of the object that holds the token, empty for the reply.
	Root string `yaml:"root,omitempty"`
	// RefreshRoot is Root in the reply to a refresh, "." for the reply itself.
	RefreshRoot string `yaml:"refresh_root,omitempty"`
	// Optional: it may be absent as long as another one is there.
	Optional bool `yaml:"optional,omitempty"`
}

// TokenFields rename the fields of RFC 6749 §5.1. The first path that is there
// wins.
type TokenFields struct {
	AccessToken  []string `yaml:"access_token,omitempty"`
	RefreshToken []string `yaml:"refresh_token,omitempty"`
	TokenType    []string `yaml:"token_type,omitempty"`
	ExpiresIn    []string `yaml:"expires_in,omitempty"` // seconds: a number or a string
	// ExpiresAt: RFC 3339, or Unix seconds or milliseconds.
	ExpiresAt             []string `yaml:"expires_at,omitempty"`
	RefreshTokenExpiresIn []string `yaml:"refresh_token_expires_in,omitempty"`
	RefreshTokenExpiresAt []string `yaml:"refresh_token_expires_at,omitempty"`
}

// How a grant is renewed.
const (
	GrantRefreshToken = "refresh_token" // RFC 6749 §6 (default)
	GrantExchange     = "exchange"      // a living access token is traded for a newer one
	GrantNone         = "none"          // not at all
)

// What happens to the refresh token in a renewal.
const (
	RotationAlways = "always"
	RotationMay    = "may" // default: a new one may come back
	RotationNever  = "never"
)

// Refresh is how long things live and what renewing does to them. What a reply
// says always goes before what is written here.
type Refresh struct {
	Grant    string `yaml:"grant,omitempty"`
	Issued   string `yaml:"issued,omitempty"` // always (default), offline_scope, app_setting, partner
	Rotation string `yaml:"rotation,omitempty"`
	// ReuseGrace is how long a spent refresh token may be presented again.
	ReuseGrace     Duration `yaml:"reuse_grace,omitempty"`
	OnReuse        OnReuse  `yaml:"on_reuse,omitzero"`
	AccessTokenTTL Duration `yaml:"access_token_ttl,omitempty"`
	// IdleTTL ends a refresh token that is not used, AbsoluteTTL every one.
	IdleTTL     Duration `yaml:"idle_ttl,omitempty"`
	AbsoluteTTL Duration `yaml:"absolute_ttl,omitempty"`
	// TTLIfAbsent is what a reply without expires_in means: ttl (default:
	// AccessTokenTTL where it is known), never, or refresh_on_401.
	TTLIfAbsent string `yaml:"ttl_if_absent,omitempty"`
	// NotBefore: earlier renewals are refused (a span before expiry).
	NotBefore Duration `yaml:"not_before,omitempty"`
	// RateLimit rations the renewals; none by default.
	RateLimit *RateLimit `yaml:"rate_limit,omitempty"`
	// Margin is how long before expiry a renewal is due.
	Margin Duration `yaml:"margin,omitempty"`
}

// Whose renewals a [RateLimit] counts together.
const (
	PerUser   = "user"   // those of one account at the provider
	PerClient = "client" // all those of our client
)

// RateLimit is how many renewals a provider takes: Limit in any span of Window.
type RateLimit struct {
	Per    string   `yaml:"per,omitempty"`
	Limit  int      `yaml:"limit,omitempty"`
	Window Duration `yaml:"window,omitempty"` // a second to a day
}

// OldDies: a renewal ends the access token before it at once; default is that
// it lives until its own end.
const OldDies = "dies"

// OnReuse is the penalty for presenting a spent refresh token, and what a
// renewal does to the access token before it.
type OnReuse struct {
	OldAccessToken string `yaml:"old_access_token,omitempty"` // lives (default), dies
	// Family: kept (default); revoked, the tokens that descend from one consent;
	// all, every grant of the person to our client, other connections included.
	Family string `yaml:"family,omitempty"`
}

// Classes of failure that an [ErrorRule] may name.
const (
	ClassReauthorize  = "reauthorize"   // only the person can help
	ClassOperator     = "operator"      // the client's registration is wrong
	ClassTemporary    = "temporary"     // try again later
	ClassProviderDown = "provider_down" // try again later, and it is not about us
	ClassScopeLost    = "scope_lost"    // a scope was withdrawn
)

// ErrorRule classifies a failure.
type ErrorRule struct {
	When  ErrorMatch `yaml:"when"`
	Class string     `yaml:"class"`
}

// ErrorMatch holds when each list that is not empty has a match.
type ErrorMatch struct {
	Code    []string `yaml:"code,omitempty"`
	Status  []string `yaml:"status,omitempty"`  // 403, 5xx
	Request []string `yaml:"request,omitempty"` // code, refresh, revocation, api
}

// API is how requests with an access token are made.
type API struct {
	// Authorization is the header's value, a template over access_token;
	// "Bearer {access_token}" by default (RFC 6750), none for none.
	Authorization string            `yaml:"authorization,omitempty"`
	Headers       map[string]string `yaml:"headers,omitempty"`
}

// AuthorizationClient makes an API request prove our client instead of holding
// an access token.
const AuthorizationClient = "client"

// APIRequest is one request with an access token. URL, headers and params are
// templates over the parameters, client_id and access_token.
type APIRequest struct {
	URL    string `yaml:"url"`
	Method string `yaml:"method,omitempty"` // GET by default
	// Authorization replaces API.Authorization; client proves our client as
	// ClientAuth says.
	Authorization string            `yaml:"authorization,omitempty"`
	Headers       map[string]string `yaml:"headers,omitempty"`
	Encoding      string            `yaml:"encoding,omitempty"` // of Params: form (default), json, query
	Params        map[string]string `yaml:"params,omitempty"`
	Success       Success           `yaml:"success,omitzero"`
}

// Where an account's identity is found.
const (
	IdentityRequest       = "request"
	IdentityTokenResponse = "token_response"
)

// Identity is which account was connected.
type Identity struct {
	From    string      `yaml:"from,omitempty"` // request, token_response
	Request *APIRequest `yaml:"request,omitempty"`
	// Subject are the paths that together identify the account for good.
	Subject []string `yaml:"subject,omitempty"`
	// Label are the paths that together tell a person which account it is; the
	// first of Fallback that is there stands in.
	Label    []string `yaml:"label,omitempty"`
	Fallback []string `yaml:"fallback,omitempty"`
}

// What revoking one token ends.
const (
	RevokesToken      = "token"
	RevokesGrant      = "grant"       // every token of this person and client
	RevokesAppInstall = "app_install" // the app, for everybody in the workspace
)

// Revocation is how a grant is ended at the provider.
type Revocation struct {
	Mode string `yaml:"mode,omitempty"` // none (default), rfc7009, custom
	// Endpoint and Params are for rfc7009.
	Endpoint string            `yaml:"endpoint,omitempty"`
	Params   map[string]string `yaml:"params,omitempty"`
	// Use is the token presented: refresh_token (default, the access token
	// stands in), access_token.
	Use string `yaml:"use,omitempty"`
	// Request is for custom: a template over token, too.
	Request *APIRequest `yaml:"request,omitempty"`
	Revokes string      `yaml:"revokes,omitempty"`
	// Gone are the codes that mean: had already ended; GoneStatus the statuses
	// that do, where the reply has no code (401, 404).
	Gone       []string `yaml:"gone,omitempty"`
	GoneStatus []string `yaml:"gone_status,omitempty"`
}

// Discovery asks, once tokens were granted, which places of the provider they are
// for: Atlassian's sites, Xero's organisations. Where there are several, the
// person picks the one that the connection is for.
type Discovery struct {
	Request APIRequest `yaml:"request"`
	// Items is the path of the list in the reply; empty for the reply itself.
	Items string `yaml:"items,omitempty"`
	// Kind is what a person calls such a place: site, organisation.
	Kind string `yaml:"kind,omitempty"`
	// ID is the path below an item of what identifies the place for good.
	ID string `yaml:"id,omitempty"`
	// Label is the path of what tells places apart for people, Name that of what
	// they call it, if that is something else. Of an https address the scheme is
	// left out.
	Label string `yaml:"label,omitempty"`
	Name  string `yaml:"name,omitempty"`
	// Metadata are names and the paths below the item that is picked: kept beside
	// the tokens like those of Response.Metadata.
	Metadata map[string]string `yaml:"metadata,omitempty"`
}

// Duration is a span of time as Go writes it (90m), or whole days (60d).
type Duration string

// Value is the span; zero when it is unset or malformed, which Check reports.
func (d Duration) Value() time.Duration {
	v, _ := d.parse()
	return v
}

func (d Duration) parse() (time.Duration, bool) {
	if d == "" {
		return 0, true
	}
	if days, ok := strings.CutSuffix(string(d), "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	v, err := time.ParseDuration(string(d))
	return v, err == nil && v >= 0
}
