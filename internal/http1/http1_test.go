package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/http1"
)

// serving has the handler served until the test ends.
func serving(t *testing.T, s *http1.Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// standard has it served by net/http.
func standard(t *testing.T, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	return ln.Addr().String()
}

// speak sends raw bytes and no more, and returns all that comes back until the
// server closes.
func speak(t *testing.T, addr, raw string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return rest(t, c)
}

// rest is what comes until the server closes, which it may do with an error where
// more was sent than it wanted.
func rest(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	got, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server did not close")
	}
	return string(got)
}

// answers are what a client reads: the answers, and what has come in each.
func answers(t *testing.T, raw string, methods ...string) (out []string) {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(raw))
	for i := 0; ; i++ {
		if _, err := r.Peek(1); err != nil {
			return out
		}
		method := http.MethodPost
		if i < len(methods) {
			method = methods[i]
		}
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return append(out, "unreadable: "+err.Error())
		}
		if resp.StatusCode == http.StatusContinue {
			out, i = append(out, "100"), i-1
			continue
		}
		body, err := io.ReadAll(resp.Body)
		out = append(out, fmt.Sprint(resp.StatusCode, resp.Header.Get("X-Said"), resp.Header.Get("Content-Type"), resp.ContentLength, resp.TransferEncoding, resp.Close, len(resp.Header["Date"]), string(body), err))
	}
}

// talkative does all that a handler may do.
func talkative(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	switch r.URL.Path {
	case "/echo":
		body, err := io.ReadAll(r.Body)
		w.Header().Set("X-Said", fmt.Sprint(err))
		_, _ = w.Write(body)
	case "/length":
		w.Header().Set("Content-Length", "6")
		_, _ = io.WriteString(w, "abc")
		_, _ = io.WriteString(w, "def")
	case "/long":
		for range 100 {
			_, _ = io.WriteString(w, strings.Repeat("x", 100))
		}
	case "/stream":
		for i := range 3 {
			fmt.Fprint(w, i)
			w.(http.Flusher).Flush()
		}
	case "/none":
		w.WriteHeader(http.StatusNoContent)
	case "/twice":
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "t")
	case "/ignore": // reads nothing of the body
		w.WriteHeader(http.StatusAccepted)
	case "/break":
		w.Header().Set("X-Said", "a\r\nX-Injected: b")
	}
}

// TestAsNetHTTP: to a client it is as if net/http answered.
func TestAsNetHTTP(t *testing.T) {
	t.Parallel()
	ours, theirs := serving(t, &http1.Server{Handler: http.HandlerFunc(talkative)}), standard(t, http.HandlerFunc(talkative))
	const host = " HTTP/1.1\r\nHost: x\r\n"
	for name, test := range map[string]struct {
		raw     string
		methods []string
	}{
		"echo":                  {raw: "POST /echo" + host + "Content-Length: 3\r\n\r\nabc"},
		"chunked":               {raw: "POST /echo" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"},
		"nothing":               {raw: "POST /echo" + host + "Content-Length: 0\r\n\r\n"},
		"no body":               {raw: "GET /echo" + host + "\r\n", methods: []string{"GET"}},
		"length":                {raw: "GET /length" + host + "\r\n", methods: []string{"GET"}},
		"head":                  {raw: "HEAD /length" + host + "\r\n", methods: []string{"HEAD"}},
		"head of a stream":      {raw: "HEAD /stream" + host + "\r\nGET /length" + host + "\r\n", methods: []string{"HEAD", "GET"}},
		"long":                  {raw: "GET /long" + host + "\r\n", methods: []string{"GET"}},
		"stream":                {raw: "GET /stream" + host + "\r\n", methods: []string{"GET"}},
		"none":                  {raw: "DELETE /none" + host + "\r\n", methods: []string{"DELETE"}},
		"status":                {raw: "GET /twice" + host + "\r\n", methods: []string{"GET"}},
		"one after the other":   {raw: "POST /echo" + host + "Content-Length: 1\r\n\r\naPOST /echo" + host + "Content-Length: 1\r\n\r\nbGET /stream" + host + "\r\nGET /length" + host + "\r\n"},
		"an unread body":        {raw: "POST /ignore" + host + "Content-Length: 5\r\n\r\nhelloGET /length" + host + "\r\n"},
		"unread chunks":         {raw: "POST /ignore" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /length" + host + "\r\n"},
		"close":                 {raw: "GET /length" + host + "Connection: close\r\n\r\nGET /length" + host + "\r\n"},
		"close of a stream":     {raw: "GET /stream" + host + "Connection: close\r\n\r\n"},
		"expects":               {raw: "POST /echo" + host + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"},
		"header with a newline": {raw: "GET /break" + host + "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, got := answers(t, speak(t, theirs, test.raw), test.methods...), answers(t, speak(t, ours, test.raw), test.methods...)
			if len(want) == 0 || strings.Join(want, "\n") != strings.Join(got, "\n") {
				t.Errorf("answered\n%s\nnet/http answers\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestNoRequest: what is none, or could be read in two ways, is refused, and nothing
// after it is served.
func TestNoRequest(t *testing.T) {
	t.Parallel()
	served := 0
	var mu sync.Mutex
	addr := serving(t, &http1.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		served++
		_, _ = io.Copy(io.Discard, r.Body)
	})})
	const next = "GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
	for raw, want := range map[string]string{
		"GET / HTTP/1.1\r\n\r\n":                         "400",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n":   "400",
		"GET / HTTP/1.0\r\nHost: a\r\n\r\n":              "505",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":               "505",
		"\r\n\r\n":                                       "400",
		"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n": "400",
		"nonsense\r\n\r\n":                               "400",
		"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n":  "400",
		"GET / HTTP/1.1\r\nHost: a\r\nSpace : b\r\n\r\n": "400",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab":  "400",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n":                        "400",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n": "400",
		"GET / HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n":                         "417",
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 70<<10) + "\r\n\r\n":    "431",
		"GET /" + strings.Repeat("y", 70<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n":           "431",
	} {
		got := speak(t, addr, raw+next)
		if all := answers(t, got); len(all) != 1 || !strings.HasPrefix(all[0], want) {
			t.Errorf("%.60q: %q", raw, all)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if served != 0 {
		t.Errorf("%d were served", served)
	}
}

// TestSmuggling: of two lengths that a proxy might read otherwise, the chunks count,
// as in net/http, and there is one request.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	addr := serving(t, &http1.Server{Handler: http.HandlerFunc(talkative)})
	got := answers(t, speak(t, addr, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"))
	if len(got) != 1 || !strings.Contains(got[0], "abcde") {
		t.Errorf("%q", got)
	}
}

// TestSlowHead: nobody holds a connection by half a request.
func TestSlowHead(t *testing.T) {
	t.Parallel()
	c, err := net.Dial("tcp", serving(t, &http1.Server{Handler: http.HandlerFunc(talkative), HeadTimeout: 50 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "); err != nil {
		t.Fatal(err)
	}
	if got := answers(t, rest(t, c)); len(got) != 1 || !strings.HasPrefix(got[0], "408") {
		t.Errorf("%q", got)
	}
}

// TestNoHurryBetweenRequests: what has to come in time is a head that has begun.
func TestNoHurryBetweenRequests(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	c, err := net.Dial("tcp", serving(t, &http1.Server{Handler: http.HandlerFunc(talkative), HeadTimeout: timeout}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for range 2 {
		for _, part := range []string{"GET /length HTTP/1.1\r\n", "Host: x\r\n\r\n"} {
			if _, err := io.WriteString(c, part); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v %v", resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		time.Sleep(timeout + timeout/5)
	}
}

// TestClientGoes: the request's context ends when its client does, before the
// answer or in the middle of it, and not before the body was read.
func TestClientGoes(t *testing.T) {
	t.Parallel()
	gone := make(chan error, 1)
	addr := serving(t, &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			w.(http.Flusher).Flush()
		}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		gone <- r.Context().Err()
	})})
	for _, path := range []string{"/", "/stream"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // it is looked for the client, but not while the body comes
		select {
		case err := <-gone:
			t.Fatalf("%s: it ended while its body came: %v", path, err)
		default:
		}
		if _, err := io.WriteString(c, "bc"); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		select {
		case err := <-gone:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", path, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nobody noticed", path)
		}
	}
}

// TestLongCalls: a connection is used again after requests that were watched, and
// what was sent meanwhile is not lost.
func TestLongCalls(t *testing.T) {
	t.Parallel()
	addr := serving(t, &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case <-time.After(60 * time.Millisecond): // it is watched by now
		case <-r.Context().Done():
		}
		fmt.Fprint(w, string(body), r.Context().Err())
	})})
	one := func(body string) string {
		return fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	send := func(s string) {
		if _, err := io.WriteString(c, s); err != nil {
			t.Fatal(err)
		}
	}
	want := func(body string) {
		t.Helper()
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(resp.Body); string(got) != body+"<nil>" {
			t.Errorf("%q, want %q", got, body)
		}
	}
	send(one("a"))
	want("a")
	send(one("b"))
	time.Sleep(40 * time.Millisecond)
	send(one("c") + one("d")) // while b is watched
	for _, body := range []string{"b", "c", "d"} {
		want(body)
	}
}

// TestPanic: it ends its connection and nothing else, and is logged.
func TestPanic(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var mu sync.Mutex
	s := &http1.Server{Logger: slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	}), nil)), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic("oh")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
	})}
	addr := serving(t, s)
	for _, path := range []string{"/abort", "/", "/panic", "/"} {
		got := answers(t, speak(t, addr, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"))
		if (len(got) == 1) != (path == "/") {
			t.Errorf("%s: %q", path, got)
		}
		mu.Lock()
		if path == "/abort" && log.Len() > 0 {
			t.Errorf("logged: %s", log.String())
		}
		mu.Unlock()
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(log.String(), "value=oh") {
		t.Errorf("logged: %q", log.String())
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestClose ends what is under way.
func TestClose(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan struct{})
	s := &http1.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	})}
	addr := serving(t, s)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	idle, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-ended
	for _, c := range []net.Conn{c, idle} {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a connection is open: %v", err)
		}
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
}

// TestClients: Go's own client is served, many at a time, in both directions.
func TestClients(t *testing.T) {
	t.Parallel()
	addr := serving(t, &http1.Server{Handler: http.HandlerFunc(talkative)})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 100 {
				text := strings.Repeat(fmt.Sprint(i, "-", n, " "), 1+n*13)
				resp, err := client.Post("http://"+addr+"/echo", "text/plain", strings.NewReader(text))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(got) != text {
					t.Errorf("%d bytes for %d: %v", len(got), len(text), err)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzServer: whatever is sent, what comes back are whole answers, and the server
// serves the next one.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET /stream HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", "GET /long HTTP/1.1\r\nHost:x\r\n\r\nGET", "\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := &http1.Server{Handler: http.HandlerFunc(talkative), HeadTimeout: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
		one, other := net.Pipe()
		ln := &single{conn: other, done: make(chan struct{})}
		go func() { _ = s.Serve(ln) }()
		defer s.Close()
		go func() {
			_, _ = one.Write(raw)
			time.Sleep(time.Millisecond)
			_ = one.Close()
		}()
		got, _ := io.ReadAll(one)
		if len(got) > 0 && !bytes.HasPrefix(got, []byte("HTTP/1.1 ")) {
			t.Errorf("%q", got)
		}
	})
}

// single is a listener with one connection.
type single struct {
	once sync.Once
	conn net.Conn
	done chan struct{}
}

func (l *single) Accept() (net.Conn, error) {
	var c net.Conn
	l.once.Do(func() { c = l.conn })
	if c != nil {
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *single) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *single) Addr() net.Addr { return &net.TCPAddr{} }
