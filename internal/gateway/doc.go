// Package gateway is what stands between AWS Lambda and our handlers: it makes
// events of a REST API requests for an [http.Handler] and its answers what API
// Gateway expects, whole or streamed, and it knows by its shape what an
// invocation wants.
//
//	{"httpMethod": …, "requestContext": …}  REST proxy event      Function.HTTP
//	{"type": "REQUEST", "methodArn": …}     REQUEST authorizer    Function.Authorize
//	{"lanyard": "sweep", …}                 said by one of ours   Function.Direct
//	{"Records": [{"eventSource": "aws:sqs"  a batch of a queue    Function.Message
//	{"RequestType": …, "StackId": …}        CloudFormation        Function.Resource
//	{"detail-type": …, "source": …}        EventBridge           Function.Event
//
// A function serves what it has a field for; everything else is an error.
package gateway
