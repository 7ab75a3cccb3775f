package cloud_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
)

var errRefused = errors.New("this is none of our keys")

// keyWorld is a table whose clock can be put forward.
type keyWorld struct {
	table *cloud.Table
	keys  *cloud.APIKeys
	now   time.Time
}

func eachKeyWorld(t *testing.T, test func(*testing.T, *keyWorld)) {
	t.Parallel()
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		w := &keyWorld{table: newTable(t), now: clock()}
		w.table.Now = func() time.Time { return w.now }
		w.keys = w.table.APIKeys(errRefused)
		test(t, w)
	})
}

func (w *keyWorld) want(t *testing.T, key token.Secret, want string) {
	t.Helper()
	got, err := w.keys.Tenant(t.Context(), key)
	if got != want || (want == "") != errors.Is(err, errRefused) {
		t.Errorf("the key is %q's, %v, want %q's", got, err, want)
	}
}

func TestAPIKeys(t *testing.T) {
	eachKeyWorld(t, func(t *testing.T, w *keyWorld) {
		for _, unknown := range []token.Secret{"", "lyk_", "lyk_" + token.NewSecret()} {
			w.want(t, unknown, "")
		}
		if _, _, err := w.keys.Create(t.Context(), "acme", time.Time{}); !errors.Is(err, cloud.ErrNoTenant) {
			t.Errorf("error %v, want %v", err, cloud.ErrNoTenant)
		}
		if _, err := w.table.Tenants().Create(t.Context(), cloud.Tenant{ID: "acme"}); err != nil {
			t.Fatal(err)
		}
		_, ours, err := w.keys.Create(t.Context(), "default", time.Time{})
		made, theirs, err2 := w.keys.Create(t.Context(), "acme", w.now.Add(time.Hour))
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		w.want(t, ours, "default")
		w.want(t, theirs, "acme")
		w.now = w.now.Add(time.Hour)
		w.want(t, theirs, "") // though the item is still there
		list, err := w.keys.List(t.Context(), "acme")
		if err != nil || len(list) != 1 || list[0].ID != made.ID || list[0].Works(w.now) {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

func TestAPIKeysRotate(t *testing.T) {
	eachKeyWorld(t, func(t *testing.T, w *keyWorld) {
		_, first, err := w.keys.Create(t.Context(), "default", time.Time{})
		soon, dying, err2 := w.keys.Create(t.Context(), "default", w.now.Add(time.Hour))
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		_, second, old, err := w.keys.Rotate(t.Context(), "default", 24*time.Hour)
		if err != nil || len(old) != 1 {
			t.Fatalf("%+v, %v", old, err)
		}
		for _, key := range []token.Secret{first, second, dying} {
			w.want(t, key, "default")
		}
		w.now = w.now.Add(2 * time.Hour)
		w.want(t, dying, "") // rotating prolongs nothing
		w.now = w.now.Add(22 * time.Hour)
		w.want(t, first, "")
		w.want(t, second, "default")
		_, third, _, err := w.keys.Rotate(t.Context(), "default", 0)
		if err != nil {
			t.Fatal(err)
		}
		w.want(t, second, "")
		w.want(t, third, "default")
		list, err := w.keys.List(t.Context(), "default")
		expired := func(k cloud.APIKey) bool { return k.ID == soon.ID && !k.Works(w.now) }
		if err != nil || len(list) != 4 || !list[0].Works(w.now) || !slices.ContainsFunc(list, expired) {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

func TestAPIKeysRevoke(t *testing.T) {
	eachKeyWorld(t, func(t *testing.T, w *keyWorld) {
		made, key, err := w.keys.Create(t.Context(), "default", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.keys.Revoke(t.Context(), "acme", made.ID); !errors.Is(err, cloud.ErrNoAPIKey) {
			t.Errorf("another tenant's: %v", err)
		}
		if err := w.keys.Revoke(t.Context(), "default", made.ID); err != nil {
			t.Fatal(err)
		}
		w.want(t, key, "")
		if err := w.keys.Revoke(t.Context(), "default", made.ID); !errors.Is(err, cloud.ErrNoAPIKey) {
			t.Errorf("twice: %v", err)
		}
		if list, err := w.keys.List(t.Context(), "default"); err != nil || len(list) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// The first key is what the deployment made; it may hand it in again and again,
// and what was revoked does not come back.
func TestAPIKeysFirst(t *testing.T) {
	eachKeyWorld(t, func(t *testing.T, w *keyWorld) {
		cfg, _ := through(t, nil)
		store := newSecrets(t, cfg)
		if err := w.keys.AdoptFirst(t.Context(), store); err == nil || errors.Is(err, connection.ErrUnavailable) {
			t.Errorf("without the secret: %v", err)
		}
		key := "lyk_" + token.NewSecret()
		_, err := store.Client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
			Name: aws.String(store.Prefix + "/api-key"), SecretString: aws.String(key.Reveal())})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := w.keys.AdoptFirst(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			w.want(t, key, "default")
		}
		list, err := w.keys.List(t.Context(), "default")
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		if err := w.keys.Revoke(t.Context(), "default", list[0].ID); err != nil {
			t.Fatal(err)
		}
		if err := w.keys.AdoptFirst(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		w.want(t, key, "")
	})
}

// A table that does not answer is no wrong key.
func TestAPIKeysUnavailable(t *testing.T) {
	t.Parallel()
	cfg, _ := through(t, nil)
	table := newTable(t, cfg)
	failing, _ := through(t, func(string, int) fault { return fault{status: 500, code: "InternalServerError"} })
	_, err := reopened(failing, table).APIKeys(errRefused).Tenant(t.Context(), "lyk_"+token.NewSecret())
	wantUnavailable(t, err, "DynamoDB: GetItem")
}
