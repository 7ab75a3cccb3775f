package cloud_test

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// These mistakes are easily made in how the table is written.

// putsAnyway forgets the conditions of single writes.
type putsAnyway struct{ cloud.DynamoDB }

func (u putsAnyway) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	plain := *in
	plain.ConditionExpression, plain.ExpressionAttributeValues = nil, nil
	time.Sleep(100 * time.Millisecond) // the others read meanwhile
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
	time.Sleep(100 * time.Millisecond) // as above
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

// forgets leaves in an item the name of the last write alone.
type forgets struct{ cloud.DynamoDB }

func (f forgets) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	plain := *in
	plain.Item = maps.Clone(in.Item)
	plain.Item["w"] = &types.AttributeValueMemberB{Value: in.Item["w"].(*types.AttributeValueMemberB).Value[:5]}
	return f.DynamoDB.PutItem(ctx, &plain, o...)
}

// deletesAnyway forgets the conditions of deletions.
type deletesAnyway struct{ cloud.DynamoDB }

func (d deletesAnyway) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, o ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	plain := *in
	plain.ConditionExpression, plain.ExpressionAttributeValues = nil, nil
	return d.DynamoDB.DeleteItem(ctx, &plain, o...)
}

// brokenTable is a table whose calls of DynamoDB the mistake changes.
func brokenTable(t *testing.T, mistake func(cloud.DynamoDB) cloud.DynamoDB) *cloud.Table {
	table := newTable(t, awsConfig(t, "LANYARD_TEST_AWS"))
	table.API = mistake(table.API)
	return table
}

func brokenFlows(mistake func(cloud.DynamoDB) cloud.DynamoDB) func(*testing.T) {
	return func(t *testing.T) {
		conformance.Flows(t, func(t *testing.T) flow.Store { return brokenTable(t, mistake) })
	}
}

func brokenAuthServer(mistake func(cloud.DynamoDB) cloud.DynamoDB) func(*testing.T) {
	return func(t *testing.T) {
		conformance.AuthServer(t, func(t *testing.T) authserver.Store { return brokenTable(t, mistake).AuthServer() })
	}
}

// tableMutants are broken tables, by their mistake.
var tableMutants = map[string]mutant{
	"single writes without conditions": {"UpdateRaced", func(t *testing.T) {
		conformance.Connections(t, func(t *testing.T) connection.Store {
			return brokenTable(t, func(d cloud.DynamoDB) cloud.DynamoDB { return putsAnyway{d} })
		})
	}},
	"an update from what was seen, without conditions": {"UpdateFromAStaleRow", func(t *testing.T) {
		conformance.Connections(t, func(t *testing.T) connection.Store {
			return brokenTable(t, func(d cloud.DynamoDB) cloud.DynamoDB { return putsAnyway{d} })
		})
	}},
	"a slot without conditions": {"ReplaceRefusesTheFencedOut", func(t *testing.T) {
		conformance.Slots(t, func(t *testing.T) vault.Slots {
			return brokenTable(t, func(d cloud.DynamoDB) cloud.DynamoDB { return putsAnyway{d} }).Grants()
		})
	}},
	"a slot that is emptied by its name": {"RemoveFromASlotExactly", func(t *testing.T) {
		conformance.Slots(t, func(t *testing.T) vault.Slots {
			return brokenTable(t, func(d cloud.DynamoDB) cloud.DynamoDB { return deletesAnyway{d} }).Grants()
		})
	}},
	"a row that forgets the writes before": {"UpdateFromRaced", func(t *testing.T) {
		lostOnce := &weather{decide: func(operation, attempt, _ string) trouble {
			if operation == "PutItem" && attempt == "1" {
				return lost
			}
			return calm
		}}
		cfg := awsConfig(t, "LANYARD_TEST_AWS")
		conformance.Connections(t, func(t *testing.T) connection.Store {
			table := reopened(under(cfg, lostOnce), newTable(t, cfg))
			table.API = forgets{table.API}
			return table
		})
	}},
	"a gate that anybody claims": {"UpdateGateOneWins", func(t *testing.T) {
		conformance.Gates(t, func(t *testing.T) refresh.Gates {
			return brokenTable(t, func(d cloud.DynamoDB) cloud.DynamoDB { return putsAnyway{d} })
		})
	}},
	"a state that anybody takes": {"TakeStateRefused",
		brokenFlows(func(d cloud.DynamoDB) cloud.DynamoDB { return putsAnyway{d} })},
	"a code that is taken by several": {"UpdateGrantRaced", brokenAuthServer(func(d cloud.DynamoDB) cloud.DynamoDB { return putsAnyway{d} })},
	"what works once works again":     {"SpendOnce", brokenAuthServer(func(d cloud.DynamoDB) cloud.DynamoDB { return putsAnyway{d} })},
	"a request that two answer":       {"UpdateRequestRaced", brokenAuthServer(func(d cloud.DynamoDB) cloud.DynamoDB { return putsAnyway{d} })},
	"a count that others overwrite":   {"AdmitSoMany", brokenAuthServer(func(d cloud.DynamoDB) cloud.DynamoDB { return putsAnyway{d} })},
	"a deleted grant's id is free":    {"DeletedGrantIsNotAdded", brokenAuthServer(func(d cloud.DynamoDB) cloud.DynamoDB { return transactsAnyway{d} })},
	"transactions without conditions": {"BeginTaskRaced", func(t *testing.T) {
		conformance.Tasks(t, func(t *testing.T) host.Store {
			return brokenTable(t, func(d cloud.DynamoDB) cloud.DynamoDB { return transactsAnyway{d} })
		})
	}},
	"its own write taken for another's": {"TakeStateOnce", func(t *testing.T) {
		lostOnce := &weather{decide: func(operation, attempt, _ string) trouble {
			if operation == "PutItem" && attempt == "1" {
				return lost
			}
			return calm
		}}
		cfg := awsConfig(t, "LANYARD_TEST_AWS")
		conformance.Flows(t, func(t *testing.T) flow.Store {
			table := reopened(under(cfg, lostOnce), newTable(t, cfg))
			table.API = asksNothing{table.API}
			return table
		})
	}},
}
