package signin

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
)

func TestCheckReturn(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/mcp/servers", "/mcp/servers?server=google-drive", "/mcp/all", "/mcp/connections/con_1", "/mcp/connections/con_1?tools", "/c/flo_1", "/oauth/requests/req_1"} {
		if err := CheckReturn(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzCheckReturn(f *testing.F) {
	for _, seed := range []string{"/mcp/servers", "//evil.test/c/", "/c/x", "/\\evil", "/c/../../x", "/c/%2e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if CheckReturn(path) != nil {
			return
		}
		// As a browser takes it: it stays on this host, and where it says.
		r := httptest.NewRecorder()
		http.Redirect(r, httptest.NewRequest("GET", "/oauth/sign-in", nil), path, http.StatusSeeOther)
		if to := r.Header().Get("Location"); to != path || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, "\\") {
			t.Errorf("%q leads to %q", path, to)
		}
	})
}

// TestGoogle: a Google account of one's own may have any address that was
// verified once, also of a company that the person has left.
func TestGoogle(t *testing.T) {
	t.Parallel()
	in := flow.SignIn{Method: flow.OIDC, Issuer: google, Domains: []string{"acme.example", "gmail.com"}}
	for _, test := range []struct {
		email, hd string
		in        bool
	}{
		{"ada@acme.example", "acme.example", true},
		{"ada@ACME.example", "Acme.example", true},
		{"ada@acme.example", "", false},
		{"ada@acme.example", "other.example", false},
		{"ada@gmail.com", "", true},
		{"ada@other.example", "acme.example", false},
	} {
		_, err := admit(in, claims{issuer: google, Subject: "1", Email: test.email, EmailVerified: true, Domain: test.hd})
		if (err == nil) != test.in || err != nil && !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s of %q: %v", test.email, test.hd, err)
		}
	}
}

// TestAddressesOfOtherAlphabets: one that only looks like somebody's, or becomes
// theirs in lower case (U+212A is a Kelvin, whose lower case is a k), is nobody's.
func TestAddressesOfOtherAlphabets(t *testing.T) {
	t.Parallel()
	in := flow.SignIn{Method: flow.OIDC, Issuer: "https://a.example", Domains: []string{"book.example", "acme.example"}, UserClaim: flow.ClaimEmail}
	for email, want := range map[string]string{
		"Mike@ACME.example": "email:mike@acme.example", "eve@book.example": "email:eve@book.example",
		"mi\u212ae@acme.example": "", "eve@boo\u212a.example": "", "\u0430da@acme.example": "", "ada@acme.example\u3002": "",
	} {
		p, err := admit(in, claims{issuer: in.Issuer, Subject: "1", Email: email, EmailVerified: true})
		if p.user != want || want == "" && !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%q is %q: %v", email, p.user, err)
		}
	}
}

// TestUserIDsDoNotMeet: neither do subjects of two issuers, nor a subject and an
// address.
func TestUserIDsDoNotMeet(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, issuer := range []string{"https://a.example", "https://b.example", "https://a.example/x"} {
		for _, subject := range []string{"1", "x#1", "ada@example.com", "#1", "/x#1"} {
			for _, claim := range []string{"", flow.ClaimSubject, flow.ClaimEmail} {
				in := flow.SignIn{Method: flow.OIDC, Issuer: issuer, Anybody: true, UserClaim: claim}
				p, err := admit(in, claims{issuer: issuer, Subject: subject, Email: "Ada@Example.com", EmailVerified: true})
				if err != nil {
					t.Fatal(err)
				}
				key := issuer + " " + subject
				if claim == flow.ClaimEmail {
					if p.user != "email:ada@example.com" {
						t.Errorf("by address: %s", p.user)
					}
					continue
				}
				if seen[p.user] && claim == "" {
					t.Errorf("%s: somebody else is %s", key, p.user)
				}
				seen[p.user] = true
			}
		}
	}
}

// publishing is an issuer that publishes a document.
func publishing(t *testing.T, change func(base string, doc map[string]any)) (string, *atomic.Int32) {
	t.Helper()
	var asked atomic.Int32
	var base string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/.well-known/openid-configuration" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		doc := map[string]any{"issuer": base, "authorization_endpoint": base + "/a", "token_endpoint": base + "/t", "jwks_uri": base + "/k"}
		change(base, doc)
		if to, ok := doc["redirect"].(string); ok {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(doc)
	}))
	t.Cleanup(srv.Close)
	base = srv.URL
	return base, &asked
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// TestAttackDiscovery: an issuer leads neither us nor the browser anywhere that it
// should not.
func TestAttackDiscovery(t *testing.T) {
	t.Parallel()
	set := func(name, value string) func(string, map[string]any) {
		return func(_ string, doc map[string]any) { doc[name] = value }
	}
	for name, change := range map[string]func(string, map[string]any){
		"another issuer":          set("issuer", "https://evil.test"),
		"a script to authorize":   set("authorization_endpoint", "javascript:alert(1)"),
		"plain http to authorize": set("authorization_endpoint", "http://evil.test/a"),
		"no authorization":        set("authorization_endpoint", ""),
		"tokens in the metadata":  set("token_endpoint", "http://169.254.169.254/latest"),
		"tokens in the network":   set("token_endpoint", "https://10.0.0.1/t"),
		"tokens in a file":        set("token_endpoint", "file:///etc/passwd"),
		"keys in plain http":      set("jwks_uri", "http://evil.test/k"),
		"no keys":                 set("jwks_uri", ""),
		"userinfo in the network": set("userinfo_endpoint", "https://192.168.1.1/u"),
		"a redirect":              set("redirect", "http://169.254.169.254/"),
		"a huge document":         set("x", strings.Repeat("x", maxAnswer)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, _ := publishing(t, change)
			i := &Issuers{AllowLoopback: true, Now: time.Now, Logger: quiet()}
			if _, err := i.find(t.Context(), base); !errors.Is(err, ErrIssuerDown) {
				t.Errorf("%v", err)
			}
		})
	}
	base, asked := publishing(t, func(string, map[string]any) {})
	for _, name := range []string{base, strings.Replace(base, "127.0.0.1", "localhost", 1), "https://169.254.169.254", "http://evil.test", "https://[::1]", ""} {
		i := &Issuers{Now: time.Now, Logger: quiet()} // as in a deployment
		if _, err := i.find(t.Context(), name); !errors.Is(err, ErrIssuerDown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("this machine was asked %d times", asked.Load())
	}
}

// TestDiscoveryIsRemembered: an issuer is asked once an hour.
func TestDiscoveryIsRemembered(t *testing.T) {
	t.Parallel()
	base, asked := publishing(t, func(string, map[string]any) {})
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	i := &Issuers{AllowLoopback: true, Now: func() time.Time { return now }, Logger: quiet()}
	for range 3 {
		if _, err := i.find(t.Context(), base); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(discoveryTTL)
	if _, err := i.find(t.Context(), base); err != nil || asked.Load() != 2 {
		t.Errorf("asked %d times, %v", asked.Load(), err)
	}
}

// TestClientProvesItselfInOneWay: the code would be spent by a second try.
func TestClientProvesItselfInOneWay(t *testing.T) {
	t.Parallel()
	for methods, basic := range map[string]bool{"": true, "client_secret_basic": true, "client_secret_post client_secret_basic": true, "client_secret_post": false, "none": false} {
		base, _ := publishing(t, func(_ string, doc map[string]any) {
			if methods != "" {
				doc["token_endpoint_auth_methods_supported"] = strings.Fields(methods)
			}
		})
		i := &Issuers{AllowLoopback: true, Now: time.Now, Logger: quiet()}
		found, err := i.find(t.Context(), base)
		if err != nil {
			t.Fatal(err)
		}
		if style := found.client("id", "secret", base).Endpoint.AuthStyle; (style == 2) != basic || style == 0 { // AuthStyleInHeader, AuthStyleAutoDetect
			t.Errorf("%q: style %d", methods, style)
		}
		if style := found.client("id", "", base).Endpoint.AuthStyle; style != 1 { // AuthStyleInParams
			t.Errorf("%q without a secret: style %d", methods, style)
		}
	}
}
