package cloud

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// shared makes one request of several that are asked for at the same time. Who
// finds none under way sends its own; who comes meanwhile waits for its answer,
// and goes with all others who do. So nobody waits who is alone, and the busier
// a process is, the more of its requests are one.
//
// It is an attempt and no more: what it does not answer, its caller asks for
// alone, so that nobody has part in what is wrong with another one.
type shared struct {
	mu      sync.Mutex
	busy    bool // a request is under way
	waiting []*part
}

// part is what one caller asks for.
type part struct {
	// item is the key of what is read, or what is written.
	item item
	// answered: it was read or written. found is what was read; nil: nothing is
	// there.
	answered bool
	found    item
	done     chan struct{} // closed when the request that it went with has ended
}

const (
	// sharedTime is how long a request of several may take.
	sharedTime = attemptTimeout
	// patience is how long one waits to go: what is under way may hang.
	patience = time.Second
)

// do has the part answered by together, with others, or by alone.
func (s *shared) do(ctx context.Context, p *part, most int, together func(context.Context, []*part), alone func() error) error {
	s.mu.Lock()
	if !s.busy {
		s.busy = true
		s.mu.Unlock()
		defer s.next(context.WithoutCancel(ctx), most, together)
		return alone()
	}
	p.done = make(chan struct{})
	s.waiting = append(s.waiting, p)
	s.mu.Unlock()
	tired := time.NewTimer(patience)
	defer tired.Stop()
	select {
	case <-p.done:
	case <-tired.C:
		if !s.leave(p) { // it has gone
			select {
			case <-p.done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	case <-ctx.Done():
		s.leave(p)
		return ctx.Err()
	}
	if p.answered {
		return nil
	}
	return alone()
}

// leave reports whether the part was still waiting.
func (s *shared) leave(p *part) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, p)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	return i >= 0
}

// next sends those who wait, if any do.
func (s *shared) next(ctx context.Context, most int, together func(context.Context, []*part)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := slices.Clone(s.waiting[:min(most, len(s.waiting))])
	s.waiting = slices.Delete(s.waiting, 0, len(now))
	s.busy = len(now) > 0
	if !s.busy {
		return
	}
	go func() {
		limited, cancel := context.WithTimeout(ctx, sharedTime)
		together(limited, now)
		cancel()
		for _, p := range now {
			close(p.done)
		}
		s.next(ctx, most, together)
	}()
}

// maxReads and maxInserts are the most that one request takes.
const maxReads, maxInserts = 100, 25

// once: what fails is asked for alone, which tries again.
func once(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

// readAll reads what the parts name.
func (t *Table) readAll(ctx context.Context, parts []*part) {
	type key struct{ pk, sk string }
	of := func(it item) key { return key{textOf(it, "pk"), textOf(it, "sk")} }
	wanted := map[key]item{} // each once: DynamoDB refuses a key that comes twice
	for _, p := range parts {
		wanted[of(p.item)] = p.item
	}
	in := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
	for _, it := range wanted {
		in.Keys = append(in.Keys, it)
	}
	out, err := t.API.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{t.Name: in}}, once)
	if err != nil {
		return
	}
	for _, throttled := range out.UnprocessedKeys[t.Name].Keys {
		delete(wanted, of(throttled))
	}
	found := map[key]item{}
	for _, it := range out.Responses[t.Name] {
		found[of(it)] = it
	}
	for _, p := range parts {
		k := of(p.item)
		_, p.answered = wanted[k]
		p.found = maps.Clone(found[k]) // callers make of it what they write
	}
}

// insertAll writes the items, where none is. A statement that inserts is the one
// way of writing several things at once that can neither replace nor remove
// what is there.
func (t *Table) insertAll(ctx context.Context, parts []*part) {
	in := &dynamodb.BatchExecuteStatementInput{}
	for _, p := range parts {
		in.Statements = append(in.Statements, insertion(t.Name, p.item))
	}
	out, err := t.API.BatchExecuteStatement(ctx, in, once)
	if err != nil || len(out.Responses) != len(parts) {
		return
	}
	for i, p := range parts {
		p.answered = out.Responses[i].Error == nil
	}
}

// insertion is the statement that inserts the item.
func insertion(table string, it item) types.BatchStatementRequest {
	out := types.BatchStatementRequest{}
	fields := ""
	for name, value := range it {
		if fields != "" {
			fields += ", "
		}
		fields += "'" + name + "': ?"
		out.Parameters = append(out.Parameters, value)
	}
	out.Statement = aws.String(`INSERT INTO "` + table + `" VALUE {` + fields + `}`)
	return out
}
