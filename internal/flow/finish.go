package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// The times of a callback. It goes on when the browser leaves: the code is spent
// either way. What the provider does with its time takes nothing from storing.
// API Gateway gives a whole request 29 seconds: an exchange that hangs is given
// up while the person can still be told.
const (
	exchangeTimeout = 20 * time.Second
	identityTimeout = 6 * time.Second
	storeTimeout    = 15 * time.Second
)

// Secrets knows our registrations at providers with their secrets.
type Secrets interface {
	// Client returns the tenant's client for the provider. id, when not empty,
	// is the one wanted: a code and a refresh token work only with the client
	// that they were made for. ErrNoClient if there is none.
	Client(ctx context.Context, tenant, provider, id string) (provider.Client, error)
}

// Finisher turns what a person gave into a sealed set.
type Finisher struct {
	Store       Store
	Connections connection.Store
	Catalogue   Catalogue
	Secrets     Secrets
	Engine      *provider.Engine
	Vault       *vault.Vault
	BaseURL     string
	Deployment  map[string]string
	Now         func() time.Time
	Logger      *slog.Logger

	work sync.WaitGroup
}

// Wait returns when no code is being exchanged any more: a grant that is not
// stored yet would be lost with the process.
func (s *Finisher) Wait() { s.work.Wait() }

// Finish takes the provider's answer. The flow it returns is the one that the
// state named, also beside an error, so that the page knows where to go on; it
// is empty while the state has not proven that this browser may see it.
func (s *Finisher) Finish(ctx context.Context, q url.Values, browser string) (Flow, error) {
	return s.FinishAt(ctx, "", q, browser)
}

// FinishAt is Finish of an answer at an issuer's own redirect URI, which ends in
// the issuer's [IssuerKey].
func (s *Finisher) FinishAt(ctx context.Context, issuer string, q url.Values, browser string) (Flow, error) {
	for name, values := range q {
		if len(values) > 1 { // RFC 6749 §3.1: not more than once
			return Flow{}, fmt.Errorf("%w: %q occurs more than once", ErrCallback, name)
		}
	}
	if q.Get("state") == "" {
		return Flow{}, ErrStateUnknown
	}
	st, err := s.Store.TakeState(ctx, token.Hash(token.Secret(q.Get("state"))), browser, s.Now())
	if err != nil {
		return Flow{}, err
	}
	f, err := s.Store.GetFlow(ctx, st.FlowID)
	if err != nil {
		return Flow{}, err
	}
	if f.Status != Authorized {
		return f, ErrFlowEnded
	}
	f.Status = Exchanging
	exchanging, err := s.Store.UpdateFlow(ctx, f)
	switch {
	case errors.Is(err, ErrChanged):
		return f, ErrFlowEnded // by another callback of this flow
	case err != nil:
		return f, s.unstored(ctx, f, err)
	}
	f, ctx = exchanging, context.WithoutCancel(ctx)
	s.work.Add(1)
	defer s.work.Done()
	conn, missing, err := connection.Connection{}, []string(nil), error(nil)
	if RedirectURI("", f.Found) != CallbackPath+slashed(issuer) {
		err = fmt.Errorf("%w: it was sent to the address of another provider", ErrIssuer)
	} else {
		conn, missing, err = s.finish(ctx, f, st, q)
	}
	return s.end(ctx, f, conn, missing, err)
}

// slashed is a last part of a path; of none, nothing.
func slashed(part string) string {
	if part == "" {
		return ""
	}
	return "/" + part
}

// unstored logs why and returns ErrStore alone: the cause is the operator's and
// may name what is nobody else's business.
func (s *Finisher) unstored(ctx context.Context, f Flow, cause error) error {
	s.Logger.ErrorContext(ctx, "a connection could not be stored", "flow", f.ID, "err", cause)
	return ErrStore
}

// end writes the flow's result.
func (s *Finisher) end(ctx context.Context, f Flow, c connection.Connection, missing []string, err error) (Flow, error) {
	var known *Error
	switch {
	case errors.Is(err, ErrDenied):
		f.Status = Denied
	case err != nil:
		f.Status = Failed
	case c.Proposal != nil && len(c.Proposal.Places) > 0:
		f.Status = Picking
	case f.Confirm:
		f.Status = Pending
	default:
		f.Status = Connected
	}
	f.Result = Result{ConnectionID: c.ID, Missing: missing, Account: c.Named(), SetID: c.Set.AccessVersion}
	if c.Proposal != nil {
		f.Result.Account, f.Result.SetID = c.Proposal.Granted.Named(), c.Proposal.Set.AccessVersion
	}
	if errors.As(err, &known) {
		f.Result.Code, f.Result.Detail = known.Code, err.Error()
	} else if err != nil {
		f.Result.Code, f.Result.Detail = "internal_error", "the attempt failed on our side"
	}
	// The grant's fate does not hang on this record: it is there to be told.
	written, werr := s.Store.UpdateFlow(context.WithoutCancel(ctx), f)
	if werr != nil {
		s.Logger.ErrorContext(ctx, "the end of a flow was not recorded", "flow", f.ID, "err", werr)
		return f, err
	}
	return written, err
}

// finish: check the answer, exchange the code once, learn whose account it is,
// seal, propose, and promote where nobody has to confirm.
func (s *Finisher) finish(ctx context.Context, f Flow, st State, q url.Values) (connection.Connection, []string, error) {
	none := connection.Connection{}
	client, err := s.client(ctx, f, st)
	if err != nil {
		return none, nil, err
	}
	t, p, err := newTarget(s.Catalogue, f, client, s.BaseURL, s.Deployment)
	if err != nil {
		return none, nil, err
	}
	if err := s.Engine.CheckCallback(t, q); err != nil {
		return none, nil, fmt.Errorf("%w: %w", ErrIssuer, err)
	}
	if code := q.Get("error"); code != "" {
		return none, nil, answeredError(p, q)
	}
	if q.Get("code") == "" {
		return none, nil, fmt.Errorf("%w: it holds neither a code nor an error", ErrCallback)
	}
	res, err := s.exchange(ctx, t, q, st)
	if err != nil {
		return none, nil, exchangeError(p, err)
	}
	account, err := s.identity(ctx, t, res)
	if err != nil && f.Found == nil { // who was found is never asked whose account it is
		// The grant is good; what is lacking is whose it is. A connection
		// without a label serves better than none.
		s.Logger.WarnContext(ctx, "identity not learned", "flow", f.ID, "provider", p.ID, "err", err)
	}
	granted := connection.Granted{
		Account:     connection.Account{Subject: account.Subject, Label: account.Label},
		ScopesAsked: flatten(f.Scopes), Scopes: res.ScopesGranted,
		ClientID: client.ID, Variant: client.Variant, Parameters: f.Parameters,
	}
	if f.Found != nil {
		found := *f.Found
		found.AuthorizationEndpoint, granted.Found = "", &found
	}
	places, err := s.discover(ctx, t, res)
	if err != nil {
		s.revoke(ctx, t, f, p, granted, res.Set)
		return none, nil, err
	}
	c, err := s.assign(ctx, f, granted, res.Set, places)
	if err != nil {
		s.revoke(ctx, t, f, p, granted, res.Set)
		return none, nil, err
	}
	if !res.ScopesKnown {
		return c, nil, nil
	}
	return c, MissingScopes(granted.ScopesAsked, res.ScopesGranted), nil
}

// client is the one that the person was sent to the provider with.
func (s *Finisher) client(ctx context.Context, f Flow, st State) (provider.Client, error) {
	if f.Found != nil {
		return ClientOf(ctx, s.Secrets, f.Tenant, f.Provider, st.ClientID, *f.Found)
	}
	return s.Secrets.Client(ctx, f.Tenant, f.Provider, st.ClientID)
}

func (s *Finisher) exchange(ctx context.Context, t provider.Target, q url.Values, st State) (provider.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	return s.Engine.Exchange(ctx, t, q.Get("code"), st.Verifier, q)
}

func (s *Finisher) identity(ctx context.Context, t provider.Target, r provider.Result) (provider.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	return s.Engine.Identity(ctx, t, r)
}

// discover learns which places of the provider the tokens are for, where there can
// be several. Unlike a label, a server cannot do without one.
func (s *Finisher) discover(ctx context.Context, t provider.Target, r provider.Result) ([]connection.Place, error) {
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	found, err := s.Engine.Discover(ctx, t, r)
	switch {
	case errors.Is(err, provider.ErrPlace):
		return nil, fmt.Errorf("%w: %s named no %s", ErrNoPlace, t.Provider.DisplayName, t.Provider.Discovery.Kind)
	case err != nil:
		return nil, exchangeError(t.Provider, err)
	}
	var places []connection.Place
	for _, p := range found {
		places = append(places, connection.Place(p))
	}
	return places, nil
}

// revoke gives back what was granted and could not be kept, unless that would
// end another connection of the same account.
func (s *Finisher) revoke(ctx context.Context, t provider.Target, f Flow, p presets.Provider, g connection.Granted, set token.Set) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeTimeout)
	defer cancel()
	shared, err := connection.Shared(ctx, s.Connections, f.Tenant, f.Provider, g, "")
	if err != nil || shared && p.Revocation.Revokes != presets.RevokesToken {
		s.Logger.WarnContext(ctx, "an unused grant was left in place", "flow", f.ID, "provider", p.ID, "shared", shared, "err", err)
		return
	}
	if _, err := s.Engine.Revoke(ctx, t, set); err != nil {
		s.Logger.WarnContext(ctx, "an unused grant was not revoked", "flow", f.ID, "provider", p.ID, "err", err)
	}
}

// answeredError is the provider's redirect with an error (RFC 6749 §4.1.2.1).
func answeredError(p presets.Provider, q url.Values) error {
	code, text := provider.Clean(q.Get("error")), provider.Clean(q.Get("error_description"))
	switch code {
	case "access_denied", "user_denied", "user_cancelled", "consent_required":
		return fmt.Errorf("%w at %s", ErrDenied, p.DisplayName)
	case "unauthorized_client", "invalid_client":
		return fmt.Errorf("%w: %s says %s %s", ErrClient, p.DisplayName, code, text)
	case "temporarily_unavailable", "server_error":
		return fmt.Errorf("%w: %s says %s %s", ErrProviderDown, p.DisplayName, code, text)
	}
	return fmt.Errorf("%w: %s says %s %s", ErrProvider, p.DisplayName, code, text)
}

// exchangeError puts a failed exchange in the flow's own words.
func exchangeError(p presets.Provider, err error) error {
	var e *provider.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%w: %w", ErrProvider, err)
	}
	switch {
	case e.Status == 0 && e.Ambiguous:
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case e.Verdict == provider.ClientMisconfigured:
		return fmt.Errorf("%w: %w", ErrClient, err)
	case e.Verdict == provider.Reconnect:
		return fmt.Errorf("%w: %w", ErrCode, err)
	case e.Verdict == provider.ProviderDown:
		return fmt.Errorf("%w: %w", ErrProviderDown, err)
	}
	return fmt.Errorf("%w: %w", ErrProvider, err)
}

// MissingScopes are those that were asked for and not granted.
func MissingScopes(asked, granted []string) []string {
	var out []string
	for _, sc := range asked {
		if !slices.Contains(granted, sc) {
			out = append(out, sc)
		}
	}
	return out
}

func labelOf(a connection.Account) string {
	switch {
	case a.Label != "":
		return a.Label
	case a.Subject != "":
		return a.Subject
	}
	return "an account that the provider does not name"
}
