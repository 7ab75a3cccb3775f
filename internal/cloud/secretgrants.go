package cloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"golang.org/x/sync/singleflight"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// SecretGrants keeps sealed grants in Secrets Manager: one secret a connection,
// one version a set.
//
//	secret    P/grants/{tenant}/{connection}
//	version   VersionId: the set's version, padded to 32 characters
//	          VersionStages: the set's version, a label of its own
//	          SecretBinary: the sealed grant
//	AWSCURRENT is a placeholder without meaning, made with the secret.
//
// Which version is current, the row says: nothing here reads or moves
// AWSCURRENT, so that nobody's late write can change what is read. A version is
// stored while it has its label. Removing the label removes the version: it is
// found no more, and Secrets Manager drops it for good when a hundred newer ones
// are there and it is a day old, or with the secret.
//
// A secret holds at most 20 labels. A row names the set in force, an intent, a
// proposal and what is retired until the next minute's sweep, and each that it
// gives up is removed: a handful. A person who reconnects without end is
// answered with ErrUnavailable until the sweep has passed.
type SecretGrants struct {
	Store *SecretStore

	proving singleflight.Group
	mu      sync.Mutex
	written time.Time // the last write that succeeded
}

var (
	_ vault.GrantStore = (*SecretGrants)(nil)
	_ vault.Prover     = (*SecretGrants)(nil)
)

// Name implements [vault.GrantStore].
func (g *SecretGrants) Name() string { return config.StoreSecretsManager }

func (g *SecretGrants) secret(k connection.Key) *string {
	return g.Store.name("grants", k.Tenant, k.ID)
}

// shortest is the fewest characters of a VersionId; the most are 64.
const shortest = 32

// versionID is the VersionId of a set's version, another for each. Those of
// token.NewID are padded; what could not be one otherwise is hashed.
func versionID(version string) string {
	plain := func(r rune) bool {
		return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if len(version) > shortest || strings.ContainsFunc(version, func(r rune) bool { return !plain(r) }) {
		sum := sha256.Sum256([]byte(version))
		return hex.EncodeToString(sum[:])
	}
	return version + strings.Repeat("-", shortest-len(version))
}

// label is the version's staging label.
func label(version string) string { return strings.TrimRight(versionID(version), "-") }

// The placeholder is what AWSCURRENT is in every secret of grants.
const (
	placeholderID   = "placeholder---------------------"
	placeholderText = "Sealed grants are in the other versions of this secret; none of them is AWSCURRENT."
)

// createTries is how often a secret is made for one grant: it may be deleted
// meanwhile, and what was just made may not be found everywhere at once.
const createTries = 4

// settling makes the pauses between them long from the first: half a second.
const settling = 7

// Put implements [vault.GrantStore].
func (g *SecretGrants) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	for try := 0; ; try++ {
		out, err := g.Store.Client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
			SecretId: g.secret(k), ClientRequestToken: aws.String(versionID(version)),
			SecretBinary: slices.Clone(sealed), VersionStages: []string{label(version)},
		})
		switch {
		case err == nil && !slices.Contains(out.VersionStages, label(version)):
			return g.relabel(ctx, k, version) // these bytes were stored once, and removed
		case err == nil:
			g.wrote()
			return nil
		case isTaken(err):
			return fmt.Errorf("%w: %s, version %s", vault.ErrTaken, k.ID, version)
		case !isMissing(err) || try == createTries:
			return unavailable(err)
		}
		if err := g.create(ctx, k); err != nil {
			return err
		}
		if err := pause(ctx, try+settling); err != nil {
			return unavailable(err)
		}
	}
}

// create makes the connection's secret, unless it is there.
func (g *SecretGrants) create(ctx context.Context, k connection.Key) error {
	_, err := g.Store.Client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: g.secret(k), ClientRequestToken: aws.String(placeholderID), SecretString: aws.String(placeholderText),
		Description: aws.String("Lanyard: sealed grants of one connection"),
		Tags:        []types.Tag{{Key: aws.String("lanyard:tenant"), Value: &k.Tenant}},
	})
	if err != nil && !isTaken(err) {
		return unavailable(err)
	}
	if err == nil {
		g.wrote()
	}
	return nil
}

// proofTTL is for how long a write shows that another one would succeed.
const proofTTL = time.Minute

func (g *SecretGrants) wrote() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written = time.Now()
}

// Prove implements [vault.Prover]. An account may write 50 times a second, so
// that one write proves it for a minute and for all connections of a process;
// whether this connection's secret is about to be deleted, its last grant has
// told whoever has just read that.
func (g *SecretGrants) Prove(ctx context.Context, k connection.Key) error {
	g.mu.Lock()
	proven := time.Since(g.written) < proofTTL
	g.mu.Unlock()
	if proven {
		return nil
	}
	_, err, shared := g.proving.Do("", func() (any, error) { return nil, g.prove(ctx, k) })
	if err != nil && shared {
		return g.prove(ctx, k) // the other one's secret, or its patience, may be the cause
	}
	return err
}

// prove puts the placeholder, which is there: Secrets Manager takes that for a
// repeated request and makes no version of it.
func (g *SecretGrants) prove(ctx context.Context, k connection.Key) error {
	_, err := g.Store.Client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: g.secret(k), ClientRequestToken: aws.String(placeholderID), SecretString: aws.String(placeholderText),
	})
	switch {
	case isMissing(err):
		return g.create(ctx, k)
	case err != nil:
		return unavailable(err)
	}
	g.wrote()
	return nil
}

func (g *SecretGrants) relabel(ctx context.Context, k connection.Key, version string) error {
	_, err := g.Store.Client.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: g.secret(k), VersionStage: aws.String(label(version)), MoveToVersionId: aws.String(versionID(version)),
	})
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// Get implements [vault.GrantStore].
func (g *SecretGrants) Get(ctx context.Context, k connection.Key, version string) ([]byte, error) {
	in := &secretsmanager.GetSecretValueInput{
		SecretId: g.secret(k), VersionId: aws.String(versionID(version)), VersionStage: aws.String(label(version)),
	}
	out, err := g.Store.Client.GetSecretValue(ctx, in)
	if isMissing(err) {
		// What was just put may not be found everywhere at once.
		if err := pause(ctx, settling); err != nil {
			return nil, unavailable(err)
		}
		out, err = g.Store.Client.GetSecretValue(ctx, in)
	}
	switch {
	case err == nil:
		return out.SecretBinary, nil
	case isMissing(err):
		return nil, vault.ErrNoGrant
	case isUnfit(err):
		return nil, g.absent(ctx, k, version, err)
	}
	return nil, unavailable(err)
}

// absent returns ErrNoGrant if the version does not have its label, and
// otherwise what was wrong: somebody has scheduled the secret for deletion, say,
// and can restore it.
func (g *SecretGrants) absent(ctx context.Context, k connection.Key, version string, cause error) error {
	labels, err := g.labels(ctx, k)
	switch {
	case err != nil:
		return err
	case !slices.Contains(labels, label(version)):
		return vault.ErrNoGrant
	}
	return unavailable(cause)
}

// labels are the labels of the connection's grants; none if it has no secret.
func (g *SecretGrants) labels(ctx context.Context, k connection.Key) ([]string, error) {
	held, err := g.describe(ctx, k)
	return held.labels, err
}

// held is what a connection's secret holds.
type held struct {
	labels []string
	// missing: there is no secret. leaving: it is scheduled for deletion.
	missing, leaving bool
}

func (g *SecretGrants) describe(ctx context.Context, k connection.Key) (held, error) {
	out, err := g.Store.Client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: g.secret(k)})
	if isMissing(err) {
		return held{missing: true}, nil
	}
	if err != nil {
		return held{}, unavailable(err)
	}
	h := held{leaving: out.DeletedDate != nil}
	for id, labels := range out.VersionIdsToStages {
		if id != placeholderID {
			h.labels = append(h.labels, labels...)
		}
	}
	return h, nil
}

// Remove implements [vault.GrantStore].
func (g *SecretGrants) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	return removeEach(ctx, g, k, versions)
}

func (g *SecretGrants) remove(ctx context.Context, k connection.Key, version string) (bool, error) {
	_, err := g.Store.Client.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: g.secret(k), VersionStage: aws.String(label(version)), RemoveFromVersionId: aws.String(versionID(version)),
	})
	switch {
	case err == nil:
		return true, nil
	case isMissing(err):
		return false, nil
	case isUnfit(err):
		if err := g.absent(ctx, k, version, err); !errors.Is(err, vault.ErrNoGrant) {
			return false, err
		}
		return false, nil
	}
	return false, unavailable(err)
}

// Clear implements [vault.GrantStore]. There is no recovery window: what a
// person has disconnected is gone.
func (g *SecretGrants) Clear(ctx context.Context, k connection.Key) error {
	_, err := g.Store.Client.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{
		SecretId: g.secret(k), ForceDeleteWithoutRecovery: aws.Bool(true),
	})
	if err != nil && !isMissing(err) {
		return unavailable(err)
	}
	return nil
}

// discard implements [discarder]. An empty secret costs as much as a full one,
// so it goes, too, but never with a grant in it that somebody puts at this very
// moment: a secret that is scheduled for deletion takes no more, so that what it
// holds then is all that there is.
func (g *SecretGrants) discard(ctx context.Context, row connection.Connection, versions ...string) (empty bool, err error) {
	k := row.Key
	h, err := g.describe(ctx, k)
	if err != nil || h.missing {
		return err == nil, err
	}
	if !h.leaving {
		for _, version := range versions {
			if _, err := g.remove(ctx, k, version); err != nil {
				return false, err
			}
		}
		if h, err = g.describe(ctx, k); err != nil || len(h.labels) > 0 {
			return false, err
		}
		_, err = g.Store.Client.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{
			SecretId: g.secret(k), RecoveryWindowInDays: aws.Int64(7), // the shortest
		})
		if err != nil {
			return false, unavailable(err)
		}
		if h, err = g.describe(ctx, k); err != nil {
			return false, err
		}
	}
	if len(h.labels) == 0 {
		return true, g.Clear(ctx, k)
	}
	if _, err := g.Store.Client.RestoreSecret(ctx, &secretsmanager.RestoreSecretInput{SecretId: g.secret(k)}); err != nil {
		return false, unavailable(err)
	}
	return false, nil
}
