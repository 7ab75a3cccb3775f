package web

import (
	"encoding/json"
	"net/http"

	"github.com/lanyardhq/lanyard/internal/discover"
)

// clientDocument says to an authorization server who we are: its URL is our
// client's id there. It is the same for everybody, and says nothing that a path
// did not say.
func (h *Connect) clientDocument(w http.ResponseWriter, r *http.Request) error {
	m, ok := discover.Document(h.BaseURL, r.PathValue("name"))
	if !ok {
		return errNotFound
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	return json.NewEncoder(w).Encode(m)
}
