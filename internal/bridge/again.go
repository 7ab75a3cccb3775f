package bridge

import (
	"context"
	"encoding/json"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// Again decides about a tools/call whose answer is an error. The answer is held
// meanwhile, so it should be quick; it is asked once a call, and ctx ends after
// [Config.Hold]. What a server says is hostile: that an answer reads like a
// reason for a second try must not be all that it takes for one.
type Again func(ctx context.Context, answer []byte) Verdict

// Verdict is what becomes of an answer that is an error.
type Verdict struct {
	// Repeat has the very same call sent once more, to the server that takes
	// calls then, if its tool declares that this does no harm: as read-only or
	// idempotent, in the newest list that the server gave.
	Repeat bool
	// Note is added to the answer if the client gets it, for the person. Empty:
	// nothing is.
	Note string
}

// trial is a call that may be sent a second time. While its first answer is
// held no process knows of it, so that it is here that its cancellation finds
// it.
type trial struct {
	id        string
	cancelled chan struct{}
}

// watch makes the session find the trial until the function that it returns is
// called.
func (s *session) watch(t *trial) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trials == nil {
		s.trials = map[*trial]bool{}
	}
	s.trials[t] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.trials, t)
	}
}

// giveUp cancels the trials of calls with this id.
func (s *session) giveUp(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.trials {
		if t.id == id {
			delete(s.trials, t) // closed once
			close(t.cancelled)
		}
	}
}

// outcome is what follows a held answer: another call to wait for, or the answer
// with a note.
type outcome struct {
	next *call
	note string
}

// second sends first again if it may be, and returns the call that is waited
// for then. That one is never sent again.
func (s *session) second(ctx context.Context, first *call, a answer, m mcp.Message, token mcp.Span) outcome {
	v := first.again(ctx, a.msg.Raw)
	if !v.Repeat || ctx.Err() != nil || !s.backend.b.lists.tool(m).Repeatable {
		return outcome{note: v.Note}
	}
	c := &call{session: s, id: first.id, token: first.token, side: first.side, done: make(chan answer, 1)}
	if s.submit(ctx, c, m, token) != nil {
		return outcome{note: v.Note} // no server took it, so it has not been sent
	}
	return outcome{next: c}
}

// hold gives try its time, and then hands over what it returned. Whoever goes
// away instead, by ending ctx, leaves no call behind.
func hold(ctx context.Context, atMost time.Duration, try func(context.Context) outcome) <-chan outcome {
	out := make(chan outcome)
	go func() {
		trying, cancel := context.WithTimeout(ctx, atMost)
		o := try(trying)
		cancel()
		select {
		case out <- o:
		case <-ctx.Done():
			if o.next != nil {
				o.next.process.abandon(o.next)
			}
		}
	}()
	return out
}

// annotate adds a note to an error that a frame carries: a text to a tool's
// result, the end of the message to an error of JSON-RPC. What has neither is
// left as it is.
func annotate(f *mcp.Frame, m mcp.Message, note string) {
	if m.Result.Present() {
		at, err := mcp.Lookup(m.Raw, m.Result, "content")
		if err != nil || !at.Present() || m.Raw[at.Start] != '[' {
			return
		}
		item, err := json.Marshal(map[string]string{"type": "text", "text": note})
		if err != nil {
			return
		}
		var items []json.RawMessage
		if json.Unmarshal(m.Bytes(at), &items) != nil {
			return
		}
		if len(items) > 0 {
			item = append([]byte{','}, item...)
		}
		f.Replace(mcp.Span{Start: at.End - 1, End: at.End - 1}, item)
		return
	}
	at, err := mcp.Lookup(m.Raw, m.Fault, "message")
	var text string
	if err != nil || !at.Present() || json.Unmarshal(m.Bytes(at), &text) != nil {
		return
	}
	if quoted, err := json.Marshal(text + "\n" + note); err == nil {
		f.Replace(at, quoted)
	}
}
