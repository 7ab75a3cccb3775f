package discover_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
)

// TestMetadataOfAnotherOrigin: a server whose challenge leads elsewhere gets
// nobody asked there.
func TestMetadataOfAnotherOrigin(t *testing.T) {
	t.Parallel()
	for _, elsewhere := range []string{"https://evil.example/prm", "https://mcp.example:8443/prm", "https://mcp.example.evil.example/prm", "https://www.mcp.example/prm"} {
		w := newWorld(t)
		w.set(serverURL, status(401, "WWW-Authenticate", `Bearer resource_metadata="`+elsewhere+`"`))
		w.set(elsewhere, says(prm()))
		w.refused(flow.ErrDiscovery)
		if w.count("GET "+elsewhere) > 0 {
			t.Errorf("%s was asked", elsewhere)
		}
	}
}

// TestMetadataAboutAnotherServer: a token for one resource would be asked for by
// another.
func TestMetadataAboutAnotherServer(t *testing.T) {
	t.Parallel()
	for resource, fine := range map[string]bool{
		serverURL: true, "https://mcp.example": true, "https://mcp.example/": true, "https://mcp.example/v1": true, "https://mcp.example/v1/": true, "https://MCP.example/v1/mcp": true,
		"https://evil.example/v1/mcp": false, "https://mcp.example/v2": false, "https://mcp.example/v1/mcp/more": false, "https://mcp.example/v1/mc": false,
		"http://mcp.example/v1/mcp": false, "https://mcp.example:8443/v1/mcp": false, "https://user@mcp.example/v1/mcp": false, "https://mcp.example/v1/mcp#x": false,
		"https://mcp.example/v1/mcp?x": false, "": false, "mcp.example": false, "https://mcp.example/{access_token}": false, "https://mcp.example/v1/../../other": false,
	} {
		w := newWorld(t)
		w.set(prmURL, says(with(prm(), doc{"resource": resource})))
		if !fine {
			w.refused(flow.ErrDiscovery)
			if w.reached("auth.example") {
				t.Errorf("%q: the authorization server was asked", resource)
			}
		} else if f := w.found(); f.Resource != resource {
			t.Errorf("%q is asked for as %q", resource, f.Resource)
		}
	}
}

// TestIssuerMismatch: metadata of another issuer are nobody's, and no other form
// is tried after them.
func TestIssuerMismatch(t *testing.T) {
	t.Parallel()
	for _, other := range []any{"https://evil.example", issuer + "/", "https://AUTH.example", "http://auth.example", issuer + "/x", "", nil, 7} {
		w := newWorld(t)
		w.set(asURL, says(with(as(issuer), doc{"issuer": other})))
		w.set(issuer+"/.well-known/openid-configuration", says(as(issuer)))
		w.refused(flow.ErrDiscovery)
		if n := w.count("GET " + issuer + "/.well-known/openid-configuration"); n > 0 {
			t.Errorf("issuer %v: the search went on", other)
		}
	}
}

// TestUnsafeServers: no S256, no codes, no endpoint: nobody is sent there.
func TestUnsafeServers(t *testing.T) {
	t.Parallel()
	for _, change := range []doc{
		{"code_challenge_methods_supported": nil}, {"code_challenge_methods_supported": []string{"plain"}}, {"code_challenge_methods_supported": []string{"s256"}},
		{"code_challenge_methods_supported": "S256"}, {"response_types_supported": []string{"token"}}, {"token_endpoint": nil}, {"authorization_endpoint": ""},
		{"token_endpoint": "https://auth.example/token#x"}, {"authorization_endpoint": "javascript:alert(1)"}, {"authorization_endpoint": "/authorize"},
		{"token_endpoint": "https://auth.example/{client_id}"}, {"authorization_endpoint": "https://auth.example/\u202eevil"}, {"token_endpoint": "https://auth.example/a b"},
		{"authorization_endpoint": "https://auth.example/<script>alert(1)</script>"}, {"token_endpoint": "https://" + strings.Repeat("a", 3000) + ".example"},
		{"registration_endpoint": "https://аuth.example/register"}, {"revocation_endpoint": "http://auth.example/revoke"},
	} {
		w := newWorld(t)
		w.set(asURL, says(with(as(issuer), change)))
		w.refused(flow.ErrDiscovery)
	}
	for _, servers := range []any{nil, []string{}, []string{""}, "https://auth.example", []string{issuer + "?x=1"}, []string{issuer + "?"},
		[]string{issuer + "/;touch$IFS/tmp/x;"}, []string{issuer + "/$(id)"}, []string{issuer + "/a&b"}, []string{issuer + "/'"}, []string{issuer + "/(x)"}, []string{issuer + "/!x"}, []string{issuer + "/*"}, []string{issuer + "/" + strings.Repeat("x", 1200)}, []any{7}} {
		w := newWorld(t)
		w.set(prmURL, says(with(prm(), doc{"authorization_servers": servers})))
		w.refused(flow.ErrDiscovery)
	}
}

// private are addresses that nobody may lead us to.
var private = []string{
	"https://169.254.169.254/latest/meta-data", "http://169.254.169.254/x", "https://10.0.0.1/x", "https://192.168.1.1/x", "https://[fd00:ec2::254]/x", "https://[::1]/x",
	"https://127.0.0.1/x", "http://127.0.0.1:8080/x", "http://localhost:8080/x", "https://LOCALHOST./x", "https://[::ffff:127.0.0.1]/x", "https://0.0.0.0/x", "https://100.100.100.200/x",
	"https://metadata.google.internal/x", "https://printer.local/x", "file:///etc/passwd", "ftp://auth.example/x", "https://user:secret@auth.example/x",
}

// TestNothingPrivateIsAsked: SSRF by whatever of all this is a URL.
func TestNothingPrivateIsAsked(t *testing.T) {
	t.Parallel()
	for _, local := range []bool{false, true} {
		for _, to := range private {
			for name, prepare := range map[string]func(*world){
				"resource_metadata": func(w *world) {
					w.set(serverURL, status(401, "WWW-Authenticate", `Bearer resource_metadata="`+to+`"`))
				},
				"authorization_servers":  func(w *world) { w.set(prmURL, says(with(prm(), doc{"authorization_servers": []string{to}}))) },
				"authorization_endpoint": func(w *world) { w.set(asURL, says(with(as(issuer), doc{"authorization_endpoint": to}))) },
				"token_endpoint":         func(w *world) { w.set(asURL, says(with(as(issuer), doc{"token_endpoint": to}))) },
				"registration_endpoint":  func(w *world) { w.set(asURL, says(with(as(issuer), doc{"registration_endpoint": to}))) },
				"revocation_endpoint":    func(w *world) { w.set(asURL, says(with(as(issuer), doc{"revocation_endpoint": to}))) },
			} {
				w := newWorld(t)
				w.finder.AllowLoopback = local // which is no leave for a server elsewhere
				prepare(w)
				w.refused(flow.ErrDiscovery)
				for _, r := range w.requests() {
					if !strings.Contains(r, " https://mcp.example/") && !strings.Contains(r, " https://auth.example/") {
						t.Errorf("%s %s: asked %s", name, to, r)
					}
				}
			}
		}
	}
}

// TestServerOnThisMachine may name others on it, and public ones, but none in a
// private network.
func TestServerOnThisMachine(t *testing.T) {
	t.Parallel()
	const near, auth = "http://127.0.0.1:7000/mcp", "http://localhost:7001"
	w := newWorld(t)
	w.set(near, status(401))
	w.set("http://127.0.0.1:7000/.well-known/oauth-protected-resource/mcp", says(doc{"resource": near, "authorization_servers": []string{auth}}))
	w.set(auth+"/.well-known/oauth-authorization-server", says(as(auth)))
	w.registers(auth, "id")
	r := w.request()
	r.Server, _ = url.Parse(near)
	if _, err := w.finder.Find(t.Context(), r); !errors.Is(err, flow.ErrDiscovery) || len(w.requests()) > 0 {
		t.Errorf("in a deployment: %v, asked %q", err, w.requests())
	}
	w.finder.AllowLoopback = true
	if f, err := w.finder.Find(t.Context(), r); err != nil || f.Issuer != auth {
		t.Errorf("%+v %v", f, err)
	}
	w.set(auth+"/.well-known/oauth-authorization-server", says(with(as(auth), doc{"token_endpoint": "https://10.0.0.1/token"})))
	r.Anew = true
	if _, err := w.finder.Find(t.Context(), r); !errors.Is(err, flow.ErrDiscovery) {
		t.Errorf("a private network: %v", err)
	}
}

// TestRedirectsAreNotFollowed: wherever they lead.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"https://evil.example/x", "https://169.254.169.254/latest", "http://127.0.0.1/", "https://mcp.example/elsewhere"} {
		for _, from := range []string{serverURL, prmURL, asURL, issuer + "/register"} {
			for _, code := range []int{301, 302, 307, 308} {
				w := newWorld(t)
				w.set(from, status(code, "Location", to))
				w.set(to, says(with(as(issuer), prm())))
				_, err := w.find()
				plain(t, err)
				if w.count("GET "+to)+w.count("POST "+to) > 0 {
					t.Errorf("%d from %s to %s was followed", code, from, to)
				}
			}
		}
	}
}

// TestHugeDocuments: nobody reads more than 256 KB of anything, and of the server's
// answer itself nothing.
func TestHugeDocuments(t *testing.T) {
	t.Parallel()
	for _, from := range []string{serverURL, prmURL, asURL, issuer + "/register"} {
		w := newWorld(t)
		var sent int64
		w.finder.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.String() != from {
				return w.internet.RoundTrip(r)
			}
			body := &endless{read: &sent}
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body)}, nil
		})}
		if _, err := w.find(); (err == nil) != (from == serverURL) || err != nil && !errors.Is(err, flow.ErrDiscovery) {
			t.Errorf("%s: %v", from, err)
		}
		if from == serverURL && sent > 0 {
			t.Errorf("%d bytes of the server's answer were read", sent)
		}
		if sent > 300<<10 {
			t.Errorf("%s: %d bytes were read", from, sent)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type endless struct{ read *int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '['
	}
	if *e.read == 0 {
		p[0] = '{'
	}
	*e.read += int64(len(p))
	return len(p), nil
}

// TestSlowDocuments: an answer that does not come, and one that does not end, are
// given up after five seconds, and all of it after fifteen.
func TestSlowDocuments(t *testing.T) {
	t.Parallel()
	for _, headers := range []bool{false, true} {
		for _, from := range []string{serverURL, prmURL, asURL, issuer + "/register"} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.finder.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					switch {
					case r.URL.String() != from:
						return w.internet.RoundTrip(r)
					case !headers:
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(drip{r})}, nil
				})}
				began := time.Now()
				_, err := w.find()
				if read := headers && from == serverURL; (err == nil) != read || err != nil && !errors.Is(err, flow.ErrProviderDown) {
					t.Errorf("%s: %v", from, err)
				}
				if took := time.Since(began); took > 6*time.Second {
					t.Errorf("%s held us for %v", from, took)
				}
			})
		}
	}
}

// drip gives a byte a second.
type drip struct{ r *http.Request }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.r.Context().Done():
		return 0, d.r.Context().Err()
	}
}

// TestHostileText: what a server says reaches nobody but cleaned, and changes
// nothing.
func TestHostileText(t *testing.T) {
	t.Parallel()
	hostile := "\u202e<script>\x1b[2J\x00\n" + strings.Repeat("long ", 500)
	w := newWorld(t)
	w.set(issuer+"/register", func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(400)
		fmt.Fprintf(rw, `{"error":"invalid_client_metadata","error_description":%q}`, strings.ToValidUTF8(hostile, ""))
	})
	_, err := w.find()
	if !errors.Is(err, flow.ErrNoClient) || len(err.Error()) > 700 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == '\u202e' }) {
		t.Errorf("%q", err)
	}
	for _, id := range []any{"", nil, "a\nb", "\u202e", strings.Repeat("x", 2000), 7, []string{"a"}} {
		w := newWorld(t)
		w.set(issuer+"/register", func(rw http.ResponseWriter, r *http.Request) {
			rw.WriteHeader(201)
			says(doc{"client_id": id})(rw, r)
		})
		if f, err := w.find(); !errors.Is(err, flow.ErrNoClient) || f.ClientID != "" {
			t.Errorf("client id %v: %+v %v", id, f, err)
		}
	}
	for _, body := range []string{"{", `{"resource":`, "{\"resource\":\"\xff\"}", strings.Repeat(`{"a":`, 20000), `{"resource":{}}`} {
		w := newWorld(t)
		w.set(prmURL, func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, body) })
		w.refused(flow.ErrDiscovery)
	}
}
