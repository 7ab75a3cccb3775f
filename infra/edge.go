package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscertificatemanager"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudfront"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudfrontorigins"
	"github.com/aws/jsii-runtime-go"

	"github.com/lanyardhq/lanyard/presets"
)

// edgeFunction is what CloudFront runs for each request, without the servers'
// scopes. There is none for answers: CloudFront runs it for no error, so that it
// could not give a challenge the name back that API Gateway takes from it.
//
//go:embed edge.js
var edgeFunction string

// withScopes is the edge function of a deployment: it knows the scopes of the
// servers that are offered.
func withScopes(servers []presets.Server) string {
	scopes := map[string]string{}
	for _, s := range servers {
		if names := s.ScopeNames(); len(names) > 0 {
			scopes[s.Name] = strings.Join(names, " ")
		}
	}
	text, err := json.Marshal(scopes) // a JavaScript literal, too; keys are sorted
	if err != nil {
		panic(err) // a map of strings
	}
	return strings.Replace(edgeFunction, "var scopes = {};", "var scopes = "+string(text)+";", 1)
}

// originTimeout is how long CloudFront waits for the first byte, and for each
// next one, in seconds. To a client that accepts event streams mcprun answers,
// or begins a stream, in less: 45 seconds that it waits for a task to start, and
// ten until a slow call becomes a stream, which then has a byte every 25. A
// client that takes JSON alone gets no byte before the answer: CloudFront cuts
// a call that takes longer than this, while the call itself goes on.
const originTimeout = 60

// makeEdge puts CloudFront before the API. It knows the API's id alone, so that
// everything else of the API may depend on CloudFront's name.
func (v *Service) makeEdge() {
	origin := awscloudfrontorigins.NewHttpOrigin(jsii.String(v.apiHost()), &awscloudfrontorigins.HttpOriginProps{
		OriginPath:         jsii.String("/" + stage),
		ProtocolPolicy:     awscloudfront.OriginProtocolPolicy_HTTPS_ONLY,
		OriginSslProtocols: &[]awscloudfront.OriginSslPolicy{awscloudfront.OriginSslPolicy_TLS_V1_2},
		ReadTimeout:        awscdk.Duration_Seconds(jsii.Number(originTimeout)),
		// A POST is not sent a second time by itself.
		ConnectionAttempts: jsii.Number(1),
		CustomHeaders:      &map[string]*string{originHeader: v.secretValue(secretOrigin)},
	})
	function := awscloudfront.NewFunction(v.Stack, jsii.String("EdgeFunction"), &awscloudfront.FunctionProps{
		Code:    awscloudfront.FunctionCode_FromInline(jsii.String(withScopes(v.settings.offered))),
		Runtime: awscloudfront.FunctionRuntime_JS_2_0(),
		Comment: jsii.String("Sets the headers that only CloudFront may set"),
	})
	behavior := func(cache awscloudfront.ICachePolicy) *awscloudfront.BehaviorOptions {
		return &awscloudfront.BehaviorOptions{
			Origin:               origin,
			AllowedMethods:       awscloudfront.AllowedMethods_ALLOW_ALL(),
			CachePolicy:          cache,
			OriginRequestPolicy:  awscloudfront.OriginRequestPolicy_ALL_VIEWER_EXCEPT_HOST_HEADER(),
			ViewerProtocolPolicy: awscloudfront.ViewerProtocolPolicy_REDIRECT_TO_HTTPS,
			FunctionAssociations: &[]*awscloudfront.FunctionAssociation{{Function: function, EventType: awscloudfront.FunctionEventType_VIEWER_REQUEST}},
		}
	}
	assets := behavior(awscloudfront.CachePolicy_CACHING_OPTIMIZED())
	assets.AllowedMethods = awscloudfront.AllowedMethods_ALLOW_GET_HEAD()
	// Of a file that is the same for everybody, nothing of the viewer is passed on.
	assets.OriginRequestPolicy = nil
	props := &awscloudfront.DistributionProps{
		Comment:                jsii.String("Lanyard " + v.settings.Name),
		DefaultBehavior:        behavior(awscloudfront.CachePolicy_CACHING_DISABLED()),
		AdditionalBehaviors:    &map[string]*awscloudfront.BehaviorOptions{"/static/*": assets},
		HttpVersion:            awscloudfront.HttpVersion_HTTP2_AND_3,
		MinimumProtocolVersion: awscloudfront.SecurityPolicyProtocol_TLS_V1_2_2021,
		ErrorResponses:         &[]*awscloudfront.ErrorResponse{},
	}
	// Errors are kept for ten seconds otherwise, and shown to others.
	for _, status := range []float64{400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504} {
		*props.ErrorResponses = append(*props.ErrorResponses, &awscloudfront.ErrorResponse{
			HttpStatus: jsii.Number(status), Ttl: awscdk.Duration_Seconds(jsii.Number(0))})
	}
	if v.settings.Domain != "" {
		props.DomainNames = jsii.Strings(v.settings.Domain)
		props.Certificate = awscertificatemanager.Certificate_FromCertificateArn(v.Stack, jsii.String("Certificate"), jsii.String(v.settings.Certificate))
	}
	v.edge = awscloudfront.NewDistribution(v.Stack, jsii.String("Edge"), props)
	v.baseURL = jsii.String("https://" + *v.edge.DistributionDomainName())
	if v.settings.Domain != "" {
		v.baseURL = jsii.String("https://" + v.settings.Domain)
	}
}

// apiHost is the API's own host, which tasks call and CloudFront asks.
func (v *Service) apiHost() string {
	return fmt.Sprintf("%s.execute-api.%s.%s", *v.api.RestApiId(), *v.Region(), *v.UrlSuffix())
}
