package host_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/presets"
)

// asker makes links, and keeps what was asked.
type asker struct {
	mu    sync.Mutex
	asked []flow.Question
	err   error
}

func (a *asker) Ask(_ context.Context, q flow.Question) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, q)
	return "https://lanyard.test/c/flo_1", a.err
}

func (a *asker) last() flow.Question {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asked) == 0 {
		return flow.Question{}
	}
	return a.asked[len(a.asked)-1]
}

// Capabilities of clients.
const (
	showsLinks = `{"elicitation":{"url":{}}}`
	showsForms = `{"elicitation":{}}`
)

// request is one of the modern era by a client with these capabilities.
func request(id int, capabilities, method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":%s}%s}}`,
		id, method, capabilities, params)
}

const whoami = `,"name":"whoami","arguments":{"text":"<once> & again"}`

// retry is request with what its client answers to the question.
func retry(id int, params, state, action string) string {
	more := fmt.Sprintf(`,"requestState":%q`, state)
	if action != "" {
		more += fmt.Sprintf(`,"inputResponses":{"connect":{"action":%q}}`, action)
	}
	return request(id, showsLinks, "tools/call", params+more)
}

// answer is one that asks, or a tool's.
type answer struct {
	status int
	header http.Header
	raw    string
	ID     json.RawMessage
	Error  *struct {
		Code    int
		Message string
		Data    struct{ Elicitations []map[string]string }
	}
	Result struct {
		ResultType    string
		RequestState  string
		InputRequests map[string]struct {
			Method string
			Params map[string]string
		}
		IsError bool
		Content []struct{ Text string }
		Meta    map[string][]string `json:"_meta"`
	}
}

func (a answer) asks() bool { return a.Result.ResultType == "input_required" }

// challenge is the one in the result's _meta.
func (a answer) challenge() string { return strings.Join(a.Result.Meta["mcp/www_authenticate"], "|") }

func (a answer) text() string {
	var all []string
	for _, c := range a.Result.Content {
		all = append(all, c.Text)
	}
	return strings.Join(all, "|")
}

// visit serves a request as package web does once the bearer was looked at.
func (w *world) visit(k connection.Key, who host.Holder, body string, header ...string) answer {
	w.t.Helper()
	c, err := w.store.Get(context.Background(), k)
	if err != nil {
		w.t.Error(err)
	}
	var refused error
	switch c.Status {
	case connection.ReconnectNeeded:
		_, _, refused = w.service.Bearer(context.Background(), w.mint(c).Token, c.Tenant, c.Server)
	}
	return w.serveOne(body, func(rw http.ResponseWriter, r *http.Request) {
		w.service.Serve(rw, r, host.Visit{Connection: c, Holder: who, Refused: refused, Challenge: testChallenge,
			Say:  func(err error) (string, string) { return err.Error() + " https://lanyard.test/page", "code" },
			Deny: func(rw http.ResponseWriter, err error) { http.Error(rw, err.Error(), http.StatusMethodNotAllowed) }})
	}, header...)
}

func testChallenge(code, _ string, scopes []string) string {
	return "Bearer " + code + " [" + strings.Join(scopes, " ") + "]"
}

// visitAll is visit at the endpoint of all servers.
func (w *world) visitAll(who host.Holder, body string, header ...string) answer {
	w.t.Helper()
	return w.serveOne(body, func(rw http.ResponseWriter, r *http.Request) {
		w.service.ServeAll(rw, r, host.VisitAll{Holder: who, Challenge: testChallenge,
			Say:  func(_ connection.Connection, err error) (string, string) { return err.Error(), "code" },
			Deny: func(rw http.ResponseWriter, err error) { http.Error(rw, err.Error(), http.StatusMethodNotAllowed) }})
	}, header...)
}

func (w *world) serveOne(body string, serve func(http.ResponseWriter, *http.Request), header ...string) answer {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/mcp/notes", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if m, err := mcp.Parse([]byte(body)); err == nil && strings.Contains(body, mcp.MetaVersion) {
		r.Header.Set(mcp.VersionHeader, mcp.Modern)
		r.Header.Set(mcp.MethodHeader, m.Method)
		for _, field := range []string{"name", "uri"} {
			var value string
			if at, err := mcp.Lookup(m.Raw, m.Params, field); err == nil && at.Present() && json.Unmarshal(m.Bytes(at), &value) == nil {
				r.Header.Set(mcp.NameHeader, mcp.EncodeHeader(value))
			}
		}
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	serve(rec, r)
	a := answer{status: rec.Code, header: rec.Header(), raw: rec.Body.String()}
	if err := json.Unmarshal([]byte(message(a.raw)), &a); err != nil && rec.Code != http.StatusMethodNotAllowed {
		w.t.Errorf("%d %s: %v", rec.Code, rec.Body, err)
	}
	return a
}

func holderOf(c connection.Connection) host.Holder {
	return host.Holder{Tenant: c.Tenant, User: c.UserID, Client: "mct_1", Server: c.Server}
}

// grantAnew is what the end of a flow does to the row.
func (w *world) grantAnew(c connection.Connection, scopes ...string) {
	_, err := w.store.Update(context.Background(), c.Key, func(c *connection.Connection) error {
		c.Status, c.ConnectedAt, c.ScopesLost = connection.Connected, w.clock.now(), nil
		c.Scopes, c.ScopesAsked = scopes, scopes
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
}

// newAsked is a world with an asker and one server, which keeps what it is sent
// and answers as it is told.
func newAsked(t *testing.T, says string) (*world, *asker, func() []string) {
	t.Helper()
	scopes := []presets.OAuthScope{{Scope: "notes.read"}, {Scope: "notes.write"}, {Scope: "notes.user", Param: "user_scope"}}
	notes := knownServer("notes", `{"tools":{}}`)
	notes.OAuthScopes = scopes
	far := presets.Server{Name: "far", DisplayName: "Far", AuthType: presets.TypeOAuth, OAuthScopes: scopes, Server: presets.Program{Registry: presets.RegistryRemote}}
	o := &orders{make(chan host.Start, 64), make(chan string, 64)}
	w := newWorld(t, o, notes, far)
	w.service.OnlyForCalls = true
	a := &asker{}
	w.service.Asker = a
	var mu sync.Mutex
	var sent []string
	p := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m, err := mcp.Parse(body)
		if err != nil || !m.Request() {
			return
		}
		mu.Lock()
		sent = append(sent, string(body))
		mu.Unlock()
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(rw, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.Bytes(m.ID), says)
	})
	go func() {
		for s := range o.started {
			p.play(w, s)
		}
	}()
	t.Cleanup(func() { close(o.started) })
	return w, a, func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(sent) }
}

const fine = `{"content":[{"type":"text","text":"done"}],"resultType":"complete"}`

// TestAskModern: a modern client is asked by the result, and its call, made again
// once its person has connected, reaches the server as if nothing had been.
func TestAskModern(t *testing.T) {
	t.Parallel()
	w, a, sent := newAsked(t, fine)
	c := w.with(w.connect("ada", "notes"), connection.ReconnectNeeded)
	got := w.visit(c.Key, holderOf(c), request(7, showsLinks, "tools/call", whoami))
	ask := got.Result.InputRequests["connect"]
	if !got.asks() || string(got.ID) != "7" || ask.Method != "elicitation/create" || ask.Params["mode"] != "url" || ask.Params["url"] != "https://lanyard.test/c/flo_1" || ask.Params["message"] == "" || len(ask.Params) != 3 {
		t.Fatalf("%s", got.raw)
	}
	if q := a.last(); q.Tenant != "default" || q.UserID != "ada" || q.Server != "notes" || q.ConnectionID != c.ID || len(q.Scopes) != 0 || len(q.Seed) < 32 {
		t.Errorf("asked %+v", q)
	}
	if strings.Contains(got.raw, "ada") || strings.Contains(got.Result.RequestState, c.ID) {
		t.Errorf("it tells who is asked: %s", got.raw)
	}
	w.grantAnew(c)
	got = w.visit(c.Key, holderOf(c), retry(8, whoami, got.Result.RequestState, "accept"))
	if got.text() != "done" || string(got.ID) != "8" {
		t.Fatalf("%s", got.raw)
	}
	all := sent()
	if len(all) != 1 || strings.Contains(all[0], "requestState") || strings.Contains(all[0], "inputResponses") || !strings.Contains(all[0], `"text":"<once> & again"`) || !strings.Contains(all[0], `"id":8`) {
		t.Errorf("the server had %v", all)
	}
	// Without us between, a server's own state passes.
	got = w.visit(c.Key, holderOf(c), retry(9, whoami, "the server's own", "accept"))
	if all = sent(); got.text() != "done" || len(all) != 2 || !strings.Contains(all[1], "the server's own") || !strings.Contains(all[1], "inputResponses") {
		t.Errorf("%s: %v", got.raw, all)
	}
}

// TestAskAnswers: what the person says, and what nobody said.
func TestAskAnswers(t *testing.T) {
	t.Parallel()
	w, _, sent := newAsked(t, fine)
	c := w.with(w.connect("ada", "notes"), connection.ReconnectNeeded)
	state := w.visit(c.Key, holderOf(c), request(7, showsLinks, "tools/call", whoami)).Result.RequestState
	for _, action := range []string{"decline", "cancel", "else"} {
		if got := w.visit(c.Key, holderOf(c), retry(8, whoami, state, action)); !got.Result.IsError || got.Result.ResultType != "complete" || !strings.Contains(got.text(), "declined") {
			t.Errorf("%s: %s", action, got.raw)
		}
	}
	if got := w.visit(c.Key, holderOf(c), retry(9, whoami, state, "")); !got.asks() {
		t.Errorf("without an answer: %s", got.raw)
	}
	w.grantAnew(c)
	if got := w.visit(c.Key, holderOf(c), retry(10, whoami, state, "")); got.text() != "done" || len(sent()) != 1 {
		t.Errorf("connected meanwhile: %s, %v", got.raw, sent())
	}
}

// TestAskEras: each client is asked in the way that it has declared, and no
// other.
func TestAskEras(t *testing.T) {
	t.Parallel()
	w, a, sent := newAsked(t, fine)
	c := w.with(w.connect("ada", "notes"), connection.ReconnectNeeded)
	legacy := func(capabilities string) []string {
		got := w.visit(c.Key, holderOf(c), strings.Replace(initialize, `"capabilities":{}`, `"capabilities":`+capabilities, 1))
		return []string{mcp.SessionHeader, got.header.Get(mcp.SessionHeader)}
	}
	call := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"whoami"}}`
	for name, test := range map[string]struct {
		body   string
		header []string
		want   func(answer) bool
	}{
		"legacy, links": {call, legacy(showsLinks), func(g answer) bool {
			return g.status == 200 && g.Error != nil && g.Error.Code == -32042 && len(g.Error.Data.Elicitations) == 1 &&
				g.Error.Data.Elicitations[0]["mode"] == "url" && g.Error.Data.Elicitations[0]["url"] == "https://lanyard.test/c/flo_1" &&
				g.Error.Data.Elicitations[0]["elicitationId"] == "flo_1" && g.Error.Data.Elicitations[0]["message"] != ""
		}},
		"legacy, forms":   {call, legacy(showsForms), asText},
		"legacy, form":    {call, legacy(`{"elicitation":{"form":{}}}`), asText},
		"legacy, nothing": {call, legacy(`{}`), asText},
		"modern, forms":   {request(7, showsForms, "tools/call", whoami), nil, asText},
		"modern, nothing": {request(7, `{}`, "tools/call", whoami), nil, asText},
		"modern, a lie":   {request(7, `{"elicitation":{"url":true}}`, "tools/call", whoami), nil, asText},
		"a prompt":        {request(7, showsLinks, "prompts/get", `,"name":"p"`), nil, answer.asks},
		"a resource":      {request(7, showsLinks, "resources/read", `,"uri":"notes://1"`), nil, answer.asks},
		"a prompt, no links": {request(7, `{}`, "prompts/get", `,"name":"p"`), nil, func(g answer) bool {
			return g.Error != nil && g.Error.Code == mcp.CodeServer && strings.Contains(g.Error.Message, "https://lanyard.test/")
		}},
		"what cannot be asked for": {request(7, showsLinks, "completion/complete", ""), nil, func(g answer) bool {
			return g.Error != nil && g.Error.Code == mcp.CodeServer && len(g.Error.Data.Elicitations) == 0
		}},
	} {
		if got := w.visit(c.Key, holderOf(c), test.body, test.header...); !test.want(got) {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	a.err = flow.ErrNoClient
	if got := w.visit(c.Key, holderOf(c), request(7, showsLinks, "tools/call", whoami)); !got.Result.IsError || !strings.Contains(got.text(), "https://lanyard.test/page") {
		t.Errorf("where there is no link: %s", got.raw)
	}
	if all := sent(); len(all) != 0 {
		t.Errorf("the server had %v", all)
	}
}

// asText: the result of a failed call, with the link and the challenge.
func asText(g answer) bool {
	return g.status == 200 && g.Error == nil && g.Result.IsError && strings.Contains(g.text(), "https://lanyard.test/c/flo_1") &&
		g.challenge() == "Bearer invalid_token []"
}

// TestAskForged: a requestState that was altered, that is another's or another
// request's, or that is too old, is refused in MCP's words, and nothing passes.
func TestAskForged(t *testing.T) {
	t.Parallel()
	w, _, sent := newAsked(t, fine)
	c := w.with(w.connect("ada", "notes"), connection.ReconnectNeeded)
	state := w.visit(c.Key, holderOf(c), request(7, showsLinks, "tools/call", whoami)).Result.RequestState
	second, grace := w.connect("ada", "notes"), w.connect("grace", "notes")
	otherTenant := c
	otherTenant.Tenant, otherTenant.Status = "other", connection.Connected
	if err := w.store.Create(t.Context(), otherTenant); err != nil {
		t.Fatal(err)
	}
	w.grantAnew(c) // whatever passed would reach the server
	refused := func(name string, k connection.Key, who host.Holder, body string) {
		t.Helper()
		got := w.visit(k, who, body)
		if got.status != http.StatusBadRequest || got.Error == nil || got.Error.Code != mcp.CodeParams || !strings.Contains(got.Error.Message, "requestState") {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	prefix, sealed, _ := strings.Cut(state, ".")
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		flipped := slices.Clone(raw)
		flipped[i] ^= 1 << (i % 8)
		refused(fmt.Sprint("byte ", i), c.Key, holderOf(c), retry(8, whoami, prefix+"."+base64.RawURLEncoding.EncodeToString(flipped), "accept"))
	}
	for name, s := range map[string]string{"nothing": "", "shorter": sealed[:len(sealed)-2], "longer": sealed + "AAAA", "padded": sealed + "=", "made up": "Y2FuYXJ5", "a session": w.sessionOf(c)} {
		refused(name, c.Key, holderOf(c), retry(8, whoami, prefix+"."+s, "accept"))
	}
	refused("another connection", second.Key, holderOf(second), retry(8, whoami, state, "accept"))
	refused("another user", grace.Key, holderOf(grace), retry(8, whoami, state, "accept"))
	refused("another tenant", otherTenant.Key, holderOf(otherTenant), retry(8, whoami, state, "accept"))
	client := holderOf(c)
	client.Client = "mct_2"
	refused("another client", c.Key, client, retry(8, whoami, state, "accept"))
	refused("another tool", c.Key, holderOf(c), retry(8, `,"name":"delete","arguments":{"text":"<once> & again"}`, state, "accept"))
	refused("other arguments", c.Key, holderOf(c), retry(8, `,"name":"whoami","arguments":{"text":"twice"}`, state, "accept"))
	refused("another method", c.Key, holderOf(c), strings.Replace(retry(8, whoami, state, "accept"), "tools/call", "prompts/get", 1))
	refused("an answer of another kind", c.Key, holderOf(c), strings.Replace(retry(8, whoami, state, "accept"), `{"action":"accept"}`, `{"action":{}}`, 1))
	refused("two answers", c.Key, holderOf(c), strings.Replace(retry(8, whoami, state, "accept"), `"inputResponses"`, `"inputResponses":{},"inputResponses"`, 1))
	refused("two states", c.Key, holderOf(c), strings.Replace(retry(8, whoami, state, "accept"), `"requestState"`, `"requestState":"lanyard1.x","requestState"`, 1))
	w.clock.advance(10*time.Minute + time.Second)
	refused("too old", c.Key, holderOf(c), retry(8, whoami, state, "accept"))
	if all := sent(); len(all) != 0 {
		t.Errorf("the server had %v", all)
	}
}

func (w *world) sessionOf(c connection.Connection) string {
	return w.visit(c.Key, holderOf(c), initialize).header.Get(mcp.SessionHeader)
}

// TestAskWaits: who accepts is waited for, and asked again a few times; then the
// model is told.
func TestAskWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world, _ *orders) {
		w.service.Asker = &asker{}
		c := w.with(w.connect("ada", "notes"), connection.ReconnectNeeded)
		got := w.visit(c.Key, holderOf(c), request(1, showsLinks, "tools/call", whoami))
		for i := range 5 {
			if !got.asks() {
				t.Fatalf("asked %d times: %s", i, got.raw)
			}
			begun := time.Now()
			got = w.visit(c.Key, holderOf(c), retry(2+i, whoami, got.Result.RequestState, "accept"))
			if took := time.Since(begun); took < 44*time.Second || took > 46*time.Second || strings.Count(got.raw, ": keep-alive") != 2 {
				t.Errorf("it waited %v: %s", took, got.raw)
			}
		}
		if !asText(got) {
			t.Errorf("at last: %s", got.raw)
		}

		// Who connects while the call waits is served; the server does not come up in
		// this test, so that is what is said.
		state := w.visit(c.Key, holderOf(c), request(1, showsLinks, "tools/call", whoami)).Result.RequestState
		go func() {
			time.Sleep(20 * time.Second)
			w.grantAnew(c)
		}()
		begun := time.Now()
		got = w.visit(c.Key, holderOf(c), retry(2, whoami, state, "accept"))
		if took := time.Since(begun); took < 65*time.Second || !strings.Contains(got.text(), "still starting") {
			t.Errorf("after %v: %s", took, got.raw)
		}
		synctest.Wait()
	})
}

// TestAskAll: at the address of all servers, the tool of a server that is not
// connected any more asks for it, and the call reaches what was connected then.
func TestAskAll(t *testing.T) {
	t.Parallel()
	w, a, sent := newAsked(t, fine)
	who := host.Holder{Tenant: "default", User: "ada", Client: "mct_all"}
	call := `,"name":"notes-ab12__whoami","arguments":{}`
	got := w.visitAll(who, request(7, showsLinks, "tools/call", call))
	if q := a.last(); !got.asks() || q.Server != "notes" || q.ConnectionID != "" || q.UserID != "ada" {
		t.Fatalf("%s, asked %+v", got.raw, q)
	}
	narrow := who
	narrow.Servers = []string{"far"}
	for name, test := range map[string]struct {
		who  host.Holder
		tool string
	}{"not for this bearer": {narrow, "notes__whoami"}, "no server": {who, "nothing__whoami"}, "no tool": {who, "notes__"}, "no name": {who, "whoami"}} {
		if got := w.visitAll(test.who, request(7, showsLinks, "tools/call", fmt.Sprintf(`,"name":%q`, test.tool))); got.asks() || got.Error == nil || got.Error.Code != mcp.CodeParams {
			t.Errorf("%s: %s", name, got.raw)
		}
	}
	c := w.connect("ada", "notes") // under another name than before
	w.grantAnew(c)
	grace := who
	grace.User = "grace"
	if got := w.visitAll(grace, request(8, showsLinks, "tools/call", call+fmt.Sprintf(`,"requestState":%q,"inputResponses":{"connect":{"action":"accept"}}`, got.Result.RequestState))); got.status != http.StatusBadRequest {
		t.Errorf("another user's state: %d %s", got.status, got.raw)
	}
	elsewhere := w.connect("ada", "far")
	if got := w.visitAll(who, request(8, showsLinks, "tools/call", strings.Replace(call, "notes-ab12", "far", 1)+fmt.Sprintf(`,"requestState":%q,"inputResponses":{"connect":{"action":"accept"}}`, got.Result.RequestState))); got.status != http.StatusBadRequest {
		t.Errorf("another server's state: %d %s", got.status, got.raw)
	}
	w.with(elsewhere, connection.Deleting)
	got = w.visitAll(who, request(8, showsLinks, "tools/call", call+fmt.Sprintf(`,"requestState":%q,"inputResponses":{"connect":{"action":"accept"}}`, got.Result.RequestState)))
	if all := sent(); got.text() != "done" || len(all) != 1 || !strings.Contains(all[0], `"name":"whoami"`) || strings.Contains(all[0], "requestState") {
		t.Errorf("%s: %v", got.raw, all)
	}
	if got := w.visitAll(who, request(9, showsLinks, "tools/call", call)); got.Error == nil || got.Error.Code != mcp.CodeParams {
		t.Errorf("an old name, without being asked: %s", got.raw)
	}
	// One that has died is asked for by its own connection.
	w.with(c, connection.ReconnectNeeded)
	if got := w.visitAll(who, request(9, showsLinks, "tools/call", `,"name":"notes__whoami"`)); !got.asks() || a.last().ConnectionID != c.ID {
		t.Errorf("%s, asked %+v", got.raw, a.last())
	}
	if got := w.visitAll(who, request(9, `{}`, "tools/call", `,"name":"notes__whoami"`)); !asText(got) {
		t.Errorf("%s", got.raw)
	}
}

// TestAskScopes: a remote server that wants more scopes has its person asked for
// those, or the client that signed in challenged.
func TestAskScopes(t *testing.T) {
	t.Parallel()
	far := newFar(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="notes.write"`)
		rw.WriteHeader(http.StatusForbidden)
	}))
	w, a, _ := newAsked(t, fine)
	catalogue := w.service.Catalogue.(catalogue)
	server := catalogue["far"]
	server.Server.URL = far.URL + "/mcp"
	catalogue["far"] = server
	w.service.Tokens, w.service.AllowLoopback, w.service.StepUp = &grants{store: w.store}, true, true
	c := w.connect("ada", "far")
	w.grantAnew(c, "notes.read")
	token := holderOf(c)
	granted := func(scopes ...string) host.Holder {
		who := holderOf(c)
		who.Client, who.Application, who.Scopes = "oauth:gnt_1", "https://client.test/", scopes
		return who
	}
	got := w.visit(c.Key, granted("notes.read"), request(7, showsLinks, "tools/call", whoami))
	if q := a.last(); !got.asks() || !slices.Equal(q.Scopes, []string{"notes.write"}) || q.ConnectionID != c.ID || !strings.Contains(got.Result.InputRequests["connect"].Params["message"], "notes.write") {
		t.Errorf("%s, asked %+v", got.raw, q)
	}
	// The connection works as before: only another grant is an answer.
	w.clock.advance(time.Minute)
	w.grantAnew(c, "notes.read", "notes.write")
	if again := w.visit(c.Key, granted("notes.read"), retry(8, whoami, got.Result.RequestState, "accept")); !again.asks() {
		t.Errorf("the server wants still more: %s", again.raw)
	}
	const more = "Bearer insufficient_scope [notes.read notes.write]"
	if got := w.visit(c.Key, granted("notes.read"), request(7, `{}`, "tools/call", whoami)); got.status != http.StatusForbidden || got.header.Get("WWW-Authenticate") != more || got.Error == nil || string(got.ID) != "7" {
		t.Errorf("step-up: %d %v %s", got.status, got.header, got.raw)
	}
	told := func(name string, who host.Holder, challenge string) {
		t.Helper()
		got := w.visit(c.Key, who, request(7, `{}`, "tools/call", whoami))
		if got.status != 200 || got.header.Get("WWW-Authenticate") != "" || !got.Result.IsError || !strings.Contains(got.text(), "/c/flo_1") || got.challenge() != challenge {
			t.Errorf("%s: %d %v %s", name, got.status, got.header, got.raw)
		}
	}
	told("an MCP token", token, "Bearer insufficient_scope [notes.write]")
	told("granted already", granted("notes.read", "notes.write"), more)
	w.service.StepUp = false
	told("where the header does not pass", granted("notes.read"), more)
	w.service.StepUp = true
	all := granted("notes.read")
	all.Server = ""
	if got := w.visitAll(all, request(7, `{}`, "tools/call", `,"name":"far__whoami"`)); got.status != 200 || !got.Result.IsError || got.challenge() != more {
		t.Errorf("all servers: %d %s", got.status, got.raw)
	}
	server.OAuthScopes = server.OAuthScopes[:1]
	catalogue["far"] = server
	told("a scope that nobody can sign in for", granted("notes.read"), more)
}

// TestAskAfterFailure: a server that failed for want of what its connection is
// known to lack is a reason to ask; its words alone are none.
func TestAskAfterFailure(t *testing.T) {
	t.Parallel()
	const refusal = `{"content":[{"type":"text","text":"Error: insufficient permission to write"}],"isError":true,"_meta":{"own":["x"]},"resultType":"complete"}`
	w, a, _ := newAsked(t, refusal)
	c := w.connect("ada", "notes")
	w.grantAnew(c, "notes.read")
	if got := w.visit(c.Key, holderOf(c), request(7, showsLinks, "tools/call", whoami)); got.asks() || got.challenge() != "" || len(a.asked) != 0 {
		t.Errorf("nothing is lacking: %s", got.raw)
	}
	lost := func(c *connection.Connection) error { c.ScopesLost = []string{"notes.write"}; return nil }
	if _, err := w.store.Update(t.Context(), c.Key, lost); err != nil {
		t.Fatal(err)
	}
	if got := w.visit(c.Key, holderOf(c), request(7, showsLinks, "tools/call", whoami)); !got.asks() || !slices.Equal(a.last().Scopes, []string{"notes.write"}) {
		t.Errorf("a lost scope: %s", got.raw)
	}
	got := w.visit(c.Key, holderOf(c), request(7, `{}`, "tools/call", whoami))
	if !got.Result.IsError || !strings.HasPrefix(got.text(), "Error: insufficient permission to write|") || !strings.Contains(got.text(), "/c/flo_1") ||
		got.challenge() != "Bearer insufficient_scope [notes.write]" || got.Result.Meta["own"] == nil {
		t.Errorf("its own words, and the link: %s", got.raw)
	}
	// The grant that died during the call.
	w.with(c, connection.Connected)
	_, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error {
		c.ScopesLost, c.Status = nil, connection.ReconnectNeeded
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	alive := c
	alive.Status = connection.Connected
	got = w.serveOne(request(7, showsLinks, "tools/call", whoami), func(rw http.ResponseWriter, r *http.Request) {
		w.service.Serve(rw, r, host.Visit{Connection: alive, Holder: holderOf(c), Challenge: testChallenge})
	})
	if !got.asks() || len(a.last().Scopes) != 0 {
		t.Errorf("it died meanwhile: %s", got.raw)
	}
}

// TestAskAfterOther: what is wrong in a server's own affairs stays its own.
func TestAskAfterOther(t *testing.T) {
	t.Parallel()
	const failure = `{"content":[{"type":"text","text":"no such note"}],"isError":true,"resultType":"complete"}`
	w, a, _ := newAsked(t, failure)
	c := w.connect("ada", "notes")
	w.grantAnew(c, "notes.read")
	if _, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error { c.ScopesLost = []string{"notes.write"}; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := w.visit(c.Key, holderOf(c), request(7, showsLinks, "tools/call", whoami)); got.text() != "no such note" || len(a.asked) != 0 {
		t.Errorf("%s", got.raw)
	}
}
