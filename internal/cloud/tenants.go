package cloud

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// Errors of the tenants.
var (
	ErrNoTenant     = errors.New("there is no such tenant")
	ErrTenantExists = errors.New("the tenant exists already")
	// ErrTenantInUse: it has connections, whose grants nobody would end.
	ErrTenantInUse = errors.New("the tenant still has connections")
)

// Tenant is a tenant as it is stored.
type Tenant struct {
	ID string `json:"id"`
	// ReturnURLs and Confirm: see [flow.Tenant].
	ReturnURLs []string  `json:"return_urls"`
	Confirm    bool      `json:"confirm"`
	CreatedAt  time.Time `json:"created_at"`
}

// Tenants are the tenants of a deployment. The default one is always there:
// until it is set, nobody is sent back anywhere, and who finishes what began
// from a link or the API has to be confirmed.
type Tenants struct{ t *Table }

var _ flow.Tenants = Tenants{}

// Tenants returns the tenants.
func (t *Table) Tenants() Tenants { return Tenants{t} }

// tenants is the partition of the tenants.
const tenants = "TEN"

// tenantID keeps an id fit for keys, paths and names of secrets.
var tenantID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// Check says what is wrong with a tenant.
func (v Tenant) Check() error {
	if !tenantID.MatchString(v.ID) {
		return fmt.Errorf("%q is no name for a tenant: use up to 40 of a to z, 0 to 9 and -, and no - at the beginning", v.ID)
	}
	for _, raw := range v.ReturnURLs {
		if err := config.CheckReturnURL(raw); err != nil {
			return err
		}
	}
	return nil
}

// Get returns a tenant, or ErrNoTenant.
func (s Tenants) Get(ctx context.Context, id string) (Tenant, error) {
	v, _, err := s.get(ctx, id)
	return v, err
}

func (s Tenants) get(ctx context.Context, id string) (v Tenant, rev int64, err error) {
	it, err := s.t.get(ctx, tenants, id)
	if err != nil {
		return v, 0, err
	}
	err = decode(it, &v, ErrNoTenant)
	if errors.Is(err, ErrNoTenant) && id == flow.DefaultTenant {
		return Tenant{ID: id, Confirm: true}, 0, nil
	}
	return v, numberOf(it, "rev"), err
}

// Tenant implements [flow.Tenants].
func (s Tenants) Tenant(ctx context.Context, id string) (flow.Tenant, error) {
	v, err := s.Get(ctx, id)
	if err != nil {
		return flow.Tenant{}, fmt.Errorf("tenant %q: %w", id, err)
	}
	return flow.Tenant{ReturnURLs: v.ReturnURLs, Confirm: v.Confirm}, nil
}

// List returns all tenants by id, the default one first.
func (s Tenants) List(ctx context.Context) ([]Tenant, error) {
	first, err := s.Get(ctx, flow.DefaultTenant)
	out := []Tenant{first}
	if err != nil {
		return nil, err
	}
	err = s.t.query(ctx, query{pk: tenants}, func(it item) (bool, error) {
		var v Tenant
		if err := decode(it, &v, errNoDocument); err != nil {
			return false, err
		}
		if v.ID != flow.DefaultTenant {
			out = append(out, v)
		}
		return true, nil
	})
	return out, err
}

func (v Tenant) item(rev int64) item {
	it := document(tenants, v.ID, v)
	it["rev"] = number(rev)
	return it
}

// Create adds a tenant; ErrTenantExists if its id is taken.
func (s Tenants) Create(ctx context.Context, v Tenant) (Tenant, error) {
	if err := v.Check(); err != nil {
		return v, err
	}
	if v.ID == flow.DefaultTenant {
		return v, ErrTenantExists
	}
	v.CreatedAt = s.t.Now().UTC()
	err := s.t.put(ctx, v.item(1), absent)
	if _, ok := refusal(err); ok {
		return v, ErrTenantExists
	}
	return v, err
}

// Update applies change to the tenant as it is. It may call it several times.
func (s Tenants) Update(ctx context.Context, id string, change func(*Tenant)) (Tenant, error) {
	for try := 0; ; try++ {
		v, rev, err := s.get(ctx, id)
		if err != nil {
			return v, err
		}
		change(&v)
		v.ID = id
		if err := v.Check(); err != nil {
			return v, err
		}
		unchanged := revision(rev)
		if rev == 0 { // the default tenant, before it was set
			unchanged, v.CreatedAt = absent, s.t.Now().UTC()
		}
		err = s.t.put(ctx, v.item(rev+1), unchanged)
		if _, ok := refusal(err); !ok {
			return v, err
		}
		if err := pause(ctx, try); err != nil {
			return v, err
		}
	}
}

// Remove removes a tenant that has no connections, and its API keys first, so
// that nobody begins another one meanwhile. Its clients stay: see
// [ClientSecrets.Remove].
func (s Tenants) Remove(ctx context.Context, id string) error {
	if id == flow.DefaultTenant {
		return errors.New("the default tenant cannot be removed: every deployment has it")
	}
	if _, err := s.Get(ctx, id); err != nil {
		return err
	}
	if err := s.unused(ctx, id); err != nil {
		return err
	}
	keys := s.t.APIKeys(nil)
	all, err := keys.List(ctx, id)
	for _, k := range all {
		if err == nil {
			err = keys.Revoke(ctx, id, k.ID)
		}
	}
	if err != nil {
		return fmt.Errorf("revoke the tenant's API keys: %w", err)
	}
	if err := s.unused(ctx, id); err != nil {
		return err
	}
	return s.t.transact(ctx, change{remove: at(tenants, id)})
}

func (s Tenants) unused(ctx context.Context, id string) error {
	found, _, err := s.t.List(ctx, id, connection.Filter{}, connection.Page{Limit: 1})
	if err == nil && len(found) > 0 {
		return ErrTenantInUse
	}
	return err
}
