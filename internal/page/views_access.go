package page

import "strings"

// AccessView asks whether an MCP client may have access. It posts action=allow,
// with a connection and parameters, or action=cancel to /oauth/requests/{id}.
type AccessView struct {
	Chrome
	RequestID string
	Asker
	// ServerDisplayName is of the server that the access is for; empty: all of the
	// person's, which Servers names.
	ServerDisplayName string
	Servers           []string
	// RemoteHost is where the server runs, if not here.
	RemoteHost string
	// ProviderName and ProviderHost are where an account is connected; empty: the
	// server needs none.
	ProviderName, ProviderHost string
	Scopes                     []Scope
	// Accounts are the person's connections of the server. One of them, or
	// another account, is chosen.
	Accounts []Account
	// Typed is asked for another account.
	Typed Typed
	// AuthType is the server's: oauth, api_key or none.
	AuthType string
}

// Asker is the client that asks for access. Its texts are hostile.
type Asker struct {
	// Client is what it calls itself.
	Client string
	// ClientHost is where it is published. That is proven only where Proven.
	ClientHost string
	Proven     bool
	// Itself: nobody but the client has registered it.
	Itself bool
	// RedirectHost is where the answer goes, to the letter: a host, or the
	// beginning of an address that a program takes.
	RedirectHost string
	// Program: that is a program on the person's own computer.
	Program bool
}

// Account is a connection that may be chosen. Renew: its access is granted anew
// at the provider.
type Account struct {
	ID, Label, Detail string
	Renew             bool
}

// Leaves reports whether the person goes on to the provider whatever is chosen.
func (v AccessView) Leaves() bool {
	for _, a := range v.Accounts {
		if !a.Renew {
			return false
		}
	}
	return v.ProviderHost != ""
}

// OtherAccount is how the form names an account that is not connected yet.
const OtherAccount = "other"

// KeyView asks for what the server needs in place of a provider. It posts to
// /mcp/servers/{name}/key, with the id of the request as the field request.
type KeyView struct {
	Chrome
	RequestID string
	Asker
	ServerDisplayName string
	Typed             Typed
}

// Typed is what a person types to connect the server of that name.
type Typed struct {
	Name       string
	Parameters []Parameter
	EnvValues  []EnvValue
}

// WaitView is shown while somebody else has to act. The page asks again by
// itself.
type WaitView struct {
	Chrome
	RequestID string
	Asker
	ServerDisplayName string
	// Confirming: the application that the person came from confirms them, which
	// ReturnURL leads back to. Otherwise the provider has not answered yet.
	Confirming bool
	ReturnURL  string
}

// ProgramURL reports whether an address is no web page's, but one that a program
// on the person's computer takes.
func ProgramURL(raw string) bool {
	return !strings.HasPrefix(raw, "https://") && !strings.HasPrefix(raw, "http://")
}

func (AccessView) template() string { return "access.html" }
func (KeyView) template() string    { return "key.html" }
func (WaitView) template() string   { return "wait.html" }
