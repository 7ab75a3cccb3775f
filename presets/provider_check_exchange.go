package presets

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

func (c *checker) client() {
	p := c.p
	auth := append(slices.Clone(p.ClientAuth.Methods), p.ClientAuth.Revocation)
	for i, method := range p.ClientAuth.Methods {
		c.oneOf(fmt.Sprintf("client_auth.methods[%d]", i), method, AuthBasic, AuthPost, AuthNone, AuthHeader)
	}
	c.oneOf("client_auth.revocation", p.ClientAuth.Revocation, AuthBasic, AuthPost, AuthNone, AuthHeader)
	if slices.Contains(auth, AuthHeader) != (p.ClientAuth.Header != "") && !c.partial {
		c.add("client_auth.header", "the method header and the template belong together")
	}
	c.names("client_auth.header", p.ClientAuth.Header, "client_id", "client_secret")
	c.oneOf("pkce.mode", p.PKCE.Mode, "required", "supported", "disabled")

	if p.Scope.Param == "none" && (len(p.Scope.Offline) > 0 || len(p.Scope.Default) > 0) {
		c.add("scope", "without a scope parameter no scope can be asked for")
	}
	for i, extra := range p.Scope.Additional {
		if extra.Param == "" || extra.Param == p.Scope.Param {
			c.add(fmt.Sprintf("scope.additional[%d].param", i), "names a parameter other than the main one")
		}
	}
	c.nameMap("authorization_params.fixed", p.AuthorizationParams.Fixed, "client_id")
	protected := []string{"state", "code_challenge", "code_challenge_method", "redirect_uri", "client_id"}
	for i, name := range p.AuthorizationParams.Allowed {
		if slices.Contains(protected, name) {
			c.add(fmt.Sprintf("authorization_params.allowed[%d]", i), "%s is the engine's own", name)
		}
	}
	for _, name := range protected {
		if _, ok := p.AuthorizationParams.Fixed[name]; ok {
			c.add("authorization_params.fixed."+name, "%s is the engine's own", name)
		}
	}
	if slices.Contains(p.AuthorizationParams.Omit, "state") {
		c.add("authorization_params.omit", "state is what protects the person: a provider that cannot take it is not supported")
	}
	c.oneOf("redirect_uri.loopback", p.RedirectURI.Loopback, LoopbackAny, LoopbackIP, LoopbackNone)
	c.oneOf("redirect_uri.send_on_token", p.RedirectURI.SendOnToken, "always", "never")
}

func (c *checker) callback() {
	cb := c.p.Callback
	c.oneOf("callback.iss", cb.ISS, "required")
	if cb.ISS == "required" && c.p.Issuer == "" && !c.partial {
		c.add("callback.iss", "needs issuer to compare with")
	}
	for i, name := range cb.Capture {
		if slices.Contains([]string{"code", "state", "iss"}, name) {
			c.add(fmt.Sprintf("callback.capture[%d]", i), "%s is not kept", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cb.Match)) {
		if _, ok := c.p.Parameters[cb.Match[name]]; !ok && !c.partial {
			c.add("callback.match."+name, "parameters does not declare %s", cb.Match[name])
		}
	}
	c.oneOf("callback.verify.type", cb.Verify.Type, "hmac_sha256")
	if (cb.Verify.Type == "") != (cb.Verify.Param == "") {
		c.add("callback.verify", "type and param belong together")
	}
}

func (c *checker) requests() {
	r := c.p.Requests
	c.tokenRequest("requests.code", r.Code)
	c.tokenRequest("requests.refresh", r.Refresh)
	if r.Exchange == nil {
		return
	}
	c.tokenRequest("requests.exchange.request", r.Exchange.Request)
	if r.Exchange.GrantType == "" || r.Exchange.TokenParam == "" {
		c.add("requests.exchange", "needs grant_type and token_param")
	}
	if r.Exchange.Endpoint != "" {
		c.url("requests.exchange.endpoint", r.Exchange.Endpoint, "client_id")
	}
}

func (c *checker) tokenRequest(path string, r TokenRequest) {
	c.oneOf(path+".method", r.Method, "POST", "GET")
	c.oneOf(path+".encoding", r.Encoding, EncodingForm, EncodingJSON, EncodingQuery)
	if r.Method == "GET" && r.Encoding != EncodingQuery {
		c.add(path+".encoding", "a GET has no body: use query")
	}
	c.nameMap(path+".headers", r.Headers, "client_id")
	c.nameMap(path+".params", r.Params, "client_id", "redirect_uri")
}

var (
	fieldPath  = regexp.MustCompile(`^[^.\s]+(\.[^.\s]+)*$`)
	statusRule = regexp.MustCompile(`^[1-5](xx|[0-9][0-9])$`)
)

func (c *checker) paths(path string, paths ...string) {
	for i, value := range paths {
		if !fieldPath.MatchString(value) {
			c.add(fmt.Sprintf("%s[%d]", path, i), "%q is not a path like a.b.0", value)
		}
	}
}

func (c *checker) success(path string, s Success) {
	for i, status := range s.Status {
		if !statusRule.MatchString(status) {
			c.add(fmt.Sprintf("%s.status[%d]", path, i), "%q is not a status like 200 or 2xx", status)
		}
	}
	if (s.Path == "") != (s.Equals == "") {
		c.add(path, "path and equals belong together")
	}
}

func (c *checker) response() {
	r := c.p.Response
	c.oneOf("response.format", r.Format, "auto", "json", "form")
	c.success("response.success", r.Success)
	c.paths("response.error.code", r.Error.Code...)
	c.paths("response.error.description", r.Error.Description...)
	c.paths("response.metadata", r.Metadata...)
	f := r.Fields
	for _, field := range [][]string{f.AccessToken, f.RefreshToken, f.TokenType, f.ExpiresIn, f.ExpiresAt, f.RefreshTokenExpiresIn, f.RefreshTokenExpiresAt} {
		c.paths("response.fields", field...)
	}
	secret := append(append([]string{"access_token", "refresh_token", "id_token"}, f.AccessToken...), f.RefreshToken...)
	for i, path := range r.Metadata {
		if slices.ContainsFunc(secret, func(s string) bool { return path == s || hasSuffixPath(path, s) }) {
			c.add(fmt.Sprintf("response.metadata[%d]", i), "%s is a secret: metadata is shown", path)
		}
	}
	seen := map[string]bool{}
	for i, token := range r.Tokens {
		if seen[token.Name] {
			c.add(fmt.Sprintf("response.tokens[%d].name", i), "two tokens have the name %q", token.Name)
		}
		seen[token.Name] = true
	}
}

func hasSuffixPath(path, suffix string) bool {
	return len(path) > len(suffix) && path[len(path)-len(suffix)-1:] == "."+suffix
}

func (c *checker) refresh() {
	r := c.p.Refresh
	c.oneOf("refresh.grant", r.Grant, GrantRefreshToken, GrantExchange, GrantNone)
	c.oneOf("refresh.issued", r.Issued, "always", "offline_scope", "app_setting", "partner")
	c.oneOf("refresh.rotation", r.Rotation, RotationAlways, RotationMay, RotationNever)
	c.oneOf("refresh.ttl_if_absent", r.TTLIfAbsent, "ttl", "never", "refresh_on_401")
	c.oneOf("refresh.on_reuse.old_access_token", r.OnReuse.OldAccessToken, "lives", OldDies)
	c.oneOf("refresh.on_reuse.family", r.OnReuse.Family, "kept", "revoked", "all")
	if r.Grant == GrantExchange && c.p.Requests.Exchange == nil && !c.partial {
		c.add("refresh.grant", "exchange needs requests.exchange")
	}
	if r.TTLIfAbsent == "ttl" && r.AccessTokenTTL == "" && !c.partial {
		c.add("refresh.ttl_if_absent", "ttl needs access_token_ttl")
	}
	for _, d := range []struct {
		name  string
		value Duration
	}{
		{"reuse_grace", r.ReuseGrace}, {"access_token_ttl", r.AccessTokenTTL}, {"idle_ttl", r.IdleTTL},
		{"absolute_ttl", r.AbsoluteTTL}, {"margin", r.Margin}, {"not_before", r.NotBefore},
	} {
		if _, ok := d.value.parse(); !ok {
			c.add("refresh."+d.name, "%q is not a duration like 10m, 12h or 60d", d.value)
		}
	}
	if d, ok := r.NotBefore.parse(); ok && r.NotBefore != "" && d == 0 {
		c.add("refresh.not_before", "leaves no time to renew a token that still lives")
	}
	if r.RateLimit != nil {
		c.rateLimit(*r.RateLimit)
	}
}

func (c *checker) rateLimit(l RateLimit) {
	if l.Per == "" && !c.partial {
		c.add("refresh.rate_limit.per", "required: user or client")
	}
	c.oneOf("refresh.rate_limit.per", l.Per, PerUser, PerClient)
	if l.Limit < 0 || l.Limit == 0 && !c.partial {
		c.add("refresh.rate_limit.limit", "is how many renewals a window takes: 1 or more")
	}
	// What is known of a provider's use is forgotten after a day.
	if d, ok := l.Window.parse(); !ok || (l.Window != "" || !c.partial) && (d < time.Second || d > 24*time.Hour) {
		c.add("refresh.rate_limit.window", "%q is not a duration from 1s to 1d", l.Window)
	}
}

func (c *checker) errors() {
	for i, rule := range c.p.Errors {
		path := fmt.Sprintf("errors[%d]", i)
		if rule.Class == "" {
			c.add(path+".class", "required")
		}
		c.oneOf(path+".class", rule.Class, ClassReauthorize, ClassOperator, ClassTemporary, ClassProviderDown, ClassScopeLost)
		if len(rule.When.Code)+len(rule.When.Status) == 0 {
			c.add(path+".when", "needs a code or a status")
		}
		for j, status := range rule.When.Status {
			if !statusRule.MatchString(status) {
				c.add(fmt.Sprintf("%s.when.status[%d]", path, j), "%q is not a status like 403 or 5xx", status)
			}
		}
		for j, request := range rule.When.Request {
			c.oneOf(fmt.Sprintf("%s.when.request[%d]", path, j), request, "code", "refresh", "revocation", "api")
		}
	}
}

func (c *checker) apiRequests() {
	p := c.p
	c.names("api.authorization", p.API.Authorization, "access_token")
	c.nameMap("api.headers", p.API.Headers, "client_id", "access_token")
	c.oneOf("identity.from", p.Identity.From, IdentityRequest, IdentityTokenResponse)
	if (p.Identity.From == IdentityRequest) != (p.Identity.Request != nil) && !c.partial {
		c.add("identity", "from: request and request belong together")
	}
	if p.Identity.From != "" && len(p.Identity.Subject) == 0 && !c.partial {
		c.add("identity.subject", "required: what tells one account from another")
	}
	c.paths("identity.subject", p.Identity.Subject...)
	c.paths("identity.label", p.Identity.Label...)
	c.paths("identity.fallback", p.Identity.Fallback...)
	c.apiRequest("identity.request", p.Identity.Request)
	c.apiRequest("validation", p.Validation)
}

func (c *checker) apiRequest(path string, r *APIRequest, extra ...string) {
	if r == nil {
		return
	}
	known := append([]string{"client_id", "access_token"}, extra...)
	c.url(path+".url", r.URL, known...)
	c.oneOf(path+".method", r.Method, "GET", "POST", "DELETE")
	c.oneOf(path+".encoding", r.Encoding, EncodingForm, EncodingJSON, EncodingQuery)
	if len(r.Params) > 0 && (r.Method != "POST" && r.Encoding == EncodingForm || r.Method == "DELETE" && r.Encoding == "") {
		c.add(path+".encoding", "only a POST carries a form: use query or json")
	}
	c.names(path+".authorization", r.Authorization, known...)
	c.nameMap(path+".headers", r.Headers, known...)
	c.nameMap(path+".params", r.Params, known...)
	c.success(path+".success", r.Success)
}

func (c *checker) discovery() {
	d := c.p.Discovery
	if d == nil {
		return
	}
	c.apiRequest("discovery.request", &d.Request)
	if d.Kind == "" || d.ID == "" || d.Label == "" || len(d.Metadata) == 0 {
		c.add("discovery", "needs kind, id, label and metadata: what a place is, what identifies it, how it is named, and what is kept of it")
	}
	c.paths("discovery.metadata", slices.Sorted(maps.Values(d.Metadata))...)
	for _, name := range slices.Sorted(maps.Keys(d.Metadata)) {
		if slices.Contains(c.p.Response.Metadata, name) || slices.Contains(c.p.Callback.Capture, name) {
			c.add("discovery.metadata."+name, "the name is taken by response.metadata or callback.capture")
		}
	}
}

func (c *checker) revocation() {
	r := c.p.Revocation
	c.oneOf("revocation.mode", r.Mode, "none", "rfc7009", "custom")
	c.oneOf("revocation.use", r.Use, "refresh_token", "access_token")
	c.oneOf("revocation.revokes", r.Revokes, RevokesToken, RevokesGrant, RevokesAppInstall)
	if (r.Mode == "rfc7009") != (r.Endpoint != "") && !c.partial {
		c.add("revocation.endpoint", "rfc7009 and endpoint belong together")
	}
	if (r.Mode == "custom") != (r.Request != nil) && !c.partial {
		c.add("revocation.request", "custom and request belong together")
	}
	if (r.Mode == "rfc7009" || r.Mode == "custom") && r.Revokes == "" && !c.partial {
		c.add("revocation.revokes", "required: whether other connections of the same person die, too")
	}
	if r.Endpoint != "" {
		c.url("revocation.endpoint", r.Endpoint, "client_id")
	}
	for i, status := range r.GoneStatus {
		if !statusRule.MatchString(status) {
			c.add(fmt.Sprintf("revocation.gone_status[%d]", i), "%q is not a status like 404 or 4xx", status)
		}
	}
	c.nameMap("revocation.params", r.Params, "client_id")
	c.apiRequest("revocation.request", r.Request, "token")
}
