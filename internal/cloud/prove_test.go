package cloud_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
)

// The proof is a write that makes nothing: no version comes or goes, and what is
// stored can be read. Within a minute of any write none is needed.
func TestProve(t *testing.T) {
	t.Parallel()
	grants, working, tr := breaking(t, nil)
	if err := working.Put(t.Context(), con1, "set_1", []byte("one")); err != nil {
		t.Fatal(err)
	}
	versions := func() int {
		t.Helper()
		out, err := working.Store.Client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{
			SecretId: aws.String(working.Store.Prefix + "/grants/default/con_1")})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.VersionIdsToStages)
	}
	before := versions()
	for range 3 {
		if err := grants.Prove(t.Context(), con1); err != nil {
			t.Fatal(err)
		}
	}
	if n := tr.count("PutSecretValue"); n != 1 || versions() != before {
		t.Errorf("%d writes, %d versions, before %d", n, versions(), before)
	}
	if got, err := grants.Get(t.Context(), con1, "set_1"); err != nil || string(got) != "one" {
		t.Errorf("%q, %v", got, err)
	}
	another, _, tr := breaking(t, nil)
	if err := another.Put(t.Context(), con1, "set_2", []byte("two")); err != nil {
		t.Fatal(err)
	}
	writes := tr.count("PutSecretValue")
	if err := another.Prove(t.Context(), connection.Key{Tenant: "default", ID: "con_2"}); err != nil || tr.count("PutSecretValue") != writes {
		t.Errorf("%d writes after a write: %v", tr.count("PutSecretValue")-writes, err)
	}
}

// Where there is no secret yet, as when grants move here, it is made.
func TestProveWithoutASecret(t *testing.T) {
	t.Parallel()
	grants, _, tr := breaking(t, nil)
	if err := grants.Prove(t.Context(), con1); err != nil || tr.count("CreateSecret") != 1 {
		t.Fatalf("%d secrets made: %v", tr.count("CreateSecret"), err)
	}
	if err := grants.Put(t.Context(), con1, "set_1", []byte("one")); err != nil {
		t.Error(err)
	}
}

// A store that takes no writes is said not to.
func TestProveFails(t *testing.T) {
	t.Parallel()
	faults := map[string]fault{"denied": {status: 400, code: "AccessDeniedException"}, "quota": {status: 400, code: "LimitExceededException"},
		// What Secrets Manager says of a secret that is about to be deleted; moto
		// takes the write.
		"leaving": {status: 400, code: "InvalidRequestException"}}
	for name, f := range passing {
		faults[name] = f
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			grants, working, _ := breaking(t, on("PutSecretValue", 1, always, f))
			if err := working.Put(t.Context(), con1, "set_1", []byte("one")); err != nil {
				t.Fatal(err)
			}
			for range 2 { // a failure proves nothing
				wantUnavailable(t, grants.Prove(t.Context(), con1), "Secrets Manager: PutSecretValue")
			}
		})
	}
}

// slowly is a Secrets Manager of which a write takes a second.
type slowly struct {
	cloud.SecretsManager
	mu     sync.Mutex
	writes int
	fail   error
}

func (s *slowly) PutSecretValue(context.Context, *secretsmanager.PutSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error) {
	s.mu.Lock()
	s.writes++
	s.mu.Unlock()
	time.Sleep(time.Second)
	return &secretsmanager.PutSecretValueOutput{}, s.fail
}

// An account may write fifty times a second: any number of renewals at once
// have one proof, and need another after a minute.
func TestProveOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sm := &slowly{}
		grants := &cloud.SecretGrants{Store: &cloud.SecretStore{Client: sm}}
		atOnce := func(want error) {
			t.Helper()
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					if err := grants.Prove(t.Context(), con1); !errors.Is(err, want) {
						t.Errorf("error %v, want %v", err, want)
					}
				})
			}
			all.Wait()
		}
		for minute := 1; minute <= 3; minute++ {
			atOnce(nil)
			if sm.writes != minute {
				t.Errorf("%d writes in %d minutes", sm.writes, minute)
			}
			time.Sleep(time.Minute)
		}
		sm.fail = errors.New("no")
		atOnce(connection.ErrUnavailable)
	})
}
