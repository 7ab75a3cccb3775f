package runner

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	// brokerClient is the client id at the broker; what proves anything is the
	// secret.
	brokerClient = "lanyard-task"
	// brokerTTL is how long a token that the broker hands out lives at least,
	// if its provider's tokens live that long.
	brokerTTL = time.Minute
	// endless is the lifetime told of a token that has none: clients expect one.
	endless = time.Hour
)

// broker is the loopback token endpoint (RFC 6749 §6) for servers that insist
// on refreshing their token themselves: they trade a handle that is worth
// something only here. google-auth accepts it as the token_url of an
// external_account_authorized_user credential.
type broker struct {
	cred           *credentials
	url, host      string
	secret, handle string
	srv            *http.Server
}

func newBroker(cred *credentials) (*broker, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &broker{
		cred: cred, host: ln.Addr().String(), url: "http://" + ln.Addr().String(),
		secret: rand.Text() + rand.Text(), handle: "lanyard-" + rand.Text() + rand.Text(),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", b.token)
	mux.HandleFunc("POST /introspect", b.introspect)
	b.srv = &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() { _ = b.srv.Serve(ln) }() // ends with close
	return b, nil
}

func (b *broker) close() { _ = b.srv.Close() }

// admit checks who asks, and answers those who may not.
func (b *broker) admit(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Cache-Control", "no-store")
	if r.Host != b.host {
		// A web page whose name was rebound to this address.
		refuse(w, http.StatusForbidden, "invalid_request", "the Host header must be the loopback address")
		return false
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", "the body must be a form")
		return false
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if !same(secret, b.secret) || id != brokerClient {
		w.Header().Set("WWW-Authenticate", `Basic realm="lanyard"`)
		refuse(w, http.StatusUnauthorized, "invalid_client", "the client secret is another one")
		return false
	}
	return true
}

func (b *broker) token(w http.ResponseWriter, r *http.Request) {
	if !b.admit(w, r) {
		return
	}
	switch {
	case r.PostForm.Get("grant_type") != "refresh_token":
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "only refresh_token is served here")
		return
	case !same(r.PostForm.Get("refresh_token"), b.handle):
		refuse(w, http.StatusBadRequest, "invalid_grant", "the refresh token is not the one of this task")
		return
	}
	access, err := b.fresh(r.Context())
	switch t, ok := access.Tokens[""]; {
	case errors.Is(err, task.ErrReconnect):
		refuse(w, http.StatusBadRequest, "invalid_grant", "the connection needs to be reconnected")
	case err != nil:
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "temporarily_unavailable", "the token cannot be renewed at the moment")
	case !ok:
		refuse(w, http.StatusBadRequest, "invalid_grant", "the connection has no access token")
	default:
		lives := endless
		if !t.ExpiresAt.IsZero() {
			lives = max(0, time.Until(t.ExpiresAt))
		}
		answer(w, http.StatusOK, map[string]any{
			"access_token": t.AccessToken.Reveal(), "token_type": "Bearer", "expires_in": int(lives.Seconds()),
		})
	}
}

// fresh is the set with at least a minute to live. While it cannot be renewed
// a shorter rest is better than nothing.
func (b *broker) fresh(ctx context.Context) (access token.Access, err error) {
	access, _, err = b.cred.fresh(ctx, min(brokerTTL, max(b.cred.margin(), time.Second)), false)
	if err == nil || errors.Is(err, task.ErrReconnect) {
		return access, err
	}
	if now := b.cred.current(); time.Until(now.ExpiresAt()) > time.Second {
		return now, nil
	}
	return access, err
}

// introspect is RFC 7662 for the one token that there is.
func (b *broker) introspect(w http.ResponseWriter, r *http.Request) {
	if !b.admit(w, r) {
		return
	}
	asked := r.PostForm.Get("token")
	if asked == "" { // which a connection without this token would match
		refuse(w, http.StatusBadRequest, "invalid_request", "the parameter token is missing")
		return
	}
	t := b.cred.current().Tokens[""]
	out := map[string]any{"active": false}
	if alive := t.ExpiresAt.IsZero() || time.Now().Before(t.ExpiresAt); alive && same(asked, t.AccessToken.Reveal()) {
		out = map[string]any{"active": true, "client_id": brokerClient, "token_type": "Bearer"}
		if !t.ExpiresAt.IsZero() {
			out["exp"] = t.ExpiresAt.Unix()
		}
	}
	answer(w, http.StatusOK, out)
}

func refuse(w http.ResponseWriter, status int, code, description string) {
	answer(w, status, map[string]any{"error": code, "error_description": description})
}

func answer(w http.ResponseWriter, status int, v map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the server hung up; nobody is left to tell
}
