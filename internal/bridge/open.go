package bridge

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
)

// sessionOf finds the session of a request with this raw id, or answers: 400
// without one, or in a revision that is not spoken here, 404 for one that has ended, upon which clients initialize again.
// One that a trusted caller describes has not ended: it is opened here.
func (b *Bridge) sessionOf(w http.ResponseWriter, r *http.Request, id []byte) *session {
	if !mcp.IsLegacy(r.Header.Get(mcp.VersionHeader)) {
		writeJSON(w, http.StatusBadRequest, mcp.Failure(id, mcp.CodeInvalid, "the protocol version in the "+mcp.VersionHeader+" header is not supported"))
		return nil
	}
	name := r.Header.Get(mcp.SessionHeader)
	if name == "" {
		writeJSON(w, http.StatusBadRequest, mcp.Failure(id, mcp.CodeInvalid, "the Mcp-Session-Id header is missing: send initialize first"))
		return nil
	}
	client := b.clientOf(r)
	b.mu.RLock()
	s := b.sessions[name]
	if s != nil && s.client == client {
		s.touch() // while it cannot be dropped
	}
	b.mu.RUnlock()
	switch {
	case s != nil && s.client == client:
		return s
	case s == nil && b.cfg.Trusted && r.Method != http.MethodDelete && r.Header.Get(task.SessionHeader) != "":
		params, err := described(r.Header.Get(task.SessionHeader))
		if err == nil {
			params, _, err = b.clientParams(params)
		}
		if err != nil {
			writeJSON(w, http.StatusBadRequest, mcp.Failure(id, mcp.CodeInvalid, "the "+task.SessionHeader+" header: "+err.Error()))
			return nil
		}
		return b.opened(w, name, client, params, id)
	}
	writeJSON(w, http.StatusNotFound, mcp.Failure(id, mcp.CodeServer, "the session has ended: send initialize again"))
	return nil
}

// opened opens a session or answers why it is not.
func (b *Bridge) opened(w http.ResponseWriter, name, client string, params, id []byte) *session {
	s, err := b.open(name, client, params)
	switch {
	case errors.Is(err, errOther):
		writeJSON(w, http.StatusNotFound, mcp.Failure(id, mcp.CodeServer, err.Error()))
	case err != nil:
		w.Header().Set("Retry-After", "30")
		writeJSON(w, http.StatusServiceUnavailable, mcp.Failure(id, mcp.CodeServer, err.Error()))
	}
	return s
}

// clientOf names the client; empty where nobody vouches for a name.
func (b *Bridge) clientOf(r *http.Request) string {
	if !b.cfg.Trusted {
		return ""
	}
	return r.Header.Get(task.ClientHeader)
}

// maxDescription bounds what a session is described by, in bytes.
const maxDescription = 16 << 10

// described are the params of initialize that [task.SessionHeader] carries, with
// or without padding.
func described(header string) ([]byte, error) {
	if len(header) > maxDescription {
		return nil, errors.New("it is too long")
	}
	params, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(header, "="))
	if err != nil {
		return nil, errors.New("it is not base64url")
	}
	mcp.OneLine(params)
	return params, nil
}
