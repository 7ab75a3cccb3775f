package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

// issuer is an OpenID Connect issuer whose answers a test may change.
type issuer struct {
	t   testing.TB
	url string
	key *ecdsa.PrivateKey
	now func() time.Time

	mu   sync.Mutex
	next map[string]url.Values // by code: the authorization request
	// claims changes the claims of the next id tokens, and sign what is made of
	// them; nil: signed as it should be.
	claims func(map[string]any)
	sign   func(claims string) string
	// userinfo is what the endpoint of that name says.
	userinfo map[string]any
	// exchanged counts the codes that were.
	exchanged int
}

func newIssuer(t testing.TB, now func() time.Time) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key, now: now, next: map[string]url.Values{}}
	published := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k1", Algorithm: oidc.ES256}}}
	mux := http.NewServeMux()
	mux.Handle("GET /keys", published)
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, 200, map[string]any{"issuer": i.url, "authorization_endpoint": i.url + "/authorize", "token_endpoint": i.url + "/token",
			"jwks_uri": i.url + "/keys", "userinfo_endpoint": i.url + "/userinfo", "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"},
			"authorization_response_iss_parameter_supported": true})
	})
	mux.HandleFunc("POST /token", i.token)
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, _ *http.Request) { i.answer(w, 200, i.userinfo) })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	i.url = srv.URL
	published.SetIssuer(i.url)
	return i
}

func (i *issuer) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// authorize is the person consenting to what the browser asked: it returns the
// callback's query.
func (i *issuer) authorize(asked *url.URL, more ...string) string {
	i.t.Helper()
	q := asked.Query()
	if originOf(asked.String()) != i.url || q.Get("client_id") != "lanyard" || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("nonce")) != 43 {
		i.t.Fatalf("asked %s", asked.Redacted())
	}
	code := "canary-code-" + rand.Text()
	i.mu.Lock()
	i.next[code] = q
	i.mu.Unlock()
	back := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {i.url}}
	for n := 0; n < len(more); n += 2 {
		back.Set(more[n], more[n+1])
		if more[n+1] == "" {
			back.Del(more[n])
		}
	}
	return "/oauth/sign-in/callback?" + back.Encode()
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	asked, ok := i.next[r.FormValue("code")]
	delete(i.next, r.FormValue("code"))
	challenge := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	switch {
	case id != "lanyard" || secret != "canary-client-secret":
		i.answer(w, 401, map[string]string{"error": "invalid_client", "error_description": "canary"})
		return
	case !ok || base64.RawURLEncoding.EncodeToString(challenge[:]) != asked.Get("code_challenge") || r.FormValue("redirect_uri") != asked.Get("redirect_uri"):
		i.answer(w, 400, map[string]string{"error": "invalid_grant", "error_description": "canary"})
		return
	}
	i.exchanged++
	claims := map[string]any{"iss": i.url, "aud": "lanyard", "sub": "ada-1", "nonce": asked.Get("nonce"), "iat": i.now().Unix(), "exp": i.now().Add(time.Minute).Unix(),
		"email": "Ada@Example.com", "email_verified": true}
	if i.claims != nil {
		i.claims(claims)
	}
	doc, _ := json.Marshal(claims)
	sign := i.sign
	if sign == nil {
		sign = func(claims string) string { return oidctest.SignIDToken(i.key, "k1", oidc.ES256, claims) }
	}
	out := map[string]any{"access_token": "canary-access", "token_type": "Bearer", "expires_in": 60}
	if token := sign(string(doc)); token != "" {
		out["id_token"] = token
	}
	i.answer(w, 200, out)
}

// signedBy is an id token that the issuer signed.
func signedBy(i *issuer, claims string) string {
	return oidctest.SignIDToken(i.key, "k1", oidc.ES256, claims)
}
