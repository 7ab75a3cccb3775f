package bridge

import (
	"context"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// Again decides about a tools/call whose answer is an error: true has the very
// same call sent once more, to the server that takes calls then. The answer is
// held meanwhile, so it should be quick; it is asked once a call, and ctx ends
// after [Config.Hold]. What a server says is hostile: that an answer reads like
// a reason for a second try must not be all that it takes for one.
type Again func(ctx context.Context, answer []byte) bool

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

// second sends first again if it may be, and returns the call that is waited
// for then. That one is never sent again.
func (s *session) second(ctx context.Context, first *call, a answer, m mcp.Message, token mcp.Span) *call {
	if !first.again(ctx, a.msg.Raw) || ctx.Err() != nil {
		return nil
	}
	c := &call{session: s, id: first.id, token: first.token, side: first.side, done: make(chan answer, 1)}
	if s.submit(ctx, c, m, token) != nil {
		return nil // no server took it, so it has not been sent
	}
	return c
}

// hold gives try its time, and then hands over what it returned. Whoever goes
// away instead, by ending ctx, leaves no call behind.
func hold(ctx context.Context, atMost time.Duration, try func(context.Context) *call) <-chan *call {
	out := make(chan *call)
	go func() {
		trying, cancel := context.WithTimeout(ctx, atMost)
		c := try(trying)
		cancel()
		select {
		case out <- c:
		case <-ctx.Done():
			if c != nil {
				c.process.abandon(c)
			}
		}
	}()
	return out
}
