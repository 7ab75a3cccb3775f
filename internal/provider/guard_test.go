package provider

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestPublicIP(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "1.1.1.1": true, "172.32.0.1": true,
		"127.0.0.1": false, "127.8.8.8": false, "::1": false, "0.0.0.0": false, "::": false, "0.1.2.3": false,
		"10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "fd00:ec2::254": false, "fc00::1": false,
		"169.254.169.254": false, "fe80::1": false, "fec0::1": false, "100.64.0.1": false, "100.100.100.200": false,
		"224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false, "ff02::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "64:ff9b::808:808": false, "64:ff9b:1::1": false, "2002:7f00:1::": false,
		"2001::1": false, "198.18.0.1": false, "192.0.2.1": false, "168.63.129.16": false,
	} {
		if got := publicIP(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url          string
		cloud, local bool
	}{
		{"https://acme.example/token", true, true},
		{"https://acme.example:8443/token", true, true},
		{"http://acme.example/token", false, false},
		{"http://127.0.0.1:9/token", false, true},
		{"http://localhost:9/token", false, true},
		{"http://LOCALHOST./token", false, true},
		{"http://[::1]:9/token", false, true},
		{"http://[::ffff:127.0.0.1]/token", false, true},
		{"https://10.0.0.1/token", false, false},
		{"https://169.254.169.254/latest", false, false},
		{"http://169.254.169.254/latest", false, false},
		{"https://metadata.google.internal/", false, false},
		{"https://printer.local/", false, false},
		{"https://x.localhost/", false, false},
		{"https://user@acme.example/", false, false},
		{"ftp://acme.example/", false, false},
		{"file:///etc/passwd", false, false},
		{"gopher://127.0.0.1/", false, false},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		for allow, want := range map[bool]bool{false: tt.cloud, true: tt.local} {
			if err := CheckURL(u, allow); (err == nil) != want {
				t.Errorf("%s, loopback %v: %v", tt.url, allow, err)
			}
		}
	}
}

// The guard holds at the dial itself, where a name has become an address.
func TestGuardedTransportDials(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	named := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	for _, tt := range []struct {
		url   string
		allow bool
		ok    bool
	}{
		{server.URL, true, true},
		{named, true, true},
		{server.URL, false, false},
		{named, false, false},
		{"http://169.254.169.254/", true, false},
		{"http://10.0.0.1/", true, false},
		{"http://0.0.0.0:1/", true, false},
		{"http://[::ffff:10.0.0.1]/", false, false},
	} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: GuardedTransport(tt.allow)}).Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrForbiddenAddress) {
			t.Errorf("%s, loopback %v: %v", tt.url, tt.allow, err)
		}
	}
}

// With loopback allowed, only a host that says loopback reaches it: a public
// name that resolves there does not, nor localhost that resolves elsewhere.
func TestRebindingIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		host, address string
		allow, ok     bool
	}{
		{"acme.example", "8.8.8.8:443", true, true},
		{"acme.example", "[2606:4700::1111]:443", false, true},
		{"acme.example", "127.0.0.1:80", true, false},
		{"acme.example", "[::1]:80", true, false},
		{"acme.example", "10.1.2.3:443", true, false},
		{"acme.example", "[2606:4700::1111%eth0]:443", true, false},
		{"acme.example", "[fe80::1%eth0]:443", true, false},
		{"acme.example", "acme.example:443", true, false},
		{"localhost", "127.0.0.1:80", true, true},
		{"LOCALHOST", "[::1]:80", true, true},
		{"localhost", "[::ffff:127.0.0.1]:80", true, true},
		{"localhost", "127.0.0.1:80", false, false},
		{"localhost", "8.8.8.8:80", true, false},
		{"localhost", "10.1.2.3:80", true, false},
	} {
		err := checkAddress(tt.address, allowedFor(tt.host, tt.allow))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrForbiddenAddress) {
			t.Errorf("%s at %s, loopback %v: %v", tt.host, tt.address, tt.allow, err)
		}
	}
}

func TestEngineRefusesPrivateTargets(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"http://127.0.0.1:9", "https://127.0.0.1:9", "https://10.0.0.1", "https://169.254.169.254"} {
		target := targetOf(at(base))
		_, err := (&Engine{}).AuthorizeURL(target, AuthorizeRequest{State: "s", Verifier: verifier})
		if !errors.Is(err, ErrTarget) || !errors.Is(err, ErrForbiddenAddress) {
			t.Errorf("authorize at %s: %v", base, err)
		}
		_, err = (&Engine{}).Exchange(context.Background(), target, "c", verifier, url.Values{})
		if !errors.Is(err, ErrTarget) {
			t.Errorf("exchange at %s: %v", base, err)
		}
	}
}
