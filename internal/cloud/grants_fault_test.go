package cloud_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

var con1 = connection.Key{Tenant: "default", ID: "con_1"}

// passing are faults that pass by themselves.
var passing = map[string]fault{
	"throttled": {status: 400, code: "ThrottlingException"},
	"internal":  {status: 500, code: "InternalServiceError"},
	"no sense":  {status: 503},
	"lost":      {lost: true},
}

// breaking returns grants in a Secrets Manager whose calls break, and the same
// ones in one that works.
func breaking(t *testing.T, broken func(string, int) fault) (failing, working *cloud.SecretGrants, tr *transport) {
	t.Helper()
	plain, _ := through(t, nil)
	store := newSecrets(t, plain)
	cfg, tr := through(t, broken)
	return &cloud.SecretGrants{Store: &cloud.SecretStore{Client: secretsmanager.NewFromConfig(cfg), Prefix: store.Prefix}},
		&cloud.SecretGrants{Store: store}, tr
}

// Each call may fail once, whether it was made or not, and nobody notices.
func TestSecretGrantsSurvive(t *testing.T) {
	t.Parallel()
	for name, broken := range passing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			grants, _, tr := breaking(t, func(_ string, n int) fault {
				if n == 1 {
					return broken
				}
				return fault{}
			})
			for _, version := range []string{"set_1", "set_2"} {
				if err := grants.Put(t.Context(), con1, version, []byte(version)); err != nil {
					t.Fatal(err)
				}
			}
			if err := grants.Remove(t.Context(), con1, "set_1"); err != nil {
				t.Fatal(err)
			}
			if _, err := grants.Get(t.Context(), con1, "set_1"); !errors.Is(err, vault.ErrNoGrant) {
				t.Errorf("the removed version: %v", err)
			}
			if got, err := grants.Get(t.Context(), con1, "set_2"); err != nil || string(got) != "set_2" {
				t.Errorf("%q, %v", got, err)
			}
			if err := grants.Clear(t.Context(), con1); err != nil {
				t.Fatal(err)
			}
			for _, operation := range []string{"CreateSecret", "PutSecretValue", "GetSecretValue", "UpdateSecretVersionStage", "DescribeSecret", "DeleteSecret"} {
				if tr.count(operation) < 2 {
					t.Errorf("%s was called %d times", operation, tr.count(operation))
				}
			}
		})
	}
}

// What does not pass is told with the call's name, and is never "no grant".
func TestSecretGrantsFail(t *testing.T) {
	t.Parallel()
	faults := map[string]fault{"denied": {status: 400, code: "AccessDeniedException"}, "key": {status: 400, code: "DecryptionFailure"}}
	for name, f := range passing {
		faults[name] = f
	}
	for name, broken := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			grants, working, _ := breaking(t, func(string, int) fault { return broken })
			if err := working.Put(t.Context(), con1, "set_1", []byte("one")); err != nil {
				t.Fatal(err)
			}
			wantUnavailable(t, grants.Put(t.Context(), con1, "set_2", []byte("two")), "Secrets Manager: PutSecretValue")
			_, err := grants.Get(t.Context(), con1, "set_1")
			wantUnavailable(t, err, "Secrets Manager: GetSecretValue")
			if !broken.lost {
				wantUnavailable(t, grants.Remove(t.Context(), con1, "set_1"), "Secrets Manager: UpdateSecretVersionStage")
				wantUnavailable(t, grants.Clear(t.Context(), con1), "Secrets Manager: DeleteSecret")
				if got, err := working.Get(t.Context(), con1, "set_1"); err != nil || string(got) != "one" {
					t.Errorf("what was stored is %q, %v", got, err)
				}
			}
		})
	}
}

// A secret that cannot be made, or holds as many labels as it may.
func TestSecretGrantsPutRefused(t *testing.T) {
	t.Parallel()
	for operation, code := range map[string]string{"CreateSecret": "LimitExceededException", "PutSecretValue": "LimitExceededException"} {
		grants, _, _ := breaking(t, on(operation, 1, always, fault{status: 400, code: code}))
		wantUnavailable(t, grants.Put(t.Context(), con1, "set_1", []byte("one")), "Secrets Manager: "+operation)
	}
}

// A store that does not answer costs no more than the caller's time.
func TestSecretGrantsHang(t *testing.T) {
	t.Parallel()
	grants, _, _ := breaking(t, func(string, int) fault { return fault{hangs: true} })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantUnavailable(t, grants.Put(ctx, con1, "set_1", []byte("one")), "Secrets Manager: PutSecretValue")
}

// The answers to a write are all lost. Whoever tries again with the same bytes
// finds that it was made; other bytes are refused.
func TestSecretGrantsPutIsLost(t *testing.T) {
	t.Parallel()
	grants, working, _ := breaking(t, on("PutSecretValue", 2, 4, fault{lost: true}))
	// The first is refused, because there is no secret yet.
	if err := grants.Put(t.Context(), con1, "set_1", []byte("one")); !errors.Is(err, connection.ErrUnavailable) {
		t.Fatal(err)
	}
	if got, err := working.Get(t.Context(), con1, "set_1"); err != nil || string(got) != "one" {
		t.Fatalf("%q, %v", got, err)
	}
	if err := grants.Put(t.Context(), con1, "set_1", []byte("one")); err != nil {
		t.Error(err)
	}
	if err := grants.Put(t.Context(), con1, "set_1", []byte("two")); err == nil {
		t.Error("other bytes were accepted")
	}
}

// Nothing is ever AWSCURRENT but the placeholder, so that a late write changes
// nothing for anybody.
func TestSecretGrantsLeaveCurrentAlone(t *testing.T) {
	t.Parallel()
	grants, _, _ := breaking(t, nil)
	for _, version := range []string{"set_1", "set_2"} {
		if err := grants.Put(t.Context(), con1, version, []byte(version)); err != nil {
			t.Fatal(err)
		}
		current, err := grants.Store.Client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{
			SecretId: aws.String(grants.Store.Prefix + "/grants/default/con_1")})
		if err != nil || current.SecretString == nil || current.SecretBinary != nil {
			t.Errorf("AWSCURRENT is %+v, %v", current, err)
		}
	}
}

// A removed version can be stored again, as when a deployment moves back.
func TestSecretGrantsPutAgain(t *testing.T) {
	t.Parallel()
	grants, _, _ := breaking(t, nil)
	for range 2 {
		if err := grants.Put(t.Context(), con1, "set_1", []byte("one")); err != nil {
			t.Fatal(err)
		}
		if got, err := grants.Get(t.Context(), con1, "set_1"); err != nil || string(got) != "one" {
			t.Errorf("%q, %v", got, err)
		}
		if err := grants.Remove(t.Context(), con1, "set_1"); err != nil {
			t.Fatal(err)
		}
	}
}

// Somebody deleted the secret in the console: while it can be restored it is
// not gone, afterwards it is.
func TestSecretGrantsDeletedByHand(t *testing.T) {
	t.Parallel()
	grants, _, _ := breaking(t, nil)
	if err := grants.Put(t.Context(), con1, "set_1", []byte("one")); err != nil {
		t.Fatal(err)
	}
	id := aws.String(grants.Store.Prefix + "/grants/default/con_1")
	if _, err := grants.Store.Client.DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: id}); err != nil {
		t.Fatal(err)
	}
	_, err := grants.Get(t.Context(), con1, "set_1")
	wantUnavailable(t, err, "marked deleted")
	if _, err := grants.Store.Client.RestoreSecret(t.Context(), &secretsmanager.RestoreSecretInput{SecretId: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := grants.Get(t.Context(), con1, "set_1"); err != nil {
		t.Error(err)
	}
	if err := grants.Clear(t.Context(), con1); err != nil {
		t.Fatal(err)
	}
	if _, err := grants.Get(t.Context(), con1, "set_1"); !errors.Is(err, vault.ErrNoGrant) {
		t.Errorf("error %v, want %v", err, vault.ErrNoGrant)
	}
}

// A worker that does not know of a deletion yet leaves nothing behind that
// nobody would remove.
func TestGrantsOfTheDeleted(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"secretsmanager", "dynamodb"} {
		grants := newGrants(t, store)
		c := connection.Connection{Key: con1, Status: connection.Connected, CreatedAt: clock()}
		if err := grants.Put(t.Context(), con1, "set_1", []byte("one")); err != nil {
			t.Fatal(err) // before there is a row
		}
		if err := grants.Table.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := grants.Put(t.Context(), con1, "set_2", []byte("two")); err != nil {
			t.Fatal(err)
		}
		_, err := grants.Table.Update(t.Context(), con1, func(c *connection.Connection) error {
			_, err := c.BeginDelete("del_1", clock(), time.Minute)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		late := func(when string) {
			if err := grants.Put(t.Context(), con1, "set_3", []byte("three")); !errors.Is(err, connection.ErrGone) {
				t.Errorf("%s, %s: %v, want %v", store, when, err, connection.ErrGone)
			}
			if _, err := grants.Get(t.Context(), con1, "set_3"); !errors.Is(err, vault.ErrNoGrant) {
				t.Errorf("%s, %s: it is stored all the same: %v", store, when, err)
			}
		}
		late("while it is deleted")
		if err := errors.Join(grants.Clear(t.Context(), con1), grants.Table.Delete(t.Context(), con1, func(connection.Connection) error { return nil })); err != nil {
			t.Fatal(err)
		}
		late("when it was deleted")
	}
}

// A deployment on DynamoDB does not ask Secrets Manager, whose writes are few,
// and reads each grant first where the row says that it lies.
func TestGrantsAreReadWhereTheyLie(t *testing.T) {
	t.Parallel()
	grants := newGrants(t, "dynamodb")
	cfg, tr := through(t, nil)
	grants.Secrets.Store.Client = secretsmanager.NewFromConfig(cfg)
	calls := func() (n int) {
		for _, operation := range []string{"PutSecretValue", "GetSecretValue", "UpdateSecretVersionStage"} {
			n += tr.count(operation)
		}
		return n
	}
	if err := grants.Put(t.Context(), con1, "set_1", []byte("one")); err != nil {
		t.Fatal(err)
	}
	for _, from := range []vault.GrantStore{grants, grants.At("dynamodb")} {
		if _, err := from.Get(t.Context(), con1, "set_1"); err != nil {
			t.Error(err)
		}
	}
	if err := grants.Remove(t.Context(), con1, "set_1"); err != nil {
		t.Fatal(err)
	}
	// Nor does another one for what the row says to lie in the table.
	grants.Store = "secretsmanager"
	if err := grants.Table.Grants().Put(t.Context(), con1, "set_3", []byte("three")); err != nil {
		t.Fatal(err)
	}
	if _, err := grants.At("dynamodb").Get(t.Context(), con1, "set_3"); err != nil {
		t.Error(err)
	}
	grants.Store = "dynamodb"
	if n := calls(); n != 0 {
		t.Errorf("Secrets Manager was called %d times", n)
	}
	for _, from := range []string{"secretsmanager", "dynamodb"} { // also when the row does not know
		if err := grants.Secrets.Put(t.Context(), con1, "set_2", []byte("two")); err != nil {
			t.Fatal(err)
		}
		if got, err := grants.At(from).Get(t.Context(), con1, "set_2"); err != nil || string(got) != "two" {
			t.Errorf("at %s: %q, %v", from, got, err)
		}
	}
	if err := grants.Remove(t.Context(), con1, "set_2"); err != nil {
		t.Fatal(err)
	}
	if _, err := grants.Get(t.Context(), con1, "set_2"); !errors.Is(err, vault.ErrNoGrant) {
		t.Errorf("removed, and yet: %v", err)
	}
}
