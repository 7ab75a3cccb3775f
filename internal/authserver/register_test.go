package authserver_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

func TestRegister(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for method, secret := range map[string]bool{`"none"`: false, `"client_secret_basic"`: true, `"client_secret_post"`: true, "": true} {
		body := `{"redirect_uris":["http://localhost:8787/callback","cursor://anysphere.cursor-mcp/oauth/callback"],"client_name":"Cursor",
			"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"scope":"x","software_id":[1],"client_uri":"javascript:x"`
		if method != "" {
			body += `,"token_endpoint_auth_method":` + method
		}
		id, a := w.register(t, body+"}")
		_, has := a["client_secret"]
		if has != secret || !strings.HasPrefix(id, "cli_") || a["client_id_issued_at"] == nil || (a["client_secret_expires_at"] == 0.0) != secret ||
			len(a["redirect_uris"].([]any)) != 2 || a["client_uri"] != nil || a["client_name"] != "Cursor" {
			t.Errorf("%s: %v", method, a)
		}
		c, err := w.store.GetClient(t.Context(), id)
		ok(t, err)
		if s, _ := a["client_secret"].(string); s != "" && strings.Contains(fmt.Sprintf("%+v", c), s) {
			t.Error("the secret is kept")
		}
	}
}

func TestRegistrationRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uris := func(n int) string {
		return strings.TrimSuffix(strings.Repeat(`"https://client.example/callback",`, n), ",")
	}
	for body, want := range map[string]string{
		``:                                     "invalid_client_metadata",
		`[]`:                                   "invalid_client_metadata",
		`{"redirect_uris":"x"}`:                "invalid_client_metadata",
		`{}`:                                   "invalid_redirect_uri",
		`{"redirect_uris":[]}`:                 "invalid_redirect_uri",
		`{"redirect_uris":[` + uris(11) + `]}`: "invalid_redirect_uri",
		`{"redirect_uris":["https://client.example/` + strings.Repeat("a", 2048) + `"]}`:                                                "invalid_redirect_uri",
		`{"redirect_uris":["javascript:alert(1)"]}`:                                                                                     "invalid_redirect_uri",
		`{"redirect_uris":["http://client.example/callback"]}`:                                                                          "invalid_redirect_uri",
		`{"redirect_uris":["https://client.example/callback","evil://x"]}`:                                                              "invalid_redirect_uri",
		`{"redirect_uris":[` + uris(1) + `],"client_name":"` + strings.Repeat("n", 257) + `"}`:                                          "invalid_client_metadata",
		`{"redirect_uris":[` + uris(1) + `],"grant_types":["client_credentials"]}`:                                                      "invalid_client_metadata",
		`{"redirect_uris":[` + uris(1) + `],"response_types":["token"]}`:                                                                "invalid_client_metadata",
		`{"redirect_uris":[` + uris(1) + `],"token_endpoint_auth_method":"tls_client_auth"}`:                                            "invalid_client_metadata",
		`{"redirect_uris":[` + uris(1) + `],"token_endpoint_auth_method":"private_key_jwt"}`:                                            "invalid_client_metadata",
		`{"redirect_uris":[` + uris(1) + `],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"oct","k":"AAAA"}]}}`: "invalid_client_metadata",
		`{"redirect_uris":[` + uris(1) + `],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"http://client.example/keys"}`:    "invalid_client_metadata",
		`{"redirect_uris":[` + uris(1) + `],"x":"` + strings.Repeat("n", 64<<10) + `"}`:                                                 "invalid_client_metadata",
	} {
		_, err := w.Register(t.Context(), []byte(body), "192.0.2.1")
		wantCode(t, err, want)
	}
}

// One address, or one network of a person, makes 20 clients an hour; all
// together make a thousand.
func TestRegistrationFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	register := func(viewer string) error {
		_, err := w.Register(t.Context(), []byte(`{"redirect_uris":["https://client.example/callback"]}`), viewer)
		return err
	}
	for i := range 21 {
		err := register(fmt.Sprintf("2001:db8::%x", i+1))
		if i < 20 {
			ok(t, err)
		} else if problem := wantCode(t, err, "temporarily_unavailable"); problem.Status != 429 {
			t.Errorf("status %d", problem.Status)
		}
	}
	for i := range 980 {
		ok(t, register(fmt.Sprintf("198.18.%d.%d", i/250, i%250)))
	}
	wantCode(t, register("192.0.2.2"), "temporarily_unavailable")
	w.pass(time.Hour)
	ok(t, register("192.0.2.2"))
}

// A client that nobody uses is forgotten in a day; one that is used stays.
func TestUnusedClientIsForgotten(t *testing.T) {
	t.Parallel()
	const body = `{"redirect_uris":["` + callback + `"],"token_endpoint_auth_method":"none"}`
	w := newWorld(t)
	unused, _ := w.register(t, body)
	used, _ := w.register(t, body)
	a, err := w.Token(t.Context(), taking(used, w.code(t, asking(used))), "")
	ok(t, err)
	w.pass(24 * time.Hour)
	_, err = w.Authorize(t.Context(), asking(unused), browser)
	wantCode(t, err, "invalid_client")
	for range 3 {
		w.pass(80 * 24 * time.Hour)
		a = w.renew(t, used, a.RefreshToken)
	}
	w.pass(90 * 24 * time.Hour)
	_, err = w.Token(t.Context(), renewing(used, a.RefreshToken), "")
	if problem := wantCode(t, err, "invalid_client"); problem.Status != 401 { // so that it registers anew
		t.Errorf("status %d", problem.Status)
	}
}

func TestEnter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, secret, err := w.Enter(t.Context(), "Ours", []string{callback}, authserver.AuthPost)
	ok(t, err)
	if secret == "" || c.Kind != authserver.Registered || !c.ExpiresAt.IsZero() {
		t.Errorf("%+v", c)
	}
	all, err := w.store.RegisteredClients(t.Context())
	ok(t, err)
	if len(all) != 1 || all[0].ID != c.ID {
		t.Errorf("%+v", all)
	}
	w.pass(10 * 365 * 24 * time.Hour)
	_, err = w.Authorize(t.Context(), asking(c.ID), browser)
	ok(t, err)
	for _, bad := range [][]string{nil, {"http://client.example/"}, {"x"}} {
		if _, _, err := w.Enter(t.Context(), "Ours", bad, authserver.AuthNone); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
	if _, _, err := w.Enter(t.Context(), "Ours", []string{callback}, authserver.AuthKeyJWT); err == nil {
		t.Error("a key without a key is taken")
	}
}

func FuzzRegister(f *testing.F) {
	f.Add(`{"redirect_uris":["http://localhost/cb"],"token_endpoint_auth_method":"none"}`)
	f.Add(`{"redirect_uris":[null],"jwks":{"keys":[{}]},"token_endpoint_auth_method":"private_key_jwt"}`)
	f.Fuzz(func(t *testing.T, body string) {
		w := newWorld(t)
		doc, err := w.Register(t.Context(), []byte(body), "x")
		if err == nil && !json.Valid(doc) {
			t.Errorf("%s", doc)
		}
	})
}
