package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
	"github.com/lanyardhq/lanyard/internal/web"
)

// coldRuns is how often each function is started.
const coldRuns = 21

// cold is what is measured: a function, and what it is first asked.
type cold struct {
	name, function string
	event          any
}

// coldStart measures each function's start, beside that of the smallest one:
// from the start of the process until it first asks for work, and until it
// first answers. All answers but those of /healthz read the table.
func (s *stack) coldStart(ctx context.Context) error {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.inner = "http://" + inner.Addr().String()
	s.makeFunctions()
	s.makeCluster()
	s.makeAPI()
	server := &http.Server{Handler: s.innerHandler()}
	go func() { _ = server.Serve(inner) }()
	defer server.Close()
	defer s.close()
	if err := s.adopt(ctx); err != nil {
		return err
	}
	s.functions["hello"] = &lambdas.Function{Name: "hello", Bootstrap: filepath.Join(s.bin, "hello", "bootstrap"), Timeout: time.Minute, Memory: 128}
	key, err := os.ReadFile(filepath.Join(s.data, "api-key"))
	if err != nil {
		return err
	}
	get := func(path string) events.APIGatewayProxyRequest {
		return events.APIGatewayProxyRequest{HTTPMethod: "GET", Path: path, Headers: map[string]string{"Authorization": "Bearer " + string(key[:len(key)-1])},
			RequestContext: events.APIGatewayProxyRequestContext{Identity: events.APIGatewayRequestIdentity{SourceIP: "127.0.0.1"}}}
	}
	measured := []cold{{"hello", "hello", struct{}{}}}
	for _, name := range []string{web.FunctionConnect, web.FunctionCallback, web.FunctionRefresh, web.FunctionMCPRun} {
		measured = append(measured, cold{name + " /healthz", name, get("/healthz")})
	}
	measured = append(measured,
		cold{"connect, the servers", web.FunctionConnect, func() any {
			ev := get("/api/v1/mcp/servers")
			ev.QueryStringParameters = map[string]string{"user_id": "me"}
			return ev
		}()},
		cold{"refresh, a token", web.FunctionRefresh, get("/api/v1/connections/con_none/token")},
		cold{"mcprun, the tools", web.FunctionMCPRun, get("/api/v1/connections/con_none/tools")})
	// In turns, so that what else the machine does falls on all alike.
	ready, answered := map[string][]float64{}, map[string][]float64{}
	for range coldRuns {
		for _, m := range measured {
			r, a, err := s.coldOnce(ctx, m)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			ready[m.name], answered[m.name] = append(ready[m.name], r), append(answered[m.name], a)
		}
	}
	fmt.Printf("%-24s %8s  %22s  %22s\n", "median of "+fmt.Sprint(coldRuns)+" starts", "MB", "first /next, × hello", "first answer, × hello")
	for _, m := range measured {
		size := 0.0
		if info, err := os.Stat(s.functions[m.function].Bootstrap); err == nil {
			size = float64(info.Size()) / 1e6
		}
		r, a := median(ready[m.name]), median(answered[m.name])
		fmt.Printf("%-24s %8.1f  %10.1f ms %6.1f ×  %10.1f ms %6.1f ×\n", m.name, size, r, r/median(ready["hello"]), a, a/median(answered["hello"]))
	}
	return nil
}

func (s *stack) coldOnce(ctx context.Context, m cold) (ready, answered float64, err error) {
	payload, err := json.Marshal(m.event)
	if err != nil {
		return 0, 0, err
	}
	of := s.functions[m.function]
	f := &lambdas.Function{Name: of.Name, Bootstrap: of.Bootstrap, Env: of.Env, Timeout: of.Timeout, Memory: of.Memory, Concurrency: 1, Log: io.Discard}
	defer f.Close()
	if _, err := f.Call(ctx, payload); err != nil {
		return 0, 0, err
	}
	t := f.FirstTimes()[0]
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return ms(t.Ready.Sub(t.Started)), ms(t.Answered.Sub(t.Started)), nil
}

func median(all []float64) float64 {
	all = slices.Clone(all)
	slices.Sort(all)
	return all[len(all)/2]
}
