package web

import (
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/task"
)

// The functions, by the names that a deployment has for them.
const (
	FunctionConnect  = "connect"
	FunctionCallback = "callback"
	FunctionRefresh  = "refresh"
	FunctionMCPRun   = "mcprun"
	// FunctionMCPRemote is mcprun's program where there is a way out to the
	// internet: remote servers are reached from there.
	FunctionMCPRemote = "mcpremote"
)

// How a route of a deployment finds out who calls.
const (
	// AuthApp: the function itself, by API key, page session or link.
	AuthApp = "app"
	// AuthBearer: the authorizer, by the bearer of an MCP client.
	AuthBearer = "bearer"
	// AuthIAM: API Gateway, by the signature of a task's role.
	AuthIAM = "iam"
)

// Route sends the requests of a method and path to a function. Method ANY is
// those that no other route of the path has.
type Route struct{ Method, Path, Function, Auth string }

// Routes is what stands before the four functions where each is apart, in API
// Gateway's notation. Paths that belong to connect are named where a longer or
// shorter path belongs to another function: the greedy {proxy+} gets only what
// shares no resource with a named one. The remote servers are named, because
// their endpoints belong to a function of their own.
func Routes(remote ...string) []Route {
	const connect, callback, refresh, mcprun = FunctionConnect, FunctionCallback, FunctionRefresh, FunctionMCPRun
	out := []Route{
		{"ANY", "/", connect, AuthApp},
		{"ANY", "/{proxy+}", connect, AuthApp},

		{"ANY", "/mcp", mcprun, AuthBearer},
		{"ANY", "/mcp/{server}", mcprun, AuthBearer},
		{"ANY", "/t/{tenant}/mcp", mcprun, AuthBearer},
		{"ANY", "/t/{tenant}/mcp/{server}", mcprun, AuthBearer},
		{"ANY", flow.CallbackPath, callback, AuthApp},
		{"ANY", "/oauth/authorize", connect, AuthApp},
		{"ANY", "/oauth/requests/{id}", connect, AuthApp},
		{"ANY", "/oauth/token", connect, AuthApp},
		{"ANY", "/oauth/revoke", connect, AuthApp},
		{"ANY", "/oauth/register", connect, AuthApp},
		{"ANY", "/oauth/jwks", connect, AuthApp},
		{"ANY", "/oauth/client-metadata/{name}", connect, AuthApp},
		{"ANY", signin.BeginPath, connect, AuthApp},
		{"ANY", signin.CallbackPath, callback, AuthApp},
		{"ANY", "/oauth/sign-ins/{id}", connect, AuthApp},
		{"ANY", "/oauth/sign-out", connect, AuthApp},
		{"ANY", flow.CallbackPath + "/{issuer}", callback, AuthApp},
		{"ANY", "/mcp/oauth/places/{flow}", callback, AuthApp},
		{"ANY", "/mcp/servers", connect, AuthApp},
		{"ANY", "/mcp/servers/{name}/setup", connect, AuthApp},
		{"ANY", "/mcp/servers/{name}/connect", connect, AuthApp},
		{"ANY", "/mcp/servers/{name}/key", callback, AuthApp},
		{"ANY", "/mcp/all", mcprun, AuthApp},
		{"ANY", "/mcp/all/mcp-tokens", mcprun, AuthApp},
		{"ANY", "/mcp/all/mcp-tokens/{token}/revoke", mcprun, AuthApp},
		{"ANY", "/mcp/all/clients/{grant}/revoke", mcprun, AuthApp},
		{"ANY", "/mcp/connections/{id}", mcprun, AuthApp},
		{"ANY", "/mcp/connections/{id}/rename", connect, AuthApp},
		{"ANY", "/mcp/connections/{id}/offer", connect, AuthApp},
		{"ANY", "/mcp/connections/{id}/disconnect", refresh, AuthApp},
		{"ANY", "/mcp/connections/{id}/mcp-tokens", mcprun, AuthApp},
		{"ANY", "/mcp/connections/{id}/mcp-tokens/{token}/revoke", mcprun, AuthApp},
		{"ANY", "/mcp/connections/{id}/clients/{grant}/revoke", mcprun, AuthApp},
		{"ANY", "/mcp/connections/{id}/tools/{tool}", mcprun, AuthApp},

		{"ANY", "/api/v1" + flow.CallbackPath, callback, AuthApp},
		{"ANY", "/api/v1/mcp/servers", connect, AuthApp},
		{"ANY", "/api/v1/mcp/servers/{name}/oauth/connect", connect, AuthApp},
		{"ANY", "/api/v1/mcp/servers/{name}/connect", callback, AuthApp},
		{"ANY", "/api/v1/links", connect, AuthApp},
		{"ANY", "/api/v1/links/{id}", connect, AuthApp},
		{"ANY", "/api/v1/flows/{id}", connect, AuthApp},
		{"ANY", "/api/v1/flows/{id}/confirm", connect, AuthApp},
		{"ANY", "/api/v1/sign-ins/{id}/confirm", connect, AuthApp},
		{"ANY", "/api/v1/audit", connect, AuthApp},
		{"ANY", "/api/v1/oauth-clients", connect, AuthApp},
		{"ANY", "/api/v1/oauth-clients/{id}", connect, AuthApp},
		{"ANY", "/api/v1/users/{id}", refresh, AuthApp},
		{"ANY", "/api/v1/webhooks/test", refresh, AuthApp},
		{"ANY", "/api/v1/connections", connect, AuthApp},
		{"ANY", "/api/v1/connections/{id}", connect, AuthApp},
		{"DELETE", "/api/v1/connections/{id}", refresh, AuthApp},
		{"ANY", "/api/v1/connections/{id}/token", refresh, AuthApp},
		{"ANY", "/api/v1/connections/{id}/mcp-tokens", mcprun, AuthApp},
		{"ANY", "/api/v1/connections/{id}/mcp-tokens/{token}", mcprun, AuthApp},
		{"ANY", "/api/v1/connections/{id}/clients", mcprun, AuthApp},
		{"ANY", "/api/v1/connections/{id}/clients/{grant}", mcprun, AuthApp},
		{"ANY", "/api/v1/mcp-clients", mcprun, AuthApp},
		{"ANY", "/api/v1/mcp-clients/{grant}", mcprun, AuthApp},
		{"ANY", "/api/v1/mcp-tokens", mcprun, AuthApp},
		{"ANY", "/api/v1/mcp-tokens/{token}", mcprun, AuthApp},
		{"ANY", "/api/v1/connections/{id}/tools", mcprun, AuthApp},
		{"ANY", "/api/v1/connections/{id}/tools/{tool}", mcprun, AuthApp},

		{"POST", task.ClaimPath, mcprun, AuthIAM},
		{"POST", task.TokenPath, mcprun, AuthIAM},
		{"POST", task.ReportPath, mcprun, AuthIAM},
		{"POST", task.WarmPath, mcprun, AuthIAM},
	}
	for _, name := range remote {
		out = append(out, Route{"ANY", "/mcp/" + name, FunctionMCPRemote, AuthBearer}, Route{"ANY", "/t/{tenant}/mcp/" + name, FunctionMCPRemote, AuthBearer})
	}
	return out
}
