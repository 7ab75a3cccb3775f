package wire

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/gateway"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/web"
)

// forTasks are the settings of whoever runs tasks.
var forTasks = []string{"LANYARD_REFRESH_FUNCTION", "LANYARD_CONTROL_URL", "LANYARD_CLUSTER", "LANYARD_SUBNETS", "LANYARD_TASK_SECURITY_GROUP", "LANYARD_TASK_FAMILY"}

// inImage is where the program that holds our own servers lies in a task's image:
// image/command/Dockerfile.
var inImage = map[string]string{"self": "/usr/local/bin/server"}

// MCPRun is the function mcprun. Deployed without any of the settings for tasks
// it is the authorizer; with the one alone by which tokens are asked for, it is
// who reaches remote servers. One that has some of them is neither.
func MCPRun(ctx context.Context, b *Base) (*gateway.Function, error) {
	hosting := &host.Service{Store: b.Table, Connections: b.Table, Catalogues: b.Table, Catalogue: b.Catalogue, SignIns: b.OAuth, BaseURL: b.Settings.BaseURL, Now: time.Now, Logger: b.Logger}
	var set []string
	for _, name := range forTasks {
		if b.Settings.Need(name) == nil {
			set = append(set, name)
		}
	}
	if len(set) == 0 {
		return &gateway.Function{Authorize: authorizer(hosting)}, nil
	}
	elsewhere := slices.Equal(set, forTasks[:1])
	if err := b.Settings.Need(forTasks...); err != nil && !elsewhere {
		return nil, err
	}
	s := b.Settings
	key, err := (&cloud.SecretStore{Client: secretsmanager.NewFromConfig(b.AWS), Prefix: s.Secrets}).TaskBearers(ctx)
	if err != nil {
		return nil, err
	}
	hosting.Tokens, hosting.Inline = cloud.RefreshFunction(cloud.NewLambda(b.AWS), s.RefreshFunction), true
	hosting.BearerKey, hosting.AllowLoopback, hosting.Asker = key, s.Emulated, b.Starter
	h := &web.MCPRun{Site: b.Site, Host: hosting, Connections: b.Table, Catalogue: b.Catalogue, SignIn: b.OAuth, Grants: b.OAuth.Store,
		Progress: func(string) string { return "" }, TaskIdentity: taskIdentity}
	if elsewhere {
		hosting.Catalogues = nil // what a remote server offers, it says itself
		return remote(b, h), nil
	}
	launcher := &cloud.Launcher{API: ecs.NewFromConfig(b.AWS), Cluster: s.Cluster, Subnets: s.Subnets, SecurityGroup: s.TaskSecurityGroup, Family: s.TaskFamily}
	hosting.Installer, hosting.Launcher = cloud.Image{Dir: s.ServerDir}, launcher
	hosting.Vouch, hosting.Deployment = launcher.Vouch, inImage
	hosting.ControlURL, hosting.IdleStop, hosting.MaxLife = s.ControlURL, s.IdleStop, s.MaxLife
	hosting.Pool, hosting.Warm, hosting.OnlyForCalls = b.Table, s.WarmPool, s.StartOn == config.StartOnCall
	if s.RemoteFunction != "" {
		hosting.Relay = cloud.RemoteFunction(cloud.NewRelayLambda(b.AWS), s.RemoteFunction)
	}
	return &gateway.Function{
		HTTP: b.serve(h.Mount, func() {}), Stream: true,
		Direct: map[string]func(context.Context, json.RawMessage) (any, error){
			"sweep": func(ctx context.Context, _ json.RawMessage) (any, error) {
				hosting.Sweep(ctx)
				return nil, nil
			},
		},
		Event: func(ctx context.Context, event events.EventBridgeEvent) error {
			if ended, ours := launcher.EndedTask(event.Detail); ours && event.Source == cloud.TaskEventSource && event.DetailType == cloud.TaskEventType {
				return hosting.Ended(ctx, ended)
			}
			return nil
		},
	}, nil
}

// remote is mcprun's program outside the VPC: it serves the endpoints of remote
// servers, and sends what mcprun asks it to send to them.
func remote(b *Base, h *web.MCPRun) *gateway.Function {
	return &gateway.Function{
		HTTP: b.serve(h.MountEndpoint, func() {}), Stream: true,
		Direct: map[string]func(context.Context, json.RawMessage) (any, error){
			"remote": func(ctx context.Context, event json.RawMessage) (any, error) {
				var in struct{ Call json.RawMessage }
				if json.Unmarshal(event, &in) != nil {
					return nil, errors.New("the event is not the JSON that was expected")
				}
				answer, err := h.Host.ServeRelayed(ctx, in.Call)
				return json.RawMessage(answer), err
			},
		},
	}
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
	tenant, server, ok := authserver.EndpointAt(path)
	switch {
	case !ok:
		return "", host.ErrNoToken
	case server == "":
		who, err := hosting.BearerAll(ctx, bearer, tenant)
		return host.ForUser(tenant, who.User).ID, err
	}
	c, _, err := hosting.Bearer(ctx, bearer, tenant, server)
	return c.ID, err
}
