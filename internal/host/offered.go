package host

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// A connection may offer some of its server's tools only. Then the list of them
// is made here, and a call of any other one goes no further.

// learnWithin bounds the wait for a server that has never said what it offers.
const learnWithin = 20 * time.Second

const onePage = "the list has one page: leave the cursor out"

func noTool(name string) string {
	return fmt.Sprintf("there is no tool %.128q: list the tools again", name)
}

// withholds answers a call of a tool that the connection does not offer, or that
// is not named as MCP does.
func (x *exchange) withholds() bool {
	_, name := nameIn(x.m.Raw, x.m.Params)
	if name != "" && x.Connection.Tools.Offers(name) {
		return false
	}
	x.finish(http.StatusOK, mcp.Failure(x.id(), mcp.CodeParams, noTool(name)))
	return true
}

// listOffered answers with the tools that the connection offers.
func (x *exchange) listOffered() {
	ctx, c := x.r.Context(), x.Connection
	who := x.Caller(c.ID)
	_, early := x.service.state(ctx, c)
	tools := x.service.toolsIn(ctx, who, c)
	switch {
	case tools == nil && x.Refused != nil:
		x.fail(x.Refused)
		return
	case tools == nil:
		x.fail(ErrStarting)
		return
	}
	offered := []json.RawMessage{}
	for _, raw := range tools {
		if _, name := toolAt(raw); name != "" && c.Tools.Offers(name) {
			offered = append(offered, raw)
		}
	}
	list, err := json.Marshal(offered)
	if err != nil {
		x.fail(err)
		return
	}
	result := mcp.Catalogue{Initialized: json.RawMessage(`{}`), Tools: list}.Answer(x.m, x.version)
	if result == nil {
		x.finish(http.StatusOK, mcp.Failure(x.id(), mcp.CodeParams, onePage))
		return
	}
	x.finishAndStart(mcp.Reply(x.id(), result), early && x.Refused == nil)
}

// toolsIn are the tools of the connection's server: those that are known, else
// what it says when it is asked; nil if it does not answer.
func (s *Service) toolsIn(ctx context.Context, who vault.Caller, c connection.Connection) []json.RawMessage {
	list := s.catalogue(ctx, c).Tools
	if list == nil && c.Status == connection.Connected {
		ctx, cancel := context.WithTimeout(ctx, learnWithin)
		defer cancel()
		found, err := s.Tools(ctx, who, c.Key)
		if err == nil {
			list, err = json.Marshal(found)
		}
		if err != nil {
			s.Logger.WarnContext(ctx, "a server did not list its tools", "server", c.Server, "connection", c.ID, "err", err)
		}
	}
	var tools []json.RawMessage
	if list != nil && json.Unmarshal(list, &tools) != nil {
		return nil
	}
	return tools
}

// toolAt finds the name of a tool in its description; empty: it has none.
func toolAt(raw []byte) (at mcp.Span, name string) { return nameIn(raw, mcp.Span{End: len(raw)}) }

// nameIn finds the name in an object of raw; empty: it has none.
func nameIn(raw []byte, object mcp.Span) (at mcp.Span, name string) {
	at, err := mcp.Lookup(raw, object, "name")
	if err != nil || !at.Present() || json.Unmarshal(raw[at.Start:at.End], &name) != nil {
		return mcp.Span{}, ""
	}
	return at, name
}

// replaced is raw with a text in place of what stands there.
func replaced(raw []byte, at mcp.Span, text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // it is a string
	}
	out := make([]byte, 0, len(raw)+len(quoted))
	return append(append(append(out, raw[:at.Start]...), quoted...), raw[at.End:]...)
}
