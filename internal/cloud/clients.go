package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
)

// ClientIDs are our registrations at providers without their secrets, which is
// all that connect may know: a mirror in the table of what [ClientSecrets] has.
// A tenant without a registration of its own uses the default tenant's.
type ClientIDs struct{ t *Table }

var _ flow.Clients = ClientIDs{}

// ClientIDs returns the registrations' mirror.
func (t *Table) ClientIDs() ClientIDs { return ClientIDs{t} }

// ClientEntry is a registration without its secret.
type ClientEntry struct {
	Tenant   string `json:"tenant"`
	Provider string `json:"provider"`
	ID       string `json:"client_id"`
	Variant  string `json:"variant,omitempty"`
	// Parameters: see [provider.Client].
	Parameters map[string]string `json:"parameters,omitempty"`
}

// Current implements [flow.Clients].
func (c ClientIDs) Current(ctx context.Context, tenant, providerID string) (provider.Client, error) {
	for _, of := range owners(tenant, providerID) {
		it, err := c.t.get(ctx, join("CLI", of), providerID)
		if err != nil {
			return provider.Client{}, err
		}
		var e ClientEntry
		switch err := decode(it, &e, flow.ErrNoClient); {
		case err == nil:
			return provider.Client{ID: e.ID, Variant: e.Variant, Parameters: e.Parameters}, nil
		case !errors.Is(err, flow.ErrNoClient):
			return provider.Client{}, err
		}
	}
	return provider.Client{}, noClient(providerID)
}

// owners are the tenants whose registrations at a provider a tenant may use, its
// own first. Where its people sign in it has its own alone.
func owners(tenant, providerID string) []string {
	if tenant == flow.DefaultTenant || providerID == flow.SignInClient {
		return []string{tenant}
	}
	return []string{tenant, flow.DefaultTenant}
}

func noClient(providerID string) error {
	return fmt.Errorf("%w: run \"lanyard client set %s\"", flow.ErrNoClient, providerID)
}

// List returns the registrations of a tenant, by provider.
func (c ClientIDs) List(ctx context.Context, tenant string) ([]ClientEntry, error) {
	var out []ClientEntry
	err := c.t.query(ctx, query{pk: join("CLI", tenant)}, func(it item) (bool, error) {
		var e ClientEntry
		if err := decode(it, &e, errNoDocument); err != nil {
			return false, err
		}
		out = append(out, e)
		return true, nil
	})
	return out, err
}

// errNoDocument: an item is not what its key says.
var errNoDocument = errors.New("an item of the table has no document")

// put names the registration that new connections use.
func (c ClientIDs) put(ctx context.Context, e ClientEntry) error {
	return c.t.put(ctx, document(join("CLI", e.Tenant), e.Provider, e), condition{})
}

func (c ClientIDs) remove(ctx context.Context, tenant, providerID string) error {
	return c.t.transact(ctx, change{remove: at(join("CLI", tenant), providerID)})
}

// registrations are what a secret holds: the registrations at one provider of
// one tenant. Those that are not current stay, for what was granted to them.
//
//	P/clients/{tenant}/{provider}
//	{"current": "<client id>", "clients": {"<client id>": {"secret": "…", "variant": "…", "parameters": {"host": "…"}}}}
type registrations struct {
	Current string                  `json:"current,omitempty"`
	Clients map[string]registration `json:"clients"`
}

type registration struct {
	Secret     string            `json:"secret,omitempty"`
	Variant    string            `json:"variant,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"`
}

// ClientSecrets are our registrations at providers with their secrets, in
// Secrets Manager. Only callback and refresh may read them, only the operator
// writes them.
type ClientSecrets struct {
	Store *SecretStore
	Now   func() time.Time

	mu   sync.Mutex
	read map[string]reading // by the secret's name
}

var _ flow.Secrets = (*ClientSecrets)(nil)

// readTTL is how long what was read is used, so that a busy function does not
// ask for each code and token.
const readTTL = time.Minute

type reading struct {
	what registrations
	at   time.Time
}

// Client implements [flow.Secrets]. A client that is not among what was read
// a while ago may have been registered since: then it is read again.
func (c *ClientSecrets) Client(ctx context.Context, tenant, providerID, id string) (provider.Client, error) {
	for _, age := range []time.Duration{readTTL, 0} {
		for _, of := range owners(tenant, providerID) {
			r, err := c.registrations(ctx, of, providerID, age)
			if err != nil {
				return provider.Client{}, err
			}
			wanted := id
			if wanted == "" {
				wanted = r.Current
			}
			if found, ok := r.Clients[wanted]; ok && wanted != "" {
				return provider.Client{ID: wanted, Secret: token.Secret(found.Secret), Variant: found.Variant, Parameters: found.Parameters}, nil
			}
		}
	}
	if id != "" {
		return provider.Client{}, fmt.Errorf("%w: this was granted to another client than those that are kept; put that one back with \"lanyard client set %s\", or reconnect", flow.ErrNoClient, providerID)
	}
	return provider.Client{}, noClient(providerID)
}

// registrations are those of one tenant at one provider, read no longer ago
// than age.
func (c *ClientSecrets) registrations(ctx context.Context, tenant, providerID string, age time.Duration) (registrations, error) {
	name, now := *c.secret(tenant, providerID), c.Now()
	c.mu.Lock()
	known, ok := c.read[name]
	c.mu.Unlock()
	if ok && now.Sub(known.at) < age {
		return known.what, nil
	}
	r, _, err := c.load(ctx, tenant, providerID)
	if err != nil {
		return r, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read == nil {
		c.read = map[string]reading{}
	}
	c.read[name] = reading{r, now}
	return r, nil
}

func (c *ClientSecrets) secret(tenant, providerID string) *string {
	return c.Store.name("clients", tenant, providerID)
}

// load reads a secret and the id of its version; a missing one is empty.
func (c *ClientSecrets) load(ctx context.Context, tenant, providerID string) (r registrations, version string, err error) {
	out, err := c.Store.Client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: c.secret(tenant, providerID)})
	switch {
	case isMissing(err):
		return registrations{}, "", nil
	case err != nil:
		return r, "", unavailable(err)
	}
	// The decoder's error could quote what it read.
	if json.Unmarshal([]byte(aws.ToString(out.SecretString)), &r) != nil {
		return r, "", fmt.Errorf("the secret %s does not hold what \"lanyard client set\" writes: put it back, or remove it with \"lanyard client remove --forget\" and set the client anew", *c.secret(tenant, providerID))
	}
	return r, aws.ToString(out.VersionId), nil
}

// Set makes a client the current one of the tenant at the provider, and returns it
// as it is kept. Others before it are kept for what was granted to them. Parameters
// that e does not name stay as they were set with that client before: whoever brings
// a new secret must not send it elsewhere by leaving out where it is for.
func (c *ClientSecrets) Set(ctx context.Context, ids ClientIDs, e ClientEntry, secret token.Secret) (ClientEntry, error) {
	given := e.Parameters
	err := c.change(ctx, e.Tenant, e.Provider, func(r *registrations) {
		e.Parameters = maps.Clone(r.Clients[e.ID].Parameters)
		for name, value := range given {
			if e.Parameters == nil {
				e.Parameters = map[string]string{}
			}
			e.Parameters[name] = value
		}
		r.Current = e.ID
		r.Clients[e.ID] = registration{Secret: secret.Reveal(), Variant: e.Variant, Parameters: e.Parameters}
	})
	if err != nil {
		return e, err
	}
	return e, ids.put(ctx, e) // last: nobody is sent to a provider with a client that cannot finish
}

// Remove ends the use of the tenant's client for new connections. What was
// granted to it goes on, unless its secrets are forgotten, too.
func (c *ClientSecrets) Remove(ctx context.Context, ids ClientIDs, tenant, providerID string, forget bool) error {
	if err := ids.remove(ctx, tenant, providerID); err != nil {
		return err
	}
	if forget {
		_, err := c.Store.Client.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{
			SecretId: c.secret(tenant, providerID), ForceDeleteWithoutRecovery: aws.Bool(true),
		})
		if err != nil && !isMissing(err) {
			return unavailable(err)
		}
		return nil
	}
	_, version, err := c.load(ctx, tenant, providerID)
	if err != nil || version == "" {
		return err
	}
	return c.change(ctx, tenant, providerID, func(r *registrations) { r.Current = "" })
}

// Kept returns the ids of the clients whose secrets are kept, sorted.
func (c *ClientSecrets) Kept(ctx context.Context, tenant, providerID string) ([]string, error) {
	r, _, err := c.load(ctx, tenant, providerID)
	var ids []string
	for id := range r.Clients {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, err
}

// change writes what change makes of the secret as it is. A version's id is
// derived from the one before it, so that of two operators at once one is
// refused, and reads again: nobody's secret is lost.
func (c *ClientSecrets) change(ctx context.Context, tenant, providerID string, change func(*registrations)) error {
	for try := 0; ; try++ {
		r, version, err := c.load(ctx, tenant, providerID)
		if err != nil {
			return err
		}
		if r.Clients == nil {
			r.Clients = map[string]registration{}
		}
		change(&r)
		doc, err := json.Marshal(r)
		if err != nil {
			return err
		}
		next := aws.String(token.Hash(token.Secret("after " + version)))
		if version == "" {
			_, err = c.Store.Client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
				Name: c.secret(tenant, providerID), SecretString: aws.String(string(doc)), ClientRequestToken: next,
				Description: aws.String("Lanyard: our clients at " + providerID),
			})
		} else {
			_, err = c.Store.Client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
				SecretId: c.secret(tenant, providerID), SecretString: aws.String(string(doc)), ClientRequestToken: next,
			})
		}
		switch {
		case err == nil:
			return nil
		case !isTaken(err) && !isMissing(err), try == createTries:
			return unavailable(err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}
