package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// SQS is what a [Queue] asks of the service. [*sqs.Client] has it.
type SQS interface {
	SendMessageBatch(context.Context, *sqs.SendMessageBatchInput, ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error)
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
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
	// mostDue bounds what one sweep finds due, and what waits in the queue: a
	// million connections with tokens of an hour are 17,000 in a minute.
	mostDue = 100_000
	// sendsAtOnce is how many batches are sent beside each other.
	sendsAtOnce = 16
)

// Fill puts the connections that are due into the queue, the earliest first, and
// returns how many. A queue that nobody empties does not grow: what waits there
// already is room that is not filled. Which connections those are nobody can
// tell, so that one may come twice: whoever attends it then finds nothing to do.
func (q *Queue) Fill(ctx context.Context, from connection.Store, now time.Time) (int, error) {
	waiting, err := q.waiting(ctx)
	if err != nil {
		return 0, err
	}
	due, err := from.Due(ctx, now, mostDue-waiting*perMessage)
	if err != nil {
		return 0, err
	}
	var queued atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sendsAtOnce)
	for part := range slices.Chunk(due, perSend*perMessage) {
		group.Go(func() error {
			if err := q.send(ctx, part); err != nil {
				return err
			}
			queued.Add(int64(len(part)))
			return nil
		})
	}
	err = group.Wait()
	return int(queued.Load()), err
}

// waiting is about how many messages nobody has taken yet.
func (q *Queue) waiting(ctx context.Context) (int, error) {
	const name = types.QueueAttributeNameApproximateNumberOfMessages
	out, err := q.API.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &q.URL, AttributeNames: []types.QueueAttributeName{name}})
	if err != nil {
		return 0, failed(err)
	}
	n, err := strconv.Atoi(out.Attributes[string(name)])
	if err != nil {
		return 0, fmt.Errorf("SQS does not say how many messages wait: %w", err)
	}
	return n, nil
}

// send puts as many connections into the queue as SQS takes at once.
func (q *Queue) send(ctx context.Context, due []connection.Key) error {
	var entries []types.SendMessageBatchRequestEntry
	for part := range slices.Chunk(due, perMessage) {
		body, err := json.Marshal(part)
		if err != nil {
			return err
		}
		entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(len(entries))), MessageBody: aws.String(string(body))})
	}
	out, err := q.API.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &q.URL, Entries: entries})
	if err != nil {
		return failed(err)
	}
	if len(out.Failed) > 0 {
		return fmt.Errorf("%w: SQS took %d messages and not %d: %s", connection.ErrUnavailable, len(out.Successful), len(out.Failed), aws.ToString(out.Failed[0].Code))
	}
	return nil
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
