package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Finisher finishes sign-ins at issuers: it has our clients' secrets.
type Finisher struct {
	Store    Store
	Tenants  flow.Tenants
	Secrets  flow.Secrets
	Sessions Sessions
	Issuers  *Issuers
	BaseURL  string
	Now      func() time.Time
	Logger   *slog.Logger
}

// Finish takes the issuer's answer. The attempt it returns is the one that the
// state named, also beside an error, so that the page knows how to begin anew; it
// is empty while the state has not proven that this browser may see it.
func (f *Finisher) Finish(ctx context.Context, q url.Values, browser string) (Attempt, Signed, error) {
	for name, values := range q {
		if len(values) > 1 { // RFC 6749 §3.1: not more than once
			return Attempt{}, Signed{}, fmt.Errorf("%w: %q occurs more than once", flow.ErrCallback, name)
		}
	}
	a, err := f.take(ctx, q.Get("state"), browser)
	if err != nil {
		return Attempt{}, Signed{}, err
	}
	who, err := f.who(ctx, a, q)
	if err != nil {
		return a, Signed{}, err
	}
	signed, err := open(ctx, f.Sessions, a, who.user, who.name, f.Now())
	return a, signed, err
}

func (f *Finisher) take(ctx context.Context, state, browser string) (Attempt, error) {
	id, secret, _ := strings.Cut(state, ".")
	a, err := f.Store.Attempt(ctx, id)
	if err != nil {
		return Attempt{}, err
	}
	if a.Method != flow.OIDC {
		return Attempt{}, ErrUnknown
	}
	return f.Store.TakeAttempt(ctx, id, browser, proofHash(token.Secret(secret)), f.Now())
}

// who is whom the issuer's answer names, if the tenant lets them in.
func (f *Finisher) who(ctx context.Context, a Attempt, q url.Values) (person, error) {
	t, err := f.Tenants.Tenant(ctx, a.Tenant)
	if err != nil {
		return person{}, err
	}
	if t.SignIn.Way() != flow.OIDC || t.SignIn.Issuer != a.Issuer {
		return person{}, fmt.Errorf("%w: the tenant's issuer has changed meanwhile", ErrMethod)
	}
	issuer, err := f.Issuers.find(ctx, a.Issuer)
	if err != nil {
		return person{}, err
	}
	// RFC 9207 §2.4, before anything else of the answer is believed.
	if iss := q.Get("iss"); iss != a.Issuer && (iss != "" || issuer.Names) {
		return person{}, flow.ErrIssuer
	}
	if code := q.Get("error"); code != "" {
		return person{}, answered(code, q.Get("error_description"))
	}
	if q.Get("code") == "" {
		return person{}, fmt.Errorf("%w: it holds neither a code nor an error", flow.ErrCallback)
	}
	client, err := f.Secrets.Client(ctx, a.Tenant, flow.SignInClient, a.ClientID)
	if err != nil {
		return person{}, err
	}
	ctx = f.Issuers.guarded(ctx)
	got, err := issuer.client(client.ID, client.Secret, f.BaseURL).Exchange(ctx, q.Get("code"), oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return person{}, f.exchangeError(ctx, a, err)
	}
	c, err := f.claims(ctx, issuer, a, got)
	if err != nil {
		return person{}, err
	}
	return admit(t.SignIn, c)
}

// answered is the issuer's redirect with an error (OpenID Connect Core 1.0
// §3.1.2.6).
func answered(code, description string) error {
	code, description = provider.Clean(code), provider.Clean(description)
	if code == "access_denied" {
		return flow.ErrDenied
	}
	return fmt.Errorf("%w: it says %s %s", flow.ErrProvider, code, description)
}

// exchangeError names the code of an error alone: an answer may repeat what it was
// sent.
func (f *Finisher) exchangeError(ctx context.Context, a Attempt, err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		f.Logger.WarnContext(ctx, "an issuer did not answer", "issuer", a.Issuer)
		return ErrIssuerDown
	}
	code := provider.Clean(refused.ErrorCode)
	f.Logger.WarnContext(ctx, "an issuer refused a code", "issuer", a.Issuer, "status", refused.Response.StatusCode, "error", code)
	switch code {
	case "invalid_client", "unauthorized_client":
		return flow.ErrClient
	case "invalid_grant":
		return fmt.Errorf("%w: it refused its own code", ErrToken)
	}
	return ErrIssuerDown
}

// claims are what the answer says of the person, once all is proven of it (OpenID
// Connect Core 1.0 §3.1.3.7): signature, issuer, audience and expiry by package
// oidc, whose algorithms are the issuer's without "none" and those with a shared
// secret, and here the rest.
func (f *Finisher) claims(ctx context.Context, issuer *issuer, a Attempt, got *oauth2.Token) (claims, error) {
	bad := func(why string) (claims, error) {
		f.Logger.WarnContext(ctx, "an id token was refused", "issuer", a.Issuer, "tenant", a.Tenant, "why", why)
		return claims{}, fmt.Errorf("%w: %s", ErrToken, why)
	}
	raw, _ := got.Extra("id_token").(string)
	if raw == "" {
		return bad("it holds no id token")
	}
	id, err := issuer.Verifier(&oidc.Config{ClientID: a.ClientID, Now: f.Now}).Verify(ctx, raw)
	if err != nil {
		return bad(provider.Clean(strings.TrimPrefix(err.Error(), "oidc: ")))
	}
	c := claims{issuer: a.Issuer}
	if err := id.Claims(&c); err != nil {
		return bad("its claims cannot be read")
	}
	switch {
	case id.Nonce == "" || !token.Matches(token.Secret(id.Nonce), token.Hash(token.Secret(a.Nonce))):
		return bad("the id token was not made for this sign-in")
	case len(id.Audience) > 1 && c.AuthorizedParty == "", c.AuthorizedParty != "" && c.AuthorizedParty != a.ClientID:
		return bad("the id token was made for another client")
	case id.AccessTokenHash != "" && id.VerifyAccessToken(got.AccessToken) != nil:
		return bad("the id token belongs to another access token")
	case c.Subject == "":
		return bad("the id token names nobody")
	}
	// Many issuers put the address here alone (OpenID Connect Core 1.0 §5.4).
	if c.Email == "" && issuer.UserInfoEndpoint() != "" {
		info, err := issuer.UserInfo(ctx, oauth2.StaticTokenSource(got))
		switch {
		case err != nil:
			f.Logger.WarnContext(ctx, "an issuer's userinfo was not read", "issuer", a.Issuer)
		case info.Subject != c.Subject: // §5.3.2
			return bad("the issuer names two people")
		default:
			c.Email, c.EmailVerified = info.Email, verified(info.EmailVerified)
		}
	}
	return c, nil
}
