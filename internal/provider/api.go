package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// ErrNotCheckable: the provider's file names no request that would tell.
var ErrNotCheckable = errors.New("the provider offers no way to check")

// Identity tells which account was connected: what the token response said, or
// what the provider's identity request answers. ErrNotCheckable means that the
// provider's file names neither.
func (e *Engine) Identity(ctx context.Context, t Target, r Result) (Account, error) {
	p := t.Provider
	if r.Account.Subject != "" {
		return r.Account, nil
	}
	if p.Identity.Request == nil {
		return Account{}, ErrNotCheckable
	}
	access, ok := mainToken(r.Set.Access)
	if !ok {
		return Account{}, fmt.Errorf("%w: no access token", ErrTarget)
	}
	c, err := e.apiCall(t, opAPI, *p.Identity.Request, r.Set.Access.Metadata, access)
	if err != nil {
		return Account{}, err
	}
	reply, err := e.send(ctx, p, c)
	if err != nil {
		return Account{}, err
	}
	found, err := account(p, reply.doc)
	if err != nil {
		return Account{}, c.failed(p, reply.status, reply.doc)
	}
	return found, nil
}

// Validate asks the provider whether it still accepts the access tokens: the
// check behind a hint that they are dead. Reconnect means that one is refused:
// renew it, and only if that fails does the person have to act. Any other
// verdict but OK says nothing about the tokens.
func (e *Engine) Validate(ctx context.Context, t Target, access token.Access) (Verdict, error) {
	request := t.Provider.Validation
	if request == nil {
		request = t.Provider.Identity.Request
	}
	if request == nil || len(access.Tokens) == 0 {
		return Transient, ErrNotCheckable
	}
	for _, name := range names(access.Tokens) {
		c, err := e.apiCall(t, opAPI, *request, access.Metadata, access.Tokens[name].AccessToken)
		if err != nil {
			return Transient, err
		}
		if _, err := e.send(ctx, t.Provider, c); err != nil {
			return verdictIn(err), err
		}
	}
	return OK, nil
}

func verdictIn(err error) Verdict {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.Verdict
	}
	return Transient
}

func mainToken(access token.Access) (token.Secret, bool) {
	if t, ok := access.Tokens[""]; ok {
		return t.AccessToken, true
	}
	for _, name := range names(access.Tokens) {
		return access.Tokens[name].AccessToken, true
	}
	return "", false
}

// apiCall is a request with an access token.
func (e *Engine) apiCall(t Target, o op, r presets.APIRequest, metadata map[string]string, access token.Secret) (call, error) {
	f, err := e.fill(t, metadata)
	if err != nil {
		return call{}, err
	}
	return f.with("access_token", access.Reveal()).apiCall(t, o, r, access.Reveal())
}

func (f fill) apiCall(t Target, o op, r presets.APIRequest, secrets ...string) (call, error) {
	u, err := f.url(r.URL)
	if err != nil {
		return call{}, err
	}
	c := call{
		op: o, method: orElse(r.Method, http.MethodGet), url: u, success: r.Success,
		encoding: r.Encoding, params: map[string]string{}, secrets: secrets,
		header: http.Header{"Accept": {"application/json"}, "User-Agent": {userAgent}},
	}
	authorization := orElse(orElse(r.Authorization, t.Provider.API.Authorization), "Bearer {access_token}")
	switch authorization {
	case "none":
	case presets.AuthorizationClient:
		if err := f.authenticate(&c, t); err != nil {
			return call{}, err
		}
	default:
		value, err := f.text(authorization)
		if err != nil {
			return call{}, err
		}
		c.header.Set("Authorization", value)
	}
	if err := f.texts(t.Provider.API.Headers, c.header.Set); err != nil {
		return call{}, err
	}
	if err := f.texts(r.Headers, c.header.Set); err != nil {
		return call{}, err
	}
	err = f.texts(r.Params, func(name, value string) { c.params[name] = value })
	if c.method != http.MethodPost && len(c.params) == 0 {
		c.encoding = presets.EncodingQuery
	}
	return c, err
}

const maxSubject = 512

// account reads who a document is about.
func account(p presets.Provider, doc any) (Account, error) {
	var subject, label []string
	for _, path := range p.Identity.Subject {
		part, ok := text(lookup(doc, path))
		if !ok || len(part) > maxSubject || clean(part, maxSubject, nil) != part {
			return Account{}, fmt.Errorf("%w: %s did not say which account this is", ErrTarget, p.DisplayName)
		}
		subject = append(subject, part)
	}
	for _, path := range p.Identity.Label {
		if part, ok := text(lookup(doc, path)); ok {
			label = append(label, part)
		}
	}
	if len(label) == 0 {
		label = append(label, firstText(doc, p.Identity.Fallback))
	}
	a := Account{Subject: strings.Join(subject, ":"), Label: clean(strings.Join(label, " · "), 100, nil)}
	if a.Subject == "" {
		return Account{}, fmt.Errorf("%w: %s names no account", ErrTarget, p.DisplayName)
	}
	a.Label = orElse(a.Label, a.Subject)
	return a, nil
}
