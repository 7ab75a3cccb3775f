package cloud

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/provider"
)

// What EventBridge says of a task of ECS.
const (
	TaskEventSource = "aws.ecs"
	TaskEventType   = "ECS Task State Change"
)

// taskEvent is the part of a task-state-change event that is read. In place of
// what its texts say by themselves, people are told what is known of them:
//
//	https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
//	https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
type taskEvent struct {
	ClusterARN    string `json:"clusterArn"`
	LastStatus    string `json:"lastStatus"`
	StartedBy     string `json:"startedBy"`
	StopCode      string `json:"stopCode"`
	StoppedReason string `json:"stoppedReason"`
	Containers    []struct {
		Name     string `json:"name"`
		Reason   string `json:"reason"`
		ExitCode *int   `json:"exitCode"`
	} `json:"containers"`
}

// EndedTask reads the detail of a task-state-change event. It is false for what
// tells of no end, or of no task of ours.
func (l *Launcher) EndedTask(detail json.RawMessage) (host.Ended, bool) {
	var e taskEvent
	if json.Unmarshal(detail, &e) != nil {
		return host.Ended{}, false
	}
	cluster := e.ClusterARN[strings.LastIndexByte(e.ClusterARN, '/')+1:]
	if e.LastStatus != "STOPPED" || cluster != l.Cluster || !strings.HasPrefix(e.StartedBy, taskPrefix) {
		return host.Ended{}, false
	}
	return host.Ended{TaskID: e.StartedBy, Why: e.why(), Said: provider.Clean(e.said())}, true
}

// said is all that ECS says of the end.
func (e taskEvent) said() string {
	said := []string{e.StopCode, e.StoppedReason}
	for _, c := range e.Containers {
		if c.Reason != "" {
			said = append(said, c.Name+": "+c.Reason)
		}
	}
	return strings.Join(said, "; ")
}

func (e taskEvent) why() string {
	said := e.said()
	for _, known := range []struct{ code, text, why string }{
		{"", "OutOfMemory", "it took more memory than its task has"},
		{"", "CannotPull", "the image of its task could not be fetched"},
		{"", "pull image manifest", "the image of its task could not be fetched"},
		{"TaskFailedToStart", "", "its task could not be started: AWS had no place for it, or not all that it needs"},
		{"SpotInterruption", "", "AWS took the machine of its task away"},
		{"TerminationNotice", "", "AWS took the machine of its task away"},
		{"UserInitiated", "", "its task was stopped"},
	} {
		if strings.Contains(e.StopCode, known.code) && strings.Contains(said, known.text) {
			return known.why
		}
	}
	for _, c := range e.Containers {
		if c.ExitCode != nil && c.Name == container {
			return fmt.Sprintf("its task ended with exit code %d", *c.ExitCode)
		}
	}
	return "its task ended"
}
