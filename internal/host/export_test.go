package host

import "time"

// SetPatience is how long an answer may take before its task is looked after.
func (s *Service) SetPatience(d time.Duration) { s.patience = d }
