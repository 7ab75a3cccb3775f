package demo

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Behaviour is a way in which a provider may answer a request for new tokens.
type Behaviour struct {
	Name string
	// Does says what the provider does, in plain words.
	Does string
	// Verdict is what Lanyard is to make of it, in the words of package
	// provider.
	Verdict string
	// Ambiguous: nobody but the provider knows whether the refresh token was
	// spent, so that the intent to spend it has to stay recorded.
	Ambiguous bool
	// Ends: the connection has to be reconnected, at once or when the token is
	// presented again after the drill.
	Ends bool
	// Narrows: what is renewed is good for less than before, which the
	// connection's health tells.
	Narrows bool
	// After is the behaviour that has to come first for this one to be seen.
	After string

	play act
}

// act answers a request for new tokens.
type act func(p *Provider, w http.ResponseWriter, r *http.Request, form params)

// Rotates is the behaviour of a provider that is not drilled.
const Rotates = "rotates"

// The verdicts, in the words of package provider.
const (
	verdictOK         = "ok"
	verdictReconnect  = "reconnect"
	verdictTransient  = "transient"
	verdictDown       = "provider_down"
	verdictClient     = "client_misconfigured"
	verdictScopeLost  = "scope_lost"
	retryAfterSeconds = 30
)

// Behaviours lists them, in the order in which they are shown.
func Behaviours() []Behaviour {
	return []Behaviour{
		{Name: Rotates, Verdict: verdictOK, play: renews(renewal{}, nil),
			Does: "sends a new refresh token each time; a spent one that comes back ends the whole grant (as without a drill)"},
		{Name: "no-rotation", Verdict: verdictOK, play: renews(renewal{keeps: true}, nil),
			Does: "sends no new refresh token: the old one goes on"},
		{Name: "grace-new", Verdict: verdictOK, After: "cut-off", play: renews(renewal{forgives: newSuccessor}, nil),
			Does: "accepts a spent refresh token for five minutes more, and sends another successor"},
		{Name: "grace-same", Verdict: verdictOK, After: "cut-off", play: renews(renewal{forgives: sameSuccessor}, nil),
			Does: "accepts a spent refresh token for five minutes more, and sends the same successor again"},

		{Name: "no-expiry", Verdict: verdictOK, play: renews(renewal{}, func(a map[string]any) { delete(a, "expires_in") }),
			Does: "renews, and leaves out expires_in"},
		{Name: "expiry-text", Verdict: verdictOK, play: renews(renewal{}, expiresIn("soon")),
			Does: "renews, and says expires_in: \"soon\""},
		{Name: "expiry-zero", Verdict: verdictOK, play: renews(renewal{}, expiresIn(0)),
			Does: "renews, and says expires_in: 0"},
		{Name: "expiry-negative", Verdict: verdictOK, play: renews(renewal{}, expiresIn(-3600)),
			Does: "renews, and says expires_in: -3600"},
		{Name: "expiry-huge", Verdict: verdictOK, play: renews(renewal{}, expiresIn(4102444800)),
			Does: "renews, and says expires_in: 4102444800, a time where a lifetime belongs"},
		{Name: "scope-narrowed", Verdict: verdictOK, Narrows: true, play: renews(renewal{narrows: true}, nil),
			Does: "renews, but for one scope less than was granted"},

		{Name: "server-error", Verdict: verdictDown, Ambiguous: true, play: answers(http.StatusInternalServerError, "text/plain", "internal error\n"),
			Does: "does nothing, and answers 500"},
		{Name: "unavailable", Verdict: verdictDown, Ambiguous: true, play: answersLater(http.StatusServiceUnavailable, "down for maintenance\n"),
			Does: "does nothing, and answers 503 with Retry-After: 30"},
		{Name: "rate-limited", Verdict: verdictTransient, play: answersLater(http.StatusTooManyRequests, "too many requests\n"),
			Does: "does nothing, and answers 429 with Retry-After: 30"},
		{Name: "error-in-200", Verdict: verdictDown, play: answers(http.StatusOK, "application/json", `{"error":"temporarily_unavailable"}`),
			Does: "does nothing, and answers 200 with an error as its body"},
		{Name: "html", Verdict: verdictDown, Ambiguous: true, play: answers(http.StatusOK, "text/html", signInPage),
			Does: "does nothing, and answers 200 with a web page in place of JSON"},
		{Name: "html-502", Verdict: verdictDown, Ambiguous: true, play: answers(http.StatusBadGateway, "text/html", gatewayPage),
			Does: "does nothing, and answers 502 with a web page, as a proxy before it does"},
		{Name: "redirect", Verdict: verdictTransient, Ambiguous: true, play: redirects,
			Does: "does nothing, and redirects to another page (302)"},
		{Name: "timeout", Verdict: verdictDown, Ambiguous: true, play: hangs,
			Does: "does nothing, and never answers"},

		{Name: "lost-after-rotation", Verdict: verdictDown, Ambiguous: true, Ends: true, play: renewsAnd(hang),
			Does: "spends the refresh token, and never answers"},
		{Name: "cut-off", Verdict: verdictDown, Ambiguous: true, Ends: true, play: renewsAnd(cutOff),
			Does: "spends the refresh token, and drops the connection in the middle of the answer"},
		{Name: "slow-body", Verdict: verdictDown, Ambiguous: true, Ends: true, play: renewsAnd(drip),
			Does: "spends the refresh token, and sends the answer at a byte a second"},
		{Name: "huge-body", Verdict: verdictDown, Ambiguous: true, Ends: true, play: renewsAnd(flood),
			Does: "spends the refresh token, and sends it after 64 MiB of padding"},

		{Name: "invalid-grant", Verdict: verdictReconnect, Ends: true, play: refuses("invalid_grant", "the person has withdrawn the access"),
			Does: "refuses the refresh token (invalid_grant)"},
		{Name: "scope-withdrawn", Verdict: verdictScopeLost, Ends: true, play: refuses("invalid_scope", "an administrator has withdrawn a scope"),
			Does: "refuses what was granted (invalid_scope)"},
		{Name: "invalid-client", Verdict: verdictClient, play: refusesClient,
			Does: "refuses Lanyard's client (401 invalid_client)"},
	}
}

func behaviourOf(name string) (Behaviour, bool) {
	all := Behaviours()
	i := slices.IndexFunc(all, func(b Behaviour) bool { return b.Name == name })
	if i < 0 {
		return Behaviour{}, false
	}
	return all[i], true
}

const (
	signInPage  = "<!doctype html><title>Sign in</title><p>Your session has ended. <a href=\"/\">Sign in</a>\n"
	gatewayPage = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"
)

// longest is how long an answer is held back from a client that does not give
// up by itself.
const longest = 2 * time.Minute

// renews answers as a provider should that renews so; edit changes the answer.
func renews(how renewal, edit func(map[string]any)) act {
	return func(p *Provider, w http.ResponseWriter, r *http.Request, form params) {
		out, err := p.renew(form, how)
		if err != nil || edit == nil {
			p.answerTokens(w, r, out, err)
			return
		}
		answer := out.fields()
		edit(answer)
		p.answerTokens(w, r, answer, nil)
	}
}

func (a tokenAnswer) fields() map[string]any {
	return map[string]any{"access_token": a.AccessToken, "token_type": a.TokenType, "expires_in": a.ExpiresIn,
		"refresh_token": a.RefreshToken, "scope": a.Scope}
}

func expiresIn(value any) func(map[string]any) {
	return func(a map[string]any) { a["expires_in"] = value }
}

// renewsAnd renews, and leaves it to send what becomes of the answer.
func renewsAnd(send func(w http.ResponseWriter, r *http.Request, answer []byte)) act {
	return func(p *Provider, w http.ResponseWriter, r *http.Request, form params) {
		out, err := p.renew(form, renewal{})
		if err != nil {
			p.answerTokens(w, r, nil, err)
			return
		}
		answer, _ := json.Marshal(out) // of strings and a number: it cannot fail
		w.Header().Set("Content-Type", "application/json")
		send(w, r, answer)
	}
}

// hang holds the answer back until the client gives up.
func hang(_ http.ResponseWriter, r *http.Request, _ []byte) {
	wait := time.NewTimer(longest)
	defer wait.Stop()
	select {
	case <-r.Context().Done():
	case <-wait.C:
	}
	panic(http.ErrAbortHandler) // net/http's way to close a connection without an answer
}

func hangs(_ *Provider, w http.ResponseWriter, r *http.Request, _ params) { hang(w, r, nil) }

// cutOff promises the whole answer and closes the connection after half of it.
func cutOff(w http.ResponseWriter, _ *http.Request, answer []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	_, _ = w.Write(answer[:len(answer)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// drip sends a byte a second, as long as somebody listens.
func drip(w http.ResponseWriter, r *http.Request, answer []byte) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := range answer {
		_, err := w.Write(answer[i : i+1])
		if err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// floodSize is how many bytes of padding come before the answer proper.
const floodSize = 64 << 20

func flood(w http.ResponseWriter, r *http.Request, answer []byte) {
	padding := []byte(strings.Repeat("x", 64<<10))
	if _, err := w.Write([]byte(`{"padding":"`)); err != nil {
		return
	}
	for sent := 0; sent < floodSize && r.Context().Err() == nil; sent += len(padding) {
		if _, err := w.Write(padding); err != nil {
			return
		}
	}
	_, _ = w.Write(append([]byte(`",`), answer[1:]...))
}

// answers sends a fixed answer, and does nothing.
func answers(status int, kind, body string) act {
	return func(_ *Provider, w http.ResponseWriter, _ *http.Request, _ params) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // the client has gone; there is nobody to tell
	}
}

func answersLater(status int, body string) act {
	answer := answers(status, "text/plain", body)
	return func(p *Provider, w http.ResponseWriter, r *http.Request, form params) {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
		answer(p, w, r, form)
	}
}

// redirects sends the client to the provider's own front page.
func redirects(p *Provider, w http.ResponseWriter, _ *http.Request, _ params) {
	w.Header().Set("Location", p.issuer+"/")
	w.WriteHeader(http.StatusFound)
}

func refuses(code, description string) act {
	return func(p *Provider, w http.ResponseWriter, r *http.Request, _ params) {
		p.answerTokens(w, r, nil, refuse(code, description))
	}
}

func refusesClient(p *Provider, w http.ResponseWriter, r *http.Request, _ params) {
	p.refuseClient(w, r, &refusal{http.StatusUnauthorized, "invalid_client", "the client was disabled"})
}
