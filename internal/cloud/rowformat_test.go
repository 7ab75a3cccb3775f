package cloud_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// rowOfBefore is a row as this release and the ones before it have written it.
func rowOfBefore() connection.Connection {
	at := time.Date(2026, 3, 4, 5, 6, 7, 890123456, time.UTC)
	return connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_1"}, UserID: "ada", Server: "google-drive", AuthType: "oauth", Provider: "google",
		Status: connection.Connected, CreatedAt: at, ConnectedAt: at, RenewAt: at.Add(time.Hour), Health: connection.Healthy, Fence: 3, Revision: 4,
		Granted: connection.Granted{Account: connection.Account{Subject: "108", Label: "ada@example.com"},
			Scopes: []string{"https://www.googleapis.com/auth/drive.readonly"}, ClientID: "1-x.apps.googleusercontent.com"},
		Set: connection.Set{GrantVersion: "set_1_a", GrantStore: "dynamodb", AccessVersion: "set_1_a", IssuedAt: at, AccessExpiresAt: at.Add(time.Hour),
			TokenHash: "hash", Access: []byte{0, 0xff, 'x'}}}
}

const packedOfBefore = "ASKU2hNTEumb2A0skJJ7Ykoi9hRPTOrFn80NdSvwJWe8qdmQjOQM0UNsejbWNTAJMTCzAiFzPQtLA0MjYxNTM+zJHKLYFJtilOQJphA5wBhLisRjL8GEiscZWNMvHvWIFGpSCwg="

// TestRowsOfBefore: rows in each form that there was are read, found when they
// are due, and changed. Who changes the dictionary loses all rows, and this
// test says so.
func TestRowsOfBefore(t *testing.T) {
	t.Parallel()
	want := rowOfBefore()
	asText, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := base64.StdEncoding.DecodeString(packedOfBefore)
	if err != nil {
		t.Fatal(err)
	}
	s := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	b := func(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }
	for name, it := range map[string]map[string]types.AttributeValue{
		"text": {"doc": s(string(asText)), "w": s("YWFhYWFh YmJiYmJi"), "due_at": s("2026-03-04T06:06:07.890123456Z#default#con_1")},
		"packed": {"doc": b(packed), "access": b(want.Set.Access), "w": b([]byte("aaaaabbbbb")),
			"due_at": s("9h6ce8vlmb2m0")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := newTable(t, awsConfig(t, "LANYARD_TEST_DYNAMODB"))
			it["pk"], it["sk"], it["due_shard"], it["rev"] = s("CON#default#con_1"), s("-"), s("3"), &types.AttributeValueMemberN{Value: "4"}
			if _, err := table.API.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table.Name, Item: it}); err != nil {
				t.Fatal(err)
			}
			got, err := table.Get(t.Context(), want.Key)
			if err != nil {
				t.Fatal(err)
			}
			wantSame(t, got, want)
			due, err := table.Due(t.Context(), want.RenewAt.Add(time.Minute), 10)
			if err != nil || len(due) != 1 || due[0] != want.Key {
				t.Errorf("due: %v, %v", due, err)
			}
			for range 2 {
				got, err = table.UpdateFrom(t.Context(), got, func(c *connection.Connection) error { c.Fence++; return nil })
				if err != nil {
					t.Fatal(err)
				}
			}
			want := want
			want.Fence, want.Revision = 5, 6
			if got, err = table.Get(t.Context(), want.Key); err != nil {
				t.Fatal(err)
			}
			wantSame(t, got, want)
		})
	}
}

func wantSame(t *testing.T, got, want connection.Connection) {
	t.Helper()
	g, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(g) != string(w) {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

// TestRowIsDamaged: what does not unpack is an error that names the row, and no
// connection.
func TestRowIsDamaged(t *testing.T) {
	t.Parallel()
	table := newTable(t, awsConfig(t, "LANYARD_TEST_DYNAMODB"))
	for _, doc := range [][]byte{{9, 1, 2}, {1, 0xff}, []byte(`{"user_id":`)} {
		it := at("CON#default#con_1", "-")
		it["doc"] = &types.AttributeValueMemberB{Value: doc}
		if _, err := table.API.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: &table.Name, Item: it}); err != nil {
			t.Fatal(err)
		}
		if c, err := table.Get(t.Context(), rowOfBefore().Key); err == nil || c.ID != "" {
			t.Errorf("%v: %+v, %v", doc, c, err)
		}
	}
}

// TestLeaseLeavesTheIndexAlone: what is due stays where it is while somebody
// renews: taking the lease and giving it back write the row alone.
func TestLeaseLeavesTheIndexAlone(t *testing.T) {
	t.Parallel()
	meter := &metered{t: t}
	cfg := awsConfig(t, "LANYARD_TEST_DYNAMODB")
	table := newTable(t, cfg)
	meter.Client = dynamodb.NewFromConfig(cfg)
	table.API = meter
	c := rowOfBefore()
	if err := reopened(cfg, table).Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var claim connection.Claim
	meter.take()
	got, err := table.Update(t.Context(), c.Key, func(c *connection.Connection) (err error) {
		if claim, err = c.Acquire("ref_1", clock(), time.Minute); err != nil {
			return err
		}
		return c.Record(claim, connection.Intent{ID: "set_2_b", At: clock(), Attempt: 1}, clock().Add(time.Minute))
	})
	if err == nil {
		_, err = table.UpdateFrom(t.Context(), got, func(c *connection.Connection) error { return c.Release(claim) })
	}
	if said, _, _ := meter.take(); err != nil || sumOf(said).write != 2 {
		t.Errorf("%+v, %v", said, err)
	}
}
