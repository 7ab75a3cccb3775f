package scale

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/lanyardhq/lanyard/internal/cloud"
)

// The queue as infra makes it, and how Lambda empties it: so many messages at
// once, by at most so many processes of refresh.
const (
	visibility  = 12 * time.Minute
	retention   = time.Hour
	maxReceives = 3
	batchSize   = 10
	concurrency = 10
)

// queue plays SQS, with messages that come back unless they are deleted.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	closed  bool
	visible []*message
	// Counts of messages, but for sends, receives and deletes: of requests.
	sent, received, deleted, redelivered, dead, expired int
	sends, receives, deletes                            int
	most                                                int // that waited
}

var _ cloud.SQS = (*queue)(nil)

// message is one.
type message struct {
	body     string
	at       time.Time
	receives int
	timer    *time.Timer
}

func newQueue() *queue {
	q := &queue{}
	q.filled.L = &q.mu
	return q
}

// SendMessageBatch implements [cloud.SQS].
func (q *queue) SendMessageBatch(_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	wait(storeLatency)
	q.mu.Lock()
	defer q.mu.Unlock()
	out := &sqs.SendMessageBatchOutput{}
	q.sends++
	for i, e := range in.Entries {
		q.visible = append(q.visible, &message{body: *e.MessageBody, at: time.Now()})
		q.sent++
		id := strconv.Itoa(i)
		out.Successful = append(out.Successful, types.SendMessageBatchResultEntry{Id: &id})
	}
	q.most = max(q.most, len(q.visible))
	q.filled.Broadcast()
	return out, nil
}

// GetQueueAttributes implements [cloud.SQS].
func (q *queue) GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error) {
	wait(storeLatency)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sends++
	return &sqs.GetQueueAttributesOutput{Attributes: map[string]string{
		string(types.QueueAttributeNameApproximateNumberOfMessages): strconv.Itoa(len(q.visible))}}, nil
}

// receive waits for messages and returns a batch; none when the queue was
// closed.
func (q *queue) receive() []*message {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.visible) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return nil
	}
	q.receives++
	var batch []*message
	for len(q.visible) > 0 && len(batch) < batchSize {
		m := q.visible[0]
		q.visible = q.visible[1:]
		switch {
		case time.Since(m.at) > retention:
			q.expired++
			continue
		case m.receives == maxReceives:
			q.dead++
			continue
		}
		m.receives++
		q.received++
		if m.receives > 1 {
			q.redelivered++
		}
		m.timer = time.AfterFunc(visibility, func() { q.back(m) })
		batch = append(batch, m)
	}
	return batch
}

// back makes a message visible again whose receiver did not delete it.
func (q *queue) back(m *message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.visible = append(q.visible, m)
	q.filled.Broadcast()
}

// delete ends messages.
func (q *queue) delete(batch []*message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deletes++
	for _, m := range batch {
		m.timer.Stop()
		q.deleted++
	}
}

// close sends the receivers home.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}
