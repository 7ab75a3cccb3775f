package notify_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/token"
)

// TestGuarded: what is private is asked nothing, whoever put it there.
func TestGuarded(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	asked := make(chan bool, 9)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			asked <- true
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, test := range []struct {
		url   string
		local bool
	}{
		{"https://127.0.0.1:" + port + "/" + canary, false},
		{"https://localhost:" + port + "/" + canary, false},
		{"http://127.0.0.1:" + port, false},
		{"https://[::ffff:127.0.0.1]:" + port, false},
		{"https://10.0.0.7/" + canary, true},
		{"https://192.168.1.1/", true},
		{"https://169.254.169.254/latest/meta-data", true},
		{"https://[fd00:ec2::254]/", true},
		{"https://metadata.google.internal/", true},
		{"http://hooks.example/" + canary, true},
		{"https://user:" + canary + "@hooks.example/", true},
		{"https://hooks.example/#" + canary, true},
		{"ftp://hooks.example/", true},
		{"https:hooks", true},
		{"https://hooks.example/" + strings.Repeat("a", 2048), true},
		{"https://hooks.example/\x7f" + canary, true},
		{canary, true},
		{"", true},
	} {
		w := newWorld(t)
		w.service.Transport, w.service.AllowLoopback = nil, test.local
		w.endpoints["default"] = notify.Endpoint{URL: test.url, Secrets: []token.Secret{notify.NewSecret()}}
		c, e := dead("default")
		if rest := w.service.Deliver(t.Context(), c, e); rest == nil {
			t.Errorf("%q was told", test.url)
		}
		_, err := w.service.Test(t.Context(), "default")
		if !errors.Is(err, notify.ErrUnreachable) || !errors.Is(err, notify.ErrURL) || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", test.url, err)
		}
		if err := notify.CheckURL(test.url, test.local); !errors.Is(err, notify.ErrURL) || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", test.url, err)
		}
	}
	if len(asked) > 0 {
		t.Errorf("%d connections were made", len(asked))
	}
}

// TestAnswersAreNotRepeated: what is told of an exchange that failed is short,
// and has nothing of the URL, which a receiver may repeat in its answer.
func TestAnswersAreNotRepeated(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"a redirect that cannot be parsed": "HTTP/1.1 302 Found\r\nLocation: https://%zz/URI\r\nContent-Length: 0\r\n\r\n",
		"no HTTP":                          "URI" + strings.Repeat("x", 9000) + "\x1b[31m\r\n\r\n",
		"a status that is none":            "HTTP/1.1 URI" + strings.Repeat("y", 9000) + "\r\n\r\n",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		w := newWorld(t)
		w.service.Transport, w.service.AllowLoopback = nil, true
		const uri = "/hook-" + canary + "?key=" + canary
		w.endpoints["default"] = notify.Endpoint{URL: "http://" + ln.Addr().String() + uri, Secrets: []token.Secret{notify.NewSecret()}}
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = conn.Write([]byte(strings.ReplaceAll(answer, "URI", uri)))
				conn.Close()
			}
		}()
		c, e := dead("default")
		if rest := w.service.Deliver(t.Context(), c, e); rest == nil {
			t.Errorf("%s: it counts as a success", name)
		}
		_, err = w.service.Test(t.Context(), "default")
		if err == nil || strings.Contains(err.Error(), canary) || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %.300v", name, err)
		}
		if n := len(w.log.String()); n > 2000 {
			t.Errorf("%s: %d bytes in the log", name, n)
		}
	}
}
