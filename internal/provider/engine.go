// Package provider talks to OAuth authorization servers. It is one engine: what
// differs between providers is data (presets.Provider), and nothing here knows
// any of them by name.
//
// The flow of one connection, each step one method of [Engine]:
//
//	AuthorizeURL   where the person is sent: state, PKCE, scopes
//	CheckCallback  what came back: is it from that provider (RFC 9207)
//	Exchange       code → tokens. The code is sent exactly once
//	Identity       which account it is
//	Discover       which place of the provider, where a grant can be for several
//	Refresh        renews the tokens that need it, each sent exactly once
//	Validate       does the provider still accept this access token
//	Revoke         ends the grant at the provider
//
// A request that spends something (a code, a refresh token) leaves at most
// once: no retry, no second try with another client authentication, no
// redirect followed. Whether a failed one may have been processed is told by
// [Error].Ambiguous. What a failure means is a [Verdict], decided in one
// place from the provider's data.
//
// Replies are hostile: they are bounded, never logged, and their words reach
// people only as plain text without control characters or the secrets that
// were sent.
package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// Errors that are about the request that was asked for, not about what the
// provider answered.
var (
	// ErrTarget: the client, a parameter or a URL cannot be used; nothing was
	// sent. The operator, or who typed the parameter, has to act.
	ErrTarget = errors.New("the provider cannot be used like this")
	// ErrCallback: the callback is not what the provider would send. The flow
	// ends; the person starts again.
	ErrCallback = errors.New("the callback was refused")
	// ErrNotRenewable: the grant has nothing to renew with.
	ErrNotRenewable = errors.New("nothing to renew the tokens with")
)

// Client is our registration at a provider.
type Client struct {
	ID     string
	Secret token.Secret // empty for a public client
	// Variant of the provider that this registration is for; empty for none.
	// It has been applied by presets.Provider.Resolve. Where the provider was found,
	// it is the issuer that the registration is at.
	Variant string
	// Parameters are those that were set with the client, where it is registered at
	// one of several places (host).
	Parameters map[string]string
}

// Target is a provider as one tenant's client sees it, for one connection.
type Target struct {
	Provider presets.Provider // resolved
	Client   Client
	// RedirectURI is ours, exactly as registered.
	RedirectURI string
	// Params are what the person was asked (shop, tenant).
	Params map[string]string
	// Deployment are the parameters that the deployment sets.
	Deployment map[string]string
}

// Engine does the requests. The zero value works: it refuses private hosts and
// loopback. An Engine is safe for concurrent use.
type Engine struct {
	// HTTP sends the requests; nil means a client over [GuardedTransport]. Its
	// redirect policy is not used: no redirect is followed.
	HTTP *http.Client
	// Now is time.Now when nil.
	Now func() time.Time
	// AllowLoopback permits plain http on loopback, for one machine.
	AllowLoopback bool
	// Logger is silent when nil. It is never given a body, a URL or a header.
	Logger *slog.Logger
}

// Result is what a token request yielded.
type Result struct {
	Set token.Set
	// ScopesGranted are those of all tokens together. ScopesKnown is false when
	// the provider did not say: then they are what was asked for (RFC 6749 §5.1).
	ScopesGranted []string
	ScopesKnown   bool
	// Renewed are the names of the tokens that this request replaced.
	Renewed []string
	// Rotated: a refresh token of Set.Grant differs from before, so the grant
	// must be stored before anything else happens.
	Rotated bool
	// Account is set when the token response named it.
	Account Account
	// Notice is for the operator: why no refresh token came.
	Notice string
}

// Account is which account at the provider was connected.
type Account struct {
	// Subject identifies it for good; compare it, don't show it.
	Subject string
	// Label is for people. It is the provider's text.
	Label string
}

func (e *Engine) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

func (e *Engine) logger() *slog.Logger {
	if e.Logger != nil {
		return e.Logger
	}
	return slog.New(slog.DiscardHandler)
}

// fill holds what the templates of one request may use.
type fill struct {
	engine *Engine
	values map[string]string
}

// fill resolves the target's parameters. Metadata of earlier replies supplies
// those that come from there.
func (e *Engine) fill(t Target, metadata map[string]string) (fill, error) {
	values, err := t.Provider.Values(presets.Inputs{User: t.Params, Deployment: t.Deployment, Client: t.Client.Parameters, Metadata: metadata})
	if err != nil {
		return fill{}, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	values["client_id"] = t.Client.ID
	values["redirect_uri"] = t.RedirectURI
	return fill{engine: e, values: values}, nil
}

// with adds a value for one request.
func (f fill) with(name, value string) fill {
	values := maps.Clone(f.values)
	values[name] = value
	return fill{engine: f.engine, values: values}
}

func (f fill) text(template string) (string, error) {
	text, err := presets.Expand(template, f.values)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrTarget, err)
	}
	return text, nil
}

// url fills a URL and checks that we may send secrets there. The address that
// its host resolves to is checked again when it is dialled.
func (f fill) url(template string) (*url.URL, error) {
	u, err := presets.ExpandURL(template, f.values)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	if err := CheckURL(u, f.engine.AllowLoopback); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	return u, nil
}

func (f fill) texts(templates map[string]string, put func(name, value string)) error {
	for name, template := range templates {
		value, err := f.text(template)
		if err != nil {
			return err
		}
		put(name, value)
	}
	return nil
}

// Scopes by authorization parameter; the main parameter's key is "".
type Scopes map[string][]string

// deadline bounds a request whose caller set no deadline.
func deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, requestTimeout)
}
