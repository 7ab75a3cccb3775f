package cloud_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
)

// queued plays SQS, with its limits.
type queued struct {
	t      *testing.T
	bodies []string
	refuse bool
}

func (q *queued) SendMessageBatch(_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	out, ids := &sqs.SendMessageBatchOutput{}, map[string]bool{}
	if len(in.Entries) == 0 || len(in.Entries) > 10 || aws.ToString(in.QueueUrl) != "q" {
		q.t.Errorf("%d entries to %s", len(in.Entries), aws.ToString(in.QueueUrl))
	}
	for _, e := range in.Entries {
		if ids[*e.Id] {
			q.t.Errorf("the id %s twice", *e.Id)
		}
		ids[*e.Id] = true
		if q.refuse {
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("ServiceUnavailable")})
			continue
		}
		q.bodies = append(q.bodies, *e.MessageBody)
		out.Successful = append(out.Successful, types.SendMessageBatchResultEntry{Id: e.Id})
	}
	return out, nil
}

// due is a store of which only Due is asked.
type due struct {
	connection.Store
	keys []connection.Key
}

func (d due) Due(context.Context, time.Time, int) ([]connection.Key, error) { return d.keys, nil }

// TestQueue: every connection that is due is in one message, ten in each, and
// comes out as it went in.
func TestQueue(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 10, 11, 100, 101, 257} {
		api := &queued{t: t}
		var d due
		for i := range n {
			d.keys = append(d.keys, connection.Key{Tenant: "default", ID: fmt.Sprintf("con_%d", i)})
		}
		got, err := (&cloud.Queue{API: api, URL: "q"}).Fill(t.Context(), d, clock())
		if err != nil || got != n || len(api.bodies) != (n+9)/10 {
			t.Errorf("%d: %d in %d messages, %v", n, got, len(api.bodies), err)
		}
		var back []connection.Key
		for _, body := range api.bodies {
			keys, err := cloud.Keyed(body)
			if err != nil {
				t.Error(err)
			}
			back = append(back, keys...)
		}
		if fmt.Sprint(back) != fmt.Sprint(d.keys) {
			t.Errorf("%d: %v", n, back)
		}
	}
	_, err := (&cloud.Queue{API: &queued{t: t, refuse: true}, URL: "q"}).Fill(t.Context(), due{keys: []connection.Key{{Tenant: "a", ID: "b"}}}, clock())
	if !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("a message that SQS did not take: %v", err)
	}
}

func TestKeyed(t *testing.T) {
	t.Parallel()
	many, err := json.Marshal(make([]connection.Key, 11))
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"", "{}", "[]", "null", `[{"tenant":"a"}]`, `[{"id":"a"}]`, `"canary"`, string(many)} {
		if keys, err := cloud.Keyed(body); err == nil {
			t.Errorf("%s: %v", body, keys)
		}
	}
}
