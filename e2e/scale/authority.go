package scale

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/lanyardhq/lanyard/internal/token"
)

// The sizes of tokens, in bytes: Google's access tokens have about 220, its
// refresh tokens 103. The simulation's rotating providers send one of 2,500, so
// that the sealed grant, with its keys, is what the budget of a rotation is
// reckoned with: 3 KB.
const (
	accessSize  = 220
	refreshSize = 103
	longSize    = 2500
	// lifetime is what a token lives, in seconds.
	lifetime = 3600
)

// authority is an authorization server that answers at once. It knows a
// connection's token by the number in it, and keeps four bytes of it: which of
// its refresh tokens is the living one. One that was spent is refused.
type authority struct {
	rotates bool
	// size is that of its refresh tokens.
	size   int
	living []atomic.Uint32
	// asked counts the requests, granted those that yielded a token, and reused
	// those that came with a spent token.
	asked, granted, reused atomic.Int64
}

func newAuthority(rotates bool, size, connections int) *authority {
	return &authority{rotates: rotates, size: size, living: make([]atomic.Uint32, connections)}
}

// filling is what tokens are made of: characters that cannot be compressed to
// less than the six bits of each.
var filling = func() string {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 3<<12)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}()

// made is a token: which it is, and as many characters as it has to have.
func made(kind string, connection int, generation uint32, size int) string {
	t := fmt.Sprintf("%s.%d.%d.", kind, connection, generation)
	from := (connection*61 + int(generation)*127) % (len(filling) - size)
	return t + filling[from:from+max(0, size-len(t))]
}

// set is what the person's consent has yielded.
func (a *authority) set(connection int) token.Set {
	return token.Set{
		Access: token.Access{Tokens: map[string]token.Token{"": {AccessToken: token.Secret(made("at", connection, 0, accessSize)), TokenType: "Bearer"}}},
		Grant:  token.Grant{Renewables: map[string]token.Renewable{"": {RefreshToken: token.Secret(made("rt", connection, 0, a.size))}}},
	}
}

// answer answers a request to the token endpoint. rotated tells that the token
// was spent and has a successor.
func (a *authority) answer(form url.Values) (status int, body string, connection int, rotated bool) {
	a.asked.Add(1)
	parts := strings.Split(form.Get("refresh_token"), ".")
	if form.Get("grant_type") != "refresh_token" || len(parts) != 4 {
		return http.StatusBadRequest, `{"error":"invalid_request"}`, 0, false
	}
	connection, err := strconv.Atoi(parts[1])
	generation, err2 := strconv.ParseUint(parts[2], 10, 32)
	if err != nil || err2 != nil || connection < 0 || connection >= len(a.living) {
		return http.StatusBadRequest, `{"error":"invalid_request"}`, 0, false
	}
	next := uint32(generation)
	if a.rotates {
		next++
	}
	if !a.living[connection].CompareAndSwap(uint32(generation), next) {
		a.reused.Add(1)
		return http.StatusBadRequest, `{"error":"invalid_grant"}`, connection, false
	}
	a.granted.Add(1)
	successor := ""
	if a.rotates {
		successor = `","refresh_token":"` + made("rt", connection, next, a.size)
	}
	return http.StatusOK, `{"token_type":"Bearer","expires_in":` + strconv.Itoa(lifetime) +
		`,"access_token":"` + made("at", connection, next, accessSize) + successor + `"}`, connection, a.rotates
}

// respond answers without a network.
func (a *authority) respond(r *http.Request) (*http.Response, error) {
	form, err := url.ParseQuery(string(discard(r.Body)))
	if err != nil {
		return nil, err
	}
	status, body, _, _ := a.answer(form)
	return response(r, status, body), nil
}

func response(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// ServeHTTP answers as a server of its own.
func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	status, body, _, _ := a.answer(r.PostForm)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
