package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// subscribe is a subscriptions/listen: acknowledged, then a stream of changes
// until the client goes or [Config.ListenFor] is over.
func (b *Bridge) subscribe(w http.ResponseWriter, r *http.Request, s *session, m mcp.Message) {
	id := m.Bytes(m.ID)
	var params struct {
		Notifications *filter `json:"notifications"`
	}
	if json.Unmarshal(m.Bytes(m.Params), &params) != nil || params.Notifications == nil || len(params.Notifications.URIs) > maxWatched {
		refuse(w, id, &mcp.Refusal{Status: http.StatusBadRequest, Code: mcp.CodeParams, Text: fmt.Sprintf("params must hold the object notifications, with at most %d resources", maxWatched)})
		return
	}
	p, err := s.backend.acquire(r.Context())
	if err != nil {
		writeJSON(w, http.StatusOK, mcp.Failure(id, mcp.CodeInternal, explain(err)))
		return
	}
	subs := s.backend.subs
	sub := &subscription{id: id, want: p.offers(*params.Notifications), box: newMailbox()}
	if !subs.add(sub, b.cfg.MaxListens) {
		w.Header().Set("Retry-After", "30")
		writeJSON(w, http.StatusServiceUnavailable, mcp.Failure(id, mcp.CodeInternal, "too many subscriptions"))
		return
	}
	defer func() {
		subs.drop(sub)
		ctx, cancel := context.WithTimeout(b.life, subscribeTimeout)
		defer cancel()
		subs.settle(ctx)
	}()
	subs.settle(r.Context())
	mcp.BeginStream(w)
	agreed, _ := json.Marshal(sub.want)
	mcp.WriteEvent(w, &mcp.Frame{Raw: mcp.Acknowledged(id, agreed)})
	mcp.Flush(w)
	if sub.want.empty() || b.stream(w, r, s, sub) {
		mcp.WriteEvent(w, &mcp.Frame{Raw: mcp.Unsubscribed(id)})
		mcp.Flush(w)
	}
}

// stream writes what comes for a subscription. It reports whether the end is
// ours, and should be told.
func (b *Bridge) stream(w http.ResponseWriter, r *http.Request, s *session, sub *subscription) bool {
	tick, end := time.NewTicker(b.cfg.KeepAlive), time.NewTimer(b.cfg.ListenFor)
	defer tick.Stop()
	defer end.Stop()
	for {
		select {
		case <-sub.box.wake:
			for _, m := range sub.box.take() {
				mcp.WriteEvent(w, &mcp.Frame{Raw: m})
			}
		case <-tick.C:
			mcp.WriteComment(w)
		case <-end.C:
			return true
		case <-s.gone:
			return true
		case <-r.Context().Done():
			return false
		}
		mcp.Flush(w)
	}
}
