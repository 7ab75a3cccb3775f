package host

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

const (
	// askTTL is how long a modern client may take to call again with what its
	// person was asked for.
	askTTL = 10 * time.Minute
	// statePrefix tells our states from those of servers, which pass.
	statePrefix = "lanyard1."
	// askKey is the name of our question among the inputs of a request.
	askKey = "connect"
)

// claims is what a requestState of ours says: which request of whom waits for
// what. As the client sees it, it is statePrefix and
//
//	base64url( nonce, 12 bytes | AES-256-GCM of JSON )
//
// with the prefix as additional data. Nothing is stored, and nothing is taken
// from it but what was asked for: whether it was given, the connection says.
type claims struct {
	Tenant string `json:"tenant"`
	User   string `json:"user"`
	Client string `json:"client"`
	// Server and Connection are what has to be connected; no Connection: there is
	// none of that server.
	Server     string `json:"server"`
	Connection string `json:"connection,omitempty"`
	// Method and Digest say which request it is.
	Method string `json:"method"`
	Digest []byte `json:"digest"`
	// Scopes are those that are missing; none: the connection itself. Since is when
	// the connection was granted that lacks them, in nanoseconds.
	Scopes []string `json:"scopes,omitempty"`
	Since  int64    `json:"since,omitempty"`
	// Asked counts how often the person was.
	Asked   int   `json:"asked"`
	Expires int64 `json:"expires"`
}

// need is what was asked for.
func (c claims) need() need { return need{scope: c.Since != 0, scopes: c.Scopes} }

func (s *Service) sealState(c claims) string {
	plain, err := json.Marshal(c)
	if err != nil { // strings, bytes and numbers
		panic(err)
	}
	sealed := s.states.with(s.BearerKey, stateLabel).Seal(nil, nil, plain, []byte(statePrefix))
	return statePrefix + base64.RawURLEncoding.EncodeToString(sealed)
}

// openState returns what a state of ours says, if it is of the request that want
// describes: of its holder, server, method and digest, and of its connection
// where it names one.
func (s *Service) openState(state string, want claims) (claims, error) {
	var c claims
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(state, statePrefix))
	if err != nil {
		return c, mcp.ErrRequestState
	}
	plain, err := s.states.with(s.BearerKey, stateLabel).Open(nil, nil, sealed, []byte(statePrefix))
	if err != nil || json.Unmarshal(plain, &c) != nil {
		return c, mcp.ErrRequestState
	}
	if c.Tenant != want.Tenant || c.User != want.User || c.Client != want.Client || c.Server != want.Server || c.Method != want.Method ||
		!bytes.Equal(c.Digest, want.Digest) || c.Connection != "" && c.Connection != want.Connection || s.Now().Unix() >= c.Expires {
		return claims{}, mcp.ErrRequestState
	}
	return c, nil
}

// describe are the claims of this request.
func (x *exchange) describe() (claims, error) {
	digest, err := x.m.RetryDigest()
	if err != nil {
		return claims{}, err
	}
	return claims{Tenant: x.Tenant, User: x.User, Client: x.Client, Server: x.Connection.Server, Connection: x.Connection.ID,
		Method: x.m.Method, Digest: digest}, nil
}

// ourState is the state of ours that a message brings; empty: none.
func ourState(m mcp.Message) (string, error) {
	at, err := mcp.Lookup(m.Raw, m.Params, "requestState")
	if err != nil || !at.Present() {
		return "", err
	}
	var state string
	if json.Unmarshal(m.Bytes(at), &state) != nil || !strings.HasPrefix(state, statePrefix) {
		return "", nil // not of ours, and its server's affair
	}
	return state, nil
}

// answered reads what the client answers to a question of ours, and takes it out
// of the message, which is then as its server may see it. It reports false if
// the answer to the request was written.
func (x *exchange) answered() bool {
	if x.version == "" || !askable(x.m.Method) {
		return true
	}
	state, err := ourState(x.m)
	if err == nil && state == "" {
		return true
	}
	var want, c claims
	if err == nil {
		want, err = x.describe()
	}
	if err == nil {
		c, err = x.service.openState(state, want)
	}
	var action string
	if err == nil {
		action, err = x.action()
	}
	if err == nil {
		err = x.strip()
	}
	if err != nil {
		x.service.Logger.InfoContext(x.r.Context(), "a requestState was refused", "connection", x.Connection.ID, "client", x.Client)
		x.finish(http.StatusBadRequest, mcp.Failure(x.id(), mcp.CodeParams, mcp.ErrRequestState.Error()))
		return false
	}
	x.asked = c
	switch action {
	case "accept":
		x.accepted = true
	case "":
	default:
		x.told(x.title()+" was not connected: its person declined. The call was not made.", "")
		return false
	}
	return true
}

// action is what became of our question: "accept", "decline", "cancel"; empty:
// it was not answered.
func (x *exchange) action() (string, error) {
	at, err := mcp.Lookup(x.m.Raw, x.m.Params, "inputResponses", askKey, "action")
	if err != nil || !at.Present() {
		return "", err
	}
	var action string
	return action, json.Unmarshal(x.m.Bytes(at), &action)
}

// strip takes out of the message what is between its client and us.
func (x *exchange) strip() error {
	var params map[string]json.RawMessage
	if err := json.Unmarshal(x.m.Bytes(x.m.Params), &params); err != nil {
		return err
	}
	delete(params, "inputResponses")
	delete(params, "requestState")
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(params); err != nil {
		return err
	}
	raw := append(bytes.Clone(x.m.Raw[:x.m.Params.Start]), bytes.TrimSpace(out.Bytes())...)
	m, err := mcp.Parse(append(raw, x.m.Raw[x.m.Params.End:]...))
	if err == nil {
		x.m = m
	}
	return err
}
