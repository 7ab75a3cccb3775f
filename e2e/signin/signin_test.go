package signin

import (
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

const (
	base     = "https://lanyard.example"
	callback = "https://client.example/callback"
	verifier = "a-verifier-of-the-client-with-43-characters-or-more"
	// clients are signed in; the checks go through them in turns.
	clients = 100
	// checksASecond is how many a core has to do.
	checksASecond = 5000
)

type catalogue struct{ drive presets.Server }

func (c catalogue) Servers() []presets.Server { return []presets.Server{c.drive} }

func (c catalogue) Server(name string) (presets.Server, bool) { return c.drive, name == c.drive.Name }

// client is one that is signed in.
type client struct {
	id              string
	access, refresh token.Secret
}

// signIn takes a client through what a browser does.
func signIn(t *testing.T, s *authserver.Server, c authserver.Client, k connection.Key) client {
	t.Helper()
	sum := sha256.Sum256([]byte(verifier))
	user := authserver.User{Tenant: k.Tenant, ID: "ada"}
	r, err := s.Authorize(t.Context(), url.Values{
		"response_type": {"code"}, "client_id": {c.ID}, "redirect_uri": {callback}, "resource": {base + "/mcp/drive"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}, "browser")
	ok(t, err)
	_, err = s.Allow(t.Context(), r.ID, "browser", user, "", k.ID)
	ok(t, err)
	to, err := s.Finish(t.Context(), r.ID, "browser", user, "")
	ok(t, err)
	u, err := url.Parse(to)
	ok(t, err)
	a, err := s.Token(t.Context(), url.Values{
		"grant_type": {"authorization_code"}, "client_id": {c.ID}, "code": {u.Query().Get("code")}, "code_verifier": {verifier},
	}, "")
	ok(t, err)
	return client{c.ID, a.AccessToken, a.RefreshToken}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// measured does something n times and returns how often it is done in a second
// of this process's processor time, and of the clock.
func measured(t *testing.T, n int, do func(i int)) (core, clock float64) {
	t.Helper()
	begun, used := time.Now(), processor(t)
	for i := range n {
		do(i)
	}
	return float64(n) / (processor(t) - used).Seconds(), float64(n) / time.Since(begun).Seconds()
}

// processor is the processor time of this process.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	ok(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestSignIn(t *testing.T) {
	n, rounds := 50, 1
	if raw := os.Getenv("BENCH_SIGNIN"); raw != "" {
		var err error
		n, err = strconv.Atoi(raw)
		ok(t, err)
		rounds = 5
	}
	dir := t.TempDir()
	db, err := local.Open(t.Context(), dir, time.Now)
	ok(t, err)
	defer db.Close()
	s := &authserver.Server{
		Store: db.AuthServer(), BaseURL: base, Now: time.Now,
		Catalogue: catalogue{presets.Server{Name: "drive", OAuthScopes: []presets.OAuthScope{{Scope: "https://www.googleapis.com/auth/drive.readonly"}}}},
	}
	registered, _, err := s.Enter(t.Context(), "A client", []string{callback}, authserver.AuthNone)
	ok(t, err)
	var in []client
	for range clients {
		c := connection.Connection{Key: connection.Key{Tenant: "default", ID: token.NewID("con")}, UserID: "ada", Server: "drive",
			Provider: "google", AuthType: "oauth", Status: connection.Connected, CreatedAt: time.Now()}
		ok(t, db.Create(t.Context(), c))
		in = append(in, signIn(t, s, registered, c.Key))
	}

	bare, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "lanyard.db"))
	ok(t, err)
	defer bare.Close()
	read, err := bare.PrepareContext(t.Context(), `SELECT doc FROM oauth_grants WHERE id = ?`)
	ok(t, err)
	all, err := db.AuthServer().Grants(t.Context(), "default", "ada")
	ok(t, err)
	parts := []struct {
		name string
		n    int
		do   func(i int)
		// per core and by the clock, of each round.
		core, clock []float64
	}{
		{name: "one row, read by SQLite alone", n: n, do: func(i int) {
			var doc string
			ok(t, read.QueryRowContext(t.Context(), all[i%clients].ID).Scan(&doc))
		}},
		{name: "a bearer's check", n: n, do: func(i int) {
			_, err := s.Check(t.Context(), in[i%clients].access, base+"/mcp/drive")
			ok(t, err)
		}},
		{name: "a bearer's check, and its connection", n: n, do: func(i int) {
			g, err := s.Check(t.Context(), in[i%clients].access, base+"/mcp/drive")
			ok(t, err)
			c, err := db.Get(t.Context(), connection.Key{Tenant: g.Tenant, ID: g.Connection})
			ok(t, err)
			if c.UserID != g.UserID {
				t.Fatal("the connection is somebody else's")
			}
		}},
		{name: "/token, for a refresh token", n: n / 20, do: func(i int) {
			c := &in[i%clients]
			a, err := s.Token(t.Context(), url.Values{"grant_type": {"refresh_token"}, "client_id": {c.id}, "refresh_token": {c.refresh.Reveal()}}, "")
			ok(t, err)
			c.access, c.refresh = a.AccessToken, a.RefreshToken
		}},
	}
	for range rounds { // in turns, so that what else the machine does befalls all
		for i := range parts {
			core, clock := measured(t, parts[i].n, parts[i].do)
			parts[i].core, parts[i].clock = append(parts[i].core, core), append(parts[i].clock, clock)
		}
	}
	row := median(parts[0].core)
	for _, p := range parts {
		core := median(p.core)
		t.Logf("%-38s %8.0f a second and core, %8.0f by the clock, %.2f of the bare read", p.name, core, median(p.clock), core/row)
		if rounds > 1 && p.name == parts[2].name && core < checksASecond {
			t.Errorf("%s: %.0f a second and core, want %d", p.name, core, checksASecond)
		}
	}
}

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}
