package refresher

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
)

// authServer is one authorization server, as the tests and the processes that
// they start know it.
type authServer struct {
	Issuer       string            `json:"server"`
	ClientID     string            `json:"client_id"`
	ClientSecret string            `json:"client_secret"`
	Endpoints    map[string]string `json:"endpoints"`
	// Rotation and Family are what our preset of it says.
	Rotation string `json:"rotation"`
	Family   string `json:"family"`
}

// seen is what an authorization server knows.
type seen struct {
	// Refreshes is how many refresh requests reached it, Renewed how many of
	// them it granted, Refused how many it refused.
	Refreshes int `json:"refreshes"`
	Renewed   int `json:"renewed"`
	Refused   int `json:"refused"`
	// Honoured are the refresh tokens that it would accept now.
	Honoured []string `json:"honoured"`
	// Newest is the access token that it issued last.
	Newest string `json:"newest"`
}

// node is the process in which the authorization servers run.
type node struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser

	mu      sync.Mutex
	next    int
	waiting map[int]chan reply
}

type reply struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
}

var startNode = sync.OnceValues(func() (*node, error) {
	n := &node{cmd: exec.Command("node", "provider.mjs"), waiting: map[int]chan reply{}}
	n.cmd.Env = append(os.Environ(), "NODE_NO_WARNINGS=1")
	stdin, err := n.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	n.stdin = stdin
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	started = n
	go n.read(bufio.NewReader(stdout))
	return n, nil
})

// started is the process, for its end.
var started *node

func endAuthServers() {
	if started != nil {
		_ = started.stdin.Close()
		_ = started.cmd.Wait()
	}
}

func (n *node) read(r *bufio.Reader) {
	for {
		line, err := r.ReadBytes('\n')
		var a reply
		if err == nil && json.Unmarshal(line, &a) != nil {
			continue
		}
		n.mu.Lock()
		if err != nil {
			for _, ch := range n.waiting {
				ch <- reply{Error: "the process of the authorization servers has ended"}
			}
			n.waiting = nil
			n.mu.Unlock()
			return
		}
		if ch := n.waiting[a.ID]; ch != nil {
			delete(n.waiting, a.ID)
			ch <- a
		}
		n.mu.Unlock()
	}
}

// ask does one call of provider.mjs.
func (n *node) ask(args map[string]any, out any) error {
	ch := make(chan reply, 1)
	n.mu.Lock()
	if n.waiting == nil {
		n.mu.Unlock()
		return errors.New("the process of the authorization servers has ended")
	}
	n.next++
	args["id"] = n.next
	n.waiting[n.next] = ch
	line, err := json.Marshal(args)
	if err == nil {
		_, err = n.stdin.Write(append(line, '\n'))
	}
	n.mu.Unlock()
	if err != nil {
		return err
	}
	a := <-ch
	if a.Error != "" {
		return fmt.Errorf("%v at the authorization server: %s", args["call"], a.Error)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(a.Result, out)
}

func call(t *testing.T, args map[string]any, out any) {
	t.Helper()
	n, err := startNode()
	if err == nil {
		err = n.ask(args, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// habit is how an authorization server treats refresh tokens.
type habit struct {
	name    string
	options map[string]any
	// rotation and family are said of it in our preset.
	rotation, family string
}

// The habits. A grace of ten minutes is longer than any test.
var (
	strict = habit{"strict", map[string]any{}, "always", "revoked"}
	shared = habit{"shared", map[string]any{}, "always", "all"}
	grace  = habit{"grace", map[string]any{"grace": 600}, "always", "revoked"}
	steady = habit{"steady", map[string]any{"rotate": false}, "never", "kept"}
)

// newAuthServer starts an authorization server.
func newAuthServer(t *testing.T, h habit) *authServer {
	t.Helper()
	needNode(t)
	a := &authServer{}
	call(t, map[string]any{"call": "start", "options": h.options}, a)
	a.Rotation, a.Family = h.rotation, h.family
	return a
}

// connect is a person who grants access; the tokens are issued at that time.
func (a *authServer) connect(t *testing.T, now time.Time) token.Set {
	t.Helper()
	var r struct {
		AccessToken  token.Secret `json:"access_token"`
		RefreshToken token.Secret `json:"refresh_token"`
		ExpiresIn    int          `json:"expires_in"`
	}
	call(t, map[string]any{"call": "connect", "server": a.Issuer}, &r)
	return token.Set{
		Grant: token.Grant{Renewables: map[string]token.Renewable{"": {RefreshToken: r.RefreshToken}}},
		Access: token.Access{Tokens: map[string]token.Token{
			"": {AccessToken: r.AccessToken, TokenType: "Bearer", ExpiresAt: now.Add(time.Duration(r.ExpiresIn) * time.Second)},
		}},
	}
}

// fail makes its next token request go wrong in one of the ways of authserver.mjs.
func (a *authServer) fail(t *testing.T, fault string) {
	t.Helper()
	call(t, map[string]any{"call": "fail", "server": a.Issuer, "fault": fault}, nil)
}

// held returns when it holds a token request.
func (a *authServer) held(t *testing.T) {
	t.Helper()
	call(t, map[string]any{"call": "held", "server": a.Issuer}, nil)
}

func (a *authServer) heal(t *testing.T) {
	t.Helper()
	call(t, map[string]any{"call": "heal", "server": a.Issuer}, nil)
}

func (a *authServer) seen(t *testing.T) seen {
	t.Helper()
	var s seen
	call(t, map[string]any{"call": "seen", "server": a.Issuer}, &s)
	return s
}

// accepts reports whether the access token is good for a call.
func (a *authServer) accepts(t *testing.T, access string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.Endpoints["userinfo_endpoint"], nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+access)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (a *authServer) client() provider.Client {
	return provider.Client{ID: a.ClientID, Secret: token.Secret(a.ClientSecret)}
}
