package main

import "testing"

// TestDeadLetters: a message that fails each time is moved before it is too old
// to be kept, and is attended by itself.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	tpl := synth(t, shipped).service
	found := false
	for _, id := range tpl.of("AWS::SQS::Queue") {
		q := tpl.Resources[id]
		redrive := q.at("RedrivePolicy")
		if redrive == nil {
			continue
		}
		found = true
		visibility, _ := q.at("VisibilityTimeout").(float64)
		retention, _ := q.at("MessageRetentionPeriod").(float64)
		receives, _ := q.at("RedrivePolicy", "maxReceiveCount").(float64)
		if visibility*receives >= retention || visibility*receives == 0 {
			t.Errorf("%s: moved after %v times %v s, kept for %v s", id, receives, visibility, retention)
		}
		for _, name := range tpl.of("AWS::Lambda::Function") {
			f := tpl.Resources[name]
			if timeout, _ := f.at("Timeout").(float64); flat(f.at("FunctionName")) == "lanyard-"+refresh && visibility < 6*timeout {
				t.Errorf("%s: hidden for %v s, refresh takes up to %v s", id, visibility, timeout)
			}
		}
	}
	if !found {
		t.Error("no queue has a dead-letter queue")
	}
	mapping := tpl.Resources[tpl.of("AWS::Lambda::EventSourceMapping")[0]]
	if flat(mapping.at("BatchSize")) != "10" || flat(mapping.at("MaximumBatchingWindowInSeconds")) != "0" || flat(mapping.at("FunctionResponseTypes")) != "ReportBatchItemFailures" {
		t.Errorf("%v", mapping.Properties)
	}
}
