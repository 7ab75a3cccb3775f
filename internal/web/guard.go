package web

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// GuardHost refuses requests whose Host is not one that this server answers
// to: a name that somebody else's DNS points at this machine (DNS rebinding)
// must not reach it. Each of allowed is a host with its port.
func GuardHost(next http.Handler, allowed ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, host := range allowed {
			if strings.EqualFold(r.Host, host) {
				next.ServeHTTP(w, r)
				return
			}
		}
		writeJSON(w, http.StatusMisdirectedRequest, map[string]string{"error": "host_not_allowed",
			"error_description": "this server does not answer to that name",
			"hint":              "Use the address that was printed at start, or set LANYARD_BASE_URL to the public one."})
	})
}

// GuardCookies takes the cookies from requests of a program that is not the
// owner's: browsers send those of a host to all of its ports, so that a server
// which listens on this machine has them once its person has opened an address of
// its, or was led there.
func GuardCookies(next http.Handler, foreign func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" && foreign(r) {
			r.Header.Del("Cookie")
		}
		next.ServeHTTP(w, r)
	})
}

// HostOf is the host and port of a URL.
func HostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// NotFound answers what no route takes.
func (s *Site) NotFound(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern == "" {
			probe := &status{header: http.Header{}}
			h.ServeHTTP(probe, r)
			if probe.code == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", probe.header.Get("Allow"))
				s.problem(w, r, &Problem{Status: 405, Code: "method_not_allowed", Heading: "That cannot be done here",
					Message: "this address does not take that method", Next: "The header Allow names those that it takes."})
				return
			}
			s.problem(w, r, errNotFound)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// status records what a handler would have answered.
type status struct {
	header http.Header
	code   int
}

func (s *status) Header() http.Header         { return s.header }
func (s *status) Write(b []byte) (int, error) { return len(b), nil }
func (s *status) WriteHeader(code int)        { s.code = code }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
