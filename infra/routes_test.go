package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/web"
)

// TestRoutes: method, path, function, who tells the caller, CloudFront's key,
// and whether the answer is streamed.
func TestRoutes(t *testing.T) {
	t.Parallel()
	tpl := synth(t, shipped).service
	var lines []string
	for _, id := range tpl.of("AWS::ApiGateway::Method") {
		m := tpl.Resources[id]
		uri := flat(m.at("Integration", "Uri"))
		function := uri[strings.Index(uri, "functions/${")+len("functions/${"):]
		function = strings.ToLower(function[:strings.Index(function, ".")])
		auth := flat(m.at("AuthorizationType"))
		if a := flat(m.at("AuthorizerId")); a != "" {
			auth += " " + a
		}
		mode := "buffered"
		if m.at("Integration", "ResponseTransferMode") == "STREAM" {
			mode = "STREAM " + flat(m.at("Integration", "TimeoutInMillis")) + " ms"
			if !strings.Contains(uri, "/response-streaming-invocations") {
				t.Errorf("%s streams from %s", id, uri)
			}
		}
		key := "key"
		if m.at("ApiKeyRequired") != true {
			key = "no key"
		}
		lines = append(lines, fmt.Sprintf("%-6s %-58s %-9s %-16s %-7s %s", flat(m.at("HttpMethod")), tpl.path(m.at("ResourceId")), function, auth, key, mode))
	}
	sort.Slice(lines, func(i, j int) bool { return lines[i][7:] < lines[j][7:] })
	golden(t, "routes.txt", lines)
	if got := flat(tpl.Resources[tpl.of("AWS::ApiGateway::Authorizer")[0]].at("AuthorizerResultTtlInSeconds")); got != "0" {
		t.Errorf("the authorizer's answers are kept for %q seconds", got)
	}
}

// TestRemoteRoutes: the endpoint of a remote server, and no other route, leads to
// mcpremote, which has a way out, no network of ours and no rights on tasks.
func TestRemoteRoutes(t *testing.T) {
	t.Parallel()
	to := func(servers ...string) (out []string) {
		for _, name := range servers {
			out = append(out, "ANY /mcp/"+name+" CUSTOM STREAM")
		}
		for _, name := range servers {
			out = append(out, "ANY /t/{tenant}/mcp/"+name+" CUSTOM STREAM")
		}
		return out
	}
	for file, want := range map[string][]string{shipped: to("linear-remote", "notion-remote", "sentry-remote", "stripe-remote"), full: to("tracker")} {
		a := synth(t, file)
		var got []string
		for _, id := range a.service.of("AWS::ApiGateway::Method") {
			m := a.service.Resources[id]
			if strings.Contains(flat(m.at("Integration", "Uri")), "${Mcpremote.") {
				got = append(got, fmt.Sprint(flat(m.at("HttpMethod")), " ", a.service.path(m.at("ResourceId")), " ", m.at("AuthorizationType"), " ", m.at("Integration", "ResponseTransferMode")))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", file, got, want)
		}
		for _, id := range a.service.of("AWS::Lambda::Function") {
			if f := a.service.Resources[id]; flat(f.at("FunctionName")) == a.settings.Name+"-mcpremote" && f.at("VpcConfig") != nil {
				t.Errorf("%s: it is in a network", file)
			}
		}
		for _, s := range allStatements(a) {
			for _, action := range s.actions {
				if s.holder == "McpremoteRole" && (strings.HasPrefix(action, "ecs:") || strings.HasPrefix(action, "ec2:") || strings.HasPrefix(action, "iam:") || strings.HasPrefix(action, "kms:")) {
					t.Errorf("%s: it may %s", file, action)
				}
			}
		}
	}
}

// path is the whole path of a resource of the API.
func (t template) path(id any) string {
	m, _ := id.(map[string]any)
	ref, ok := m["Ref"].(string)
	if !ok {
		return "/"
	}
	r := t.Resources[ref]
	return strings.TrimSuffix(t.path(r.at("ParentId")), "/") + "/" + flat(r.at("PathPart"))
}

// TestRoutesReachTheirHandlers: every route that internal/web mounts goes to the
// function that mounts it.
func TestRoutesReachTheirHandlers(t *testing.T) {
	t.Parallel()
	mounted := mountedPatterns(t)
	if len(mounted) < 35 {
		t.Fatalf("only %d routes were found", len(mounted))
	}
	for pattern, function := range mounted {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = http.MethodPost, pattern
		}
		path = strings.TrimSuffix(path, "{$}")
		if got := routed(method, strings.NewReplacer("{", "", "}", "").Replace(path)); got != function {
			t.Errorf("%s is mounted by %s and goes to %q", pattern, function, got)
		}
	}
}

// routed is which function API Gateway gives a request to: the resource that
// fits best, segment by segment, and of it the method or ANY. A resource of the
// tree that no route names answers 404, where API Gateway may look further.
func routed(method, path string) string {
	segments := func(p string) []string { return strings.Split(strings.Trim(p, "/"), "/") }
	candidates := web.Routes()
	want := segments(path)
	for i, s := range want {
		var literal, parameter []web.Route
		for _, r := range candidates {
			if have := segments(r.Path); i < len(have) {
				switch {
				case have[i] == s:
					literal = append(literal, r)
				case strings.HasPrefix(have[i], "{") && have[i] != "{proxy+}":
					parameter = append(parameter, r)
				}
			}
		}
		if candidates = literal; len(literal) == 0 {
			candidates = parameter
		}
		if i == 0 && len(candidates) == 0 {
			return connect // {proxy+}
		}
	}
	any := ""
	for _, r := range candidates {
		if len(segments(r.Path)) != len(want) {
			continue
		}
		if r.Method == method {
			return r.Function
		}
		if r.Method == "ANY" {
			any = r.Function
		}
	}
	return any
}

// mountedPatterns reads the patterns of the Mount methods of internal/web, by
// the function that mounts them.
func mountedPatterns(t *testing.T) map[string]string {
	t.Helper()
	known := map[string]string{"flow.CallbackPath": flow.CallbackPath, "signin.BeginPath": signin.BeginPath, "signin.CallbackPath": signin.CallbackPath,
		"task.ClaimPath": task.ClaimPath, "task.TokenPath": task.TokenPath, "task.ReportPath": task.ReportPath, "task.WarmPath": task.WarmPath}
	functions := map[string]string{"Connect": connect, "Callback": callback, "Refresh": refresh, "MCPRun": mcprun}
	var text func(e ast.Expr) string
	text = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, _ := strconv.Unquote(e.Value)
			return s
		case *ast.BinaryExpr:
			return text(e.X) + text(e.Y)
		case *ast.SelectorExpr:
			name := fmt.Sprint(e.X) + "." + e.Sel.Name
			if known[name] == "" {
				t.Errorf("a pattern holds %s, which this test does not know", name)
			}
			return known[name]
		}
		t.Errorf("a pattern is a %T, which this test does not know", e)
		return ""
	}
	out := map[string]string{}
	files, err := filepath.Glob("../internal/web/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil {
				continue
			}
			receiver := strings.TrimPrefix(fmt.Sprint(f.Recv.List[0].Type), "*")
			if star, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
				receiver = fmt.Sprint(star.X)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 2 {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || fmt.Sprint(sel.X) != "mux" || sel.Sel.Name != "HandleFunc" && sel.Sel.Name != "Handle" {
					return true
				}
				if functions[receiver] == "" {
					t.Errorf("%s: %s mounts routes and is no function that is known", file, receiver)
				}
				out[text(call.Args[0])] = functions[receiver]
				return true
			})
		}
	}
	return out
}
