package front

import (
	"net"
	"net/http"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

// Edge is CloudFront: one host, no stage in its paths, and headers that only it
// can set.
type Edge struct {
	API *API
	// SignIn says what the edge function, which was deployed with the scopes of
	// the servers, says to clients; that function's own test holds it against this.
	SignIn *authserver.Server
}

// challenge is what a client is told that comes to an MCP endpoint without a good
// token; empty elsewhere.
func (e Edge) challenge(r *http.Request) string {
	tenant, name, ok := authserver.EndpointAt(r.URL.Path)
	if !ok {
		return ""
	}
	code := ""
	if r.Header.Get("Authorization") != "" {
		code = "invalid_token"
	}
	server, _ := e.SignIn.Catalogue.Server(name)
	return e.SignIn.Challenge(authserver.EndpointPath(tenant, name), code, "", server.ScopeNames())
}

// ServeHTTP implements [http.Handler].
func (e Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.Header.Del(challengeHeader)
	if challenge := e.challenge(r); challenge != "" {
		out.Header.Set(challengeHeader, challenge)
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	out.Header.Set(viewerHeader, ip)
	out.Header.Set(originHeader, e.API.OriginKey)
	out.Host = APIID + ".execute-api.amazonaws.com"
	out.URL.Path, out.URL.RawPath = "/"+e.API.Stage+r.URL.Path, "/"+e.API.Stage+r.URL.EscapedPath()
	e.API.ServeHTTP(w, out)
}
