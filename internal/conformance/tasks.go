package conformance

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/host"
)

// Tasks is the suite of host.Store.
func Tasks(t *testing.T, newStore func(*testing.T) host.Store) {
	for name, check := range map[string]func(*testing.T, host.Store){
		"BeginTask":                beginTask,
		"BeginTaskWhileRunning":    beginTaskWhileRunning,
		"BeginTaskReplacesFailed":  beginTaskReplacesFailed,
		"BeginTaskRefusesATakenID": beginTaskRefusesATakenID,
		"BeginTaskRaced":           beginTaskRaced,
		"GenerationsOutliveTasks":  generationsOutliveTasks,
		"GetUnknown":               getUnknownTask,
		"UpdateTask":               updateTask,
		"UpdateTaskErrorLeavesIt":  updateTaskErrorLeavesIt,
		"UpdateTaskRaced":          updateTaskRaced,
		"UpdateTaskKeepsTheKey":    updateTaskKeepsTheKey,
		"EndTask":                  endTask,
		"Tasks":                    listTasks,
		"TicketTradedOnce":         ticketTradedOnce,
		"MCPTokenKeepsEveryField":  mcpTokenKeepsEveryField,
		"MCPTokenTaken":            mcpTokenTaken,
		"MCPTokensOldestFirst":     mcpTokensOldestFirst,
		"DeleteMCPToken":           deleteMCPToken,
		"DeletedMCPTokenIsNotPut":  deletedMCPTokenIsNotPutAgain,
		"DeleteMCPTokens":          deleteMCPTokens,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newStore(t))
		})
	}
}

// sampleTask is of connection con_<n>.
func sampleTask(n int) host.Task {
	return host.Task{
		ID: fmt.Sprint("tsk_", n), Connection: key(fmt.Sprint("con_", n)), Server: "drive", State: host.TaskStarting,
		TicketHash: "ticket", TicketExpires: expiry, IdentityHash: "identity", Address: "[fd00::1]:8443",
		KeyFingerprint: "sha256:1", Detail: "detail", StartedAt: epoch, LastUsedAt: epoch, CheckedAt: epoch, Failures: 3, RetryAt: expiry, Gone: true,
	}
}

func begin(t *testing.T, s host.Store, task host.Task) host.Task {
	t.Helper()
	got, err := s.BeginTask(t.Context(), task)
	ok(t, err)
	return got
}

func fail(t *testing.T, s host.Store, id string) {
	t.Helper()
	_, err := s.UpdateTask(t.Context(), id, func(task *host.Task) error {
		task.State = host.TaskFailed
		return nil
	})
	ok(t, err)
}

func beginTask(t *testing.T, s host.Store) {
	want := sampleTask(1)
	want.Generation = 1
	same(t, begin(t, s, sampleTask(1)), want)
	got, err := s.GetTask(t.Context(), want.ID)
	ok(t, err)
	same(t, got, want)
	got, err = s.TaskOf(t.Context(), want.Connection)
	ok(t, err)
	same(t, got, want)
}

func beginTaskWhileRunning(t *testing.T, s host.Store) {
	first := begin(t, s, sampleTask(1))
	for _, state := range []host.TaskState{host.TaskStarting, host.TaskClaimed, host.TaskReady} {
		live, err := s.UpdateTask(t.Context(), first.ID, func(task *host.Task) error {
			task.State = state
			return nil
		})
		ok(t, err)
		second := sampleTask(1)
		second.ID = "tsk_other"
		got, err := s.BeginTask(t.Context(), second)
		wantErr(t, err, host.ErrRunning)
		same(t, got, live)
		_, err = s.GetTask(t.Context(), second.ID)
		wantErr(t, err, host.ErrNoTask)
	}
}

func beginTaskReplacesFailed(t *testing.T, s host.Store) {
	first := begin(t, s, sampleTask(1))
	fail(t, s, first.ID)
	second := sampleTask(1)
	second.ID = "tsk_other"
	second = begin(t, s, second)
	if second.Generation != 2 {
		t.Errorf("generation %d, want 2", second.Generation)
	}
	_, err := s.GetTask(t.Context(), first.ID)
	wantErr(t, err, host.ErrNoTask)
	// The failed one is gone: ending it late ends nothing else.
	ok(t, s.EndTask(t.Context(), first.ID))
	got, err := s.TaskOf(t.Context(), first.Connection)
	ok(t, err)
	same(t, got, second)
}

func beginTaskRefusesATakenID(t *testing.T, s host.Store) {
	first := begin(t, s, sampleTask(1))
	stolen := sampleTask(2)
	stolen.ID = first.ID
	_, err := s.BeginTask(t.Context(), stolen)
	wantErr(t, err, host.ErrExists)
	got, err := s.GetTask(t.Context(), first.ID)
	ok(t, err)
	same(t, got, first)
	_, err = s.TaskOf(t.Context(), stolen.Connection)
	wantErr(t, err, host.ErrNoTask)
}

// beginTaskRaced: one begins, and all others learn of that very task, also
// when a failed one is to be replaced.
func beginTaskRaced(t *testing.T, s host.Store) {
	for round := range 2 {
		var begun atomic.Value
		told := make([]string, 32)
		oneWins(t, len(told), host.ErrRunning, func(i int) error {
			task := sampleTask(1)
			task.ID = fmt.Sprint("tsk_", round, "_", i)
			got, err := s.BeginTask(t.Context(), task)
			if err == nil {
				begun.Store(got.ID)
			}
			told[i] = got.ID
			return err
		})
		for i, id := range told {
			if id != begun.Load() {
				t.Errorf("racer %d was told of %q, begun was %q", i, id, begun.Load())
			}
		}
		live, err := s.TaskOf(t.Context(), key("con_1"))
		ok(t, err)
		if live.Generation != int64(round+1) {
			t.Errorf("generation %d in round %d", live.Generation, round)
		}
		fail(t, s, live.ID)
	}
}

func generationsOutliveTasks(t *testing.T, s host.Store) {
	for want := int64(1); want <= 3; want++ {
		task := begin(t, s, sampleTask(1))
		if task.Generation != want {
			t.Errorf("generation %d, want %d", task.Generation, want)
		}
		ok(t, s.EndTask(t.Context(), task.ID))
	}
	if other := begin(t, s, sampleTask(2)); other.Generation != 1 {
		t.Errorf("another connection begins with generation %d", other.Generation)
	}
}

func getUnknownTask(t *testing.T, s host.Store) {
	begin(t, s, sampleTask(1))
	_, err := s.GetTask(t.Context(), "tsk_2")
	wantErr(t, err, host.ErrNoTask)
	for _, k := range []string{"con_2", ""} {
		_, err = s.TaskOf(t.Context(), key(k))
		wantErr(t, err, host.ErrNoTask)
	}
	elsewhere := key("con_1")
	elsewhere.Tenant = "other"
	_, err = s.TaskOf(t.Context(), elsewhere)
	wantErr(t, err, host.ErrNoTask)
	_, err = s.UpdateTask(t.Context(), "tsk_2", func(*host.Task) error {
		t.Error("change was called although there is no task")
		return nil
	})
	wantErr(t, err, host.ErrNoTask)
}

func updateTask(t *testing.T, s host.Store) {
	want := begin(t, s, sampleTask(1))
	before := want
	want.State, want.LastUsedAt = host.TaskReady, expiry
	got, err := s.UpdateTask(t.Context(), want.ID, func(task *host.Task) error {
		same(t, *task, before)
		task.State, task.LastUsedAt = host.TaskReady, expiry
		return nil
	})
	ok(t, err)
	same(t, got, want)
	got, err = s.GetTask(t.Context(), want.ID)
	ok(t, err)
	same(t, got, want)
}

func updateTaskErrorLeavesIt(t *testing.T, s host.Store) {
	want := begin(t, s, sampleTask(1))
	refused := errors.New("refused")
	_, err := s.UpdateTask(t.Context(), want.ID, func(task *host.Task) error {
		task.State = host.TaskFailed
		return refused
	})
	wantErr(t, err, refused)
	got, err := s.GetTask(t.Context(), want.ID)
	ok(t, err)
	same(t, got, want)
}

func updateTaskRaced(t *testing.T, s host.Store) {
	const n = 32
	task := begin(t, s, sampleTask(1))
	race(n, func(int) {
		_, err := s.UpdateTask(t.Context(), task.ID, func(task *host.Task) error {
			task.LastUsedAt = task.LastUsedAt.Add(time.Second)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	got, err := s.GetTask(t.Context(), task.ID)
	ok(t, err)
	same(t, got.LastUsedAt, task.LastUsedAt.Add(n*time.Second))
}

func updateTaskKeepsTheKey(t *testing.T, s host.Store) {
	want := begin(t, s, sampleTask(1))
	_, err := s.UpdateTask(t.Context(), want.ID, func(task *host.Task) error {
		task.ID, task.Connection = "tsk_2", key("con_2")
		return nil
	})
	ok(t, err)
	got, err := s.TaskOf(t.Context(), want.Connection)
	ok(t, err)
	same(t, got, want)
}

func endTask(t *testing.T, s host.Store) {
	task := begin(t, s, sampleTask(1))
	for range 2 { // the second is of one that is gone
		ok(t, s.EndTask(t.Context(), task.ID))
		_, err := s.GetTask(t.Context(), task.ID)
		wantErr(t, err, host.ErrNoTask)
		_, err = s.TaskOf(t.Context(), task.Connection)
		wantErr(t, err, host.ErrNoTask)
	}
}

func listTasks(t *testing.T, s host.Store) {
	elsewhere := sampleTask(3)
	elsewhere.Connection.Tenant = "other"
	want := map[string]host.Task{}
	for _, task := range []host.Task{sampleTask(1), sampleTask(2), elsewhere} {
		want[task.ID] = begin(t, s, task)
	}
	fail(t, s, "tsk_2")
	failed := want["tsk_2"]
	failed.State = host.TaskFailed
	want["tsk_2"] = failed
	all, err := s.Tasks(t.Context())
	ok(t, err)
	got := map[string]host.Task{}
	for _, task := range all {
		got[task.ID] = task
	}
	same(t, got, want)
	same(t, len(all), len(want))
}

// ticketTradedOnce is what UpdateTask's atomicity is for.
func ticketTradedOnce(t *testing.T, s host.Store) {
	task := begin(t, s, sampleTask(1))
	spent := errors.New("the ticket was traded")
	oneWins(t, 32, spent, func(int) error {
		_, err := s.UpdateTask(t.Context(), task.ID, func(task *host.Task) error {
			if task.TicketHash == "" {
				return spent
			}
			task.TicketHash, task.State = "", host.TaskClaimed
			return nil
		})
		return err
	})
}
