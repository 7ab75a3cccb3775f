package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/lanyardhq/lanyard/internal/cloud/emulate"
)

// TestTable: the table is the one that the tests of the adapters make, and is
// protected.
func TestTable(t *testing.T) {
	t.Parallel()
	var request []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	client := dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: &server.URL,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		})})
	if err := emulate.CreateTable(context.Background(), client, "t"); err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(request, &want); err != nil {
		t.Fatal(err)
	}
	data := synth(t, shipped).data
	id := data.of("AWS::DynamoDB::Table")[0]
	table := data.Resources[id]
	for _, name := range []string{"AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes"} {
		if got := table.at(name); !reflect.DeepEqual(got, want[name]) {
			t.Errorf("%s: here\n%v\nin the adapters' tests\n%v", name, got, want[name])
		}
	}
	if table.at("DeletionProtectionEnabled") != true || table.at("PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled") != true ||
		table.at("TimeToLiveSpecification", "AttributeName") != "ttl" || table.at("StreamSpecification") != nil {
		t.Errorf("%v", table.Properties)
	}
	key := data.Resources[data.of("AWS::KMS::Key")[0]]
	if key.at("EnableKeyRotation") != true {
		t.Errorf("%v", key.Properties)
	}
}

// TestKept: the table and the key stay when their stack goes.
func TestKept(t *testing.T) {
	t.Parallel()
	a := synth(t, shipped)
	raw, err := os.ReadFile(templates(a)[0])
	if err != nil {
		t.Fatal(err)
	}
	var data struct {
		Resources map[string]struct{ Type, DeletionPolicy, UpdateReplacePolicy string }
	}
	if err := json.Unmarshal(raw, &data); err != nil {
		t.Fatal(err)
	}
	for id, r := range data.Resources {
		keep := r.Type == "AWS::DynamoDB::Table" || r.Type == "AWS::KMS::Key"
		if keep != (r.DeletionPolicy == "Retain" && r.UpdateReplacePolicy == "Retain") {
			t.Errorf("%s: %+v", id, r)
		}
	}
	// Both settings of the table leave the same exports.
	if got, want := len(synth(t, full).data.Outputs), len(a.data.Outputs); got != 3 || want != 3 {
		t.Errorf("%d exports with a table of one's own, %d without", got, want)
	}
	manifest, err := os.ReadFile(a.dir + "/manifest.json")
	if err != nil || strings.Count(string(manifest), `"terminationProtection": true`) != 1 {
		t.Errorf("the data stack is not protected from being deleted: %v", err)
	}
}
