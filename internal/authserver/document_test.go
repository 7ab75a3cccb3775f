package authserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

const documentURL = "https://client.example/metadata.json"

func documentOf(id, more string) string {
	return `{"client_id":"` + id + `","client_name":"A client","redirect_uris":["` + callback + `","http://localhost/callback"]` + more + `}`
}

// site is the web as one process sees it: what answers, and how often it was
// asked.
type site struct {
	answer func(*http.Request) (*http.Response, error)
	asked  atomic.Int64
}

func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked.Add(1)
	return s.answer(r)
}

func reply(status int, kind, body string, headers ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
		for i := 0; i < len(headers); i += 2 {
			resp.Header.Set(headers[i], headers[i+1])
		}
		return resp, nil
	}
}

// published makes a world in which that is what every URL answers.
func published(t *testing.T, answer func(*http.Request) (*http.Response, error)) (*world, *site) {
	t.Helper()
	w, s := newWorld(t), &site{answer: answer}
	w.HTTP = &http.Client{Transport: s}
	return w, s
}

func (w *world) authorize(t *testing.T, client string) error {
	t.Helper()
	_, err := w.Authorize(t.Context(), asking(client), browser)
	return err
}

func TestDocument(t *testing.T) {
	t.Parallel()
	w, s := published(t, reply(200, "application/json; charset=utf-8", documentOf(documentURL, `,"scope":"x","logo_uri":1`), "Cache-Control", "max-age=600"))
	a, err := w.Token(t.Context(), taking(documentURL, w.code(t, asking(documentURL))), "")
	ok(t, err)
	g, err := w.Check(t.Context(), a.AccessToken, drive)
	ok(t, err)
	if g.ClientName != "A client" || s.asked.Load() != 1 {
		t.Errorf("%q, asked %d times", g.ClientName, s.asked.Load())
	}
	w.pass(10*time.Minute - 1)
	ok(t, w.authorize(t, documentURL))
	w.pass(1)
	ok(t, w.authorize(t, documentURL))
	if n := s.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
	r, err := w.Authorize(t.Context(), with(asking(documentURL), "redirect_uri", "http://localhost:54321/callback"), browser)
	ok(t, err)
	if r.RedirectURI != "http://localhost:54321/callback" {
		t.Error(r.RedirectURI)
	}
}

func TestDocumentLife(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"": time.Hour, "no-store": 5 * time.Minute, "max-age=1": 5 * time.Minute, "public, max-age=7200": 2 * time.Hour,
		"max-age=31536000": 24 * time.Hour, "max-age=x": time.Hour, "max-age=-1": time.Hour,
	} {
		w, _ := published(t, reply(200, "application/json", documentOf(documentURL, ""), "Cache-Control", header))
		ok(t, w.authorize(t, documentURL))
		c, err := w.store.GetClient(t.Context(), documentURL)
		ok(t, err)
		if got := c.ExpiresAt.Sub(c.CreatedAt); got != want || c.Kind != authserver.Document {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestDocumentRefused(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"another id":        reply(200, "application/json", documentOf("https://client.example/other.json", "")),
		"no id":             reply(200, "application/json", `{"redirect_uris":["`+callback+`"]}`),
		"no redirect URI":   reply(200, "application/json", `{"client_id":"`+documentURL+`"}`),
		"a bad one":         reply(200, "application/json", strings.Replace(documentOf(documentURL, ""), "http://localhost", "http://evil.example", 1)),
		"a secret":          reply(200, "application/json", documentOf(documentURL, `,"client_secret":"s"`)),
		"a secret's end":    reply(200, "application/json", documentOf(documentURL, `,"client_secret_expires_at":0`)),
		"basic":             reply(200, "application/json", documentOf(documentURL, `,"token_endpoint_auth_method":"client_secret_basic"`)),
		"client_secret_jwt": reply(200, "application/json", documentOf(documentURL, `,"token_endpoint_auth_method":"client_secret_jwt"`)),
		"a key but none":    reply(200, "application/json", documentOf(documentURL, `,"token_endpoint_auth_method":"private_key_jwt"`)),
		"keys in private":   reply(200, "application/json", documentOf(documentURL, `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"http://10.0.0.1/keys"`)),
		"HTML":              reply(200, "text/html", documentOf(documentURL, "")),
		"no type":           reply(200, "", documentOf(documentURL, "")),
		"no JSON":           reply(200, "application/json", "<html>"),
		"long":              reply(200, "application/json", documentOf(documentURL, "")+strings.Repeat(" ", 64<<10)),
		"a list":            reply(200, "application/json", "[]"),
		"created":           reply(201, "application/json", documentOf(documentURL, "")),
		"not found":         reply(404, "application/json", documentOf(documentURL, "")),
		"redirect":          reply(302, "application/json", documentOf(documentURL, ""), "Location", "https://client.example/elsewhere"),
		"not there":         func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to canary") },
	} {
		w, s := published(t, answer)
		for range 3 {
			problem := wantCode(t, w.authorize(t, documentURL), "invalid_client")
			if problem.Redirect != "" || strings.Contains(problem.Description, "canary") {
				t.Errorf("%s: %+v", name, problem)
			}
		}
		if n := s.asked.Load(); n != 1 {
			t.Errorf("%s: asked %d times", name, n)
		}
	}
}

// Nothing is sent to an address whose form is wrong already.
func TestDocumentURLs(t *testing.T) {
	t.Parallel()
	w, s := published(t, reply(200, "application/json", "{}"))
	w.AllowLoopback = false
	for _, id := range []string{
		"http://client.example/metadata.json", "https://client.example", "https://client.example/", "https://client.example/a/../b",
		"https://client.example/%2e%2e/b", "https://client.example/b#c", "https://u:p@client.example/b", "HTTPS://client.example/b",
		"ftp://client.example/b", "file:///etc/passwd", "gopher://127.0.0.1/x", "http://localhost/b", "http://127.0.0.1:8080/b",
		"https://client.example/b\\c", "https://clıent.example/b", "https://client.example/" + strings.Repeat("a", 2048), "x://", "://",
	} {
		wantCode(t, w.authorize(t, id), "invalid_client")
	}
	if n := s.asked.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// Hosts that are ours are not reached, however their address is written or
// resolved: the address is checked when it is dialled.
func TestDocumentHosts(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	mine := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer mine.Close()
	port := mine.URL[strings.LastIndex(mine.URL, ":"):]
	for _, loopback := range []bool{false, true} {
		w := newWorld(t)
		w.AllowLoopback = loopback
		for _, host := range []string{
			"169.254.169.254", "[fe80::1]", "10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "[fd00:ec2::254]", "0.0.0.0",
			"[::ffff:127.0.0.1]" + port, "127.0.0.2" + port, "[::ffff:10.0.0.1]", "2130706433" + port, "0x7f.1" + port, "017700000001" + port,
			"[64:ff9b::7f00:1]",
		} {
			if loopback && (strings.Contains(host, "127.0.0.")) {
				continue // that is this machine, which a developer allows
			}
			problem := wantCode(t, w.authorize(t, "https://"+host+"/metadata.json"), "invalid_client")
			if strings.ContainsAny(problem.Description, `"\`) {
				t.Error(problem.Description)
			}
		}
	}
	w := newWorld(t)
	w.AllowLoopback = false
	for _, host := range []string{"localhost", "127.0.0.1"} {
		wantCode(t, w.authorize(t, "https://"+host+port+"/metadata.json"), "invalid_client")
	}
	if asked.Load() != 0 {
		t.Error("this machine was asked")
	}
}

// A document that leads to another host is not followed there, not even on a
// developer's machine.
func TestRedirectingDocument(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer inner.Close()
	outer := httptest.NewServer(http.RedirectHandler(inner.URL+"/latest/meta-data", http.StatusFound))
	defer outer.Close()
	problem := wantCode(t, newWorld(t).authorize(t, outer.URL+"/metadata.json"), "invalid_client")
	if asked.Load() != 0 || !strings.Contains(problem.Description, "redirect") {
		t.Errorf("followed %d times: %s", asked.Load(), problem.Description)
	}
}

// endless is a body that goes on.
type endless struct {
	read atomic.Int64
	wait time.Duration
}

func (e *endless) Read(p []byte) (int, error) {
	time.Sleep(e.wait)
	p = p[:min(len(p), 1024)]
	for i := range p {
		p[i] = ' '
	}
	e.read.Add(int64(len(p)))
	return len(p), nil
}

func (e *endless) Close() error { return nil }

func TestHugeDocument(t *testing.T) {
	t.Parallel()
	body := &endless{}
	w, _ := published(t, func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Request: r}, nil
	})
	wantCode(t, w.authorize(t, documentURL), "invalid_client")
	if n := body.read.Load(); n > 70<<10 {
		t.Errorf("%d bytes were read", n)
	}
}

// A document that takes its time does not take ours: five seconds in all.
func TestSlowDocument(t *testing.T) {
	t.Parallel()
	hangs := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	drips := func(r *http.Request) (*http.Response, error) {
		from, to := io.Pipe()
		go func() {
			for r.Context().Err() == nil {
				_, _ = to.Write([]byte(" "))
				time.Sleep(time.Second)
			}
			_ = to.CloseWithError(r.Context().Err())
		}()
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: from, Request: r}, nil
	}
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){"hangs": hangs, "drips": drips} {
		synctest.Test(t, func(t *testing.T) {
			w, _ := published(t, answer)
			begun := time.Now()
			wantCode(t, w.authorize(t, documentURL), "invalid_client")
			if took := time.Since(begun); took > 6*time.Second {
				t.Errorf("%s: %s", name, took)
			}
			time.Sleep(2 * time.Second) // whoever drips stops
		})
	}
}

// A flood of one URL is one request, good or bad; and others of its host are
// bounded.
func TestDocumentFlood(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 500} {
		w, s := published(t, reply(status, "application/json", documentOf(documentURL, "")))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { _, _ = w.Authorize(context.WithoutCancel(t.Context()), asking(documentURL), browser) })
		}
		all.Wait()
		if n := s.asked.Load(); n != 1 {
			t.Errorf("status %d: asked %d times", status, n)
		}
	}
	w, s := published(t, reply(404, "text/plain", ""))
	for i := range 100 {
		_ = w.authorize(t, fmt.Sprintf("https://victim.example/%d", i))
	}
	if n := s.asked.Load(); n != 60 {
		t.Errorf("the host was asked %d times", n)
	}
	wantCode(t, w.authorize(t, "https://victim.example/more"), "temporarily_unavailable")
	wantCode(t, w.authorize(t, "https://other.example/x"), "invalid_client") // it was asked
	w.pass(time.Hour)
	wantCode(t, w.authorize(t, "https://victim.example/more"), "invalid_client")
}

// Somebody who uses up an hour of a host's keeps nobody out of its clients that are
// known.
func TestFloodKeepsNoKnownClientOut(t *testing.T) {
	t.Parallel()
	w, s := published(t, reply(200, "application/json", documentOf(documentURL, "")))
	ok(t, w.authorize(t, documentURL))
	w.pass(2 * time.Hour)
	good := s.answer
	s.answer = reply(404, "text/plain", "")
	for i := range 60 {
		_ = w.authorize(t, fmt.Sprintf("https://client.example/%d", i))
	}
	wantCode(t, w.authorize(t, "https://client.example/more"), "temporarily_unavailable")
	s.answer = good
	ok(t, w.authorize(t, documentURL))
}

// While a client's site is down, those who are signed in stay so for a day;
// nobody signs in anew.
func TestStaleDocument(t *testing.T) {
	t.Parallel()
	w, s := published(t, reply(200, "application/json", documentOf(documentURL, "")))
	a, err := w.Token(t.Context(), taking(documentURL, w.code(t, asking(documentURL))), "")
	ok(t, err)
	s.answer = reply(503, "text/plain", "")
	w.pass(2 * time.Hour)
	wantCode(t, w.authorize(t, documentURL), "invalid_client")
	a = w.renew(t, documentURL, a.RefreshToken)
	w.pass(24 * time.Hour)
	_, err = w.Token(t.Context(), renewing(documentURL, a.RefreshToken), "")
	wantCode(t, err, "invalid_client")
	s.answer = reply(200, "application/json", documentOf(documentURL, ""))
	w.pass(2 * time.Minute)
	w.renew(t, documentURL, a.RefreshToken)
}
