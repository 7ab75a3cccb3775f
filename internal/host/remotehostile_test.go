package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
)

// TestRemoteStreamEnds: with its answer a call is over, whatever the server still
// holds open: each open one holds a function of ours.
func TestRemoteStreamEnds(t *testing.T) {
	t.Parallel()
	const note = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"result":{}}}`
	const answer = `{"jsonrpc":"2.0","id":2,` + "\n" + `data: "result":{"a":"` + "é" + `"}}`
	for name, end := range map[string]string{"LF": "\n", "CRLF": "\r\n"} {
		events := strings.ReplaceAll(": hello\n\ndata: "+note+"\n\nevent: message\ndata: "+answer+"\n\n", "\n", end)
		f := newFar(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			for i := range len(events) {
				_, _ = rw.Write([]byte{events[i]})
				if i%7 == 0 {
					_ = http.NewResponseController(rw).Flush()
				}
			}
			_, _ = rw.Write([]byte("data: {}" + end + end))
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		}))
		w, _, c := newRemote(t, f.URL+"/mcp")
		_, body, err := via(t, w.service, c, "POST", callTool)
		if err != nil || body != events {
			t.Errorf("%s: %v, %q", name, err, body)
		}
	}
}

// TestRemoteStatus: a status that is none of a failure is not passed on as one,
// whatever comes with it: 101 would end HTTP between us and our client.
func TestRemoteStatus(t *testing.T) {
	t.Parallel()
	const fault = `{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"far words"}}`
	for status, want := range map[string]int{"000": 200, "101": 200, "304": 200, "307": 200, "777": 200, "400": 400, "503": 503} {
		f := newFar(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			line, _, err := rw.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(line, "HTTP/1.1 %s x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(fault), fault)
			line.Close()
		}))
		w, _, c := newRemote(t, f.URL+"/mcp")
		resp, body, err := w.tryPost(w.mint(c), call)
		if err != nil || resp.StatusCode != want || strings.Contains(body, "far words") != (want != 200) || !strings.Contains(body, `"id":7,"error"`) {
			t.Errorf("%s: %v %v %q", status, err, resp, body)
		}
	}
}

// TestEndlessList: what a server lists is read only as far as anybody keeps it.
func TestEndlessList(t *testing.T) {
	t.Parallel()
	pages := 0
	large := strings.Repeat("x", 1<<20)
	f := newFar(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m, _ := mcp.Parse(body)
		rw.Header().Set("Content-Type", "application/json")
		switch m.Method {
		case "initialize":
			_, _ = rw.Write(mcp.Reply(m.Bytes(m.ID), []byte(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"far","version":"1"}}`)))
		case "tools/list":
			pages++ // one after the other
			_, _ = rw.Write(mcp.Reply(m.Bytes(m.ID), fmt.Appendf(nil, `{"tools":[{"name":"t%d","description":%q,"inputSchema":{"type":"object"}}],"nextCursor":"%d"}`, pages, large, pages)))
		default:
			rw.WriteHeader(http.StatusAccepted)
		}
	}))
	w, _, c := newRemote(t, f.URL+"/mcp")
	_, err := w.service.Tools(t.Context(), page("ada"), c.Key)
	if err == nil || pages > mcp.MaxCatalogue>>20+1 {
		t.Errorf("%d pages, %v", pages, err)
	}
}

// TestListeningToARemote: one that has no stream to listen to, or is down, is not
// asked for it each second by each client that would listen.
func TestListeningToARemote(t *testing.T) {
	t.Parallel()
	w, _, c := newRemote(t, "https://far.example/mcp")
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		asked := 0
		w.service.Relay = func(_ context.Context, call []byte) ([]byte, error) {
			if strings.Contains(string(call), `"GET"`) {
				asked++
			}
			return []byte(`{"status":405}`), nil
		}
		id := w.ask(t.Context(), c, initializeFar).Header().Get(mcp.SessionHeader)
		ctx, leave := context.WithTimeout(t.Context(), time.Hour)
		defer leave()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/mcp/far", nil)
		r.Header.Set(mcp.SessionHeader, id)
		rec := httptest.NewRecorder()
		w.service.Serve(rec, r, host.Visit{Connection: c, Holder: host.Holder{Tenant: c.Tenant, User: c.UserID, Client: "mct_1"}, Deny: func(_ http.ResponseWriter, err error) { t.Error(err) }})
		if comments := strings.Count(rec.Body.String(), ": keep-alive"); asked < 2 || asked > 25 || comments < 100 {
			t.Errorf("it was asked %d times in an hour, the client was told %d times that it is heard", asked, comments)
		}
	})
}

// TestRemoteSessionID: what a remote server calls a session is kept, so it is
// bounded.
func TestRemoteSessionID(t *testing.T) {
	t.Parallel()
	for _, size := range []int{4 << 10, 40 << 10} {
		f := newFar(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.Header().Set(mcp.SessionHeader, strings.Repeat("s", size))
			fmt.Fprint(rw, `{"jsonrpc":"2.0","id":2,"result":{}}`)
		}))
		w, _, c := newRemote(t, f.URL+"/mcp")
		for name, body := range map[string]string{"its client's": initializeFar, "ours": callTool} {
			if _, _, err := via(t, w.service, c, "POST", body, opens(name)...); (err != nil) != (size > 8<<10) || err != nil && !errors.Is(err, host.ErrRemote) {
				t.Errorf("%s, %d bytes: %v", name, size, err)
			}
		}
	}
}
