package bridge

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
)

// vouched is a request as mcprun sends it; an empty header is left out.
func vouched(b *Bridge, method, session, client, params, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if params != "" {
		params = base64.RawURLEncoding.EncodeToString([]byte(params))
	}
	for k, v := range map[string]string{mcp.SessionHeader: session, task.ClientHeader: client, task.SessionHeader: params} {
		if v != "" {
			r.Header.Set(k, v)
		}
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

const sealedParams = `{"protocolVersion":"2025-06-18","capabilities":{"elicitation":{}},"clientInfo":{"name":"c","version":"1"}}`

// A session of a trusted caller lives on in a bridge that never saw its
// initialize, with the capabilities that its client declared.
func TestTrustedSessionOutlivesItsBridge(t *testing.T) {
	t.Parallel()
	for perClient, want := range map[bool]string{false: "2025-06-18 {}", true: `2025-06-18 {"elicitation":{}}`} {
		for range 2 {
			b := New(Config{Start: new(starts).start, Trusted: true, PerClient: perClient})
			w := vouched(b, "POST", "inner", "alice", sealedParams, toolCall("1", "hello", ""))
			if w.Code != http.StatusOK || textOf(t, w.Body.String()) != want {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			// An initialize that is passed on makes no session of another name.
			w = vouched(b, "POST", "other", "alice", sealedParams, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":`+sealedParams+`}`)
			if w.Code != http.StatusOK || w.Header().Get(mcp.SessionHeader) != "" || !strings.Contains(w.Body.String(), `"protocolVersion":"2025-06-18"`) {
				t.Errorf("initialize: %d %v %s", w.Code, w.Header(), w.Body)
			}
			if len(b.sessions) != 2 || b.sessions["inner"] == nil || b.sessions["other"] == nil {
				t.Errorf("sessions %v", b.sessions)
			}
			if w := vouched(b, "DELETE", "inner", "alice", sealedParams, ""); w.Code != http.StatusNoContent || len(b.sessions) != 1 {
				t.Errorf("DELETE: %d, %d sessions", w.Code, len(b.sessions))
			}
			if w := vouched(b, "DELETE", "never", "alice", sealedParams, ""); w.Code != http.StatusNotFound || len(b.sessions) != 1 {
				t.Errorf("DELETE of none: %d, %d sessions", w.Code, len(b.sessions))
			}
			b.Close()
		}
	}
}

// One client's session is no other's, whatever it describes.
func TestTrustedSessionIsItsClients(t *testing.T) {
	t.Parallel()
	b := New(Config{Start: new(starts).start, Trusted: true, MaxSessions: 2})
	defer b.Close()
	vouched(b, "POST", "inner", "alice", sealedParams, toolCall("1", "hello", ""))
	for name, tc := range map[string]struct {
		session, client, params string
		want                    int
	}{
		"another client":      {"inner", "bob", sealedParams, 404},
		"nobody":              {"inner", "", sealedParams, 404},
		"its own":             {"inner", "alice", "", 200},
		"not described":       {"ended", "alice", "", 404},
		"no JSON":             {"ended", "alice", "{", 400},
		"no version":          {"ended", "alice", "{}", 400},
		"too long":            {"ended", "alice", `{"protocolVersion":"` + strings.Repeat("x", maxDescription) + `"}`, 400},
		"no session is named": {"", "alice", sealedParams, 400},
	} {
		if w := vouched(b, "POST", tc.session, tc.client, tc.params, toolCall("1", "hello", "")); w.Code != tc.want {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, tc.want)
		}
	}
	vouched(b, "POST", "second", "bob", sealedParams, toolCall("1", "hello", ""))
	// The session that made room is there again when its client comes back.
	for _, name := range []string{"third", "inner"} {
		client := map[string]string{"third": "bob", "inner": "alice"}[name]
		if w := vouched(b, "POST", name, client, sealedParams, toolCall("1", "hello", "")); w.Code != http.StatusOK || len(b.sessions) != 2 || b.sessions[name] == nil {
			t.Errorf("%s: %d, of %d sessions", name, w.Code, len(b.sessions))
		}
	}
}

// Whoever reaches a bridge that trusts nobody gets nothing by these headers.
func TestHeadersOfStrangersMeanNothing(t *testing.T) {
	t.Parallel()
	b := New(Config{Start: new(starts).start})
	defer b.Close()
	if w := vouched(b, "POST", "inner", "alice", sealedParams, toolCall("1", "hello", "")); w.Code != http.StatusNotFound {
		t.Errorf("opened a session: %d", w.Code)
	}
	w := vouched(b, "POST", "inner", "alice", sealedParams, hello)
	id := w.Header().Get(mcp.SessionHeader)
	if id == "" || id == "inner" {
		t.Fatalf("session %q", id)
	}
	if w := vouched(b, "POST", id, "bob", "", toolCall("1", "hello", "")); w.Code != http.StatusOK {
		t.Errorf("a name that means nothing kept a client out: %d", w.Code)
	}
}
