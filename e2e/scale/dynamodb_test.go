package scale

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
)

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// TestConnections: what plays DynamoDB here does so well enough for the
// adapter's own suite.
func TestConnections(t *testing.T) {
	clock := func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }
	conformance.Connections(t, func(*testing.T) connection.Store {
		return &cloud.Table{API: NewDynamoDB(), Name: "lanyard", Now: clock, AuditDays: 400}
	})
}

func TestCondition(t *testing.T) {
	t.Parallel()
	it := item{"pk": text("a"), "rev": &types.AttributeValueMemberN{Value: "10"}, "sealed": &types.AttributeValueMemberB{Value: []byte{1}}}
	values := item{":a": text("a"), ":nine": &types.AttributeValueMemberN{Value: "9"}, ":ten": &types.AttributeValueMemberN{Value: "10.0"}, ":b": &types.AttributeValueMemberB{Value: []byte{1}}}
	for expression, want := range map[string]bool{
		"attribute_exists(pk)":                    true,
		"attribute_not_exists(pk)":                false,
		"attribute_not_exists(pk) OR sealed = :b": true,
		"rev = :ten":                              true,
		"rev > :nine AND NOT rev>:ten":            true,
		"rev < :nine":                             false,
		"rev <> :nine":                            true,
		"none < :nine":                            false,
		"none <> :nine":                           true,
		"begins_with(pk, :a) and (pk >= :a or pk = :nine)":             true,
		"attribute_not_exists(pk) OR (pk = :a AND sealed <> :b)":       false,
		"attribute_exists(pk) OR attribute_exists(x) AND rev <= :nine": true,
	} {
		h, err := condition(&expression, nil)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
		} else if got := h(it, values); got != want {
			t.Errorf("%s: %v, want %v", expression, got, want)
		}
	}
	for _, expression := range []string{"pk =", "size(pk) > :nine", "(pk = :a", "pk = :a pk", "#none = :a"} {
		if _, err := condition(&expression, nil); err == nil {
			t.Errorf("%q was understood", expression)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	// The example of AWS's "Item sizes and formats": a byte for two digits, and one.
	for number, want := range map[string]int{"0": 1, "7": 2, "42": 2, "1000": 2, "12345": 4, "-12345": 5} {
		if got := sizeOfNumber(number); got != want {
			t.Errorf("the number %s has %d bytes, want %d", number, got, want)
		}
	}
	it := item{"pk": text("abc"), "n": &types.AttributeValueMemberN{Value: "42"}, "b": &types.AttributeValueMemberB{Value: make([]byte, 10)}}
	if got := sizeOf(it); got != 5+3+11 {
		t.Errorf("an item of %d bytes, want 19", got)
	}
	for size, want := range map[int]float64{0: 1, 1: 1, 1024: 1, 1025: 2} {
		if got := writeUnits(size); got != want {
			t.Errorf("%d bytes: %v write units, want %v", size, got, want)
		}
	}
	for size, want := range map[int]float64{0: 1, 4096: 1, 4097: 2} {
		if got := readUnits(size); got != want {
			t.Errorf("%d bytes: %v read units, want %v", size, got, want)
		}
	}
}

// metered asks DynamoDB itself what its requests cost.
type metered struct {
	*dynamodb.Client
	mu   sync.Mutex
	used Used
}

func (m *metered) count(write bool, all ...types.ConsumedCapacity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range all {
		index := aws.ToFloat64(c.GlobalSecondaryIndexes[dueIndex].CapacityUnits)
		if write {
			m.used.plus(Used{Writes: aws.ToFloat64(c.CapacityUnits) - index, Index: index})
		} else {
			m.used.plus(Used{Reads: aws.ToFloat64(c.CapacityUnits)})
		}
	}
}

func (m *metered) take() Used {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.used
	m.used = Used{}
	return out
}

const consumed = types.ReturnConsumedCapacityIndexes

func one(c *types.ConsumedCapacity) []types.ConsumedCapacity {
	if c == nil {
		return nil
	}
	return []types.ConsumedCapacity{*c}
}

func (m *metered) GetItem(ctx context.Context, in *dynamodb.GetItemInput, o ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	in.ReturnConsumedCapacity = consumed
	out, err := m.Client.GetItem(ctx, in, o...)
	if err == nil {
		m.count(false, one(out.ConsumedCapacity)...)
	}
	return out, err
}

func (m *metered) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	in.ReturnConsumedCapacity = consumed
	out, err := m.Client.PutItem(ctx, in, o...)
	if err == nil {
		m.count(true, one(out.ConsumedCapacity)...)
	}
	return out, err
}

func (m *metered) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, o ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	in.ReturnConsumedCapacity = consumed
	out, err := m.Client.DeleteItem(ctx, in, o...)
	if err == nil {
		m.count(true, one(out.ConsumedCapacity)...)
	}
	return out, err
}

func (m *metered) Query(ctx context.Context, in *dynamodb.QueryInput, o ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	in.ReturnConsumedCapacity = consumed
	out, err := m.Client.Query(ctx, in, o...)
	if err == nil {
		m.count(false, one(out.ConsumedCapacity)...)
	}
	return out, err
}

func (m *metered) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	in.ReturnConsumedCapacity = consumed
	out, err := m.Client.TransactWriteItems(ctx, in, o...)
	if err == nil {
		m.count(true, out.ConsumedCapacity...)
	}
	return out, err
}

// Steps of TestUnits in which the two differ.
const (
	connecting = "connect"
	finding    = "find"
)

// TestUnits: what is counted here is what DynamoDB Local says that it asks for,
// step by step, for connections of both kinds.
func TestUnits(t *testing.T) {
	client := emulated(t, "LANYARD_TEST_DYNAMODB")
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	clock := func() time.Time { return now }
	meter, played := &metered{Client: client}, NewDynamoDB()
	theirs := newTable(t, client, clock)
	theirs.API = meter
	ours := &cloud.Table{API: played, Name: "lanyard", Now: clock, AuditDays: 400}
	for _, a := range []*authority{newAuthority(false, refreshSize, 2), newAuthority(true, longSize, 2)} {
		k := key(tenantOf(a.rotates), 1)
		engine := &provider.Engine{HTTP: &http.Client{Transport: answering{a}}, Now: clock}
		step := func(name string, do func(context.Context, *cloud.Table, stores) error) {
			t.Helper()
			var want, got Used
			generation := a.living[1].Load()
			for _, table := range []*cloud.Table{theirs, ours} {
				a.living[1].Store(generation)
				if err := do(t.Context(), table, stores{connections: table, gates: table, grants: onTable(table), audit: table.Audit(), keys: cached(&kms{}, clock)}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			want, got = meter.take(), total(played.Units.Take(), "")
			requests := got.Requests
			got.Requests = 0
			t.Logf("%s, %s: %+v", tenantOf(a.rotates), name, got)
			switch name {
			case connecting:
				return // an index in a transaction: it counts twice what the rules say
			case finding:
				// It takes nothing for a query that finds nothing: all but one.
				want.Reads += 0.5 * float64(requests-1)
			}
			if got != want {
				t.Errorf("%s, %s: counted %+v, DynamoDB Local says %+v", tenantOf(a.rotates), name, got, want)
			}
		}
		step(connecting, func(ctx context.Context, _ *cloud.Table, s stores) error {
			_, err := connect(ctx, s, process(s, engine, providersURL, clock).Vault, a, k, 1, now)
			return err
		})
		for range 3 {
			now = now.Add(time.Hour)
			step(finding, func(ctx context.Context, table *cloud.Table, _ stores) error {
				due, err := table.Due(ctx, now, 10)
				if err == nil && len(due) != 1 {
					err = errors.New("it is not due")
				}
				return err
			})
			step("renew", func(ctx context.Context, _ *cloud.Table, s stores) error {
				return process(s, engine, providersURL, clock).Attend(ctx, k)
			})
		}
		step("leave out of the index", func(ctx context.Context, table *cloud.Table, _ stores) error {
			_, err := table.Update(ctx, k, func(c *connection.Connection) error { c.RenewAt = time.Time{}; return nil })
			return err
		})
	}
}

// answering is a provider without a network.
type answering struct{ a *authority }

// RoundTrip implements [http.RoundTripper].
func (s answering) RoundTrip(r *http.Request) (*http.Response, error) { return s.a.respond(r) }
