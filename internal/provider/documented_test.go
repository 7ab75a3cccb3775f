package provider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// documented is what a provider's documents show of each request and its
// answers, in testdata/documented: ID.yaml, and ID.VARIANT.yaml for a variant.
// What they do not show has the reason why it is believed in Unverified.
type documented struct {
	// Params are what a person was asked, Metadata what earlier replies gave.
	Params   map[string]string `yaml:"params"`
	Metadata map[string]string `yaml:"metadata"`

	Authorize struct {
		Cited  `yaml:",inline"`
		Scopes Scopes            `yaml:"scopes"`
		URL    string            `yaml:"url"`
		Query  map[string]string `yaml:"query"` // all but state and the PKCE challenge
	} `yaml:"authorize"`
	Code       []exchangeCase `yaml:"code"`
	Refresh    []exchangeCase `yaml:"refresh"`
	Identity   []exchangeCase `yaml:"identity"`
	Discovery  []exchangeCase `yaml:"discovery"`
	Revocation []exchangeCase `yaml:"revocation"`
	Errors     []errorCase    `yaml:"errors"`
	// None says, by part, why there is nothing to show.
	None map[string]string `yaml:"none"`
}

// Cited is where a shape is documented, or why it is believed.
type Cited struct {
	Source     string `yaml:"source"`
	Unverified string `yaml:"unverified"`
}

func (c Cited) check(t *testing.T) {
	t.Helper()
	if !strings.HasPrefix(c.Source, "https://") {
		t.Errorf("cites no source: %q", c.Source)
	}
}

type exchangeCase struct {
	Cited    `yaml:",inline"`
	Token    string            `yaml:"token"`    // which one is refreshed
	Callback map[string]string `yaml:"callback"` // beside the code
	Sent     *sentShape        `yaml:"sent"`
	Status   int               `yaml:"status"`
	Body     string            `yaml:"body"`
	Want     wantShape         `yaml:"want"`
}

// sentShape is a whole request: parameters that it does not name are not sent.
type sentShape struct {
	Method        string            `yaml:"method"` // POST by default
	URL           string            `yaml:"url"`
	Authorization string            `yaml:"authorization"` // basic: our client; empty: no header
	Headers       map[string]string `yaml:"headers"`
	Encoding      string            `yaml:"encoding"` // form, json; empty: no body
	Params        map[string]string `yaml:"params"`   // VERIFIER is PKCE's
}

type wantShape struct {
	Tokens          map[string]string `yaml:"tokens"`
	Refresh         map[string]string `yaml:"refresh"`
	Lifetime        int               `yaml:"lifetime"` // seconds; 0: no end is known
	RefreshLifetime int               `yaml:"refresh_lifetime"`
	Scopes          []string          `yaml:"scopes"`
	Metadata        map[string]string `yaml:"metadata"`
	Subject         string            `yaml:"subject"`
	Label           string            `yaml:"label"`
	// Error is what a discovery that leaves no place says.
	Error string `yaml:"error"`
}

// errorCase is one reply of failures that differ in their code alone: CODE in
// the body stands for each.
type errorCase struct {
	Cited      `yaml:",inline"`
	Request    string             `yaml:"request"` // code, refresh, api, revocation
	Status     int                `yaml:"status"`
	Headers    map[string]string  `yaml:"headers"`
	Body       string             `yaml:"body"`
	RetryAfter int                `yaml:"retry_after"` // seconds
	Ambiguous  bool               `yaml:"ambiguous"`
	Verdicts   map[string]Verdict `yaml:"verdicts"` // by code
}

// TestDocumented plays what is documented of every provider that comes with
// Lanyard. A provider without a fixture, a fixture without a part and a code that
// a preset knows and no fixture shows all fail.
func TestDocumented(t *testing.T) {
	t.Parallel()
	all := shippedProviders(t)
	for name, p := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := readDocumented(t, name)
			d.checkParts(t, p)
			t.Run("authorize", func(t *testing.T) { d.authorize(t, p) })
			for part, cases := range d.parts() {
				for i, c := range cases {
					t.Run(part+"/"+strconv.Itoa(i), func(t *testing.T) { d.play(t, p, part, c) })
				}
			}
			for i, c := range d.Errors {
				t.Run("errors/"+strconv.Itoa(i), func(t *testing.T) { d.fail(t, p, c) })
			}
		})
	}
	onDisk, err := filepath.Glob("testdata/documented/*.yaml")
	if err != nil || len(onDisk) != len(all) {
		t.Errorf("%d fixtures for %d providers and variants: %v", len(onDisk), len(all), err)
	}
}

// shippedProviders are the providers and their variants, resolved, by the name of
// their fixture.
func shippedProviders(t *testing.T) map[string]presets.Provider {
	t.Helper()
	catalogue, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]presets.Provider{}
	for _, p := range catalogue.Providers() {
		for _, variant := range append([]string{""}, names(p.Variants)...) {
			resolved, err := p.Resolve(variant, catalogue.Provider)
			if err != nil {
				t.Fatal(err)
			}
			all[strings.TrimSuffix(p.ID+"."+variant, ".")] = resolved
		}
	}
	if len(all) < 23 {
		t.Fatalf("%d providers", len(all))
	}
	return all
}

func readDocumented(t *testing.T, name string) documented {
	t.Helper()
	data, err := os.ReadFile("testdata/documented/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d documented
	if err := yaml.UnmarshalWithOptions(data, &d, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

func (d documented) parts() map[string][]exchangeCase {
	return map[string][]exchangeCase{
		"code": d.Code, "refresh": d.Refresh, "identity": d.Identity, "discovery": d.Discovery, "revocation": d.Revocation,
	}
}

// checkParts wants every part, or a reason; and none where the preset has it.
func (d documented) checkParts(t *testing.T, p presets.Provider) {
	t.Helper()
	has := map[string]bool{
		"code": true, "errors": true, "identity": p.Identity.From != "",
		"refresh":    p.Refresh.Grant != presets.GrantNone,
		"discovery":  p.Discovery != nil,
		"revocation": p.Revocation.Mode != "" && p.Revocation.Mode != "none",
	}
	count := map[string]int{"errors": len(d.Errors)}
	for part, cases := range d.parts() {
		count[part] = len(cases)
		if whole := slices.ContainsFunc(cases, func(c exchangeCase) bool { return c.Sent != nil }); len(cases) > 0 && !whole {
			t.Errorf("%s: no case shows the whole request", part)
		}
	}
	if p.Identity.From == presets.IdentityTokenResponse {
		count["identity"] = len(d.Code) // there, with what it is asked for
	}
	for part, shown := range count {
		switch {
		case has[part] && (shown == 0 || d.None[part] != ""):
			t.Errorf("%s: the preset has it, the fixture does not show it", part)
		case !has[part] && shown > 0:
			t.Errorf("%s: the fixture shows it, the preset does not have it", part)
		case !has[part] && d.None[part] == "" && part != "discovery":
			t.Errorf("%s: the fixture does not say why there is none", part)
		}
	}
	var codes []string
	for _, e := range d.Errors {
		codes = append(codes, names(e.Verdicts)...)
	}
	for _, rule := range p.Errors {
		for _, code := range rule.When.Code {
			if !slices.Contains(codes, code) {
				t.Errorf("errors: no fixture shows the code %s, which the preset knows", code)
			}
		}
	}
	for _, code := range p.Revocation.Gone {
		if !slices.ContainsFunc(d.Revocation, func(c exchangeCase) bool { return strings.Contains(c.Body, `"`+code+`"`) }) {
			t.Errorf("revocation: no fixture shows the code %s, which the preset knows", code)
		}
	}
	for _, status := range p.Revocation.GoneStatus {
		if !slices.ContainsFunc(d.Revocation, func(c exchangeCase) bool { return strconv.Itoa(c.Status) == status }) {
			t.Errorf("revocation: no fixture shows the status %s, which the preset knows", status)
		}
	}
}

func (d documented) target(p presets.Provider) Target {
	t := targetOf(p)
	t.Params = d.Params
	return t
}

// held is a set whose tokens are named after what they are.
func (d documented) held(p presets.Provider) token.Set {
	set := held(p)
	set.Access.Metadata = map[string]string{}
	maps.Copy(set.Access.Metadata, d.Metadata)
	return set
}

func (d documented) authorize(t *testing.T, p presets.Provider) {
	d.Authorize.check(t)
	text, err := engineOver(nil).AuthorizeURL(d.target(p), AuthorizeRequest{State: "the-state", Verifier: verifier, Scopes: d.Authorize.Scopes})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"response_type": "code", "client_id": "client-id", "redirect_uri": "https://lanyard.example/cb", "state": "the-state",
	}
	if p.PKCE.Mode != "disabled" {
		// The S256 challenge (RFC 7636 §4.2) of the verifier.
		want["code_challenge"], want["code_challenge_method"] = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM", "S256"
	}
	maps.Copy(want, d.Authorize.Query)
	got := map[string]string{}
	for name, values := range u.Query() {
		got[name] = strings.Join(values, " | ")
	}
	if u.RawQuery = ""; u.String() != d.Authorize.URL || !maps.Equal(got, want) {
		t.Errorf("%s\n%v, want %s\n%v", u, got, d.Authorize.URL, want)
	}
}

// play sends what the part sends, answers as is documented and compares what
// comes of it.
func (d documented) play(t *testing.T, p presets.Provider, part string, c exchangeCase) {
	c.check(t)
	stub := &canned{status: c.Status, body: c.Body}
	e, target, set := engineOver(stub), d.target(p), d.held(p)
	switch part {
	case "code":
		r, err := e.Exchange(t.Context(), target, "the-code", verifier, callbackOf(p, c.Callback))
		if err != nil {
			t.Fatal(err)
		}
		c.Want.checkTokens(t, r, "")
		if a := r.Account; p.Identity.From == presets.IdentityTokenResponse && (a.Subject != c.Want.Subject || a.Label != c.Want.Label) {
			t.Errorf("account %+v", a)
		}
	case "refresh":
		r, err := e.Refresh(t.Context(), target, set.Grant, set.Access, c.Token)
		if err != nil {
			t.Fatal(err)
		}
		c.Want.checkTokens(t, r, c.Token)
	case "identity":
		if p.Identity.From == presets.IdentityTokenResponse {
			t.Fatal("it is in the reply to the code: show it there")
		}
		a, err := e.Identity(t.Context(), target, Result{Set: set})
		if err != nil || a.Subject != c.Want.Subject || a.Label != c.Want.Label {
			t.Errorf("account %+v: %v", a, err)
		}
	case "discovery":
		err := e.Discover(t.Context(), target, Result{Set: set})
		if said := errorText(err); (said == "") != (c.Want.Error == "") || !strings.Contains(said, c.Want.Error) {
			t.Fatalf("error %q", said)
		}
		c.Want.checkMetadata(t, set.Access.Metadata)
	case "revocation":
		o, err := e.Revoke(t.Context(), target, set)
		if err != nil || o.Revoked != RevokedAtProvider {
			t.Errorf("outcome %+v: %v", o, err)
		}
	}
	if len(stub.seen) == 0 {
		t.Fatal("nothing was sent")
	}
	if c.Sent != nil {
		c.Sent.check(t, stub.seen[0])
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// callbackOf is what a provider sends back with a code, signed where it signs.
func callbackOf(p presets.Provider, with map[string]string) url.Values {
	q := url.Values{"code": {"the-code"}, "state": {"the-state"}}
	for name, value := range with {
		q.Set(name, value)
	}
	if p.Callback.ISS == "required" {
		q.Set("iss", "http://127.0.0.1:9")
	}
	if name := p.Callback.Verify.Param; name != "" {
		q.Set(name, signature(q))
	}
	return q
}

// signature is the hex HMAC-SHA256, with the client's secret, of the parameters
// in order. None of them needs escaping here.
func signature(q url.Values) string {
	var parts []string
	for _, name := range names(q) {
		parts = append(parts, name+"="+q.Get(name))
	}
	mac := hmac.New(sha256.New, []byte("client-secret"))
	mac.Write([]byte(strings.Join(parts, "&")))
	return hex.EncodeToString(mac.Sum(nil))
}

func (s sentShape) check(t *testing.T, got sent) {
	t.Helper()
	if method := orElse(s.Method, "POST"); got.method != method || got.url != s.URL {
		t.Errorf("sent %s %s, want %s %s", got.method, got.url, method, s.URL)
	}
	authorization := s.Authorization
	if authorization == "basic" {
		authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte("client-id:client-secret"))
	}
	if got.header.Get("Authorization") != authorization {
		t.Errorf("authorization %q, want %q", got.header.Get("Authorization"), authorization)
	}
	for name, value := range s.Headers {
		if got.header.Get(name) != value {
			t.Errorf("header %s is %q, want %q", name, got.header.Get(name), value)
		}
	}
	types := map[string]string{"form": "application/x-www-form-urlencoded", "json": "application/json"}
	if got.header.Get("Content-Type") != types[s.Encoding] || (got.body == "") != (s.Encoding == "") {
		t.Errorf("sent %q as %q, want %s", got.body, got.header.Get("Content-Type"), s.Encoding)
	}
	params := map[string]string{}
	if s.Encoding == "json" {
		if err := json.Unmarshal([]byte(got.body), &params); err != nil {
			t.Error(err)
		}
	} else {
		for name, values := range got.form(t) {
			params[name] = strings.Join(values, " | ")
		}
	}
	want := map[string]string{}
	for name, value := range s.Params {
		want[name] = strings.ReplaceAll(value, "VERIFIER", verifier)
	}
	if !maps.Equal(params, want) {
		t.Errorf("sent %v, want %v", params, want)
	}
}

func (w wantShape) checkTokens(t *testing.T, r Result, name string) {
	t.Helper()
	access, refresh := map[string]string{}, map[string]string{}
	for name, token := range r.Set.Access.Tokens {
		access[name] = token.AccessToken.Reveal()
	}
	for name, renewable := range r.Set.Grant.Renewables {
		refresh[name] = renewable.RefreshToken.Reveal()
	}
	if !maps.Equal(access, w.Tokens) || !maps.Equal(refresh, w.Refresh) {
		t.Errorf("tokens %v and %v, want %v and %v", access, refresh, w.Tokens, w.Refresh)
	}
	if got := r.Set.Access.Tokens[name].ExpiresAt; !got.Equal(after(w.Lifetime)) {
		t.Errorf("expires at %v, want %v", got, after(w.Lifetime))
	}
	if got := r.Set.Grant.Renewables[name].ExpiresAt; !got.Equal(after(w.RefreshLifetime)) {
		t.Errorf("the refresh token expires at %v, want %v", got, after(w.RefreshLifetime))
	}
	if !slices.Equal(r.ScopesGranted, w.Scopes) {
		t.Errorf("scopes %v, want %v", r.ScopesGranted, w.Scopes)
	}
	w.checkMetadata(t, r.Set.Access.Metadata)
}

func (w wantShape) checkMetadata(t *testing.T, got map[string]string) {
	t.Helper()
	for name, value := range w.Metadata {
		if got[name] != value {
			t.Errorf("metadata %s is %q, want %q", name, got[name], value)
		}
	}
}

// after is a time in so many seconds; none for 0.
func after(seconds int) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return epoch.Add(time.Duration(seconds) * time.Second)
}

// fail answers each request with each failure and compares the verdict.
func (d documented) fail(t *testing.T, p presets.Provider, c errorCase) {
	c.check(t)
	if len(c.Verdicts) == 0 {
		t.Fatal("no verdict")
	}
	for code, verdict := range c.Verdicts {
		stub := &canned{status: c.Status, header: c.Headers, body: strings.ReplaceAll(c.Body, "CODE", code)}
		e, target, set := engineOver(stub), d.target(p), d.held(p)
		var err error
		switch c.Request {
		case "code":
			_, err = e.Exchange(t.Context(), target, "the-code", verifier, callbackOf(p, d.Code[0].Callback))
		case "refresh":
			_, err = e.Refresh(t.Context(), target, set.Grant, set.Access, "")
		case "api":
			_, err = e.Validate(t.Context(), target, set.Access)
		case "revocation":
			_, err = e.Revoke(t.Context(), target, set)
		}
		var failed *Error
		if !errors.As(err, &failed) {
			t.Fatalf("%s %s: %v", c.Request, code, err)
		}
		if failed.Verdict != verdict || failed.Code != code || failed.Ambiguous != c.Ambiguous || failed.RetryAfter != time.Duration(c.RetryAfter)*time.Second {
			t.Errorf("%s %q: got %+v, want %s", c.Request, code, failed, verdict)
		}
	}
}
