package web

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/refresh"
)

var stableCode = regexp.MustCompile(`^[a-z][a-z_]+$`)

func checkFace(t *testing.T, what string, p *Problem) {
	t.Helper()
	switch {
	case p == nil:
		t.Errorf("%s has no face: it would be a bare 500", what)
	case p.Status < 400 || p.Status > 599 || p.Status == 500 || !stableCode.MatchString(p.Code) || p.Heading == "" || p.Message == "" || p.Next == "":
		t.Errorf("%s: %+v: a status, a code, a heading, a message and what to do next are needed", what, p)
	case p.Status == http.StatusServiceUnavailable && p.RetryAfter <= 0:
		t.Errorf("%s: 503 without a time to come back", what)
	}
}

// TestEveryErrorHasAFace: each row of the table, bare and wrapped.
func TestEveryErrorHasAFace(t *testing.T) {
	t.Parallel()
	for _, k := range known {
		checkFace(t, k.err.Error(), problemOf(k.err))
		wrapped := problemOf(fmt.Errorf("in the middle of it: %w", k.err))
		checkFace(t, "wrapped "+k.err.Error(), wrapped)
		told := !slices.Contains(quiet, k.err)
		if bare := problemOf(k.err); wrapped.Code != bare.Code || (wrapped.Detail != "") != told || bare.Detail != "" {
			t.Errorf("%v: bare %+v, wrapped %+v", k.err, bare, wrapped)
		}
	}
	for _, p := range []*Problem{ErrUnauthorized, errNoKey, errForbidden, errCrossSite, errNotFound, badRequest("x", "")} {
		checkFace(t, p.Message, problemOf(fmt.Errorf("wrapped: %w", p)))
	}
	down := &refresh.Unavailable{Failure: connection.Failure{Detail: "it is down"}, RetryAfter: 1500 * time.Millisecond}
	checkFace(t, "unavailable", problemOf(fmt.Errorf("start: %w", down)))
	checkFace(t, "too large", problemOf(fmt.Errorf("read: %w", &http.MaxBytesError{Limit: 1})))
	for err, code := range map[error]string{
		fmt.Errorf("%w: %w", host.ErrNotConnected, refresh.ErrReconnect): "reconnect_needed",
		fmt.Errorf("%w: %w", host.ErrNotConnected, refresh.ErrPending):   "connection_pending",
		fmt.Errorf("%w: %w", host.ErrServerFailed, host.ErrLost):         "server_lost",
		fmt.Errorf("%w: %w", flow.ErrStore, context.DeadlineExceeded):    "store_unavailable",
	} {
		if p := problemOf(err); p == nil || p.Code != code {
			t.Errorf("%v: %+v, want %s", err, p, code)
		}
	}
}

// TestNoSentinelIsForgotten reads the sentinels of the packages whose errors
// reach a handler out of their source.
func TestNoSentinelIsForgotten(t *testing.T) {
	t.Parallel()
	// What these say never leaves their packages, or is wrapped in one that is
	// in the table.
	inside := []string{"host.ErrNoTask", "host.ErrRunning", "host.ErrExists"}
	for pkg, file := range map[string]string{"flow": "../flow/errors.go", "signin": "../signin/attempt.go", "host": "../host/host.go", "host ": "../host/records.go", "refresh": "../refresh/refresh.go"} {
		pkg = strings.TrimSpace(pkg)
		for _, name := range sentinels(t, file) {
			name = pkg + "." + name
			if slices.Contains(inside, name) {
				continue
			}
			if !listed(t, name) {
				t.Errorf("%s is not in the table of errors.go", name)
			}
		}
	}
}

// sentinels are the exported Err… variables of a file.
func sentinels(t *testing.T, file string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			for _, id := range v.Names {
				if strings.HasPrefix(id.Name, "Err") {
					names = append(names, id.Name)
				}
			}
		}
		return true
	})
	if len(names) < 2 {
		t.Errorf("%s has only %v", file, names)
	}
	return names
}

// listed reports whether the table's source has a row for the sentinel.
func listed(t *testing.T, name string) (found bool) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		row, ok := n.(*ast.CompositeLit)
		if !ok || len(row.Elts) != 4 {
			return true
		}
		if sel, ok := row.Elts[0].(*ast.SelectorExpr); ok && fmt.Sprint(sel.X)+"."+sel.Sel.Name == name {
			found = true
		}
		return true
	})
	return found
}

// TestNothingIsSaidTwice: a page whose heading says it all leaves the message to
// programs.
func TestNothingIsSaidTwice(t *testing.T) {
	t.Parallel()
	content := regexp.MustCompile(`[a-z]{4,}`)
	small := []string{"this", "that", "there", "have", "been", "another", "connection", "attempt", "connect"}
	for _, k := range known {
		p := problemOf(k.err)
		said, again := strings.ToLower(p.Heading), 0
		words := slices.DeleteFunc(content.FindAllString(p.Message, -1), func(w string) bool { return slices.Contains(small, w) })
		for _, w := range words {
			if strings.Contains(said, w) {
				again++
			}
		}
		if !p.Told && len(words) > 0 && again == len(words) {
			t.Errorf("%q, and below it %q", p.Heading, p.Message)
		}
	}
	s := newSite(t, loopURL, "me")
	ada := s.signedIn("ada")
	claimed := s.link(`{"user_id":"ada"}`)
	first := s.browser()
	first.get(claimed)
	first.post(claimed)
	old := s.link(`{"user_id":"ada","ttl":60}`)
	flowID := first.start("notes")
	if rec := first.post("/c/"+flowID, "action", "cancel"); rec.Code != 403 {
		t.Fatalf("cancel: %d %s", rec.Code, excerpt(rec))
	}
	ended := first.get("/c/" + flowID)
	s.clock.advance(2 * time.Minute)
	for heading, rec := range map[string]*httptest.ResponseRecorder{
		"This link has expired":                   s.browser().get(old),
		"This link was opened in another browser": s.browser().get(claimed),
		"This page is no longer valid":            ada.get("/c/nonexistent"),
		"This is already finished":                ended,
		"There is no such connection":             ada.get("/mcp/connections/con_none"),
	} {
		page := rec.Body.String()
		if !strings.Contains(page, heading) || strings.Contains(page, `class="lead"`) || !strings.Contains(page, `class="what-next"`) || strings.Contains(page, "attempt") {
			t.Errorf("%s: %s", heading, excerpt(rec))
		}
	}
	// Programs are told still.
	if said := field(t, ada.get("/api/v1/connections/con_none"), "error_description"); said != connection.ErrNotFound.Error() {
		t.Errorf("a program is told %q", said)
	}
}

// TestUnknownError: what has no face is told to the log, not to the world.
func TestUnknownError(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	pages, _ := shared()
	common := &Site{BaseURL: loopURL, Pages: pages, Sessions: s.starter, Logger: s.refresh.Logger}
	for _, path := range []string{"/api/v1/x", "/mcp/x"} {
		rec := httptest.NewRecorder()
		common.problem(rec, httptest.NewRequest("GET", path, nil), errors.New("sql: no rows in table secrets"))
		want(t, path, rec, 500, "internal_error")
		if strings.Contains(rec.Body.String(), "sql") {
			t.Errorf("%s tells how we work: %s", path, excerpt(rec))
		}
	}
	if !strings.Contains(s.log.String(), "no rows in table secrets") {
		t.Error("the log does not say what happened")
	}
	// Only a client that has left gets no answer.
	rec := httptest.NewRecorder()
	common.problem(rec, httptest.NewRequest("GET", "/api/v1/x", nil), fmt.Errorf("ask: %w", context.Canceled))
	want(t, "a cancellation of our own", rec, 500, "internal_error")
	gone, leave := context.WithCancel(t.Context())
	leave()
	rec = httptest.NewRecorder()
	common.problem(rec, httptest.NewRequestWithContext(gone, "GET", "/api/v1/x", nil), context.Canceled)
	if rec.Body.Len() > 0 {
		t.Errorf("an answer for nobody: %s", rec.Body)
	}
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	t.Parallel()
	for wait, header := range map[time.Duration]string{0: "", time.Millisecond: "1", 1500 * time.Millisecond: "2", time.Minute: "60"} {
		rec := httptest.NewRecorder()
		(&Site{}).retryAfter(rec, &Problem{RetryAfter: wait})
		if got := rec.Header().Get("Retry-After"); got != header {
			t.Errorf("%v: %q, want %q", wait, got, header)
		}
	}
}
