package page

import (
	"net/url"
	"regexp"
	"strings"
)

// sourceHost is a host as CSP 3 §2.3.1 writes it, with a port.
var sourceHost = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?$`)

// CSP is the Content-Security-Policy of the pages: only our own files, nothing
// inline, no frame around us. Forms go to us and to the origins of the given
// URLs; whatever is not an http(s) URL with a plain host is left out.
func CSP(formAction ...string) string {
	targets := "'self'"
	for _, raw := range formAction {
		u, err := url.Parse(raw)
		if err == nil && (u.Scheme == "https" || u.Scheme == "http") && sourceHost.MatchString(u.Host) {
			targets += " " + u.Scheme + "://" + u.Host
		}
	}
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self'",
		"img-src 'self'",
		"connect-src 'self'",
		"form-action " + targets,
		"frame-ancestors 'none'",
		"base-uri 'none'",
	}, "; ")
}
