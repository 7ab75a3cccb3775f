package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

// Answer is what the server sent, to the byte. It may hold a secret.
type Answer struct {
	Raw token.Secret `json:"-"`
}

// LinkRequest asks for a connect link. Only UserID is needed.
type LinkRequest struct {
	UserID string `json:"user_id"`
	// Servers limits what the link offers; none: every server.
	Servers   []string `json:"servers,omitempty"`
	ReturnURL string   `json:"return_url,omitempty"`
	// TTL is in seconds; 0: the server's default.
	TTL    int64             `json:"ttl,omitempty"`
	Params map[string]string `json:"params,omitempty"`
}

// Link is a new connect link.
type Link struct {
	Answer
	ID string `json:"id"`
	// URL lets whoever opens it first connect as the user.
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// CreateLink mints a connect link.
func (c *Client) CreateLink(ctx context.Context, in LinkRequest) (out Link, err error) {
	out.Raw, err = c.call(ctx, http.MethodPost, "/api/v1/links", in, &out)
	return out, err
}

// Servers lists the servers as one user sees them.
type Servers struct {
	Answer
	Servers []Server `json:"servers"`
}

// NeedsClient is [Server].Status while there is no OAuth client at the server's
// provider, so that nobody can connect it.
const NeedsClient = "needs_client"

// Server is one of [Servers].
type Server struct {
	Name        string  `json:"name"`
	DisplayName string  `json:"display_name"`
	AuthType    string  `json:"auth_type"`
	Status      string  `json:"status"`
	Connections []Brief `json:"connections"`
	// ToolsCount is nil while nobody knows.
	ToolsCount *int `json:"tools_count"`
}

// Brief is a connection as a server's entry names it.
type Brief struct {
	ID     string `json:"id"`
	Label  string `json:"label"`
	Status string `json:"status"`
}

// Servers lists the servers with the user's connections.
func (c *Client) Servers(ctx context.Context, user string) (out Servers, err error) {
	q := url.Values{"user_id": {user}}
	out.Raw, err = c.call(ctx, http.MethodGet, "/api/v1/mcp/servers?"+q.Encode(), nil, &out)
	return out, err
}

// ConnectionFilter selects a page of connections. Empty fields select all.
type ConnectionFilter struct {
	User, Server string
	// Cursor is where the page begins: the NextCursor of the one before.
	Cursor string
	// Limit is how many a page has at most, 1 to 200; 0: the server's default.
	Limit int
}

// Connections is one page of the list.
type Connections struct {
	Answer
	Connections []Connection `json:"connections"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"next_cursor"`
}

// Connection is a user's connection to a server. It holds no token.
type Connection struct {
	Answer
	ID       string `json:"id"`
	UserID   string `json:"user_id"`
	Server   string `json:"server"`
	Provider string `json:"provider"`
	Status   string `json:"status"`
	Health   string `json:"health"`
	Label    string `json:"label"`
	Account  struct {
		Subject string `json:"subject"`
		Label   string `json:"label"`
	} `json:"account"`
	// Tools are those that MCP clients are offered.
	Tools         Tools    `json:"tools"`
	Scopes        []string `json:"scopes"`
	MissingScopes []string `json:"missing_scopes"`
	// Times are nil where something has not happened, or never will.
	CreatedAt     *time.Time `json:"created_at"`
	ConnectedAt   *time.Time `json:"connected_at"`
	ExpiresAt     *time.Time `json:"expires_at"`
	LastRefreshAt *time.Time `json:"last_refresh_at"`
	NextRefreshAt *time.Time `json:"next_refresh_at"`
	EndsAt        *time.Time `json:"ends_at"`
	LastUsedAt    *time.Time `json:"last_used_at"`
	LastError     *Failure   `json:"last_error"`
}

// Failure is the last thing that went wrong with a connection.
type Failure struct {
	Verdict string     `json:"verdict"`
	Code    string     `json:"code"`
	Detail  string     `json:"detail"`
	At      *time.Time `json:"at"`
	// Count is how many failures there were in a row.
	Count int `json:"count"`
}

// Connections lists connections, one page a call.
func (c *Client) Connections(ctx context.Context, f ConnectionFilter) (out Connections, err error) {
	q := url.Values{}
	for name, value := range map[string]string{"user_id": f.User, "server": f.Server, "cursor": f.Cursor} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	out.Raw, err = c.call(ctx, http.MethodGet, "/api/v1/connections?"+q.Encode(), nil, &out)
	return out, err
}

// Connection returns one connection.
func (c *Client) Connection(ctx context.Context, id string) (out Connection, err error) {
	out.Raw, err = c.callConnection(ctx, http.MethodGet, id, "", nil, &out)
	return out, err
}

// Rename gives a connection a label of the user's own; an empty one leaves it
// to the account's.
func (c *Client) Rename(ctx context.Context, id, label string) (out Connection, err error) {
	in := map[string]string{"label": label}
	out.Raw, err = c.callConnection(ctx, http.MethodPatch, id, "", in, &out)
	return out, err
}

// Tools says which tools of its server a connection offers; one that names none
// to allow allows all. A name that ends in * stands for all that begin so.
type Tools struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// OfferTools decides which tools MCP clients are offered: those that allow names,
// if it names any, without those that deny does.
func (c *Client) OfferTools(ctx context.Context, id string, allow, deny []string) (out Connection, err error) {
	in := map[string]Tools{"tools": {allow, deny}}
	out.Raw, err = c.callConnection(ctx, http.MethodPatch, id, "", in, &out)
	return out, err
}

// Token is an access token of a connection.
type Token struct {
	Answer
	AccessToken token.Secret `json:"access_token"`
	// ExpiresAt is nil when the provider named no lifetime.
	ExpiresAt *time.Time `json:"expires_at"`
}

// Token returns an access token that lives at least minTTL longer, renewed
// first if need be. The name is empty for the main one.
func (c *Client) Token(ctx context.Context, id, name string, minTTL time.Duration) (out Token, err error) {
	q := url.Values{"min_ttl": {strconv.FormatInt(int64(minTTL.Seconds()), 10)}}
	if name != "" {
		q.Set("name", name)
	}
	out.Raw, err = c.callConnection(ctx, http.MethodGet, id, "/token?"+q.Encode(), nil, &out)
	return out, err
}

// RevokedAtProvider is [Ended].Revoked when the provider took its grant back.
const RevokedAtProvider = "provider"

// Ended says what disconnecting did.
type Ended struct {
	Answer
	Revoked string `json:"revoked"`
	// Detail says why the provider did not revoke; it may be its own text.
	Detail string `json:"detail"`
}

// Disconnect revokes a connection at the provider and deletes it.
func (c *Client) Disconnect(ctx context.Context, id string) (out Ended, err error) {
	out.Raw, err = c.callConnection(ctx, http.MethodDelete, id, "", nil, &out)
	return out, err
}

// callConnection calls what lies under the connection's own path.
func (c *Client) callConnection(ctx context.Context, method, id, rest string, in, out any) (token.Secret, error) {
	name, err := segment(id)
	if err != nil {
		return "", err
	}
	return c.call(ctx, method, "/api/v1/connections/"+name+rest, in, out)
}

// WebhookTest is what became of an event that was sent as a test.
type WebhookTest struct {
	Answer
	// Status is what the endpoint took it with.
	Status int `json:"status"`
}

// TestWebhook has an event sent to the tenant's webhook endpoint.
func (c *Client) TestWebhook(ctx context.Context) (out WebhookTest, err error) {
	out.Raw, err = c.call(ctx, http.MethodPost, "/api/v1/webhooks/test", nil, &out)
	return out, err
}

// OAuthClient is an MCP client that was registered by hand.
type OAuthClient struct {
	ID string `json:"client_id"`
	// Secret is there in the answer that registers it, once.
	Secret       token.Secret `json:"client_secret"`
	Name         string       `json:"name"`
	RedirectURIs []string     `json:"redirect_uris"`
	AuthMethod   string       `json:"token_endpoint_auth_method"`
	CreatedAt    *time.Time   `json:"created_at"`
}

// OAuthClientRequest registers an MCP client.
type OAuthClientRequest struct {
	Name         string   `json:"name"`
	RedirectURIs []string `json:"redirect_uris"`
	// AuthMethod is none, client_secret_basic or client_secret_post; empty: the
	// server's default.
	AuthMethod string `json:"token_endpoint_auth_method,omitempty"`
}

// NewOAuthClient is what became of an [OAuthClientRequest].
type NewOAuthClient struct {
	Answer
	OAuthClient
}

// AddOAuthClient registers an MCP client with the server.
func (c *Client) AddOAuthClient(ctx context.Context, in OAuthClientRequest) (out NewOAuthClient, err error) {
	out.Raw, err = c.call(ctx, http.MethodPost, "/api/v1/oauth-clients", in, &out.OAuthClient)
	return out, err
}

// OAuthClients are those that were registered by hand.
type OAuthClients struct {
	Answer
	Clients []OAuthClient `json:"oauth_clients"`
}

// OAuthClients lists them, without their secrets.
func (c *Client) OAuthClients(ctx context.Context) (out OAuthClients, err error) {
	out.Raw, err = c.call(ctx, http.MethodGet, "/api/v1/oauth-clients", nil, &out)
	return out, err
}

// RemoveOAuthClient removes one: it gets no more tokens.
func (c *Client) RemoveOAuthClient(ctx context.Context, id string) error {
	name, err := segment(id)
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodDelete, "/api/v1/oauth-clients/"+name, nil, nil)
	return err
}
