package authserver

import (
	"net/url"
	"testing"
)

func TestRedirectURITricks(t *testing.T) {
	t.Parallel()
	own := []string{"cursor://anysphere.cursor-mcp/oauth/callback"}
	for raw, good := range map[string]bool{
		"https://client.example/callback":              true,
		"https://client.example:8443/callback?a=b":     true,
		"https://client.example":                       true,
		"http://localhost/callback":                    true,
		"http://localhost:33418":                       true,
		"http://127.0.0.1:1/":                          true,
		"http://[::1]:8080/cb":                         true,
		"https://localhost/cb":                         true,
		"cursor://anysphere.cursor-mcp/oauth/callback": true,

		"cursor://anysphere.cursor-mcp/oauth/callback2":        false,
		"cursor://evil/oauth/callback":                         false,
		"CURSOR://anysphere.cursor-mcp/oauth/callback":         false,
		"vscode://vscode.github-authentication/did":            false,
		"com.example.app:/callback":                            false,
		"javascript:alert(1)":                                  false,
		"javascript://client.example/%0aalert(1)":              false,
		"data:text/html,x":                                     false,
		"file:///etc/passwd":                                   false,
		"ftp://client.example/":                                false,
		"urn:ietf:wg:oauth:2.0:oob":                            false,
		"":                                                     false,
		"/callback":                                            false,
		"//client.example/callback":                            false,
		"https:client.example/callback":                        false,
		"https:///callback":                                    false,
		"https://:443/callback":                                false,
		"http://client.example/callback":                       false, // http to elsewhere
		"http://localhost.evil.example/callback":               false,
		"http://127.0.0.1.nip.io/callback":                     false,
		"http://127.1/callback":                                false,
		"http://2130706433/":                                   false,
		"http://0.0.0.0/":                                      false,
		"http://LOCALHOST/callback":                            false,
		"http://localhost./callback":                           false,
		"http://[::ffff:127.0.0.1]/":                           false,
		"http://[0:0:0:0:0:0:0:1]/":                            false,
		"http://localhost:0/":                                  false,
		"http://localhost:99999/":                              false,
		"http://localhost:/":                                   false,
		"http://localhost:08080/":                              false,
		"http://localhost:80@evil.example/":                    false, // userinfo
		"https://client.example@evil.example/callback":         false,
		"https://@client.example/callback":                     false,
		"https://client.example%40evil.example/callback":       false,
		"https://client.example/callback#x":                    false, // fragment
		"https://client.example/callback#":                     false,
		"https://client.example/a/../callback":                 false, // dots
		"https://client.example/./callback":                    false,
		"https://client.example/..":                            false,
		"https://client.example/%2e%2e/callback":               false,
		"https://client.example/%2E%2e/callback":               false,
		"https://client.example/a%2fcallback":                  false,
		"https://client.example/a%5ccallback":                  false,
		`https://client.example\@evil.example/callback`:        false,
		`https://evil.example\.client.example/`:                false,
		"https://client.example/call back":                     false,
		" https://client.example/callback":                     false,
		"https://client.example/callback\n":                    false,
		"https://client.example/callback\x00":                  false,
		"https://clıent.example/callback":                      false,
		"https://client.example/cällback":                      false,
		"https://*.client.example/callback":                    false,
		"https://client.example/*":                             false,
		"HTTPS://client.example/callback":                      false,
		"https://client.example/callback?code=mine":            false,
		"https://client.example/callback?a=b&st%61te=x":        false,
		"https://client.example/callback?iss=https://evil":     false,
		"https://client.example/callback?a=%zz":                false,
		"https://client.example/" + string(make([]byte, 3000)): false,
	} {
		if problem := checkRedirect(raw, own); (problem == "") != good {
			t.Errorf("%q: %q", raw, problem)
		}
	}
}

func TestRedirectMatching(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		has, asked string
		want       bool
	}{
		{"https://client.example/cb", "https://client.example/cb", true},
		{"https://client.example/cb", "https://client.example:443/cb", false}, // a port of its own, not on this machine
		{"https://client.example:8443/cb", "https://client.example:8444/cb", false},
		{"https://client.example/cb", "https://client.example/cb/", false},
		{"https://client.example/cb", "https://client.example/cb?", false},
		{"https://client.example/cb", "https://CLIENT.example/cb", false},
		{"https://localhost:1/cb", "https://localhost:2/cb", false},
		{"http://localhost/callback", "http://localhost:54321/callback", true},
		{"http://localhost:8787/callback", "http://localhost/callback", true},
		{"http://localhost:8787/callback", "http://localhost:1/callback", true},
		{"http://[::1]/callback", "http://[::1]:9/callback", true},
		{"http://127.0.0.1:33418", "http://127.0.0.1:9", true},
		{"http://127.0.0.1:33418", "http://127.0.0.1:9/", false},
		{"http://localhost/callback", "http://127.0.0.1/callback", false},
		{"http://localhost/callback", "http://localhost:1/callback?a=b", false},
		{"http://localhost/callback", "http://localhost:1/Callback", false},
		{"http://localhost/callback", "https://localhost:1/callback", false},
		{"http://localhost/callback", "http://localhost:1@evil.example/callback", false},
		{"http://localhost/callback", "http://localhost:70000/callback", false},
		{"http://localhost/callback", "http://localhost:1/callback#", false},
	} {
		if got := matches(test.asked, test.has, nil); got != test.want {
			t.Errorf("%s for %s: %v", test.asked, test.has, got)
		}
	}
}

func TestOnThisMachine(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		"http://localhost/cb": true, "http://127.0.0.1/cb": true, "https://localhost/cb": true,
		"cursor://anysphere.cursor-mcp/oauth/callback": true, "https://client.example/cb": false,
	} {
		if got := onThisMachine(raw); got != want {
			t.Errorf("%s: %t", raw, got)
		}
	}
}

// Whatever matches leads to the host of what is registered, and nowhere else.
func FuzzRedirect(f *testing.F) {
	for _, raw := range []string{"http://localhost:1/cb", "http://localhost:1@evil/cb", "http://localhost/cb#", "https://client.example/cb", "http://localhost\\@evil/cb"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, has := range []string{"http://localhost/cb", "http://[::1]:80/cb", "https://client.example/cb"} {
			if !matches(raw, has, nil) {
				continue
			}
			a, err := url.Parse(raw)
			b, _ := url.Parse(has)
			if err != nil || a.Hostname() != b.Hostname() || a.Scheme != b.Scheme || a.Path != b.Path || a.RawQuery != b.RawQuery || a.User != nil || a.Fragment != "" {
				t.Errorf("%q is taken for %q", raw, has)
			}
		}
	})
}
