package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/lanyardhq/lanyard/internal/web"
)

// sweepEvery is a minute in an account.
const sweepEvery = 2 * time.Second

// schedule is EventBridge Scheduler.
func (s *stack) schedule(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.sweep(ctx)
		}
	}
}

func (s *stack) sweep(ctx context.Context) {
	for _, name := range []string{web.FunctionRefresh, web.FunctionMCPRun} {
		if _, err := s.functions[name].Call(context.WithoutCancel(ctx), []byte(`{"lanyard":"sweep"}`)); err != nil {
			fmt.Fprintf(s.log, "schedule | %s: %v\n", name, err)
		}
	}
}

// pollEvery is what long polling makes instant in an account: an emulator may
// answer one request at a time, and must not wait for messages meanwhile.
const pollEvery = 500 * time.Millisecond

// poll is the event source mapping of the queue: messages that were attended
// are deleted, others come again.
func (s *stack) poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		got, err := s.res.queue.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &s.res.queueURL, MaxNumberOfMessages: 10,
			WaitTimeSeconds: 0, VisibilityTimeout: 30})
		if err == nil && len(got.Messages) > 0 {
			s.attend(context.WithoutCancel(ctx), got.Messages)
		}
	}
}

func (s *stack) attend(ctx context.Context, messages []types.Message) {
	var ev events.SQSEvent
	for _, m := range messages {
		ev.Records = append(ev.Records, events.SQSMessage{EventSource: "aws:sqs", MessageId: aws.ToString(m.MessageId), Body: aws.ToString(m.Body), ReceiptHandle: aws.ToString(m.ReceiptHandle)})
	}
	payload, err := json.Marshal(ev)
	if err != nil {
		return
	}
	out, err := s.functions[web.FunctionRefresh].Call(ctx, payload)
	var answer events.SQSEventResponse
	if err != nil || json.Unmarshal(out, &answer) != nil {
		fmt.Fprintf(s.log, "queue | a batch failed: %v %s\n", err, out)
		return
	}
	again := map[string]bool{}
	for _, f := range answer.BatchItemFailures {
		again[f.ItemIdentifier] = true
	}
	for _, m := range messages {
		if again[aws.ToString(m.MessageId)] {
			continue
		}
		if _, err := s.res.queue.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &s.res.queueURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
			fmt.Fprintf(s.log, "queue | a message was not deleted: %v\n", err)
		}
	}
}
