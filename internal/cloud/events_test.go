package cloud_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
)

// TestEvents: a rule such as docs/webhooks.md shows takes our events, as they
// were published, and no others.
func TestEvents(t *testing.T) {
	t.Parallel()
	cfg := awsConfig(t, "LANYARD_TEST_AWS")
	rules, queues := eventbridge.NewFromConfig(cfg), sqs.NewFromConfig(cfg)
	name := aws.String("events-" + strings.ToLower(t.Name()))
	q, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: name})
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := queues.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	if err != nil {
		t.Fatal(err)
	}
	arn := aws.String(attributes.Attributes["QueueArn"])
	if _, err = rules.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: name,
		EventPattern: aws.String(`{"source": ["lanyard"], "detail-type": ["connection.health_changed"], "detail": {"health": ["reconnect", "scope_lost"]}}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err = rules.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: name, Targets: []types.Target{{Id: name, Arn: arn}}}); err != nil {
		t.Fatal(err)
	}
	bus := &cloud.Events{API: rules}
	for _, detail := range []string{`{"health":"ok"}`, `{"health":"reconnect","reason":"<\"é>"}`} {
		if err := bus.Publish(t.Context(), "connection.health_changed", clock(), []byte(detail)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, MaxNumberOfMessages: 10})
	if err != nil || len(got.Messages) != 1 {
		t.Fatalf("%v, %d messages", err, len(got.Messages))
	}
	var e struct {
		Source string
		Kind   string `json:"detail-type"`
		Time   time.Time
		Detail struct{ Health, Reason string }
	}
	if err := json.Unmarshal([]byte(*got.Messages[0].Body), &e); err != nil {
		t.Fatal(err)
	}
	if e.Source != "lanyard" || e.Kind != "connection.health_changed" || e.Detail.Health != "reconnect" || e.Detail.Reason != `<"é>` || !e.Time.Equal(clock()) {
		t.Errorf("%+v", e)
	}
}

// answering plays EventBridge.
type answering struct {
	out *eventbridge.PutEventsOutput
	err error
}

func (a answering) PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	return a.out, a.err
}

// TestEventsFail: an event that EventBridge did not take is an error, also where
// the call was none.
func TestEventsFail(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]answering{
		"entry":   {out: &eventbridge.PutEventsOutput{FailedEntryCount: 1, Entries: []types.PutEventsResultEntry{{ErrorCode: aws.String("InternalFailure")}}}},
		"count":   {out: &eventbridge.PutEventsOutput{FailedEntryCount: 1, Entries: []types.PutEventsResultEntry{{}}}},
		"nothing": {out: &eventbridge.PutEventsOutput{}},
		"call":    {err: context.DeadlineExceeded},
	} {
		if err := (&cloud.Events{API: a}).Publish(t.Context(), "k", clock(), []byte("{}")); !errors.Is(err, connection.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (&cloud.Events{API: answering{out: &eventbridge.PutEventsOutput{Entries: []types.PutEventsResultEntry{{EventId: aws.String("1")}}}}}).Publish(t.Context(), "k", clock(), []byte("{}")); err != nil {
		t.Error(err)
	}
}
