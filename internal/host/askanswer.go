package host

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/mcp"
)

// plain tells a client whose person cannot be asked by a link of ours where their
// own page is.
func (x *exchange) plain(n need, cause error, own []byte) {
	if x.m.Method != "tools/call" && own == nil {
		x.fail(cause)
		return
	}
	text, _ := x.Say(cause)
	x.link(n, text, own)
}

// link answers with a text that has a link in it.
func (x *exchange) link(n need, text string, own []byte) {
	if own != nil {
		if with := x.amended(n, text, own); with != nil {
			own = with
		}
		mcp.OneLine(own)
		x.finish(http.StatusOK, own)
		return
	}
	x.told(text, x.challenge(n))
}

// told answers with a text: of a tool call, the result of one that failed.
func (x *exchange) told(text, challenge string) {
	if x.m.Method != "tools/call" {
		x.finish(http.StatusOK, mcp.Failure(x.id(), mcp.CodeServer, text))
		return
	}
	x.finish(http.StatusOK, mcp.Reply(x.id(), toolFailure(text, challenge, x.version)))
}

// challenge is what a client that signs in upon it finds in a result.
func (x *exchange) challenge(n need) string {
	switch {
	case x.Challenge == nil:
		return ""
	case n.scope:
		union := slices.Concat(x.Scopes, n.scopes)
		slices.Sort(union)
		return x.Challenge("insufficient_scope", x.want(n), slices.Compact(union))
	}
	return x.Challenge("invalid_token", x.want(n), nil)
}

// amended is the server's own answer with the text, nil if it is no result of a
// tool call.
func (x *exchange) amended(n need, text string, own []byte) []byte {
	m, err := mcp.Parse(own)
	if err != nil || !m.Result.Present() || x.m.Method != "tools/call" {
		return nil
	}
	var result map[string]json.RawMessage
	var content []json.RawMessage
	meta := map[string]json.RawMessage{}
	if json.Unmarshal(m.Bytes(m.Result), &result) != nil || json.Unmarshal(result["content"], &content) != nil {
		return nil
	}
	if result["_meta"] != nil && json.Unmarshal(result["_meta"], &meta) != nil {
		return nil
	}
	raw := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // it is plain data
		}
		return b
	}
	result["content"] = raw(append(content, raw(map[string]string{"type": "text", "text": text})))
	if challenge := x.challenge(n); challenge != "" {
		meta[metaChallenge] = raw([]string{challenge})
		result["_meta"] = raw(meta)
	}
	return mcp.Reply(x.id(), raw(result))
}

// given waits until the person has given what was asked for, and returns the
// connection then. What is not given in the time that a client waits is
// errUnmet.
func (x *exchange) given(ctx context.Context) (connection.Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, waitForTask)
	defer cancel()
	for {
		c, err := x.look(ctx)
		switch {
		case err == nil && (x.asked.Since == 0 || c.ConnectedAt.UnixNano() > x.asked.Since):
			return c, nil
		case err != nil && !errors.Is(err, ErrNotConnected) && ctx.Err() == nil:
			return c, err
		}
		if sleep(ctx, lookEvery) != nil {
			return x.Connection, cmp.Or(x.r.Context().Err(), errUnmet)
		}
	}
}

// look is the connection as it is now, or why it cannot be used.
func (x *exchange) look(ctx context.Context) (connection.Connection, error) {
	if x.Connection.ID == "" {
		return x.appearing(ctx)
	}
	return x.service.connection(ctx, x.Caller(x.Connection.ID), x.Connection.Key)
}

// maxExamined bounds the answers in which a failure is looked for, in bytes: an
// error is short.
const maxExamined = 64 << 10

// examined looks into a server's answer that is no stream: one that failed
// because of what its person can give is a reason to ask. It reports whether the
// answer was written.
func (x *exchange) examined(body []byte) bool {
	if !askable(x.m.Method) {
		return false
	}
	m, err := mcp.Parse(body)
	if err != nil || !m.Failed() {
		return false
	}
	n, ok := x.found(soundsRefused(body))
	if !ok {
		return false
	}
	x.askFor(n, nil, body)
	return true
}

// refusals are words of services that refuse for want of a scope.
var refusals = []string{"scope", "permission", "forbidden", "not authorized", "unauthorized", "access denied", "403"}

// soundsRefused: the words are hostile text. They make us ask for what the
// connection is known to lack, and for nothing else.
func soundsRefused(body []byte) bool {
	text := strings.ToLower(string(body))
	return slices.ContainsFunc(refusals, func(word string) bool { return strings.Contains(text, word) })
}
