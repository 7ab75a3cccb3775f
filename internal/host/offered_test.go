package host_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
)

// TestOffered: a tool that the person does not offer is in no list, however it
// comes, and cannot be called.
func TestOffered(t *testing.T) {
	t.Parallel()
	const tools = `[{"name":"known"},{"name":"secret"},{"description":"no name"},{"name":"a","name":"secret"},"odd"]`
	s := knownServer("notes", `{"tools":{}}`)
	s.Known.Tools = json.RawMessage(tools)
	unknown := stdioServer("mail")
	w, o := newOrders(t, s, unknown)
	w.service.OnlyForCalls = true
	answers := map[string]func(id, result string) (kind, body string){
		"JSON": func(id, result string) (string, string) {
			return "application/json", `{"jsonrpc":"2.0","id":` + id + `,"result":` + result + `}`
		},
		"a stream": func(id, result string) (string, string) {
			return "text/event-stream; charset=utf-8", ": hello\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"id\":" + id + ",\"result\":" + result + "}\n\n"
		},
		"a stream of CRLF": func(id, result string) (string, string) {
			return "text/event-stream", "data:{\"jsonrpc\":\"2.0\",\"id\":" + id + ",\"result\":" + result + "}\r\n\r\n"
		},
	}
	wantOffered := func(what, body string) {
		t.Helper()
		if !strings.Contains(body, `"tools":[{"name":"known"}]`) || strings.Contains(body, "secret") || strings.Contains(body, "odd") {
			t.Errorf("%s: %s", what, body)
		}
	}
	for _, server := range []string{"notes", "mail"} {
		c := w.connect("ada", server)
		if _, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error {
			c.Tools = connection.ToolFilter{Allow: []string{"kn*", "who*"}, Deny: []string{"whoami"}}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		m := w.mint(c)
		if server == "notes" {
			_, body := w.post(m, ofModern(9, "tools/list"))
			wantOffered("catalogue", body)
		}
		for _, request := range []string{call, strings.Replace(call, `"name":"whoami"`, `"name":"known","name":"whoami"`, 1), strings.Replace(call, `"name":"whoami",`, ``, 1)} {
			if _, body := w.post(m, request); strings.Contains(body, `"result"`) || len(o.started) > 0 {
				t.Errorf("called: %s, %d starts", body, len(o.started))
			}
		}
		if _, body := w.post(m, call); !strings.Contains(body, host.ErrNotOffered.Error()) {
			t.Error(body)
		}
		for name, answer := range answers {
			p := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				in, _ := mcp.Parse(body)
				kind, text := answer(string(in.Bytes(in.ID)), `{"tools":`+tools+`,"nextCursor":"x"}`)
				rw.Header().Set("Content-Type", kind)
				_, _ = io.WriteString(rw, text)
			})
			p.play(w, w.begin(o, c))
			_, body := w.post(m, ofModern(9, "tools/list"))
			wantOffered(server+", "+name, body)
			if !strings.Contains(body, `"nextCursor":"x"`) || !strings.Contains(body, `"id":9`) {
				t.Errorf("%s: %s", name, body)
			}
			w.service.Restart(t.Context(), c.Key)
		}
	}
}
