package wire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/gateway"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/presets"

	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	bearer    = token.Secret("lyt_canary-canary-canary")
	methodARN = "arn:aws:execute-api:eu-central-1:1:api/live/POST/mcp/notes"
)

// authorized is the store of one connection with one MCP token, and its
// authorizer.
func authorized(t *testing.T) (*fake.Store, func(context.Context, *http.Request, string) (events.APIGatewayCustomAuthorizerResponse, error)) {
	t.Helper()
	store, now := fake.New(), time.Now().UTC()
	k := connection.Key{Tenant: "default", ID: "con_1"}
	err := errors.Join(
		store.Create(t.Context(), connection.Connection{Key: k, UserID: "ada", Server: "notes", Status: connection.Connected, CreatedAt: now}),
		store.PutMCPToken(t.Context(), host.MCPToken{ID: "mct_1", Hash: token.Hash(bearer), Connection: k, UserID: "ada", Server: "notes", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}),
	)
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	return store, authorizer(&host.Service{Store: store, Connections: store, Now: time.Now, Logger: logger})
}

func asks(t *testing.T, path, authorization string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

// TestAuthorizer: a bearer passes at its own server, for that very method, and
// everything else is the text that API Gateway makes a 401 of.
func TestAuthorizer(t *testing.T) {
	t.Parallel()
	store, authorize := authorized(t)
	good := "Bearer " + bearer.Reveal()
	out, err := authorize(t.Context(), asks(t, "/mcp/notes", good), methodARN)
	if err != nil || len(out.PolicyDocument.Statement) != 1 {
		t.Fatalf("its own bearer: %v", err)
	}
	s := out.PolicyDocument.Statement[0]
	if s.Effect != "Allow" || len(s.Resource) != 1 || s.Resource[0] != methodARN || len(s.Action) != 1 || s.Action[0] != "execute-api:Invoke" || out.PrincipalID != "con_1" {
		t.Errorf("allowed %+v to %s", s, out.PrincipalID)
	}
	for name, r := range map[string]*http.Request{
		"no bearer":       asks(t, "/mcp/notes", ""),
		"another scheme":  asks(t, "/mcp/notes", "Basic "+bearer.Reveal()),
		"made up":         asks(t, "/mcp/notes", "Bearer lyt_other-other-other"),
		"nothing behind":  asks(t, "/mcp/notes", "Bearer "),
		"another server":  asks(t, "/mcp/mail", good),
		"below a server":  asks(t, "/mcp/notes/more", good),
		"an encoded one":  asks(t, "/mcp/mail%2F..%2Fnotes", good),
		"another route":   asks(t, "/api/v1/connections", good),
		"no server named": asks(t, "/mcp/", good),
		"another tenant":  asks(t, "/t/acme/mcp/notes", good),
		"a tenant twice":  asks(t, "/t/default/mcp/notes", good),
		"all servers":     asks(t, "/mcp", good),
	} {
		out, err := authorize(t.Context(), r, methodARN)
		if !errors.Is(err, gateway.ErrUnauthenticated) || len(out.PolicyDocument.Statement) != 0 {
			t.Errorf("%s: %v, %d statements", name, err, len(out.PolicyDocument.Statement))
		}
	}
	// One that has to be reconnected passes: mcprun says so in words.
	_, err = store.Update(t.Context(), connection.Key{Tenant: "default", ID: "con_1"}, func(c *connection.Connection) error {
		c.Status = connection.ReconnectNeeded
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authorize(t.Context(), asks(t, "/mcp/notes", good), methodARN); err != nil {
		t.Errorf("to be reconnected: %v", err)
	}
	// One that was revoked passes no more, at once.
	if err := store.DeleteMCPToken(t.Context(), connection.Key{Tenant: "default", ID: "con_1"}, "mct_1"); err != nil {
		t.Fatal(err)
	}
	if _, err := authorize(t.Context(), asks(t, "/mcp/notes", good), methodARN); !errors.Is(err, gateway.ErrUnauthenticated) {
		t.Errorf("revoked: %v", err)
	}
}

// TestTaskIdentity: nobody signed, nobody is anybody, whatever headers say.
func TestTaskIdentity(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:sts::1:assumed-role/lanyard-task/abc"
	for signed, want := range map[string]token.Secret{arn: arn, "": "", "arn:aws:iam::1:user/root": "", "arn:aws:sts::1:assumed-role/lanyard-task": ""} {
		r, err := gateway.Request(t.Context(), &events.APIGatewayProxyRequest{HTTPMethod: "POST", Path: "/tasks/v1/token",
			Headers:        map[string]string{"Authorization": "Bearer " + arn, "X-User-Arn": arn},
			RequestContext: events.APIGatewayProxyRequestContext{Identity: events.APIGatewayRequestIdentity{UserArn: signed}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := taskIdentity(r); got != want {
			t.Errorf("signed by %q: %q", signed, got.Reveal())
		}
	}
}

// TestOffered: a deployment offers what its settings name, and nothing that
// only a program on somebody's own machine can run.
func TestOffered(t *testing.T) {
	t.Parallel()
	all, err := newCatalogue(config.Function{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := all.Server("demo"); ok {
		t.Error("the demo server is offered, which needs this machine's own program")
	}
	for _, name := range []string{"reddit", "spotify"} {
		ours, ok := all.Server(name)
		if !ok {
			t.Fatalf("%s is not offered, which a task's image holds", name)
		}
		if r, err := ours.Recipe("", presets.Inputs{Deployment: inImage}); err != nil || !slices.Equal(r.Command, []string{"/usr/local/bin/server", name + "-server"}) {
			t.Errorf("%s: %q, %v", name, r.Command, err)
		}
	}
	for _, name := range []string{"slack", "gitlab"} { // where GitLab is, its client says
		if _, ok := all.Server(name); !ok {
			t.Errorf("%s is not offered", name)
		}
	}
	one, err := newCatalogue(config.Function{Servers: []string{"slack"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := one.Server("google-drive"); ok || len(one.Servers()) != 1 {
		t.Errorf("%d servers are offered, want slack alone", len(one.Servers()))
	}
	if _, err := newCatalogue(config.Function{Servers: []string{"slcak"}}); !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "slcak") {
		t.Errorf("a server without a preset: %v", err)
	}
}

// TestClientCommand: the page names a command that does what it says.
func TestClientCommand(t *testing.T) {
	t.Parallel()
	b := &Base{Settings: config.Function{Secrets: "lanyard"}}
	if got := b.clientCommand("default", "google"); got != "lanyard client set google --id CLIENT_ID" {
		t.Error(got)
	}
	b.Settings.Secrets = "staging"
	if got := b.clientCommand("acme", "google"); got != "lanyard client set google --id CLIENT_ID --deployment staging --tenant acme" {
		t.Error(got)
	}
}
