package signin

import (
	"context"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
)

// The ways to fail, beside those of package flow.
var (
	ErrUnknown = &flow.Error{Code: "sign_in_unknown", Message: "this sign-in does not exist"}
	ErrExpired = &flow.Error{Code: "sign_in_expired", Message: "this sign-in has expired"}
	ErrUsed    = &flow.Error{Code: "sign_in_used", Message: "this sign-in was finished before"}
	// ErrBrowser is also what a browser learns that has no cookie of ours.
	ErrBrowser   = &flow.Error{Code: "sign_in_other_browser", Message: "this sign-in was begun in another browser"}
	ErrProof     = &flow.Error{Code: "sign_in_not_confirmed", Message: "the address does not prove who signed in"}
	ErrOtherUser = &flow.Error{Code: "sign_in_other_user", Message: "this sign-in was confirmed for another user"}
	ErrMethod    = &flow.Error{Code: "sign_in_method", Message: "people of this tenant do not sign in like this"}
	ErrReturn    = &flow.Error{Code: "sign_in_return_invalid", Message: "a sign-in does not lead there"}

	ErrIssuerDown = &flow.Error{Code: "issuer_unavailable", Message: "the issuer could not be asked"}
	ErrToken      = &flow.Error{Code: "id_token_invalid", Message: "the issuer's answer does not say who signed in"}
	ErrNotAllowed = &flow.Error{Code: "sign_in_not_allowed", Message: "this account is not one that may come in here"}
)

// attemptTTL is how long a person has to sign in.
const attemptTTL = 10 * time.Minute

// sessionTTL is how long somebody who signed in stays so: they come back with a
// click, and whoever left the tenant has no longer than this.
const sessionTTL = 12 * time.Hour

// Attempt is one person signing in. What it was begun with stays as it is,
// whatever becomes of the tenant's settings.
type Attempt struct {
	ID     string      `json:"id"`
	Tenant string      `json:"tenant"`
	Method flow.Method `json:"method"`
	// Browser is the hash of the browser that began it.
	Browser string `json:"browser"`
	// ReturnPath is where the person goes on: see [CheckReturn].
	ReturnPath string `json:"return_path"`
	// ProofHash is the hash of the secret that takes the attempt; "": there is
	// none yet.
	ProofHash string `json:"proof_hash,omitempty"`
	// UserID is whom the tenant's backend has confirmed.
	UserID string `json:"user_id,omitempty"`
	// Issuer and ClientID are whom the person was sent to, and as whose. Nonce
	// has to come back in the id token, Verifier is PKCE's (RFC 7636 §4.1). They
	// are gone when the attempt is taken.
	Issuer    string    `json:"issuer,omitempty"`
	ClientID  string    `json:"client_id,omitempty"`
	Nonce     string    `json:"nonce,omitempty"`
	Verifier  string    `json:"verifier,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

// MayConfirm says why the tenant's backend cannot confirm that user: see
// [Store.ConfirmAttempt].
func (a Attempt) MayConfirm(tenant, user string, now time.Time) error {
	switch {
	case a.Tenant != tenant:
		return ErrUnknown
	case !now.Before(a.ExpiresAt):
		return ErrExpired
	case a.UserID != "" && a.UserID != user:
		return ErrOtherUser
	}
	return nil
}

// MayTake says why that browser cannot take the attempt: see [Store.TakeAttempt].
func (a Attempt) MayTake(browser, proofHash string, now time.Time) error {
	switch {
	case a.Browser != browser:
		return ErrBrowser
	case !now.Before(a.ExpiresAt):
		return ErrExpired
	case proofHash == "" || a.ProofHash != proofHash:
		return ErrProof
	}
	return nil
}

// Store keeps attempts. An expired one may be returned until it is purged.
type Store interface {
	// PutAttempt adds an attempt, or returns [flow.ErrExists] and leaves the one
	// that has its id, or had it before it was taken.
	PutAttempt(ctx context.Context, a Attempt) error
	// Attempt returns ErrUnknown, or ErrUsed of one that was taken. ErrUsed is
	// remembered for an hour or longer.
	Attempt(ctx context.Context, id string) (Attempt, error)
	// ConfirmAttempt writes the user and the hash of the proof into an attempt of
	// the tenant that is neither expired (not before ExpiresAt) nor taken, in one
	// atomic step. The same user may be confirmed again, by a proof that takes the
	// place of the one before; another one is ErrOtherUser. Else ErrExpired,
	// ErrUsed, or ErrUnknown, which another tenant's attempt is, too, until it is
	// taken.
	ConfirmAttempt(ctx context.Context, tenant, id, user, proofHash string, now time.Time) (Attempt, error)
	// TakeAttempt removes and returns the attempt if it is unexpired, belongs to
	// the browser and has that proof, which is not "", in one atomic step: of any
	// number of callers, one gets it. The others are told why not: ErrUnknown,
	// ErrUsed, ErrBrowser, ErrExpired or ErrProof, the first that is true. A
	// refusal leaves the attempt for who it belongs to.
	TakeAttempt(ctx context.Context, id, browser, proofHash string, now time.Time) (Attempt, error)
}

// returns are the pages that a person can be on the way to: exact paths, and
// what is below those that end in a slash.
var returns = []string{"/mcp/servers", "/mcp/all", "/mcp/connections/", "/c/", "/oauth/requests/"}

// maxReturn bounds a return path, in bytes: it is kept in a cookie.
const maxReturn = 512

// CheckReturn returns ErrReturn unless the path is one of our own pages, of this
// very host, to which a sign-in may lead.
func CheckReturn(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxReturn || !strings.HasPrefix(raw, "/") || u.IsAbs() || u.Host != "" || u.Opaque != "" || u.User != nil ||
		strings.ContainsAny(raw, "\\#;,\"") || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' }) ||
		u.EscapedPath() != u.Path || path.Clean(u.Path) != u.Path {
		return ErrReturn
	}
	if !slices.ContainsFunc(returns, func(page string) bool {
		return u.Path == page && !strings.HasSuffix(page, "/") || strings.HasSuffix(page, "/") && strings.HasPrefix(u.Path, page)
	}) {
		return ErrReturn
	}
	return nil
}
