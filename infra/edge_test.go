package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/presets"
)

// TestEdgeFunction runs what CloudFront runs.
func TestEdgeFunction(t *testing.T) {
	t.Parallel()
	known, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	function := withScopes(known.Servers())
	if len(function) > 10<<10 {
		t.Errorf("it has %d bytes, of which CloudFront takes 10240", len(function))
	}
	says := &authserver.Server{BaseURL: "https://d1.cloudfront.example", Catalogue: known}
	challenge := func(path, code string) string {
		_, server, ok := says.Endpoint(path)
		if !ok {
			t.Fatalf("%s is no endpoint", path)
		}
		var scopes []string
		s, _ := known.Server(server)
		for _, sc := range s.OAuthScopes {
			scopes = append(scopes, sc.Scope)
		}
		return says.Challenge(path, code, "", scopes)
	}
	for _, test := range []struct{ uri, headers, challenge string }{
		{"/mcp/google-drive", `{}`, challenge("/mcp/google-drive", "")},
		{"/mcp/google-drive", `{"authorization":{"value":"Bearer x"}}`, challenge("/mcp/google-drive", "invalid_token")},
		{"/mcp/google-drive", `{"x-lanyard-challenge":{"value":"Basic"}}`, challenge("/mcp/google-drive", "")},
		{"/t/acme/mcp/google-drive", `{}`, challenge("/t/acme/mcp/google-drive", "")},
		{"/mcp", `{}`, challenge("/mcp", "")},
		{"/t/acme/mcp", `{"authorization":{"value":"Bearer x"}}`, challenge("/t/acme/mcp", "invalid_token")},
		{"/mcp/nothing", `{}`, `Bearer resource_metadata="https://d1.cloudfront.example/.well-known/oauth-protected-resource/mcp/nothing"`},
		{"/mcp/constructor", `{}`, `Bearer resource_metadata="https://d1.cloudfront.example/.well-known/oauth-protected-resource/mcp/constructor"`},
		{`/mcp/x", scope="y`, `{}`, ""}, {"/t/A/mcp", `{}`, ""}, {"/t/a/b/mcp", `{}`, ""}, {"/mcp/servers/x", `{}`, ""}, {"/mcpx", `{}`, ""},
		{"/api/v1/links", `{"x-lanyard-challenge":{"value":"Basic"},"x-lanyard-viewer":{"value":"10.0.0.1"}}`, ""},
	} {
		headers := strings.Replace(test.headers, "{", `{"host":{"value":"d1.cloudfront.example"},`, 1)
		headers = strings.Replace(headers, ",}", "}", 1)
		event := fmt.Sprintf(`{"viewer":{"ip":"192.0.2.7"},"request":{"method":"POST","uri":%q,"headers":%s}}`, test.uri, headers)
		out, err := exec.Command("node", "-e", function+"\nconsole.log(JSON.stringify(handler("+event+")))").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var got struct {
			Headers map[string]struct{ Value string }
			URI     string
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got.URI != test.uri || got.Headers[challengeHeader].Value != test.challenge || got.Headers[viewerHeader].Value != "192.0.2.7" {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

// TestChallenge: the header that the edge function sets is the one that a
// refusing authorizer's answer copies, and nothing else's.
func TestChallenge(t *testing.T) {
	t.Parallel()
	tpl := synth(t, shipped).service
	for _, id := range tpl.of("AWS::ApiGateway::GatewayResponse") {
		r := tpl.Resources[id]
		got := flat(r.at("ResponseParameters", "gatewayresponse.header.WWW-Authenticate"))
		if want := r.at("ResponseType") == "UNAUTHORIZED"; want != (got == "method.request.header."+challengeHeader) {
			t.Errorf("%s answers with WWW-Authenticate %q", id, got)
		}
	}
}

// TestEdge: CloudFront keeps nothing of what is dynamic, errors included, and
// proves itself to the API.
func TestEdge(t *testing.T) {
	t.Parallel()
	for _, file := range []string{shipped, full} {
		tpl := synth(t, file).service
		c := resource{Properties: tpl.Resources[tpl.of("AWS::CloudFront::Distribution")[0]].at("DistributionConfig").(map[string]any)}
		const cachingDisabled, allButHost = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "b689b0a8-53d0-40ab-baf2-68738e2966ac" // AWS's own policies
		if c.at("DefaultCacheBehavior", "CachePolicyId") != cachingDisabled || c.at("DefaultCacheBehavior", "OriginRequestPolicyId") != allButHost {
			t.Errorf("%s: %v", file, c.at("DefaultCacheBehavior"))
		}
		for _, e := range c.at("CustomErrorResponses").([]any) {
			if m := e.(map[string]any); flat(m["ErrorCachingMinTTL"]) != "0" || m["ResponsePagePath"] != nil {
				t.Errorf("%s: %v", file, m)
			}
		}
		origin := c.at("Origins").([]any)[0].(map[string]any)
		header := origin["OriginCustomHeaders"].([]any)[0].(map[string]any)
		if origin["OriginPath"] != "/"+stage || header["HeaderName"] != originHeader || !strings.HasSuffix(flat(header["HeaderValue"]), "/origin:SecretString}}") {
			t.Errorf("%s: %v", file, origin)
		}
		key := tpl.Resources[tpl.of("AWS::ApiGateway::ApiKey")[0]]
		if key.at("Value") != header["HeaderValue"] {
			t.Errorf("%s: CloudFront sends another key than the API wants", file)
		}
		aliases := flat(c.at("Aliases"))
		if want := synth(t, file).settings.Domain; aliases != want {
			t.Errorf("%s: names %q, not %q", file, aliases, want)
		}
	}
}

// TestAccessLog holds neither path nor query: links, codes and states are in them.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	tpl := synth(t, shipped).service
	s := tpl.Resources[tpl.of("AWS::ApiGateway::Stage")[0]]
	format := flat(s.at("AccessLogSetting", "Format"))
	for _, bad := range []string{"$context.path", "$context.customDomain", "querystring", "header", "authorizer.", "identity.apiKey"} {
		if strings.Contains(format, bad) {
			t.Errorf("the access log has %s: %s", bad, format)
		}
	}
	for _, m := range s.at("MethodSettings").([]any) {
		if m := m.(map[string]any); m["DataTraceEnabled"] != false || m["LoggingLevel"] != "OFF" {
			t.Errorf("execution logs hold whole requests: %v", m)
		}
	}
}
