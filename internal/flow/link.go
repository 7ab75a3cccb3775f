package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

// How long things live.
const (
	DefaultLinkTTL = 24 * time.Hour
	MaxLinkTTL     = 7 * 24 * time.Hour
	SessionTTL     = 30 * 24 * time.Hour
	flowTTL        = 30 * time.Minute
	stateTTL       = 10 * time.Minute
	confirmTTL     = 10 * time.Minute
)

// LinkRequest asks for a connect link.
type LinkRequest struct {
	Tenant, UserID string
	// Servers limits what the link offers; none: every server.
	Servers    []string
	ReturnURL  string
	Parameters map[string]string
	TTL        time.Duration
	// Owner: see [Link].
	Owner bool
	// Seed makes the link a function of itself, so that a repeated request
	// with one Idempotency-Key gets the same link. Empty: a random link.
	Seed []byte
}

// CreateLink mints a link and returns it with the path of its URL, which alone
// holds the secret.
func (s *Starter) CreateLink(ctx context.Context, r LinkRequest) (Link, string, error) {
	for _, name := range r.Servers {
		if _, ok := s.Catalogue.Server(name); !ok {
			return Link{}, "", fmt.Errorf("%w: %q", ErrServer, name)
		}
	}
	if err := s.checkAsked(r.Servers, r.Parameters); err != nil {
		return Link{}, "", err
	}
	if err := s.CheckReturnURL(ctx, r.Tenant, r.ReturnURL); err != nil {
		return Link{}, "", err
	}
	if r.TTL <= 0 {
		r.TTL = DefaultLinkTTL
	}
	now := s.Now().UTC()
	id, secret := token.NewID("lnk"), token.NewSecret()
	if len(r.Seed) > 0 {
		id, secret = token.DeriveID("lnk", r.Seed), token.DeriveSecret(r.Seed)
	}
	l := Link{
		ID: id, Tenant: r.Tenant, SecretHash: token.Hash(secret), UserID: r.UserID, Servers: r.Servers,
		ReturnURL: r.ReturnURL, Parameters: r.Parameters, Owner: r.Owner, CreatedAt: now, ExpiresAt: now.Add(min(r.TTL, MaxLinkTTL)),
	}
	path := "/l/" + linkRef(r.Tenant, id, secret)
	if err := s.Store.PutLink(ctx, l); err != nil {
		if len(r.Seed) == 0 || !errors.Is(err, ErrExists) {
			return Link{}, "", fmt.Errorf("store the link: %w", err)
		}
		old, err := s.Store.GetLink(ctx, r.Tenant, id)
		if err != nil || old.UserID != r.UserID || old.ReturnURL != r.ReturnURL ||
			!slices.Equal(old.Servers, r.Servers) || !maps.Equal(old.Parameters, r.Parameters) {
			return Link{}, "", fmt.Errorf("%w: this Idempotency-Key was used for another request", ErrExists)
		}
		return old, path, nil
	}
	return l, path, nil
}

// checkAsked refuses a parameter that none of the servers asks a person for: a
// slip of the pen would show itself only to whoever opens the link. A link to every
// server may have any.
func (s *Starter) checkAsked(servers []string, given map[string]string) error {
	var asked []string
	for _, name := range servers {
		if server, ok := s.Catalogue.Server(name); ok {
			for _, p := range Asked(s.Catalogue, server) {
				asked = append(asked, p.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if len(servers) > 0 && !slices.Contains(asked, name) {
			return fmt.Errorf("%w: %q: none of the link's servers asks for it", ErrParameter, name)
		}
	}
	return nil
}

// linkRef is the last part of a link's URL: id.secret, and before it tenant~
// where it is not the default one.
func linkRef(tenant, id string, secret token.Secret) string {
	ref := id + "." + secret.Reveal()
	if tenant != DefaultTenant {
		ref = url.PathEscape(tenant) + "~" + ref
	}
	return ref
}

// parseRef takes a ref apart, unescaped.
func parseRef(ref string) (tenant, id string, secret token.Secret) {
	tenant, rest, named := strings.Cut(ref, "~")
	if !named {
		tenant, rest = DefaultTenant, ref
	}
	id, text, _ := strings.Cut(rest, ".")
	return tenant, id, token.Secret(text)
}

// ClaimLink gives the browser that first opens the link a page session of the
// link's user. It returns the session and the secret for its cookie.
func (s *Starter) ClaimLink(ctx context.Context, ref, browser string) (Session, token.Secret, error) {
	l, err := s.FindLink(ctx, ref)
	if err != nil {
		return Session{}, "", err
	}
	if l, err = s.Store.ClaimLink(ctx, l.Tenant, l.ID, browser, s.Now()); err != nil {
		return Session{}, "", err
	}
	return s.OpenSession(ctx, Session{
		Tenant: l.Tenant, UserID: l.UserID, Browser: browser, Servers: l.Servers, LinkID: l.ID, Owner: l.Owner,
		ReturnURL: l.ReturnURL, Parameters: l.Parameters, ExpiresAt: l.ExpiresAt,
	})
}

// FindLink returns the link that the last part of its URL names, claimed or not.
func (s *Starter) FindLink(ctx context.Context, ref string) (Link, error) {
	tenant, id, secret := parseRef(ref)
	l, err := s.Store.GetLink(ctx, tenant, id)
	if err != nil {
		return Link{}, err
	}
	switch err := s.exists(ctx, tenant); {
	case !token.Matches(secret, l.SecretHash), errors.Is(err, ErrTenant):
		return Link{}, ErrLinkUnknown
	case err != nil:
		return Link{}, err
	case s.Now().After(l.ExpiresAt):
		return Link{}, ErrLinkExpired
	}
	return l, nil
}

// OpenSession stores a page session and returns the secret for its cookie.
func (s *Starter) OpenSession(ctx context.Context, ses Session) (Session, token.Secret, error) {
	secret := token.NewSecret()
	ses.Hash = token.Hash(secret)
	if ses.ExpiresAt.IsZero() {
		ses.ExpiresAt = s.Now().UTC().Add(SessionTTL)
	}
	if err := s.Store.PutSession(ctx, ses); err != nil {
		return Session{}, "", fmt.Errorf("store the session: %w", err)
	}
	return ses, secret, nil
}

// Session returns the page session of a cookie, if the browser is the one that
// it was given to.
func (s *Starter) Session(ctx context.Context, cookie token.Secret, browser string) (Session, error) {
	ses, err := s.Store.GetSession(ctx, token.Hash(cookie))
	if err != nil {
		return Session{}, err
	}
	if ses.Browser != browser || s.Now().After(ses.ExpiresAt) {
		return Session{}, ErrNoSession
	}
	if err := s.exists(ctx, ses.Tenant); errors.Is(err, ErrTenant) {
		return Session{}, ErrNoSession
	} else if err != nil {
		return Session{}, err
	}
	return ses, nil
}

// CloseSession ends the page session of a cookie, if the browser is the one that
// it was given to.
func (s *Starter) CloseSession(ctx context.Context, cookie token.Secret, browser string) error {
	ses, err := s.Store.GetSession(ctx, token.Hash(cookie))
	if errors.Is(err, ErrNoSession) || err == nil && ses.Browser != browser {
		return nil
	}
	if err != nil {
		return err
	}
	return s.Store.DeleteSession(ctx, ses.Hash)
}

// exists reports with ErrTenant that the tenant was removed: what was made for
// it does not outlive it. The default one cannot be.
func (s *Starter) exists(ctx context.Context, tenant string) error {
	if tenant == DefaultTenant {
		return nil
	}
	_, err := s.Tenants.Tenant(ctx, tenant)
	return err
}

// CheckReturnURL returns ErrReturnURL unless a person of the tenant may be sent
// back to the URL, or it is empty. It compares with the tenant's list: scheme,
// host and port equal, the path equal or below an entry that ends in a slash.
// Paths are compared as they are sent: what a server makes of an escaped slash is
// its own affair.
func (s *Starter) CheckReturnURL(ctx context.Context, tenant, raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Fragment != "" || u.Opaque != "" || u.Host == "" ||
		strings.Contains(raw, "\\") || strings.Contains(u.EscapedPath(), "..") || strings.Contains(strings.ToLower(u.EscapedPath()), "%2e") {
		return ErrReturnURL
	}
	t, err := s.Tenants.Tenant(ctx, tenant)
	if err != nil {
		return err
	}
	for _, allowed := range t.ReturnURLs {
		a, err := url.Parse(allowed)
		if err != nil || a.Scheme != u.Scheme || !strings.EqualFold(a.Host, u.Host) {
			continue
		}
		path, entry := u.EscapedPath(), a.EscapedPath()
		below := strings.HasSuffix(entry, "/") && strings.HasPrefix(path, entry)
		if below || cmp.Or(path, "/") == cmp.Or(entry, "/") {
			return nil
		}
	}
	return ErrReturnURL
}
