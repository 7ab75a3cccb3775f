package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"

	"github.com/lanyardhq/lanyard/internal/runner"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	// taskPort is where a task serves, within its own network interface.
	taskPort = "8443"
	// nobody is who the MCP server runs as in a task's container, where the
	// runner is root: it cannot look into the runner, whose environment has the
	// way to the task role's credentials.
	nobody = 65534
	// controlTimeout leaves a slow provider time to renew a token.
	controlTimeout = time.Minute
	metadataLimit  = 1 << 20
)

// onECS reports whether this process was started as an ECS task.
func onECS(getenv func(string) string) bool { return getenv("LANYARD_TASK_ID") != "" }

// ecsTask is the task that the environment describes:
//
//	LANYARD_TASK_ID, LANYARD_TICKET, LANYARD_CONTROL_URL   overrides of RunTask
//	LANYARD_WARM=1 instead of the ticket, which comes later
//	AWS_CONTAINER_CREDENTIALS_…, AWS_CONTAINER_AUTHORIZATION_TOKEN,
//	ECS_CONTAINER_METADATA_URI_V4, AWS_REGION              set by ECS
//
// The ticket is worth nothing to others: it works once, and for the task whose
// role signs the claim.
func ecsTask(ctx context.Context, getenv func(string) string, logger *slog.Logger) (runner.Config, error) {
	cfg := runner.Config{TaskID: getenv("LANYARD_TASK_ID"), Ticket: token.Secret(getenv("LANYARD_TICKET")), Logger: logger}
	control, err := url.Parse(getenv("LANYARD_CONTROL_URL"))
	if err != nil || control.Host == "" || control.Scheme != "https" && !loopback(control.Hostname()) {
		return cfg, errors.New("LANYARD_CONTROL_URL must be an https URL")
	}
	warm := getenv("LANYARD_WARM") == "1"
	if cfg.Ticket == "" && !warm {
		return cfg, errors.New("LANYARD_TICKET is not set")
	}
	region := regionOf(control.Hostname(), getenv("AWS_REGION"))
	if region == "" {
		return cfg, errors.New("AWS_REGION is not set, and LANYARD_CONTROL_URL does not tell the region")
	}
	role, err := roleCredentials(getenv)
	if err != nil {
		return cfg, err
	}
	host, err := ownAddress(ctx, getenv("ECS_CONTAINER_METADATA_URI_V4"))
	if err != nil {
		return cfg, err
	}
	cfg.Advertise, cfg.Listen = host, net.JoinHostPort(host, taskPort)
	if loopback(host) {
		cfg.Listen = net.JoinHostPort(host, "0") // shared with others
	}
	if os.Geteuid() == 0 {
		cfg.UID, cfg.GID = nobody, nobody
	}
	line := &task.HTTPControl{
		URL:    control.String(),
		Client: &http.Client{Timeout: controlTimeout, Transport: &http.Transport{ResponseHeaderTimeout: controlTimeout}},
		Sign:   signer(role, region),
	}
	cfg.Control = line
	if warm {
		cfg.Ticket, cfg.Register = "", line.Register
	}
	return cfg, nil
}

// loopback reports whether a host is this machine alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// signer signs a control call with the task's role (SigV4, execute-api).
func signer(role aws.CredentialsProvider, region string) func(*http.Request, []byte) error {
	s := v4.NewSigner()
	return func(r *http.Request, body []byte) error {
		c, err := role.Retrieve(r.Context())
		if err != nil {
			return fmt.Errorf("get the task role's credentials: %w", err)
		}
		sum := sha256.Sum256(body)
		return s.SignHTTP(r.Context(), c, r, hex.EncodeToString(sum[:]), "execute-api", region, time.Now())
	}
}

// regionOf is the region of an execute-api host, else the one given.
func regionOf(host, otherwise string) string {
	if labels := strings.Split(host, "."); len(labels) > 3 && labels[1] == "execute-api" {
		return labels[2]
	}
	return otherwise
}

// roleCredentials are the task role's, from the endpoint that ECS keeps for the
// task.
func roleCredentials(getenv func(string) string) (aws.CredentialsProvider, error) {
	endpoint := getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if path := getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		endpoint = "http://169.254.170.2" + path
	}
	if endpoint == "" {
		return nil, errors.New("this task has no role: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set")
	}
	return aws.NewCredentialsCache(endpointcreds.New(endpoint, func(o *endpointcreds.Options) {
		o.AuthorizationToken = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
		o.HTTPClient = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}} // never through a proxy
	})), nil
}

// ownAddress is the private address of the task, by the metadata that ECS keeps
// for its container.
func ownAddress(ctx context.Context, metadata string) (string, error) {
	if metadata == "" {
		return "", errors.New("ECS_CONTAINER_METADATA_URI_V4 is not set")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, metadata, nil)
	if err != nil {
		return "", fmt.Errorf("ask for the task's address: %w", err)
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}).Do(req)
	if err != nil {
		return "", fmt.Errorf("ask for the task's address: %w", err)
	}
	defer resp.Body.Close()
	var out struct {
		Networks []struct {
			IPv4Addresses []string
		}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, metadataLimit)).Decode(&out); err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask for the task's address: the metadata answered %d and no container", resp.StatusCode)
	}
	for _, n := range out.Networks {
		for _, a := range n.IPv4Addresses {
			if net.ParseIP(a) != nil {
				return a, nil
			}
		}
	}
	return "", errors.New("ask for the task's address: the metadata names none")
}
