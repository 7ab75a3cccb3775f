package listing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/internal/web"
	"github.com/lanyardhq/lanyard/presets"
)

// within is what the 99th of 100 may take.
const within = 20 * time.Millisecond

// nobody starts no task.
type nobody struct{ t *testing.T }

func (n nobody) Launch(context.Context, host.Start) error {
	n.t.Error("a task was started")
	return errors.New("none is started here")
}

func (nobody) Stop(context.Context, string) error { return nil }

// catalogue are our presets, and one whose server lists a megabyte.
type catalogue struct {
	*presets.Catalogue
	large presets.Server
}

func (c catalogue) Server(name string) (presets.Server, bool) {
	if name == c.large.Name {
		return c.large, true
	}
	return c.Catalogue.Server(name)
}

func largeServer() presets.Server {
	var tools strings.Builder
	for i := range 188 {
		fmt.Fprintf(&tools, `,{"name":"tool%d","description":%q,"inputSchema":{"type":"object"}}`, i, strings.Repeat("What it does, at length. ", 230))
	}
	known := &mcp.Catalogue{Initialized: []byte(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"large","version":"1"}}`),
		Tools: []byte("[" + tools.String()[1:] + "]")}
	return presets.Server{Name: "large", DisplayName: "Large", Server: presets.Program{Registry: presets.RegistryCommand},
		Catalogue: func() (*mcp.Catalogue, error) { return known, nil }}
}

// site is the endpoint of one machine, and a bearer for a connection of each
// server.
type site struct {
	*httptest.Server
	bearers map[string]token.Secret
	answer  *bytes.Buffer // used again, so that reading costs little
}

func newSite(t *testing.T, servers ...string) site {
	t.Helper()
	loaded, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	known := catalogue{loaded, largeServer()}
	db, err := local.Open(t.Context(), t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	logger := slog.New(slog.DiscardHandler)
	hosting := &host.Service{Store: db, Connections: db, Catalogues: db, Catalogue: known, Launcher: nobody{t}, OnlyForCalls: true,
		BearerKey: []byte(token.NewSecret().Reveal()), IdleStop: time.Hour, Now: time.Now, Logger: logger}
	mux := http.NewServeMux()
	(&web.MCPRun{Site: &web.Site{Logger: logger}, Host: hosting, Connections: db, Catalogue: known}).Mount(mux)
	s := site{httptest.NewServer(mux), map[string]token.Secret{}, &bytes.Buffer{}}
	t.Cleanup(s.Close)
	for _, server := range servers {
		c := connection.Connection{Key: connection.Key{Tenant: "default", ID: token.NewID("con")}, UserID: "ada", Server: server,
			AuthType: "oauth", Status: connection.Connected, CreatedAt: time.Now()}
		if err := db.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		m, err := hosting.Mint(t.Context(), host.MintRequest{Caller: vault.Caller{Tenant: "default", User: "ada", Actor: "page"}, Connection: c.Key})
		if err != nil {
			t.Fatal(err)
		}
		s.bearers[server] = m.Token
	}
	return s
}

// ask sends a request and returns the answer's header and size, and how long it
// took to its last byte.
func (s site) ask(t *testing.T, server, body, session string) (http.Header, int, time.Duration) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/mcp/"+server, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + s.bearers[server].Reveal(), "Content-Type": "application/json",
		"Accept": "application/json, text/event-stream", mcp.SessionHeader: session} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	began := time.Now()
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.answer.Reset()
	_, err = s.answer.ReadFrom(resp.Body)
	took := time.Since(began)
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(s.answer.Bytes(), []byte(`"result":{`)) {
		t.Fatalf("%s %.200s, %v", resp.Status, s.answer, err)
	}
	return resp.Header, s.answer.Len(), took
}

// TestListing: a list is answered in milliseconds while nothing runs.
func TestListing(t *testing.T) {
	asked, measured := 20, false
	if n, err := strconv.Atoi(os.Getenv("BENCH_LISTS")); err == nil {
		asked, measured = n, true
	}
	const (
		initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
		list       = `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`
	)
	servers := []string{"slack", "google-drive", "large"}
	s := newSite(t, servers...)
	for _, server := range servers {
		header, _, _ := s.ask(t, server, initialize, "")
		for _, request := range []struct{ name, body, session string }{{"initialize", initialize, ""}, {"tools/list", list, header.Get(mcp.SessionHeader)}} {
			var size int
			took := make([]time.Duration, asked)
			for i := range took {
				_, size, took[i] = s.ask(t, server, request.body, request.session)
			}
			slices.Sort(took)
			p50, p99 := took[len(took)/2], took[len(took)*99/100]
			t.Logf("%-12s %-10s %8d bytes  p50 %7.3f ms  p99 %7.3f ms  at most %7.3f ms", server, request.name, size, ms(p50), ms(p99), ms(took[len(took)-1]))
			if measured && p99 > within {
				t.Errorf("%s of %s: the 99th of 100 took %v, more than %v", request.name, server, p99, within)
			}
		}
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
