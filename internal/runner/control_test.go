package runner

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/lanyardhq/lanyard/internal/task"
)

// serveControl puts a control behind HTTP, for a runner in another process.
func serveControl(t *testing.T, c *control, secret string) string {
	t.Helper()
	answer := func(w http.ResponseWriter, v any, err error) {
		if err != nil {
			http.Error(w, `{"error":"refused"}`, http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+task.ClaimPath, func(w http.ResponseWriter, r *http.Request) {
		var in task.ClaimRequest
		_ = json.NewDecoder(r.Body).Decode(&in)
		out, err := c.Claim(r.Context(), in)
		answer(w, out, err)
	})
	mux.HandleFunc("POST "+task.ReportPath, func(w http.ResponseWriter, r *http.Request) {
		var in task.Report
		_ = json.NewDecoder(r.Body).Decode(&in)
		answer(w, struct{}{}, c.Report(r.Context(), in))
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
