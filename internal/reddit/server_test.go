package reddit

import (
	"bytes"
	"context"
	"fmt"
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

func TestReading(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(t)
	listed := upstreamtest.JSON(list("t3", "t3_next", aPost(nil), aPost(object{"name": "t3_abd", "is_self": false, "selftext": "", "url": "https://go.dev/", "over_18": true}), object{"kind": "t5"}))
	f.answer("/r/golang/top", listed)
	f.answer("/r/golang/hot", listed)
	f.answer("/r/golang/search", listed)
	f.answer("/search", upstreamtest.JSON(list("t3", "")))
	f.answer("/api/v1/me", `{"id": "x1", "name": "ada", "link_karma": 7, "comment_karma": 8, "created_utc": 1767225600}`)

	for _, tt := range []struct {
		tool  string
		args  object
		asked string
	}{
		{"list_posts", object{"subreddit": "golang"}, "GET /r/golang/hot?limit=10"},
		{"list_posts", object{"subreddit": "golang", "sort": "top", "time": "week", "limit": 2, "after": "t3_z"}, "GET /r/golang/top?after=t3_z&limit=2&t=week"},
		{"search", object{"query": "a & b", "subreddit": "golang", "sort": "new"}, "GET /r/golang/search?limit=10&q=a+%26+b&restrict_sr=true&sort=new&type=link"},
	} {
		text, r := s.Call(tt.tool, tt.args)
		var got posts
		s.Structured(r, &got)
		if asked, _ := f.last(); r.IsError || asked != tt.asked {
			t.Errorf("%s %v asked %s: %s", tt.tool, tt.args, asked, text)
		}
		want := post{ID: "t3_abc", Title: "On engines", Subreddit: "golang", Author: "ada", Created: "2026-01-01T00:00:00Z", Score: 12, Comments: 3,
			Permalink: "https://www.reddit.com/r/golang/comments/abc/on_engines/", Text: "They weave."}
		if len(got.Posts) != 2 || got.Posts[0] != want || got.Posts[1].Link != "https://go.dev/" || got.After != "t3_next" {
			t.Errorf("%s: %+v", tt.tool, got)
		}
		if want := "[t3_abc] On engines\n  r/golang · u/ada · 2026-01-01T00:00:00Z · 12 points · 3 comments\n  https://www.reddit.com/r/golang/comments/abc/on_engines/\n  > They weave.\n[t3_abd]"; !strings.HasPrefix(text, want) || !strings.HasSuffix(text, " · NSFW\n  https://www.reddit.com/r/golang/comments/abc/on_engines/\n  links to https://go.dev/\nThere are more: after=t3_next") {
			t.Errorf("%s: %s", tt.tool, text)
		}
	}
	text, r := s.Call("search", object{"query": "nothing"})
	if asked, _ := f.last(); r.IsError || text != "There are no posts." || asked != "GET /search?limit=10&q=nothing&type=link" || !strings.Contains(upstreamtest.JSON(r.StructuredContent), `"posts":[]`) {
		t.Errorf("an empty search asked %s: %s", asked, text)
	}
	if text, r := s.Call("whoami", nil); r.IsError || text != "u/ada (7 link karma, 8 comment karma)" || upstreamtest.JSON(r.StructuredContent) != `{"comment_karma":8,"created":"2026-01-01T00:00:00Z","id":"x1","link_karma":7,"name":"ada"}` {
		t.Errorf("whoami: %s %s", text, upstreamtest.JSON(r.StructuredContent))
	}
}

// aComment has replies below it, or none as Reddit says that.
func aComment(name, body string, replies ...object) object {
	c := object{"name": name, "parent_id": "t3_abc", "author": "grace", "score": 1, "created_utc": 1767225600.0, "body": body, "replies": ""}
	if len(replies) > 0 {
		c["replies"] = list("t1", "", replies...)
	}
	return c
}

func TestReadPost(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(t)
	f.answer("/comments/abc", upstreamtest.JSON([]object{list("t3", "", aPost(nil)), list("t1", "",
		aComment("t1_1", "First.", aComment("t1_2", "Second.", aComment("t1_3", "Third.", aComment("t1_4", "Too deep.")))),
		aComment("t1_5", "Fifth."), object{"kind": "more", "count": 40})}))
	text, r := s.Call("read_post", object{"post": "t3_abc"})
	if asked, _ := f.last(); r.IsError || asked != "GET /comments/abc?depth=3&limit=20" {
		t.Errorf("asked %s: %s", asked, text)
	}
	var got thread
	s.Structured(r, &got)
	var ids []string
	for _, c := range got.Comments {
		ids = append(ids, fmt.Sprint(c.ID, c.Depth))
	}
	if !slices.Equal(ids, []string{"t1_11", "t1_22", "t1_33", "t1_51"}) || got.More != 41 || got.Post.Text != "They weave." {
		t.Errorf("%v, %d more: %+v", ids, got.More, got.Post)
	}
	if !strings.Contains(text, "\n    [t1_2] u/grace · 2026-01-01T00:00:00Z · 1 points\n      > Second.\n") || !strings.HasSuffix(text, "\n41 more comments are not shown.") {
		t.Errorf("%s", text)
	}
	_, r = s.Call("read_post", object{"post": "abc", "depth": 1, "limit": 1, "sort": "new"})
	s.Structured(r, &got)
	if asked, _ := f.last(); asked != "GET /comments/abc?depth=1&limit=1&sort=new" || len(got.Comments) != 1 {
		t.Errorf("asked %s: Reddit sent more than was asked for, and %d comments were shown", asked, len(got.Comments))
	}
}

func TestWriting(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(t)
	f.answer("/api/submit", `{"json": {"errors": [], "data": {"url": "https://www.reddit.com/r/test/comments/new/x/", "id": "new", "name": "t3_new"}}}`)
	f.answer("/api/comment", `{"json": {"errors": [], "data": {"things": [{"kind": "t1", "data": {"name": "t1_new", "permalink": "/r/test/comments/abc/x/new/"}}]}}}`)
	for _, tt := range []struct {
		tool        string
		args        object
		asked, said string
	}{
		{"submit_post", object{"subreddit": "test", "title": "T", "text": "a\n*b*"}, "POST /api/submit?kind=self&sr=test&text=a%0A%2Ab%2A&title=T", "Posted [t3_new] https://www.reddit.com/r/test/comments/new/x/"},
		{"submit_post", object{"subreddit": "test", "title": "T"}, "POST /api/submit?kind=self&sr=test&text=&title=T", "Posted [t3_new] https://www.reddit.com/r/test/comments/new/x/"},
		{"submit_post", object{"subreddit": "test", "title": "T", "url": "https://go.dev/?a=b"}, "POST /api/submit?kind=link&sr=test&title=T&url=https%3A%2F%2Fgo.dev%2F%3Fa%3Db", "Posted [t3_new] https://www.reddit.com/r/test/comments/new/x/"},
		{"comment", object{"parent": "t1_abc", "text": "Yes."}, "POST /api/comment?text=Yes.&thing_id=t1_abc", "Posted [t1_new] https://www.reddit.com/r/test/comments/abc/x/new/"},
	} {
		text, r := s.Call(tt.tool, tt.args)
		if asked, _ := f.last(); r.IsError || asked != tt.asked || text != tt.said {
			t.Errorf("%s asked %s: %s", tt.tool, asked, text)
		}
	}
	_, before := f.last()
	if text, r := s.Call("submit_post", object{"subreddit": "test", "title": "T", "text": "a", "url": "https://go.dev"}); !r.IsError || !strings.Contains(text, "not both") {
		t.Errorf("text and url: %s", text)
	}
	if _, after := f.last(); after != before {
		t.Error("text and url were sent")
	}
	f.answer("/api/comment", `{"json": {"ratelimit": 541, "errors": [["RATELIMIT", "Take a break for 9 minutes before trying again.", "ratelimit"]]}}`)
	if text, r := s.Call("comment", object{"parent": "t3_a", "text": "x"}); !r.IsError || text != "refused by Reddit: RATELIMIT Take a break for 9 minutes before trying again. ratelimit" {
		t.Errorf("too much: %s", text)
	}
	for name, h := range map[string]http.HandlerFunc{
		"a failure":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"half an answer": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"json"`) },
		"no id":          func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) },
		"a hang-up":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		f.handle("/api/submit", h)
		if text, r := s.Call("submit_post", object{"subreddit": "test", "title": "T"}); !r.IsError || !strings.Contains(text, "not known whether it was done") {
			t.Errorf("%s: %s", name, text)
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
		a, writes := tool.Annotations, tool.Name == "submit_post" || tool.Name == "comment"
		if *a.ReadOnlyHint == writes || *a.IdempotentHint == writes || *a.DestructiveHint || !*a.OpenWorldHint || a.Title == "" {
			t.Errorf("%s: %+v", tool.Name, a)
		}
		if tool.InputSchema.AdditionalProperties != false || tool.OutputSchema.Type != "object" {
			t.Errorf("%s: its schemas are not strict", tool.Name)
		}
	}
	catalogue, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	preset, _ := catalogue.Server("reddit")
	said := slices.Sorted(slices.Values(preset.Tools))
	if slices.Sort(names); !slices.Equal(names, said) || !slices.Contains(preset.AuthFailure, refused) {
		t.Errorf("the preset names %v and %v, the server %v and %s", said, preset.AuthFailure, names, refused)
	}
	for _, scope := range preset.OAuthScopes {
		names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(scope.For, n) })
	}
	if len(names) > 0 {
		t.Errorf("no scope is for %v", names)
	}
}

// The file that a runner replaces is what the next call uses.
func TestTokenFileIsReadAnew(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.answer("/r/golang/hot", upstreamtest.JSON(list("t3", "", aPost(nil))))
	path := filepath.Join(t.TempDir(), "token.json")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, upstreamtest.Getenv(envBase, f.URL, envTokenFile, path, envAgent, agent))
	listed := func() (string, bool) {
		text, r := s.Call("list_posts", object{"subreddit": "golang"})
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
	if text, bad := listed(); !bad || !strings.HasPrefix(text, refused) || !strings.Contains(text, "reconnect") {
		t.Errorf("with an old token: %s", text)
	}
	write(`{"access_token": "` + canary + `-renewed", "expires_at": "later"}`)
	if text, bad := listed(); bad {
		t.Errorf("with the renewed token: %s", text)
	}
	write(`{"access": "` + canary + `"}`)
	if text, bad := listed(); !bad {
		t.Errorf("with a broken file: %s", text)
	}
}

func TestServeStdioRefuses(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]func(string) string{
		"no token":         upstreamtest.Getenv(),
		"both tokens":      upstreamtest.Getenv(envToken, canary, envTokenFile, "x"),
		"elsewhere":        upstreamtest.Getenv(envToken, canary, envBase, "https://evil.example"),
		"almost here":      upstreamtest.Getenv(envToken, canary, envBase, "http://127.0.0.1.evil.example"),
		"a name for here":  upstreamtest.Getenv(envToken, canary, envBase, "http://localhost:1"),
		"somebody's here":  upstreamtest.Getenv(envToken, canary, envBase, "http://a:b@127.0.0.1"),
		"a path":           upstreamtest.Getenv(envToken, canary, envBase, "http://127.0.0.1/x"),
		"no URL":           upstreamtest.Getenv(envToken, canary, envBase, "%"),
		"header in header": upstreamtest.Getenv(envToken, canary, envAgent, "a\r\nHost: evil.example"),
		"endless agent":    upstreamtest.Getenv(envToken, canary, envAgent, strings.Repeat("a", 257)),
	} {
		err := ServeStdio(t.Context(), strings.NewReader(""), io.Discard, env)
		if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "REDDIT_") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := newClient(upstreamtest.Getenv(envToken, canary))
	if err != nil || c.Base != "https://oauth.reddit.com" || !strings.Contains(c.Agent, "lanyard") || len(strings.SplitN(c.Agent, ":", 3)) != 3 {
		t.Errorf("what is meant without settings: %+v, %v", c, err)
	}
}

// Not parallel: mcp-go keeps one stdio session a process.
func TestServeStdio(t *testing.T) {
	f := newFake(t)
	f.answer("/api/v1/me", `{"name": "ada"}`)
	fromClient, toServer := io.Pipe()
	fromServer, toClient := io.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- ServeStdio(context.Background(), fromClient, toClient, upstreamtest.Getenv(envBase, f.URL, envToken, canary, envAgent, agent))
		toClient.Close()
	}()
	s := upstreamtest.Over(t, transport.NewIO(fromServer, toServer, io.NopCloser(new(bytes.Buffer))))
	defer s.Close()
	if text, r := s.Call("whoami", nil); r.IsError || !strings.HasPrefix(text, "u/ada ") {
		t.Errorf("whoami: %s", text)
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
