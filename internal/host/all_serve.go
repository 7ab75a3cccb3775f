package host

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
)

// VisitAll is a request of an MCP client that has shown a bearer for all servers
// of its user.
type VisitAll struct {
	Holder Holder
	// Say puts an error into words for the person, and names it for programs. The
	// connection is zero where the error is of none.
	Say func(connection.Connection, error) (text, code string)
	// Deny and Challenge: see [Visit].
	Deny      func(http.ResponseWriter, error)
	Challenge func(code, description string, scopes []string) string
}

// ServeAll is the MCP endpoint of all servers of a user. It has tools only: the
// names of prompts and the addresses of resources are their servers' own.
func (s *Service) ServeAll(w http.ResponseWriter, r *http.Request, v VisitAll) {
	x := &exchange{service: s, r: r, reply: reply{w: w, streams: mcp.AcceptsStream(r)}, Visit: Visit{
		Connection: connection.Connection{Key: ForUser(v.Holder.Tenant, v.Holder.User)}, Holder: v.Holder, Deny: v.Deny, Challenge: v.Challenge,
		Say: func(err error) (string, string) { return v.Say(connection.Connection{}, err) },
	}}
	a := &everything{x, v}
	switch r.Method {
	case http.MethodPost:
		a.post()
	case http.MethodDelete:
		a.end()
	default:
		v.Deny(w, ErrNoStream)
	}
}

// everything is one request at the endpoint of all servers.
type everything struct {
	*exchange
	all VisitAll
}

func (a *everything) post() {
	if !a.read() || !a.belongs() {
		return
	}
	switch {
	case !a.m.Request():
		a.note()
	case a.m.Method == "ping" && a.version == "":
		a.finish(http.StatusOK, mcp.Reply(a.id(), []byte(`{}`)))
	case a.version != "" && mcp.Past(a.m.Method):
		a.lacks("the endpoint of all servers")
	case a.m.Method == "initialize", a.m.Method == "server/discover", a.m.Method == "tools/list":
		a.offer()
	case a.m.Method == "tools/call":
		a.call()
	case a.m.Method == "subscriptions/listen" && a.version != "":
		a.unheard() // there is nothing to hear of here
	default:
		a.lacks("the endpoint of all servers")
	}
}

// members are the connections, or none when the answer was written.
func (a *everything) members() ([]Member, bool) {
	found, err := a.service.Members(a.r.Context(), a.all.Holder)
	if err != nil {
		a.fail(err)
		return nil, false
	}
	return found, true
}

func (a *everything) offer() {
	members, ok := a.members()
	if !ok {
		return
	}
	known := mcp.Catalogue{Initialized: a.service.introduction(members)}
	if a.m.Method == "tools/list" {
		known.Tools = a.service.toolsOf(a.r.Context(), a.all.Holder, members)
	}
	result := known.Answer(a.m, a.version)
	if result == nil { // a cursor that nobody gave out
		a.finish(http.StatusOK, mcp.Failure(a.id(), mcp.CodeParams, onePage))
		return
	}
	a.finish(http.StatusOK, mcp.Reply(a.id(), result))
}

// introduction is the result of initialize: which server stands behind which
// beginning of a tool's name.
func (s *Service) introduction(members []Member) json.RawMessage {
	var text strings.Builder
	text.WriteString("Tools of several servers. A tool's name begins with where it belongs:")
	for _, m := range members {
		title := m.Server
		if server, ok := s.Catalogue.Server(m.Server); ok && server.DisplayName != "" {
			title = server.DisplayName
		}
		// What the account is called comes from elsewhere, and is no instruction.
		fmt.Fprintf(&text, "\n%s%s… is %s", m.Alias, between, title)
		if label := clip(m.DisplayLabel(), maxLabel); label != "" {
			fmt.Fprintf(&text, ", account %q", label)
		}
	}
	out, err := json.Marshal(map[string]any{
		"protocolVersion": mcp.Legacy[0], "capabilities": map[string]any{"tools": struct{}{}},
		"serverInfo":   map[string]string{"name": "lanyard", "title": "Lanyard", "version": "1"},
		"instructions": text.String(),
	})
	if err != nil {
		panic(err) // it is plain data
	}
	return out
}

// maxLabel bounds what a model is told of an account's name, in bytes.
const maxLabel = 64

// toolsOf is the list of all members' tools, under their names here.
func (s *Service) toolsOf(ctx context.Context, who Holder, members []Member) json.RawMessage {
	lists := make([][]json.RawMessage, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { lists[i] = s.toolsIn(ctx, who.Caller(m.ID), m.Connection) })
	}
	wg.Wait()
	seen, out := map[string]bool{}, []json.RawMessage{}
	for i, m := range members {
		for _, raw := range lists[i] {
			at, name := toolAt(raw)
			if name == "" || !m.Tools.Offers(name) || seen[m.ToolName(name)] {
				continue
			}
			seen[m.ToolName(name)] = true
			out = append(out, replaced(raw, at, m.ToolName(name)))
		}
	}
	list, err := json.Marshal(out)
	if err != nil {
		s.Logger.WarnContext(ctx, "the tools of all servers could not be listed", "user", who.User, "err", err)
		return json.RawMessage("[]")
	}
	return list
}

// call passes a call on to the server that the tool's name says.
func (a *everything) call() {
	members, ok := a.members()
	if !ok {
		return
	}
	at, name := nameIn(a.m.Raw, a.m.Params)
	m, tool, ok := a.service.find(a.r.Context(), a.all.Holder, members, name)
	if !ok {
		m, tool, ok = a.absent(members, name)
	}
	if name == "" || !ok {
		a.finish(http.StatusOK, mcp.Failure(a.id(), mcp.CodeParams, noTool(name)))
		return
	}
	message, err := mcp.Parse(replaced(a.m.Raw, at, tool))
	if err != nil {
		a.finish(http.StatusOK, mcp.Failure(a.id(), mcp.CodeInvalid, err.Error()))
		return
	}
	r := a.r.Clone(a.r.Context())
	if a.version != "" {
		r.Header.Set(mcp.NameHeader, mcp.EncodeHeader(tool))
	}
	refused := errMissing
	if m.ID != "" {
		_, refused = a.service.connection(r.Context(), a.all.Holder.Caller(m.ID), m.Key)
	}
	y := &exchange{service: a.service, r: r, reply: a.reply, m: message, version: a.version, session: a.session, Visit: Visit{
		Connection: m.Connection, Holder: a.Holder, Refused: refused, Deny: a.Deny, Challenge: a.Challenge,
		Say: func(err error) (string, string) { return a.all.Say(m.Connection, err) },
	}}
	y.appearing = func(ctx context.Context) (connection.Connection, error) { return a.connected(ctx, m.Server) }
	y.call()
}

// find is the member that a tool of this name belongs to, and its name there. A
// tool that its connection does not offer is none.
func (s *Service) find(ctx context.Context, who Holder, members []Member, name string) (Member, string, bool) {
	if stem, ok := cut(name); ok { // then it says no more than itself
		for _, m := range members {
			if begins := m.Alias + between; !strings.HasPrefix(name, begins) && !strings.HasPrefix(begins, stem) {
				continue
			}
			for _, raw := range s.toolsIn(ctx, who.Caller(m.ID), m.Connection) {
				if _, tool := toolAt(raw); tool != "" && m.ToolName(tool) == name {
					return m, tool, m.Tools.Offers(tool)
				}
			}
		}
	}
	for _, m := range members {
		tool, ok := strings.CutPrefix(name, m.Alias+between)
		if ok && m.ToolName(tool) == name {
			return m, tool, m.Tools.Offers(tool)
		}
	}
	return Member{}, "", false
}

// note passes a notification on to whichever server it may be for: to those that
// run. To all but one it says nothing. What a client was asked, it answers to one
// of them alone.
func (a *everything) note() {
	switch {
	case a.m.Response():
		a.answer()
	case a.m.Method == "notifications/cancelled":
		a.cancelPending()
		a.each(http.MethodPost)
	case a.m.Method != "notifications/initialized":
		a.each(http.MethodPost)
	}
	a.w.WriteHeader(http.StatusAccepted)
}

// answer passes on what the client answers to a server's question: to the only
// one that can have asked. Servers choose the ids of their questions, so where
// several serve each client by itself, any of them could have what was meant for
// another; then none has it.
func (a *everything) answer() {
	var asking []Member
	for _, m := range a.hosted() {
		if server, _ := a.service.Catalogue.Server(m.Server); server.Server.Clients != task.ClientsEach {
			continue
		}
		if up, _ := a.service.state(a.r.Context(), m.Connection); up {
			asking = append(asking, m)
		}
	}
	if len(asking) != 1 {
		a.service.Logger.InfoContext(a.r.Context(), "an answer to a server's question was not passed on", "user", a.all.Holder.User, "servers", len(asking))
		return
	}
	y := *a.exchange
	y.Connection = asking[0].Connection
	y.tell(http.MethodPost)
}

// end ends a session at the servers that run.
func (a *everything) end() {
	if a.modern() {
		a.Deny(a.w, ErrNoStream)
		return
	}
	if !a.resumes() {
		return
	}
	a.each(http.MethodDelete)
	a.service.departed.add(a.session.inner)
	a.w.WriteHeader(http.StatusNoContent)
}

// each sends the request to all members whose servers run, beside each other.
func (a *everything) each(method string) {
	var wg sync.WaitGroup
	for _, m := range a.hosted() {
		wg.Go(func() {
			y := *a.exchange
			y.Connection = m.Connection
			y.tell(method)
		})
	}
	wg.Wait()
}

// hosted are the members whose servers run in tasks of ours, if they run.
func (a *everything) hosted() []Member {
	members, err := a.service.Members(a.r.Context(), a.all.Holder)
	if err != nil {
		a.service.Logger.WarnContext(a.r.Context(), "a notification was not passed on", "user", a.all.Holder.User, "err", err)
		return nil
	}
	return slices.DeleteFunc(members, func(m Member) bool { return !a.service.hosted(m.Connection) })
}
