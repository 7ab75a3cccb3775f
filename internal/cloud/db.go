package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// DynamoDB is what a [Table] asks of the service. [*dynamodb.Client] has it.
type DynamoDB interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	BatchExecuteStatement(context.Context, *dynamodb.BatchExecuteStatementInput, ...func(*dynamodb.Options)) (*dynamodb.BatchExecuteStatementOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
}

// Table is the state of a deployment. It implements connection.Store,
// flow.Store, signin.Store, host.Store, host.Pool, host.Catalogues, refresh.Gates
// and discover.Registrations; see also [Table.Grants], [Table.Audit] and
// [Table.AuthServer].
type Table struct {
	API  DynamoDB
	Name string
	Now  func() time.Time
	// AuditDays is how many days audit lines are kept.
	AuditDays int

	reads, inserts shared
}

// item is a stored item, or a part of one.
type item = map[string]types.AttributeValue

const (
	// only is the sort key of an item that is alone under its partition key.
	only = "-"
	// keepExpired: expired records stay for a day, so that a person who comes
	// late is told "expired" or "used before" and not "unknown".
	keepExpired = 24 * time.Hour
	// maxPK and maxSK are the longest keys that DynamoDB takes, in bytes.
	maxPK, maxSK = 2048, 1024
)

var escape = strings.NewReplacer("%", "%25", "#", "%23")
var unescape = strings.NewReplacer("%23", "#", "%25", "%")

// join makes a key of its parts.
func join(kind string, parts ...string) string {
	for _, p := range parts {
		kind += "#" + escape.Replace(p)
	}
	return kind
}

// split returns the parts of a key, the kind first.
func split(key string) []string {
	parts := strings.Split(key, "#")
	for i, p := range parts {
		parts[i] = unescape.Replace(p)
	}
	return parts
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func binary(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// until is the ttl of a record that ends then.
func until(end time.Time) types.AttributeValue { return number(end.Add(keepExpired).Unix()) }

func at(pk, sk string) item { return item{"pk": text(pk), "sk": text(sk)} }

// textOf is a string attribute; "" if there is none.
func textOf(it item, name string) string {
	if v, ok := it[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}

// binaryOf is a binary attribute; nil if there is none.
func binaryOf(it item, name string) []byte {
	if v, ok := it[name].(*types.AttributeValueMemberB); ok {
		return v.Value
	}
	return nil
}

// numberOf is a number attribute; 0 if there is none.
func numberOf(it item, name string) int64 {
	v, ok := it[name].(*types.AttributeValueMemberN)
	if !ok {
		return 0
	}
	n, _ := strconv.ParseInt(v.Value, 10, 64)
	return n
}

// document is a record's item. The records are plain data, which json.Marshal
// never refuses.
func document(pk, sk string, record any) item {
	b, err := json.Marshal(record)
	if err != nil {
		panic(err)
	}
	it := at(pk, sk)
	it["doc"] = text(string(b))
	return it
}

// decode reads the document of an item, or returns absent if there is none.
func decode(it item, record any, absent error) error {
	doc := textOf(it, "doc")
	if doc == "" {
		return absent
	}
	return json.Unmarshal([]byte(doc), record)
}

// get returns the item as it is now; nil if there is none.
func (t *Table) get(ctx context.Context, pk, sk string) (item, error) {
	if len(pk) > maxPK || len(sk) > maxSK {
		return nil, nil // no item can have it
	}
	p := &part{item: at(pk, sk)}
	err := t.reads.do(ctx, p, maxReads, t.readAll, func() error {
		out, err := t.API.GetItem(ctx, &dynamodb.GetItemInput{TableName: &t.Name, Key: p.item, ConsistentRead: aws.Bool(true)})
		if err == nil {
			p.found = out.Item
		}
		return failed(err)
	})
	return p.found, err
}

// getAll returns those of the items that are there, by pk. A list that changes
// while it is read may name one twice.
func (t *Table) getAll(ctx context.Context, keys []item) (map[string]item, error) {
	out := map[string]item{}
	keys = slices.CompactFunc(slices.SortedFunc(slices.Values(keys), func(a, b item) int { return strings.Compare(textOf(a, "pk"), textOf(b, "pk")) }),
		func(a, b item) bool { return textOf(a, "pk") == textOf(b, "pk") })
	for len(keys) > 0 {
		now := keys[:min(maxReads, len(keys))]
		keys = keys[len(now):]
		for try := 0; len(now) > 0; try++ {
			if try > 0 {
				if err := pause(ctx, try); err != nil {
					return nil, err
				}
			}
			got, err := t.API.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
				t.Name: {Keys: now, ConsistentRead: aws.Bool(true)},
			}})
			if err != nil {
				return nil, failed(err)
			}
			for _, it := range got.Responses[t.Name] {
				out[textOf(it, "pk")] = it
			}
			now = got.UnprocessedKeys[t.Name].Keys // what was throttled
		}
	}
	return out, nil
}

// condition guards a write.
type condition struct {
	expression string
	values     item
}

// Conditions.
var (
	absent  = condition{expression: "attribute_not_exists(pk)"}
	present = condition{expression: "attribute_exists(doc)"}
)

// revision: the item is of that revision.
func revision(n int64) condition {
	return condition{"rev = :rev", item{":rev": number(n)}}
}

// refused: the condition of a write did not hold; old is the item as it was.
type refused struct{ old item }

func (*refused) Error() string { return "the condition of the write does not hold" }

// refusal returns the item that refused the write.
func refusal(err error) (item, bool) {
	var r *refused
	if errors.As(err, &r) {
		return r.old, true
	}
	return nil, false
}

// put writes the item if the condition holds, and is *refused otherwise.
func (t *Table) put(ctx context.Context, it item, c condition) error {
	sign(it, nonce())
	return t.putSigned(ctx, it, c)
}

// insert is put of an item that is not there, of which many may be written at
// once.
func (t *Table) insert(ctx context.Context, it item) error {
	sign(it, nonce())
	return t.inserts.do(ctx, &part{item: it}, maxInserts, t.insertAll, func() error { return t.putSigned(ctx, it, absent) })
}

func (t *Table) putSigned(ctx context.Context, it item, c condition) error {
	in := &dynamodb.PutItemInput{TableName: &t.Name, Item: it,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
	if c.expression != "" {
		in.ConditionExpression = &c.expression
		in.ExpressionAttributeValues = c.values
	}
	_, err := t.API.PutItem(ctx, in)
	var check *types.ConditionalCheckFailedException
	if errors.As(err, &check) {
		if own(check.Item, it) {
			return nil
		}
		return &refused{check.Item}
	}
	return failed(err)
}

// change is one write of a transaction.
type change struct {
	put, remove, check item
	condition          condition
}

func (c change) of(table string) types.TransactWriteItem {
	var expression *string
	if c.condition.expression != "" {
		expression = &c.condition.expression
	}
	const all = types.ReturnValuesOnConditionCheckFailureAllOld
	switch {
	case c.put != nil:
		return types.TransactWriteItem{Put: &types.Put{TableName: &table, Item: c.put, ConditionExpression: expression,
			ExpressionAttributeValues: c.condition.values, ReturnValuesOnConditionCheckFailure: all}}
	case c.remove != nil:
		return types.TransactWriteItem{Delete: &types.Delete{TableName: &table, Key: c.remove, ConditionExpression: expression,
			ExpressionAttributeValues: c.condition.values, ReturnValuesOnConditionCheckFailure: all}}
	}
	return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: &table, Key: c.check, ConditionExpression: expression,
		ExpressionAttributeValues: c.condition.values, ReturnValuesOnConditionCheckFailure: all}}
}

// transact makes all changes or none. If a condition does not hold it is
// *refused, with the item that refused. What another transaction is changing
// at this moment is tried again.
func (t *Table) transact(ctx context.Context, changes ...change) error {
	if len(changes) == 1 && changes[0].put != nil {
		return t.put(ctx, changes[0].put, changes[0].condition) // at half the price
	}
	in := &dynamodb.TransactWriteItemsInput{}
	w := nonce()
	for _, c := range changes {
		if c.put != nil {
			sign(c.put, w)
		}
		in.TransactItems = append(in.TransactItems, c.of(t.Name))
	}
	for try := 0; ; try++ {
		_, err := t.API.TransactWriteItems(ctx, in)
		var cancelled *types.TransactionCanceledException
		var conflict *types.TransactionConflictException
		switch {
		case errors.As(err, &cancelled):
			refused, again := judge(cancelled, changes)
			if !again {
				return refused
			}
		case !errors.As(err, &conflict):
			return failed(err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// judge says why a transaction was cancelled, or that it is worth another try.
// nil, false: it was made, by the first copy of the request.
func judge(cancelled *types.TransactionCanceledException, changes []change) (err error, again bool) {
	for i, reason := range cancelled.CancellationReasons {
		switch aws.ToString(reason.Code) {
		case "ConditionalCheckFailed":
			if changes[i].put != nil && own(reason.Item, changes[i].put) {
				return nil, false
			}
			if err == nil {
				err = &refused{reason.Item}
			}
		case "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
			again = true
		}
	}
	if err != nil {
		return err, false
	}
	if again {
		return nil, true
	}
	return failed(cancelled), false
}

// query asks for the items under pk in the order of their sort keys: those
// after a key, or, backwards, those before it. Empty: all.
type query struct {
	pk        string
	after     string
	backwards bool
	filter    condition
}

// query calls each with the items until it returns false.
func (t *Table) query(ctx context.Context, q query, each func(item) (bool, error)) error {
	if len(q.pk) > maxPK || len(q.after) > maxSK {
		return nil
	}
	in := &dynamodb.QueryInput{TableName: &t.Name, ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(!q.backwards)}
	key, values := "pk = :pk", item{":pk": text(q.pk)}
	if q.after != "" {
		key += map[bool]string{false: " AND sk > :after", true: " AND sk < :after"}[q.backwards]
		values[":after"] = text(q.after)
	}
	in.KeyConditionExpression = &key
	if q.filter.expression != "" {
		in.FilterExpression = &q.filter.expression
		for name, v := range q.filter.values {
			values[name] = v
		}
	}
	in.ExpressionAttributeValues = values
	for {
		out, err := t.API.Query(ctx, in)
		if err != nil {
			return failed(err)
		}
		for _, it := range out.Items {
			if more, err := each(it); err != nil || !more {
				return err
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// pause waits before another try, longer each time and never as long as the
// others who lost with us.
func pause(ctx context.Context, try int) error {
	limit := min(5*time.Millisecond<<min(try, 7), 400*time.Millisecond)
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(limit)) + 1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
