package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/mcp"
)

const (
	// streamAfter is how long an answer may take before it becomes an event
	// stream: clients and proxies then see that it is still being made.
	streamAfter = time.Second
	// progressEvery is between the notes that the server is still starting.
	progressEvery = 3 * time.Second
	// lookEvery is how often who only listens looks whether a server runs.
	lookEvery = time.Second
	// lookSeldom is how often at least a remote server is asked for a stream that it
	// did not have.
	lookSeldom = 5 * time.Minute
)

// arrival is what became of a request that was passed on.
type arrival struct {
	// conn is the connection whose server it was for.
	conn connection.Connection
	resp *http.Response
	err  error
}

// call passes a request on, and has the server started and waits for it if need
// be. What only its person can give is asked for.
func (x *exchange) call() {
	switch {
	case !x.answered():
	case x.accepted:
		x.forward("Waiting for "+x.title()+" to be connected…", x.service.upstream, func(ctx context.Context) (connection.Connection, error) {
			c, err := x.given(ctx)
			if err == nil {
				err = x.service.await(ctx, c, waitForTask)
			}
			return c, err
		})
	case x.Refused != nil:
		x.refuse(x.Refused)
	default:
		x.forward("Starting "+x.title()+"…", x.service.upstream, func(ctx context.Context) (connection.Connection, error) {
			return x.Connection, x.service.await(ctx, x.Connection, waitForTask)
		})
	}
}

// forward passes the request on to the connection that ready returns, and says
// meanwhile that it is under way.
func (x *exchange) forward(meanwhile string, via func(connection.Connection) http.RoundTripper, ready func(context.Context) (connection.Connection, error)) {
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	x.service.pending.add(x.callKey(x.id()), cancel)
	defer x.service.pending.remove(x.callKey(x.id()))
	up, done := make(chan struct{}), make(chan arrival, 1)
	go func() {
		c, err := ready(ctx)
		if err != nil {
			done <- arrival{conn: c, err: err}
			return
		}
		close(up)
		resp, err := x.send(ctx, via(c), http.MethodPost)
		done <- arrival{c, resp, err}
	}()
	note := progressOf(x.m)
	quiet := time.NewTimer(streamAfter)
	defer quiet.Stop()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-up: // from now on the request is the server's: to speak of, and to cancel
			up, note = nil, nil
			x.service.pending.remove(x.callKey(x.id()))
		case a := <-done:
			x.conclude(ctx, a)
			return
		case <-tick.C:
			if x.begun && note != nil {
				x.event(note.next(meanwhile))
				quiet.Reset(keepAlive)
			}
		case <-quiet.C:
			switch {
			case x.streams && note != nil:
				x.event(note.next(meanwhile))
			case x.streams:
				x.comment()
			}
			quiet.Reset(keepAlive)
		case <-ctx.Done():
			x.conclude(ctx, arrival{err: ctx.Err()})
			go func() {
				if a := <-done; a.resp != nil {
					a.resp.Body.Close()
				}
			}()
			return
		}
	}
}

// conclude writes the answer, or why there is none.
func (x *exchange) conclude(ctx context.Context, a arrival) {
	if a.conn.ID != "" {
		x.Connection = a.conn
	}
	switch {
	case a.err == nil:
		x.pass(a.resp)
	case errors.Is(context.Cause(ctx), errCancelled):
		if !x.begun {
			x.w.WriteHeader(http.StatusAccepted)
		}
	case x.gone():
	case x.r.Context().Err() != nil:
		x.fail(ErrTooLong)
	case errors.Is(a.err, ErrStarting) && x.m.Method == "tools/call":
		x.finish(http.StatusOK, mcp.Reply(x.id(), toolFailure(x.title()+" is still starting. Call again in a moment.", "", x.version)))
	default:
		x.refuse(a.err)
	}
}

// toolFailure is the result of a tool call that failed with this text: a model
// reads it, where it would not see an error of the protocol. The challenge, if
// there is one, is for clients that sign in upon it.
func toolFailure(text, challenge, version string) []byte {
	result := map[string]any{"content": []map[string]string{{"type": "text", "text": text}}, "isError": true}
	if challenge != "" {
		result["_meta"] = map[string][]string{metaChallenge: {challenge}}
	}
	if version != "" {
		result["resultType"] = "complete"
	}
	b, err := json.Marshal(result)
	if err != nil {
		panic(err) // it is plain data
	}
	return b
}

// title is the server's name for people.
func (x *exchange) title() string {
	if server, ok := x.service.Catalogue.Server(x.Connection.Server); ok && server.DisplayName != "" {
		return server.DisplayName
	}
	return x.Connection.Server
}

// progress makes the notes of one request's progress.
type progress struct {
	token []byte
	said  int
}

// progressOf is nil where the request wants no notes.
func progressOf(m mcp.Message) *progress {
	at, err := mcp.Lookup(m.Raw, m.Params, "_meta", "progressToken")
	if err != nil || !at.Present() || m.Raw[at.Start] == '{' || m.Raw[at.Start] == '[' {
		return nil
	}
	return &progress{token: m.Bytes(at)}
}

// next is another note. Progress must rise with each (MCP, progress), and the
// server's own, which follows, begins at zero or above: so this stays below.
func (p *progress) next(text string) []byte {
	p.said++
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // it is a string
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%.3f,"message":%s}}`,
		p.token, float64(p.said)/1000-1, quoted)
}

// subscribe is a modern client's wish to hear of changes. Where a process
// serves one request at a time, a few that listen would keep everybody else out:
// there it is told that it will hear of none, which the time that it may keep a
// list makes bearable.
func (x *exchange) subscribe() {
	switch {
	case x.Refused != nil:
		x.fail(x.Refused)
	case x.service.Inline:
		x.unheard()
	default:
		x.forward("Starting "+x.title()+"…", x.service.asItIs, x.appears)
	}
}

// unheard acknowledges a wish to hear of changes, of none, and ends it.
func (x *exchange) unheard() {
	x.event(mcp.Acknowledged(x.id(), []byte(`{}`)))
	x.event(mcp.Unsubscribed(x.id()))
}

// appears returns when the connection's server runs, without having it started.
func (x *exchange) appears(ctx context.Context) (connection.Connection, error) {
	for !x.running() {
		if err := sleep(ctx, lookEvery); err != nil {
			return x.Connection, err
		}
	}
	return x.Connection, nil
}

// pending are the requests of this process that were not passed on yet: until
// then, only we can cancel them.
type pending struct {
	mu    sync.Mutex
	calls map[string]context.CancelCauseFunc
}

// callKey is a request's key among those that are pending; none of the modern
// era, whose clients cancel by leaving.
func (x *exchange) callKey(id []byte) string {
	if x.session == nil {
		return ""
	}
	return x.Client + "\x00" + x.session.inner + "\x00" + string(id)
}

func (p *pending) add(key string, cancel context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		p.calls = map[string]context.CancelCauseFunc{}
	}
	if key != "" {
		p.calls[key] = cancel
	}
}

func (p *pending) remove(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.calls, key)
}

func (p *pending) cancel(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cancel := p.calls[key]; cancel != nil {
		cancel(errCancelled)
	}
}

// cancelPending cancels the request that the notification names, if it was not
// passed on yet.
func (x *exchange) cancelPending() {
	if at, err := mcp.Lookup(x.m.Raw, x.m.Params, "requestId"); err == nil && at.Present() {
		x.service.pending.cancel(x.callKey(x.m.Bytes(at)))
	}
}
