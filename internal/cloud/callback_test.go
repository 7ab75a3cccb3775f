package cloud_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// issuer is an authorization server that gives one grant, and notes what is
// given back.
type issuer struct {
	mu        sync.Mutex
	exchanged int
	revoked   []string
}

const issued = "canary-refresh-token"

func (a *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	answer := "{}"
	a.mu.Lock()
	defer a.mu.Unlock()
	switch r.URL.Path {
	case "/token":
		a.exchanged++
		answer = fmt.Sprintf(`{"access_token":"canary-access","refresh_token":%q,"token_type":"Bearer","expires_in":3600}`, issued)
	case "/revoke":
		a.revoked = append(a.revoked, form.Get("token"))
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

type acme struct{}

func (acme) Server(name string) (presets.Server, bool) {
	return presets.Server{Name: name, DisplayName: name, AuthType: presets.TypeOAuth, OAuthService: "google"}, name == "notes"
}

func (acme) Provider(id string) (presets.Provider, bool) {
	return presets.Provider{ID: id, DisplayName: "Acme", AuthorizationEndpoint: "https://acme.example/authorize",
		TokenEndpoint: "https://acme.example/token", PKCE: presets.PKCE{Mode: "required"},
		Revocation: presets.Revocation{Mode: "rfc7009", Endpoint: "https://acme.example/revoke", Revokes: presets.RevokesGrant}}, id == "google"
}

// callback is a whole deployment but its web pages, whose calls can be broken.
type callback struct {
	*deployment
	acme *issuer
	ids  cloud.ClientIDs
	fin  *flow.Finisher
	log  *bytes.Buffer
	f    flow.Flow
	back url.Values
}

// newCallback is where a person has just granted access. From now on calls
// break.
func newCallback(t *testing.T, store string, broken func(string, int) fault) *callback {
	t.Helper()
	d := newDeployment(t, store)
	c := &callback{deployment: d, acme: &issuer{}, ids: d.table.ClientIDs(), log: &bytes.Buffer{}}
	logger := slog.New(slog.NewTextHandler(c.log, nil))
	secrets := &cloud.ClientSecrets{Store: d.grants.Secrets.Store, Now: clock}
	if _, err := secrets.Set(t.Context(), c.ids, cloud.ClientEntry{Tenant: "default", Provider: "google", ID: "lanyard"}, "canary-client"); err != nil {
		t.Fatal(err)
	}
	engine := &provider.Engine{HTTP: &http.Client{Transport: c.acme}, Now: clock, Logger: logger}
	start := &flow.Starter{Store: d.table, Connections: d.table, Catalogue: acme{}, Clients: c.ids, Tenants: d.table.Tenants(),
		Engine: engine, BaseURL: "https://lanyard.example", Now: clock}
	f, err := start.Start(t.Context(), flow.StartRequest{Tenant: "default", UserID: "ada", Server: "notes", Proven: true})
	if err != nil {
		t.Fatal(err)
	}
	to, err := start.Authorize(t.Context(), f.ID, "browser")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	c.f, c.back = f, url.Values{"code": {"canary-code"}, "state": {u.Query().Get("state")}}

	cfg, _ := through(t, broken)
	table := reopened(cfg, d.table)
	behind := &cloud.SecretStore{Client: secretsmanager.NewFromConfig(cfg), Prefix: d.grants.Secrets.Store.Prefix}
	keys := newKMS(t, cfg)
	keys.KMS = kms.NewFromConfig(cfg)
	c.fin = &flow.Finisher{Store: table, Connections: table, Catalogue: acme{}, Engine: engine,
		Secrets: &cloud.ClientSecrets{Store: behind, Now: clock},
		Vault: &vault.Vault{Sealer: &vault.Sealer{Keys: keys, Rand: rand.Reader}, Audit: table.Audit(), Now: clock,
			Grants: &cloud.Grants{Table: table, Secrets: &cloud.SecretGrants{Store: behind}, Store: store}},
		BaseURL: "https://lanyard.example", Now: clock, Logger: logger}
	return c
}

// stored counts what is left: rows, and sealed grants in either store.
func (c *callback) stored(t *testing.T) (rows, grants int) {
	t.Helper()
	found, _, err := c.table.List(t.Context(), "default", connection.Filter{}, connection.Page{})
	if err != nil {
		t.Fatal(err)
	}
	client := c.grants.Secrets.Store.Client.(*secretsmanager.Client)
	pages := secretsmanager.NewListSecretsPaginator(client, &secretsmanager.ListSecretsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.SecretList {
			if strings.HasPrefix(*s.Name, c.grants.Secrets.Store.Prefix+"/grants/") {
				grants++
			}
		}
	}
	items, err := c.table.API.(*dynamodb.Client).Scan(t.Context(), &dynamodb.ScanInput{TableName: &c.table.Name,
		FilterExpression: aws.String("attribute_exists(sealed)")})
	if err != nil {
		t.Fatal(err)
	}
	return len(found), grants + int(items.Count)
}

// When what was granted cannot be sealed or stored, it is given back at the
// provider; nothing half-written stays, the person can try again in a moment,
// and the operator is told which call failed.
func TestCallbackCannotStore(t *testing.T) {
	denied := fault{status: 400, code: "AccessDeniedException"}
	for name, test := range map[string]struct {
		store  string
		broken func(string, int) fault
		logged string
	}{
		"the key is disabled":             {"secretsmanager", on("GenerateDataKey", 1, always, fault{status: 400, code: "DisabledException"}), "KMS: GenerateDataKey"},
		"the key is deleted":              {"dynamodb", on("GenerateDataKey", 1, always, fault{status: 400, code: "KMSInvalidStateException"}), "KMS: GenerateDataKey"},
		"KMS fails for the second part":   {"dynamodb", on("GenerateDataKey", 2, always, fault{status: 500, code: "KMSInternalException"}), "KMS: GenerateDataKey"},
		"the secret cannot be made":       {"secretsmanager", on("CreateSecret", 1, always, denied), "Secrets Manager: CreateSecret"},
		"the secret is throttled":         {"secretsmanager", on("PutSecretValue", 2, always, fault{status: 400, code: "ThrottlingException"}), "Secrets Manager: PutSecretValue"},
		"the secret's answers are lost":   {"secretsmanager", on("PutSecretValue", 2, always, fault{lost: true}), "Secrets Manager: PutSecretValue"},
		"the item's answers are lost":     {"dynamodb", on("PutItem", 4, 6, fault{lost: true}), "DynamoDB: PutItem"},
		"the row cannot be written":       {"secretsmanager", on("TransactWriteItems", 1, always, fault{status: 500, code: "InternalServerError"}), "DynamoDB: TransactWriteItems"},
		"the row's table is throttled":    {"dynamodb", on("TransactWriteItems", 1, always, fault{status: 400, code: "ThrottlingException"}), "DynamoDB: TransactWriteItems"},
		"the audit cannot be written":     {"secretsmanager", on("PutItem", 3, always, fault{status: 500, code: "InternalServerError"}), "DynamoDB: PutItem"},
		"nothing goes wrong":              {"secretsmanager", nil, ""},
		"nothing goes wrong in the table": {"dynamodb", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCallback(t, test.store, test.broken)
			f, err := c.fin.Finish(t.Context(), c.back, "browser")
			rows, grants := c.stored(t)
			if test.broken == nil {
				if err != nil || rows != 1 || grants != 1 || len(c.acme.revoked) != 0 {
					t.Errorf("%v, %d rows, %d grants, revoked %v\n%s", err, rows, grants, c.acme.revoked, c.log)
				}
				return
			}
			if !errors.Is(err, flow.ErrStore) || f.Result.Code != "store_unavailable" {
				t.Errorf("the person is told %v, %+v", err, f.Result)
			}
			if len(c.acme.revoked) != 1 || c.acme.revoked[0] != issued {
				t.Errorf("revoked: %q", c.acme.revoked)
			}
			if rows != 0 || grants != 0 {
				t.Errorf("%d rows and %d grants are left", rows, grants)
			}
			if !strings.Contains(c.log.String(), test.logged) {
				t.Errorf("the operator is not told of %q:\n%s", test.logged, c.log)
			}
			if strings.Contains(c.log.String()+fmt.Sprint(err), "canary") {
				t.Errorf("a secret was told:\n%v\n%s", err, c.log)
			}
		})
	}
}

// A client's secret that cannot be read spends no code: the person can try
// again in a moment.
func TestCallbackCannotReadTheClient(t *testing.T) {
	t.Parallel()
	c := newCallback(t, "dynamodb", on("GetSecretValue", 1, always, fault{status: 400, code: "ThrottlingException"}))
	_, err := c.fin.Finish(t.Context(), c.back, "browser")
	wantUnavailable(t, err, "Secrets Manager: GetSecretValue")
	if c.acme.exchanged != 0 {
		t.Error("the code was spent")
	}
}

// Disconnecting revokes at the provider and leaves nothing but a tombstone: the
// secret is gone at once, without a recovery window.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"secretsmanager", "dynamodb"} {
		c := newCallback(t, store, nil)
		f, err := c.fin.Finish(t.Context(), c.back, "browser")
		if err != nil {
			t.Fatal(err)
		}
		k := connection.Key{Tenant: "default", ID: f.Result.ConnectionID}
		row, err := c.table.Get(t.Context(), k)
		if err != nil || row.Set.GrantStore != store {
			t.Fatalf("the row says %q, %v", row.Set.GrantStore, err)
		}
		service := &refresh.Service{Connections: c.table, Vault: c.fin.Vault, Catalogue: acme{}, Secrets: c.fin.Secrets,
			Engine: c.fin.Engine, BaseURL: c.fin.BaseURL, Now: clock, Logger: c.fin.Logger}
		out, err := service.Disconnect(t.Context(), vault.Caller{Tenant: "default", Actor: "api_key"}, k)
		if err != nil || out.Revoked != refresh.RevokedAtProvider || len(c.acme.revoked) == 0 {
			t.Errorf("%s: %+v, %v, revoked %q\n%s", store, out, err, c.acme.revoked, c.log)
		}
		if rows, grants := c.stored(t); rows != 0 || grants != 0 {
			t.Errorf("%s: %d rows and %d grants are left", store, rows, grants)
		}
		if err := c.table.Create(t.Context(), row); !errors.Is(err, connection.ErrExists) {
			t.Errorf("%s: the key of a deleted connection was taken again: %v", store, err)
		}
	}
}
