package provider

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// Exchange trades a code for tokens (RFC 6749 §4.1.3). It checks the callback
// first, again, so that no caller can forget to. The code is sent at most once,
// and whatever comes of it is spent: a failed exchange is never tried again.
func (e *Engine) Exchange(ctx context.Context, t Target, code, verifier string, callback url.Values) (Result, error) {
	p := t.Provider
	if err := e.CheckCallback(t, callback); err != nil {
		return Result{}, err
	}
	if code == "" {
		return Result{}, fmt.Errorf("%w: it holds no code: start connecting again", ErrCallback)
	}
	kept := map[string]string{}
	captured(p.Callback.Capture, callback, kept)
	f, err := e.fill(t, kept)
	if err != nil {
		return Result{}, err
	}
	params := map[string]string{"grant_type": "authorization_code", "code": code}
	if p.RedirectURI.SendOnToken != "never" {
		params["redirect_uri"] = t.RedirectURI
	}
	if p.PKCE.Mode != "disabled" {
		params["code_verifier"] = verifier
	}
	c, err := f.tokenCall(t, opCode, p.TokenEndpoint, p.Requests.Code, params)
	if err != nil {
		return Result{}, err
	}
	c.secrets = append(c.secrets, code, verifier)
	doc, found, err := e.tokens(ctx, p, c, "")
	if err != nil {
		return Result{}, err
	}
	if found, err = e.lengthen(ctx, t, f, found); err != nil {
		return Result{}, err
	}
	result := Result{Renewed: names(found)}
	result.Set.Access = token.Access{Tokens: map[string]token.Token{}, Metadata: kept}
	result.Set.Grant.Renewables = map[string]token.Renewable{}
	known := map[string]bool{}
	for name, g := range found {
		result.Set.Access.Tokens[name], known[name] = g.token, g.scopesKnown
		if g.renewable.RefreshToken != "" {
			result.Set.Grant.Renewables[name] = g.renewable
			result.Rotated = true
		}
	}
	metadata(p, doc, kept, result.Set.Secrets())
	if p.Identity.From == presets.IdentityTokenResponse {
		// A reply without it is reported by Identity: the tokens are not thrown
		// away here, so that the caller can revoke them.
		result.Account, _ = account(p, doc)
	}
	result.Notice = notice(p, result.Set)
	result.summary(known)
	return result, nil
}

// tokens sends a token request and reads what it granted: every token of the
// reply to a code, or the one below root.
func (e *Engine) tokens(ctx context.Context, p presets.Provider, c call, renewing string) (any, map[string]granted, error) {
	reply, err := e.send(ctx, p, c)
	if err != nil {
		return nil, nil, err
	}
	now, found := e.now(), map[string]granted{}
	if c.op == opRefresh {
		if g, ok := read(p, lookup(reply.doc, refreshRoot(p, renewing)), now); ok {
			found[renewing] = g
		}
	} else {
		for _, root := range roots(p) {
			g, ok := read(p, lookup(reply.doc, root.Root), now)
			if !ok && !root.Optional {
				return nil, nil, c.failed(p, reply.status, reply.doc)
			}
			if ok {
				found[root.Name] = g
			}
		}
	}
	if len(found) == 0 {
		// A success by status without a token: an error in disguise, or garbage.
		return nil, nil, c.failed(p, reply.status, reply.doc)
	}
	return reply.doc, found, nil
}

// lengthen trades the fresh access tokens for longer-lived ones, where the
// provider does that instead of refresh tokens.
func (e *Engine) lengthen(ctx context.Context, t Target, f fill, found map[string]granted) (map[string]granted, error) {
	if t.Provider.Requests.Exchange == nil {
		return found, nil
	}
	out := maps.Clone(found)
	for _, name := range names(found) {
		c, err := f.exchangeCall(t, opCode, found[name].token.AccessToken)
		if err != nil {
			return nil, err
		}
		_, longer, err := e.tokens(ctx, t.Provider, c, "")
		if err != nil {
			return nil, err
		}
		g := longer[names(longer)[0]]
		if !g.scopesKnown {
			g.token.Scopes, g.scopesKnown = found[name].token.Scopes, found[name].scopesKnown
		}
		out[name] = g
	}
	return out, nil
}

// exchangeCall is the request of presets.TokenExchange.
func (f fill) exchangeCall(t Target, o op, access token.Secret) (call, error) {
	x := t.Provider.Requests.Exchange
	params := map[string]string{"grant_type": x.GrantType, x.TokenParam: access.Reveal()}
	c, err := f.tokenCall(t, o, orElse(x.Endpoint, t.Provider.TokenEndpoint), x.Request, params)
	c.secrets = append(c.secrets, access.Reveal())
	return c, err
}

// tokenCall is a request to the token endpoint: the RFC's parameters, our
// client's proof, then what the provider wants otherwise.
func (f fill) tokenCall(t Target, o op, endpoint string, r presets.TokenRequest, params map[string]string) (call, error) {
	u, err := f.url(endpoint)
	if err != nil {
		return call{}, err
	}
	c := call{
		op: o, method: orElse(r.Method, http.MethodPost), url: u, encoding: r.Encoding, params: params,
		header: http.Header{"Accept": {"application/json"}, "User-Agent": {userAgent}},
		format: t.Provider.Response.Format, success: t.Provider.Response.Success,
	}
	if err := f.authenticate(&c, t); err != nil {
		return call{}, err
	}
	if err := f.texts(r.Headers, c.header.Set); err != nil {
		return call{}, err
	}
	if err := f.texts(r.Params, func(name, value string) { params[name] = value }); err != nil {
		return call{}, err
	}
	for _, name := range r.Omit {
		delete(params, name)
	}
	for name, theirs := range r.Rename {
		if value, ok := params[name]; ok {
			delete(params, name)
			params[theirs] = value
		}
	}
	return c, nil
}

// userAgent is descriptive: some providers throttle or refuse the default one.
const userAgent = "Lanyard (+https://github.com/lanyardhq/lanyard)"

// authenticate proves our client by the first method that it can do (RFC 6749
// §2.3.1).
func (f fill) authenticate(c *call, t Target) error {
	methods := t.Provider.ClientAuth.Methods
	if other := t.Provider.ClientAuth.Revocation; c.op == opRevocation && other != "" {
		methods = []string{other}
	}
	if len(methods) == 0 {
		methods = []string{presets.AuthBasic, presets.AuthNone}
	}
	id, secret := t.Client.ID, t.Client.Secret.Reveal()
	i := slices.IndexFunc(methods, func(method string) bool { return (method == presets.AuthNone) == (secret == "") })
	if i < 0 && secret != "" {
		i = slices.Index(methods, presets.AuthNone) // a public client needs no proof
	}
	if id == "" || i < 0 {
		return fmt.Errorf("%w: the client id or secret for %s is missing", ErrTarget, t.Provider.DisplayName)
	}
	switch methods[i] {
	case presets.AuthBasic:
		pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
		c.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case presets.AuthPost:
		c.params["client_id"], c.params["client_secret"] = id, secret
	case presets.AuthNone:
		c.params["client_id"] = id
	case presets.AuthHeader:
		value, err := f.with("client_secret", secret).text(t.Provider.ClientAuth.Header)
		if err != nil {
			return err
		}
		c.header.Set("Authorization", value)
	}
	if secret != "" {
		c.secrets = append(c.secrets, secret, url.QueryEscape(secret))
	}
	return nil
}

// notice tells the operator why no refresh token came, if one could have.
func notice(p presets.Provider, set token.Set) string {
	if !set.Grant.Empty() || p.Refresh.Grant == presets.GrantExchange || p.Refresh.Grant == presets.GrantNone {
		return ""
	}
	switch p.Refresh.Issued {
	case "app_setting":
		return p.DisplayName + " sent no refresh token: it does only when the app's settings there say so"
	case "partner":
		return p.DisplayName + " sent no refresh token: it gives them to approved partners only"
	}
	return p.DisplayName + " sent no refresh token: the connection ends when its access token does"
}

func names[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// joined keeps a single error as it is.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
