package host

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
)

// listen is the stream of what a server says by itself to a client of the era
// that has sessions. It starts no server, and outlives those that it hears. It
// is refused where a process serves one request at a time, since a few that
// listen would keep everybody else out, and of a server that has nothing to say:
// Streamable HTTP allows both.
func (x *exchange) listen() {
	if x.modern() || x.service.Inline {
		x.Deny(x.w, ErrNoStream)
		return
	}
	if !x.resumes() {
		return
	}
	if x.Refused != nil || !x.talkative() {
		x.Deny(x.w, ErrNoStream)
		return
	}
	ctx := x.r.Context()
	x.begin()
	x.flush()
	quiet := time.NewTicker(keepAlive)
	defer quiet.Stop()
	wait, look := lookEvery, time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			// A server of ours is looked for in the store, a remote one is asked: it may
			// be down, or have no such stream.
			if x.hear(ctx) || x.service.hosted(x.Connection) {
				wait = lookEvery
			} else {
				wait = min(2*wait, lookSeldom)
			}
			look.Reset(wait)
		case <-quiet.C:
			x.comment()
		case <-ctx.Done():
			return
		}
	}
}

// hear passes on what the server says until it says no more, and reports whether
// it had a stream for that.
func (x *exchange) hear(ctx context.Context) bool {
	resp, err := x.send(ctx, x.service.asItIs(x.Connection), http.MethodGet)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if !streamed(resp) {
		return false
	}
	_ = x.relay(resp.Body) // another one follows
	return true
}

// talkative reports whether the server may say something by itself, as far as is
// known: that a list or a resource has changed, a line of its log, or, where it
// serves one client alone, a question.
func (x *exchange) talkative() bool {
	server, _ := x.service.Catalogue.Server(x.Connection.Server)
	known := x.service.catalogue(x.r.Context(), x.Connection)
	declared := known.Capabilities()
	if server.Server.Clients == task.ClientsEach || declared == nil || declared["logging"] != nil {
		return true
	}
	for _, kind := range []string{"tools", "prompts", "resources"} {
		var says struct {
			ListChanged bool `json:"listChanged"`
			Subscribe   bool `json:"subscribe"`
		}
		if json.Unmarshal(declared[kind], &says) == nil && (says.ListChanged || says.Subscribe) {
			return true
		}
	}
	return false
}
