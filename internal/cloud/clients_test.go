package cloud_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// clientWorld are registrations behind a transport.
type clientWorld struct {
	ids     cloud.ClientIDs
	secrets *cloud.ClientSecrets
	tr      *transport
	now     time.Time
}

func newClients(t *testing.T, broken func(string, int) fault) *clientWorld {
	t.Helper()
	cfg, tr := through(t, broken)
	plain, _ := through(t, nil)
	w := &clientWorld{ids: newTable(t, plain).ClientIDs(), tr: tr, now: clock()}
	w.secrets = &cloud.ClientSecrets{Store: newSecrets(t, cfg), Now: func() time.Time { return w.now }}
	return w
}

func (w *clientWorld) set(t *testing.T, tenant, id, variant string) {
	t.Helper()
	e := cloud.ClientEntry{Tenant: tenant, Provider: "google", ID: id, Variant: variant}
	if _, err := w.secrets.Set(t.Context(), w.ids, e, token.Secret("secret of "+id)); err != nil {
		t.Fatal(err)
	}
}

// want: the tenant's client, by name or (id "") the current one.
func (w *clientWorld) want(t *testing.T, tenant, id, want string) {
	t.Helper()
	got, err := w.secrets.Client(t.Context(), tenant, "google", id)
	switch {
	case want == "" && !errors.Is(err, flow.ErrNoClient):
		t.Errorf("client %q of %s: %v, want %v", id, tenant, err, flow.ErrNoClient)
	case want != "" && (err != nil || got.ID != want || got.Secret.Reveal() != "secret of "+want):
		t.Errorf("client %q of %s is %q, %v, want %q", id, tenant, got.ID, err, want)
	}
}

func (w *clientWorld) wantID(t *testing.T, tenant, want string) {
	t.Helper()
	got, err := w.ids.Current(t.Context(), tenant, "google")
	if got.ID != want || (want == "") != errors.Is(err, flow.ErrNoClient) {
		t.Errorf("%s connects with %q, %v, want %q", tenant, got.ID, err, want)
	}
}

func TestClients(t *testing.T) {
	t.Parallel()
	w := newClients(t, nil)
	w.wantID(t, "default", "")
	w.want(t, "default", "", "")
	w.set(t, "default", "one", "")
	for _, tenant := range []string{"default", "acme"} {
		w.wantID(t, tenant, "one")
		w.want(t, tenant, "", "one")
		w.want(t, tenant, "one", "one")
	}
	// Another one: what was granted to the first goes on.
	w.set(t, "default", "two", "web")
	w.wantID(t, "default", "two")
	w.want(t, "default", "two", "two")
	w.want(t, "default", "one", "one")
	// A tenant's own is for it alone; what was granted to the default's goes on.
	w.set(t, "acme", "own", "")
	w.wantID(t, "acme", "own")
	w.want(t, "acme", "own", "own")
	w.want(t, "acme", "two", "two")
	w.want(t, "default", "own", "")
	w.wantID(t, "default", "two")
	// Removed, it begins nothing more; forgotten, it ends.
	remove := func(forget bool) {
		if err := w.secrets.Remove(t.Context(), w.ids, "acme", "google", forget); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Hour)
	}
	remove(false)
	w.wantID(t, "acme", "two")
	w.want(t, "acme", "own", "own")
	w.want(t, "acme", "", "two")
	for range 2 {
		remove(true)
		w.want(t, "acme", "own", "")
	}
	list, err := w.ids.List(t.Context(), "default")
	if want := (cloud.ClientEntry{Tenant: "default", Provider: "google", ID: "two", Variant: "web"}); err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], want) {
		t.Errorf("%+v, %v", list, err)
	}
}

// Where a client is registered comes with it, to connect and to who holds its
// secret alike, and stays with it.
func TestClientsAtAHost(t *testing.T) {
	t.Parallel()
	w := newClients(t, nil)
	set := func(id, host string) {
		t.Helper()
		e := cloud.ClientEntry{Tenant: "default", Provider: "google", ID: id}
		if host != "" {
			e.Parameters = map[string]string{"host": host}
		}
		if _, err := w.secrets.Set(t.Context(), w.ids, e, token.Secret("secret of "+id)); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Hour)
	}
	at := func(id, want string) {
		t.Helper()
		full, err := w.secrets.Client(t.Context(), "acme", "google", id)
		if err != nil || full.ID != id || full.Parameters["host"] != want || full.Secret.Reveal() != "secret of "+id {
			t.Errorf("%s is at %v, %v, want %q", full.ID, full.Parameters, err, want)
		}
	}
	mirrored := func(id, want string) {
		t.Helper()
		known, err := w.ids.Current(t.Context(), "acme", "google")
		if err != nil || known.ID != id || known.Parameters["host"] != want || known.Secret != "" {
			t.Errorf("connect knows %s at %v, %v, want %q", known.ID, known.Parameters, err, want)
		}
	}
	set("one", "git.acme.example")
	at("one", "git.acme.example")
	mirrored("one", "git.acme.example")
	set("one", "") // a new secret does not move it
	at("one", "git.acme.example")
	mirrored("one", "git.acme.example")
	set("two", "") // nor does another client
	at("one", "git.acme.example")
	at("two", "")
	mirrored("two", "")
	set("one", "git.other.example")
	at("one", "git.other.example")
	mirrored("one", "git.other.example")
	list, err := w.ids.List(t.Context(), "default")
	if err != nil || len(list) != 1 || list[0].Parameters["host"] != "git.other.example" {
		t.Errorf("%+v, %v", list, err)
	}
}

// A tenant whose people sign in at its own issuer never sends another tenant's
// secret there.
func TestSignInClientIsTheTenantsOwn(t *testing.T) {
	t.Parallel()
	w := newClients(t, nil)
	set := func(tenant, id string) {
		t.Helper()
		e := cloud.ClientEntry{Tenant: tenant, Provider: flow.SignInClient, ID: id}
		if _, err := w.secrets.Set(t.Context(), w.ids, e, token.Secret("canary-"+id)); err != nil {
			t.Fatal(err)
		}
	}
	set("default", "one")
	if got, err := w.ids.Current(t.Context(), "acme", flow.SignInClient); !errors.Is(err, flow.ErrNoClient) {
		t.Errorf("acme signs in with %q, %v", got.ID, err)
	}
	for _, id := range []string{"", "one"} {
		if got, err := w.secrets.Client(t.Context(), "acme", flow.SignInClient, id); !errors.Is(err, flow.ErrNoClient) {
			t.Errorf("acme has the client %q, %v", got.ID, err)
		}
	}
	set("acme", "own")
	got, err := w.secrets.Client(t.Context(), "acme", flow.SignInClient, "")
	if err != nil || got.ID != "own" {
		t.Errorf("acme has the client %q, %v", got.ID, err)
	}
}

// What was read serves for a minute, but for a client that is not among it.
func TestClientSecretsAreRemembered(t *testing.T) {
	t.Parallel()
	w := newClients(t, nil)
	w.set(t, "default", "one", "")
	w.want(t, "acme", "one", "one")
	reads := w.tr.count("GetSecretValue")
	for range 3 {
		w.want(t, "acme", "one", "one")
	}
	if n := w.tr.count("GetSecretValue"); n != reads {
		t.Errorf("the secret was read %d times more within the minute", n-reads)
	}
	w.set(t, "default", "two", "") // by another process, which the cache does not see
	w.want(t, "acme", "two", "two")
	w.now = w.now.Add(2 * time.Minute)
	reads = w.tr.count("GetSecretValue")
	w.want(t, "default", "two", "two")
	if n := w.tr.count("GetSecretValue"); n != reads+1 {
		t.Errorf("after the minute the secret was read %d times", n-reads)
	}
}

// Of operators who set clients at the same time, nobody's secret is lost.
func TestClientSecretsRaced(t *testing.T) {
	t.Parallel()
	w := newClients(t, nil)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() { w.set(t, "default", fmt.Sprint("client", i), "") })
	}
	all.Wait()
	for i := range 4 {
		w.want(t, "default", fmt.Sprint("client", i), fmt.Sprint("client", i))
	}
}

func TestClientSecretsFail(t *testing.T) {
	t.Parallel()
	for name, broken := range passing {
		w := newClients(t, func(_ string, n int) fault { // every call fails once
			if n == 1 {
				return broken
			}
			return fault{}
		})
		w.set(t, "default", "one", "")
		w.set(t, "default", "two", "")
		w.want(t, "default", "one", "one")
		if t.Failed() {
			t.Fatalf("%s once", name)
		}
	}
	w := newClients(t, on("GetSecretValue", 1, always, fault{status: 400, code: "AccessDeniedException"}))
	_, err := w.secrets.Client(t.Context(), "default", "google", "one")
	wantUnavailable(t, err, "Secrets Manager: GetSecretValue")
}

// A secret that somebody wrote by hand is not shown in the error.
func TestClientSecretsMalformed(t *testing.T) {
	t.Parallel()
	w := newClients(t, nil)
	_, err := w.secrets.Store.Client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String(w.secrets.Store.Prefix + "/clients/default/google"), SecretString: aws.String("hunter2")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.secrets.Client(t.Context(), "default", "google", "")
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "/clients/default/google") {
		t.Errorf("error %v", err)
	}
}
