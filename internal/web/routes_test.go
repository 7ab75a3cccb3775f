package web

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// routes is every route, and what each kind of caller gets of ada's: nobody,
// a wrong API key, the tenant's own, ada's page session, grace's, and the API
// key of another tenant. A column is a status and a code; "" repeats the one
// before it.
var routes = []struct {
	pattern, path, body               string
	none, wrong, key, ada, grace, far string
}{
	{"GET /{$}", "/", "", "302", "", "", "", "", ""},
	{"GET /static/", "/static/app.js", "", "200", "", "", "", "", ""},
	{"GET /oauth/client-metadata/{name}", strings.TrimPrefix(discover.DocumentURL("https://x.example", "https://issuer.example"), "https://x.example"), "", "200", "", "", "", "", ""},
	{"GET /oauth/client-metadata/{name}", "/oauth/client-metadata/other.json", "", "404 not_found", "", "", "", "", ""},
	{"POST /api/v1/links", "/api/v1/links", `{"user_id":"ada"}`, "401 unauthorized", "", "201", "401 unauthorized", "", "201"},
	{"GET /api/v1/links/{id}", "/api/v1/links/LINK", "", "401 unauthorized", "", "200", "401 unauthorized", "", "404 link_unknown"},
	{"DELETE /api/v1/links/{id}", "/api/v1/links/LINK", "", "401 unauthorized", "", "204", "401 unauthorized", "", "404 link_unknown"},
	{"GET /api/v1/mcp/servers", "/api/v1/mcp/servers?user_id=ada", "", "401 sign_in_required", "401 unauthorized", "200", "", "403 forbidden", "200"},
	{"POST /api/v1/mcp/servers/{name}/oauth/connect", "/api/v1/mcp/servers/notes/oauth/connect", `{"user_id":"ada"}`,
		"401 sign_in_required", "401 unauthorized", "200", "", "403 forbidden", "200"},
	{"POST /api/v1/mcp/servers/{name}/oauth/connect", "/api/v1/mcp/servers/notes/oauth/connect", `{"connection_id":"CON","user_id":"grace"}`,
		"401 sign_in_required", "401 unauthorized", "404 connection_unknown", "403 forbidden", "404 connection_unknown", ""},
	{"POST /api/v1/mcp/servers/{name}/connect", "/api/v1/mcp/servers/keyed/connect", `{"user_id":"ada","env_values":{"KEY":"canary"},"params":{"shop":"x"}}`,
		"401 sign_in_required", "401 unauthorized", "200", "", "403 forbidden", "200"},
	{"GET " + flow.CallbackPath, "/mcp/oauth/callback?code=canary&state=canary", "", "400 state_unknown", "", "", "", "", ""},
	{"GET " + flow.CallbackPath + "/{issuer}", "/mcp/oauth/callback/AAAAAAAAAAAAAAAA?code=canary&state=canary", "", "400 state_unknown", "", "", "", "", ""},
	{"GET /api/v1" + flow.CallbackPath, "/api/v1/mcp/oauth/callback?code=canary&state=canary", "", "400 state_unknown", "", "", "", "", ""},
	{"GET /api/v1/flows/{id}", "/api/v1/flows/FLOW", "", "404 flow_unknown", "401 unauthorized", "200", "404 flow_unknown", "", ""},
	{"POST /api/v1/flows/{id}/confirm", "/api/v1/flows/FLOW/confirm", `{"user_id":"ada"}`, "401 unauthorized", "", "409 flow_not_pending", "401 unauthorized", "", "404 flow_unknown"},
	{"GET /api/v1/connections", "/api/v1/connections?user_id=ada", "", "401 sign_in_required", "401 unauthorized", "200", "", "403 forbidden", "200"},
	{"GET /api/v1/connections/{id}", "/api/v1/connections/CON", "", "401 sign_in_required", "401 unauthorized", "200", "", "404 connection_unknown", ""},
	{"PATCH /api/v1/connections/{id}", "/api/v1/connections/CON", `{"label":"x"}`, "401 sign_in_required", "401 unauthorized", "200", "", "404 connection_unknown", ""},
	{"GET /api/v1/connections/{id}/token", "/api/v1/connections/CON/token", "", "401 unauthorized", "", "200", "401 unauthorized", "", "404 connection_unknown"},
	{"DELETE /api/v1/connections/{id}", "/api/v1/connections/CON", "", "401 sign_in_required", "401 unauthorized", "200", "", "404 connection_unknown", ""},
	{"DELETE /api/v1/users/{id}", "/api/v1/users/ada", "", "401 unauthorized", "", "200", "401 unauthorized", "", "200"},
	{"POST /api/v1/connections/{id}/mcp-tokens", "/api/v1/connections/CON/mcp-tokens", `{"ttl":60}`, "401 sign_in_required", "401 unauthorized", "201", "", "404 connection_unknown", ""},
	{"GET /api/v1/connections/{id}/mcp-tokens", "/api/v1/connections/CON/mcp-tokens", "", "401 sign_in_required", "401 unauthorized", "200", "", "404 connection_unknown", ""},
	{"DELETE /api/v1/connections/{id}/mcp-tokens/{token}", "/api/v1/connections/CON/mcp-tokens/MCT", "", "401 sign_in_required", "401 unauthorized", "204", "", "404 connection_unknown", ""},
	{"GET /api/v1/connections/{id}/clients", "/api/v1/connections/CON/clients", "", "401 sign_in_required", "401 unauthorized", "200", "", "404 connection_unknown", ""},
	{"DELETE /api/v1/connections/{id}/clients/{grant}", "/api/v1/connections/CON/clients/GRANT", "", "401 sign_in_required", "401 unauthorized", "204", "", "404 connection_unknown", ""},
	{"DELETE /api/v1/connections/{id}/clients/{grant}", "/api/v1/connections/CON/clients/ALLGNT", "", "401 sign_in_required", "401 unauthorized", "404 client_unknown", "", "404 connection_unknown", ""},
	{"GET /api/v1/mcp-clients", "/api/v1/mcp-clients?user_id=ada", "", "401 sign_in_required", "401 unauthorized", "200", "", "403 forbidden", "200"},
	{"DELETE /api/v1/mcp-clients/{grant}", "/api/v1/mcp-clients/ALLGNT?user_id=ada", "", "401 sign_in_required", "401 unauthorized", "204", "", "403 forbidden", "404 client_unknown"},
	{"DELETE /api/v1/mcp-clients/{grant}", "/api/v1/mcp-clients/GRANT?user_id=ada", "", "401 sign_in_required", "401 unauthorized", "404 client_unknown", "", "403 forbidden", "404 client_unknown"},
	{"POST /api/v1/mcp-tokens", "/api/v1/mcp-tokens", `{"user_id":"ada"}`, "401 sign_in_required", "401 unauthorized", "201", "", "403 forbidden", "201"},
	{"POST /api/v1/mcp-tokens", "/api/v1/mcp-tokens", `{"user_id":"ada","servers":["nothing"]}`, "401 sign_in_required", "401 unauthorized", "404 server_unknown", "", "403 forbidden", "404 server_unknown"},
	{"GET /api/v1/mcp-tokens", "/api/v1/mcp-tokens?user_id=ada", "", "401 sign_in_required", "401 unauthorized", "200", "", "403 forbidden", "200"},
	{"DELETE /api/v1/mcp-tokens/{token}", "/api/v1/mcp-tokens/ALLMCT?user_id=ada", "", "401 sign_in_required", "401 unauthorized", "204", "", "403 forbidden", "404 token_unknown"},
	{"DELETE /api/v1/mcp-tokens/{token}", "/api/v1/mcp-tokens/MCT?user_id=ada", "", "401 sign_in_required", "401 unauthorized", "404 token_unknown", "", "403 forbidden", "404 token_unknown"},
	{"GET /api/v1/connections/{id}/tools", "/api/v1/connections/CON/tools", "", "401 sign_in_required", "401 unauthorized", "200", "", "404 connection_unknown", ""},
	{"POST /api/v1/connections/{id}/tools/{tool}", "/api/v1/connections/CON/tools/whoami", `{"text":"x"}`, "401 sign_in_required", "401 unauthorized", "200", "", "404 connection_unknown", ""},
	{"POST /api/v1/webhooks/test", "/api/v1/webhooks/test", "", "401 unauthorized", "", "200", "401 unauthorized", "", "409 webhook_missing"},
	{"GET /api/v1/audit", "/api/v1/audit", "", "401 unauthorized", "", "200", "401 unauthorized", "", "200"},
	{"/mcp", "/mcp", `{}`, "401 invalid_token", "", "", "", "", ""},
	{"/mcp/{server}", "/mcp/notes", `{}`, "401 invalid_token", "", "", "", "", ""},
	{"/t/{tenant}/mcp", "/t/other/mcp", `{}`, "401 invalid_token", "", "", "", "", ""},
	{"/t/{tenant}/mcp", "/t/default/mcp", `{}`, "404 not_found", "", "", "", "", ""},
	{"/t/{tenant}/mcp/{server}", "/t/other/mcp/notes", `{}`, "401 invalid_token", "", "", "", "", ""},
	{"/t/{tenant}/mcp/{server}", "/t/default/mcp/notes", `{}`, "404 not_found", "", "", "", "", ""},
	{"POST /tasks/v1/claim", "/tasks/v1/claim", `{"task_id":"tsk_x","ticket":"canary"}`, "403 refused", "", "", "", "", ""},
	{"POST /tasks/v1/token", "/tasks/v1/token", `{"task_id":"tsk_x"}`, "403 refused", "", "", "", "", ""},
	{"POST /tasks/v1/report", "/tasks/v1/report", `{"task_id":"tsk_x","state":"ready"}`, "403 refused", "", "", "", "", ""},
	{"POST /tasks/v1/warm", "/tasks/v1/warm", `{"task_id":"tsk_x","address":"a:1","key_fingerprint":"f"}`, "403 refused", "", "", "", "", ""},
	{"GET /mcp/servers", "/mcp/servers", "", "401", "", "", "200", "", "401"},
	{"GET /mcp/servers/{name}/setup", "/mcp/servers/unset/setup", "", "401 sign_in_required", "", "", "200", "", "401 sign_in_required"},
	{"POST /mcp/servers/{name}/connect", "/mcp/servers/notes/connect", "form", "403 cross_site", "", "", "303", "", "403 cross_site"},
	{"POST /mcp/servers/{name}/connect", "/mcp/servers/notes/connect", "form connection_id=CON", "403 cross_site", "", "", "303", "404 connection_unknown", "403 cross_site"},
	{"POST /mcp/servers/{name}/key", "/mcp/servers/keyed/key", "form env.KEY=canary&param.shop=x", "403 cross_site", "", "", "303", "", "403 cross_site"},
	{"GET /.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server", "", "200", "", "", "", "", ""},
	{"GET /.well-known/openid-configuration", "/.well-known/openid-configuration", "", "200", "", "", "", "", ""},
	{"GET /.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource", "", "404 not_found", "", "", "", "", ""},
	{"GET /.well-known/oauth-protected-resource/{path...}", "/.well-known/oauth-protected-resource/mcp/notes", "", "200", "", "", "", "", ""},
	{"GET /.well-known/{path...}", "/.well-known/security.txt", "", "404 not_found", "", "", "", "", ""},
	{"OPTIONS /.well-known/{path...}", "/.well-known/x", "", "204", "", "", "", "", ""},
	{"GET /oauth/jwks", "/oauth/jwks", "", "200", "", "", "", "", ""},
	{"POST /oauth/token", "/oauth/token", "form grant_type=authorization_code&client_id=CLIENT&code=canary", "400 invalid_grant", "401 invalid_client", "", "400 invalid_grant", "", "401 invalid_client"},
	{"OPTIONS /oauth/token", "/oauth/token", "", "204", "", "", "", "", ""},
	{"POST /oauth/revoke", "/oauth/revoke", "form client_id=CLIENT&token=canary", "200", "401 invalid_client", "", "200", "", "401 invalid_client"},
	{"OPTIONS /oauth/revoke", "/oauth/revoke", "", "204", "", "", "", "", ""},
	{"POST /oauth/register", "/oauth/register", `{"redirect_uris":["https://x.example/"],"token_endpoint_auth_method":"none"}`, "201", "", "", "", "", ""},
	{"OPTIONS /oauth/register", "/oauth/register", "", "204", "", "", "", "", ""},
	{"GET /oauth/authorize", "/oauth/authorize?ASKS", "", "303", "", "", "", "", ""},
	{"GET /oauth/authorize", "/oauth/authorize?client_id=canary", "", "400 invalid_client", "", "", "", "", ""},
	{"POST /oauth/authorize", "/oauth/authorize", "form ASKS", "303", "", "", "", "", ""},
	{"GET /oauth/requests/{id}", "/oauth/requests/REQUEST", "", "404 request_unknown", "", "", "200", "404 request_unknown", ""},
	{"POST /oauth/requests/{id}", "/oauth/requests/REQUEST", "form action=allow&connection=CON", "403 cross_site", "", "", "200", "404 request_unknown", "403 cross_site"},
	{"POST /oauth/requests/{id}", "/oauth/requests/REQUEST", "form action=cancel", "403 cross_site", "", "", "200", "404 request_unknown", "403 cross_site"},
	{"POST /api/v1/oauth-clients", "/api/v1/oauth-clients", `{"name":"x","redirect_uris":["https://x.example/"]}`, "401 unauthorized", "", "201", "401 unauthorized", "", "403 forbidden"},
	{"GET /api/v1/oauth-clients", "/api/v1/oauth-clients", "", "401 unauthorized", "", "200", "401 unauthorized", "", "403 forbidden"},
	{"DELETE /api/v1/oauth-clients/{id}", "/api/v1/oauth-clients/CLIENT", "", "401 unauthorized", "", "204", "401 unauthorized", "", "403 forbidden"},
	{"GET " + signin.BeginPath, "/oauth/sign-in?return=/mcp/servers", "", "401", "", "", "", "", ""},
	{"GET " + signin.BeginPath, "/oauth/sign-in?return=//evil.test/", "", "400 sign_in_return_invalid", "", "", "", "", ""},
	{"GET " + signin.CallbackPath, "/oauth/sign-in/callback?code=canary&state=canary", "", "404 sign_in_unknown", "", "", "", "", ""},
	{"GET /oauth/sign-ins/{id}", "/oauth/sign-ins/SGN?proof=canary", "", "403 sign_in_other_browser", "", "", "", "", ""},
	{"POST /api/v1/sign-ins/{id}/confirm", "/api/v1/sign-ins/SGN/confirm", `{"user_id":"ada"}`, "401 unauthorized", "", "200", "401 unauthorized", "", "404 sign_in_unknown"},
	{"POST /oauth/sign-out", "/oauth/sign-out", "form", "403 cross_site", "", "", "303", "", "403 cross_site"},
	{"GET /l/{link}", "/l/LINKREF", "", "200", "", "", "", "", ""},
	{"POST /l/{link}", "/l/LINKREF", "form", "403 cross_site", "", "", "303", "", "403 cross_site"},
	{"GET /mcp/oauth/places/{flow}", "/mcp/oauth/places/FLOW", "", "403 flow_other_browser", "", "", "", "", ""},
	{"GET /mcp/oauth/places/{flow}", "/mcp/oauth/places/flo_none", "", "404 flow_unknown", "", "", "", "", ""},
	{"GET /mcp/oauth/places/{flow}", "/mcp/oauth/places/PICKED", "", "403 flow_other_browser", "", "", "200", "403 flow_other_browser", ""},
	{"POST /mcp/oauth/places/{flow}", "/mcp/oauth/places/PICKED", "form place=id-south", "403 cross_site", "", "", "303", "403 flow_other_browser", "403 cross_site"},
	{"POST /mcp/oauth/places/{flow}", "/mcp/oauth/places/PICKED", "form place=id-west", "403 cross_site", "", "", "400 place_unknown", "403 flow_other_browser", "403 cross_site"},
	{"POST /mcp/oauth/places/{flow}", "/mcp/oauth/places/PICKED", "form action=cancel", "403 cross_site", "", "", "403 access_denied", "403 flow_other_browser", "403 cross_site"},
	{"GET /c/{flow}", "/c/FLOW", "", "200", "", "", "", "", ""},
	{"GET /c/{flow}", "/c/ASKED", "", "401", "", "", "200", "403 flow_other_person", "401"},
	{"POST /c/{flow}", "/c/ASKED", "form action=authorize", "403 cross_site", "", "", "200", "403 flow_other_person", "403 cross_site"},
	{"POST /c/{flow}", "/c/ASKED", "form action=cancel", "403 cross_site", "", "", "403 access_denied", "403 flow_other_person", "403 cross_site"},
	{"POST /c/{flow}", "/c/FLOW", "form action=authorize", "403 cross_site", "", "", "200", "", "403 cross_site"},
	{"GET /mcp/all", "/mcp/all", "", "401", "401 unauthorized", "400 invalid_request", "200", "", "400 invalid_request"},
	{"POST /mcp/all/mcp-tokens", "/mcp/all/mcp-tokens", "form", "403 cross_site", "", "", "200", "", "403 cross_site"},
	{"POST /mcp/all/mcp-tokens/{token}/revoke", "/mcp/all/mcp-tokens/ALLMCT/revoke", "form", "403 cross_site", "", "", "303", "404 token_unknown", "403 cross_site"},
	{"POST /mcp/all/clients/{grant}/revoke", "/mcp/all/clients/ALLGNT/revoke", "form", "403 cross_site", "", "", "303", "404 client_unknown", "403 cross_site"},
	{"POST /mcp/connections/{id}/clients/{grant}/revoke", "/mcp/connections/CON/clients/GRANT/revoke", "form", "403 cross_site", "", "", "303", "404 connection_unknown", "403 cross_site"},
	{"POST /mcp/connections/{id}/offer", "/mcp/connections/CON/offer", "form shown=whoami", "403 cross_site", "", "", "303", "404 connection_unknown", "403 cross_site"},
	{"GET /mcp/connections/{id}", "/mcp/connections/CON", "", "401", "401 unauthorized", "200", "", "404 connection_unknown", ""},
	{"POST /mcp/connections/{id}/rename", "/mcp/connections/CON/rename", "form label=x", "403 cross_site", "", "", "303", "404 connection_unknown", "403 cross_site"},
	{"POST /mcp/connections/{id}/disconnect", "/mcp/connections/CON/disconnect", "form", "403 cross_site", "", "", "200", "404 connection_unknown", "403 cross_site"},
	{"POST /mcp/connections/{id}/mcp-tokens", "/mcp/connections/CON/mcp-tokens", "form", "403 cross_site", "", "", "200", "404 connection_unknown", "403 cross_site"},
	{"POST /mcp/connections/{id}/mcp-tokens/{token}/revoke", "/mcp/connections/CON/mcp-tokens/MCT/revoke", "form", "403 cross_site", "", "", "303", "404 connection_unknown", "403 cross_site"},
	{"POST /mcp/connections/{id}/tools/{tool}", "/mcp/connections/CON/tools/whoami", "form arg.text=x", "403 cross_site", "", "", "200", "404 connection_unknown", "403 cross_site"},
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	for _, row := range routes {
		columns := []string{row.none, row.wrong, row.key, row.ada, row.grace, row.far}
		for i, who := range []string{"nobody", "wrong key", "api key", "ada", "grace", "another tenant"} {
			if columns[i] == "" {
				columns[i] = columns[i-1]
			}
			t.Run(row.pattern+" by "+who, func(t *testing.T) {
				t.Parallel()
				rec := ask(t, row.pattern, row.path, row.body, who)
				status, code, _ := strings.Cut(columns[i], " ")
				n, err := strconv.Atoi(status)
				if err != nil {
					t.Fatal(err)
				}
				want(t, who, rec, n, code)
				checkAnswer(t, row.path, rec)
			})
		}
	}
}

// ask makes the request on a site where everything is ada's.
func ask(t *testing.T, pattern, path, body, who string) *httptest.ResponseRecorder {
	t.Helper()
	s := newSite(t, loopURL, "")
	con := s.connected("ada", "notes")
	m, err := s.host.Mint(t.Context(), host.MintRequest{Caller: vault.Caller{Tenant: con.Tenant, Actor: "test"}, Connection: con.Key})
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.host.MintAll(t.Context(), host.MintAllRequest{Tenant: con.Tenant, UserID: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	link, ref, err := s.starter.CreateLink(t.Context(), flow.LinkRequest{Tenant: con.Tenant, UserID: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.starter.Start(t.Context(), flow.StartRequest{Tenant: con.Tenant, UserID: "ada", Server: "notes"})
	if err != nil {
		t.Fatal(err)
	}
	adas, client := s.signedIn("ada"), s.enter(webRedirect)
	req, err := s.oauth.Authorize(t.Context(), s.asks(client, "notes"), token.Hash(token.Secret(adas.cookies[adas.name("browser")])))
	if err != nil {
		t.Fatal(err)
	}
	attempt := signin.Attempt{ID: "sgn_1", Tenant: con.Tenant, Method: flow.LoginURL, Browser: "a browser", ReturnPath: "/mcp/servers", ExpiresAt: s.clock.now().Add(time.Minute)}
	if err := s.store.PutAttempt(t.Context(), attempt); err != nil {
		t.Fatal(err)
	}
	question, err := s.starter.Ask(t.Context(), flow.Question{Tenant: con.Tenant, UserID: "ada", Server: "notes", ConnectionID: con.ID, Seed: []byte("canary-seed")})
	if err != nil {
		t.Fatal(err)
	}
	picked := "flo_0"
	if strings.Contains(path, "PICKED") {
		picked = adas.toPlaces()
	}
	fill := strings.NewReplacer("PICKED", picked, "REQUEST", req.ID, "CLIENT", client.ID, "ASKS", s.asks(client, "notes").Encode(), "SGN", attempt.ID,
		"LINKREF", strings.TrimPrefix(ref, "/l/"), "LINK", link.ID, "FLOW", f.ID, "ASKED", strings.TrimPrefix(question, s.base+"/c/"), "CON", con.ID, "ALLMCT", all.ID, "MCT", m.ID,
		"ALLGNT", s.letIn("default", "ada", "").ID, "GRANT", s.letIn("default", "ada", con.ID).ID)
	path, body = fill.Replace(path), fill.Replace(body)
	method, _, found := strings.Cut(pattern, " ")
	if !found {
		method = http.MethodPost
	}
	form, isForm := strings.CutPrefix(body, "form")
	header := []string{"Content-Type", "application/json", "Origin", s.base}
	if isForm {
		body, header[1] = strings.TrimSpace(form), "application/x-www-form-urlencoded"
	}
	b := s.browser()
	switch who {
	case "wrong key":
		header = append(header, "Authorization", "Bearer canary-wrong")
	case "api key":
		header = append(header, "Authorization", "Bearer "+apiKey)
	case "another tenant":
		header = append(header, "Authorization", "Bearer "+otherKey)
	case "ada", "grace":
		if b = adas; who == "grace" {
			b = s.signedIn(who)
		}
		if isForm {
			body += "&csrf=" + b.csrf()
		}
	}
	return b.send(method, path, body, header...)
}

// checkAnswer is what holds for every answer.
func checkAnswer(t *testing.T, path string, rec *httptest.ResponseRecorder) {
	t.Helper()
	h := rec.Header()
	if rec.Code >= 400 && strings.Contains(rec.Body.String(), "canary") {
		t.Errorf("an error tells a secret: %s", excerpt(rec))
	}
	if h.Get("X-Content-Type-Options") != "nosniff" && rec.Body.Len() > 0 && rec.Code/100 != 3 {
		t.Error("no nosniff")
	}
	switch ct := h.Get("Content-Type"); {
	case strings.HasPrefix(ct, "text/html") && rec.Code/100 != 3:
		if !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("X-Frame-Options") != "DENY" ||
			h.Get("Referrer-Policy") != "same-origin" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("a page without its headers: %v", h)
		}
	case strings.HasPrefix(path, "/api/") && rec.Code >= 400:
		var e map[string]string
		d := json.NewDecoder(rec.Body)
		if err := d.Decode(&e); err != nil || e["error"] == "" || e["error_description"] == "" || e["hint"] == "" {
			t.Errorf("not an error as they all are: %v %v", e, err)
		}
		if h.Get("Cache-Control") != "no-store" {
			t.Error("an answer may be stored")
		}
	}
	if rec.Code == http.StatusUnauthorized && !strings.HasPrefix(h.Get("Content-Type"), "text/html") && h.Get("WWW-Authenticate") == "" {
		t.Error("401 without a challenge (RFC 9110 §11.6.1)")
	}
}

// TestRoutesAreListed: a new route needs a row above.
func TestRoutesAreListed(t *testing.T) {
	t.Parallel()
	mounted := regexp.MustCompile(`mux\.Handle(?:Func)?\("([^"]*)"( ?\+ ?[A-Za-z.]+)?`)
	values := strings.NewReplacer("flow.CallbackPath", flow.CallbackPath, "signin.BeginPath", signin.BeginPath, "signin.CallbackPath", signin.CallbackPath, "task.ClaimPath", "/tasks/v1/claim", "task.TokenPath", "/tasks/v1/token",
		"task.ReportPath", "/tasks/v1/report", "task.WarmPath", "/tasks/v1/warm", "+", "", " ", "")
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mounted.FindAllStringSubmatch(string(source), -1) {
			found++
			pattern := m[1] + values.Replace(m[2])
			if !slices.ContainsFunc(routes, func(r struct {
				pattern, path, body               string
				none, wrong, key, ada, grace, far string
			}) bool {
				return r.pattern == pattern
			}) {
				t.Errorf("%s mounts %q, which TestRoutes does not try", name, pattern)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d routes were found in the source", found)
	}
}

// TestOtherTenantsChangeNothing: deleting a user of the same name elsewhere
// leaves ours alone.
func TestOtherTenantsChangeNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	want(t, "delete", s.send("DELETE", "/api/v1/users/ada", "", "Authorization", "Bearer "+otherKey), 200, "")
	if got, err := s.store.Get(t.Context(), c.Key); err != nil || got.Status != connection.Connected {
		t.Errorf("%s %v", got.Status, err)
	}
	want(t, "no user at all", s.api("DELETE", "/api/v1/users/", ""), 404, "not_found")
	want(t, "our own", s.api("DELETE", "/api/v1/users/ada", ""), 200, "")
	if _, err := s.store.Get(t.Context(), c.Key); err == nil {
		t.Error("a deleted user's connection is still there")
	}
}

// TestKeys: whoever shows a key that is none is not told to show one.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	const ask = "Authorization: Bearer KEY"
	if text := s.send("POST", "/api/v1/links", `{"user_id":"ada"}`).Body.String(); !strings.Contains(text, ask) {
		t.Error(text)
	}
	if text := s.send("POST", "/api/v1/links", `{"user_id":"ada"}`, "Authorization", "Bearer lyk_none").Body.String(); strings.Contains(text, ask) || !strings.Contains(text, "not valid") {
		t.Error(text)
	}
}
