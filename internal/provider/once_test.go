package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

func at(server string) presets.Provider {
	return presets.Provider{
		ID: "acme", DisplayName: "Acme", AuthorizationEndpoint: server + "/authorize", TokenEndpoint: server + "/token",
	}
}

var verifier = strings.Repeat("v", 43)

// hangUp ends the connection without a reply; with reset, by RST.
func hangUp(reset bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		if tcp, ok := conn.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// Whatever goes wrong, a code and a refresh token leave once, and the error
// tells whether they may be spent.
func TestSpendingRequestsAreSentOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		handler   http.HandlerFunc
		verdict   Verdict
		ambiguous bool
	}{
		{"reset", hangUp(true), ProviderDown, true},
		{"closed", hangUp(false), ProviderDown, true},
		{"500", status(500, ""), ProviderDown, true},
		{"502 html", status(502, "<html>bad gateway</html>"), ProviderDown, true},
		{"503 with code", status(503, `{"error":"temporarily_unavailable"}`), ProviderDown, true},
		{"200 html", status(200, "<!doctype html><p>Sign in"), ProviderDown, true},
		{"200 empty", status(200, ""), ProviderDown, true},
		{"200 without token", status(200, `{"token_type":"bearer"}`), ProviderDown, true},
		{"200 error", status(200, `{"error":"bad_verification_code"}`), Transient, false},
		{"400", status(400, `{"error":"invalid_grant"}`), Reconnect, false},
		{"401", status(401, `{"error":"invalid_client"}`), ClientMisconfigured, false},
		{"418", status(418, ``), Transient, false},
		{"429", status(429, ``), Transient, false},
		{"408", status(408, ``), Transient, true},
		{"307", redirect(307), Transient, true},
		{"308", redirect(308), Transient, true},
		{"302", redirect(302), Transient, true},
		{"cut short", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"access_token":"a"`)
		}, ProviderDown, true},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"access_token":"a","x":"`+strings.Repeat("x", maxBody)+`"}`)
		}, ProviderDown, true},
		{"endless form", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "access_token=a&x="+strings.Repeat("x", maxBody))
		}, ProviderDown, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var hits, elsewhere atomic.Int32
			mux := http.NewServeMux()
			mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) { hits.Add(1); tt.handler(w, r) })
			mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
			server := httptest.NewServer(mux)
			defer server.Close()
			// One engine with the shipped transport, one with a transport that keeps
			// connections, which net/http would repeat requests on.
			engines := []*Engine{
				{AllowLoopback: true},
				{AllowLoopback: true, HTTP: server.Client()},
			}
			ctx, target, sent := context.Background(), targetOf(at(server.URL)), int32(0)
			for _, e := range engines {
				_, err := e.Exchange(ctx, target, "the-code", verifier, url.Values{})
				sent++
				check(t, err, tt.verdict, tt.ambiguous)
				set := held(target.Provider)
				_, err = e.Refresh(ctx, target, set.Grant, set.Access)
				sent++
				check(t, err, tt.verdict, tt.ambiguous)
			}
			if hits.Load() != sent || elsewhere.Load() != 0 {
				t.Errorf("%d requests for %d, %d followed elsewhere", hits.Load(), sent, elsewhere.Load())
			}
		})
	}
}

func check(t *testing.T, err error, verdict Verdict, ambiguous bool) {
	t.Helper()
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("no provider error: %v", err)
	}
	if failed.Verdict != verdict || failed.Ambiguous != ambiguous {
		t.Errorf("verdict %s ambiguous %v, want %s %v: %v", failed.Verdict, failed.Ambiguous, verdict, ambiguous, err)
	}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); fmt.Fprint(w, body) }
}

func redirect(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", code) }
}

func TestTimeoutIsAmbiguousAndSentOnce(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1); <-release }))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	e := &Engine{AllowLoopback: true}
	_, err := e.Exchange(ctx, targetOf(at(server.URL)), "the-code", verifier, url.Values{})
	check(t, err, ProviderDown, hits.Load() == 1)
	if hits.Load() > 1 {
		t.Errorf("%d requests", hits.Load())
	}
}

// A provider that cannot be reached has spent nothing.
func TestUnreachableIsNotAmbiguous(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	e := &Engine{AllowLoopback: true}
	target := targetOf(at("http://" + address))
	set := held(target.Provider)
	_, err = e.Refresh(context.Background(), target, set.Grant, set.Access)
	check(t, err, ProviderDown, false)
}

// No secret that was sent comes back in an error's words, however the provider
// echoes it.
func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "canary-secret/+ "
	canaryVerifier := "canary-" + verifier
	for _, code := range []int{200, 302, 400, 401, 500} {
		for _, encoding := range []string{presets.EncodingForm, presets.EncodingQuery, presets.EncodingJSON} {
			p := at("https://acme.example")
			p.Requests.Code.Encoding, p.Requests.Refresh.Encoding = encoding, encoding
			p.ClientAuth.Methods = []string{presets.AuthPost}
			p.Identity.Request = &presets.APIRequest{URL: "https://acme.example/me"}
			p.Revocation = presets.Revocation{Mode: "rfc7009", Endpoint: "https://acme.example/r", Revokes: "token"}
			target := targetOf(p)
			target.Client.Secret = secret
			set := held(p)
			set.Grant.Renewables[""], set.Access.Tokens[""] = renewableOf("canary-refresh"), tokenOf("canary-access")
			ctx := context.Background()
			for _, request := range []struct {
				sent []string
				do   func(*Engine) error
			}{
				{[]string{"canary-code", secret, url.QueryEscape(secret), canaryVerifier}, func(e *Engine) error {
					_, err := e.Exchange(ctx, target, "canary-code", canaryVerifier, url.Values{})
					return err
				}},
				{[]string{"canary-refresh", secret}, func(e *Engine) error {
					_, err := e.Refresh(ctx, target, set.Grant, set.Access)
					return err
				}},
				{[]string{"canary-refresh", secret}, func(e *Engine) error { _, err := e.Revoke(ctx, target, set); return err }},
				{[]string{"canary-access"}, func(e *Engine) error { _, err := e.Identity(ctx, target, Result{Set: set}); return err }},
				{[]string{"canary-access"}, func(e *Engine) error { _, err := e.Validate(ctx, target, set.Access); return err }},
			} {
				for _, body := range echoes(request.sent) {
					err := request.do(engineOver(&canned{status: code, body: body}))
					if err != nil && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "canary") {
						t.Errorf("%d %s %s: %v", code, encoding, body, err)
					}
				}
			}
		}
	}
}

func echoes(secrets []string) []string {
	all := strings.Join(secrets, " ")
	split := strings.ReplaceAll(all, "canary", `can\u0000a\u200br\u001by`)
	return []string{
		`{"error":"invalid_grant","error_description":"` + all + `"}`,
		`{"error":"` + all + `"}`,
		`{"error":["` + all + `"],"error_description":{"x":"` + all + `"}}`,
		`{"error":"x","error_description":"` + split + `"}`,
		"error=x&error_description=" + url.QueryEscape(all),
		"<html>" + all,
		all,
	}
}

// The transport's own errors repeat the URL; ours do not.
func TestNetworkErrorsHoldNoURL(t *testing.T) {
	t.Parallel()
	p := at("https://acme.example")
	p.Requests.Refresh.Encoding = presets.EncodingQuery
	e := engineOver(roundTrip(func(r *http.Request) (*http.Response, error) {
		return nil, errors.New("broken pipe after \x1b[0mrefresh-main")
	}))
	set := held(p)
	_, err := e.Refresh(context.Background(), targetOf(p), set.Grant, set.Access)
	if err == nil || strings.Contains(err.Error(), "https:") || strings.Contains(err.Error(), "refresh-main") || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("error: %v", err)
	}
}

// Who walks away learns nothing about the provider.
func TestAbandonedRequest(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server notices the end
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	target := targetOf(at(server.URL))
	set := held(target.Provider)
	_, err := (&Engine{AllowLoopback: true}).Refresh(ctx, target, set.Grant, set.Access)
	check(t, err, Transient, true)
}

// net/http can send nothing again by itself, on whatever transport.
func TestRequestsCannotBeReplayed(t *testing.T) {
	t.Parallel()
	p := at("https://acme.example")
	set, requests := held(p), 0
	e := engineOver(roundTrip(func(r *http.Request) (*http.Response, error) {
		requests++
		if r.GetBody != nil || !r.Close || r.Body == nil || r.ContentLength <= 0 {
			t.Errorf("GetBody set, or the connection kept, or no body: %v %v", r.Close, r.ContentLength)
		}
		return nil, io.ErrUnexpectedEOF
	}))
	_, _ = e.Refresh(context.Background(), targetOf(p), set.Grant, set.Access)
	_, _ = e.Exchange(context.Background(), targetOf(p), "c", verifier, url.Values{})
	if requests != 2 {
		t.Errorf("%d requests", requests)
	}
}

// A reply without end is not read to its end.
func TestBodyIsBounded(t *testing.T) {
	t.Parallel()
	var read atomic.Int64
	e := engineOver(roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(endless{&read}), Request: r}, nil
	}))
	p := at("https://acme.example")
	_, err := e.Exchange(context.Background(), targetOf(p), "c", verifier, url.Values{})
	check(t, err, ProviderDown, true)
	if read.Load() > 2*maxBody {
		t.Errorf("read %d bytes", read.Load())
	}
}

type endless struct{ read *atomic.Int64 }

func (e endless) Read(b []byte) (int, error) {
	if e.read.Add(int64(len(b))) > 16*maxBody {
		return 0, io.EOF
	}
	return len(b), nil
}

// What is logged names provider, status and verdict, and nothing that was sent
// or came back.
func TestLogHoldsNoSecret(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	p := at("https://acme.example")
	p.Requests.Refresh.Encoding = presets.EncodingQuery
	for _, code := range []int{200, 400} {
		e := engineOver(&canned{status: code, body: `{"access_token":"canary-new","error":"canary-code","error_description":"canary"}`})
		e.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		set := held(p)
		set.Grant.Renewables[""] = renewableOf("canary-refresh")
		_, _ = e.Refresh(context.Background(), targetOf(p), set.Grant, set.Access)
	}
	if !strings.Contains(log.String(), "provider=acme") || strings.Contains(log.String(), "canary") {
		t.Errorf("log: %s", log.String())
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func renewableOf(secret string) token.Renewable {
	return token.Renewable{RefreshToken: token.Secret(secret)}
}

func tokenOf(secret string) token.Token { return token.Token{AccessToken: token.Secret(secret)} }
