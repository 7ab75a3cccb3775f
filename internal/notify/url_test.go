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
