package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// ErrForbiddenAddress is wrapped when a URL leads into a private network, to
// this machine or to a cloud's metadata service.
var ErrForbiddenAddress = errors.New("address not allowed")

// GuardedTransport returns a transport that connects to public addresses
// alone. The check is made on the address that is dialled, after name
// resolution, so a name that resolves to a private address gets nowhere. With
// allowLoopback, a host that is itself loopback (localhost, 127.0.0.1, ::1) may
// be reached, too; a public name that resolves there may not.
//
// Connections are not reused, because net/http repeats a request by itself
// when a reused one fails; and no proxy is used, because a proxy would resolve
// the name out of the guard's sight.
func GuardedTransport(allowLoopback bool) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			allowed := allowedFor(host, allowLoopback)
			dialer := net.Dialer{Timeout: 10 * time.Second, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
				return checkAddress(address, allowed)
			}}
			return dialer.DialContext(ctx, network, address)
		},
		DisableKeepAlives:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  requestTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// GuardedClient is own, or a client of a [GuardedTransport] where own is nil, that
// follows no redirect: one would carry secrets elsewhere, and lead where nobody has
// checked.
func GuardedClient(own *http.Client, allowLoopback bool) *http.Client {
	client := http.Client{}
	if own != nil {
		client = *own
	} else {
		client.Transport = GuardedTransport(allowLoopback)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// allowedFor is which addresses a host may resolve to.
func allowedFor(host string, allowLoopback bool) func(netip.Addr) bool {
	if allowLoopback && IsLoopback(host) {
		return netip.Addr.IsLoopback
	}
	return publicIP
}

func checkAddress(address string, allowed func(netip.Addr) bool) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: not an IP address", ErrForbiddenAddress)
	}
	// A zone is no part of an address that a provider could have.
	if ip := ap.Addr(); ip.Zone() != "" || !allowed(ip.Unmap()) {
		return fmt.Errorf("%w: it is in a private or special network", ErrForbiddenAddress)
	}
	return nil
}

// special are the networks that netip's predicates do not cover. IANA's special
// purpose registries (RFC 6890) list them, except the last one: the address of
// a cloud's host agent.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),        // IPv4-compatible
	netip.MustParsePrefix("64:ff9b::/96"), // NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), // Teredo and others
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("168.63.129.16/32"),
}

func publicIP(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, prefix := range special {
		if prefix.Contains(ip) {
			return false
		}
	}
	return true
}

// IsLoopback reports whether a host, without a port, is the machine itself:
// localhost, or a loopback address.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// CheckURL refuses, with [ErrForbiddenAddress], what should not even be resolved:
// an early, clear error. What a name resolves to, [GuardedTransport] checks.
func CheckURL(u *url.URL, allowLoopback bool) error {
	host := strings.TrimSuffix(u.Hostname(), ".")
	if u.User != nil || host == "" {
		return fmt.Errorf("%w: the URL has a user or no host", ErrForbiddenAddress)
	}
	if IsLoopback(host) {
		if allowLoopback && (u.Scheme == "http" || u.Scheme == "https") {
			return nil
		}
		return fmt.Errorf("%w: %s is this machine; that is for local mode alone", ErrForbiddenAddress, host)
	}
	if u.Scheme != "https" {
		return fmt.Errorf("%w: the URL is not https", ErrForbiddenAddress)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if !publicIP(ip) {
			return fmt.Errorf("%w: the URL names an address in a private or special network", ErrForbiddenAddress)
		}
		return nil
	}
	for _, suffix := range []string{".localhost", ".local", ".internal", ".lan", ".home.arpa"} {
		if strings.HasSuffix(strings.ToLower(host), suffix) {
			return fmt.Errorf("%w: the URL names a host of a private network", ErrForbiddenAddress)
		}
	}
	return nil
}
