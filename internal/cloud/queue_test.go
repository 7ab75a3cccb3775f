package cloud_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
)

// queued plays SQS, with its limits.
type queued struct {
	t      *testing.T
	refuse bool
	// waiting is what it says of the messages that nobody has taken.
	waiting string

	mu     sync.Mutex
	bodies []string
}

func (q *queued) GetQueueAttributes(_ context.Context, in *sqs.GetQueueAttributesInput, _ ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error) {
	if aws.ToString(in.QueueUrl) != "q" || fmt.Sprint(in.AttributeNames) != "[ApproximateNumberOfMessages]" {
		q.t.Errorf("%v of %s", in.AttributeNames, aws.ToString(in.QueueUrl))
	}
	return &sqs.GetQueueAttributesOutput{Attributes: map[string]string{"ApproximateNumberOfMessages": q.waiting}}, nil
}

func (q *queued) SendMessageBatch(_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
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

func (d due) Due(_ context.Context, _ time.Time, limit int) ([]connection.Key, error) {
	return d.keys[:min(max(limit, 0), len(d.keys))], nil
}

func dueOf(n int) (d due) {
	for i := range n {
		d.keys = append(d.keys, connection.Key{Tenant: "default", ID: fmt.Sprintf("con_%06d", i)})
	}
	return d
}

// TestQueue: every connection that is due is in one message, ten in each, and
// comes out as it went in.
func TestQueue(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 10, 11, 100, 101, 257, 17_000} {
		api, d := &queued{t: t, waiting: "0"}, dueOf(n)
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
		slices.SortFunc(back, func(a, b connection.Key) int { return strings.Compare(a.ID, b.ID) })
		if !slices.Equal(back, d.keys) {
			t.Errorf("%d: %v", n, back)
		}
	}
	_, err := (&cloud.Queue{API: &queued{t: t, refuse: true, waiting: "0"}, URL: "q"}).Fill(t.Context(), dueOf(1), clock())
	if !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("a message that SQS did not take: %v", err)
	}
}

// TestQueueDoesNotPileUp: what waits in the queue is not put there again and
// again, and what is left out is what is due last.
func TestQueueDoesNotPileUp(t *testing.T) {
	t.Parallel()
	d := dueOf(100_100)
	for waiting, want := range map[string]int{"0": 100_000, "1": 99_990, "9999": 10, "10000": 0, "200000": 0} {
		api := &queued{t: t, waiting: waiting}
		got, err := (&cloud.Queue{API: api, URL: "q"}).Fill(t.Context(), d, clock())
		if err != nil || got != want || len(api.bodies) != (want+9)/10 {
			t.Errorf("%s are waiting: %d in %d messages, %v", waiting, got, len(api.bodies), err)
		}
		last := ""
		for _, body := range api.bodies {
			keys, err := cloud.Keyed(body)
			if err != nil {
				t.Fatal(err)
			}
			last = max(last, keys[len(keys)-1].ID)
		}
		if want > 0 && last != d.keys[want-1].ID {
			t.Errorf("%s are waiting: the last one queued is %s", waiting, last)
		}
	}
	if n, err := (&cloud.Queue{API: &queued{t: t}, URL: "q"}).Fill(t.Context(), d, clock()); err == nil || n != 0 {
		t.Errorf("a queue that does not say how long it is: %d, %v", n, err)
	}
}

// TestDueOfMany: however many are due, and however unevenly the shards have
// them, the earliest come first, and each once.
func TestDueOfMany(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		table := newTable(t)
		const n = 120
		var want []connection.Key
		var all errgroup.Group
		all.SetLimit(8)
		for i := range n {
			c := connection.Connection{Key: connection.Key{Tenant: "default", ID: fmt.Sprintf("con_%d", i)}, Status: connection.Connected,
				CreatedAt: clock(), RenewAt: clock().Add(time.Duration(i*7%n) * time.Second)}
			all.Go(func() error { return table.Create(t.Context(), c) })
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
		for at := range n { // whose i*7 mod n is at
			for i := range n {
				if i*7%n == at {
					want = append(want, connection.Key{Tenant: "default", ID: fmt.Sprintf("con_%d", i)})
				}
			}
		}
		for _, limit := range []int{1, 2, 16, 17, 100, n - 1, n, n + 1, 100_000} {
			got, err := table.Due(t.Context(), clock().Add(time.Hour), limit)
			if err != nil || !slices.Equal(got, want[:min(limit, n)]) {
				t.Errorf("limit %d: %d keys, %v", limit, len(got), err)
			}
		}
		if got, err := table.Due(t.Context(), clock().Add(99*time.Second), 1000); err != nil || !slices.Equal(got, want[:100]) {
			t.Errorf("the first 100 seconds: %d keys, %v", len(got), err)
		}
	})
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
