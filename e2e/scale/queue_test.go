package scale

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// TestQueue: a message that is not deleted comes back, three times in all.
func TestQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		if _, err := q.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{Entries: []types.SendMessageBatchRequestEntry{
			{Id: aws.String("0"), MessageBody: aws.String("kept")}, {Id: aws.String("1"), MessageBody: aws.String("done")}}}); err != nil {
			t.Fatal(err)
		}
		var bodies []string
		go func() {
			for batch := q.receive(); !q.isClosed(); batch = q.receive() {
				for _, m := range batch {
					bodies = append(bodies, m.body)
					if m.body == "done" {
						q.delete([]*message{m})
					}
				}
			}
		}()
		time.Sleep(time.Hour)
		q.close()
		synctest.Wait()
		if len(bodies) != 4 || q.redelivered != 2 || q.dead != 1 || q.deleted != 1 || q.sends != 1 {
			t.Errorf("received %q; %d redelivered, %d dead, %d deleted, %d requests", bodies, q.redelivered, q.dead, q.deleted, q.sends)
		}
	})
}
