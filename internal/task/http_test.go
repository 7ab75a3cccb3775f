package task

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/token"
)

// line is a control over HTTP to a server that answers as told.
func line(t *testing.T, answer http.HandlerFunc) *HTTPControl {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	return &HTTPControl{URL: srv.URL + "/", Client: srv.Client(), Sign: func(r *http.Request, body []byte) error {
		r.Header.Set("X-Signed", string(body))
		return nil
	}}
}

// TestHTTPControl: what is said arrives, signed over its body, and so does the
// answer, secrets included.
func TestHTTPControl(t *testing.T) {
	t.Parallel()
	c := line(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Signed") != string(body) || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: signed %q, body %q", r.URL.Path, r.Header.Get("X-Signed"), body)
		}
		switch r.URL.Path {
		case ClaimPath:
			var in ClaimRequest
			if json.Unmarshal(body, &in) != nil || in.Ticket.Reveal() != "a-ticket" || in.TaskID != "tsk_1" || in.KeyFingerprint != "ab" {
				t.Errorf("claim: %s", body)
			}
			_ = json.NewEncoder(w).Encode(Claim{Connection: "con_1", Generation: 2, Bearer: "a-bearer",
				Access: token.Access{Tokens: map[string]token.Token{"": {AccessToken: "an-access-token"}}}})
		case TokenPath:
			_ = json.NewEncoder(w).Encode(token.Access{Metadata: map[string]string{"team.id": "T1"}})
		case WarmPath:
			var in WarmRequest
			if json.Unmarshal(body, &in) != nil || in.TaskID != "tsk_1" || in.Address != "a:1" || in.KeyFingerprint != "ab" {
				t.Errorf("registration: %s", body)
			}
			_ = json.NewEncoder(w).Encode(Warm{Bearer: "a-warm-bearer"})
		case ReportPath:
			_, _ = io.WriteString(w, "not looked at")
		default:
			t.Errorf("path %s", r.URL.Path)
		}
	})
	claim, err := c.Claim(t.Context(), ClaimRequest{TaskID: "tsk_1", Ticket: "a-ticket", KeyFingerprint: "ab"})
	if err != nil || claim.Bearer.Reveal() != "a-bearer" || claim.Access.Tokens[""].AccessToken.Reveal() != "an-access-token" || claim.Generation != 2 {
		t.Errorf("%v", err)
	}
	if a, err := c.Token(t.Context(), TokenRequest{TaskID: "tsk_1", MinTTL: 60, Suspect: true}); err != nil || a.Metadata["team.id"] != "T1" {
		t.Errorf("%v %v", a, err)
	}
	if w, err := c.Register(t.Context(), WarmRequest{TaskID: "tsk_1", Address: "a:1", KeyFingerprint: "ab"}); err != nil || w.Bearer.Reveal() != "a-warm-bearer" {
		t.Errorf("%v", err)
	}
	if err := c.Report(t.Context(), Report{TaskID: "tsk_1", State: Ready}); err != nil {
		t.Error(err)
	}
}

// TestHTTPControlErrors: a dead grant, a refusal and a fault are told apart, and
// none of them repeats what was sent.
func TestHTTPControlErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		want   error
	}{
		{409, `{"error":"reconnect_needed","error_description":"gone"}`, ErrReconnect},
		{401, `{"error":"refused"}`, ErrRefused},
		{403, `{"error":"refused"}`, ErrRefused},
		{503, `{"error":"token_unavailable"}`, nil},
		{500, `<html>`, nil},
		{200, `<html>`, nil},
		{200, `{"tokens":` + strings.Repeat(" ", maxAnswer), nil},
	} {
		control := line(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		_, err := control.Claim(t.Context(), ClaimRequest{TaskID: "tsk_1", Ticket: "canary-ticket"})
		if err == nil || c.want != nil && !errors.Is(err, c.want) || c.want == nil && (errors.Is(err, ErrReconnect) || errors.Is(err, ErrRefused)) {
			t.Errorf("%d %.30s: %v", c.status, c.body, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the ticket is in the error: %v", err)
		}
	}
	unsigned := line(t, func(http.ResponseWriter, *http.Request) { t.Error("sent without a signature") })
	unsigned.Sign = func(*http.Request, []byte) error { return errors.New("no role") }
	if err := unsigned.Report(t.Context(), Report{}); err == nil {
		t.Error("reported without a signature")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := unsigned.Report(ended, Report{}); err == nil {
		t.Error("reported although it was over")
	}
}
