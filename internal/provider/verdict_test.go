package provider

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/presets"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	rules := []presets.ErrorRule{
		{When: presets.ErrorMatch{Status: []string{"403"}, Request: []string{"refresh"}}, Class: presets.ClassReauthorize},
		{When: presets.ErrorMatch{Code: []string{"mine"}, Status: []string{"4xx"}}, Class: presets.ClassOperator},
		{When: presets.ErrorMatch{Code: []string{"mine"}}, Class: presets.ClassScopeLost},
		{When: presets.ErrorMatch{Code: []string{"invalid_grant"}, Request: []string{"api"}}, Class: presets.ClassTemporary},
		{When: presets.ErrorMatch{Status: []string{"5xx"}, Code: []string{"dead"}}, Class: presets.ClassReauthorize},
	}
	for _, tt := range []struct {
		name string
		f    failure
		want Verdict
		code string
	}{
		{"rule by status and request", failure{op: opRefresh, status: 403}, Reconnect, ""},
		{"another request", failure{op: opCode, status: 403}, Transient, ""},
		{"code and class of status", failure{op: opCode, status: 422, codes: []string{"mine"}}, ClientMisconfigured, "mine"},
		{"next rule", failure{op: opCode, status: 200, codes: []string{"mine"}}, ScopeLost, "mine"},
		{"any of several codes", failure{op: opRefresh, status: 400, codes: []string{"7", "invalid_grant"}}, Reconnect, "invalid_grant"},
		{"rule before RFC", failure{op: opAPI, status: 400, codes: []string{"invalid_grant"}}, Transient, "invalid_grant"},
		{"rule before status", failure{op: opRefresh, status: 503, codes: []string{"dead"}}, Reconnect, "dead"},
		{"invalid_grant", failure{op: opRefresh, status: 400, codes: []string{"invalid_grant"}}, Reconnect, "invalid_grant"},
		{"invalid_client", failure{op: opRefresh, status: 401, codes: []string{"invalid_client"}}, ClientMisconfigured, "invalid_client"},
		{"unauthorized_client", failure{op: opRefresh, status: 400, codes: []string{"unauthorized_client"}}, ClientMisconfigured, "unauthorized_client"},
		{"invalid_scope at the code", failure{op: opCode, status: 400, codes: []string{"invalid_scope"}}, ClientMisconfigured, "invalid_scope"},
		{"invalid_scope in a refresh", failure{op: opRefresh, status: 400, codes: []string{"invalid_scope"}}, ScopeLost, "invalid_scope"},
		{"unknown code", failure{op: opRefresh, status: 400, codes: []string{"odd"}}, Transient, "odd"},
		{"invalid_request is unknown", failure{op: opRefresh, status: 400, codes: []string{"invalid_request"}}, Transient, "invalid_request"},
		{"401 of an API", failure{op: opAPI, status: 401}, Reconnect, ""},
		{"401 of the token endpoint", failure{op: opRefresh, status: 401}, Transient, ""},
		{"429", failure{op: opRefresh, status: 429}, Transient, ""},
		{"500", failure{op: opRefresh, status: 500}, ProviderDown, ""},
		{"no reply", failure{op: opRefresh}, ProviderDown, ""},
		{"garbage", failure{op: opRefresh, status: 200, garbled: true}, ProviderDown, ""},
	} {
		got, code := decide(presets.Provider{Errors: rules}, tt.f)
		if got != tt.want || code != tt.code {
			t.Errorf("%s: %s %q, want %s %q", tt.name, got, code, tt.want, tt.code)
		}
	}
}

// Every message says what happened and what to do next.
func TestErrorIsForPeople(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  Error
		want string
	}{
		{Error{Verdict: Reconnect, Code: "invalid_grant", Status: 400, op: opCode}, "Acme refused the authorization code (invalid_grant): start connecting again"},
		{Error{Verdict: Reconnect, Code: "invalid_grant", Description: "Token expired.", Status: 400, op: opRefresh}, "Acme refused to renew the access (invalid_grant: Token expired.): reconnect the account"},
		{Error{Verdict: ClientMisconfigured, Status: 401, op: opRefresh}, "Acme refused Lanyard's client: check the client id, secret and redirect URI against the provider's console"},
		{Error{Verdict: ProviderDown, Ambiguous: true, Description: "no answer in time", op: opRefresh}, "Acme did not answer (no answer in time): try again later"},
		{Error{Verdict: ProviderDown, op: opCode}, "Acme could not be reached: start connecting again in a moment"},
		{Error{Verdict: Transient, Status: 429, op: opRefresh}, "Acme answered with status 429: try again later"},
	} {
		tt.err.provider = "Acme"
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                             "plain",
		"a\r\nb\tc":                         "a b c",
		"\x1b[31mred\x07":                   "[31mred",
		"rtl\u202eevil\u200b":               "rtlevil",
		"bad \xff\xfe utf8":                 "bad utf8",
		"<script>":                          "<script>",
		strings.Repeat("é", 400):            strings.Repeat("é", maxDescription-1) + "…",
		"the s3cret and s\u200b3cret again": "the [redacted] and [redacted] again",
	} {
		if got := clean(in, maxDescription, []string{"s3cret", ""}); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, " 30 ": 30 * time.Second, "-1": 0, "soon": 0, "4294967295": maxRetryAfter, "99999999999999999999": 0,
		epoch.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		epoch.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(value, epoch); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// A guard's refusal is no provider error: nothing left this machine.
func TestGuardRefusalIsATargetError(t *testing.T) {
	t.Parallel()
	e := engineOver(roundTrip(func(*http.Request) (*http.Response, error) { return nil, ErrForbiddenAddress }))
	p := decodeProvider(t, []byte(acme))
	set := held(p)
	_, err := e.Refresh(t.Context(), targetOf(p), set.Grant, set.Access)
	var failed *Error
	if !errors.Is(err, ErrTarget) || errors.As(err, &failed) {
		t.Errorf("error %v", err)
	}
}
