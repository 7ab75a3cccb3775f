package host

import (
	"net/http"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// SetPatience is how long an answer may take before its task is looked after.
func (s *Service) SetPatience(d time.Duration) { s.patience = d }

// Upstream is where the requests of the connection's clients go.
func (s *Service) Upstream(c connection.Connection) http.RoundTripper { return s.upstream(c) }
