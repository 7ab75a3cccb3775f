package scale

import (
	"context"
	"errors"
	"hash/maphash"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lanyardhq/lanyard/internal/cloud"
)

// DynamoDB plays the service, for one table of the shape that package emulate
// makes, in memory, and counts units. An item is kept as bytes, so that a
// million connections find room. Writes are visible at once, in the index too.
type DynamoDB struct {
	Units Units
	// Forget names items that are counted and not kept, by a prefix of their
	// keys: nobody reads them here.
	Forget []string

	seed   maphash.Seed
	shards [64]shard
	due    index
}

var _ cloud.DynamoDB = (*DynamoDB)(nil)

// shard is a part of the table with a lock of its own.
type shard struct {
	mu    sync.Mutex
	items map[string][]byte // by pk, 0x00 and sk
}

// NewDynamoDB makes an empty table.
func NewDynamoDB() *DynamoDB {
	d := &DynamoDB{seed: maphash.MakeSeed(), due: index{shards: map[string]map[string]map[entry]struct{}{}}}
	for i := range d.shards {
		d.shards[i].items = map[string][]byte{}
	}
	return d
}

func keyOf(it item) (pk, sk string) { return textOf(it, "pk"), textOf(it, "sk") }

func textOf(it item, name string) string {
	if v, ok := it[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}

// shard is where the items of a partition key lie.
func (d *DynamoDB) shard(pk string) *shard {
	return &d.shards[maphash.String(d.seed, pk)%uint64(len(d.shards))]
}

// GetItem implements [cloud.DynamoDB].
func (d *DynamoDB) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	pk, sk := keyOf(in.Key)
	it, size := d.read(pk, sk)
	d.Units.add(pk, Used{Reads: consistent(in.ConsistentRead, readUnits(size)), Requests: 1})
	return &dynamodb.GetItemOutput{Item: it}, nil
}

func (d *DynamoDB) read(pk, sk string) (item, int) {
	s := d.shard(pk)
	s.mu.Lock()
	stored := s.items[pk+"\x00"+sk]
	s.mu.Unlock() // what is stored is never changed, only replaced
	it := unpack(stored)
	return it, sizeOf(it)
}

func consistent(is *bool, units float64) float64 {
	if aws.ToBool(is) {
		return units
	}
	return units / 2
}

// BatchGetItem implements [cloud.DynamoDB].
func (d *DynamoDB) BatchGetItem(_ context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	out := &dynamodb.BatchGetItemOutput{Responses: map[string][]item{}}
	for table, asked := range in.RequestItems {
		for _, key := range asked.Keys {
			pk, sk := keyOf(key)
			it, size := d.read(pk, sk)
			d.Units.add(pk, Used{Reads: consistent(asked.ConsistentRead, readUnits(size))})
			if it != nil {
				out.Responses[table] = append(out.Responses[table], it)
			}
		}
	}
	return out, nil
}

// write is one write of a request: put or remove an item, or, with neither,
// check a condition.
type write struct {
	put, remove, check item
	expression         *string
	names              map[string]string
	values             item
}

func (w write) key() (pk, sk string) {
	switch {
	case w.put != nil:
		return keyOf(w.put)
	case w.remove != nil:
		return keyOf(w.remove)
	}
	return keyOf(w.check)
}

// errCondition: the condition of a write does not hold.
var errCondition = errors.New("the condition does not hold")

// apply makes all writes or none, and returns the items that were there before.
// It counts each with the given price.
func (d *DynamoDB) apply(writes []write, price float64) ([]item, int, error) {
	var locks []*shard
	for _, w := range writes {
		pk, _ := w.key()
		locks = append(locks, d.shard(pk))
	}
	d.lock(locks)
	defer d.unlock(locks)
	before := make([]item, len(writes))
	refusing := -1
	for i, w := range writes {
		h, err := condition(w.expression, w.names)
		if err != nil {
			return nil, 0, err
		}
		pk, sk := w.key()
		before[i] = unpack(locks[i].items[pk+"\x00"+sk])
		if !h(before[i], w.values) && refusing < 0 {
			refusing = i
		}
	}
	for i, w := range writes {
		pk, sk := w.key()
		size := sizeOf(before[i])
		used := Used{Requests: 1}
		if refusing < 0 && w.check == nil {
			size = max(size, sizeOf(w.put))
			used.Index = price * d.due.change(before[i], w.put)
			d.store(locks[i], pk, sk, w.put)
		}
		used.Writes = price * writeUnits(size)
		d.Units.add(pk, used)
	}
	if refusing >= 0 {
		return before, refusing, errCondition
	}
	return before, 0, nil
}

func (d *DynamoDB) store(s *shard, pk, sk string, it item) {
	for _, prefix := range d.Forget {
		if strings.HasPrefix(pk, prefix) {
			return
		}
	}
	if it == nil {
		delete(s.items, pk+"\x00"+sk)
		return
	}
	s.items[pk+"\x00"+sk] = pack(it)
}

// lock takes the locks of a request, always in the same order.
func (d *DynamoDB) lock(locks []*shard) {
	if len(locks) == 1 {
		locks[0].mu.Lock()
		return
	}
	for i := range d.shards {
		if slices.Contains(locks, &d.shards[i]) {
			d.shards[i].mu.Lock()
		}
	}
}

func (d *DynamoDB) unlock(locks []*shard) {
	if len(locks) == 1 {
		locks[0].mu.Unlock()
		return
	}
	for i := range d.shards {
		if slices.Contains(locks, &d.shards[i]) {
			d.shards[i].mu.Unlock()
		}
	}
}

// PutItem implements [cloud.DynamoDB].
func (d *DynamoDB) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	before, _, err := d.apply([]write{{put: in.Item, expression: in.ConditionExpression, names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues}}, 1)
	if errors.Is(err, errCondition) {
		return nil, &types.ConditionalCheckFailedException{Item: before[0]}
	}
	return &dynamodb.PutItemOutput{}, err
}

// inserted is a field of a statement that inserts.
var inserted = regexp.MustCompile(`'(\w+)': \?`)

// BatchExecuteStatement implements [cloud.DynamoDB], for statements that insert.
func (d *DynamoDB) BatchExecuteStatement(_ context.Context, in *dynamodb.BatchExecuteStatementInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchExecuteStatementOutput, error) {
	out := &dynamodb.BatchExecuteStatementOutput{}
	for _, statement := range in.Statements {
		fields := inserted.FindAllStringSubmatch(*statement.Statement, -1)
		if !strings.HasPrefix(*statement.Statement, "INSERT INTO ") || len(fields) != len(statement.Parameters) {
			return nil, errors.New("this statement is not played here")
		}
		it := item{}
		for i, field := range fields {
			it[field[1]] = statement.Parameters[i]
		}
		response := types.BatchStatementResponse{}
		_, _, err := d.apply([]write{{put: it, expression: aws.String("attribute_not_exists(pk)")}}, 1)
		if errors.Is(err, errCondition) {
			response.Error = &types.BatchStatementError{Code: types.BatchStatementErrorCodeEnumDuplicateItem}
		} else if err != nil {
			return nil, err
		}
		out.Responses = append(out.Responses, response)
	}
	return out, nil
}

// DeleteItem implements [cloud.DynamoDB].
func (d *DynamoDB) DeleteItem(_ context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	before, _, err := d.apply([]write{{remove: in.Key, expression: in.ConditionExpression, names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues}}, 1)
	if errors.Is(err, errCondition) {
		return nil, &types.ConditionalCheckFailedException{Item: before[0]}
	}
	if err != nil || in.ReturnValues != types.ReturnValueAllOld {
		return &dynamodb.DeleteItemOutput{}, err
	}
	return &dynamodb.DeleteItemOutput{Attributes: before[0]}, nil
}

// TransactWriteItems implements [cloud.DynamoDB].
func (d *DynamoDB) TransactWriteItems(_ context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	var writes []write
	for _, w := range in.TransactItems {
		switch {
		case w.Put != nil:
			writes = append(writes, write{put: w.Put.Item, expression: w.Put.ConditionExpression, names: w.Put.ExpressionAttributeNames, values: w.Put.ExpressionAttributeValues})
		case w.Delete != nil:
			writes = append(writes, write{remove: w.Delete.Key, expression: w.Delete.ConditionExpression, names: w.Delete.ExpressionAttributeNames, values: w.Delete.ExpressionAttributeValues})
		case w.ConditionCheck != nil:
			writes = append(writes, write{check: w.ConditionCheck.Key, expression: w.ConditionCheck.ConditionExpression, names: w.ConditionCheck.ExpressionAttributeNames, values: w.ConditionCheck.ExpressionAttributeValues})
		default:
			return nil, errors.New("an update in a transaction is not played here")
		}
	}
	before, refusing, err := d.apply(writes, 2)
	if !errors.Is(err, errCondition) {
		return &dynamodb.TransactWriteItemsOutput{}, err
	}
	reasons := make([]types.CancellationReason, len(writes))
	for i := range reasons {
		reasons[i].Code = aws.String("None")
	}
	reasons[refusing] = types.CancellationReason{Code: aws.String("ConditionalCheckFailed"), Item: before[refusing]}
	return nil, &types.TransactionCanceledException{CancellationReasons: reasons}
}

// Query implements [cloud.DynamoDB], for the index "due" and for the items of
// one partition key, which it looks for in all that lie beside them.
func (d *DynamoDB) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	keys, err := condition(in.KeyConditionExpression, in.ExpressionAttributeNames)
	if err != nil {
		return nil, err
	}
	filter, err := condition(in.FilterExpression, in.ExpressionAttributeNames)
	if err != nil {
		return nil, err
	}
	limit := int(aws.ToInt32(in.Limit))
	if limit == 0 {
		limit = 1 << 30
	}
	matches := func(it item) bool { return keys(it, in.ExpressionAttributeValues) }
	var found []item
	if aws.ToString(in.IndexName) == dueIndex {
		found = d.due.query(matches, textOf(in.ExpressionAttributeValues, ":shard"), in.ExclusiveStartKey, limit)
	} else {
		found = d.under(matches, in, limit)
	}
	out := &dynamodb.QueryOutput{}
	size := 0
	for n, it := range found {
		if size += sizeOf(it); filter(it, in.ExpressionAttributeValues) {
			out.Items = append(out.Items, it)
		}
		if n+1 == limit || size >= pageSize {
			out.LastEvaluatedKey = it
			break
		}
	}
	pk := aws.ToString(in.IndexName)
	if pk == "" {
		pk = partition(in)
	}
	d.Units.add(pk, Used{Reads: consistent(in.ConsistentRead, readUnits(size)), Requests: 1})
	return out, nil
}

// pageSize is how much of what it reads a query returns at once.
const pageSize = 1 << 20

// partition is the partition key that a query of the table names.
func partition(in *dynamodb.QueryInput) string {
	for _, v := range in.ExpressionAttributeValues {
		if s, ok := v.(*types.AttributeValueMemberS); ok && strings.Contains(s.Value, "#") {
			return s.Value
		}
	}
	return ""
}

func (d *DynamoDB) under(matches func(item) bool, in *dynamodb.QueryInput, limit int) (found []item) {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		for _, stored := range s.items {
			if it := unpack(stored); matches(it) {
				found = append(found, it)
			}
		}
		s.mu.Unlock()
	}
	sign := 1
	if in.ScanIndexForward != nil && !*in.ScanIndexForward {
		sign = -1
	}
	slices.SortFunc(found, func(a, b item) int { return sign * strings.Compare(textOf(a, "sk"), textOf(b, "sk")) })
	if after := textOf(in.ExclusiveStartKey, "sk"); after != "" {
		found = slices.DeleteFunc(found, func(it item) bool { return sign*strings.Compare(textOf(it, "sk"), after) <= 0 })
	}
	return found[:min(limit, len(found))]
}

// Each calls f with every item that is kept.
func (d *DynamoDB) Each(f func(pk, sk string, it item)) {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		for key, stored := range s.items {
			pk, sk, _ := strings.Cut(key, "\x00")
			f(pk, sk, unpack(stored))
		}
		s.mu.Unlock()
	}
}
