package refresh_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/demo"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// drillTimeout is how long the refresher of a drill waits for an answer.
const drillTimeout = 2 * time.Second

// soon is when the first failure of a connection is tried again.
const soon = 5 * time.Second

// lost is what a connection is whose grant is dead.
const lost = connection.ReconnectNeeded

type drillCase struct {
	behaviour string
	verdict   provider.Verdict
	code      string
	ambiguous bool
	wait      time.Duration
	after     connection.Status
}

// drills are what is to come of each behaviour. wait is until the next try, and
// after how the connection is once that was made.
var drills = []drillCase{
	{"rotates", provider.OK, "", false, 0, connection.Connected},
	{"no-rotation", provider.OK, "", false, 0, connection.Connected},
	{"grace-new", provider.OK, "", false, 0, connection.Connected},
	{"grace-same", provider.OK, "", false, 0, connection.Connected},
	{"no-expiry", provider.OK, "", false, 0, connection.Connected},
	{"expiry-text", provider.OK, "", false, 0, connection.Connected},
	{"expiry-zero", provider.OK, "", false, 0, connection.Connected},
	{"expiry-negative", provider.OK, "", false, 0, connection.Connected},
	{"expiry-huge", provider.OK, "", false, 0, connection.Connected},
	{"scope-narrowed", provider.OK, "", false, 0, connection.Connected},
	{"server-error", provider.ProviderDown, "", true, soon, connection.Connected},
	{"unavailable", provider.ProviderDown, "", true, 30 * time.Second, connection.Connected},
	{"rate-limited", provider.Transient, "", false, 30 * time.Second, connection.Connected},
	{"error-in-200", provider.ProviderDown, "temporarily_unavailable", false, soon, connection.Connected},
	{"html", provider.ProviderDown, "", true, soon, connection.Connected},
	{"html-502", provider.ProviderDown, "", true, soon, connection.Connected},
	{"redirect", provider.Transient, "", true, soon, connection.Connected},
	{"timeout", provider.ProviderDown, "", true, soon, connection.Connected},
	{"lost-after-rotation", provider.ProviderDown, "", true, soon, lost},
	{"cut-off", provider.ProviderDown, "", true, soon, lost},
	{"slow-body", provider.ProviderDown, "", true, soon, lost},
	{"huge-body", provider.ProviderDown, "", true, soon, lost},
	{"invalid-grant", provider.Reconnect, "invalid_grant", false, soon, lost},
	{"scope-withdrawn", provider.ScopeLost, "invalid_scope", false, soon, lost},
	{"invalid-client", provider.ClientMisconfigured, "invalid_client", false, soon, connection.Connected},
}

// TestDrills: whatever the provider does, on real HTTP, the row says what it
// was, nothing is spent twice unless nobody can know better, and after the drill
// the connection lives or says honestly that it does not.
func TestDrills(t *testing.T) {
	t.Parallel()
	for _, tt := range drills {
		t.Run(tt.behaviour, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			b := s.behaviour(tt.behaviour)
			if b.Verdict != string(tt.verdict) || b.Ambiguous != tt.ambiguous || b.Ends != (tt.after == lost) {
				t.Errorf("the behaviour promises %s, ambiguous %v, ends %v", b.Verdict, b.Ambiguous, b.Ends)
			}
			s.advance(6 * time.Minute) // the access token has ended
			if b.After != "" {
				s.drill(b.After)
				if _, err := s.token(); err == nil {
					t.Fatal("a token in spite of " + b.After)
				}
				s.goOnTo(s.row().RetryAt)
			}
			asked := s.asked.Load()
			s.drill(tt.behaviour)
			began := time.Now()
			_, err := s.token()
			if took := time.Since(began); took > 10*drillTimeout {
				t.Errorf("it took %s to give up", took)
			}
			c := s.row()
			s.sent(asked + 1)
			if tt.verdict == provider.OK {
				health := connection.Healthy
				if b.Narrows {
					health = connection.ScopeLost
				}
				s.renewed(c, err, health)
				if narrowed := slices.Equal(c.Scopes, []string{"profile"}); narrowed != (tt.behaviour == "scope-narrowed") {
					t.Errorf("the row says scopes %v", c.Scopes)
				}
			} else {
				s.failed(c, err, tt.verdict, tt.code, tt.ambiguous, tt.wait)
				if _, err := s.token(); err == nil {
					t.Error("a token in spite of the failure")
				}
				s.sent(asked + 1) // and no request: it is not time yet
			}
			if written := s.written.Load(); written > 32<<20 {
				t.Errorf("%d bytes of the answer were taken", written)
			}

			// The drill is over.
			if at := s.row().RetryAt; at.After(s.now()) {
				s.goOnTo(at)
			} else {
				s.advance(6 * time.Minute)
			}
			access, err := s.token()
			switch c = s.row(); {
			case c.Status != tt.after:
				t.Errorf("the connection is %s, want %s: %+v", c.Status, tt.after, c.Failure)
			case c.Intent != nil || c.Lease != nil:
				t.Errorf("left behind: %+v %+v", c.Intent, c.Lease)
			case tt.after == lost:
				s.ended(c, err, asked, tt.verdict)
			case err != nil || c.Failure != nil || c.Health != connection.Healthy || !s.accepts(access):
				t.Errorf("does not live: %v, %s, %+v", err, c.Health, c.Failure)
			default:
				s.sent(asked + 2)
			}
			if s.elsewhere.Load() != 0 {
				t.Error("a redirect was followed")
			}
			s.noSecret("the log", s.log.String())
		})
	}
}

// TestDrillsAreComplete: each behaviour is in the table.
func TestDrillsAreComplete(t *testing.T) {
	t.Parallel()
	for _, b := range demo.Behaviours() {
		if !slices.ContainsFunc(drills, func(d drillCase) bool { return d.behaviour == b.Name }) {
			t.Errorf("%s is not tested", b.Name)
		}
	}
}

// TestDrillOfUnknownLifetimes: where the provider's file does not know how long
// its tokens live, a renewal that does not say it either is taken to be like the
// one before. Else nobody would plan the next.
func TestDrillOfUnknownLifetimes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"no-expiry", "expiry-text", "expiry-zero", "expiry-negative", "expiry-huge"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.refresh.Catalogue = unlimited{s.refresh.Catalogue}
			s.advance(6 * time.Minute)
			s.drill(name)
			_, err := s.token()
			s.renewed(s.row(), err, connection.Healthy)
		})
	}
}

// unlimited are providers whose files do not say how long a token lives.
type unlimited struct{ flow.Catalogue }

func (u unlimited) Provider(id string) (presets.Provider, bool) {
	p, ok := u.Catalogue.Provider(id)
	p.Refresh.AccessTokenTTL = ""
	return p, ok
}

// stage is a drill provider on loopback, a refresher, and one connection.
type stage struct {
	t        *testing.T
	provider *demo.Provider
	base     string
	store    *fake.Store
	refresh  *refresh.Service
	key      connection.Key
	secret   string
	log      *fake.Log

	asked, elsewhere atomic.Int32 // requests for new tokens, and for pages
	written          atomic.Int64 // bytes of answers

	mu    sync.Mutex
	clock time.Time
}

func (s *stage) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func (s *stage) goOnTo(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = at
}

func (s *stage) advance(d time.Duration) { s.goOnTo(s.now().Add(d)) }

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/token":
		s.asked.Add(1)
	case "/userinfo":
	default:
		s.elsewhere.Add(1)
	}
	s.provider.ServeHTTP(&counted{w, &s.written}, r)
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

type shipped struct{ client provider.Client }

func (s shipped) Client(context.Context, string, string, string) (provider.Client, error) {
	return s.client, nil
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, store: fake.New(), log: &fake.Log{}, clock: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), secret: rand.Text()}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.base = server.URL
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	const ours = "http://127.0.0.1:8080"
	own := provider.Client{ID: "lanyard", Secret: token.Secret(s.secret)}
	var err error
	s.provider, err = demo.New(demo.Config{BaseURL: s.base, ClientID: own.ID, ClientSecret: s.secret, RedirectURIs: []string{ours + flow.CallbackPath},
		Clock: s.now, Logger: logger})
	s.must(err)
	catalogue, err := presets.Load(nil)
	s.must(err)
	deployment := map[string]string{"base": s.base}
	s.refresh = &refresh.Service{Connections: s.store, Catalogue: catalogue, Secrets: shipped{own},
		Vault:  &vault.Vault{Sealer: &vault.Sealer{Keys: fake.NewKeys(), Rand: rand.Reader}, Grants: s.store.Grants(), Audit: s.store.Audit(), Now: s.now},
		Engine: &provider.Engine{AllowLoopback: true, Now: s.now, Logger: logger}, BaseURL: ours, Deployment: deployment,
		ExchangeTimeout: drillTimeout, Now: s.now, Logger: logger}
	target, _, err := flow.TargetOf(catalogue, demo.ProviderID, nil, own, ours, deployment)
	s.must(err)
	s.connect(target)
	return s
}

// connect makes the connection, with everything but a person and a browser.
func (s *stage) connect(target provider.Target) {
	s.t.Helper()
	ctx, verifier := s.t.Context(), rand.Text()+rand.Text()
	there, err := s.refresh.Engine.AuthorizeURL(target, provider.AuthorizeRequest{State: rand.Text(), Verifier: verifier,
		Scopes: provider.Scopes{"": {"profile", "notes.read"}}})
	s.must(err)
	back, err := s.provider.Consent("ada", there)
	s.must(err)
	result, err := s.refresh.Engine.Exchange(ctx, target, back.Get("code"), verifier, back)
	s.must(err)
	s.key = connection.Key{Tenant: "default", ID: token.NewID("con")}
	c := connection.Connection{Key: s.key, UserID: "ada", Server: "demo", AuthType: "oauth", Provider: demo.ProviderID, Status: connection.Pending, CreatedAt: s.now()}
	s.must(s.store.Create(ctx, c))
	set, err := s.refresh.Vault.Seal(ctx, vault.Caller{Tenant: "default", Actor: "callback"}, c, token.NewID("set"), "connect", result.Set)
	s.must(err)
	_, err = s.store.Update(ctx, s.key, func(c *connection.Connection) error {
		g := connection.Granted{ClientID: target.Client.ID, Scopes: result.ScopesGranted}
		return errors.Join(c.Propose(connection.Proposal{FlowID: "flo", ConfirmBy: s.now().Add(time.Minute), Set: set, Granted: g}), c.Promote("flo", s.now()))
	})
	s.must(err)
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) behaviour(name string) demo.Behaviour {
	s.t.Helper()
	for _, b := range demo.Behaviours() {
		if b.Name == name {
			return b
		}
	}
	s.t.Fatalf("there is no behaviour %q", name)
	return demo.Behaviour{}
}

// drill makes the provider answer the next request so.
func (s *stage) drill(name string) {
	s.t.Helper()
	_, err := s.provider.StartDrill(demo.Drill{Behaviours: []string{name}, Times: 1})
	s.must(err)
}

func (s *stage) row() connection.Connection {
	s.t.Helper()
	c, err := s.store.Get(s.t.Context(), s.key)
	s.must(err)
	return c
}

func (s *stage) token() (string, error) {
	a, _, err := s.refresh.Token(s.t.Context(), user, s.key, time.Minute, "token")
	if err != nil {
		s.noSecret("an error", err.Error())
	}
	return a.Tokens[""].AccessToken.Reveal(), err
}

func (s *stage) sent(want int32) {
	s.t.Helper()
	if got := s.asked.Load(); got != want {
		s.t.Errorf("%d requests for new tokens, want %d", got, want)
	}
}

// renewed wants a token that lives for as long as the provider's file says.
func (s *stage) renewed(c connection.Connection, err error, health connection.Health) {
	s.t.Helper()
	if err != nil || c.Failure != nil || c.Intent != nil || c.Health != health {
		s.t.Fatalf("not renewed: %v, %s, %+v", err, c.Health, c.Failure)
	}
	if life := c.Set.AccessExpiresAt.Sub(s.now()); life != 5*time.Minute || !c.RenewAt.After(s.now()) || !c.RenewAt.Before(c.Set.AccessExpiresAt) {
		s.t.Errorf("lives for %s, next renewal at %s", life, c.RenewAt)
	}
}

func (s *stage) failed(c connection.Connection, err error, v provider.Verdict, code string, ambiguous bool, wait time.Duration) {
	s.t.Helper()
	if c.Failure == nil || c.Failure.Verdict != string(v) || c.Failure.Code != code || string(c.Health) != string(v) {
		s.t.Fatalf("recorded %+v, health %s; want %s %q", c.Failure, c.Health, v, code)
	}
	s.noSecret("the row", c.Failure.Detail)
	if (c.Intent != nil) != ambiguous || ambiguous && c.Intent.TokenHash != c.Set.TokenHash {
		s.t.Errorf("intent %+v, ambiguous %v", c.Intent, ambiguous)
	}
	if got := c.RetryAt.Sub(c.Failure.At); got != wait {
		s.t.Errorf("tried again after %s, want %s", got, wait)
	}
	var down *refresh.Unavailable
	switch {
	case c.Status == connection.ReconnectNeeded && !errors.Is(err, refresh.ErrReconnect):
		s.t.Errorf("the caller is told %v", err)
	case c.Status == connection.Connected && (!errors.As(err, &down) || down.RetryAfter != wait):
		s.t.Errorf("the caller is told %v, of %+v", err, down)
	}
}

// ended wants a connection that says it is dead, and that nobody asks for any
// more.
func (s *stage) ended(c connection.Connection, err error, asked int32, v provider.Verdict) {
	s.t.Helper()
	want := asked + 2
	if v == provider.Reconnect || v == provider.ScopeLost {
		want-- // it was told at once
	}
	s.sent(want)
	if !errors.Is(err, refresh.ErrReconnect) || c.Failure.Verdict != string(provider.Reconnect) && c.Failure.Verdict != string(provider.ScopeLost) {
		s.t.Errorf("%v, %+v", err, c.Failure)
	}
	s.advance(time.Hour)
	if err := s.refresh.Attend(s.t.Context(), s.key); err != nil {
		s.t.Error(err)
	}
	if _, err := s.token(); !errors.Is(err, refresh.ErrReconnect) {
		s.t.Error(err)
	}
	s.sent(want)
}

// accepts reports whether the provider accepts the access token.
func (s *stage) accepts(access string) bool {
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.base+"/userinfo", nil)
	s.must(err)
	r.Header.Set("Authorization", "Bearer "+access)
	resp, err := http.DefaultClient.Do(r)
	s.must(err)
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (s *stage) noSecret(where, text string) {
	for _, secret := range []string{"demo_rt_", "demo_at_", "demo_code_", s.secret, url.QueryEscape(s.secret)} {
		if strings.Contains(text, secret) {
			s.t.Errorf("%s holds a secret: %s", where, text)
		}
	}
}
