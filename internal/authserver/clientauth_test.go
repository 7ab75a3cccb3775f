package authserver_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

func basicAuth(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

func TestClientSecret(t *testing.T) {
	t.Parallel()
	for _, method := range []string{authserver.AuthBasic, authserver.AuthPost} {
		w := newWorld(t)
		c, secret, err := w.Enter(t.Context(), "Ours", []string{callback}, method)
		ok(t, err)
		form := func() url.Values { return taking(c.ID, w.code(t, asking(c.ID))) }
		s := secret.Reveal()
		// Either way to send it is taken.
		_, err = w.Token(t.Context(), with(form(), "client_secret", s), "")
		ok(t, err)
		_, err = w.Token(t.Context(), with(form(), "client_id"), basicAuth(c.ID, s))
		ok(t, err)
		_, err = w.Token(t.Context(), form(), basicAuth(c.ID, s))
		ok(t, err)
		for name, test := range map[string]struct {
			form          url.Values
			authorization string
			want          string
		}{
			"nothing":       {form(), "", "invalid_client"},
			"wrong":         {with(form(), "client_secret", s+"x"), "", "invalid_client"},
			"wrong basic":   {form(), basicAuth(c.ID, "x"), "invalid_client"},
			"no basic":      {form(), "Basic !!!", "invalid_client"},
			"no colon":      {form(), "Basic " + base64.StdEncoding.EncodeToString([]byte("x")), "invalid_client"},
			"bad encoding":  {form(), "Basic " + base64.StdEncoding.EncodeToString([]byte("%zz:x")), "invalid_client"},
			"bearer":        {form(), "Bearer " + s, "invalid_client"},
			"two ways":      {with(form(), "client_secret", s), basicAuth(c.ID, s), "invalid_request"},
			"two clients":   {with(form(), "client_id", "cli_other"), basicAuth(c.ID, s), "invalid_request"},
			"and assertion": {with(form(), "client_assertion", "x"), basicAuth(c.ID, s), "invalid_request"},
			"the hash":      {with(form(), "client_secret", c.SecretHash), "", "invalid_client"},
			"nobody":        {with(form(), "client_id"), "", "invalid_client"},
			"unknown":       {with(form(), "client_id", "cli_unknown"), "", "invalid_client"},
		} {
			_, err := w.Token(t.Context(), test.form, test.authorization)
			problem := wantCode(t, err, test.want)
			if (problem.Status == 401) != (test.want == "invalid_client") {
				t.Errorf("%s: status %d", name, problem.Status)
			}
		}
		// None of that took a code that the client itself can still take.
		f := form()
		_, err = w.Token(t.Context(), f, "")
		wantCode(t, err, "invalid_client")
		_, err = w.Token(t.Context(), f, basicAuth(c.ID, s))
		ok(t, err)
	}
}

// A public client that sends a secret is not the one that it says.
func TestSecretOfAPublicClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	_, err := w.Token(t.Context(), with(taking(c.ID, w.code(t, asking(c.ID))), "client_secret", "x"), "")
	wantCode(t, err, "invalid_client")
	_, err = w.Token(t.Context(), taking(c.ID, w.code(t, asking(c.ID))), basicAuth(c.ID, ""))
	ok(t, err) // which is no secret
}

// signer is a client's key.
type signer struct {
	algorithm jose.SignatureAlgorithm
	private   any
	public    any
	kid       string
}

func newSigners(t *testing.T) []signer {
	t.Helper()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ok(t, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	ok(t, err)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	ok(t, err)
	return []signer{
		{jose.ES256, p256, p256.Public(), "es256"}, {jose.ES384, p384, p384.Public(), "es384"}, {jose.RS256, rs, rs.Public(), "rs"},
		{jose.PS256, rs, rs.Public(), "rs"}, {jose.EdDSA, private, public, "ed"},
	}
}

func (s signer) sign(t *testing.T, claims any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: s.algorithm, Key: jose.JSONWebKey{Key: s.private, KeyID: s.kid}}, nil)
	ok(t, err)
	out, err := jwt.Signed(signer).Claims(claims).Serialize()
	ok(t, err)
	return out
}

func keySet(t *testing.T, signers ...signer) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, s := range signers {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.public, KeyID: s.kid, Use: "sig"})
	}
	b, err := json.Marshal(set)
	ok(t, err)
	return string(b)
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func asserting(form url.Values, assertion string) url.Values {
	return with(with(form, "client_assertion", assertion), "client_assertion_type", assertionType)
}

func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	signers := newSigners(t)
	w := newWorld(t)
	id, _ := w.register(t, `{"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"private_key_jwt","jwks":`+keySet(t, signers[0], signers[1], signers[2], signers[4])+`}`)
	n := 0
	claims := func() map[string]any {
		n++
		return map[string]any{"iss": id, "sub": id, "aud": base, "exp": w.Now().Add(time.Minute).Unix(), "jti": n}
	}
	form := func() url.Values { return taking(id, w.code(t, asking(id))) }
	for _, s := range signers {
		c := claims()
		c["jti"] = string(s.algorithm)
		_, err := w.Token(t.Context(), asserting(with(form(), "client_id"), s.sign(t, c)), "")
		ok(t, err)
	}
	text := func(name string, value any) map[string]any {
		c := claims()
		c["jti"] = "jti" + string(rune('a'+n%26)) + name
		c[name] = value
		return c
	}
	for _, c := range []map[string]any{text("aud", base+"/oauth/token"), text("aud", []string{"https://other.example", base}), text("nbf", w.Now().Unix())} {
		_, err := w.Token(t.Context(), asserting(form(), signers[0].sign(t, c)), "")
		ok(t, err)
	}
	stranger := newSigners(t)[0]
	hmac := signer{algorithm: jose.HS256, private: []byte(keySet(t, signers[0])), kid: "es256"}
	for name, assertion := range map[string]string{
		"another issuer":         signers[0].sign(t, text("iss", "https://other.example")),
		"another subject":        signers[0].sign(t, text("sub", "cli_unknown")),
		"another audience":       signers[0].sign(t, text("aud", "https://other.example")),
		"a near audience":        signers[0].sign(t, text("aud", base+"/")),
		"no audience":            signers[0].sign(t, text("aud", nil)),
		"expired":                signers[0].sign(t, text("exp", w.Now().Add(-time.Minute).Unix())),
		"no end":                 signers[0].sign(t, text("exp", nil)),
		"far ahead":              signers[0].sign(t, text("exp", w.Now().Add(time.Hour).Unix())),
		"not yet":                signers[0].sign(t, text("nbf", w.Now().Add(time.Minute).Unix())),
		"no jti":                 signers[0].sign(t, text("jti", "")),
		"a stranger's key":       stranger.sign(t, text("x", 1)),
		"a public key as secret": hmac.sign(t, text("x", 1)),
		"unsigned":               base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"`+id+`"}`)) + ".",
		"nothing":                "x",
	} {
		form := with(form(), "client_id")
		_, err := w.Token(t.Context(), asserting(form, assertion), "")
		if problem := wantCode(t, err, "invalid_client"); problem.Status != 401 {
			t.Errorf("%s: status %d", name, problem.Status)
		}
	}
	// Once is enough; and nothing but an assertion will do.
	good := signers[0].sign(t, text("x", 2))
	_, err := w.Token(t.Context(), asserting(form(), good), "")
	ok(t, err)
	_, err = w.Token(t.Context(), asserting(form(), good), "")
	wantCode(t, err, "invalid_client")
	_, err = w.Token(t.Context(), form(), "")
	wantCode(t, err, "invalid_client")
	_, err = w.Token(t.Context(), with(form(), "client_assertion", signers[0].sign(t, text("x", 3))), "")
	wantCode(t, err, "invalid_request")
	_, err = w.Token(t.Context(), asserting(with(form(), "client_id", "cli_other"), signers[0].sign(t, text("x", 4))), "")
	wantCode(t, err, "invalid_request")
	// The assertion of one client proves nothing for another.
	public := w.enter(t, callback)
	c := text("x", 5)
	c["iss"], c["sub"] = public.ID, public.ID
	_, err = w.Token(t.Context(), asserting(with(form(), "client_id"), signers[0].sign(t, c)), "")
	wantCode(t, err, "invalid_client")
}

// Keys are fetched from where the client publishes them, kept, and looked for
// again when they have changed; not more than once a minute.
func TestKeysOfADocument(t *testing.T) {
	t.Parallel()
	old, young := newSigners(t)[0], newSigners(t)[4]
	const keysURL = "https://client.example/keys"
	keys := keySet(t, old)
	var fetched int
	w, _ := published(t, func(r *http.Request) (*http.Response, error) {
		if r.URL.String() == keysURL {
			fetched++
			return reply(200, "application/jwk-set+json", keys)(r)
		}
		return reply(200, "application/json", documentOf(documentURL, `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"`+keysURL+`"`))(r)
	})
	try := func(s signer, jti string) error {
		t.Helper()
		claims := map[string]any{"iss": documentURL, "sub": documentURL, "aud": base, "exp": w.Now().Add(time.Minute).Unix(), "jti": jti}
		_, err := w.Token(t.Context(), asserting(taking(documentURL, w.code(t, asking(documentURL))), s.sign(t, claims)), "")
		return err
	}
	want := func(n int) {
		t.Helper()
		if fetched != n {
			t.Errorf("keys were fetched %d times, want %d", fetched, n)
		}
	}
	ok(t, try(old, "1"))
	ok(t, try(old, "2"))
	want(1)
	keys = keySet(t, young)
	wantCode(t, try(young, "3"), "invalid_client")
	want(1)
	w.pass(time.Minute)
	ok(t, try(young, "4"))
	wantCode(t, try(old, "5"), "invalid_client")
	want(2)
	keys = "no keys"
	w.pass(time.Hour)
	wantCode(t, try(young, "6"), "invalid_client")
}

// A client that publishes its private key by mistake is told so, before somebody
// uses it.
func TestPublishedPrivateKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := newSigners(t)[0]
	key.public = key.private
	_, err := w.Register(t.Context(), []byte(`{"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"private_key_jwt","jwks":`+keySet(t, key)+`}`), "192.0.2.1")
	wantCode(t, err, "invalid_client_metadata")
}
