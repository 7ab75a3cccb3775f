package main

import (
	"strings"
	"testing"
)

// matches evaluates a statement of the WAF for a request.
func matches(t *testing.T, statement any, path string, headers map[string]string) bool {
	t.Helper()
	s := resource{Properties: statement.(map[string]any)}
	switch {
	case s.at("AndStatement") != nil:
		for _, x := range s.at("AndStatement", "Statements").([]any) {
			if !matches(t, x, path, headers) {
				return false
			}
		}
		return true
	case s.at("NotStatement") != nil:
		return !matches(t, s.at("NotStatement", "Statement"), path, headers)
	case s.at("SizeConstraintStatement", "ComparisonOperator") == "GT":
		header, there := headers[flat(s.at("SizeConstraintStatement", "FieldToMatch", "SingleHeader", "Name"))]
		return there && float64(len(header)) > s.at("SizeConstraintStatement", "Size").(float64)
	case s.at("ByteMatchStatement", "PositionalConstraint") == "STARTS_WITH" && s.at("ByteMatchStatement", "FieldToMatch", "UriPath") != nil:
		return strings.HasPrefix(path, flat(s.at("ByteMatchStatement", "SearchString")))
	}
	t.Fatalf("a statement that this test does not understand: %v", statement)
	return false
}

// TestFirewall: what comes past CloudFront, and would be counted for no viewer,
// is refused, and tasks are not.
func TestFirewall(t *testing.T) {
	t.Parallel()
	tpl := synth(t, full).service
	rules := map[string]map[string]any{}
	for _, x := range tpl.Resources[tpl.of("AWS::WAFv2::WebACL")[0]].at("Rules").([]any) {
		rule := x.(map[string]any)
		rules[flat(rule["Name"])] = rule
	}
	past, each := rules["past-the-edge"], rules["each-viewer"]
	if past == nil || each == nil || past["Priority"].(float64) >= each["Priority"].(float64) {
		t.Fatalf("%v", rules)
	}
	for _, rule := range []map[string]any{past, each} {
		if action := rule["Action"].(map[string]any); action["Block"] == nil {
			t.Errorf("%v", rule)
		}
	}
	keys := resource{Properties: each["Statement"].(map[string]any)}.at("RateBasedStatement", "CustomKeys").([]any)
	if got := (resource{Properties: keys[0].(map[string]any)}).at("Header", "Name"); len(keys) != 1 || got != viewerHeader {
		t.Errorf("counted by %v", keys)
	}
	viewer := map[string]string{viewerHeader: "192.0.2.7"}
	for _, test := range []struct {
		path    string
		headers map[string]string
		refused bool
	}{
		{"/live/mcp/slack", viewer, false},
		{"/live/mcp/slack", nil, true},
		{"/live/mcp/slack", map[string]string{viewerHeader: ""}, true},
		{"/live/tasks", nil, true},
		{"/live/api/tasks/v1/claim", nil, true},
		{"/tasks/v1/claim", nil, true},
	} {
		if got := matches(t, past["Statement"], test.path, test.headers); got != test.refused {
			t.Errorf("%+v: refused %v", test, got)
		}
	}
	for _, r := range taskRoutes() {
		_, path, _ := strings.Cut(r, "/")
		if matches(t, past["Statement"], "/"+stage+"/"+path, nil) {
			t.Errorf("a task's call of %s is refused", r)
		}
	}
}
