package scale

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// What a call takes. Times are multiples of a tick, so that what happens beside
// each other happens on several processors.
const (
	tick         = 10 * time.Millisecond
	storeLatency = tick
	// A provider takes fastest at least, 400 ms in the mean, slowest at most.
	fastest, typical, slowest = 100 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second
)

// wait sleeps for about d.
func wait(d time.Duration) {
	now := time.Now()
	time.Sleep(now.Add(d + tick - 1).Truncate(tick).Sub(now))
}

// errDead: the process is gone; nothing that it began has anybody to hear of it.
var errDead = errors.New("this process was killed")

// worker is one process of refresh: what Lambda starts to receive messages. A
// killed one does nothing any more: its requests that are under way arrive or
// do not, and nobody hears their answers.
type worker struct {
	w       *world
	service *refresh.Service
	dead    atomic.Bool
	busy    atomic.Bool // it has messages

	mu     sync.Mutex
	random *rand.Rand
	// answers are the connections that the provider has rotated and whose new
	// grant is not stored yet.
	answers map[int]bool
}

func (w *world) newWorker(seed uint64) *worker {
	p := &worker{w: w, random: rand.New(rand.NewPCG(w.seed, seed)), answers: map[int]bool{}}
	table := &cloud.Table{API: &link{p, w.dynamodb}, Name: "lanyard", Now: time.Now, AuditDays: 400}
	p.service = process(stores{
		connections: &watched{table, w}, gates: table, grants: onTable(table), audit: table.Audit(),
		keys: &vault.CachedKeys{Keys: w.kms, TTL: 5 * time.Minute, MaxUses: 1 << 20, Now: time.Now},
	}, &provider.Engine{HTTP: &http.Client{Transport: p}, Now: time.Now}, providersURL, time.Now)
	return p
}

// run attends what the queue has, as the function does: a batch of messages at a
// time, each message beside the others, until the process dies.
func (p *worker) run(ctx context.Context) {
	for !p.dead.Load() {
		wait(storeLatency)
		batch := p.w.queue.receive()
		if p.w.queue.isClosed() {
			return
		}
		p.busy.Store(len(batch) > 0)
		start := time.Now()
		done := make([]*message, len(batch))
		var all sync.WaitGroup
		for i, m := range batch {
			all.Go(func() {
				keys, err := cloud.Keyed(m.body)
				if err == nil {
					err = p.service.AttendAll(ctx, keys)
				}
				if err == nil {
					done[i] = m
				} else if !p.dead.Load() {
					p.w.fail("a message was not attended: %v", err)
				}
			})
		}
		all.Wait()
		p.busy.Store(false)
		p.w.ran.Add(int64(time.Since(start)))
		if !p.dead.Load() { // else they all come back
			p.w.queue.delete(slices.DeleteFunc(done, func(m *message) bool { return m == nil }))
		}
	}
}

// kill ends the process.
func (p *worker) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead.Store(true)
}

// latency is what this request to a provider takes.
func (p *worker) latency() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(fastest+time.Duration(p.random.ExpFloat64()*float64(typical)), slowest)
}

// RoundTrip is the way to the providers.
func (p *worker) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	latency := p.latency()
	wait(latency / 2)
	if p.dead.Load() {
		return nil, errDead // it had not left yet
	}
	form, err := url.ParseQuery(string(discard(r.Body)))
	if err != nil {
		return nil, err
	}
	f := p.w.fleetOf(strings.Split(r.URL.Path, "/")[1])
	status, body, n, rotated := http.StatusServiceUnavailable, "", 0, false
	if f.down.Load() {
		f.refused.Add(1)
	} else {
		status, body, n, rotated = f.authority.answer(form)
	}
	if rotated {
		p.mu.Lock()
		p.answers[n] = true
		p.mu.Unlock()
	}
	wait(latency - latency/2)
	if p.dead.Load() {
		return nil, errDead
	}
	return response(r, status, body), nil
}

// stored notes that the grant of a connection is safe. False: the process died
// before it was.
func (p *worker) stored(pk string) {
	if parts := strings.Split(pk, "#"); parts[0] == "GRT" && len(parts) == 3 {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.answers, numberOf(parts[2]))
	}
}

// link is a process's way to DynamoDB.
type link struct {
	p *worker
	d *DynamoDB
}

// call does a request, unless the process dies on the way.
func call[In, Out any](l *link, ctx context.Context, in In, do func(context.Context, In, ...func(*dynamodb.Options)) (Out, error), done func()) (out Out, err error) {
	if l.p.dead.Load() {
		return out, errDead
	}
	out, err = do(ctx, in)
	if err == nil && done != nil {
		done()
	}
	wait(storeLatency)
	if l.p.dead.Load() {
		return out, errDead
	}
	return out, err
}

// GetItem implements [cloud.DynamoDB], as the others do.
func (l *link) GetItem(ctx context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	return call(l, ctx, in, l.d.GetItem, nil)
}

func (l *link) PutItem(ctx context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	return call(l, ctx, in, l.d.PutItem, func() { l.p.stored(textOf(in.Item, "pk")) })
}

func (l *link) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	return call(l, ctx, in, l.d.DeleteItem, nil)
}

func (l *link) Query(ctx context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	return call(l, ctx, in, l.d.Query, nil)
}

func (l *link) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	return call(l, ctx, in, l.d.BatchGetItem, nil)
}

func (l *link) BatchExecuteStatement(ctx context.Context, in *dynamodb.BatchExecuteStatementInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchExecuteStatementOutput, error) {
	return call(l, ctx, in, l.d.BatchExecuteStatement, nil)
}

func (l *link) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	return call(l, ctx, in, l.d.TransactWriteItems, func() {
		for _, w := range in.TransactItems {
			if w.Put != nil {
				l.p.stored(textOf(w.Put.Item, "pk"))
			}
		}
	})
}

// watched is a process's table, of which we see what it renews.
type watched struct {
	*cloud.Table
	w *world
}

// UpdateFrom implements [connection.Store].
func (s *watched) UpdateFrom(ctx context.Context, seen connection.Connection, change func(*connection.Connection) error) (connection.Connection, error) {
	version, end := seen.Set.AccessVersion, seen.Set.AccessExpiresAt
	out, err := s.Table.UpdateFrom(ctx, seen, change)
	switch {
	case err != nil:
	case out.Status != connection.Connected:
		s.w.ended(out)
	case out.Set.AccessVersion != version:
		s.w.renewed(out, end)
	}
	return out, err
}
