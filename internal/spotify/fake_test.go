package spotify

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/upstream/upstreamtest"
)

const (
	canary       = upstreamtest.Canary
	refused      = "spotify_token_refused"
	envToken     = "SPOTIFY_ACCESS_TOKEN"
	envTokenFile = "SPOTIFY_TOKEN_FILE"
	envBase      = "SPOTIFY_BASE_URL"
)

// fakeSpotify knows one token, the current one, and holds every request to the
// API's rules. What it answers, a test may change by path.
type fakeSpotify struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	token   string
	answers map[string]http.HandlerFunc
	asked   []string // METHOD path?parameters body
}

func newFake(t *testing.T) *fakeSpotify {
	t.Helper()
	f := &fakeSpotify{t: t, token: canary, answers: map[string]http.HandlerFunc{}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeSpotify) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Authorization") != "Bearer "+f.token {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error": {"status": 401, "message": "The access token expired"}}`)
		return
	}
	// Spotify has no use for chunks: a command without a body says so.
	if len(body) != int(r.ContentLength) || (len(body) > 0) != (r.Header.Get("Content-Type") == "application/json") || r.Method == http.MethodGet && len(body) > 0 {
		f.t.Errorf("%s %s: %d bytes of %s, %d announced", r.Method, r.URL, len(body), r.Header.Get("Content-Type"), r.ContentLength)
	}
	asked := r.Method + " " + r.URL.EscapedPath()
	for _, more := range []string{r.URL.Query().Encode(), string(body)} {
		if more != "" {
			asked += " " + more
		}
	}
	f.asked = append(f.asked, asked)
	if h := f.answers[r.URL.Path]; h != nil {
		h(w, r)
		return
	}
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprint(w, `{"error": {"status": 404, "message": "Service not found"}}`)
}

// answer sets what a path is answered with; status 204 has no body.
func (f *fakeSpotify) answer(path, body string) {
	f.handle(path, status(http.StatusOK, body))
}

func status(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

func (f *fakeSpotify) handle(path string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers["/v1"+path] = h
}

// renew makes another token the current one.
func (f *fakeSpotify) renew(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token = token
}

// last is the newest request, and how many there were.
func (f *fakeSpotify) last() (string, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 {
		return "", 0
	}
	return f.asked[len(f.asked)-1], len(f.asked)
}

// session is an MCP client of a server, and what that server calls.
type session struct {
	*upstreamtest.Session
	api *client
}

func open(t *testing.T, env func(string) string) *session {
	t.Helper()
	api, err := newClient(env)
	if err != nil {
		t.Fatal(err)
	}
	return &session{upstreamtest.Open(t, newServer(api)), api}
}

func (f *fakeSpotify) open(t *testing.T) *session {
	t.Helper()
	return open(t, upstreamtest.Getenv(envBase, f.URL, envToken, canary))
}

type some = map[string]any

const track, album, playlist = "spotify:track:4iV5W9uYEdYUVa79Axb7Rh", "spotify:album:1Je1IMUlBXcx1Fz0WE7oPT", "spotify:playlist:3cEYpjA9oz9GiPac4AsH4n"

// aTrack is what Spotify says of a track, as far as it matters here, and some of
// what does not.
func aTrack(more some) some {
	t := some{"uri": track, "id": "4iV5W9uYEdYUVa79Axb7Rh", "type": "track", "name": "Punched cards", "duration_ms": 225_400, "explicit": false, "is_local": false, "track_number": 1,
		"artists": []some{{"name": "Ada", "type": "artist"}, {"name": "Charles"}}, "album": some{"name": "Engines", "release_date": "1843", "images": []some{}},
		"external_ids": some{"isrc": "X"}, "track": true, "episode": false}
	maps.Copy(t, more)
	return t
}

func aPlaylist(more some) some {
	p := some{"uri": playlist, "id": "3cEYpjA9oz9GiPac4AsH4n", "name": "Looms", "owner": some{"display_name": "Ada", "id": "ada"}, "public": false, "collaborative": false,
		"items": some{"href": "https://api.spotify.com/v1/playlists/3cEYpjA9oz9GiPac4AsH4n/items", "total": 7}}
	maps.Copy(p, more)
	return p
}

// aPage is a part of a list; the next one is somewhere, or nowhere.
func aPage(total int, next any, things ...any) some {
	return some{"href": "https://api.spotify.com/v1/x", "items": things, "limit": 20, "offset": 0, "total": total, "next": next, "previous": nil}
}
