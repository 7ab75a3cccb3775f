package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// remoteSession is one client's session at a remote server.
type remoteSession struct {
	// opening lets one request at a time begin it.
	opening sync.Mutex
	// open: it was begun. id is the server's; empty: the server has no sessions.
	open bool
	id   string
	// told: the server knows that the client is ready.
	told bool
	used time.Time
}

// session is that of the id that the client's side knows.
func (r *remotes) session(inner string, now time.Time) *remoteSession {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = map[string]*remoteSession{}
	}
	s, ok := r.sessions[inner]
	if !ok {
		if len(r.sessions) >= maxRemoteSessions {
			oldest := ""
			for name, s := range r.sessions {
				if o := r.sessions[oldest]; o == nil || s.used.Before(o.used) {
					oldest = name
				}
			}
			delete(r.sessions, oldest)
		}
		s = &remoteSession{}
		r.sessions[inner] = s
	}
	s.used = now
	return s
}

func (r *remotes) endSession(inner string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, inner)
}

// inSession sends the request in the server's session that belongs to the
// client's.
func (tr remoteTransport) inSession(ctx context.Context, r remoteRequest, inner, opens string) (*http.Response, error) {
	remotes := &tr.service.remotes
	// One of before the connection was made anew is of another account, or elsewhere.
	name := fmt.Sprint(tr.conn.Tenant, " ", tr.conn.ID, " ", tr.conn.ConnectedAt.UnixNano(), " ", inner)
	m, _ := mcp.Parse(r.body)
	if m.Request() && m.Method == "initialize" {
		remotes.endSession(name)
		resp, err := tr.exchange(ctx, r)
		if err != nil {
			return nil, err
		}
		if err := remotes.session(name, tr.service.Now()).begun(resp); err != nil {
			resp.Body.Close()
			return nil, err
		}
		return tr.judged(ctx, resp)
	}
	for again := false; ; again = true {
		at := remotes.session(name, tr.service.Now())
		id, known, err := tr.enter(ctx, r, at, opens, m.Request() || r.method == http.MethodGet)
		if err != nil {
			return nil, err
		}
		if !known || m.Method == "notifications/initialized" { // which was told
			return accepted(), nil
		}
		if id != "" {
			r.header.Set(mcp.SessionHeader, id)
		}
		resp, err := tr.exchange(ctx, r)
		switch {
		case err != nil:
			return nil, err
		case r.method == http.MethodDelete:
			remotes.endSession(name)
		case resp.StatusCode == http.StatusNotFound && id != "" && !again:
			// The session has ended over there (Streamable HTTP, sessions), and the
			// request was not processed.
			resp.Body.Close()
			r.header.Del(mcp.SessionHeader)
			remotes.endSession(name)
			continue
		}
		return tr.judged(ctx, resp)
	}
}

// accepted answers for a server that has nothing to do with what was sent: it
// belongs to a session that does not exist over there.
func accepted() *http.Response {
	return &http.Response{StatusCode: http.StatusAccepted, Header: http.Header{}, Body: http.NoBody}
}

// enter returns the session's id at the server, which is begun if need be and so
// wanted.
func (tr remoteTransport) enter(ctx context.Context, r remoteRequest, at *remoteSession, opens string, begin bool) (id string, known bool, err error) {
	at.opening.Lock()
	defer at.opening.Unlock()
	if !at.open {
		if !begin {
			return "", false, nil
		}
		if err := tr.open(ctx, r, at, opens); err != nil {
			return "", false, err
		}
	}
	if !at.told {
		if err := tr.tell(ctx, r, at); err != nil {
			return "", false, err
		}
		at.told = true
	}
	return at.id, true, nil
}

// begun notes how the server answered initialize.
func (at *remoteSession) begun(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	id, err := namedBy(resp)
	if err != nil {
		return err
	}
	at.opening.Lock()
	defer at.opening.Unlock()
	at.open, at.told, at.id = true, false, id
	return nil
}

// maxSessionID bounds what a remote server calls a session, in bytes: it is kept
// for [maxRemoteSessions] of them.
const maxSessionID = 8 << 10

// namedBy is the id of the session that an answer to initialize begins.
func namedBy(resp *http.Response) (string, error) {
	id := resp.Header.Get(mcp.SessionHeader)
	if len(id) > maxSessionID {
		return "", fmt.Errorf("%w: its session has an id of more than %d bytes", ErrRemote, maxSessionID)
	}
	return id, nil
}

// ourMessage is one that we send for the client.
func ourMessage(r remoteRequest, body string) remoteRequest {
	r.method, r.body = http.MethodPost, []byte(body)
	header := http.Header{}
	for _, name := range []string{"User-Agent", mcp.VersionHeader} {
		if v := r.header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	header.Set("Content-Type", "application/json")
	header.Set("Accept", "application/json, text/event-stream")
	r.header = header
	return r
}

// open begins a session with what the client said when it began its own.
func (tr remoteTransport) open(ctx context.Context, r remoteRequest, at *remoteSession, opens string) error {
	params, err := base64.RawURLEncoding.DecodeString(opens)
	if err != nil || !json.Valid(params) {
		return errors.New("the session does not say how it began")
	}
	begin := ourMessage(r, fmt.Sprintf(`{"jsonrpc":"2.0","id":"lanyard","method":"initialize","params":%s}`, params))
	begin.header.Del(mcp.VersionHeader)
	resp, err := tr.exchange(ctx, begin)
	if err != nil {
		return err
	}
	id, err := namedBy(resp)
	if err != nil {
		resp.Body.Close()
		return err
	}
	if resp, err = tr.judged(ctx, resp); err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := firstMessage(resp)
	if err != nil || resp.StatusCode != http.StatusOK || !answer.Result.Present() {
		return fmt.Errorf("%w: it does not begin a session", ErrRemote)
	}
	at.open, at.told, at.id = true, false, id
	return nil
}

// tell says to the server that the client is ready.
func (tr remoteTransport) tell(ctx context.Context, r remoteRequest, at *remoteSession) error {
	ready := ourMessage(r, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	if at.id != "" {
		ready.header.Set(mcp.SessionHeader, at.id)
	}
	resp, err := tr.exchange(ctx, ready)
	if err == nil {
		resp.Body.Close() // whatever it says: the request shows whether it can be served
	}
	return err
}

// firstMessage reads an answer's message: all of its JSON, or of its stream the
// first response.
func firstMessage(resp *http.Response) (mcp.Message, error) {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != "text/event-stream" {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxRemoteFailure))
		if err != nil {
			return mcp.Message{}, err
		}
		return mcp.Parse(body)
	}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxRemoteFailure))
	lines.Buffer(nil, maxRemoteFailure)
	var data bytes.Buffer
	for lines.Scan() {
		line := lines.Text()
		if text, ok := strings.CutPrefix(line, "data:"); ok {
			data.WriteString(strings.TrimPrefix(text, " "))
			data.WriteByte('\n')
		}
		if line != "" || data.Len() == 0 {
			continue
		}
		m, err := mcp.Parse(bytes.Clone(bytes.TrimSpace(data.Bytes())))
		if err != nil || m.Response() {
			return m, err
		}
		data.Reset()
	}
	return mcp.Message{}, errors.New("the stream ended without an answer")
}
