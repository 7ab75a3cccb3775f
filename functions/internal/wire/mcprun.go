package wire

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/gateway"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/web"
)

// forTasks are the settings of whoever runs tasks.
var forTasks = []string{"LANYARD_REFRESH_FUNCTION", "LANYARD_CONTROL_URL", "LANYARD_CLUSTER", "LANYARD_SUBNETS", "LANYARD_TASK_SECURITY_GROUP", "LANYARD_TASK_FAMILY"}

// MCPRun is the function mcprun and, deployed without any of the settings for
// tasks, the authorizer: one that half has them is neither.
func MCPRun(ctx context.Context, b *Base) (*gateway.Function, error) {
	hosting := &host.Service{Store: b.Table, Connections: b.Table, Catalogues: b.Table, Catalogue: b.Catalogue, BaseURL: b.Settings.BaseURL, Now: time.Now, Logger: b.Logger}
	none := true
	for _, name := range forTasks {
		none = none && b.Settings.Need(name) != nil
	}
	if none {
		return &gateway.Function{Authorize: authorizer(hosting)}, nil
	}
	if err := b.Settings.Need(forTasks...); err != nil {
		return nil, err
	}
	s := b.Settings
	key, err := (&cloud.SecretStore{Client: secretsmanager.NewFromConfig(b.AWS), Prefix: s.Secrets}).TaskBearers(ctx)
	if err != nil {
		return nil, err
	}
	launcher := &cloud.Launcher{API: ecs.NewFromConfig(b.AWS), Cluster: s.Cluster, Subnets: s.Subnets, SecurityGroup: s.TaskSecurityGroup, Family: s.TaskFamily}
	hosting.Tokens = cloud.RefreshFunction(cloud.NewLambda(b.AWS), s.RefreshFunction)
	hosting.Installer, hosting.Launcher = cloud.Image{Dir: s.ServerDir}, launcher
	hosting.Vouch, hosting.Inline = launcher.Vouch, true
	hosting.BearerKey, hosting.ControlURL, hosting.IdleStop = key, s.ControlURL, s.IdleStop
	hosting.Pool, hosting.Warm = b.Table, s.WarmPool
	hosting.OnlyForCalls = s.StartOn == config.StartOnCall
	h := &web.MCPRun{Site: b.Site, Host: hosting, Connections: b.Table, Catalogue: b.Catalogue,
		Progress: func(string) string { return "" }, TaskIdentity: taskIdentity}
	return &gateway.Function{
		HTTP: b.serve(h.Mount, func() {}), Stream: true,
		Direct: map[string]func(context.Context, json.RawMessage) (any, error){
			"sweep": func(ctx context.Context, _ json.RawMessage) (any, error) {
				hosting.Sweep(ctx)
				return nil, nil
			},
		},
	}, nil
}

// taskIdentity is the role and session that signed the request: ECS names the
// session after the task.
func taskIdentity(r *http.Request) token.Secret {
	arn := gateway.UserARN(r.Context())
	if _, _, ok := gateway.SessionName(arn); !ok {
		return ""
	}
	return token.Secret(arn)
}

// authorizer lets a bearer pass that is good at the server in the path. What is
// wrong with its connection is said by mcprun, in words for its person.
func authorizer(hosting *host.Service) func(context.Context, *http.Request, string) (events.APIGatewayCustomAuthorizerResponse, error) {
	return func(ctx context.Context, r *http.Request, methodARN string) (out events.APIGatewayCustomAuthorizerResponse, err error) {
		scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "bearer") {
			return out, gateway.ErrUnauthenticated
		}
		out.PrincipalID, err = principal(ctx, hosting, token.Secret(strings.TrimSpace(bearer)), r.URL.Path)
		switch {
		case errors.Is(err, host.ErrNoToken):
			return out, gateway.ErrUnauthenticated
		case err != nil && !errors.Is(err, host.ErrNotConnected):
			return out, err
		}
		out.PolicyDocument = events.APIGatewayCustomAuthorizerPolicy{Version: "2012-10-17", Statement: []events.IAMPolicyStatement{
			{Action: []string{"execute-api:Invoke"}, Effect: "Allow", Resource: []string{methodARN}},
		}}
		return out, nil
	}
}

// principal is what a bearer is good for at the path: a connection, or all
// servers of a user.
func principal(ctx context.Context, hosting *host.Service, bearer token.Secret, path string) (string, error) {
	if path == "/mcp" {
		m, err := hosting.BearerAll(ctx, bearer)
		return m.Connection.ID, err
	}
	server, ok := strings.CutPrefix(path, "/mcp/")
	if !ok {
		return "", host.ErrNoToken
	}
	c, _, err := hosting.Bearer(ctx, bearer, server)
	return c.ID, err
}
