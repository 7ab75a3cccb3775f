package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/demo"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// rehearsalTimeout is how long the refresher waits for an answer in a
// rehearsal, whose providers are on this machine.
const rehearsalTimeout = 3 * time.Second

func (c *cli) drillRehearseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rehearse [BEHAVIOUR]...",
		Short: "Play every failure against the refresher of this program",
		Long: `Play every failure, or those named, against the refresher of this program, and
show what becomes of the connection. It needs nothing that runs, leaves nothing
behind and takes some seconds.

Each behaviour has a provider of its own on loopback and a connection at it. The
provider misbehaves once, when the tokens are to be renewed ahead of time; then
the drill is over, and what is due next is done. EXCHANGES counts the requests
for new tokens until it was clear what became of the connection.

The exit code is 1 if an outcome is not the expected one.`,
		Example: `  lanyard drill rehearse
  lanyard drill rehearse cut-off grace-same`,
		RunE: func(cmd *cobra.Command, names []string) error {
			play, err := chosen(names)
			if err != nil {
				return err
			}
			out, err := rehearse(cmd.Context(), play, nil)
			if err != nil {
				return err
			}
			return c.printOutcomes(cmd.OutOrStdout(), out)
		},
	}
}

func chosen(names []string) ([]demo.Behaviour, error) {
	all := demo.Behaviours()
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(b demo.Behaviour) bool { return b.Name == name }) {
			return nil, usagef("there is no behaviour %q: \"lanyard drill list\" lists them", name)
		}
	}
	return slices.DeleteFunc(all, func(b demo.Behaviour) bool { return !slices.Contains(names, b.Name) }), nil
}

// outcome is what became of a connection whose provider misbehaved.
type outcome struct {
	Behaviour string `json:"behaviour"`
	// Verdict is "ok", or that of the failure in the connection's row; Health
	// is what its owner is told then. Ambiguous: the row says that the token
	// may have been spent.
	Verdict   string            `json:"verdict"`
	Health    connection.Health `json:"health"`
	Ambiguous bool              `json:"ambiguous"`
	// Exchanges counts the requests for new tokens that the provider has got.
	Exchanges int `json:"exchanges"`
	// Survived: after the drill the tokens were renewed, and the provider
	// accepts them. Else Why says what the person is told.
	Survived bool   `json:"survived"`
	Why      string `json:"why,omitempty"`
	Expected bool   `json:"expected"`
}

// expected is the outcome that a behaviour is to have.
func expected(b demo.Behaviour) outcome {
	want := outcome{Behaviour: b.Name, Verdict: b.Verdict, Health: connection.Healthy, Ambiguous: b.Ambiguous, Exchanges: 1, Survived: !b.Ends}
	switch v := provider.Verdict(b.Verdict); v {
	case provider.Reconnect, provider.ScopeLost: // nothing is asked any more
		want.Health = connection.Health(v)
	case provider.ClientMisconfigured:
		want.Health = connection.Health(v)
		want.Exchanges++
	default: // the token in hand still lives: nobody has to be told
		want.Exchanges++
	}
	if b.After != "" {
		want.Exchanges++
	}
	if b.Narrows {
		want.Health = connection.ScopeLost
	}
	return want
}

func (c *cli) printOutcomes(w io.Writer, all []outcome) error {
	var odd int
	for _, o := range all {
		if !o.Expected {
			odd++
		}
	}
	var err error
	if c.json {
		err = json.NewEncoder(w).Encode(map[string]any{"outcomes": all})
	} else {
		err = printTable(w, all)
	}
	if err == nil && odd > 0 {
		err = fmt.Errorf("outcomes that are not the expected ones: %d of %d; \"lanyard drill list\" says what is expected", odd, len(all))
	}
	return err
}

func printTable(w io.Writer, all []outcome) error {
	t := newTable(w)
	t.row("BEHAVIOUR", "VERDICT", "MAYBE SPENT", "HEALTH", "EXCHANGES", "AFTERWARDS")
	for _, o := range all {
		end := afterwards(o.Survived)
		if o.Why != "" {
			end += ": " + o.Why
		}
		if !o.Expected {
			end = "NOT AS EXPECTED: " + end
		}
		t.row(o.Behaviour, o.Verdict, maybe(o.Ambiguous), string(o.Health), strconv.Itoa(o.Exchanges), end)
	}
	return t.flush()
}

// maybe says whether nobody but the provider knows that the token was spent.
func maybe(ambiguous bool) string {
	if ambiguous {
		return "yes"
	}
	return ""
}

// theatre is what the stages of a rehearsal share.
type theatre struct {
	db        *local.DB
	keys      *local.KeyFile
	catalogue *presets.Catalogue
	logger    *slog.Logger
}

// rehearse plays the behaviours beside each other, each on a stage of its own.
// A nil logger is silence.
func rehearse(ctx context.Context, play []demo.Behaviour, logger *slog.Logger) (_ []outcome, err error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	dir, err := os.MkdirTemp("", "lanyard-drill-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t := theatre{logger: logger}
	if t.keys, err = local.OpenKeys(filepath.Join(dir, "vault-key")); err != nil {
		return nil, err
	}
	if t.db, err = local.Open(ctx, dir, time.Now); err != nil {
		return nil, err
	}
	defer t.db.Close()
	// Those that come with the program: an overlay may have another demo.
	if t.catalogue, err = presets.Load(nil); err != nil {
		return nil, err
	}
	out, errs := make([]outcome, len(play)), make([]error, len(play))
	var wg sync.WaitGroup
	for i, b := range play {
		wg.Go(func() {
			if out[i], errs[i] = t.play(ctx, b); errs[i] != nil {
				errs[i] = fmt.Errorf("rehearse %s: %w", b.Name, errs[i])
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// play plays one behaviour, and then what is due after the drill.
func (t theatre) play(ctx context.Context, b demo.Behaviour) (outcome, error) {
	s, err := t.stage(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer s.server.Close()
	acts := []string{b.Name}
	if b.After != "" {
		acts = []string{b.After, b.Name}
	}
	if _, err := s.provider.StartDrill(demo.Drill{Behaviours: acts, Times: 1}); err != nil {
		return outcome{}, err
	}
	var c connection.Connection
	for range acts {
		if c, err = s.renew(ctx); err != nil {
			return outcome{}, err
		}
	}
	o := outcome{Behaviour: b.Name, Verdict: string(provider.OK), Health: c.Health, Ambiguous: c.Intent != nil}
	if c.Failure != nil {
		o.Verdict = c.Failure.Verdict
	}
	if c.Status == connection.Connected {
		if c, err = s.renew(ctx); err != nil {
			return outcome{}, err
		}
	}
	o.Exchanges = int(s.asked.Load())
	o.Survived, o.Why = s.lives(ctx, c)
	want := expected(b)
	want.Why = o.Why // the provider's words
	o.Expected = o == want
	return o, nil
}

// stage is one provider, one refresher and one connection, whose time only goes
// on when something is due.
type stage struct {
	provider *demo.Provider
	server   *http.Server
	asked    atomic.Int32
	db       *local.DB
	engine   *provider.Engine
	refresh  *refresh.Service
	target   provider.Target
	key      connection.Key
	clock    atomic.Pointer[time.Time]
}

func (s *stage) now() time.Time { return *s.clock.Load() }

func (s *stage) goOnTo(at time.Time) { s.clock.Store(&at) }

// ServeHTTP is the provider, counted.
func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		s.asked.Add(1)
	}
	s.provider.ServeHTTP(w, r)
}

func (t theatre) stage(ctx context.Context) (*stage, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &stage{db: t.db}
	s.goOnTo(time.Now().UTC())
	base, ours := "http://"+ln.Addr().String(), "http://127.0.0.1:8080" // where nobody is sent
	own := provider.Client{ID: "lanyard", Secret: token.Secret(rand.Text())}
	s.provider, err = demo.New(demo.Config{BaseURL: base, ClientID: own.ID, ClientSecret: own.Secret.Reveal(),
		RedirectURIs: []string{ours + flow.CallbackPath}, Clock: s.now, Logger: t.logger})
	if err != nil {
		ln.Close()
		return nil, err
	}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(t.logger.Handler(), slog.LevelWarn)}
	go func() { _ = s.server.Serve(ln) }() // it ends with Close
	deployment := map[string]string{"base": base}
	s.engine = &provider.Engine{AllowLoopback: true, Now: s.now, Logger: t.logger}
	sealed := &vault.Vault{Sealer: &vault.Sealer{Keys: t.keys, Rand: rand.Reader}, Grants: t.db.Grants(), Audit: t.db.Audit(), Now: s.now}
	s.refresh = &refresh.Service{Connections: t.db, Vault: sealed, Catalogue: t.catalogue, Secrets: oneClient{own}, Engine: s.engine,
		BaseURL: ours, Deployment: deployment, ExchangeTimeout: rehearsalTimeout, Now: s.now, Logger: t.logger}
	if s.target, _, err = flow.TargetOf(t.catalogue, demo.ProviderID, nil, own, ours, deployment); err == nil {
		err = s.connect(ctx, sealed)
	}
	if err != nil {
		return nil, errors.Join(err, s.server.Close())
	}
	s.asked.Store(0)
	return s, nil
}

// oneClient is the registration at every provider.
type oneClient struct{ client provider.Client }

// Client implements [flow.Secrets].
func (c oneClient) Client(context.Context, string, string, string) (provider.Client, error) {
	return c.client, nil
}

// connect makes the connection, with everything but the person and the browser.
func (s *stage) connect(ctx context.Context, sealed *vault.Vault) error {
	verifier := rand.Text() + rand.Text()
	asked := provider.AuthorizeRequest{State: rand.Text(), Verifier: verifier, Scopes: provider.Scopes{"": {"profile", "notes.read", "notes.write"}}}
	there, err := s.engine.AuthorizeURL(s.target, asked)
	if err != nil {
		return err
	}
	back, err := s.provider.Consent("ada", there)
	if err != nil {
		return err
	}
	result, err := s.engine.Exchange(ctx, s.target, back.Get("code"), verifier, back)
	if err != nil {
		return err
	}
	s.key = connection.Key{Tenant: flow.DefaultTenant, ID: token.NewID("con")}
	c := connection.Connection{Key: s.key, UserID: owner, Server: "demo", AuthType: string(presets.TypeOAuth), Provider: demo.ProviderID,
		Status: connection.Pending, CreatedAt: s.now()}
	if err := s.db.Create(ctx, c); err != nil {
		return err
	}
	caller := vault.Caller{Tenant: s.key.Tenant, Connection: s.key.ID, Actor: "callback"}
	set, err := sealed.Seal(ctx, caller, c, token.NewID("set"), "connect", result.Set)
	if err != nil {
		return err
	}
	proposal := connection.Proposal{FlowID: token.NewID("flo"), ConfirmBy: s.now().Add(time.Minute), Set: set,
		Granted: connection.Granted{ClientID: s.target.Client.ID, Scopes: result.ScopesGranted}}
	_, err = s.db.Update(ctx, s.key, func(c *connection.Connection) error {
		return errors.Join(c.Propose(proposal), c.Promote(proposal.FlowID, s.now()))
	})
	if err != nil {
		return err
	}
	return s.refresh.Attend(ctx, s.key) // plans the renewals
}

// renew lets time go on to when the connection is due, and attends it.
func (s *stage) renew(ctx context.Context) (connection.Connection, error) {
	c, err := s.db.Get(ctx, s.key)
	if err != nil {
		return c, err
	}
	if c.RenewAt.IsZero() {
		return c, errors.New("no renewal is planned")
	}
	if c.RenewAt.After(s.now()) {
		s.goOnTo(c.RenewAt)
	}
	if err := s.refresh.Attend(ctx, s.key); err != nil {
		return c, err
	}
	return s.db.Get(ctx, s.key)
}

// lives reports whether the provider accepts the connection's access token, and
// if there is none to be had any more, why.
func (s *stage) lives(ctx context.Context, c connection.Connection) (bool, string) {
	a, _, err := s.refresh.Token(ctx, vault.Caller{Tenant: c.Tenant, User: owner, Actor: "page"}, s.key, 0, "drill")
	if err != nil {
		return false, strings.TrimPrefix(err.Error(), refresh.ErrReconnect.Error()+": ")
	}
	if c.Failure != nil {
		return false, c.Failure.Detail
	}
	if _, err := s.engine.Identity(ctx, s.target, provider.Result{Set: token.Set{Access: a}}); err != nil {
		return false, err.Error()
	}
	return true, ""
}
