package page

// ConsentView says what is about to be asked at the provider, before anything
// is. It posts action=authorize or action=cancel to /c/{flow}.
type ConsentView struct {
	Chrome
	FlowID, ServerDisplayName, ProviderName string
	// ProviderHost is the host of the authorization endpoint.
	ProviderHost string
	// RemoteHost is where the server runs, if not here.
	RemoteHost string
	Scopes     []Scope
	// UserID is whose connection it will be.
	UserID string
	// Reconnect is the label of the account that is being reconnected; empty:
	// it is a new connection.
	Reconnect string
	Popup     bool
	// CancelURL is where Cancel leads. Leave it empty to be told by
	// action=cancel, so that the flow can end at once.
	CancelURL string
}

// LeavingView sends the browser on to the provider, or back to a client that
// asked for access. Answer a form with it, not with a redirect: browsers apply
// form-action to every redirect that follows a form (CSP 3 §6.4.1), and a
// provider's sign-in may cross hosts that nobody can list beforehand.
type LeavingView struct {
	Chrome
	// URL is the authorization request, or the client's redirect URI with its
	// answer; ProviderName and ProviderHost are whose it is. One that a program
	// takes waits for a click: browsers ask before they start programs.
	URL, ProviderName, ProviderHost string
	// Back: to the client.
	Back bool
}

// PlacesView lets a person who granted access to several places, such as sites,
// pick one. It posts place=ID, or action=cancel, to /mcp/oauth/places/{flow}.
type PlacesView struct {
	Chrome
	FlowID, ServerDisplayName, ProviderName string
	// Kind is what such a place is called.
	Kind string
	// Account is who granted it.
	Account string
	Places  []Place
	// Lost is the place of the connection that is renewed, if it is not among them.
	Lost string
	// More: there are others, which are not listed.
	More bool
}

// Place is one that may be picked: what people call it, and its address or what
// else tells it from others.
type Place struct{ ID, Name, Label string }

// LinkView asks for one click before a connect link is claimed, so that a bot
// that previews the link does not claim it.
type LinkView struct {
	Chrome
	// URL is the path of the link; the form posts there.
	URL string
	// Replaces is whose session the link would replace: then the form waits
	// for the person.
	Replaces string
	// Servers are the display names of what the link offers; none: all.
	Servers []string
}

// DoneView is how a connection attempt ended, when it ended well.
type DoneView struct {
	Chrome
	Connected                  bool
	ServerDisplayName, Account string
	// Missing are the scopes that the person did not grant.
	Missing []Scope
	// Pending: the application that the person came from has to confirm.
	Pending bool
	// Popup: the page tells its opener, and closes.
	Popup bool
	// ReturnURL leads back to the application; ContinueURL is the next page
	// here.
	ReturnURL, ContinueURL string
	FlowID                 string
	// OpenerOrigin is the only origin that is told; empty: nobody.
	OpenerOrigin string
}

// EndedView says what disconnecting did.
type EndedView struct {
	Chrome
	// Revoked: the provider has ended the grant. Otherwise it was only deleted
	// here, and Detail says why.
	Revoked bool
	Detail  string
}

// ErrorView says what happened and what to do next.
type ErrorView struct {
	Chrome
	// Code is stable, for whoever is asked for help.
	Code, Heading, Message, Next string
	Actions                      []Action
	// Detail is what the provider or the server said. Hostile text.
	Detail string
	// Popup, FlowID and OpenerOrigin are as in DoneView.
	Popup                bool
	FlowID, OpenerOrigin string
}

// Action is a way on: a link, or a form without other fields. The first is the one
// that is suggested.
type Action struct {
	Label, URL string
	Post       bool
	// Do is sent by a form as the field action.
	Do string
}

// SetupView says how to register a client at a provider.
type SetupView struct {
	Chrome
	ProviderName string
	// RedirectURI is to be registered character by character.
	RedirectURI string
	// Unusable says why the provider refuses that address, and what to do; empty:
	// it takes it.
	Unusable string
	// ConsoleURL is the provider's page for it.
	ConsoleURL string
	Help       string
	// EnvID and EnvSecret are the names of the two environment variables.
	EnvID, EnvSecret string
	// EnvIssuer, where the client is one of an issuer that was found, is a third
	// line, which names it.
	EnvIssuer string
	// Parameters are said with the client: where it is registered.
	Parameters []ClientParameter
	// Command, where there is no environment to edit, is the command that takes
	// the client.
	Command string
	Scopes  []string
	// Enable is what else has to be on at the provider.
	Enable []Enable
}

// Enable is a feature of a provider's to turn on there.
type Enable struct {
	// URL is the provider's page for it.
	Name, URL string
	// Servers want it.
	Servers []string
}

// ClientParameter is one of a client's. It has to be said where there is no default.
type ClientParameter struct {
	Label, Help, Default string
	// Variable is its name in the environment, and Flag what is added to the command.
	Variable, Flag string
}

// SignInView tells somebody without a session how to get one.
type SignInView struct {
	Chrome
	// Tenant is whose people this is about; empty: the only one's.
	Tenant string
	// Host is where they sign in, and URL the page of ours that leads there; both
	// empty: by a link.
	Host, URL string
	// Owner: this machine signs its owner in, at the list of servers.
	Owner bool
	// Waits: an MCP client asks for access meanwhile.
	Waits bool
}

func (ServersView) template() string    { return "servers.html" }
func (ConnectionView) template() string { return "connection.html" }
func (AllView) template() string        { return "all.html" }
func (ConsentView) template() string    { return "consent.html" }
func (LeavingView) template() string    { return "leaving.html" }
func (PlacesView) template() string     { return "places.html" }
func (LinkView) template() string       { return "link.html" }
func (DoneView) template() string       { return "done.html" }
func (EndedView) template() string      { return "ended.html" }
func (ErrorView) template() string      { return "error.html" }
func (SetupView) template() string      { return "setup.html" }
func (SignInView) template() string     { return "signin.html" }
