package provider

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/presets"
)

// Verdict is what a reply means for the connection.
type Verdict string

// The verdicts.
const (
	OK Verdict = "ok"
	// Reconnect: what we hold is dead; only the person can help. On the code
	// exchange it is the code that is dead: the person starts again.
	Reconnect Verdict = "reconnect"
	// Transient: try again later.
	Transient Verdict = "transient"
	// ProviderDown: try again later; the provider fails for everybody.
	ProviderDown Verdict = "provider_down"
	// ClientMisconfigured: our registration is wrong; the operator has to act.
	ClientMisconfigured Verdict = "client_misconfigured"
	// ScopeLost: the provider no longer grants a scope that we need.
	ScopeLost Verdict = "scope_lost"
)

// op is a kind of request, in the words of presets.ErrorMatch.Request.
type op string

const (
	opCode       op = "code"
	opRefresh    op = "refresh"
	opRevocation op = "revocation"
	opAPI        op = "api"
)

// Error is a failed request to a provider.
type Error struct {
	Verdict Verdict
	// Code is the provider's, or empty. Description is its text, bounded and
	// printable, without the secrets that were sent. Both are hostile.
	Code        string
	Description string
	// Status is 0 when no reply came.
	Status int
	// RetryAfter is what the provider asked for; 0 when it did not.
	RetryAfter time.Duration
	// Ambiguous: the provider may have processed the request although we have
	// no usable answer. What was sent may have been spent.
	Ambiguous bool

	provider string
	op       op
}

// Error says what happened and what to do next.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.provider, e.outcome())
	switch {
	case e.Code != "" && e.Description != "" && e.Code != e.Description:
		fmt.Fprintf(&b, " (%s: %s)", e.Code, e.Description)
	case e.Code != "" || e.Description != "":
		fmt.Fprintf(&b, " (%s)", e.Code+e.Description)
	}
	return b.String() + ": " + e.next()
}

func (e *Error) outcome() string {
	switch {
	case e.Status == 0 && e.Ambiguous:
		return "did not answer"
	case e.Status == 0:
		return "could not be reached"
	case e.op == opCode && e.Verdict == Reconnect:
		return "refused the authorization code"
	case e.op == opRefresh && e.Verdict == Reconnect:
		return "refused to renew the access"
	case e.Verdict == Reconnect:
		return "refused the access token"
	case e.Verdict == ClientMisconfigured:
		return "refused Lanyard's client"
	case e.Verdict == ScopeLost:
		return "no longer grants a scope"
	}
	return fmt.Sprintf("answered with status %d", e.Status)
}

func (e *Error) next() string {
	switch e.Verdict {
	case Reconnect:
		if e.op == opCode {
			return "start connecting again"
		}
		return "reconnect the account"
	case ClientMisconfigured:
		return "check the client id, secret and redirect URI against the provider's console"
	case ScopeLost:
		return "reconnect and grant all scopes"
	}
	if e.op == opCode {
		return "start connecting again in a moment"
	}
	return "try again later"
}

// failure is a reply, or its absence, before it is judged.
type failure struct {
	op     op
	status int // 0: no reply
	codes  []string
	// garbled: a success by status whose body is of no use.
	garbled bool
}

// decide is the one place where a failure gets its meaning: the provider's
// rules, then the RFCs, then the status.
func decide(p presets.Provider, f failure) (Verdict, string) {
	for _, rule := range p.Errors {
		if code, ok := matches(rule.When, f); ok {
			return verdictOf(rule.Class), code
		}
	}
	for _, code := range f.codes {
		if v, ok := standard(code, f.op); ok {
			return v, code
		}
	}
	var code string
	if len(f.codes) > 0 {
		code = f.codes[0]
	}
	switch {
	case f.status == 0, f.status >= 500, f.garbled:
		return ProviderDown, code
	case f.op == opAPI && f.status == http.StatusUnauthorized:
		return Reconnect, code // RFC 6750 §3.1, by providers that send no code
	}
	return Transient, code
}

// standard are the codes of RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1 and RFC
// 7009 §2.2.1. invalid_request is not among them: several providers say it of a
// dead token, so it stays unknown unless their file knows better.
func standard(code string, o op) (Verdict, bool) {
	switch code {
	case "invalid_grant":
		return Reconnect, true
	case "invalid_client", "unauthorized_client", "unsupported_grant_type":
		return ClientMisconfigured, true
	case "invalid_scope":
		if o == opCode {
			return ClientMisconfigured, true
		}
		return ScopeLost, true
	case "insufficient_scope":
		return ScopeLost, true
	case "invalid_token":
		if o == opAPI || o == opRevocation {
			return Reconnect, true
		}
	case "server_error", "temporarily_unavailable":
		return ProviderDown, true
	}
	return "", false
}

func matches(m presets.ErrorMatch, f failure) (string, bool) {
	if len(m.Request) > 0 && !slices.Contains(m.Request, string(f.op)) {
		return "", false
	}
	if len(m.Status) > 0 && !statusIn(m.Status, f.status) {
		return "", false
	}
	if len(m.Code) == 0 {
		return first(f.codes), true
	}
	for _, code := range f.codes {
		if slices.Contains(m.Code, code) {
			return code, true
		}
	}
	return "", false
}

func first(codes []string) string {
	if len(codes) == 0 {
		return ""
	}
	return codes[0]
}

func verdictOf(class string) Verdict {
	switch class {
	case presets.ClassReauthorize:
		return Reconnect
	case presets.ClassOperator:
		return ClientMisconfigured
	case presets.ClassProviderDown:
		return ProviderDown
	case presets.ClassScopeLost:
		return ScopeLost
	}
	return Transient
}

func statusIn(rules []string, status int) bool {
	text := strconv.Itoa(status)
	return slices.ContainsFunc(rules, func(rule string) bool {
		return rule == text || status != 0 && rule == text[:1]+"xx"
	})
}
