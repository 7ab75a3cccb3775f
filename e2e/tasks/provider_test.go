//go:build linux

package tasks

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// provider issues access tokens, and is the API that they are for.
type provider struct {
	lives time.Duration
	// dies: a renewal ends the token before it at once.
	dies bool
	api  *httptest.Server

	mu      sync.Mutex
	now     string
	until   map[string]time.Time // of each token that it ever issued
	renewed int
	done    map[string]int // calls that were served, by their text
	refused int
	strange []string // what was presented and never issued
}

func newProvider(t *testing.T, lives time.Duration, dies bool) *provider {
	t.Helper()
	p := &provider{lives: lives, dies: dies, until: map[string]time.Time{}, done: map[string]int{}}
	p.issue()
	p.api = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.api.Close)
	return p
}

// issue makes a new token. p.mu is held.
func (p *provider) issue() {
	if p.dies {
		delete(p.until, p.now)
		p.until[p.now] = time.Time{}
	}
	p.now = "access-" + rand.Text()
	p.until[p.now] = time.Now().Add(p.lives)
}

// renew is what somebody else does: the tasks are not told.
func (p *provider) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewed++
	p.issue()
}

func (p *provider) access() token.Access {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current()
}

// current is the newest set. p.mu is held.
func (p *provider) current() token.Access {
	return token.Access{Tokens: map[string]token.Token{"": {AccessToken: token.Secret(p.now), ExpiresAt: p.until[p.now]}}}
}

// fresh answers a task as mcprun does: with what there is, renewed if that lives
// too short.
func (p *provider) fresh(r task.TokenRequest) token.Access {
	p.mu.Lock()
	defer p.mu.Unlock()
	least := time.Duration(r.MinTTL) * time.Second
	if r.Suspect {
		least = 0
	}
	if time.Until(p.until[p.now]) < least {
		p.renewed++
		p.issue()
	}
	return p.current()
}

// serve takes a call that shows a valid token, and takes a while for it.
func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	shown, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	n := p.take(shown, r.URL.Query().Get("call"))
	if n == 0 {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	time.Sleep(time.Duration(n%8) * 20 * time.Millisecond)
	fmt.Fprint(w, "served")
}

// take returns the how manieth call it is, or 0.
func (p *provider) take(shown, call string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, issued := p.until[shown]
	if !issued {
		p.strange = append(p.strange, shown)
	}
	if time.Now().After(until) {
		p.refused++
		return 0
	}
	p.done[call]++
	return len(p.done)
}
