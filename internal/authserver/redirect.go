package authserver

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// DefaultRedirects are the redirect URIs with a scheme of their own that are
// known to belong to one program: Cursor's.
var DefaultRedirects = []string{"cursor://anysphere.cursor-mcp/oauth/callback"}

// maxURI is how long a URI of a client may be, in bytes.
const maxURI = 2 << 10

// answerParameters are those that we add to a redirect URI: it must not bring
// them itself.
var answerParameters = []string{"code", "state", "iss", "error", "error_description", "error_uri"}

// checkRedirect says what is wrong with a redirect URI; "": nothing. own are the
// ones with a scheme of their own that are allowed.
func checkRedirect(raw string, own []string) string {
	if slices.Contains(own, raw) {
		return ""
	}
	u, problem := plainURL(raw)
	switch {
	case problem != "":
		return problem
	case u.Scheme == "http" && !loopback(u):
		return "it is http, which only a program on the person's machine may have"
	case u.Scheme != "http" && u.Scheme != "https":
		return "its scheme is its own; such a URI has to be allowed by whoever runs this server"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "its query cannot be read"
	}
	for _, name := range answerParameters {
		if query.Has(name) {
			return "its query has a parameter that the answer uses"
		}
	}
	return ""
}

// plainURL parses a URL that every program reads in the same way, or says why it
// is none. What is left out here is what programs read differently.
func plainURL(raw string) (*url.URL, string) {
	if len(raw) > maxURI {
		return nil, "it is too long"
	}
	for _, b := range []byte(raw) {
		if b <= ' ' || b > '~' || b == '\\' {
			return nil, "it has a character that no URI has"
		}
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || u.Hostname() == "":
		return nil, "it is no absolute URL"
	case !strings.HasPrefix(raw, u.Scheme+"://"):
		return nil, "its scheme is not in lower case"
	case u.User != nil || strings.Contains(u.Host, "@"):
		return nil, "it names a user"
	case strings.Contains(raw, "#"):
		return nil, "it has a fragment"
	case strings.ContainsAny(raw, "*%") && strings.ContainsAny(u.Host, "*%"):
		return nil, "its host has a wildcard or is encoded"
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && !portNumber(u.Port()):
		return nil, "its port is none"
	}
	path := strings.ToLower(u.EscapedPath())
	for _, trick := range []string{"%2e", "%2f", "%5c", "*"} {
		if strings.Contains(path, trick) {
			return nil, "its path has an encoded dot or slash, or a wildcard"
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return nil, "its path has dot segments"
		}
	}
	return u, ""
}

func portNumber(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// loopback reports whether a URL leads to the person's own machine. Only these
// spellings do: others are read in more than one way.
func loopback(u *url.URL) bool {
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return false
}

// matches reports whether the redirect URI that is asked for is the one that a
// client has: exactly, but for the port of a program on the person's machine,
// which takes any that is free (RFC 8252 §7.3).
func matches(asked, has string, own []string) bool {
	if checkRedirect(asked, own) != "" {
		return false
	}
	return asked == has || portless(asked) != "" && portless(asked) == portless(has)
}

// portless is an http URL of a loopback host without its port; "" of any other.
func portless(raw string) string {
	u, problem := plainURL(raw)
	if problem != "" || u.Scheme != "http" || !loopback(u) {
		return ""
	}
	host := strings.TrimSuffix(u.Host, ":"+u.Port())
	return "http://" + host + strings.TrimPrefix(raw, "http://"+u.Host)
}

// redirect returns where the client gets its answer. It may be left out where
// there is no choice; a program that takes any port has one.
func (s *Server) redirect(c Client, asked string) (string, *Error) {
	if asked == "" {
		if len(c.RedirectURIs) == 1 && portless(c.RedirectURIs[0]) == "" {
			return c.RedirectURIs[0], nil
		}
		return "", refuse(invalidRequest, "the client did not say where to go back to: redirect_uri is missing")
	}
	for _, has := range c.RedirectURIs {
		if matches(asked, has, s.Redirects) {
			return asked, nil
		}
	}
	return "", refuse(invalidRequest, "the client wants the answer at an address that is not one of its own (redirect_uri)")
}

// onThisMachine reports whether some program of the person's machine takes a
// redirect, which any other program of it could do, too: a scheme of one's own is
// no different.
func onThisMachine(raw string) bool {
	u, err := url.Parse(raw)
	return err != nil || u.Scheme != "https" || loopback(u)
}

// answer is where the browser takes an answer: the redirect URI with what it has
// in its query already (RFC 6749 §3.1.2), and who says so (RFC 9207).
func (s *Server) answer(redirect, state string, v url.Values) string {
	v.Set("iss", s.BaseURL)
	if state != "" {
		v.Set("state", state)
	}
	separator := "?"
	if strings.Contains(redirect, "?") {
		separator = "&"
	}
	return redirect + separator + v.Encode()
}
