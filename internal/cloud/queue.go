package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// SQS is what a [Queue] asks of the service. [*sqs.Client] has it.
type SQS interface {
	SendMessageBatch(context.Context, *sqs.SendMessageBatchInput, ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error)
}

// Queue is where a sweep puts the connections that need attention, for others
// to attend.
type Queue struct {
	API SQS
	URL string
}

const (
	// perMessage is how many connections one message names.
	perMessage = 10
	// perSend is the most messages that SQS takes at once.
	perSend = 10
	// mostDue bounds one sweep; what is left is due at the next one. A million
	// hourly tokens are 20,000 a minute, and more after an outage.
	mostDue = 50_000
)

// Fill puts the connections that are due into the queue and returns how many.
// One that is still there from the sweep before comes twice: whoever attends it
// then finds nothing to do.
func (q *Queue) Fill(ctx context.Context, from connection.Store, now time.Time) (int, error) {
	due, err := from.Due(ctx, now, mostDue)
	if err != nil {
		return 0, err
	}
	queued := 0
	for len(due) > 0 {
		var entries []types.SendMessageBatchRequestEntry
		n := 0
		for len(due) > n && len(entries) < perSend {
			part := due[n:min(n+perMessage, len(due))]
			body, err := json.Marshal(part)
			if err != nil {
				return queued, err
			}
			entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(len(entries))), MessageBody: aws.String(string(body))})
			n += len(part)
		}
		out, err := q.API.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &q.URL, Entries: entries})
		if err != nil {
			return queued, failed(err)
		}
		if len(out.Failed) > 0 {
			return queued, fmt.Errorf("%w: SQS took %d messages and not %d: %s", connection.ErrUnavailable, len(out.Successful), len(out.Failed), aws.ToString(out.Failed[0].Code))
		}
		due, queued = due[n:], queued+n
	}
	return queued, nil
}

// Keyed returns the connections that a message of [Queue.Fill] names.
func Keyed(body string) ([]connection.Key, error) {
	var keys []connection.Key
	if json.Unmarshal([]byte(body), &keys) != nil || len(keys) == 0 || len(keys) > perMessage {
		return nil, errors.New("the message is not a list of connections")
	}
	for _, k := range keys {
		if k.Tenant == "" || k.ID == "" {
			return nil, errors.New("the message names a connection without its tenant or id")
		}
	}
	return keys, nil
}
