package authserver_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

// wantRedirected checks an error that goes back to the client, and returns it.
func wantRedirected(t *testing.T, err error, code, state string) *authserver.Error {
	t.Helper()
	problem := wantCode(t, err, code)
	q := query(t, problem.Redirect)
	if !strings.HasPrefix(problem.Redirect, callback+"?") || q.Get("error") != code || q.Get("error_description") == "" || q.Get("state") != state || q.Get("iss") != base || q.Has("code") {
		t.Errorf("the client gets %s", problem.Redirect)
	}
	return problem
}

// What is wrong with the client or its address goes to nobody but the person.
func TestOpenRedirect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	for name, q := range map[string]url.Values{
		"no client":             with(asking(c.ID), "client_id"),
		"unknown client":        asking("cli_unknown"),
		"another address":       with(asking(c.ID), "redirect_uri", "https://evil.example/callback"),
		"a longer address":      with(asking(c.ID), "redirect_uri", callback+"/more"),
		"an address and query":  with(asking(c.ID), "redirect_uri", callback+"?x=y"),
		"another case":          with(asking(c.ID), "redirect_uri", "https://client.example/Callback"),
		"two clients":           with(asking(c.ID), "client_id", c.ID, "cli_other"),
		"two addresses":         with(asking(c.ID), "redirect_uri", callback, "https://evil.example/"),
		"the same address, too": with(asking(c.ID), "redirect_uri", callback, callback),
	} {
		// Nothing else that is wrong may come before it.
		for _, q := range []url.Values{q, with(q, "response_type", "token"), with(q, "resource", "https://other.example")} {
			_, err := w.Authorize(t.Context(), q, browser)
			var problem *authserver.Error
			if !errors.As(err, &problem) || problem.Redirect != "" || problem.Status != 400 {
				t.Errorf("%s: %v (%+v)", name, err, problem)
			}
		}
	}
}

// Nobody here knows a client that registered itself or is known by its document: an
// error leads to its address only on the person's own machine (RFC 9700 §4.11.2).
func TestNoWayOutWithoutAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _ := w.register(t, `{"client_name":"x","redirect_uris":["https://evil.example/phish","http://127.0.0.1/callback"]}`)
	for redirect, leads := range map[string]bool{"https://evil.example/phish": false, "http://127.0.0.1:4000/callback": true} {
		q := with(asking(id), "redirect_uri", redirect)
		for name, bad := range map[string]string{"response_type": "token", "resource": "https://other.example", "prompt": "none", "code_challenge": "short"} {
			_, err := w.Authorize(t.Context(), with(q, name, bad), browser)
			var problem *authserver.Error
			if !errors.As(err, &problem) || (problem.Redirect != "") != leads {
				t.Errorf("%s with %s: %v (%+v)", redirect, name, err, problem)
			}
		}
	}
}

func TestParameterPollution(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	for _, name := range []string{"response_type", "code_challenge", "code_challenge_method", "scope", "prompt", "response_mode", "anything"} {
		q := asking(c.ID)
		q[name] = []string{q.Get(name), "other"}
		_, err := w.Authorize(t.Context(), q, browser)
		wantRedirected(t, err, "invalid_request", "st4te")
	}
	_, err := w.Authorize(t.Context(), with(asking(c.ID), "state", "one", "two"), browser)
	wantRedirected(t, err, "invalid_request", "")
	_, err = w.Authorize(t.Context(), with(asking(c.ID), "resource", drive, mail), browser)
	wantRedirected(t, err, "invalid_target", "st4te")

	form := taking(c.ID, w.code(t, asking(c.ID)))
	for name := range form {
		_, err := w.Token(t.Context(), with(form, name, form.Get(name), "other"), "")
		if want := map[bool]string{true: "invalid_target", false: "invalid_request"}[name == "resource"]; true {
			wantCode(t, err, want)
		}
	}
	_, err = w.Token(t.Context(), form, "") // none of that took the code
	ok(t, err)
}

func TestDowngradeToPlain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	for _, q := range []url.Values{
		with(asking(c.ID), "code_challenge_method", "plain"),
		with(asking(c.ID), "code_challenge_method"), // RFC 7636: plain
		with(asking(c.ID), "code_challenge_method", "s256"),
		with(asking(c.ID), "code_challenge"),
		with(asking(c.ID), "code_challenge", verifier),
		with(asking(c.ID), "code_challenge", strings.Repeat("=", 43)),
	} {
		_, err := w.Authorize(t.Context(), q, browser)
		wantRedirected(t, err, "invalid_request", "st4te")
	}
	// The challenge itself is no verifier.
	form := taking(c.ID, w.code(t, asking(c.ID)))
	_, err := w.Token(t.Context(), with(form, "code_verifier", challengeOf(verifier)), "")
	wantCode(t, err, "invalid_grant")
}

func TestResponseTypeToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	for _, kind := range []string{"token", "id_token", "code token", "code id_token", "none", "CODE"} {
		_, err := w.Authorize(t.Context(), with(asking(c.ID), "response_type", kind), browser)
		problem := wantRedirected(t, err, "unsupported_response_type", "st4te")
		if strings.Contains(problem.Redirect, "#") {
			t.Errorf("%s is answered in a fragment", kind)
		}
	}
	_, err := w.Authorize(t.Context(), with(asking(c.ID), "response_type"), browser)
	wantRedirected(t, err, "invalid_request", "st4te")
}

func TestWhatIsNotSupported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	for _, test := range []struct{ name, value, want string }{
		{"request", "eyJ", "request_not_supported"},
		{"request_uri", "https://client.example/request", "request_uri_not_supported"},
		{"response_mode", "fragment", "invalid_request"},
		{"response_mode", "form_post", "invalid_request"},
		{"prompt", "none", "interaction_required"},
		{"prompt", "none login", "interaction_required"},
		{"resource", "https://lanyard.example/mcp/unknown", "invalid_target"},
		{"resource", "https://lanyard.example/", "invalid_target"},
		{"resource", "https://evil.example/mcp/drive", "invalid_target"},
		{"resource", drive + "?a=b", "invalid_target"},
		{"resource", drive + "#a", "invalid_target"},
		{"resource", base + "/mcp/%64rive", "invalid_target"},
		{"resource", base + "/mcp/../mcp/drive", "invalid_target"},
		{"resource", base + "/t/default/mcp/drive", "invalid_target"},
		{"resource", base + "/t/Acme/mcp/drive", "invalid_target"},
		{"resource", base + ".evil.example/mcp/drive", "invalid_target"},
		{"resource", "https://u@lanyard.example/mcp/drive", "invalid_target"},
		{"resource", "", "invalid_target"},
	} {
		_, err := w.Authorize(t.Context(), with(asking(c.ID), test.name, test.value), browser)
		wantRedirected(t, err, test.want, "st4te")
	}
	_, err := w.Authorize(t.Context(), with(asking(c.ID), "resource"), browser)
	wantRedirected(t, err, "invalid_target", "st4te")
	_, err = w.Authorize(t.Context(), with(asking(c.ID), "state", strings.Repeat("s", 2049)), browser)
	wantRedirected(t, err, "invalid_request", "")
}

func TestResources(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	for resource, want := range map[string]authserver.Request{
		drive:                              {Resource: drive, Tenant: "default", Server: "drive"},
		drive + "/":                        {Resource: drive, Tenant: "default", Server: "drive"},
		"HTTPS://Lanyard.Example/mcp":      {Resource: base + "/mcp", Tenant: "default"},
		base + "/t/acme/mcp/mail":          {Resource: base + "/t/acme/mcp/mail", Tenant: "acme", Server: "mail"},
		base + "/t/acme/mcp":               {Resource: base + "/t/acme/mcp", Tenant: "acme"},
		"https://LANYARD.example/mcp/mail": {Resource: mail, Tenant: "default", Server: "mail"},
	} {
		r, err := w.Authorize(t.Context(), with(asking(c.ID), "resource", resource), browser)
		ok(t, err)
		if r.Resource != want.Resource || r.Tenant != want.Tenant || r.Server != want.Server {
			t.Errorf("%s: %s, %s, %s", resource, r.Resource, r.Tenant, r.Server)
		}
	}
	// Where one server is all there is, there is no choice.
	w.Catalogue = twoServers[1:]
	r, err := w.Authorize(t.Context(), with(asking(c.ID), "resource"), browser)
	ok(t, err)
	if r.Resource != mail || len(r.Scopes) != 0 {
		t.Errorf("%s with %v", r.Resource, r.Scopes)
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	all := []string{"files.read", "files.write"}
	for asked, want := range map[string][]string{
		"": all, "openid offline_access": all, "files.write": all[1:], "files.write  files.read": all, "files.read openid": all[:1],
	} {
		r, err := w.Authorize(t.Context(), with(asking(c.ID), "scope", asked), browser)
		ok(t, err)
		if !slices.Equal(r.Scopes, want) {
			t.Errorf("%q: %v, want %v", asked, r.Scopes, want)
		}
	}
}

// What the client sent as its state comes back as it was.
func TestStateIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback+"?a=b%20c&d")
	state := "a b&c=d#e\"<>ü" + strings.Repeat("x", 2000)
	q := with(with(asking(c.ID), "state", state), "redirect_uri")
	r, err := w.Authorize(t.Context(), q, browser)
	ok(t, err)
	to, err := w.Deny(t.Context(), r.ID, browser)
	ok(t, err)
	if got := query(t, to); got.Get("state") != state || got.Get("a") != "b c" || !strings.HasPrefix(to, callback+"?a=b%20c&d&") {
		t.Errorf("the client gets %s", to)
	}
}

// A client with several servers is told by each who answers (RFC 9207), in
// success and in failure.
func TestMixUpIssuer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	r, err := w.Authorize(t.Context(), asking(c.ID), browser)
	ok(t, err)
	denied, err := w.Deny(t.Context(), r.ID, browser)
	ok(t, err)
	if q := query(t, denied); q.Get("iss") != base || q.Get("error") != "access_denied" {
		t.Errorf("denied: %s", denied)
	}
	for _, metadata := range []bool{false, true} {
		m := members(t, w.Metadata(metadata))
		if m["issuer"] != base || m["authorization_response_iss_parameter_supported"] != true {
			t.Errorf("metadata: %v", m)
		}
	}
	// A code of another server is none here, whoever sends it.
	form := taking(c.ID, "SplxlOBeZQQYbYS6WxSbIA")
	_, err = w.Token(t.Context(), form, "")
	wantCode(t, err, "invalid_grant")
}

func FuzzAuthorize(f *testing.F) {
	f.Add("response_type=code&client_id=cli_1&redirect_uri=https%3A%2F%2Fclient.example%2Fcallback&state=s", "x")
	f.Add("client_id=https://client.example/%2e%2e/x&redirect_uri=http://localhost:99999/", "resource")
	f.Add("client_id=a&client_id=b", "scope")
	f.Fuzz(func(t *testing.T, raw, extra string) {
		w := newWorld(t)
		c := w.enter(t, callback)
		q, _ := url.ParseQuery(raw)
		q.Set("client_id", c.ID)
		if extra != "" && extra != "client_id" {
			q.Set(extra, raw)
		}
		r, err := w.Authorize(t.Context(), q, browser)
		var problem *authserver.Error
		switch {
		case err == nil:
			if r.RedirectURI != callback || r.Challenge == "" || !strings.HasPrefix(r.Resource, base+"/") {
				t.Errorf("%+v", r)
			}
		case !errors.As(err, &problem):
			t.Errorf("an error of no code: %v", err)
		case problem.Redirect != "" && !strings.HasPrefix(problem.Redirect, callback+"?"):
			t.Errorf("the browser goes to %s", problem.Redirect)
		case strings.ContainsFunc(problem.Description, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }):
			t.Errorf("description %q", problem.Description)
		}
	})
}
