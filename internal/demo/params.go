package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// maxBody bounds the body of any request, in bytes.
const maxBody = 64 << 10

// params are request parameters, each given once and not empty: RFC 6749 §3.1
// and §3.2 forbid repeats and treat an empty value as an absent one.
type params map[string]string

// parseParams returns the parameters and the names that came more than once,
// which are left out.
func parseParams(raw string) (p params, repeated map[string]bool, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, nil, err
	}
	p, repeated = params{}, map[string]bool{}
	for name, v := range values {
		if len(v) > 1 {
			repeated[name] = true
		} else if v[0] != "" {
			p[name] = v[0]
		}
	}
	return p, repeated, nil
}

// refusal is an OAuth error for a client (RFC 6749 §5.2, RFC 6750 §3.1). Its
// description is fixed text, which holds nothing of the request.
type refusal struct {
	status      int
	code        string
	description string
}

func (e *refusal) Error() string { return fmt.Sprintf("%s: %s", e.code, e.description) }

func refuse(code, description string) *refusal {
	return &refusal{http.StatusBadRequest, code, description}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, `{"error":"server_error"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client has gone; there is nobody to tell
}

type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func writeRefusal(w http.ResponseWriter, e *refusal) {
	writeJSON(w, e.status, errorBody{e.code, e.description})
}

// writeFailure answers when the state could not be saved: nothing was issued
// or spent, so the same request may be sent again.
func (p *Provider) writeFailure(w http.ResponseWriter, r *http.Request, err error) {
	p.log.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "err", err)
	writeRefusal(w, &refusal{http.StatusInternalServerError, "server_error",
		"the demo provider could not save its data: see its log, make room on the disk and try again"})
}
