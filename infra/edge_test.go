package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestEdgeFunction runs what CloudFront runs.
func TestEdgeFunction(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ uri, headers, challenge string }{
		{"/mcp/slack", `{}`, `Bearer realm="lanyard"`},
		{"/mcp/slack", `{"authorization":{"value":"Bearer x"}}`, `Bearer realm="lanyard", error="invalid_token"`},
		{"/mcp/slack", `{"x-lanyard-challenge":{"value":"Basic"}}`, `Bearer realm="lanyard"`},
		{"/api/v1/links", `{"x-lanyard-challenge":{"value":"Basic"},"x-lanyard-viewer":{"value":"10.0.0.1"}}`, ""},
	} {
		event := fmt.Sprintf(`{"viewer":{"ip":"192.0.2.7"},"request":{"method":"POST","uri":%q,"headers":%s}}`, test.uri, test.headers)
		out, err := exec.Command("node", "-e", edgeFunction+"\nconsole.log(JSON.stringify(handler("+event+")))").CombinedOutput()
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
