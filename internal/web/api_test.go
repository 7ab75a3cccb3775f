package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// TestBodies: what a call takes is checked before anything happens.
func TestBodies(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	large := `{"user_id":"` + strings.Repeat("x", maxBody) + `"}`
	for _, call := range []struct{ method, path string }{
		{"POST", "/api/v1/links"}, {"POST", "/api/v1/mcp/servers/notes/oauth/connect"}, {"POST", "/api/v1/mcp/servers/keyed/connect"},
		{"PATCH", "/api/v1/connections/" + c.ID}, {"POST", "/api/v1/connections/" + c.ID + "/mcp-tokens"}, {"POST", "/api/v1/flows/flo_x/confirm"},
		{"POST", "/tasks/v1/claim"},
	} {
		for name, test := range map[string]struct {
			body, contentType string
			status            int
			code              string
		}{
			"too large":        {large, "application/json", 413, "body_too_large"},
			"not JSON":         {`user_id=ada`, "application/json", 400, "invalid_request"},
			"cut short":        {`{"user_id":"a`, "application/json", 400, "invalid_request"},
			"an unknown key":   {`{"canary_key":1}`, "application/json", 400, "invalid_request"},
			"another type":     {`[1]`, "application/json", 400, "invalid_request"},
			"trailing garbage": {`{} {}`, "application/json", 400, "invalid_request"},
			"trailing bracket": {`{}]`, "application/json", 400, "invalid_request"},
			"a form":           {`{}`, "application/x-www-form-urlencoded", 415, "unsupported_media_type"},
			"text":             {`{}`, "text/plain", 415, "unsupported_media_type"},
			"no content type":  {`{}`, "", 415, "unsupported_media_type"},
		} {
			rec := s.api(call.method, call.path, test.body, "Content-Type", test.contentType)
			if test.contentType == "" {
				rec = s.send(call.method, call.path, test.body, "Authorization", "Bearer "+apiKey)
			}
			want(t, call.path+" "+name, rec, test.status, test.code)
		}
	}
	want(t, "a charset is fine", s.api("POST", "/api/v1/links", `{"user_id":"ada"} `+"\n", "Content-Type", "application/json; charset=utf-8"), 201, "")
}

func TestLinks(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	for body, code := range map[string]string{
		`{}`: "400 invalid_request",
		`{"user_id":"` + strings.Repeat("x", 257) + `"}`:                  "400 invalid_request",
		`{"user_id":"ada","servers":["nothing"]}`:                         "404 server_unknown",
		`{"user_id":"ada","ttl":-1}`:                                      "400 invalid_request",
		`{"user_id":"ada","ttl":9223372036854775807}`:                     "400 invalid_request",
		`{"user_id":"ada","ttl":60}`:                                      "201 ",
		`{"user_id":"ada","return_url":"https://app.test/done"}`:          "201 ",
		`{"user_id":"ada","return_url":"https://app.test/in/deep?x=1"}`:   "201 ",
		`{"user_id":"ada","return_url":"https://app.test/done/x"}`:        "400 return_url_not_allowed",
		`{"user_id":"ada","return_url":"https://app.test/in/../out"}`:     "400 return_url_not_allowed",
		`{"user_id":"ada","return_url":"https://app.test/in/%2e%2e/out"}`: "400 return_url_not_allowed",
		`{"user_id":"ada","return_url":"https://app.test.evil.test/in/"}`: "400 return_url_not_allowed",
		`{"user_id":"ada","return_url":"https://app.test@evil.test/in/"}`: "400 return_url_not_allowed",
		`{"user_id":"ada","return_url":"http://app.test/done"}`:           "400 return_url_not_allowed",
		`{"user_id":"ada","return_url":"//app.test/done"}`:                "400 return_url_not_allowed",
		`{"user_id":"ada","return_url":"javascript:alert(1)"}`:            "400 return_url_not_allowed",
		`{"user_id":"ada","return_url":"https:\\\\app.test/done"}`:        "400 return_url_not_allowed",
		`{"user_id":"ada","return_url":"/mcp/servers"}`:                   "400 return_url_not_allowed",
	} {
		rec := s.api("POST", "/api/v1/links", body)
		if got := fmt.Sprint(rec.Code, " ", codeOf(rec)); got != code {
			t.Errorf("%.80s: %s, want %s", body, got, code)
		}
	}
	rec := s.api("POST", "/api/v1/links", `{"user_id":"ada","servers":["notes"],"ttl":60}`)
	id := field(t, rec, "id")
	if url := field(t, rec, "url"); !strings.HasPrefix(url, loopURL+"/l/"+id+".") {
		t.Errorf("url %s", url)
	}
	got := s.api("GET", "/api/v1/links/"+id, "")
	want(t, "get", got, 200, "")
	if strings.Contains(got.Body.String(), `"url"`) {
		t.Error("the link's secret can be read again")
	}
	want(t, "delete", s.api("DELETE", "/api/v1/links/"+id, ""), 204, "")
	want(t, "deleted", s.api("GET", "/api/v1/links/"+id, ""), 404, "link_unknown")
	want(t, "delete again", s.api("DELETE", "/api/v1/links/"+id, ""), 404, "link_unknown")
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	for path, test := range map[string]struct{ body, otherPath, otherBody, field string }{
		"/api/v1/links": {`{"user_id":"ada"}`, "/api/v1/links", `{"user_id":"grace"}`, "url"},
		"/api/v1/mcp/servers/notes/oauth/connect":     {`{"user_id":"ada"}`, "/api/v1/mcp/servers/mail/oauth/connect", `{"user_id":"ada"}`, "flow_id"},
		"/api/v1/connections/" + c.ID + "/mcp-tokens": {`{}`, "", "", "token"},
	} {
		first := s.api("POST", path, test.body, "Idempotency-Key", "once")
		again := s.api("POST", path, test.body, "Idempotency-Key", "once")
		other := s.api("POST", path, test.body, "Idempotency-Key", "twice")
		if a, b := field(t, first, test.field), field(t, again, test.field); a == "" || a != b {
			t.Errorf("%s: a repeated request was answered with something else", path)
		}
		if field(t, other, test.field) == field(t, first, test.field) {
			t.Errorf("%s: another key got the same", path)
		}
		if elsewhere := s.send("POST", path, test.body, "Idempotency-Key", "once", "Content-Type", "application/json", "Authorization", "Bearer "+otherKey); elsewhere.Code < 300 &&
			field(t, elsewhere, test.field) == field(t, first, test.field) {
			t.Errorf("%s: another tenant's key of that name got the same", path)
		}
		if test.otherPath != "" {
			want(t, "the key for another request", s.api("POST", test.otherPath, test.otherBody, "Idempotency-Key", "once"), 409, "conflict")
		}
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	seen := map[string]bool{}
	for range 5 {
		s.connected("ada", "notes")
		s.clock.advance(time.Second)
	}
	s.connected("grace", "notes")
	ada := s.signedIn("ada")
	for _, list := range []string{"/api/v1/connections", "/api/v1/audit"} {
		for bad, code := range map[string]string{"limit=0": "invalid_request", "limit=-1": "invalid_request", "limit=201": "invalid_request", "limit=x": "invalid_request",
			"limit=1e2": "invalid_request", "cursor=%00": "cursor_invalid", "cursor=not-one": "cursor_invalid"} {
			want(t, list+"?"+bad, s.api("GET", list+"?"+bad, ""), 400, code)
		}
		for _, ok := range []string{"", "limit=1", "limit=200", "limit="} {
			want(t, list+"?"+ok, s.api("GET", list+"?"+ok, ""), 200, "")
		}
	}
	cursor := ""
	for pages := 1; ; pages++ {
		rec := ada.get("/api/v1/connections?limit=2&cursor=" + cursor)
		var out struct {
			Connections []struct {
				ID     string
				UserID string `json:"user_id"`
			}
			Next string `json:"next_cursor"`
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || len(out.Connections) > 2 {
			t.Fatalf("%v %s", err, rec.Body)
		}
		for _, c := range out.Connections {
			if c.UserID != "ada" || seen[c.ID] {
				t.Errorf("%s of %s on page %d", c.ID, c.UserID, pages)
			}
			seen[c.ID] = true
		}
		if cursor = out.Next; cursor == "" {
			break
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d of 5 on all pages", len(seen))
	}
}

func TestTokenCall(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	path := "/api/v1/connections/" + c.ID + "/token"
	rec := s.api("GET", path, "")
	want(t, "token", rec, 200, "")
	if field(t, rec, "access_token") != "canary-access-"+c.ID || field(t, rec, "token_type") != "Bearer" || field(t, rec, "expires_at") == "" {
		t.Errorf("%s", rec.Body)
	}
	if rec.Header().Get("Cache-Control") != "no-store" || strings.Contains(rec.Body.String(), "canary-refresh") {
		t.Error("the answer may be stored, or tells the refresh token")
	}
	for query, code := range map[string]string{"min_ttl=-1": "400 invalid_request", "min_ttl=86401": "400 invalid_request", "min_ttl=x": "400 invalid_request",
		"name=user": "404 token_unknown", "min_ttl=0": "200 ", "min_ttl=": "200 "} {
		rec := s.api("GET", path+"?"+query, "")
		if got := fmt.Sprint(rec.Code, " ", codeOf(rec)); got != code {
			t.Errorf("%s: %s, want %s", query, got, code)
		}
	}
	want(t, "unknown", s.api("GET", "/api/v1/connections/con_none/token", ""), 404, "connection_unknown")

	// Who used it, when, for what: before the secret left.
	lines, _, err := s.store.Audit().List(t.Context(), c.Tenant, struct{ Connection, User string }{Connection: c.ID}, "", 10)
	if err != nil || len(lines) == 0 || lines[0].Actor != "api_key" || lines[0].Purpose != "token" || lines[0].UserID != "ada" {
		t.Errorf("audit %+v, %v", lines, err)
	}

	// The provider is down and the token has expired.
	s.provider.answers(503, `{"error":"temporarily_unavailable","error_description":"<script>canary"}`)
	s.clock.advance(2 * time.Hour)
	rec = s.api("GET", path, "")
	want(t, "down", rec, 503, "token_unavailable")
	if after := rec.Header().Get("Retry-After"); after == "" || after == "0" {
		t.Errorf("Retry-After %q", after)
	}
	// It is up again, and refuses for good.
	s.clock.advance(2 * time.Hour)
	s.provider.answers(400, `{"error":"invalid_grant"}`)
	want(t, "dead", s.api("GET", path, ""), 409, "reconnect_needed")
	want(t, "dead, asked again", s.api("GET", path, ""), 409, "reconnect_needed")
	if got := s.api("GET", "/api/v1/connections/"+c.ID, ""); field(t, got, "status") != "reconnect_needed" {
		t.Errorf("%s", got.Body)
	}
	s.setStatus(c, connection.Pending)
	want(t, "pending", s.api("GET", path, ""), 409, "connection_pending")
	s.setStatus(c, connection.Deleting)
	want(t, "deleting", s.api("GET", path, ""), 404, "connection_unknown")
	want(t, "deleting", s.api("GET", "/api/v1/connections/"+c.ID, ""), 404, "connection_unknown")
}

func (s *site) setStatus(c connection.Connection, status connection.Status) {
	s.t.Helper()
	if _, err := s.store.Update(s.t.Context(), c.Key, func(c *connection.Connection) error {
		c.Status = status
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c, other := s.connected("ada", "notes"), s.connected("grace", "notes")
	s.api("GET", "/api/v1/connections/"+c.ID+"/token", "")
	s.api("GET", "/api/v1/connections/"+other.ID+"/token", "")
	for query, n := range map[string]int{"": 4, "?connection_id=" + c.ID: 2, "?user_id=grace": 2, "?user_id=nobody": 0, "?limit=1": 1} {
		rec := s.api("GET", "/api/v1/audit"+query, "")
		var out struct{ Audit []vault.Line }
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || len(out.Audit) != n || out.Audit == nil {
			t.Errorf("%s: %d lines, %v", query, len(out.Audit), err)
		}
		if strings.Contains(rec.Body.String(), "canary") {
			t.Error("the audit tells a secret")
		}
	}
}

// TestMethods: what an address does not take is said with what it takes.
func TestMethods(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	for _, test := range []struct{ method, path, allow string }{
		{"PUT", "/api/v1/links", "POST"}, {"GET", "/api/v1/links", "POST"}, {"POST", "/api/v1/connections/" + c.ID, "DELETE, GET, HEAD, PATCH"},
		{"OPTIONS", "/api/v1/audit", "GET, HEAD"}, {"DELETE", "/mcp/oauth/callback", "GET, HEAD"},
	} {
		rec := s.api(test.method, test.path, "{}")
		want(t, test.method+" "+test.path, rec, 405, "method_not_allowed")
		if rec.Header().Get("Allow") != test.allow {
			t.Errorf("Allow %q, want %q", rec.Header().Get("Allow"), test.allow)
		}
		checkAnswer(t, test.path, rec)
	}
	for _, path := range []string{"/api/v1/nothing", "/api/v1/connections/" + c.ID + "/nothing", "/nothing", "/api/v1/links/", "/.well-known/nothing", "/mcp/"} {
		rec := s.api("GET", path, "")
		want(t, path, rec, 404, "not_found")
		checkAnswer(t, path, rec)
	}
	head, get := s.api("HEAD", "/api/v1/connections/"+c.ID, ""), s.api("GET", "/api/v1/connections/"+c.ID, "")
	if head.Code != get.Code || head.Header().Get("Content-Type") != get.Header().Get("Content-Type") {
		t.Errorf("HEAD %d, GET %d", head.Code, get.Code)
	}
	for _, path := range []string{"//evil.test/mcp/servers", "/\\evil.test", "/mcp/..//evil.test", "/mcp//servers", "/l/..%2f..%2f", "/%2f%2fevil.test"} {
		rec := s.send("GET", path, "")
		if to := rec.Header().Get("Location"); strings.HasPrefix(to, "//") || strings.HasPrefix(to, "/\\") || strings.Contains(to, "://") && !strings.HasPrefix(to, loopURL+"/") {
			t.Errorf("%s leads to %s", path, to)
		}
		if rec.Code >= 500 {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	ada := s.signedIn("ada")
	path := "/api/v1/connections/" + c.ID
	if rec := ada.fetch("PATCH", path, `{"label":"  work <b>  "}`); field(t, rec, "label") != "work <b>" {
		t.Errorf("%s", rec.Body)
	}
	if page := ada.get("/mcp/connections/" + c.ID); !strings.Contains(page.Body.String(), "work &lt;b&gt;") || strings.Contains(page.Body.String(), "work <b>") {
		t.Error("the label is not shown as text")
	}
	want(t, "too long", ada.fetch("PATCH", path, `{"label":"`+strings.Repeat("x", 201)+`"}`), 400, "invalid_request")
	if rec := ada.fetch("PATCH", path, `{"label":""}`); field(t, rec, "label") != "ada@demo.example" {
		t.Errorf("without a label of its own: %s", rec.Body)
	}
}

func TestServersList(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	first := s.connected("ada", "notes")
	s.clock.advance(time.Second)
	second := s.connected("ada", "notes")
	s.setStatus(first, connection.ReconnectNeeded)
	read := func(body []byte) map[string]map[string]any {
		var out struct{ Servers []map[string]any }
		if err := json.Unmarshal(body, &out); err != nil {
			t.Fatal(err)
		}
		byName := map[string]map[string]any{}
		for _, v := range out.Servers {
			byName[v["name"].(string)] = v
		}
		return byName
	}
	all := read(s.api("GET", "/api/v1/mcp/servers?user_id=ada", "").Body.Bytes())
	if n := all["notes"]; len(all) != 7 || n["connected"] != true || n["connection_id"] != second.ID || len(n["connections"].([]any)) != 2 || n["tools_count"] != 2.0 {
		t.Errorf("%v", all["notes"])
	}
	if all["unset"]["status"] != "needs_client" || all["mail"]["status"] != "available" || all["mail"]["connection_id"] != nil {
		t.Errorf("%v", all)
	}
	want(t, "a backend names the user", s.api("GET", "/api/v1/mcp/servers", ""), 400, "invalid_request")
	if few := read(s.signedIn("ada", "mail").get("/api/v1/mcp/servers").Body.Bytes()); len(few) != 1 || few["mail"] == nil {
		t.Errorf("a link for mail offers %v", few)
	}
	if rec := s.signedIn("ada").send(http.MethodHead, "/api/v1/mcp/servers", ""); rec.Code != 200 {
		t.Errorf("HEAD %d", rec.Code)
	}
}
