package cloud_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// units are capacity units as DynamoDB bills them: a write unit is a write of
// up to 1 KB, a read unit a consistent read of up to 4 KB.
type units struct{ write, read float64 }

// metered sums what DynamoDB says that its calls have cost, and, beside that,
// what they should cost by the rules: each item and each entry of an index,
// rounded up by itself.
type metered struct {
	*dynamodb.Client
	t *testing.T

	mu    sync.Mutex
	said  map[string]units // by operation, and the index by itself
	ruled units
	items []string // what was written, with its size
}

func (m *metered) take() (map[string]units, units, []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	said, ruled, items := m.said, m.ruled, m.items
	m.said, m.ruled, m.items = nil, units{}, nil
	return said, ruled, items
}

func (m *metered) add(operation string, c *types.ConsumedCapacity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c == nil || c.Table == nil {
		m.t.Errorf("%s does not say what it has cost", operation)
		return
	}
	if m.said == nil {
		m.said = map[string]units{}
	}
	count := func(name string, c types.Capacity) {
		u := m.said[name]
		// DynamoDB Local tells one sum, and whether it is of reads or writes
		// the operation says.
		if n := aws.ToFloat64(c.CapacityUnits); strings.HasPrefix(operation, "Put") || strings.HasPrefix(operation, "Delete") || strings.HasPrefix(operation, "Transact") {
			u.write += n
		} else {
			u.read += n
		}
		m.said[name] = u
	}
	count(operation, *c.Table)
	for name, index := range c.GlobalSecondaryIndexes {
		count(operation+" (index "+name+")", index)
	}
}

// size is how long an item is: names and values.
func size(it map[string]types.AttributeValue) int {
	n := 0
	for name, v := range it {
		n += len(name)
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			n += len(v.Value)
		case *types.AttributeValueMemberB:
			n += len(v.Value)
		case *types.AttributeValueMemberN:
			n += (len(v.Value)+1)/2 + 1
		default:
			panic(fmt.Sprintf("an attribute of type %T", v))
		}
	}
	return n
}

func rounded(n, unit int) float64 { return math.Max(1, math.Ceil(float64(n)/float64(unit))) }

// entry is what the index has of an item.
func entry(it map[string]types.AttributeValue) map[string]types.AttributeValue {
	out := map[string]types.AttributeValue{}
	for _, name := range []string{"pk", "sk", "due_shard", "due_at"} {
		if it[name] == nil {
			return nil
		}
		out[name] = it[name]
	}
	return out
}

// writes is what it costs to write an item over the other one.
func writes(old, now map[string]types.AttributeValue) float64 {
	n := rounded(max(size(old), size(now)), 1024)
	was, is := entry(old), entry(now)
	if fmt.Sprint(plain(was)) != fmt.Sprint(plain(is)) {
		if was != nil {
			n += rounded(size(was), 1024)
		}
		if is != nil {
			n += rounded(size(is), 1024)
		}
	}
	return n
}

func plain(it map[string]types.AttributeValue) map[string]string {
	out := map[string]string{}
	for name, v := range it {
		out[name] = v.(*types.AttributeValueMemberS).Value
	}
	return out
}

func (m *metered) there(ctx context.Context, table *string, it map[string]types.AttributeValue) map[string]types.AttributeValue {
	out, err := m.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: table, ConsistentRead: aws.Bool(true),
		Key: map[string]types.AttributeValue{"pk": it["pk"], "sk": it["sk"]}})
	if err != nil {
		m.t.Error(err)
		return nil
	}
	return out.Item
}

func (m *metered) rule(write, read float64, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ruled.write += write
	m.ruled.read += read
	if what != "" {
		m.items = append(m.items, what)
	}
}

func (m *metered) GetItem(ctx context.Context, in *dynamodb.GetItemInput, o ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	in.ReturnConsumedCapacity = types.ReturnConsumedCapacityIndexes
	out, err := m.Client.GetItem(ctx, in, o...)
	if err == nil {
		m.add("GetItem", out.ConsumedCapacity)
		m.rule(0, rounded(size(out.Item), 4096), "")
	}
	return out, err
}

func (m *metered) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	old := m.there(ctx, in.TableName, in.Item)
	in.ReturnConsumedCapacity = types.ReturnConsumedCapacityIndexes
	out, err := m.Client.PutItem(ctx, in, o...)
	if err == nil {
		m.add("PutItem", out.ConsumedCapacity)
		kind, _, _ := strings.Cut(in.Item["pk"].(*types.AttributeValueMemberS).Value, "#")
		n := writes(old, in.Item)
		m.rule(n, 0, fmt.Sprintf("%s %d bytes: %g", kind, size(in.Item), n))
	}
	return out, err
}

func (m *metered) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, o ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	old := m.there(ctx, in.TableName, in.Key)
	in.ReturnConsumedCapacity = types.ReturnConsumedCapacityIndexes
	out, err := m.Client.DeleteItem(ctx, in, o...)
	if err == nil {
		m.add("DeleteItem", out.ConsumedCapacity)
		m.rule(writes(old, nil), 0, fmt.Sprintf("deleted: %g", writes(old, nil)))
	}
	return out, err
}

func (m *metered) Query(ctx context.Context, in *dynamodb.QueryInput, o ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	in.ReturnConsumedCapacity = types.ReturnConsumedCapacityIndexes
	out, err := m.Client.Query(ctx, in, o...)
	if err == nil {
		m.add("Query", out.ConsumedCapacity)
		n := 0
		for _, it := range out.Items {
			n += size(it)
		}
		read := rounded(n, 4096)
		if !aws.ToBool(in.ConsistentRead) {
			read /= 2
		}
		m.rule(0, read, "")
	}
	return out, err
}

func (m *metered) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, o ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	m.t.Error("a batch is not metered")
	return m.Client.BatchGetItem(ctx, in, o...)
}

func (m *metered) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	m.rule(math.NaN(), 0, "a transaction") // not counted: no renewal may need one
	return m.Client.TransactWriteItems(ctx, in, o...)
}

// sumOf is the whole of what was said.
func sumOf(said map[string]units) (u units) {
	for _, v := range said {
		u.write += v.write
		u.read += v.read
	}
	return u
}
