package authserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/lanyardhq/lanyard/internal/provider"
)

const (
	fetchTimeout = 5 * time.Second
	// What was fetched is kept as long as its Cache-Control says, within bounds.
	minLife, usualLife, maxLife = 5 * time.Minute, time.Hour, 24 * time.Hour
	// failureLife is for how long a failure is not tried again: a flood of one URL
	// is one request a minute.
	failureLife = time.Minute
	// maxPublished bounds the memory of a process.
	maxPublished = 128
)

// published is what clients publish and this process has fetched: metadata and
// keys. The zero value is ready.
type published struct {
	flights singleflight.Group
	mu      sync.Mutex
	kept    map[string]fetched
}

// fetched is what came of fetching a URL.
type fetched struct {
	body []byte
	err  error
	at   time.Time
	// life is for how long it may be kept.
	life time.Duration
	// first: it was fetched for this caller.
	first bool
}

// fetch returns what is published at a URL, no older than that. admit is asked
// before anything is sent. An error wraps ErrNoClient, unless it is admit's.
func (s *Server) fetch(ctx context.Context, url string, age time.Duration, admit func(context.Context) error) (fetched, error) {
	if got, ok := s.published.get(url, s.Now(), age); ok {
		return got, got.err
	}
	first := false
	v, err, _ := s.published.flights.Do(url, func() (any, error) {
		first = true
		// Others wait for the same answer: it does not end with the first who asked.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		if err := admit(ctx); err != nil {
			return nil, err
		}
		got := s.download(ctx, url)
		got.at = s.Now()
		if got.err != nil {
			got.life = failureLife
			s.log().InfoContext(ctx, "what a client publishes was not fetched", "url", url, "err", got.err)
		}
		s.published.put(url, got)
		return got, nil
	})
	if err != nil {
		return fetched{}, err
	}
	got := v.(fetched)
	got.first = first
	return got, got.err
}

func (p *published) get(url string, now time.Time, age time.Duration) (fetched, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	got, ok := p.kept[url]
	return got, ok && now.Sub(got.at) < min(age, got.life)
}

func (p *published) put(url string, got fetched) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == nil || len(p.kept) >= maxPublished {
		p.kept = map[string]fetched{}
	}
	p.kept[url] = got
}

// download asks for a JSON document. It says of a failure what its client's
// makers need to know, and nothing of what was answered.
func (s *Server) download(ctx context.Context, url string) fetched {
	fail := func(format string, args ...any) fetched {
		return fetched{err: fmt.Errorf("%w: %s", ErrNoClient, fmt.Sprintf(format, args...))}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fail("what it publishes has no URL that can be asked")
	}
	req.Header.Set("Accept", "application/json")
	resp, err := provider.GuardedClient(s.HTTP, s.AllowLoopback).Do(req)
	switch {
	case errors.Is(err, provider.ErrForbiddenAddress):
		return fail("what it publishes is in a private network")
	case errors.Is(err, context.DeadlineExceeded):
		return fail("what it publishes did not arrive within %s", fetchTimeout)
	case err != nil:
		return fail("what it publishes could not be fetched")
	}
	defer resp.Body.Close()
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fail("what it publishes redirects, which is not followed")
	case resp.StatusCode != http.StatusOK:
		return fail("what it publishes answers with status %d", resp.StatusCode)
	case kind != "application/json" && !(strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")):
		return fail("what it publishes is not said to be JSON")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMetadata+1))
	switch {
	case err != nil:
		return fail("what it publishes did not arrive whole within %s", fetchTimeout)
	case len(body) > maxMetadata:
		return fail("what it publishes is longer than %d bytes", maxMetadata)
	}
	return fetched{body: body, life: lifeOf(resp.Header.Get("Cache-Control"))}
}

// lifeOf is for how long an answer may be kept (RFC 9111 §5.2.2), within our
// bounds.
func lifeOf(cacheControl string) time.Duration {
	for directive := range strings.SplitSeq(strings.ToLower(cacheControl), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-store", "no-cache":
			return minLife
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				return min(max(time.Duration(seconds)*time.Second, minLife), maxLife)
			}
		}
	}
	return usualLife
}
