package cloud_test

import (
	"context"
	crand "crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	secretstypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// letters are n random characters of base64url: nothing can pack them into
// less than three quarters.
func letters(n int) string {
	b := make([]byte, n)
	_, _ = crand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

// longKeys wrap data keys in as many bytes as KMS does.
type longKeys struct{ vault.Keys }

const kmsBlob = 184

func (k longKeys) DataKey(ctx context.Context, tenant string) (key, wrapped []byte, err error) {
	key, wrapped, err = k.Keys.DataKey(ctx, tenant)
	padding := make([]byte, kmsBlob-1-len(wrapped))
	_, _ = crand.Read(padding)
	return key, slices.Concat([]byte{byte(len(wrapped))}, wrapped, padding), err
}

func (k longKeys) Unwrap(ctx context.Context, tenant string, wrapped []byte) ([]byte, error) {
	return k.Keys.Unwrap(ctx, tenant, wrapped[1:1+wrapped[0]])
}

// instant is a provider that answers at once.
type instant struct {
	answer func() (int, any)
	asked  int
}

func (p *instant) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	p.asked++
	status, body := p.answer()
	doc, err := json.Marshal(body)
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(string(doc))), Request: r}, err
}

type oneProvider struct{}

func (oneProvider) Server(string) (presets.Server, bool) { return presets.Server{}, false }
func (oneProvider) Provider(id string) (presets.Provider, bool) {
	return presets.Provider{ID: id, DisplayName: "Google", AuthorizationEndpoint: "https://google.example/auth", TokenEndpoint: "https://google.example/token"}, true
}

const googleClient = "407408718192-9f3kq0v7m2d8s5t1x6w4z0c3b7n2j8hr.apps.googleusercontent.com"

type oneClient struct{}

func (oneClient) Client(context.Context, string, string, string) (provider.Client, error) {
	return provider.Client{ID: googleClient, Secret: "secret"}, nil
}

// noSecrets is a Secrets Manager without any. Who does more than ask panics.
type noSecrets struct{ cloud.SecretsManager }

func (noSecrets) GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	return nil, &secretstypes.ResourceNotFoundException{}
}

// deploymentOnTable is a deployment whose grants lie in the table, and one
// connection of it.
type deploymentOnTable struct {
	t        *testing.T
	meter    *metered
	table    *cloud.Table
	service  *refresh.Service
	provider *instant
	now      time.Time
	k        connection.Key
}

func newDeploymentOnTable(t *testing.T, accessToken int, scopes []string) *deploymentOnTable {
	t.Helper()
	cfg := awsConfig(t, "LANYARD_TEST_DYNAMODB")
	d := &deploymentOnTable{t: t, meter: &metered{Client: dynamodb.NewFromConfig(cfg), t: t}, provider: &instant{}, now: clock().Add(123456789)}
	d.table = newTable(t, cfg)
	d.table.API = d.meter
	clock := func() time.Time { return d.now }
	d.service = &refresh.Service{
		Connections: d.table, Catalogue: oneProvider{}, Secrets: oneClient{}, BaseURL: "https://lanyard.example", Now: clock, Logger: slog.New(slog.DiscardHandler),
		Engine: &provider.Engine{HTTP: &http.Client{Transport: d.provider}, Now: clock},
		Vault: &vault.Vault{Sealer: &vault.Sealer{Keys: longKeys{fake.NewKeys()}, Rand: crand.Reader}, Audit: d.table.Audit(), Now: clock,
			Grants: &cloud.Grants{Table: d.table, Secrets: &cloud.SecretGrants{Store: &cloud.SecretStore{Client: noSecrets{}}}, Store: "dynamodb"}},
	}
	c := connection.Connection{Key: connection.Key{Tenant: "default", ID: token.NewID("con")}, UserID: letters(24), Server: "google-drive", AuthType: "oauth",
		Provider: "google", Status: connection.Pending, CreatedAt: d.now}
	d.k = c.Key
	set := token.Set{
		Grant: grantOf(3072),
		Access: token.Access{Tokens: map[string]token.Token{"": {AccessToken: token.Secret(letters(accessToken)), TokenType: "Bearer",
			ExpiresAt: d.now.Add(time.Hour), Scopes: scopes}}},
	}
	d.must(d.table.Create(t.Context(), c))
	sealed, err := d.service.Vault.Seal(t.Context(), vault.Caller{Tenant: "default", Actor: "callback"}, c, token.NewID("set"), "connect", set)
	d.must(err)
	granted := connection.Granted{Account: connection.Account{Subject: "108204268033311374519", Label: "ada.lovelace@example.com"},
		ScopesAsked: scopes, Scopes: scopes, ClientID: googleClient}
	d.update(func(c *connection.Connection) error {
		return c.Propose(connection.Proposal{FlowID: "flo_1", ConfirmBy: d.now.Add(10 * time.Minute), Set: sealed, Granted: granted})
	})
	d.now = d.now.Add(11 * time.Second)
	d.update(func(c *connection.Connection) error { return c.Promote("flo_1", d.now) })
	d.update(func(c *connection.Connection) error {
		c.Events, c.LastUsedAt = nil, d.now // told, and used
		return nil
	})
	d.answers(accessToken, token.Grant{})
	d.must(d.service.Attend(t.Context(), d.k)) // plans
	return d
}

// grantOf is a grant whose plaintext has that many bytes.
func grantOf(n int) token.Grant {
	g := func(n int) token.Grant {
		return token.Grant{Renewables: map[string]token.Renewable{"": {RefreshToken: token.Secret(letters(n))}}}
	}
	empty, err := json.Marshal(g(0))
	if err != nil {
		panic(err)
	}
	return g(n - len(empty))
}

// answers makes the provider renew with such tokens; an empty grant: it keeps
// the refresh token.
func (d *deploymentOnTable) answers(accessToken int, g token.Grant) {
	d.provider.answer = func() (int, any) {
		out := map[string]any{"access_token": letters(accessToken), "token_type": "Bearer", "expires_in": 3599}
		if r, ok := g.Renewables[""]; ok {
			out["refresh_token"] = r.RefreshToken.Reveal()
		}
		return 200, out
	}
}

func (d *deploymentOnTable) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *deploymentOnTable) row() connection.Connection {
	d.t.Helper()
	c, err := d.table.Get(d.t.Context(), d.k)
	d.must(err)
	return c
}

func (d *deploymentOnTable) update(change func(*connection.Connection) error) {
	d.t.Helper()
	_, err := d.table.Update(d.t.Context(), d.k, change)
	d.must(err)
}

// due moves the clock to when the connection is to be renewed.
func (d *deploymentOnTable) due() {
	d.t.Helper()
	c := d.row()
	if c.RenewAt.IsZero() {
		d.t.Fatal("no renewal is planned")
	}
	d.now = c.RenewAt.Add(time.Second)
	d.update(func(c *connection.Connection) error { c.LastUsedAt = d.now; return nil })
}

// costs does it and returns the price that DynamoDB named, which must be that of
// the rules.
func (d *deploymentOnTable) costs(what string, do func()) units {
	d.t.Helper()
	d.meter.take()
	do()
	said, ruled, items := d.meter.take()
	sum := sumOf(said)
	if sum != ruled {
		d.t.Errorf("%s: DynamoDB says %+v, the rules %+v", what, sum, ruled)
	}
	var parts []string
	for _, operation := range slices.Sorted(maps.Keys(said)) {
		parts = append(parts, fmt.Sprintf("%s %g", operation, said[operation].write+said[operation].read))
	}
	d.t.Logf("%-42s %2g write units, %2g read units   %s   [%s]", what, sum.write, sum.read, strings.Join(parts, ", "), strings.Join(items, "; "))
	return sum
}

// googleScopes are such as a person grants; others have the same lengths, and
// nothing that is known beforehand.
var googleScopes = []string{"https://www.googleapis.com/auth/drive.readonly", "https://www.googleapis.com/auth/calendar.events", "https://www.googleapis.com/auth/gmail.readonly"}

// TestUnits: what a renewal costs on DynamoDB, by real ones.
func TestUnits(t *testing.T) {
	t.Parallel()
	attend := func(d *deploymentOnTable) func() {
		return func() { d.must(d.service.Attend(d.t.Context(), d.k)) }
	}
	limited := func(t *testing.T, what string, got, most units) {
		t.Helper()
		if got.write > most.write || got.read > most.read {
			t.Errorf("%s costs %+v, and may %+v", what, got, most)
		}
	}
	d := newDeploymentOnTable(t, 220, googleScopes)
	d.due()
	first := d.row().Set
	limited(t, "a renewal", d.costs("renewal, does not rotate", attend(d)), units{5, 2})
	if c := d.row(); c.Set.AccessVersion == first.AccessVersion || c.Set.GrantVersion != first.GrantVersion || c.Failure != nil || d.provider.asked != 1 {
		t.Errorf("it is no renewal: %+v", c)
	}
	rotate := func(what string, most units) {
		t.Helper()
		d.answers(220, grantOf(3072))
		d.due()
		before := d.row().Set.GrantVersion
		limited(t, "a rotation", d.costs(what, attend(d)), most)
		after := d.row()
		if _, err := d.service.Vault.Grant(t.Context(), vault.Caller{Tenant: "default", Actor: "test"}, after, after.Set, "test"); err != nil || after.Set.GrantVersion == before {
			t.Errorf("it is no rotation: %s, then %s: %v", before, after.Set.GrantVersion, err)
		}
	}
	// What the callback has put has a place of its own, and is removed: three
	// units, once.
	rotate("the first renewal that rotates", units{11, 2})
	for range 3 { // into a slot that was empty, and into both that were not
		rotate("renewal, rotates a grant of 3,072 bytes", units{8, 2})
	}
	limited(t, "nothing", d.costs("attended early: nothing to do", attend(d)), units{0, 1})

	d.due()
	d.provider.answer = func() (int, any) { return 503, map[string]string{"error": "temporarily_unavailable"} }
	limited(t, "a failure", d.costs("renewal that fails", attend(d)), units{6, 2})
	if c := d.row(); c.Failure == nil || c.Lease != nil {
		t.Errorf("it did not fail: %+v", c)
	}
	d.answers(220, token.Grant{})
	d.now = d.row().RenewAt.Add(time.Second)
	// The row is longer now, and what the lost answer may have left is looked for.
	limited(t, "a second try", d.costs("renewal after a failure", attend(d)), units{7, 4})

	d.due()
	d.service.Pace = closed{until: d.now.Add(10 * time.Minute)}
	limited(t, "to wait", d.costs("postponed: its provider is not asked now", attend(d)), units{3, 1})
	d.service.Pace = nil
	d.now = d.row().RenewAt.Add(time.Second)
	limited(t, "a renewal", d.costs("renewal after that", attend(d)), units{5, 2})

	d.now = d.row().RenewAt.Add(-time.Hour)
	d.update(func(c *connection.Connection) error {
		c.LastUsedAt = d.now.AddDate(0, 0, -8)
		c.ConnectedAt = d.now.AddDate(0, 0, -9)
		return nil
	})
	d.now = d.row().RenewAt.Add(time.Second)
	limited(t, "to be left alone", d.costs("not used for a week: planned no more", attend(d)), units{2, 1})

	d.now = d.now.Add(2 * time.Hour)
	limited(t, "a token on demand", d.costs("renewed when somebody asks for a token", func() {
		if _, _, err := d.service.Token(t.Context(), vault.Caller{Tenant: "default", User: d.row().UserID, Actor: "api_key"}, d.k, time.Minute, "token"); err != nil {
			t.Error(err)
		}
	}), units{6, 4})
}

// jwt is a signed token of that length, as Microsoft, Auth0 and others issue
// them: most of it is JSON.
func jwt(n int) string {
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	head := encode(`{"alg":"RS256","typ":"JWT","kid":"`+letters(43)+`"}`) + "."
	claims := `{"iss":"https://acme.example/","sub":"auth0|` + letters(24) + `","aud":["https://api.acme.example","https://acme.example/userinfo"],` +
		`"iat":1772600767,"exp":1772604367,"azp":"` + letters(32) + `","scope":"openid profile email offline_access","jti":"` + letters(22) + `","org":"`
	signature := "." + letters(342)
	rest := n - len(head) - len(signature) - len(encode(claims))
	return head + encode(claims+letters(rest*3/4-2)+`"}`) + signature
}

// TestRowSize: how long a row is by its access token. A renewal writes it twice,
// for a unit a kilobyte.
func TestRowSize(t *testing.T) {
	t.Parallel()
	unheard := make([]string, len(googleScopes)) // of the same length, and in no dictionary
	for i, s := range googleScopes {
		unheard[i] = "https://scopes.acme.example/" + letters(len(s)-28)
	}
	for _, test := range []struct {
		name   string
		token  func() string
		scopes []string
		most   int
	}{
		{"220 characters", func() string { return letters(220) }, googleScopes, 1024},
		{"220 characters, random scopes", func() string { return letters(220) }, unheard, 1300},
		{"500 characters", func() string { return letters(500) }, googleScopes, 1300},
		{"a JWT of 1.2 KB", func() string { return jwt(1200) }, googleScopes, 2048},
		{"2,000 characters", func() string { return letters(2000) }, googleScopes, 3072},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDeploymentOnTable(t, 220, test.scopes)
			longest, length := map[string]int{}, 0
			measure := func(when string) {
				it := d.meter.there(t.Context(), &d.table.Name, at("CON#default#"+d.k.ID, "-"))
				longest[when] = max(longest[when], size(it))
			}
			d.service.AtStep = func(s refresh.Step) {
				if s == refresh.StepBegun {
					measure("leased")
				}
			}
			for range 5 {
				d.provider.answer = func() (int, any) {
					access := test.token()
					length = len(access)
					return 200, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3599, "refresh_token": letters(100)}
				}
				d.due()
				d.must(d.service.Attend(t.Context(), d.k))
				measure("at rest")
			}
			t.Logf("%-32s %5d characters: %5d bytes at rest, %5d under lease and intent", test.name, length, longest["at rest"], longest["leased"])
			if n := longest["leased"]; n > test.most || n < longest["at rest"] {
				t.Errorf("%d bytes, at most %d were expected", n, test.most)
			}
		})
	}
}

func at(pk, sk string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: pk}, "sk": &types.AttributeValueMemberS{Value: sk}}
}

type closed struct {
	refresh.Unpaced
	until time.Time
}

func (c closed) Closed(context.Context, connection.Connection) *refresh.Held {
	return &refresh.Held{Until: c.until, Reason: "it is down"}
}
