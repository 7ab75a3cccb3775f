package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/cloud/emulate"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

var deployments atomic.Int64

// TestCloudScripts run the operator's commands on deployments of their own, in
// an emulator of AWS.
func TestCloudScripts(t *testing.T) {
	t.Parallel()
	url := os.Getenv("LANYARD_TEST_AWS")
	if url == "" {
		t.Skip("LANYARD_TEST_AWS is not set: run the tests by scripts/emulators.sh")
	}
	cfg := aws.Config{Region: "eu-central-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("emulated", "emulated", "")}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/cloud", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			name := fmt.Sprintf("lanyard-%d-%d", os.Getpid(), deployments.Add(1))
			functions := &fakeLambda{answers: map[string]answer{}}
			functions.set(name, name, name, "secretsmanager")
			srv := httptest.NewServer(functions)
			env.Defer(srv.Close)
			env.Values["functions"] = functions
			for k, v := range map[string]string{
				"AWS_ENDPOINT_URL": url, "AWS_REGION": cfg.Region, "AWS_ACCESS_KEY_ID": "emulated", "AWS_SECRET_ACCESS_KEY": "emulated",
				"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL_LAMBDA": srv.URL, "LANYARD_DEPLOYMENT": name, "TZ": "UTC", "GORACE": "atexit_sleep_ms=0",
			} {
				env.Setenv(k, v)
			}
			d := &deployment{name: name, table: &cloud.Table{API: dynamodb.NewFromConfig(cfg), Name: name, Now: time.Now},
				secrets: &cloud.SecretStore{Client: secretsmanager.NewFromConfig(cfg), Prefix: name}}
			env.Values["deployment"] = d
			return emulate.CreateTable(context.Background(), dynamodb.NewFromConfig(cfg), name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exitsCmd, "connection": connectionCmd, "apikey": apiKeyCmd, "client-secret": clientSecretCmd, "client-at": clientAtCmd, "grant": grantCmd,
			"function": functionCmd, "webhook": webhookCmd, "function-fails": functionFailsCmd, "restore": restoreCmd,
		},
	})
}

// fakeLambda answers as Lambda does who asks for the settings of a function.
type fakeLambda struct {
	mu      sync.Mutex
	answers map[string]answer
}

func (f *fakeLambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.answers[r.Method+" "+r.URL.Path]
	if !ok {
		a = answer{404, `{"__type":"ResourceNotFoundException","Message":"Function not found"}`}
	}
	if kind, ok := strings.CutPrefix(strings.SplitN(a.body, "\",", 2)[0], `{"__type":"`); ok {
		w.Header().Set("X-Amzn-Errortype", kind)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func (f *fakeLambda) answer(deployment string, a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers["GET /2015-03-31/functions/"+deployment+"-refresh/configuration"] = a
}

// set is what the deployment's function refresh works with.
func (f *fakeLambda) set(deployment, table, secrets, store string) {
	f.answer(deployment, answer{200, fmt.Sprintf(`{"FunctionName":%q,"Environment":{"Variables":{"LANYARD_TABLE":%q,"LANYARD_SECRETS":%q,"LANYARD_VAULT_STORE":%q}}}`,
		deployment+"-refresh", table, secrets, store)})
}

// function TABLE STORE: what the deployment works with from now on.
func functionCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: function TABLE STORE")
	}
	name := deploymentOf(ts).name
	ts.Value("functions").(*fakeLambda).set(name, args[0], name, args[1])
}

// function-fails STATUS BODY: what Lambda answers who asks for it from now on.
func functionFailsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: function-fails STATUS BODY")
	}
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Value("functions").(*fakeLambda).answer(deploymentOf(ts).name, answer{status, args[1]})
}

// restore TABLE: makes that table; it is what the scripts' other commands look
// into from now on.
func restoreCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: restore TABLE")
	}
	d := deploymentOf(ts)
	d.table.Name = args[0]
	ts.Check(emulate.CreateTable(context.Background(), d.table.API.(*dynamodb.Client), args[0]))
}

func deploymentOf(ts *testscript.TestScript) *deployment {
	return ts.Value("deployment").(*deployment)
}

// connection TENANT ID STORE: a connection whose grant lies in that store.
func connectionCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: connection TENANT ID STORE")
	}
	d, k := deploymentOf(ts), connection.Key{Tenant: args[0], ID: args[1]}
	grants := &cloud.Grants{Table: d.table, Secrets: &cloud.SecretGrants{Store: d.secrets}, Store: args[2]}
	ts.Check(grants.Put(context.Background(), k, "set_1", []byte("sealed "+k.ID)))
	ts.Check(d.table.Create(context.Background(), connection.Connection{Key: k, UserID: "ada", Server: "notes", Status: connection.Connected,
		CreatedAt: time.Now(), Set: connection.Set{GrantVersion: "set_1", GrantStore: args[2]}}))
}

// grant TENANT ID STORE: the connection's grant lies in that store, and its row
// says so.
func grantCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: grant TENANT ID STORE")
	}
	d, k := deploymentOf(ts), connection.Key{Tenant: args[0], ID: args[1]}
	row, err := d.table.Get(context.Background(), k)
	ts.Check(err)
	if row.Set.GrantStore != args[2] {
		ts.Fatalf("the row says %s", row.Set.GrantStore)
	}
	var store vault.GrantStore = d.table.Grants()
	if args[2] == "secretsmanager" {
		store = &cloud.SecretGrants{Store: d.secrets}
	}
	sealed, err := store.Get(context.Background(), k, "set_1")
	ts.Check(err)
	if string(sealed) != "sealed "+k.ID {
		ts.Fatalf("the grant is %q", sealed)
	}
}

// apikey FILE TENANT: the file holds an API key of that tenant; with "!" of
// none.
func apiKeyCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: apikey FILE TENANT")
	}
	key := strings.TrimSpace(ts.ReadFile(args[0]))
	tenant, err := deploymentOf(ts).table.APIKeys(os.ErrPermission).Tenant(context.Background(), token.Secret(key))
	if neg != (err != nil) || !neg && tenant != args[1] {
		ts.Fatalf("the key is %q's, %v", tenant, err)
	}
}

// client-at TENANT PROVIDER ID [NAME=VALUE]: that is said of where the client is.
func clientAtCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: client-at TENANT PROVIDER ID [NAME=VALUE]")
	}
	got, err := deploymentOf(ts).clients().Client(context.Background(), args[0], args[1], args[2])
	ts.Check(err)
	said := settings(cloud.ClientEntry{Parameters: got.Parameters})
	if !slices.Equal(said, args[3:]) {
		ts.Fatalf("the client is at %q", said)
	}
}

// client-secret TENANT PROVIDER ID SECRET: that client is known with that
// secret; with "!" it is not known.
func clientSecretCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: client-secret TENANT PROVIDER ID SECRET")
	}
	got, err := deploymentOf(ts).clients().Client(context.Background(), args[0], args[1], args[2])
	if neg != (err != nil) || !neg && got.Secret.Reveal() != args[3] {
		ts.Fatalf("the client is %+v, %v", got, err)
	}
}
