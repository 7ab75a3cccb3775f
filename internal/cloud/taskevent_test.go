package cloud_test

import (
	"strings"
	"testing"
)

// TestEndedTask: what AWS says of a task that ended, as a person is told it.
func TestEndedTask(t *testing.T) {
	t.Parallel()
	const head = `{"clusterArn":"arn:aws:ecs:eu-central-1:1:cluster/lanyard","taskArn":"arn:aws:ecs:eu-central-1:1:task/lanyard/a","lastStatus":"STOPPED","desiredStatus":"STOPPED","startedBy":"tsk_1",`
	for _, test := range []struct{ detail, why string }{
		{`"stopCode":"EssentialContainerExited","stoppedReason":"Essential container in task exited","containers":[{"name":"runner","exitCode":137,"reason":"OutOfMemoryError: Container killed due to memory usage"}]}`, "more memory"},
		{`"stopCode":"EssentialContainerExited","stoppedReason":"Essential container in task exited","containers":[{"name":"runner","exitCode":3}]}`, "exit code 3"},
		{`"stopCode":"TaskFailedToStart","stoppedReason":"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref 1.dkr.ecr.eu-central-1.amazonaws.com/x@sha256:0"}`, "image"},
		{`"stopCode":"TaskFailedToStart","stoppedReason":"CannotPullImageManifestError: no such image"}`, "image"},
		{`"stopCode":"TaskFailedToStart","stoppedReason":"ResourceInitializationError: failed to configure ENI"}`, "could not be started"},
		{`"stopCode":"SpotInterruption","stoppedReason":"Your Spot Task was interrupted."}`, "took the machine"},
		{`"stopCode":"UserInitiated","stoppedReason":"ended by somebody"}`, "was stopped"},
		{`"stoppedReason":"something new","containers":[]}`, "its task ended"},
	} {
		e, ok := newLauncher(nil).EndedTask([]byte(head + test.detail))
		if !ok || e.TaskID != "tsk_1" || !strings.Contains(e.Why, test.why) {
			t.Errorf("%s\n%+v %v", test.detail, e, ok)
		}
		// AWS's own words name the operator's affairs.
		for _, theirs := range []string{"Error", "ecr", "sha256", "ENI"} {
			if strings.Contains(e.Why, theirs) {
				t.Errorf("a person is told %q", e.Why)
			}
		}
		if !strings.Contains(test.detail, e.Said[strings.LastIndex(e.Said, "; ")+2:][:4]) {
			t.Errorf("the log is told %q", e.Said)
		}
	}
	for name, detail := range map[string]string{
		"still stopping":  strings.Replace(head, "STOPPED", "STOPPING", 1) + `"stopCode":""}`,
		"another cluster": strings.Replace(head, "cluster/lanyard", "cluster/other", 1) + `"stopCode":""}`,
		"not ours":        strings.Replace(head, "tsk_1", "ecs-svc/1", 1) + `"stopCode":""}`,
		"no task":         `{}`, "nothing": ``, "no object": `[]`, "malformed": `{"containers":7}`,
	} {
		if e, ok := newLauncher(nil).EndedTask([]byte(detail)); ok {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
