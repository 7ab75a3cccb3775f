package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/task"
)

// authServer is an authorization server that answers as it is told.
type authServer struct {
	url string

	mu sync.Mutex
	// token answers the next token requests; subject is who consents, and sites is
	// what for.
	token          func() (int, string)
	subject, sites string
}

func newAuthServer(t testing.TB) *authServer {
	t.Helper()
	a := &authServer{subject: "ada"}
	a.token = func() (int, string) {
		return 200, `{"access_token":"canary-access","refresh_token":"canary-refresh","token_type":"Bearer","expires_in":3600,"scope":"notes.read"}`
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		status, body := a.token()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"sub": a.subject, "email": a.subject + "@demo.example"})
	})
	mux.HandleFunc("GET /sites", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, a.sites)
	})
	mux.HandleFunc("POST /revoke", func(http.ResponseWriter, *http.Request) {})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	a.url = srv.URL
	return a
}

// answers makes the token endpoint answer like this from now on.
func (a *authServer) answers(status int, body string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = func() (int, string) { return status, body }
}

// launcher starts tasks that are one TLS server in this process. They trade
// their tickets over the control routes.
type launcher struct {
	s           *site
	server      *httptest.Server
	fingerprint string

	mu  sync.Mutex
	err error
}

func newLauncher(t testing.TB, s *site) *launcher {
	t.Helper()
	l := &launcher{s: s, server: httptest.NewTLSServer(http.HandlerFunc(answerMCP))}
	t.Cleanup(l.server.Close)
	sum := sha256.Sum256(l.server.Certificate().RawSubjectPublicKeyInfo)
	l.fingerprint = hex.EncodeToString(sum[:])
	return l
}

func (l *launcher) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *launcher) Launch(ctx context.Context, s host.Start) error {
	l.mu.Lock()
	broken := l.err
	l.mu.Unlock()
	control := &task.HTTPControl{URL: s.ControlURL, Client: &http.Client{Transport: inProcess{l.s.handler}}, Sign: func(r *http.Request, _ []byte) error {
		r.Header.Set("Authorization", "Bearer "+s.Identity.Reveal())
		return nil
	}}
	if _, err := control.Claim(ctx, task.ClaimRequest{TaskID: s.TaskID, Ticket: s.Ticket,
		Address: strings.TrimPrefix(l.server.URL, "https://"), KeyFingerprint: l.fingerprint}); err != nil {
		return err
	}
	if broken != nil {
		return control.Report(ctx, task.Report{TaskID: s.TaskID, State: task.Failed, Detail: broken.Error()})
	}
	return control.Report(ctx, task.Report{TaskID: s.TaskID, State: task.Ready})
}

func (l *launcher) Stop(context.Context, string) error { return nil }

// inProcess is a network that ends at the handler.
type inProcess struct{ handler http.Handler }

func (n inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	n.handler.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// answerMCP is an MCP server with two tools.
func answerMCP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct {
			Name      string
			Arguments json.RawMessage
		}
	}
	if json.Unmarshal(body, &m) != nil || len(m.ID) == 0 {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	result := `{}`
	switch m.Method {
	case "initialize":
		result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}`
	case "tools/list":
		result = `{"tools":[{"name":"whoami","inputSchema":{"type":"object","properties":{"text":{"type":"string"},"n":{"type":"integer"}},"required":["text"]}},
			{"name":"<b>odd/tool</b>","inputSchema":{"type":"object"}}]}`
	case "tools/call":
		text, _ := json.Marshal(m.Params.Name + " <script>alert(1)</script> " + string(bytes.TrimSpace(m.Params.Arguments)))
		result = fmt.Sprintf(`{"content":[{"type":"text","text":%s}]}`, text)
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}
