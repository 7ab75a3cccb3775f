package host_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// TestFromTokenToTool goes the whole way: an MCP token, the endpoint, a real
// runner with a real process, and back.
func TestFromTokenToTool(t *testing.T) {
	t.Parallel()
	w, l := newRunners(t)
	ada, grace := w.connect("ada", "notes"), w.connect("grace", "notes")
	for _, c := range []connection.Connection{ada, grace, ada} {
		answer := w.call(w.mint(c), "hello")
		if !strings.Contains(answer, "whoami "+tokenOf(c.Key)+" hello") {
			t.Errorf("the server of %s answers %s", c.UserID, answer)
		}
	}
	if starts, alive := l.launched(); starts != 2 || alive != 2 {
		t.Errorf("%d starts, %d alive, want 2 and 2: one task a connection", starts, alive)
	}
}

func TestToolsFromThePage(t *testing.T) {
	t.Parallel()
	w, _ := newRunners(t)
	c := w.connect("ada", "notes")
	if _, ok := w.service.KnownTools(t.Context(), c); ok {
		t.Error("tools are known before the server ran")
	}
	found, err := w.service.Tools(t.Context(), page("ada"), c.Key)
	if err != nil || len(found) != 1 || found[0].Name != "whoami" {
		t.Fatalf("tools %v, %v", found, err)
	}
	result, err := w.service.CallTool(t.Context(), page("ada"), c.Key, "whoami", []byte(`{"text":"x"}`))
	if err != nil || len(result.Content) != 1 {
		t.Fatalf("call: %v, %v", result, err)
	}
	_, err = w.service.Tools(t.Context(), page("grace"), c.Key)
	wantErr(t, "somebody else's tools", err, connection.ErrNotFound)
	_, err = w.service.CallTool(t.Context(), page("grace"), c.Key, "whoami", nil)
	wantErr(t, "somebody else's tool", err, connection.ErrNotFound)
	_, err = w.service.Tools(t.Context(), vault.Caller{Tenant: "other", Actor: "api_key"}, c.Key)
	wantErr(t, "another tenant's tools", err, connection.ErrNotFound)
}

func TestBearer(t *testing.T) {
	t.Parallel()
	w, _ := newOrders(t)
	ctx := t.Context()
	c := w.connect("ada", "notes")
	m := w.mint(c)
	if m.URL != "https://lanyard.test/mcp/notes" || !strings.HasPrefix(m.Token.Reveal(), "lyt_") {
		t.Errorf("minted %s %v", m.URL, m.ID)
	}
	got, who, err := w.service.Bearer(ctx, m.Token, "default", "notes")
	if err != nil || got.ID != c.ID || who.User != "ada" || who.Client != m.ID || who.Tenant != "default" {
		t.Fatalf("bearer: %s, %+v, %v", got.ID, who, err)
	}

	revoked := w.mint(c)
	if err := w.store.DeleteMCPToken(ctx, c.Key, revoked.ID); err != nil {
		t.Fatal(err)
	}
	gone := w.connect("ada", "notes")
	ofGone := w.mint(gone)
	if err := w.store.Delete(ctx, gone.Key, func(connection.Connection) error { return nil }); err != nil {
		t.Fatal(err)
	}
	deleting := w.mint(w.with(w.connect("ada", "notes"), connection.Connected))
	w.with(connection.Connection{Key: deleting.Connection}, connection.Deleting)
	// The token's own audience counts, not only its connection's server.
	if err := w.store.PutMCPToken(ctx, host.MCPToken{ID: "mct_mail", Hash: token.Hash("lyt_mail"), Connection: c.Key, UserID: "ada", Server: "mail",
		ExpiresAt: w.clock.now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	short, err := w.service.Mint(ctx, host.MintRequest{Caller: page("ada"), Connection: c.Key, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	w.clock.advance(2 * time.Minute)
	for name, test := range map[string]struct {
		bearer token.Secret
		server string
	}{
		"for another server":      {m.Token, "mail"},
		"for a server that isn't": {m.Token, "nothing"},
		"made for another one":    {"lyt_mail", "notes"},
		"none":                    {"", "notes"},
		"made up":                 {"lyt_made-up", "notes"},
		"its own hash":            {token.Secret(m.Hash), "notes"},
		"its id":                  {token.Secret(m.ID), "notes"},
		"revoked":                 {revoked.Token, "notes"},
		"expired":                 {short.Token, "notes"},
		"connection gone":         {ofGone.Token, "notes"},
		"connection deleting":     {deleting.Token, "notes"},
	} {
		_, _, err := w.service.Bearer(ctx, test.bearer, "default", test.server)
		wantErr(t, name, err, host.ErrNoToken)
	}

	w.with(c, connection.ReconnectNeeded)
	_, _, err = w.service.Bearer(ctx, m.Token, "default", "notes")
	wantErr(t, "reconnect needed", err, refresh.ErrReconnect)
	w.with(c, connection.Pending)
	_, _, err = w.service.Bearer(ctx, m.Token, "default", "notes")
	wantErr(t, "pending", err, refresh.ErrPending)
	wantErr(t, "pending", err, host.ErrNotConnected)
}

// with sets the status of the connection.
func (w *world) with(c connection.Connection, status connection.Status) connection.Connection {
	w.t.Helper()
	c, err := w.store.Update(w.t.Context(), c.Key, func(c *connection.Connection) error {
		c.Status = status
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func TestMint(t *testing.T) {
	t.Parallel()
	w, _ := newOrders(t)
	ctx := t.Context()
	c, other := w.connect("ada", "notes"), w.connect("ada", "notes")
	for name, who := range map[string]vault.Caller{
		"another user":       page("grace"),
		"another tenant":     {Tenant: "other", Actor: "api_key"},
		"another connection": {Tenant: "default", Connection: other.ID, Actor: "task:x"},
		"nobody":             {Tenant: "default"},
	} {
		_, err := w.service.Mint(ctx, host.MintRequest{Caller: who, Connection: c.Key})
		wantErr(t, name, err, connection.ErrNotFound)
	}
	for asked, want := range map[time.Duration]time.Duration{
		0: host.DefaultTokenTTL, time.Hour: time.Hour, 10 * 365 * 24 * time.Hour: host.MaxTokenTTL,
	} {
		m, err := w.service.Mint(ctx, host.MintRequest{Caller: page("ada"), Connection: c.Key, TTL: asked})
		if err != nil || m.ExpiresAt.Sub(m.CreatedAt) != want {
			t.Errorf("asked %v: lives %v, %v", asked, m.ExpiresAt.Sub(m.CreatedAt), err)
		}
	}
	stored, err := w.store.MCPTokens(ctx, c.Key)
	if err != nil || len(stored) != 3 {
		t.Fatalf("%d tokens stored, %v", len(stored), err)
	}

	seeded := host.MintRequest{Caller: page("ada"), Connection: c.Key, Seed: []byte("one request")}
	first, err := w.service.Mint(ctx, seeded)
	again, err2 := w.service.Mint(ctx, seeded)
	if err != nil || err2 != nil || first.Token != again.Token || first.ID != again.ID {
		t.Errorf("a repeated request got another token: %v %v", err, err2)
	}
	seeded.Connection = other.Key
	if m, err := w.service.Mint(ctx, seeded); err == nil {
		t.Errorf("the seed of one connection's token made %s for another", m.ID)
	}
}

// TestWhatIsOursIsKept: what a client proves itself to us with never reaches the
// task, nor what only we may say to it, and the task cannot set our cookies.
func TestWhatIsOursIsKept(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	m := w.mint(w.connect("ada", "notes"))
	seen := make(chan *http.Request, 1)
	task := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen <- r
		rw.Header().Set("Set-Cookie", "lanyard-session=stolen; Path=/")
		rw.Header().Set("Mcp-Session-Id", "s1")
		rw.Header().Set("Access-Control-Allow-Origin", "*")
		_, _ = io.WriteString(rw, "answered")
	})
	go func() { task.play(w, o.next(t)) }()
	resp, body := w.post(m, call, "Cookie", "lanyard-session=canary-cookie", "Origin", "https://lanyard.test", "Referer", "https://lanyard.test/canary",
		"Forwarded", "for=1.2.3.4", "X-Forwarded-For", "1.2.3.4", "Proxy-Authorization", "canary", "Mcp-Session-Id", "canary", "Mcp-Param-Region", "eu",
		"Lanyard-Client", "canary", "LANYARD-SESSION", "canary", "Lanyard_Client", "canary")
	if body != "answered" {
		t.Fatalf("%s %s", resp.Status, body)
	}
	for _, name := range []string{"Set-Cookie", "Mcp-Session-Id", "Access-Control-Allow-Origin"} {
		if got := resp.Header.Values(name); len(got) > 0 {
			t.Errorf("the task set %s: %v", name, got)
		}
	}
	r := <-seen
	if got := r.Header.Get("Authorization"); got != "Bearer "+task.claim.Bearer.Reveal() || strings.Contains(got, m.Token.Reveal()) {
		t.Error("the task did not get its own bearer, and nothing else")
	}
	for name, values := range r.Header {
		if strings.Contains(strings.Join(values, " "), "canary") || strings.Contains(strings.Join(values, " "), "1.2.3.4") {
			t.Errorf("the task got %s: %v", name, values)
		}
	}
	for name, want := range map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "whoami", "Mcp-Param-Region": "eu",
		"Lanyard-Client": m.ID, "Lanyard-Session": "", "Mcp-Session-Id": ""} {
		if got := r.Header.Values(name); strings.Join(got, ",") != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
	if got, _ := io.ReadAll(r.Body); string(got) != call || r.URL.Path != "/mcp" {
		t.Errorf("%s, body %s", r.URL, got)
	}
}

// TestStreamsAreNotHeldBack: an event reaches the client before the next one is
// written, and a client that leaves ends the request at the task.
func TestStreamsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	m := w.mint(w.connect("ada", "notes"))
	proceed, left := make(chan bool), make(chan bool)
	task := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: one\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-proceed
		_, _ = io.WriteString(rw, "data: two\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		close(left)
	})
	go func() { task.play(w, o.next(t)) }()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	resp, err := w.send(ctx, http.MethodPost, m, call)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, len("data: one\n\n"))
	for _, want := range []string{"data: one\n\n", "data: two\n\n"} {
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != want {
			t.Fatalf("%q, %v, want %q", buf, err, want)
		}
		if want == "data: one\n\n" {
			proceed <- true
		}
	}
	leave()
	select {
	case <-left:
	case <-time.After(time.Minute):
		t.Error("the task never heard that the client left")
	}
}
