package spotify

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/lanyardhq/lanyard/internal/upstream/upstreamtest"
	"github.com/lanyardhq/lanyard/presets"
)

const shownTrack = "[" + track + "] Punched cards · Ada, Charles · Engines · 3:45"

func TestLists(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(t)
	added := func(what string, t any) some {
		return some{"added_at": "2026-01-02T03:04:05Z", "is_local": false, what: t}
	}
	f.answer("/search", upstreamtest.JSON(some{
		"tracks": aPage(41, "https://api.spotify.com/v1/search?offset=5", aTrack(nil), nil, aTrack(some{"name": "Two", "artists": nil, "album": nil, "duration_ms": 3_725_000}))}))
	f.answer("/me/playlists", upstreamtest.JSON(aPage(2, nil, aPlaylist(nil), aPlaylist(some{"items": nil, "tracks": some{"total": 3}, "owner": some{"display_name": nil}}))))
	f.answer("/playlists/3cEYpjA9oz9GiPac4AsH4n/items", upstreamtest.JSON(aPage(4, nil, added("item", aTrack(nil)), added("track", aTrack(nil)), added("item", nil),
		added("item", aTrack(some{"uri": "spotify:local:Ada:x:y:1", "name": "At home"})),
		added("item", some{"uri": "spotify:episode:512ojhOuo1ktJprKbVcKyQ", "name": "On looms", "duration_ms": 60_000, "show": some{"name": "Weavers"}}))))
	f.answer("/me/tracks", upstreamtest.JSON(aPage(1, nil, added("track", aTrack(nil)))))
	for _, tt := range []struct {
		tool        string
		args        some
		asked, said string
	}{
		{"search", some{"query": "a & b"}, "GET /v1/search limit=5&offset=0&q=a+%26+b&type=track",
			shownTrack + "\n  https://open.spotify.com/track/4iV5W9uYEdYUVa79Axb7Rh\n[" + track + "] Two · 1:02:05\n  https://open.spotify.com/track/4iV5W9uYEdYUVa79Axb7Rh\nThere are more, 41 in all: offset=3"},
		{"my_playlists", some{"limit": 50, "offset": 100}, "GET /v1/me/playlists limit=50&offset=100",
			"[" + playlist + "] Looms · Ada · 7 items\n  https://open.spotify.com/playlist/3cEYpjA9oz9GiPac4AsH4n\n[" + playlist + "] Looms · 3 items\n  https://open.spotify.com/playlist/3cEYpjA9oz9GiPac4AsH4n"},
		{"playlist_items", some{"playlist": playlist}, "GET /v1/playlists/3cEYpjA9oz9GiPac4AsH4n/items limit=20&offset=0",
			strings.Repeat(shownTrack+" · added 2026-01-02\n  https://open.spotify.com/track/4iV5W9uYEdYUVa79Axb7Rh\n", 2) +
				"[no address] At home · Ada, Charles · Engines · 3:45 · added 2026-01-02\n[spotify:episode:512ojhOuo1ktJprKbVcKyQ] On looms · Weavers · 1:00 · added 2026-01-02\n  https://open.spotify.com/episode/512ojhOuo1ktJprKbVcKyQ"},
		{"saved_tracks", nil, "GET /v1/me/tracks limit=20&offset=0", shownTrack + " · added 2026-01-02\n  https://open.spotify.com/track/4iV5W9uYEdYUVa79Axb7Rh"},
	} {
		text, r := s.Call(tt.tool, tt.args)
		if asked, _ := f.last(); r.IsError || asked != tt.asked || text != tt.said {
			t.Errorf("%s %v asked %s:\n%s\nwant\n%s", tt.tool, tt.args, asked, text, tt.said)
		}
	}
	_, r := s.Call("search", some{"query": "x", "limit": 1})
	if got := upstreamtest.JSON(r.StructuredContent); got != `{"items":[{"album":"Engines","by":"Ada, Charles","duration":"3:45","link":"https://open.spotify.com/track/4iV5W9uYEdYUVa79Axb7Rh","name":"Punched cards","uri":"`+track+`"}],"next_offset":1,"total":41}` {
		t.Errorf("more was sent than was asked for, and shown is %s", got)
	}
	if text, _ := s.Call("search", some{"query": "x", "offset": 990}); strings.Contains(text, "There are more") {
		t.Errorf("a search goes on behind its end: %s", text)
	}
	f.answer("/search", `{"playlists": {"items": [null, null], "total": 0, "next": null}}`)
	if text, r := s.Call("search", some{"query": "x", "type": "playlist"}); r.IsError || text != "There is nothing." || upstreamtest.JSON(r.StructuredContent) != `{"items":[],"total":0}` {
		t.Errorf("nothing: %s", text)
	}
}

func TestPlayback(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(t)
	kitchen := some{"id": "0d1841b0976bae2a", "name": "Kitchen", "type": "Speaker", "is_active": true, "is_restricted": false, "is_private_session": false, "volume_percent": 40, "supports_volume": true}
	f.answer("/me/player", upstreamtest.JSON(some{"device": kitchen, "is_playing": true, "progress_ms": 61_000, "shuffle_state": true, "repeat_state": "off", "currently_playing_type": "track",
		"context": some{"uri": album, "type": "album"}, "item": aTrack(nil), "actions": some{"disallows": some{}}}))
	text, r := s.Call("now_playing", nil)
	if asked, _ := f.last(); r.IsError || asked != "GET /v1/me/player additional_types=track%2Cepisode" ||
		text != "Playing at 1:01:\n"+shownTrack+"\n  https://open.spotify.com/track/4iV5W9uYEdYUVa79Axb7Rh\nfrom "+album+"\non [0d1841b0976bae2a] Kitchen · Speaker · volume 40 % · active" {
		t.Errorf("asked %s: %s", asked, text)
	}
	var now playing
	if s.Structured(r, &now); !now.Playing || now.Kind != "track" || !now.Shuffle || now.Repeat != "off" || now.Item.Name != "Punched cards" || !now.Device.Commands || *now.Device.Volume != 40 {
		t.Errorf("%+v", now)
	}
	f.answer("/me/player", `{"is_playing": true, "currently_playing_type": "ad", "item": null, "context": null, "device": {"id": null, "name": "TV", "type": "TV", "is_restricted": true, "volume_percent": null}}`)
	if text, r := s.Call("now_playing", nil); r.IsError || text != "Playing:\nnothing that has a name\non [no id] TV · TV · takes no commands" {
		t.Errorf("an advertisement: %s", text)
	}
	f.handle("/me/player", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	if text, r := s.Call("now_playing", nil); r.IsError || text != "Nothing plays." || upstreamtest.JSON(r.StructuredContent) != `{"playing":false,"shuffle":false}` {
		t.Errorf("nothing: %s %s", text, upstreamtest.JSON(r.StructuredContent))
	}
	f.answer("/me/player/devices", upstreamtest.JSON(some{"devices": []some{kitchen, {"id": "0d18", "name": "Phone", "type": "Smartphone"}}}))
	if text, r := s.Call("devices", nil); r.IsError || text != "[0d1841b0976bae2a] Kitchen · Speaker · volume 40 % · active\n[0d18] Phone · Smartphone" {
		t.Errorf("devices: %s", text)
	}
	f.answer("/me/player/devices", `{"devices": []}`)
	if text, r := s.Call("devices", nil); r.IsError || !strings.HasPrefix(text, "There is no device") || upstreamtest.JSON(r.StructuredContent) != `{"devices":[]}` {
		t.Errorf("no device: %s", text)
	}
	noContent := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	f.answer("/me/player/play", "AKx3-not-JSON") // as it is answered at times
	f.handle("/me/player/pause", noContent)
	f.handle("/me/player/next", noContent)
	f.answer("/me/player/queue", "")
	for _, tt := range []struct {
		tool        string
		args        some
		asked, said string
	}{
		{"play", nil, "PUT /v1/me/player/play", "Spotify was told to go on."},
		{"play", some{"uri": track, "device": "0d18"}, `PUT /v1/me/player/play device_id=0d18 {"uris":["` + track + `"]}`, "Spotify was told to play " + track + "."},
		{"play", some{"uri": album}, `PUT /v1/me/player/play {"context_uri":"` + album + `"}`, "Spotify was told to play " + album + "."},
		{"pause", some{"device": "0d18"}, "PUT /v1/me/player/pause device_id=0d18", "Spotify was told to pause."},
		{"next", nil, "POST /v1/me/player/next", "Spotify was told to skip."},
		{"queue_add", some{"uri": track, "device": "0d18"}, "POST /v1/me/player/queue device_id=0d18&uri=spotify%3Atrack%3A4iV5W9uYEdYUVa79Axb7Rh", track + " is in the queue."},
	} {
		text, r := s.Call(tt.tool, tt.args)
		if asked, _ := f.last(); r.IsError || asked != tt.asked || text != tt.said {
			t.Errorf("%s %v asked %s: %s", tt.tool, tt.args, asked, text)
		}
	}
}

func TestWriting(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(t)
	f.handle("/me/playlists", status(http.StatusCreated, upstreamtest.JSON(aPlaylist(some{"items": some{"items": []some{}, "total": 0}}))))
	f.handle("/playlists/3cEYpjA9oz9GiPac4AsH4n/items", status(http.StatusCreated, `{"snapshot_id": "abc"}`))
	for _, tt := range []struct {
		tool        string
		args        some
		asked, said string
	}{
		{"create_playlist", some{"name": "Looms"}, `POST /v1/me/playlists {"name":"Looms","public":false}`, "Created [" + playlist + "] Looms · Ada · 0 items\n  https://open.spotify.com/playlist/3cEYpjA9oz9GiPac4AsH4n"},
		{"create_playlist", some{"name": "L", "description": "\"d\""}, `POST /v1/me/playlists {"description":"\"d\"","name":"L","public":false}`, "Created [" + playlist + "] Looms · Ada · 0 items\n  https://open.spotify.com/playlist/3cEYpjA9oz9GiPac4AsH4n"},
		{"add_to_playlist", some{"playlist": "3cEYpjA9oz9GiPac4AsH4n", "uris": []string{track, track}}, `POST /v1/playlists/3cEYpjA9oz9GiPac4AsH4n/items {"uris":["` + track + `","` + track + `"]}`, "Added: 2."},
	} {
		text, r := s.Call(tt.tool, tt.args)
		if asked, _ := f.last(); r.IsError || asked != tt.asked || text != tt.said {
			t.Errorf("%s asked %s: %s", tt.tool, asked, text)
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"a failure":      status(http.StatusBadGateway, ""),
		"half an answer": status(http.StatusCreated, `{"snapshot`),
		"no name for it": status(http.StatusCreated, `{"uri": "spotify:user:x", "snapshot_id": ""}`),
		"a hang-up":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		f.handle("/me/playlists", h)
		f.handle("/playlists/3cEYpjA9oz9GiPac4AsH4n/items", h)
		for tool, args := range map[string]some{"create_playlist": {"name": "x"}, "add_to_playlist": {"playlist": playlist, "uris": []string{track}}} {
			if text, r := s.Call(tool, args); !r.IsError || !strings.Contains(text, "it is not known whether it was done") {
				t.Errorf("%s, %s: %s", tool, name, text)
			}
		}
	}
}

func TestToolsSayWhatTheyDo(t *testing.T) {
	t.Parallel()
	got, err := newFake(t).open(t).ListTools(t.Context(), mcp.ListToolsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range got.Tools {
		names = append(names, tool.Name)
		a := tool.Annotations
		commands := slices.Contains([]string{"play", "pause", "next", "queue_add"}, tool.Name)
		writes := commands || tool.Name == "create_playlist" || tool.Name == "add_to_playlist"
		// What is paused stays paused; only play takes something away: what played.
		if *a.ReadOnlyHint == writes || *a.IdempotentHint != (!writes || tool.Name == "pause") || *a.DestructiveHint != (tool.Name == "play") || !*a.OpenWorldHint || a.Title == "" {
			t.Errorf("%s: %+v", tool.Name, a)
		}
		if strings.Contains(tool.Description, "Premium") != commands {
			t.Errorf("%s: %s", tool.Name, tool.Description)
		}
		if tool.InputSchema.AdditionalProperties != false || tool.OutputSchema.Type != "object" {
			t.Errorf("%s: its schemas are not strict", tool.Name)
		}
	}
	catalogue, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	preset, _ := catalogue.Server("spotify")
	said := slices.Sorted(slices.Values(preset.Tools))
	if slices.Sort(names); !slices.Equal(names, said) || !slices.Contains(preset.AuthFailure, refused) {
		t.Errorf("the preset names %v and %v, the server %v and %s", said, preset.AuthFailure, names, refused)
	}
	for _, scope := range preset.OAuthScopes {
		names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(scope.For, n) })
	}
	// The catalogue is for everybody.
	if !slices.Equal(names, []string{"search"}) {
		t.Errorf("no scope is for %v", names)
	}
}

// The file that a runner replaces is what the next call uses.
func TestTokenFileIsReadAnew(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.answer("/me/tracks", upstreamtest.JSON(aPage(0, nil)))
	path := filepath.Join(t.TempDir(), "token.json")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, upstreamtest.Getenv(envBase, f.URL, envTokenFile, path))
	listed := func() (string, bool) {
		text, r := s.Call("saved_tracks", nil)
		return text, r.IsError
	}
	if text, bad := listed(); !bad || !strings.Contains(text, path) {
		t.Errorf("before there is a file: %s", text)
	}
	write(`{"access_token": "` + canary + `"}`)
	if text, bad := listed(); bad {
		t.Errorf("with the first token: %s", text)
	}
	f.renew(canary + "-renewed")
	if text, bad := listed(); !bad || !strings.HasPrefix(text, refused+": ") || !strings.Contains(text, "reconnect Spotify") {
		t.Errorf("with an old token: %s", text)
	}
	write(`{"access_token": "` + canary + `-renewed", "expires_at": "later"}`)
	if text, bad := listed(); bad {
		t.Errorf("with the renewed token: %s", text)
	}
}

func TestServeStdioRefuses(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]func(string) string{
		"no token":        upstreamtest.Getenv(),
		"both tokens":     upstreamtest.Getenv(envToken, canary, envTokenFile, "x"),
		"elsewhere":       upstreamtest.Getenv(envToken, canary, envBase, "https://evil.example"),
		"almost here":     upstreamtest.Getenv(envToken, canary, envBase, "http://127.0.0.1.evil.example"),
		"almost there":    upstreamtest.Getenv(envToken, canary, envBase, "https://api.spotify.com.evil.example"),
		"a name for here": upstreamtest.Getenv(envToken, canary, envBase, "http://localhost:1"),
		"a path":          upstreamtest.Getenv(envToken, canary, envBase, "http://127.0.0.1/v1"),
	} {
		err := ServeStdio(t.Context(), strings.NewReader(""), io.Discard, env)
		if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "SPOTIFY_") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c, err := newClient(upstreamtest.Getenv(envToken, canary)); err != nil || c.Base != "https://api.spotify.com" {
		t.Errorf("what is meant without settings: %+v, %v", c, err)
	}
}

// Not parallel: mcp-go keeps one stdio session a process.
func TestServeStdio(t *testing.T) {
	f := newFake(t)
	f.answer("/me/player/devices", `{"devices": [{"id": "a", "name": "Phone", "type": "Smartphone"}]}`)
	fromClient, toServer := io.Pipe()
	fromServer, toClient := io.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- ServeStdio(context.Background(), fromClient, toClient, upstreamtest.Getenv(envBase, f.URL, envToken, canary))
		toClient.Close()
	}()
	s := upstreamtest.Over(t, transport.NewIO(fromServer, toServer, io.NopCloser(new(bytes.Buffer))))
	defer s.Close()
	if text, r := s.Call("devices", nil); r.IsError || text != "[a] Phone · Smartphone" {
		t.Errorf("devices: %s", text)
	}
	toServer.Close()
	select {
	case err := <-served:
		if err != nil {
			t.Errorf("at the end of stdin: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("did not end with stdin")
	}
}
