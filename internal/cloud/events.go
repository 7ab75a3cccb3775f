package cloud

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/notify"
)

// EventBridge is what [Events] asks of the service. [*eventbridge.Client] has it.
type EventBridge interface {
	PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
}

// Events is the account's default event bus.
type Events struct{ API EventBridge }

var _ notify.Bus = (*Events)(nil)

// Publish implements [notify.Bus].
func (b *Events) Publish(ctx context.Context, kind string, at time.Time, detail []byte) error {
	out, err := b.API.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		Source: aws.String(notify.Source), DetailType: &kind, Time: &at, Detail: aws.String(string(detail)),
	}}})
	if err != nil {
		return failed(err)
	}
	// The call succeeds also where an entry has failed.
	for _, e := range out.Entries {
		if e.ErrorCode != nil {
			return fmt.Errorf("%w: EventBridge did not take the event: %s", connection.ErrUnavailable, *e.ErrorCode)
		}
	}
	if out.FailedEntryCount > 0 || len(out.Entries) != 1 {
		return fmt.Errorf("%w: EventBridge did not take the event", connection.ErrUnavailable)
	}
	return nil
}
