// Command stack is a deployment on this machine, for tests: the real functions,
// each a process under Lambda's Runtime API, behind what stands for CloudFront,
// API Gateway, EventBridge Scheduler, SQS's poller and ECS, on an emulator of
// the services that keep something. It is to a deployment what "lanyard dev" is
// to one machine, and is started like it: by the environment.
//
//	LANYARD_ADDR, LANYARD_BASE_URL      where the edge listens, and its URL
//	LANYARD_DATA                        the first API key, the webhooks' secret; at the end, all that is kept
//	LANYARD_PRESETS, LANYARD_CONFIRM, LANYARD_RETURN_URLS, LANYARD_START_ON, LANYARD_IDLE_STOP, LANYARD_MAX_LIFE, LANYARD_WARM_POOL, LANYARD_VAULT_STORE
//	LANYARD_WEBHOOK_URL, LANYARD_WEBHOOK_RETURN_URL
//	ENGINE_CLIENT_ID, …                 clients at providers; empty: none any more
//	STACK_NAME                          what everything's name begins with
//	STACK_BIN                           NAME/bootstrap of each function, and runner
//	STACK_LISTEN                        where everything but the edge listens
//	LANYARD_TEST_AWS                    the emulator; scripts/emulators.sh starts one
//
// "stack coldstart" measures how long the functions take to start.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/lanyardhq/lanyard/e2e/stack/fargate"
	"github.com/lanyardhq/lanyard/e2e/stack/front"
	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
	"github.com/lanyardhq/lanyard/e2e/stack/sigv4"
	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/presets"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(1)
	}
}

// stack is everything of a deployment.
type stack struct {
	name, bin, data string
	cfg             config.Config
	aws             aws.Config // ours, as the operator
	endpoint        string
	res             *resources
	catalogue       *presets.Catalogue
	keys            sigv4.Keys
	functions       map[string]*lambdas.Function
	cluster         *fargate.Cluster
	api             *front.API
	inner           string // URL of everything but the edge
	log             io.Writer
	cfn             chan string  // what CloudFormation was told
	unpullable      atomic.Value // the server whose image is not there
}

func run(ctx context.Context) error {
	cfg, err := config.Load(os.Getenv)
	if err != nil {
		return err
	}
	s := &stack{cfg: cfg, name: os.Getenv("STACK_NAME"), bin: os.Getenv("STACK_BIN"), data: cfg.DataDir, log: &synced{to: os.Stdout},
		endpoint: os.Getenv("LANYARD_TEST_AWS"), cfn: make(chan string, 1), functions: map[string]*lambdas.Function{}}
	if s.name == "" || s.bin == "" || s.endpoint == "" {
		return errors.New("STACK_NAME, STACK_BIN and LANYARD_TEST_AWS are needed")
	}
	if s.catalogue, err = presets.Load(cfg.Presets); err != nil {
		return err
	}
	s.aws = aws.Config{Region: lambdas.Region, BaseEndpoint: &s.endpoint, Credentials: credentials.NewStaticCredentialsProvider("operator", "operator", "")}
	if s.res, err = s.makeResources(ctx); err != nil {
		return err
	}
	if len(os.Args) > 1 && os.Args[1] == "coldstart" {
		return s.coldStart(ctx)
	}
	listen := os.Getenv("STACK_LISTEN")
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	inner, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	s.inner = "http://" + inner.Addr().String()
	s.makeFunctions()
	s.makeCluster()
	s.makeAPI()
	innerServer := &http.Server{Handler: s.innerHandler()}
	go func() { _ = innerServer.Serve(inner) }()
	defer innerServer.Close()
	defer s.close()
	if err := s.adopt(ctx); err != nil {
		return err
	}
	edge, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return err
	}
	edgeServer := &http.Server{Handler: front.Edge{API: s.api, SignIn: &authserver.Server{BaseURL: cfg.BaseURL, Catalogue: s.catalogue}}}
	go func() { _ = edgeServer.Serve(edge) }()
	defer edgeServer.Close()
	var background sync.WaitGroup
	background.Go(func() { s.schedule(ctx) })
	background.Go(func() { s.poll(ctx) })
	fmt.Fprintf(s.log, "stack | ready at %s; everything else at %s\n", cfg.BaseURL, s.inner)
	<-ctx.Done()
	background.Wait()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	_ = edgeServer.Close()
	return s.dump(end)
}

func (s *stack) close() {
	s.cluster.Close()
	var all sync.WaitGroup
	for _, f := range s.functions {
		all.Go(f.Close)
	}
	all.Wait()
}

// synced is written to by many.
type synced struct {
	mu sync.Mutex
	to io.Writer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to.Write(p)
}
