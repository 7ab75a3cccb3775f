package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/e2e/stack/fargate"
	"github.com/lanyardhq/lanyard/e2e/stack/front"
	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
	"github.com/lanyardhq/lanyard/internal/web"
)

// stage is in the paths of the API's own address.
const stage = "live"

const authorizer = "authorizer"

func principal(function string) string {
	return "arn:aws:sts::" + lambdas.Account + ":assumed-role/" + function + "/" + function
}

// makeFunctions deploys the functions, with the settings that infra gives them.
func (s *stack) makeFunctions() {
	vault := map[string]string{"LANYARD_KMS_KEY": s.res.keyARN, "LANYARD_SECRETS": s.name, "LANYARD_VAULT_STORE": os.Getenv("LANYARD_VAULT_STORE")}
	pool := map[string]string{}
	if v := os.Getenv("LANYARD_WARM_POOL"); v != "" {
		pool["LANYARD_WARM_POOL"] = v // as infra: none, and it is not set
	}
	for _, f := range []struct {
		name, program string
		timeout       time.Duration
		memory        int
		env           []map[string]string
	}{
		{web.FunctionConnect, web.FunctionConnect, 28 * time.Second, 256, nil},
		{web.FunctionCallback, web.FunctionCallback, 2 * time.Minute, 256, []map[string]string{vault}},
		{web.FunctionRefresh, web.FunctionRefresh, 2 * time.Minute, 512, []map[string]string{vault, {"LANYARD_QUEUE_URL": s.res.queueURL, "LANYARD_KEEP_FRESH": "168h"}}},
		{web.FunctionMCPRun, web.FunctionMCPRun, 15 * time.Minute, 256, []map[string]string{{
			"LANYARD_SECRETS": s.name, "LANYARD_REFRESH_FUNCTION": web.FunctionRefresh, "LANYARD_REMOTE_FUNCTION": web.FunctionMCPRemote, "LANYARD_CONTROL_URL": s.inner + "/" + stage,
			"LANYARD_CLUSTER": s.name, "LANYARD_SUBNETS": "subnet-1,subnet-2", "LANYARD_TASK_SECURITY_GROUP": "sg-1", "LANYARD_TASK_FAMILY": s.name,
			"LANYARD_START_ON": os.Getenv("LANYARD_START_ON"), "LANYARD_IDLE_STOP": os.Getenv("LANYARD_IDLE_STOP"), "LANYARD_MAX_LIFE": os.Getenv("LANYARD_MAX_LIFE"), "AWS_ENDPOINT_URL_ECS": s.inner, "AWS_ENDPOINT_URL_LAMBDA": s.inner,
		}, pool}},
		{web.FunctionMCPRemote, web.FunctionMCPRun, 15 * time.Minute, 256, []map[string]string{{
			"LANYARD_SECRETS": s.name, "LANYARD_REFRESH_FUNCTION": web.FunctionRefresh, "AWS_ENDPOINT_URL_LAMBDA": s.inner,
		}}},
		{authorizer, web.FunctionMCPRun, 10 * time.Second, 256, nil},
	} {
		k := s.keys.Issue(principal(f.name))
		env := map[string]string{
			"AWS_REGION": lambdas.Region, "AWS_DEFAULT_REGION": lambdas.Region, "AWS_ACCESS_KEY_ID": k.AccessKeyID,
			"AWS_SECRET_ACCESS_KEY": k.SecretAccessKey, "AWS_SESSION_TOKEN": k.SessionToken, "AWS_ENDPOINT_URL": s.endpoint,
			"LANYARD_BASE_URL": s.cfg.BaseURL, "LANYARD_TABLE": s.name, "LANYARD_PRESETS": strings.Join(s.cfg.Presets, ":"),
		}
		for _, more := range f.env {
			maps.Copy(env, more)
		}
		s.functions[f.name] = &lambdas.Function{Name: f.name, Bootstrap: filepath.Join(s.bin, f.program, "bootstrap"), Env: env,
			Timeout: f.timeout, Memory: f.memory, Concurrency: 10, Log: s.log}
	}
}

func (s *stack) makeCluster() {
	s.cluster = &fargate.Cluster{Name: s.name, Family: s.name, Container: "runner", Command: []string{filepath.Join(s.bin, "runner", "runner")},
		Env: []string{"PATH=" + os.Getenv("PATH")}, URL: s.inner, Allowed: principal(web.FunctionMCPRun), Keys: &s.keys, Log: s.log, StopGrace: 30 * time.Second}
	s.cluster.Ended = s.taskEnded
	s.cluster.NoImage = func(server string) bool { return s.unpullable.Load() == server }
	for _, server := range s.catalogue.Servers() {
		if !server.Remote() {
			s.cluster.Servers = append(s.cluster.Servers, server.Name)
		}
	}
}

func (s *stack) makeAPI() {
	behind := map[string]front.Function{}
	for name, f := range s.functions {
		behind[name] = f
	}
	role := ":assumed-role/" + s.name + "-task-"
	var remotes []string
	for _, server := range s.catalogue.Servers() {
		if server.Remote() {
			remotes = append(remotes, server.Name)
		}
	}
	s.api = front.New(front.API{Routes: web.Routes(remotes...), Stage: stage, OriginKey: s.res.originKey, Functions: behind, Authorizer: s.functions[authorizer], Log: s.log,
		Signer: func(r *http.Request) (string, error) {
			arn, err := s.keys.Who(r, "execute-api")
			if err == nil && !strings.Contains(arn, role) {
				err = fmt.Errorf("%s may not call this", arn)
			}
			return arn, err
		}})
}

// innerHandler is everything that listens but the edge.
func (s *stack) innerHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/"+stage+"/", s.api)
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", s.invoke)
	mux.HandleFunc("PUT /cloudformation", func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.cfn <- string(body)
	})
	mux.HandleFunc("POST /test/expire", s.expire)
	mux.HandleFunc("POST /test/no-image", s.noImage)
	mux.HandleFunc("POST /test/sweep", func(w http.ResponseWriter, r *http.Request) { s.sweep(r.Context()) })
	mux.Handle("/", s.cluster)
	return mux
}

// invoke is Lambda's Invoke: mcprun may call refresh and mcpremote, which may call
// refresh, and nobody else anybody.
func (s *stack) invoke(w http.ResponseWriter, r *http.Request) {
	arn, err := s.keys.Who(r, "lambda")
	name := lambdas.NameOf(r.PathValue("name"))
	ofRun, ofRemote := arn == principal(web.FunctionMCPRun), arn == principal(web.FunctionMCPRemote)
	if err != nil || !(ofRun && (name == web.FunctionRefresh || name == web.FunctionMCPRemote) || ofRemote && name == web.FunctionRefresh) {
		fmt.Fprintf(s.log, "lambda | refused %s: %v\n", arn, err)
		w.Header().Set("X-Amzn-Errortype", "AccessDeniedException")
		w.WriteHeader(http.StatusForbidden)
		return
	}
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	out, err := s.functions[name].Call(context.WithoutCancel(r.Context()), payload)
	var failed *lambdas.FunctionError
	if errors.As(err, &failed) {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		out = failed.Payload
	}
	_, _ = w.Write(out)
}

// taskEnded is EventBridge's rule for tasks: Lambda invokes the function by
// itself, and twice more if that fails.
func (s *stack) taskEnded(event []byte) {
	for try := range 3 {
		_, err := s.functions[web.FunctionMCPRun].Call(context.Background(), event)
		if err == nil {
			return
		}
		fmt.Fprintf(s.log, "events | try %d: %v\n", try+1, err)
	}
}

// noImage takes the image of a server away, or gives it back.
func (s *stack) noImage(_ http.ResponseWriter, r *http.Request) {
	s.unpullable.Store(r.URL.Query().Get("server"))
}

// adopt is what CloudFormation does last: it has refresh take the first API key.
func (s *stack) adopt(ctx context.Context) error {
	event, err := json.Marshal(map[string]any{"RequestType": "Create", "StackId": "arn:aws:cloudformation:" + lambdas.Region + ":" + lambdas.Account + ":stack/" + s.name + "/1",
		"RequestId": "1", "ResourceType": "Custom::FirstKey", "LogicalResourceId": "FirstKey", "ResponseURL": s.inner + "/cloudformation"})
	if err != nil {
		return err
	}
	if _, err := s.functions[web.FunctionRefresh].Call(ctx, event); err != nil {
		return err
	}
	select {
	case said := <-s.cfn:
		if !strings.Contains(said, `"SUCCESS"`) {
			return fmt.Errorf("the first API key was not taken: %s", said)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
