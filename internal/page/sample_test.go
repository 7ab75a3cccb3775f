package page

import (
	"strings"
	"time"
)

var sampleTime = time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC)

// sampleViews fills every field of every view, in each of its variants. Every
// string goes through text first, so that a test can make all of them hostile.
func sampleViews(text func(string) string) map[string]View {
	chrome := Chrome{Title: text("Servers"), User: text("me"), CSRF: text("csrf-token"), Local: true}
	remote := chrome
	remote.Local = false
	scopes := []Scope{
		{text("https://www.googleapis.com/auth/drive.readonly"), text("Search and read your files")},
		{text("https://www.googleapis.com/auth/drive.file"), text("Create files, and change those it created")},
		{Name: text("openid")},
	}
	servers := sampleServers(text, scopes)
	connection := ConnectionView{
		Chrome: chrome, ID: text("con_8hT2kQ"), ServerName: text("google-drive"), ServerDisplayName: text("Google Drive"),
		Label: text("Work"), Account: text("ada@example.com"), Status: StatusConnected, StatusText: text("Connected"),
		Scopes: scopes, ConnectedAt: sampleTime, LastRefresh: sampleTime, NextRefresh: sampleTime, EndsAt: sampleTime, LastUsed: sampleTime,
		MCPURL: text("http://127.0.0.1:8080/mcp/google-drive"),
		Configs: []Config{
			{text("Claude Code"), text("Run this once in a terminal."), text("claude mcp add --transport http google-drive http://127.0.0.1:8080/mcp/google-drive")},
			{text("Cursor"), text("Put this into ~/.cursor/mcp.json."), text("{\n  \"mcpServers\": {\n    \"google-drive\": {\"url\": \"http://127.0.0.1:8080/mcp/google-drive\"}\n  }\n}")},
			{text("VS Code"), "", text("{\"servers\": {}}")},
		},
		Tokens:  []MCPTokenRow{{text("mct_4f9a"), sampleTime, sampleTime}, {ID: text("mct_77b0"), CreatedAt: sampleTime}},
		Clients: []ClientRow{{text("gra_4f9a"), text("Claude Code"), sampleTime, sampleTime}, {ID: text("gra_77b0"), Name: text("https://client.example/metadata.json"), CreatedAt: sampleTime}},
		Tools: []Tool{
			{Name: text("search"), Title: text("Search files"), Description: text("Find files by name or content."), ReadOnly: true, Schema: text(`{"type": "object"}`), Fields: []Field{
				{Name: text("query"), Type: "string", Label: text("Query"), Required: true, Description: text("Words to look for.")},
				{Name: text("limit"), Type: "integer", Default: text("10")},
				{Name: text("kind"), Type: "string", Enum: []string{text("document"), text("sheet")}, Default: text("sheet")},
				{Name: text("trashed"), Type: "boolean", Required: true, Default: "false"},
			}},
			{Name: text("docs/create"), Description: text("Create a document in a folder."), Withheld: true, Schema: text(`{"type": "object", "properties": {"blocks": {"type": "array"}}}`)},
			{Name: text("whoami")},
		},
	}
	minted := connection
	minted.NewToken = text("lyd_9ZxT0pAq7mLrW3vK")
	minted.TryResult = &TryResult{text("search"), text("Quarterly plan.gdoc\nBudget 2026.gsheet"), false}
	broken := connection
	broken.RemoteHost = text("mcp.tracker.example")
	broken.Chrome, broken.Status, broken.StatusText = remote, StatusReconnectNeeded, ""
	broken.Detail, broken.CanReconnect = text("Google says that the access was withdrawn on 3 March."), true
	broken.MissingScopes, broken.Tools, broken.ToolsError = scopes[:1], nil, text("The server did not start: it needs a connected account.")
	broken.TryResult = &TryResult{text("search"), text("invalid_grant"), true}
	starting := connection
	starting.Label, starting.Tools, starting.ToolsPending, starting.Status = "", nil, true, StatusPending
	unasked := connection
	keyed := unasked
	keyed.AuthType, keyed.StatusText = "api_key", text("Key saved")
	unasked.NextRefresh, unasked.RenewedOnUse = time.Time{}, true
	unasked.Tools, unasked.Scopes, unasked.Configs, unasked.Tokens, unasked.Clients = nil, nil, nil, nil, nil

	all := AllView{
		Chrome: chrome, MCPURL: text("http://127.0.0.1:8080/mcp"), Configs: connection.Configs, Tokens: connection.Tokens, Clients: connection.Clients,
		Members: []MemberRow{
			{ConnectionRow{ID: text("con_1"), Label: text("ada@example.com"), Status: StatusConnected, StatusText: text("Connected")}, text("Google Drive"), text("google-drive__search_files")},
			{ConnectionRow{ID: text("con_2"), Status: StatusReconnectNeeded, Health: "reconnect"}, text("Slack"), text("slack__…")},
		},
	}
	allNew := AllView{Chrome: remote, MCPURL: all.MCPURL, Configs: all.Configs, NewToken: text("lyt_9ZxT0pAq7mLrW3vK")}

	local := Asker{Client: text("Claude Code"), ClientHost: text("claude.ai"), RedirectHost: text("127.0.0.1:33418"), Program: true, Itself: true}
	program := Asker{Client: text("Cursor"), RedirectHost: text("cursor://anysphere.cursor-mcp"), Program: true}

	return map[string]View{
		"all": all, "all-minted": allNew,
		"servers":          ServersView{Chrome: chrome, Servers: servers},
		"servers-starting": ServersView{Chrome: remote, Servers: servers, Starting: servers[4].Name, ReturnURL: text("https://app.example.com/settings")},
		"servers-key":      ServersView{Chrome: chrome, Servers: servers, Starting: servers[3].Name},
		"servers-search":   ServersView{Chrome: chrome, Servers: servers, Query: text("no such thing")},
		"servers-empty":    ServersView{Chrome: chrome},
		"connection":       connection, "connection-minted": minted, "connection-broken": broken,
		"connection-starting": starting, "connection-unasked": unasked, "connection-keyed": keyed,
		"consent": ConsentView{Chrome: remote, FlowID: text("flw_1"), ServerDisplayName: text("Google Drive"), ProviderName: text("Google"), ProviderHost: text("accounts.google.com"), RemoteHost: text("mcp.tracker.example"), Scopes: scopes, UserID: text("user-4711"), Popup: true},
		"consent-reconnect": ConsentView{Chrome: chrome, FlowID: text("flw_1"), ServerDisplayName: text("Slack"), ProviderName: text("Slack"), ProviderHost: text("slack.com"),
			Reconnect: text("ada@example.com"), CancelURL: text("/mcp/servers")},
		"places": PlacesView{Chrome: remote, FlowID: text("flw_1"), ServerDisplayName: text("Jira and Confluence"), ProviderName: text("Atlassian"), Kind: text("site"), Account: text("ada@example.com"), More: true,
			Places: []Place{{text("1324a887-45db"), text("Acme"), text("acme.atlassian.net")}, {text("9b2d"), text("Other, with a name that goes on for longer than most lines of a phone are wide"), text("other-with-a-long-name.atlassian.net")}, {ID: text("x")}, {text("y"), text("same"), text("same")}}},
		"places-lost": PlacesView{Chrome: chrome, FlowID: text("flw_1"), ServerDisplayName: text("Tracker"), ProviderName: text("Tracker"), Kind: text("organisation"), Lost: text("acme.tracker.example"),
			Places: []Place{{text("1"), text("Other"), text("other.tracker.example")}}},
		"leaving":      LeavingView{Chrome: chrome, URL: text("https://accounts.google.com/o/oauth2/v2/auth?client_id=1&state=2"), ProviderName: text("Google"), ProviderHost: text("accounts.google.com")},
		"link":         LinkView{Chrome: remote, URL: text("/l/lnk_1.secret"), Servers: []string{text("Google Drive"), text("Slack"), text("Linear")}},
		"link-other":   LinkView{Chrome: chrome, URL: text("/l/lnk_1.secret"), Replaces: text("me")},
		"link-any":     LinkView{Chrome: remote, URL: text("/l/lnk_1.secret")},
		"done":         DoneView{Chrome: chrome, Connected: true, ServerDisplayName: text("Google Drive"), Account: text("ada@example.com"), Missing: scopes[:1], ContinueURL: text("/mcp/connections/con_1"), FlowID: text("flw_1")},
		"done-popup":   DoneView{Chrome: remote, Connected: true, ServerDisplayName: text("Google Drive"), Account: text("ada@example.com"), Popup: true, FlowID: text("flw_1"), OpenerOrigin: text("https://app.example.com"), ReturnURL: text("https://app.example.com/back")},
		"done-pending": DoneView{Chrome: remote, Pending: true, ServerDisplayName: text("Google Drive"), ReturnURL: text("https://app.example.com/back"), ContinueURL: text("/mcp/servers"), FlowID: text("flw_1")},
		"done-not":     DoneView{Chrome: chrome, ServerDisplayName: text("Google Drive"), Popup: true, ContinueURL: text("/mcp/servers")},
		"error": ErrorView{Chrome: chrome, Code: text("other_account"), Heading: text("That was another account"), Message: text("You chose bob@example.com, and this connection belongs to ada@example.com."), Next: text("Reconnect and choose ada@example.com, or connect bob@example.com beside it."),
			Actions: []Action{{text("Reconnect"), text("/mcp/servers/google-drive/connect"), true, ""}, {text("Cancel"), text("/oauth/requests/req_1"), true, text("cancel")}, {Label: text("All servers"), URL: text("/mcp/servers")}}, Detail: text("error=account_mismatch"), Popup: true, FlowID: text("flw_1"), OpenerOrigin: text("https://app.example.com")},
		"error-bare": ErrorView{Chrome: Chrome{}},
		"setup": SetupView{Chrome: chrome, ProviderName: text("Slack"), RedirectURI: text("http://127.0.0.1:8080/mcp/oauth/callback"), ConsoleURL: text("https://api.slack.com/apps"), Help: text("Choose “From scratch”, then OAuth & Permissions."),
			EnvID: text("SLACK_CLIENT_ID"), EnvSecret: text("SLACK_CLIENT_SECRET"), Unusable: text("Run cloudflared tunnel --url http://127.0.0.1:8080 and set LANYARD_BASE_URL to the address that it prints."), Scopes: []string{text("channels:read"), text("chat:write")},
			Parameters: []ClientParameter{{text("Host"), text("That of a server of your own."), text("slack.com"), text("SLACK_CLIENT_HOST"), text("--param host=")}, {Label: text("Base"), Variable: text("SLACK_CLIENT_BASE"), Flag: text("--param base=")}},
			Enable:     []Enable{{text("Gmail API"), text("https://console.example/gmail"), []string{text("Gmail"), text("Google Workspace")}}, {text("Drive API"), text("https://console.example/drive"), []string{text("Google Drive")}}}},
		"setup-plain": SetupView{Chrome: chrome, ProviderName: text("Acme"), RedirectURI: text("http://127.0.0.1:8080/x"), EnvID: text("ACME_CLIENT_ID"), EnvSecret: text("ACME_CLIENT_SECRET")},
		"signin":      SignInView{Chrome: Chrome{Title: text("Sign in")}},
		"access": AccessView{Chrome: remote, RequestID: text("req_1"), Asker: Asker{Client: text("Claude"), ClientHost: text("claude.ai"), Proven: true, RedirectHost: text("claude.ai")},
			ServerDisplayName: text("Google Drive"), ProviderName: text("Google"), ProviderHost: text("accounts.google.com"), Scopes: scopes, AuthType: "oauth"},
		"access-accounts": AccessView{Chrome: chrome, RequestID: text("req_1"), Asker: local, ServerDisplayName: text("Tracker"), RemoteHost: text("mcp.tracker.example"),
			ProviderName: text("Tracker"), ProviderHost: text("auth.tracker.example"), Scopes: scopes[:2], AuthType: "oauth", Accounts: []Account{
				{ID: text("con_1"), Label: text("ada@example.com")}, {text("con_2"), text("ada@work.example"), text("Reconnect needed"), true}, {ID: text("con_3")}}},
		"access-parameters": AccessView{Chrome: chrome, RequestID: text("req_1"), Asker: program, ServerDisplayName: text("Shopify"), ProviderName: text("Shopify"),
			ProviderHost: text("my-shop.myshopify.com"), AuthType: "oauth", Typed: Typed{Name: text("shopify"), Parameters: servers[4].Parameters}},
		"access-key":      AccessView{Chrome: chrome, RequestID: text("req_1"), Asker: local, ServerDisplayName: text("Brave Search"), AuthType: "api_key", Accounts: []Account{{ID: text("con_1")}}},
		"access-all":      AccessView{Chrome: remote, RequestID: text("req_1"), Asker: local, Servers: []string{text("Google Drive"), text("Slack")}},
		"access-none":     AccessView{Chrome: Chrome{CSRF: text("csrf-token")}, RequestID: text("req_1"), Asker: Asker{RedirectHost: text("client.example")}},
		"key":             KeyView{Chrome: chrome, RequestID: text("req_1"), Asker: local, ServerDisplayName: text("Brave Search"), Typed: Typed{text("brave"), servers[4].Parameters, servers[3].EnvValues}},
		"key-none":        KeyView{Chrome: chrome, RequestID: text("req_1"), ServerDisplayName: text("Time"), Typed: Typed{Name: text("time")}},
		"wait":            WaitView{Chrome: remote, RequestID: text("req_1"), Asker: local, ServerDisplayName: text("Google Drive"), Confirming: true, ReturnURL: text("https://app.example.com/back")},
		"wait-there":      WaitView{Chrome: remote, RequestID: text("req_1"), ServerDisplayName: text("Google Drive")},
		"leaving-back":    LeavingView{Chrome: chrome, URL: text("https://claude.ai/api/mcp/auth_callback?code=1"), ProviderName: text("Claude"), ProviderHost: text("claude.ai"), Back: true},
		"leaving-program": LeavingView{Chrome: chrome, URL: text("cursor://anysphere.cursor-mcp/oauth/callback?code=1"), ProviderName: text("Cursor"), ProviderHost: text("cursor://anysphere.cursor-mcp"), Back: true},
		"ended":           EndedView{Chrome: chrome, Revoked: true},
		"ended-local":     EndedView{Chrome: chrome, Detail: text("The provider did not answer.")},
		"signin-link":     SignInView{Chrome: Chrome{Title: text("Sign in")}, Tenant: text("acme"), Waits: true},
		"signin-owner":    SignInView{Chrome: Chrome{Title: text("Sign in"), Local: true}, Owner: true},
		"signin-host": SignInView{Chrome: Chrome{Title: text("Sign in"), User: text("oidc:x"), Person: text("ada@example.com"), CSRF: text("csrf-token"), CanSignOut: true},
			Tenant: text("acme"), Host: text("accounts.example"), URL: text("/oauth/sign-in?tenant=acme")},
	}
}

func sampleServers(text func(string) string, scopes []Scope) []ServerCard {
	servers := []ServerCard{
		{Name: text("google-drive"), DisplayName: text("Google Drive"), Description: text("Search, read and write files, documents and sheets."), AuthType: "oauth", ProviderName: text("Google"), Scopes: scopes, Status: StatusConnected, ToolsCount: 14, Connections: []ConnectionRow{
			{text("con_1"), text("ada@example.com"), StatusConnected, "ok", text("Connected"), ""},
			{text("con_2"), text("Personal"), StatusReconnectNeeded, "reconnect", "", text("Google says that the access was withdrawn.")},
			{text("con_4"), text("Team"), StatusConnected, "provider_down", text("Provider not answering"), text("Google did not answer: it is tried again.")},
		}},
		{Name: text("slack"), DisplayName: text("Slack"), Description: text("Read channels and post messages."), AuthType: "oauth", ProviderName: text("Slack"), Status: StatusPending, ToolsCount: 1, Connections: []ConnectionRow{{ID: text("con_3"), Status: StatusPending}}},
		{Name: text("github"), DisplayName: text("GitHub"), Description: text("Issues, pull requests and code."), AuthType: "oauth", ProviderName: text("GitHub"), Scopes: scopes, Status: StatusAvailable, ToolsCount: -1},
		{Name: text("brave"), DisplayName: text("Brave Search"), Description: text("Search the web."), AuthType: "api_key", Status: StatusAvailable, ToolsCount: -1, EnvValues: []EnvValue{{text("BRAVE_API_KEY"), text("API key"), text("https://brave.com/search/api/"), true}, {Name: text("BRAVE_REGION")}}},
		{Name: text("shopify"), DisplayName: text("Shopify"), Description: text("Products, orders and customers of a shop."), AuthType: "oauth", ProviderName: text("Shopify"), Scopes: scopes, Status: StatusAvailable, ToolsCount: -1, Parameters: []Parameter{{text("shop"), text("Your shop"), text("my-shop"), text("[a-z0-9-]+"), text("The part before .myshopify.com."), text("acme"), false}}},
		{Name: text("linear"), DisplayName: text("Linear"), RemoteHost: text("mcp.linear.example"), Description: text("Issues, projects and cycles."), AuthType: "oauth", ProviderName: text("Linear"), Status: StatusNeedsClient, ToolsCount: -1},
		{Name: text("calendar"), DisplayName: text("Calendar"), Description: text("Events."), AuthType: "oauth", ProviderName: text("Google"), Status: StatusNotYet, ToolsCount: -1},
		{Name: text("time"), DisplayName: text("Time"), Description: text("What time it is, anywhere."), AuthType: "none", Status: StatusNoneNeeded, ToolsCount: 2, SetupURL: text("/x")},
	}
	for name := range strings.FieldsSeq("Notion Asana Jira Confluence Figma HubSpot Salesforce Zendesk Stripe Dropbox Box Airtable Miro Zoom Discord Spotify Sentry Gmail") {
		servers = append(servers, ServerCard{Name: text(strings.ToLower(name)), DisplayName: text(name), Description: text("What " + name + " keeps for you, for your MCP client."), AuthType: "oauth", ProviderName: text(name), Scopes: scopes[:1], Status: StatusAvailable, ToolsCount: -1})
	}
	return servers
}
