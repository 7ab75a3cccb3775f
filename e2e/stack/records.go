package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	secrettypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// longAgo is when what a test makes old has ended.
var longAgo = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// expire lets the time of a link, of all states, or of the confirmation of a
// connection have passed: there is no other way to let ten minutes pass.
func (s *stack) expire(w http.ResponseWriter, r *http.Request) {
	var in struct{ What, ID string }
	err := json.NewDecoder(r.Body).Decode(&in)
	if err == nil {
		switch in.What {
		case "link":
			err = s.expireItems(r.Context(), "LNK#"+flow.DefaultTenant+"#"+in.ID)
		case "states":
			err = s.expireItems(r.Context(), "STA#")
		case "confirmation":
			_, err = s.res.table.Update(r.Context(), connection.Key{Tenant: flow.DefaultTenant, ID: in.ID}, func(c *connection.Connection) error {
				if c.Proposal == nil {
					return errors.New("nothing is proposed")
				}
				c.Proposal.ConfirmBy = longAgo
				return nil
			})
		default:
			err = fmt.Errorf("what is %q", in.What)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// expireItems changes the end of every record whose key begins like that, in
// its document and in the attribute that conditions compare.
func (s *stack) expireItems(ctx context.Context, prefix string) error {
	items, err := s.scan(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, it := range items {
		pk, doc := it["pk"].(*types.AttributeValueMemberS), it["doc"]
		if !strings.HasPrefix(pk.Value, prefix) || doc == nil {
			continue
		}
		var record map[string]any
		if err := json.Unmarshal([]byte(doc.(*types.AttributeValueMemberS).Value), &record); err != nil {
			return err
		}
		record["expires_at"] = longAgo
		b, err := json.Marshal(record)
		if err != nil {
			return err
		}
		it["doc"], it["exp_at"] = &types.AttributeValueMemberS{Value: string(b)}, &types.AttributeValueMemberS{Value: connection.Stamp(longAgo)}
		if _, err := s.res.dynamo.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.name, Item: it}); err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return fmt.Errorf("no item begins with %s", prefix)
	}
	return nil
}

func (s *stack) scan(ctx context.Context) (out []map[string]types.AttributeValue, err error) {
	pages := dynamodb.NewScanPaginator(s.res.dynamo, &dynamodb.ScanInput{TableName: &s.name, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
	}
	return out, nil
}

// dump writes what an account keeps of people into files, so that a test can
// search it: the table, and the grants in Secrets Manager. The clients' secrets
// and our own generated ones are where they belong, and not in it.
func (s *stack) dump(ctx context.Context) error {
	items, err := s.scan(ctx)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(s.data, "table.json"), items); err != nil {
		return err
	}
	grants := map[string]string{}
	pages := secretsmanager.NewListSecretsPaginator(s.res.secrets, &secretsmanager.ListSecretsInput{
		Filters: []secrettypes.Filter{{Key: secrettypes.FilterNameStringTypeName, Values: []string{s.name + "/grants/"}}}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, secret := range page.SecretList {
			for version := range secret.SecretVersionsToStages {
				v, err := s.res.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: secret.Name, VersionId: &version})
				if err != nil {
					return err
				}
				grants[aws.ToString(secret.Name)+" "+version] = aws.ToString(v.SecretString) + string(v.SecretBinary)
			}
		}
	}
	return write(filepath.Join(s.data, "grants.json"), grants)
}

func write(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}
