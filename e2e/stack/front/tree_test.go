package front

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/web"
	"github.com/lanyardhq/lanyard/presets"
)

// mounted finds the patterns in the source of what mounts them: a mux does not
// list its own.
var mounted = regexp.MustCompile(`mux\.Handle(?:Func)?\("([^"]*)"(?:\+([\w.]+))?, `)

// TestRoutesFitHandlers: whatever a function mounts, the API sends to it.
func TestRoutesFitHandlers(t *testing.T) {
	t.Parallel()
	constants := map[string]string{"": "", "flow.CallbackPath": flow.CallbackPath, "signin.BeginPath": signin.BeginPath, "signin.CallbackPath": signin.CallbackPath, "task.ClaimPath": task.ClaimPath,
		"task.TokenPath": task.TokenPath, "task.ReportPath": task.ReportPath, "task.WarmPath": task.WarmPath}
	root := tree(web.Routes())
	checked := 0
	for file, function := range map[string]string{"connect.go": "connect", "connectpages.go": "connect", "oauth.go": "connect", "signin.go": "connect", "callback.go": "callback",
		"refresh.go": "refresh", "mcprun.go": "mcprun", "mcprunpages.go": "mcprun", "all.go": "mcprun", "clients.go": "mcprun"} {
		source, err := os.ReadFile("../../../internal/web/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mounted.FindAllStringSubmatch(string(source), -1) {
			constant, known := constants[m[2]]
			if !known {
				t.Fatalf("%s: %s is a constant that this test does not know", file, m[2])
			}
			pattern := m[1] + constant
			method, path, ok := strings.Cut(pattern, " ")
			if !ok {
				method, path = "POST", pattern
			}
			path = strings.ReplaceAll(path, "{$}", "")
			if strings.HasSuffix(path, "/") && path != "/" {
				path += "some/file.css"
			}
			// A name that no literal has.
			path = regexp.MustCompile(`\{\w+(\.\.\.)?\}`).ReplaceAllString(path, "x-1")
			n, _ := root.find(path)
			r, ok := n.route(method)
			if !ok || r.Function != function {
				t.Errorf("%s %s goes to %q, and %s serves it", method, path, r.Function, function)
			}
			checked++
		}
	}
	if checked < 35 {
		t.Errorf("only %d patterns were found", checked)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	root := tree(web.Routes())
	for _, c := range []struct{ path, resource, params string }{
		{"/", "/", ""},
		{"/static/app.js", "/{proxy+}", "static/app.js"},
		{"/healthz", "/{proxy+}", "healthz"},
		{"/mcp/servers", "/mcp/servers", ""},
		{"/mcp/notes", "/mcp/{server}", "notes"},
		{"/mcp/a%2Fb", "/mcp/{server}", "a/b"},
		{"/mcp/notes/more", "", ""}, // not gone back on
		{"/mcp", "/mcp", ""},        // a resource without a method
		{"/api/v1/connections/con_1/tools/a%20b", "/api/v1/connections/{id}/tools/{tool}", "con_1 a b"},
	} {
		n, params := root.find(c.path)
		got, values := "", ""
		if n != nil {
			got = n.path
			for _, name := range []string{"proxy", "server", "id", "tool"} {
				values = strings.TrimSpace(values + " " + params[name])
			}
		}
		if got != c.resource || values != c.params {
			t.Errorf("%s: %s %s", c.path, got, values)
		}
	}
	if n, _ := root.find("/api/v1"); n != nil {
		if _, ok := n.route("GET"); ok {
			t.Error("/api/v1 has a method")
		}
	}
	n, _ := root.find("/api/v1/connections/con_1")
	if r, _ := n.route("DELETE"); r.Function != "refresh" {
		t.Errorf("%+v", r)
	}
	if r, _ := n.route("PATCH"); r.Function != "connect" {
		t.Errorf("%+v", r)
	}
}

// TestRoutesAreTheDeployments: what is played here is what infra deploys, by
// the golden file of its synthesized template.
func TestRoutesAreTheDeployments(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("../../../infra/testdata/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	deployed := map[string]bool{}
	for line := range strings.Lines(string(golden)) {
		f := strings.Fields(line) // method path function authorization …
		if len(f) < 4 {
			t.Fatalf("%q is no route", line)
		}
		auth := map[string]string{"NONE": web.AuthApp, "CUSTOM": web.AuthBearer, "AWS_IAM": web.AuthIAM}[f[3]]
		deployed[strings.Join([]string{f[0], f[1], f[2], auth}, " ")] = true
		if streams := strings.Contains(line, "STREAM"); streams != (f[2] == web.FunctionMCPRun || f[2] == web.FunctionMCPRemote) {
			t.Errorf("%s: streamed %v", line, streams)
		}
		if keyed := !strings.Contains(line, "no key"); keyed != (auth != web.AuthIAM) {
			t.Errorf("%s: wants CloudFront's key: %v", line, keyed)
		}
	}
	catalogue, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	var remote []string
	for _, s := range catalogue.Servers() {
		if s.Remote() {
			remote = append(remote, s.Name)
		}
	}
	for _, r := range web.Routes(remote...) {
		route := strings.Join([]string{r.Method, r.Path, r.Function, r.Auth}, " ")
		if !deployed[route] {
			t.Errorf("not deployed: %s", route)
		}
		delete(deployed, route)
	}
	for route := range deployed {
		t.Errorf("not played: %s", route)
	}
}
