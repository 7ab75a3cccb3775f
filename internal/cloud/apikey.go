package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// ErrNoAPIKey: the tenant has no API key of that id.
var ErrNoAPIKey = errors.New("there is no such API key")

// minAPIKey is the fewest characters of an API key.
const minAPIKey = 16

// APIKey is an API key without its value, which nobody keeps.
type APIKey struct {
	ID        string    `json:"id"`
	Tenant    string    `json:"tenant"`
	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt is when it stops working; zero: never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// RevokedAt is when it was revoked; zero: it was not.
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}

// Works reports whether the key is good at that time.
func (k APIKey) Works(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// APIKeys are the API keys of a deployment. A key is two items: under its hash,
// for whoever presents it, and under its tenant, for lists. The second stays
// when the key is revoked, so that the first API key, which the deployment may
// hand in again, does not come back.
type APIKeys struct {
	t *Table
	// refused is what a key that is none of ours is answered with.
	refused error
}

// APIKeys returns the API keys; refused is the error for a key that is none.
func (t *Table) APIKeys(refused error) *APIKeys { return &APIKeys{t, refused} }

// listed is an API key in its tenant's list.
type listed struct {
	APIKey
	Hash string `json:"hash"`
}

// items are the two items of a key.
func (k listed) items() (byHash, inList item) {
	byHash = document(join("KEY", k.Hash), only, k.APIKey)
	if !k.ExpiresAt.IsZero() {
		byHash["ttl"] = until(k.ExpiresAt)
	}
	return byHash, document(join("KEYS", k.Tenant), k.ID, k)
}

// Tenant returns the tenant of the key, or the error for a key that is none.
func (a *APIKeys) Tenant(ctx context.Context, key token.Secret) (string, error) {
	if len(key) < minAPIKey {
		return "", a.refused
	}
	it, err := a.t.get(ctx, join("KEY", token.Hash(key)), only)
	if err != nil {
		return "", err
	}
	var k APIKey
	if err := decode(it, &k, a.refused); err != nil {
		return "", err
	}
	if !k.Works(a.t.Now()) {
		return "", a.refused
	}
	return k.Tenant, nil
}

// Create makes a key for a tenant. Its value is in nobody's hands but the
// caller's. A zero expiry is none.
func (a *APIKeys) Create(ctx context.Context, tenant string, expires time.Time) (APIKey, token.Secret, error) {
	if _, err := a.t.Tenants().Get(ctx, tenant); err != nil {
		return APIKey{}, "", err
	}
	value := "lyk_" + token.NewSecret()
	k := APIKey{ID: token.NewID("key"), Tenant: tenant, CreatedAt: a.t.Now().UTC(), ExpiresAt: expires}
	return k, value, a.add(ctx, k, value)
}

func (a *APIKeys) add(ctx context.Context, k APIKey, value token.Secret) error {
	byHash, inList := listed{k, token.Hash(value)}.items()
	changes := append([]change{{put: byHash, condition: absent}, {put: inList, condition: absent}}, unburied(k.Tenant)...)
	err := a.t.transact(ctx, changes...)
	if old, ok := refusal(err); ok && buried(old) {
		return ErrTenantRemoved // meanwhile
	}
	return err
}

// AdoptFirst stores the API key that the deployment has made, and that lies in
// Secrets Manager for whoever deployed it. It may be called again at any time:
// a key that is known, or was revoked, stays as it is.
func (a *APIKeys) AdoptFirst(ctx context.Context, s *SecretStore) error {
	name := s.name("api-key")
	out, err := s.Client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: name})
	if isMissing(err) {
		return fmt.Errorf("the secret %s is missing: deploy again, or make a key with \"lanyard keys create\"", *name)
	}
	if err != nil {
		return unavailable(err)
	}
	value := token.Secret(aws.ToString(out.SecretString))
	if len(value) < minAPIKey {
		return fmt.Errorf("the secret %s is shorter than %d characters: make a key with \"lanyard keys create\"", *name, minAPIKey)
	}
	k := APIKey{ID: token.DeriveID("key", []byte(token.Hash(value))), Tenant: flow.DefaultTenant, CreatedAt: a.t.Now().UTC()}
	err = a.add(ctx, k, value)
	if _, ok := refusal(err); ok {
		return nil
	}
	return err
}

// List returns the keys of a tenant that were not revoked, the newest first.
func (a *APIKeys) List(ctx context.Context, tenant string) ([]APIKey, error) {
	var out []APIKey
	err := a.each(ctx, tenant, func(k listed) { out = append(out, k.APIKey) })
	return out, err
}

func (a *APIKeys) each(ctx context.Context, tenant string, each func(listed)) error {
	var all []listed
	err := a.t.query(ctx, query{pk: join("KEYS", tenant)}, func(it item) (bool, error) {
		var k listed
		if err := decode(it, &k, errNoDocument); err != nil {
			return false, err
		}
		if k.RevokedAt.IsZero() {
			all = append(all, k)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b listed) int {
		return strings.Compare(connection.Stamp(b.CreatedAt)+b.ID, connection.Stamp(a.CreatedAt)+a.ID)
	})
	for _, k := range all {
		each(k)
	}
	return nil
}

// Rotate makes a new key for a tenant, and lets those that it has expire after
// the overlap, unless they do earlier. The new key is returned beside an error
// about an old one.
func (a *APIKeys) Rotate(ctx context.Context, tenant string, overlap time.Duration) (APIKey, token.Secret, []APIKey, error) {
	var before []listed
	if err := a.each(ctx, tenant, func(k listed) { before = append(before, k) }); err != nil {
		return APIKey{}, "", nil, err
	}
	made, value, err := a.Create(ctx, tenant, time.Time{})
	if err != nil {
		return APIKey{}, "", nil, err
	}
	end := a.t.Now().UTC().Add(overlap)
	var old []APIKey
	for _, k := range before {
		if !k.ExpiresAt.IsZero() && !end.Before(k.ExpiresAt) {
			continue
		}
		k.ExpiresAt = end
		byHash, inList := k.items()
		err := a.t.transact(ctx, change{put: byHash, condition: present}, change{put: inList, condition: present})
		if _, gone := refusal(err); gone {
			continue // revoked meanwhile
		}
		if err != nil {
			return made, value, old, fmt.Errorf("let the key %s expire: %w", k.ID, err)
		}
		old = append(old, k.APIKey)
	}
	return made, value, old, nil
}

// Revoke ends a key at once; ErrNoAPIKey if the tenant has none of that id.
func (a *APIKeys) Revoke(ctx context.Context, tenant, id string) error {
	it, err := a.t.get(ctx, join("KEYS", tenant), id)
	if err != nil {
		return err
	}
	var k listed
	if err := decode(it, &k, ErrNoAPIKey); err != nil {
		return err
	}
	if !k.RevokedAt.IsZero() {
		return ErrNoAPIKey
	}
	k.RevokedAt = a.t.Now().UTC()
	_, inList := k.items()
	return a.t.transact(ctx, change{remove: at(join("KEY", k.Hash), only)}, change{put: inList, condition: present})
}
