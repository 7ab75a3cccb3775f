package main

import (
	"strings"

	"github.com/lanyardhq/lanyard/internal/web"
)

// routes is the API: what stands before the functions, of which package web
// knows which serves what. Every route but those of tasks wants the key that
// CloudFront sends.
func (s *Settings) routes() []web.Route { return web.Routes(s.remotes...) }

// taskRoutes are method and path of what tasks call, as execute-api's ARNs name
// them.
func taskRoutes() (out []string) {
	for _, r := range web.Routes() {
		if r.Auth == web.AuthIAM {
			out = append(out, r.Method+"/"+strings.TrimPrefix(r.Path, "/"))
		}
	}
	return out
}
