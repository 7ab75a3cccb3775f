package signin

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// The paths of a sign-in: CallbackPath is the redirect URI that is registered at
// issuers.
const (
	BeginPath    = "/oauth/sign-in"
	CallbackPath = "/oauth/sign-in/callback"
	continuePath = "/oauth/sign-ins/"
)

// Sessions opens page sessions. [*flow.Starter] does.
type Sessions interface {
	OpenSession(ctx context.Context, s flow.Session) (flow.Session, token.Secret, error)
}

// Starter begins sign-ins, and finishes those that the tenant's backend
// confirms. It holds no secret.
type Starter struct {
	Store    Store
	Tenants  flow.Tenants
	Clients  flow.Clients
	Sessions Sessions
	Issuers  *Issuers
	// BaseURL is the public URL, without a slash at its end.
	BaseURL string
	Now     func() time.Time
}

// Begin begins a sign-in to the tenant in the browser, and returns where it goes.
// ErrMethod of a tenant whose people do not sign in elsewhere.
func (s *Starter) Begin(ctx context.Context, tenant, browser, returnPath string) (string, error) {
	if browser == "" {
		return "", ErrBrowser // nothing that the attempt could be bound to
	}
	if err := CheckReturn(returnPath); err != nil {
		return "", err
	}
	t, err := s.Tenants.Tenant(ctx, tenant)
	if err != nil {
		return "", err
	}
	a := Attempt{ID: token.NewID("sgn"), Tenant: tenant, Method: t.SignIn.Way(), Browser: browser, ReturnPath: returnPath,
		ExpiresAt: s.Now().UTC().Add(attemptTTL)}
	var to string
	switch a.Method {
	case flow.OIDC:
		to, err = s.toIssuer(ctx, t.SignIn, &a)
	case flow.LoginURL:
		to, err = toLogin(t.SignIn, a)
	default:
		err = ErrMethod
	}
	if err != nil {
		return "", err
	}
	if err := s.Store.PutAttempt(ctx, a); err != nil {
		return "", fmt.Errorf("store the sign-in: %w", err)
	}
	return to, nil
}

// toIssuer asks the issuer (OpenID Connect Core 1.0 §3.1.2.1).
func (s *Starter) toIssuer(ctx context.Context, in flow.SignIn, a *Attempt) (string, error) {
	ours, err := s.Clients.Current(ctx, a.Tenant, flow.SignInClient)
	if err != nil {
		return "", err
	}
	issuer, err := s.Issuers.find(ctx, in.Issuer)
	if err != nil {
		return "", err
	}
	state := token.NewSecret()
	a.Issuer, a.ClientID, a.ProofHash = in.Issuer, ours.ID, token.Hash(state)
	a.Nonce, a.Verifier = token.NewSecret().Reveal(), oauth2.GenerateVerifier()
	client := issuer.client(ours.ID, "", s.BaseURL)
	return client.AuthCodeURL(a.ID+"."+state.Reveal(), oauth2.S256ChallengeOption(a.Verifier), oauth2.SetAuthURLParam("nonce", a.Nonce)), nil
}

// toLogin is the tenant's login, which learns what to confirm and, where that is
// known, which server the person wants.
func toLogin(in flow.SignIn, a Attempt) (string, error) {
	u, err := url.Parse(in.LoginURL)
	if err != nil {
		return "", ErrMethod
	}
	q := u.Query()
	q.Set("flow_id", a.ID)
	if back, err := url.Parse(a.ReturnPath); err == nil && back.Query().Get("server") != "" {
		q.Set("server", back.Query().Get("server"))
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Confirm is the tenant's backend saying which of its users its own login has
// seen. It returns the address to which it redirects that very browser, and which
// nobody else may see: it holds the proof.
func (s *Starter) Confirm(ctx context.Context, tenant, id, user string, proof token.Secret) (Attempt, string, error) {
	a, err := s.Store.Attempt(ctx, id)
	switch {
	case err != nil:
		return Attempt{}, "", err
	case a.Tenant != tenant:
		return Attempt{}, "", ErrUnknown
	case a.Method != flow.LoginURL:
		return Attempt{}, "", ErrMethod // who that is, the issuer alone says
	}
	if a, err = s.Store.ConfirmAttempt(ctx, tenant, id, user, token.Hash(proof), s.Now()); err != nil {
		return Attempt{}, "", err
	}
	return a, s.BaseURL + continuePath + a.ID + "?proof=" + url.QueryEscape(proof.Reveal()), nil
}

// Signed is a person who has signed in.
type Signed struct {
	Session flow.Session
	// Cookie is the secret of the session.
	Cookie     token.Secret
	ReturnPath string
}

// Continue takes an attempt that was confirmed, in the browser that began it.
func (s *Starter) Continue(ctx context.Context, id, browser string, proof token.Secret) (Signed, error) {
	a, err := s.Store.Attempt(ctx, id)
	if err != nil {
		return Signed{}, err
	}
	if a.Method != flow.LoginURL {
		return Signed{}, ErrMethod
	}
	if a, err = s.Store.TakeAttempt(ctx, id, browser, proofHash(proof), s.Now()); err != nil {
		return Signed{}, err
	}
	t, err := s.Tenants.Tenant(ctx, a.Tenant)
	if err != nil {
		return Signed{}, err
	}
	if t.SignIn.Way() != a.Method {
		return Signed{}, ErrMethod
	}
	return open(ctx, s.Sessions, a, a.UserID, "", s.Now())
}

// proofHash is the hash of a proof; "" of none, which takes nothing.
func proofHash(proof token.Secret) string {
	if proof == "" {
		return ""
	}
	return token.Hash(proof)
}

func open(ctx context.Context, sessions Sessions, a Attempt, user, name string, now time.Time) (Signed, error) {
	ses, cookie, err := sessions.OpenSession(ctx, flow.Session{
		Tenant: a.Tenant, UserID: user, Name: name, Browser: a.Browser, Proven: true, ExpiresAt: now.UTC().Add(sessionTTL),
	})
	return Signed{Session: ses, Cookie: cookie, ReturnPath: a.ReturnPath}, err
}
