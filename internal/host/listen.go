package host

import (
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
	for {
		if resp, err := x.send(ctx, x.service.asItIs(x.Connection), http.MethodGet); err == nil {
			if streamed(resp) {
				_ = x.relay(resp.Body) // another one follows
			}
			resp.Body.Close()
		}
		look := time.NewTimer(lookEvery)
		select {
		case <-look.C:
		case <-quiet.C:
			look.Stop()
			x.comment()
		case <-ctx.Done():
			look.Stop()
			return
		}
	}
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
