package main

import (
	"encoding/json"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigateway"
	"github.com/aws/jsii-runtime-go"

	"github.com/lanyardhq/lanyard/internal/web"
)

const (
	// stage is the REST API's only one. It is named here, not taken from the
	// stage, which is made after everything that has to know it.
	stage = "live"
	// challengeHeader carries what WWW-Authenticate says from CloudFront to the
	// answer of an authorizer that refuses.
	challengeHeader = "x-lanyard-challenge"
	// viewerHeader carries the viewer's address from CloudFront to the WAF.
	viewerHeader = "x-lanyard-viewer"
	// originHeader is the one in which API Gateway looks for an API key.
	originHeader = "x-api-key"
)

// makeAPI makes the REST API without its routes. It logs no path and no query:
// both hold links, codes and states.
func (v *Service) makeAPI() {
	access := v.logGroup("AccessLog", "/lanyard/"+v.settings.Name+"/access")
	line, _ := json.Marshal(map[string]string{
		"time": "$context.requestTime", "id": "$context.requestId", "method": "$context.httpMethod", "route": "$context.resourcePath",
		"status": "$context.status", "bytes": "$context.responseLength", "ms": "$context.responseLatency",
		"function_ms": "$context.integration.latency", "function_id": "$context.integration.requestId",
		"refused": "$context.error.responseType", "task": "$context.identity.userArn",
	})
	v.api = awsapigateway.NewRestApi(v.Stack, jsii.String("Api"), &awsapigateway.RestApiProps{
		RestApiName:           jsii.String(v.settings.Name),
		EndpointConfiguration: &awsapigateway.EndpointConfiguration{Types: &[]awsapigateway.EndpointType{awsapigateway.EndpointType_REGIONAL}},
		// Of the account and Region, once: without it no stage can log.
		CloudWatchRole:              jsii.Bool(true),
		CloudWatchRoleRemovalPolicy: awscdk.RemovalPolicy_RETAIN,
		DeployOptions: &awsapigateway.StageOptions{
			StageName:            jsii.String(stage),
			AccessLogDestination: awsapigateway.NewLogGroupLogDestination(access),
			AccessLogFormat:      awsapigateway.AccessLogFormat_Custom(jsii.String(string(line))),
			ThrottlingRateLimit:  jsii.Number(float64(v.settings.Throttle.Rate)),
			ThrottlingBurstLimit: jsii.Number(float64(v.settings.Throttle.Burst)),
			LoggingLevel:         awsapigateway.MethodLoggingLevel_OFF,
			MetricsEnabled:       jsii.Bool(false),
		},
	})
	v.makeAnswers()
	plan := v.api.AddUsagePlan(jsii.String("Origin"), &awsapigateway.UsagePlanProps{
		Description: jsii.String("What came through CloudFront"),
		ApiStages:   &[]*awsapigateway.UsagePlanPerApiStage{{Api: v.api, Stage: v.api.DeploymentStage()}},
	})
	plan.AddApiKey(awsapigateway.NewApiKey(v.Stack, jsii.String("OriginKey"), &awsapigateway.ApiKeyProps{
		Description: jsii.String("CloudFront sends it as " + originHeader), Value: v.secretValue(secretOrigin),
	}), nil)
	if v.settings.WAF {
		v.makeWAF()
	}
}

// makeAnswers words what API Gateway answers by itself as our own errors are.
func (v *Service) makeAnswers() {
	answer := func(id string, kind awsapigateway.ResponseType, status, code, description, hint string, headers map[string]*string) {
		body, _ := json.Marshal(map[string]string{"error": code, "error_description": description, "hint": hint})
		props := &awsapigateway.GatewayResponseOptions{
			Type: kind, Templates: &map[string]*string{"application/json": jsii.String(string(body))},
		}
		if status != "" {
			props.StatusCode = jsii.String(status)
		}
		if headers != nil {
			props.ResponseHeaders = &headers
		}
		v.api.AddGatewayResponse(jsii.String(id), props)
	}
	answer("Unauthorized", awsapigateway.ResponseType_UNAUTHORIZED(), "", "invalid_token",
		"the bearer is missing, unknown, expired or for another server", "Make a token for this server on its connection's page.",
		// API Gateway renames a WWW-Authenticate that a function answers; one
		// that is set here goes out as it is.
		map[string]*string{"WWW-Authenticate": jsii.String("method.request.header." + challengeHeader), "Cache-Control": jsii.String("'no-store'")})
	answer("NotFound", awsapigateway.ResponseType_MISSING_AUTHENTICATION_TOKEN(), "404", "not_found",
		"there is nothing at this address", "Look at the address again.", nil)
	answer("NotThroughTheEdge", awsapigateway.ResponseType_INVALID_API_KEY(), "", "forbidden",
		"this address is not for use from outside", "Use Lanyard's own address, the deployment's output BaseURL.", nil)
	answer("Throttled", awsapigateway.ResponseType_THROTTLED(), "", "busy",
		"more requests came than this deployment lets through", "Try again in a moment.", map[string]*string{"Retry-After": jsii.String("'5'")})
	answer("Refused", awsapigateway.ResponseType_DEFAULT_4XX(), "", "refused",
		"the request cannot be served", "Look at the request again.", nil)
	answer("Failed", awsapigateway.ResponseType_DEFAULT_5XX(), "", "unavailable",
		"something went wrong on our side", "Try again in a moment. Whoever runs this finds the cause in the function's log.", nil)
}

// makeRoutes joins the routes to their functions.
func (v *Service) makeRoutes() {
	bearer := awsapigateway.NewRequestAuthorizer(v.Stack, jsii.String("Bearer"), &awsapigateway.RequestAuthorizerProps{
		Handler: v.functions[authorizer],
		// A token that was revoked works nowhere from then on.
		ResultsCacheTtl: awscdk.Duration_Seconds(jsii.Number(0)),
		// A request without one is refused before the function starts.
		IdentitySources: &[]*string{awsapigateway.IdentitySource_Header(jsii.String("Authorization"))},
	})
	integrations := map[string]awsapigateway.Integration{}
	for _, name := range []string{connect, callback, refresh, mcprun, mcpremote} {
		options := &awsapigateway.LambdaIntegrationOptions{
			ScopePermissionToMethod: jsii.Bool(false), Proxy: jsii.Bool(true), // one permission a function, not two a method
		}
		if name == mcprun || name == mcpremote {
			options.ResponseTransferMode = awsapigateway.ResponseTransferMode_STREAM
			options.Timeout = awscdk.Duration_Minutes(jsii.Number(15))
		}
		integrations[name] = awsapigateway.NewLambdaIntegration(v.functions[name], options)
	}
	for _, r := range v.settings.routes() {
		options := &awsapigateway.MethodOptions{ApiKeyRequired: jsii.Bool(true), AuthorizationType: awsapigateway.AuthorizationType_NONE}
		switch r.Auth {
		case web.AuthBearer:
			options.AuthorizationType, options.Authorizer = awsapigateway.AuthorizationType_CUSTOM, bearer
		case web.AuthIAM:
			options.AuthorizationType, options.ApiKeyRequired = awsapigateway.AuthorizationType_IAM, jsii.Bool(false)
		}
		v.api.Root().ResourceForPath(jsii.String(r.Path)).AddMethod(jsii.String(r.Method), integrations[r.Function], options)
	}
}
