package front

import (
	"net"
	"net/http"
	"strings"
)

// Edge is CloudFront: one host, no stage in its paths, and headers that only it
// can set.
type Edge struct{ API *API }

// ServeHTTP implements [http.Handler].
func (e Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.Header.Del(challengeHeader)
	if strings.HasPrefix(r.URL.Path, "/mcp/") {
		challenge := `Bearer realm="lanyard"`
		if r.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		out.Header.Set(challengeHeader, challenge)
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	out.Header.Set(viewerHeader, ip)
	out.Header.Set(originHeader, e.API.OriginKey)
	out.Host = APIID + ".execute-api.amazonaws.com"
	out.URL.Path, out.URL.RawPath = "/"+e.API.Stage+r.URL.Path, "/"+e.API.Stage+r.URL.EscapedPath()
	e.API.ServeHTTP(w, out)
}
