package cloud_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
)

// The mutants are mistakes that are easily made in how the table is written.

// putsAnyway forgets the conditions of single writes.
type putsAnyway struct{ cloud.DynamoDB }

func (u putsAnyway) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	plain := *in
	plain.ConditionExpression, plain.ExpressionAttributeValues = nil, nil
	return u.DynamoDB.PutItem(ctx, &plain, o...)
}

// transactsAnyway forgets the conditions of transactions.
type transactsAnyway struct{ cloud.DynamoDB }

func (u transactsAnyway) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	plain := &dynamodb.TransactWriteItemsInput{}
	for _, w := range in.TransactItems {
		switch {
		case w.Put != nil:
			plain.TransactItems = append(plain.TransactItems, types.TransactWriteItem{Put: &types.Put{TableName: w.Put.TableName, Item: w.Put.Item}})
		case w.Delete != nil:
			plain.TransactItems = append(plain.TransactItems, types.TransactWriteItem{Delete: &types.Delete{TableName: w.Delete.TableName, Key: w.Delete.Key}})
		}
	}
	return u.DynamoDB.TransactWriteItems(ctx, plain, o...)
}

// asksNothing does not ask what refused a write, so that its own lost one is
// taken for somebody else's.
type asksNothing struct{ cloud.DynamoDB }

func (f asksNothing) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	plain := *in
	plain.ReturnValuesOnConditionCheckFailure = ""
	return f.DynamoDB.PutItem(ctx, &plain, o...)
}

var brokenTables = map[string]struct {
	sentence string
	run      func(t *testing.T, newTable func(*testing.T) *cloud.Table)
}{
	"single writes without conditions": {"UpdateRaced", func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Connections(t, func(t *testing.T) connection.Store {
			table := newTable(t)
			table.API = putsAnyway{table.API}
			return table
		})
	}},
	"a state that anybody takes": {"TakeStateRefused", func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Flows(t, func(t *testing.T) flow.Store {
			table := newTable(t)
			table.API = putsAnyway{table.API}
			return table
		})
	}},
	"transactions without conditions": {"BeginTaskRaced", func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Tasks(t, func(t *testing.T) host.Store {
			table := newTable(t)
			table.API = transactsAnyway{table.API}
			return table
		})
	}},
	"its own write taken for another's": {"TakeStateOnce", func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		lostOnce := &weather{decide: func(operation, attempt, _ string) trouble {
			if operation == "PutItem" && attempt == "1" {
				return lost
			}
			return calm
		}}
		cfg := awsConfig(t, "LANYARD_TEST_AWS")
		conformance.Flows(t, func(t *testing.T) flow.Store {
			table := reopened(under(cfg, lostOnce), newTable(t))
			table.API = asksNothing{table.API}
			return table
		})
	}},
}

const brokenVariable = "LANYARD_CLOUD_BROKEN"

// TestBroken runs a suite on a broken adapter; TestSuitesCatchBrokenAdapters
// starts it.
func TestBroken(t *testing.T) {
	name := os.Getenv(brokenVariable)
	if name == "" {
		return // runs in a process of its own
	}
	cfg := awsConfig(t, "LANYARD_TEST_AWS")
	brokenTables[name].run(t, func(t *testing.T) *cloud.Table { return newTable(t, cfg) })
}

// TestSuitesCatchBrokenAdapters proves that the suites can fail on this
// adapter, and where.
func TestSuitesCatchBrokenAdapters(t *testing.T) {
	if os.Getenv(brokenVariable) != "" {
		return // this is that process
	}
	t.Parallel()
	awsConfig(t, "LANYARD_TEST_AWS")
	for name, b := range brokenTables {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$/^"+b.sentence+"$")
			child.Env = append(os.Environ(), brokenVariable+"="+name)
			out, err := child.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestBroken/"+b.sentence) {
				t.Errorf("%s did not fail (%v):\n%s", b.sentence, err, out)
			}
		})
	}
}
