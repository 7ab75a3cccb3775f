package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/jsii-runtime-go"

	"github.com/lanyardhq/lanyard/internal/web"
)

// The functions, by name. mcpremote and authorizer are the program of mcprun
// outside the VPC.
const (
	connect    = "connect"
	callback   = "callback"
	refresh    = "refresh"
	mcprun     = "mcprun"
	mcpremote  = web.FunctionMCPRemote
	authorizer = "authorizer"
)

var functionNames = []string{connect, callback, refresh, mcprun, mcpremote, authorizer}

// function is what differs between the functions.
type function struct {
	name, description string
	// program is the directory below dist/ that holds its bootstrap.
	program string
	// memory is in MiB, timeout in seconds. API Gateway waits for 29 seconds,
	// except for a stream; a function that has spent something goes on after
	// that, and stores or gives back what it got.
	memory, timeout float64
	inVPC           bool
	environment     map[string]*string
	grants          statements
}

func (v *Service) makeFunctions() error {
	for _, f := range v.describeFunctions() {
		if err := v.makeFunction(f); err != nil {
			return err
		}
	}
	return nil
}

// describeFunctions says what each function is given and may do.
func (v *Service) describeFunctions() []function {
	vault := map[string]*string{
		"LANYARD_KMS_KEY": v.data.Key.KeyArn(), "LANYARD_VAULT_STORE": jsii.String(v.settings.VaultStore), "LANYARD_SECRETS": jsii.String(v.settings.Name),
	}
	return []function{
		{name: connect, program: connect, memory: 256, timeout: 28,
			description: "Links, pages, consent: everything before the provider. Reads no secret",
			environment: v.environment(v.oauthRedirects()),
			grants:      statements{v.useTable()},
		},
		{name: callback, program: callback, memory: 256, timeout: 120,
			description: "What a person gave becomes a sealed token set",
			environment: v.environment(vault),
			grants:      statements{v.useTable(), v.useKey(), v.keepGrants(), v.readSecrets("ReadClients", "clients/*")},
		},
		{name: refresh, program: refresh, memory: 512, timeout: 120,
			description: "Renews, hands out and ends tokens: by schedule and on demand",
			environment: v.environment(vault, map[string]*string{"LANYARD_QUEUE_URL": v.queue.QueueUrl(), "LANYARD_KEEP_FRESH": jsii.String(v.settings.KeepFresh)}),
			grants: statements{v.useTable(), v.insertLines(), v.findDue(), v.useKey(), v.keepGrants(),
				v.readSecrets("ReadClients", "clients/*"), v.readSecrets("ReadWebhooks", "webhooks/*"),
				v.readSecrets("ReadFirstKey", secretAPIKey), v.useQueue(), v.putEvents()},
		},
		{name: mcprun, program: mcprun, memory: 256, timeout: 900, inVPC: true,
			description: "Between MCP clients and running servers",
			environment: v.environment(map[string]*string{
				"LANYARD_SECRETS":             jsii.String(v.settings.Name),
				"LANYARD_REFRESH_FUNCTION":    jsii.String(v.functionName(refresh)),
				"LANYARD_REMOTE_FUNCTION":     jsii.String(v.functionName(mcpremote)),
				"LANYARD_CONTROL_URL":         jsii.String("https://" + v.apiHost() + "/" + stage),
				"LANYARD_CLUSTER":             v.tasks.cluster.ClusterName(),
				"LANYARD_SUBNETS":             awscdk.Fn_Join(jsii.String(","), v.network.vpc.SelectSubnets(v.network.tasks).SubnetIds),
				"LANYARD_TASK_SECURITY_GROUP": v.network.ofTasks.SecurityGroupId(),
				"LANYARD_TASK_FAMILY":         jsii.String(v.family()),
				"LANYARD_START_ON":            jsii.String(v.settings.StartOn),
				"LANYARD_IDLE_STOP":           jsii.String(v.settings.IdleStop),
				"LANYARD_MAX_LIFE":            jsii.String(v.settings.MaxLife),
				"AWS_USE_DUALSTACK_ENDPOINT":  jsii.String("true"),
			}, v.warmPool()),
			grants: append(statements{v.useTable(), v.invokeRefresh(), v.invokeRemote(), v.readSecrets("ReadTaskBearers", secretTaskBearers)},
				append(v.runTasks(), v.useVPC()...)...),
		},
		// Without a remote server no route leads to it, and it may do nothing that
		// mcprun may not. Sessions of clients are sealed with the same secret.
		{name: mcpremote, program: mcprun, memory: 256, timeout: 900,
			description: "Between MCP clients and remote servers: mcprun with a way out",
			environment: v.environment(map[string]*string{
				"LANYARD_SECRETS":          jsii.String(v.settings.Name),
				"LANYARD_REFRESH_FUNCTION": jsii.String(v.functionName(refresh)),
			}),
			grants: statements{v.readTable(), v.beginFlows(), v.invokeRefresh(), v.readSecrets("ReadTaskBearers", secretTaskBearers)},
		},
		{name: authorizer, program: mcprun, memory: 256, timeout: 10,
			description: "Lets the bearers of MCP clients pass",
			environment: v.environment(),
			grants:      statements{v.readTable()},
		},
	}
}

// environment is what every function is given, and more.
func (v *Service) environment(more ...map[string]*string) map[string]*string {
	env := map[string]*string{
		"LANYARD_BASE_URL":   v.baseURL,
		"LANYARD_TABLE":      v.tableName(),
		"LANYARD_SERVERS":    jsii.String(strings.Join(v.settings.Servers, ",")),
		"LANYARD_AUDIT_DAYS": jsii.String(strconv.Itoa(v.settings.AuditDays)),
	}
	if p := v.assets.PresetsInBundle(); p != "" {
		env["LANYARD_PRESETS"] = jsii.String(p)
	}
	for _, m := range more {
		for name, value := range m {
			env[name] = value
		}
	}
	return env
}

// oauthRedirects is what connect is told of redirect URIs; nothing where none are
// allowed beside those that are known.
func (v *Service) oauthRedirects() map[string]*string {
	if len(v.settings.OAuthRedirects) == 0 {
		return nil
	}
	return map[string]*string{"LANYARD_OAUTH_REDIRECTS": jsii.String(strings.Join(v.settings.OAuthRedirects, " "))}
}

// warmPool is what mcprun is told of tasks that wait; nothing where none do.
func (v *Service) warmPool() map[string]*string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(v.settings.WarmPool)) {
		if n := v.settings.WarmPool[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", name, n))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return map[string]*string{"LANYARD_WARM_POOL": jsii.String(strings.Join(parts, ","))}
}

// functionName is known before the function is made.
func (v *Service) functionName(name string) string { return v.settings.Name + "-" + name }

func (v *Service) makeFunction(f function) error {
	code, err := v.assets.Function(f.program)
	if err != nil {
		return err
	}
	id := strings.ToUpper(f.name[:1]) + f.name[1:]
	v.logs[f.name] = v.logGroup(id+"Log", "/aws/lambda/"+v.functionName(f.name))
	grants := append(append(statements{v.writeLog(v.logs[f.name])}, f.grants...), v.withhold(f.name)...)
	props := &awslambda.FunctionProps{
		FunctionName: jsii.String(v.functionName(f.name)),
		Description:  jsii.String("Lanyard: " + f.description),
		Runtime:      awslambda.Runtime_PROVIDED_AL2023(), Architecture: awslambda.Architecture_ARM_64(),
		Handler: jsii.String("bootstrap"), Code: awslambda.Code_FromAsset(jsii.String(code), nil),
		MemorySize: jsii.Number(f.memory), Timeout: awscdk.Duration_Seconds(jsii.Number(f.timeout)),
		Environment: &f.environment,
		LogGroup:    v.logs[f.name],
		Role:        v.role(id+"Role", "lambda.amazonaws.com", fmt.Sprintf("Lanyard: what %s may do", f.name), grants),
	}
	if n := v.settings.ReservedConcurrency[f.name]; n > 0 {
		props.ReservedConcurrentExecutions = jsii.Number(float64(n))
	}
	if f.inVPC {
		props.Vpc, props.VpcSubnets = v.network.vpc, v.network.functions
		props.SecurityGroups = &[]awsec2.ISecurityGroup{v.network.ofMCPRun}
		props.Ipv6AllowedForDualStack = jsii.Bool(true)
	}
	v.functions[f.name] = awslambda.NewFunction(v.Stack, jsii.String(id), props)
	return nil
}
