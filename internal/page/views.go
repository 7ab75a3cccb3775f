package page

import (
	"net/url"
	"strings"
	"time"
)

// The prefixes of form fields whose names come from presets and servers, so
// that none of them can pass for a field of ours.
const (
	// ParameterPrefix: the server's parameters, in the connect form.
	ParameterPrefix = "param."
	// EnvPrefix: the values of a server that takes an API key.
	EnvPrefix = "env."
	// ArgumentPrefix: a tool's arguments, where the tool has Fields.
	ArgumentPrefix = "arg."
)

// Chrome is what every page needs around its own content.
type Chrome struct {
	// Title stands in the browser's tab, before the name of the product.
	Title string
	// User is the id of the person signed in; empty: nobody. Person, where it is
	// set, is shown in its place.
	User, Person string
	// CanSignOut: the person can sign out, and in again.
	CanSignOut bool
	// CSRF is sent with every form as the field csrf.
	CSRF string
	// Local says that the pages are served by the person's own machine.
	Local bool
}

// Scope is one access that is asked for.
type Scope struct {
	Name string
	// Why says in plain words what it is for; empty: Name is shown.
	Why string
}

// The statuses of a card. Connections use the first three.
const (
	StatusConnected       = "connected"
	StatusReconnectNeeded = "reconnect_needed"
	StatusPending         = "pending"
	StatusAvailable       = "available"
	StatusNeedsClient     = "needs_client"
	StatusNoneNeeded      = "none_needed"
	// StatusNotYet is StatusNeedsClient for somebody who cannot register one.
	StatusNotYet = "not_yet"
)

// ServersView lists the servers and the connections of the person.
type ServersView struct {
	Chrome
	Servers []ServerCard
	// Query narrows the list; the view does the narrowing.
	Query string
	// ReturnURL leads back to where the person came from.
	ReturnURL string
	// Starting names the server that a link or an MCP client wants connected:
	// its card comes first and is ready to connect.
	Starting string
}

// ServerCard is one server of the list.
type ServerCard struct {
	Name, DisplayName, Description string
	// RemoteHost is where the server runs, if not here: it tells apart those of the
	// same name.
	RemoteHost string
	// AuthType is oauth, api_key or none.
	AuthType     string
	ProviderName string
	Scopes       []Scope
	Status       string
	Connections  []ConnectionRow
	// ToolsCount is -1 while unknown.
	ToolsCount int
	// Parameters are asked with Connect: POST /mcp/servers/{name}/connect.
	Parameters []Parameter
	// EnvValues are asked for an API key: POST /mcp/servers/{name}/key.
	EnvValues []EnvValue
	// SetupURL says how to register a client; empty: /mcp/servers/{name}/setup.
	SetupURL string
}

// ConnectionRow is one connection on a card.
//
// Health is one of the words of package connection.
type ConnectionRow struct{ ID, Label, Status, Health, StatusText, Detail string }

// Parameter is a value that the server needs before connecting (shop, host).
type Parameter struct {
	Name, Label, Placeholder, Pattern, Help, Value string
	// Optional may be left empty.
	Optional bool
}

// EnvValue is a value that the person gets from the provider's own pages.
type EnvValue struct {
	Name, Label, HelpURL string
	// Secret hides what is typed.
	Secret bool
}

// listed is a card with what its forms need from the view.
type listed struct {
	ServerCard
	CSRF string
	// Open shows the form at once.
	Open bool
}

// Wanted is the server named by Starting, whatever is searched for.
func (v ServersView) Wanted() []listed {
	return v.pick(func(c ServerCard) bool { return v.wanted(c) })
}

// Mine are the servers that have connections.
func (v ServersView) Mine() []listed {
	return v.pick(func(c ServerCard) bool { return !v.wanted(c) && len(c.Connections) > 0 && v.found(c) })
}

// Ready are the servers that have none and can have one at once.
func (v ServersView) Ready() []listed {
	return v.pick(func(c ServerCard) bool {
		return !v.wanted(c) && len(c.Connections) == 0 && !c.unready() && v.found(c)
	})
}

// Unready are those whose provider knows no client of this Lanyard yet.
func (v ServersView) Unready() []listed {
	return v.pick(func(c ServerCard) bool {
		return !v.wanted(c) && len(c.Connections) == 0 && c.unready() && v.found(c)
	})
}

// Searchable reports whether there is anything to look for: a link may be for one
// server alone.
func (v ServersView) Searchable() bool { return len(v.Servers) > 1 || v.Query != "" }

func (c ServerCard) unready() bool {
	return c.Status == StatusNeedsClient || c.Status == StatusNotYet
}

func (v ServersView) wanted(c ServerCard) bool { return v.Starting != "" && c.Name == v.Starting }

func (v ServersView) found(c ServerCard) bool {
	return strings.Contains(c.Words(), strings.ToLower(strings.TrimSpace(v.Query)))
}

func (v ServersView) pick(want func(ServerCard) bool) []listed {
	var cards []listed
	for _, c := range v.Servers {
		if want(c) {
			cards = append(cards, listed{c, v.CSRF, v.wanted(c)})
		}
	}
	return cards
}

// Words is the text that a search looks through, in lower case.
func (c ServerCard) Words() string {
	return strings.ToLower(c.DisplayName + " " + c.Name + " " + c.ProviderName + " " + c.RemoteHost + " " + c.Description)
}

// ConnectionView is one connection and what can be done with it. Its forms post
// to /mcp/connections/{id}/ rename, disconnect, mcp-tokens,
// mcp-tokens/{token}/revoke, clients/{client}/revoke and tools/{tool}.
type ConnectionView struct {
	Chrome
	ID, ServerName, ServerDisplayName string
	// RemoteHost is where the server runs, if not here.
	RemoteHost string
	// AuthType is oauth, api_key or none.
	AuthType string
	// Label is the person's own name for it; empty: Account is shown.
	Label, Account             string
	Status, Health, StatusText string
	// Detail says in plain words why the status is what it is.
	Detail                             string
	Scopes, MissingScopes              []Scope
	ConnectedAt, LastRefresh, LastUsed time.Time
	// NextRefresh is when the tokens are renewed next; zero: that is not known, or
	// never, or, with RenewedOnUse, when somebody uses them.
	NextRefresh  time.Time
	RenewedOnUse bool
	// EndsAt is when the access ends unless the person connects again.
	EndsAt time.Time
	// MCPURL is the address that MCP clients are given.
	MCPURL string
	// Configs are snippets for MCP clients; with NewToken they hold it.
	Configs []Config
	// NewToken is shown this once.
	NewToken string
	Tokens   []MCPTokenRow
	// Clients are those that have signed in.
	Clients []ClientRow
	Tools   []Tool
	// ToolsPending: the server is starting; the page asks again by itself.
	ToolsPending bool
	ToolsError   string
	TryResult    *TryResult
	// CanReconnect offers to connect again: POST /mcp/servers/{server}/connect
	// with connection_id.
	CanReconnect bool
}

// Base is the path that the page's forms post below.
func (v ConnectionView) Base() string { return "/mcp/connections/" + url.PathEscape(v.ID) }

// Name is what the person calls the connection.
func (v ConnectionView) Name() string {
	switch {
	case v.Label != "":
		return v.Label
	case v.Account != "":
		return v.Account
	}
	return v.ServerDisplayName
}

// AllView is the one address for all of a person's servers. Its forms post to
// /mcp/all/mcp-tokens, mcp-tokens/{token}/revoke and clients/{client}/revoke.
type AllView struct {
	Chrome
	// MCPURL, Configs, NewToken, Tokens and Clients are as in [ConnectionView].
	MCPURL   string
	Configs  []Config
	NewToken string
	Tokens   []MCPTokenRow
	Clients  []ClientRow
	Members  []MemberRow
}

// Base is the path that the page's forms post below.
func (AllView) Base() string { return "/mcp/all" }

// MemberRow is one connection behind the address for all.
type MemberRow struct {
	ConnectionRow
	ServerDisplayName string
	// Example is the name of one of its tools, or what they begin with.
	Example string
}

// Config is what to paste into an MCP client.
type Config struct{ Client, Help, Text string }

// MCPTokenRow is a bearer token that was minted for an MCP client.
type MCPTokenRow struct {
	ID                   string
	CreatedAt, ExpiresAt time.Time
}

// ClientRow is an MCP client that its person has let in by signing in.
type ClientRow struct {
	ID string
	// Name is the client's own: hostile text.
	Name string
	// UsedAt is zero where that is not known.
	CreatedAt, UsedAt time.Time
}

// Tool is one tool of the server.
type Tool struct {
	Name, Title, Description string
	// Fields build the form; without them it is one text area named arguments
	// that takes JSON.
	Fields []Field
	// NoArguments leaves out the text area too: there is nothing to be said.
	NoArguments bool
	// Schema is the input schema, JSON.
	Schema   string
	ReadOnly bool
	// Withheld: MCP clients are not offered it.
	Withheld bool
}

// Field is one argument of a tool, named ArgumentPrefix + Name in the form.
type Field struct {
	Name string
	// Type is a JSON Schema type: string, integer, number or boolean.
	Type               string
	Label, Description string
	Required           bool
	Enum               []string
	Default            string
}

// TryResult is what a tool answered.
type TryResult struct {
	Tool, Text string
	IsError    bool
}
