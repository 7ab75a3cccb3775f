package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// answer is how long slow takes to answer.
const answer = 300 * time.Millisecond

// slow is a DynamoDB that counts what it is asked. All connections are there whose id does not begin with "no".
type slow struct {
	cloud.DynamoDB
	gets, batches, puts, inserts atomic.Int64
	batch                        func(*dynamodb.BatchGetItemInput, *dynamodb.BatchGetItemOutput) error
	insert                       func(n int) types.BatchStatementResponse
	get                          func()
}

func stored(key map[string]types.AttributeValue) map[string]types.AttributeValue {
	pk := key["pk"].(*types.AttributeValueMemberS).Value
	id := strings.Split(pk, "#")[2]
	if strings.HasPrefix(id, "no") {
		return nil
	}
	return map[string]types.AttributeValue{"pk": key["pk"], "sk": key["sk"],
		"doc": &types.AttributeValueMemberS{Value: fmt.Sprintf(`{"tenant":"default","id":%q,"user_id":"user of %s"}`, id, id)}}
}

func (s *slow) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	s.gets.Add(1)
	if s.get != nil {
		s.get()
	}
	time.Sleep(answer)
	return &dynamodb.GetItemOutput{Item: stored(in.Key)}, nil
}

func (s *slow) BatchGetItem(_ context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	s.batches.Add(1)
	time.Sleep(answer)
	out := &dynamodb.BatchGetItemOutput{Responses: map[string][]map[string]types.AttributeValue{}}
	seen := map[string]bool{}
	for _, key := range in.RequestItems["table"].Keys {
		pk := key["pk"].(*types.AttributeValueMemberS).Value
		if seen[pk] {
			return nil, errors.New("a key comes twice")
		}
		if !aws.ToBool(in.RequestItems["table"].ConsistentRead) {
			return nil, errors.New("the read is not consistent")
		}
		if seen[pk] = true; stored(key) != nil {
			out.Responses["table"] = append(out.Responses["table"], stored(key))
		}
	}
	if s.batch != nil {
		return out, s.batch(in, out)
	}
	return out, nil
}

func (s *slow) PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	s.puts.Add(1)
	time.Sleep(answer)
	return &dynamodb.PutItemOutput{}, nil
}

func (s *slow) BatchExecuteStatement(ctx context.Context, in *dynamodb.BatchExecuteStatementInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchExecuteStatementOutput, error) {
	s.inserts.Add(1)
	time.Sleep(answer)
	out := &dynamodb.BatchExecuteStatementOutput{}
	for i := range in.Statements {
		response := types.BatchStatementResponse{}
		if s.insert != nil {
			response = s.insert(i)
		}
		out.Responses = append(out.Responses, response)
	}
	return out, ctx.Err()
}

// readers reads n connections at once; of three, two are the same.
func readers(t *testing.T, table *cloud.Table, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			id := fmt.Sprintf("con_%d", i-i%3/2)
			if i%10 == 9 {
				id = fmt.Sprintf("no_%d", i)
			}
			c, err := table.Get(t.Context(), connection.Key{Tenant: "default", ID: id})
			switch {
			case strings.HasPrefix(id, "no"):
				if !errors.Is(err, connection.ErrNotFound) {
					t.Errorf("%s: %v", id, err)
				}
			case err != nil || c.ID != id || c.UserID != "user of "+id:
				t.Errorf("%s: %+v, %v", id, c, err)
			}
		})
	}
	all.Wait()
}

func TestReadsAreShared(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		batch         func(*dynamodb.BatchGetItemInput, *dynamodb.BatchGetItemOutput) error
		n             int
		gets, batches int64
		took          time.Duration
	}{
		"one":                 {n: 1, gets: 1, took: answer},
		"the others together": {n: 50, gets: 1, batches: 1, took: 2 * answer},
		"more than one takes": {n: 180, gets: 1, batches: 2, took: 3 * answer},
		"the batch fails": {n: 20, gets: 20, batches: 1, took: 3 * answer,
			batch: func(*dynamodb.BatchGetItemInput, *dynamodb.BatchGetItemOutput) error { return errors.New("denied") }},
		"one is throttled": {n: 20, gets: 2, batches: 1, took: 3 * answer,
			batch: func(in *dynamodb.BatchGetItemInput, out *dynamodb.BatchGetItemOutput) error {
				for i, it := range out.Responses["table"] {
					if it["pk"].(*types.AttributeValueMemberS).Value == "CON#default#con_12" {
						out.UnprocessedKeys = map[string]types.KeysAndAttributes{"table": {Keys: []map[string]types.AttributeValue{{"pk": it["pk"], "sk": it["sk"]}}}}
						out.Responses["table"] = append(out.Responses["table"][:i], out.Responses["table"][i+1:]...)
						return nil
					}
				}
				return errors.New("con_12 was not asked for")
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &slow{batch: test.batch}
				start := time.Now()
				readers(t, &cloud.Table{API: api, Name: "table", Now: time.Now}, test.n)
				if api.gets.Load() != test.gets || api.batches.Load() != test.batches || time.Since(start) != test.took {
					t.Errorf("%d single reads, %d batches, %v; want %d, %d, %v", api.gets.Load(), api.batches.Load(), time.Since(start), test.gets, test.batches, test.took)
				}
			})
		})
	}
}

// TestSharedHangs: a request that hangs holds up nobody who comes after it for
// longer than a second, nor somebody who gives up.
func TestSharedHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var first atomic.Bool
		hung := make(chan struct{})
		api := &slow{get: func() {
			if !first.Swap(true) {
				<-hung
			}
		}}
		table := &cloud.Table{API: api, Name: "table", Now: time.Now}
		get := func(ctx context.Context, id string) error {
			_, err := table.Get(ctx, connection.Key{Tenant: "default", ID: id})
			return err
		}
		var all sync.WaitGroup
		all.Go(func() {
			if err := get(t.Context(), "con_0"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		start := time.Now()
		var others sync.WaitGroup
		for i := range 5 {
			others.Go(func() {
				if err := get(t.Context(), fmt.Sprintf("con_%d", i)); err != nil {
					t.Error(err)
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/4)
		defer cancel()
		if err := get(ctx, "con_9"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second/4 {
			t.Errorf("who gave up: %v, after %v", err, time.Since(start))
		}
		others.Wait()
		if took := time.Since(start); took != time.Second+answer {
			t.Errorf("the others took %v", took)
		}
		close(hung)
		all.Wait()
		synctest.Wait()
		before := api.batches.Load()
		readers(t, table, 10)
		if api.batches.Load() != before+1 {
			t.Error("nothing is shared any more")
		}
	})
}

// TestLinesAreShared: of lines that are appended at once, each is durable before
// its Append returns, whatever becomes of the others.
func TestLinesAreShared(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		insert        func(int) types.BatchStatementResponse
		n             int
		puts, inserts int64
	}{
		"one":          {n: 1, puts: 1},
		"together":     {n: 20, puts: 1, inserts: 1},
		"in two":       {n: 40, puts: 1, inserts: 2},
		"one is taken": {n: 20, puts: 2, inserts: 1, insert: failing(7)},
		"all fail":     {n: 20, puts: 20, inserts: 1, insert: failing(-1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &slow{insert: test.insert}
				audit := (&cloud.Table{API: api, Name: "table", Now: time.Now, AuditDays: 400}).Audit()
				var all sync.WaitGroup
				for i := range test.n {
					all.Go(func() {
						if err := audit.Append(t.Context(), auditLine(i)); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if api.puts.Load() != test.puts || api.inserts.Load() != test.inserts {
					t.Errorf("%d puts, %d batches; want %d, %d", api.puts.Load(), api.inserts.Load(), test.puts, test.inserts)
				}
			})
		})
	}
}

// failing refuses the n-th statement; -1: each.
func failing(n int) func(int) types.BatchStatementResponse {
	return func(i int) types.BatchStatementResponse {
		if i == n || n < 0 {
			return types.BatchStatementResponse{Error: &types.BatchStatementError{Code: types.BatchStatementErrorCodeEnumDuplicateItem}}
		}
		return types.BatchStatementResponse{}
	}
}

func auditLine(n int) vault.Line {
	return vault.Line{ID: fmt.Sprintf("aud_%03d", n), At: clock(), Tenant: "default", Actor: "refresh", UserID: "ann",
		Connection: fmt.Sprintf("con_%d", n), Action: "renew", Purpose: "refresh"}
}

// counted counts the requests to an emulator that write lines, and loses the
// answer to the first that writes several.
type counted struct {
	*dynamodb.Client
	puts, inserts, taken atomic.Int64
	lose                 atomic.Bool
}

func (c *counted) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	c.puts.Add(1)
	time.Sleep(20 * time.Millisecond) // so that others come meanwhile
	return c.Client.PutItem(ctx, in, o...)
}

func (c *counted) BatchExecuteStatement(ctx context.Context, in *dynamodb.BatchExecuteStatementInput, o ...func(*dynamodb.Options)) (*dynamodb.BatchExecuteStatementOutput, error) {
	c.inserts.Add(1)
	out, err := c.Client.BatchExecuteStatement(ctx, in, o...)
	if err == nil {
		c.taken.Add(1)
	}
	if err == nil && c.lose.Swap(false) {
		return nil, errors.New("the answer was lost")
	}
	return out, err
}

// TestLinesAtAnEmulator: the statement that writes several lines writes what a
// single write does, and replaces nothing. moto does not know it: there each is
// written alone in the end.
func TestLinesAtAnEmulator(t *testing.T) {
	t.Parallel()
	for name, variable := range emulators {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := awsConfig(t, variable)
			table := newTable(t, cfg)
			api := &counted{Client: dynamodb.NewFromConfig(cfg)}
			api.lose.Store(true)
			audit := by(api, table).Audit()
			const n = 30
			for range 2 { // and once more, when each is there
				var all sync.WaitGroup
				var taken atomic.Int64
				for i := range n {
					all.Go(func() {
						if audit.Append(t.Context(), auditLine(i)) != nil {
							taken.Add(1)
						}
					})
				}
				all.Wait()
				if got := taken.Load(); got != 0 && got != n {
					t.Errorf("%d of %d lines were refused", got, n)
				}
			}
			if api.inserts.Load() == 0 {
				t.Error("nothing was written together")
			}
			if name == "DynamoDBLocal" && api.taken.Load() != api.inserts.Load() {
				t.Errorf("%d of %d such statements were taken", api.taken.Load(), api.inserts.Load())
			}
			lines, _, err := table.Audit().List(t.Context(), "default", struct{ Connection, User string }{}, "", 100)
			if err != nil || len(lines) != n {
				t.Fatalf("%d lines, %v", len(lines), err)
			}
			for _, l := range lines {
				if l != auditLine(numberOf(l.ID)) {
					t.Errorf("another line: %+v", l)
				}
			}
		})
	}
}

func numberOf(id string) (n int) {
	_, _ = fmt.Sscanf(id, "aud_%d", &n)
	return n
}
