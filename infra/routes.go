package main

import (
	"strings"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/task"
)

// How a route finds out who calls.
const (
	// authApp: the function itself, by API key, page session or link.
	authApp = "app"
	// authBearer: the authorizer, by the bearer of an MCP client.
	authBearer = "bearer"
	// authIAM: API Gateway, by the signature of a task's role.
	authIAM = "iam"
)

// route sends the requests of a method and path to a function. Every route but
// those of tasks wants the key that CloudFront sends.
type route struct {
	// method is one method, or ANY for those that no other route of the path has.
	method, path, function, auth string
}

// routes is the API. Paths that belong to connect are named where a longer or
// shorter path belongs to another function: the greedy {proxy+} gets only what
// shares no resource with a named one.
var routes = []route{
	{"ANY", "/", connect, authApp},
	{"ANY", "/{proxy+}", connect, authApp},

	{"ANY", "/mcp/{server}", mcprun, authBearer},
	{"ANY", flow.CallbackPath, callback, authApp},
	{"ANY", "/mcp/servers", connect, authApp},
	{"ANY", "/mcp/servers/{name}/setup", connect, authApp},
	{"ANY", "/mcp/servers/{name}/connect", connect, authApp},
	{"ANY", "/mcp/servers/{name}/key", callback, authApp},
	{"ANY", "/mcp/connections/{id}", mcprun, authApp},
	{"ANY", "/mcp/connections/{id}/rename", connect, authApp},
	{"ANY", "/mcp/connections/{id}/disconnect", refresh, authApp},
	{"ANY", "/mcp/connections/{id}/mcp-tokens", mcprun, authApp},
	{"ANY", "/mcp/connections/{id}/mcp-tokens/{token}/revoke", mcprun, authApp},
	{"ANY", "/mcp/connections/{id}/tools/{tool}", mcprun, authApp},

	{"ANY", "/api/v1" + flow.CallbackPath, callback, authApp},
	{"ANY", "/api/v1/mcp/servers", connect, authApp},
	{"ANY", "/api/v1/mcp/servers/{name}/oauth/connect", connect, authApp},
	{"ANY", "/api/v1/mcp/servers/{name}/connect", callback, authApp},
	{"ANY", "/api/v1/links", connect, authApp},
	{"ANY", "/api/v1/links/{id}", connect, authApp},
	{"ANY", "/api/v1/flows/{id}", connect, authApp},
	{"ANY", "/api/v1/flows/{id}/confirm", connect, authApp},
	{"ANY", "/api/v1/audit", connect, authApp},
	{"ANY", "/api/v1/users/{id}", refresh, authApp},
	{"ANY", "/api/v1/connections", connect, authApp},
	{"ANY", "/api/v1/connections/{id}", connect, authApp},
	{"DELETE", "/api/v1/connections/{id}", refresh, authApp},
	{"ANY", "/api/v1/connections/{id}/token", refresh, authApp},
	{"ANY", "/api/v1/connections/{id}/mcp-tokens", mcprun, authApp},
	{"ANY", "/api/v1/connections/{id}/mcp-tokens/{token}", mcprun, authApp},
	{"ANY", "/api/v1/connections/{id}/tools", mcprun, authApp},
	{"ANY", "/api/v1/connections/{id}/tools/{tool}", mcprun, authApp},

	{"POST", task.ClaimPath, mcprun, authIAM},
	{"POST", task.TokenPath, mcprun, authIAM},
	{"POST", task.ReportPath, mcprun, authIAM},
}

// taskRoutes are method and path of what tasks call, as execute-api's ARNs name
// them.
func taskRoutes() (out []string) {
	for _, r := range routes {
		if r.auth == authIAM {
			out = append(out, r.method+"/"+strings.TrimPrefix(r.path, "/"))
		}
	}
	return out
}
