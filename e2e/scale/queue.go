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

// The queue as infra makes it.
const (
	visibility  = 12 * time.Minute
	retention   = time.Hour
	maxReceives = 3
)

// queue plays SQS, with messages that come back unless they are deleted.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	closed  bool
	visible []*message
	// Counts, of messages. A batch of ten that is sent is one request.
	sent, sends, received, deleted, redelivered, dead, expired int
	most                                                       int // that waited
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

// receive waits for a message; nil when the queue was closed.
func (q *queue) receive() *message {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for len(q.visible) == 0 && !q.closed {
			q.filled.Wait()
		}
		if q.closed {
			return nil
		}
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
		return m
	}
}

// back makes a message visible again whose receiver did not delete it.
func (q *queue) back(m *message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.visible = append(q.visible, m)
	q.filled.Broadcast()
}

// delete ends a message.
func (q *queue) delete(m *message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m.timer.Stop()
	q.deleted++
}

// close sends the receivers home.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}
