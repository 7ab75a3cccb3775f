// Package lambdas runs Lambda functions from their real bootstrap binaries, as
// AWS does: each instance is a process with a Runtime API of its own, serves
// one invocation at a time, is given nothing but its settings, and stands still
// between invocations.
package lambdas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Function is a deployed function. Set its fields before the first Invoke.
type Function struct {
	Name string
	// Bootstrap is the binary.
	Bootstrap string
	// Env are the settings that the deployment gives it, beside what Lambda
	// itself sets.
	Env map[string]string
	// Timeout bounds an invocation, as the function's own setting does.
	Timeout time.Duration
	// Memory is in MiB. It is told to the function, and not enforced.
	Memory int
	// Concurrency is how many instances there may be; more wait.
	Concurrency int
	// Log takes what the instances print, a line at a time.
	Log io.Writer

	mu    sync.Mutex
	idle  []*instance
	all   map[*instance]bool
	slots chan struct{}
	// closed: no instance is started any more.
	closed bool
}

// Response is what an invocation came to.
type Response struct {
	ContentType string
	// Body is sent while it is made. Close it, read or not. Its error is
	// *FunctionError if the function broke off.
	Body io.ReadCloser
	// ended is closed when the instance is free again.
	ended <-chan struct{}
}

// FunctionError is an invocation that failed, in the function's own words.
type FunctionError struct {
	// Payload is the JSON that the runtime reported: errorType, errorMessage.
	Payload []byte
	// Unhandled: the function ended or ran out of time.
	Unhandled bool
}

func (e *FunctionError) Error() string { return "the function failed: " + string(e.Payload) }

var errClosed = errors.New("the function was deleted")

// Invoke runs one invocation. It returns when the function begins to answer.
func (f *Function) Invoke(ctx context.Context, payload []byte) (*Response, error) {
	release, err := f.slot(ctx)
	if err != nil {
		return nil, err
	}
	in, err := f.instance()
	if err != nil {
		release()
		return nil, err
	}
	j := &job{id: newID(), payload: payload, deadline: time.Now().Add(f.Timeout), answered: make(chan answer, 1), ended: make(chan struct{})}
	timer := time.AfterFunc(f.Timeout, func() {
		j.fail(&FunctionError{Payload: fmt.Appendf(nil, `{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: %s Error: Task timed out after %.2f seconds"}`, j.id, f.Timeout.Seconds()), Unhandled: true})
		in.kill()
	})
	in.begin(j)
	free := make(chan struct{})
	go func() {
		<-j.ended
		timer.Stop()
		f.back(in)
		release()
		close(free)
	}()
	a := <-j.answered
	if a.err != nil {
		<-free
		return nil, a.err
	}
	return &Response{ContentType: a.contentType, Body: a.body, ended: free}, nil
}

// Call is Invoke for an answer that is wanted whole. It returns when the
// instance is free again, so that a next call finds it.
func (f *Function) Call(ctx context.Context, payload []byte) ([]byte, error) {
	r, err := f.Invoke(ctx, payload)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	out, err := io.ReadAll(r.Body)
	<-r.ended
	return out, err
}

func (f *Function) slot(ctx context.Context) (release func(), err error) {
	f.mu.Lock()
	if f.slots == nil {
		f.slots = make(chan struct{}, max(1, f.Concurrency))
	}
	slots := f.slots
	f.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// instance is one that stands idle, or a new one.
func (f *Function) instance() (*instance, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, errClosed
	}
	for len(f.idle) > 0 {
		in := f.idle[len(f.idle)-1]
		f.idle = f.idle[:len(f.idle)-1]
		if !in.dead() {
			f.mu.Unlock()
			return in, nil
		}
	}
	f.mu.Unlock()
	in, err := f.start()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		in.kill()
		return nil, errClosed
	}
	if f.all == nil {
		f.all = map[*instance]bool{}
	}
	f.all[in] = true
	return in, nil
}

func (f *Function) back(in *instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.dead() {
		delete(f.all, in)
		return
	}
	f.idle = append(f.idle, in)
}

// Close ends all instances, as when the function is deleted.
func (f *Function) Close() {
	f.mu.Lock()
	f.closed = true
	all := f.all
	f.all, f.idle = nil, nil
	f.mu.Unlock()
	for in := range all {
		in.kill()
		<-in.gone
	}
}

// Instances is how many processes there are.
func (f *Function) Instances() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for in := range f.all {
		if !in.dead() {
			n++
		}
	}
	return n
}

// FirstTimes are the times of the instances that there are.
func (f *Function) FirstTimes() (out []Times) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for in := range f.all {
		in.mu.Lock()
		out = append(out, in.times)
		in.mu.Unlock()
	}
	return out
}

// lines passes whole lines on, with a prefix.
type lines struct {
	mu     sync.Mutex
	prefix string
	to     io.Writer
	part   []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		fmt.Fprintf(l.to, "%s%s\n", l.prefix, l.part[:i])
		l.part = l.part[i+1:]
	}
}
