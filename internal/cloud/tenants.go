package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// Errors of the tenants.
var (
	ErrNoTenant     = errors.New("there is no such tenant")
	ErrTenantExists = errors.New("the tenant exists already")
	// ErrTenantRemoved is an ErrNoTenant: there was one of that id, which stays
	// taken for good. Links, sessions and audit lines of it are about still, and
	// would be another's who got the id.
	ErrTenantRemoved = fmt.Errorf("%w: it was removed", ErrNoTenant)
	// ErrTenantInUse: it has connections, whose grants nobody would end.
	ErrTenantInUse = errors.New("the tenant still has connections")
)

// Tenant is a tenant as it is stored.
type Tenant struct {
	ID string `json:"id"`
	// ReturnURLs, Confirm and SignIn: see [flow.Tenant].
	ReturnURLs []string    `json:"return_urls"`
	Confirm    bool        `json:"confirm"`
	SignIn     flow.SignIn `json:"sign_in,omitzero"`
	CreatedAt  time.Time   `json:"created_at"`
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

// Check says what is wrong with a tenant.
func (v Tenant) Check() error {
	if !flow.ValidTenant(v.ID) {
		return fmt.Errorf("%q is no name for a tenant: use up to 40 of a to z, 0 to 9 and -, and no - at the beginning", v.ID)
	}
	for _, raw := range v.ReturnURLs {
		if err := config.CheckReturnURL(raw); err != nil {
			return err
		}
	}
	if v.SignIn.Way() == flow.Local {
		return errors.New("nobody is at a deployment's own machine: people sign in by link, oidc or login_url")
	}
	return v.SignIn.Check(false)
}

// Get returns a tenant, or ErrNoTenant, which of one that was removed is
// ErrTenantRemoved.
func (s Tenants) Get(ctx context.Context, id string) (Tenant, error) {
	v, _, err := s.get(ctx, id)
	return v, err
}

// get returns a tenant and its item; nil: the default one, before it was set.
func (s Tenants) get(ctx context.Context, id string) (v Tenant, it item, err error) {
	it, err = s.t.get(ctx, tenants, id)
	switch {
	case err != nil:
		return v, nil, err
	case it != nil:
		return v, it, decode(it, &v, ErrTenantRemoved)
	case id == flow.DefaultTenant:
		return Tenant{ID: id, Confirm: true}, nil, nil
	}
	return v, nil, ErrNoTenant
}

// Tenant implements [flow.Tenants]. Its flow.ErrTenant is an ErrNoTenant, too.
func (s Tenants) Tenant(ctx context.Context, id string) (flow.Tenant, error) {
	v, err := s.Get(ctx, id)
	if errors.Is(err, ErrNoTenant) {
		return flow.Tenant{}, fmt.Errorf("%w: %q: %w", flow.ErrTenant, id, err)
	}
	if err != nil {
		return flow.Tenant{}, fmt.Errorf("tenant %q: %w", id, err)
	}
	return flow.Tenant{ReturnURLs: v.ReturnURLs, Confirm: v.Confirm, SignIn: v.SignIn}, nil
}

// List returns all tenants by id, the default one first.
func (s Tenants) List(ctx context.Context) ([]Tenant, error) {
	first, err := s.Get(ctx, flow.DefaultTenant)
	out := []Tenant{first}
	if err != nil {
		return nil, err
	}
	err = s.t.query(ctx, query{pk: tenants, filter: present}, func(it item) (bool, error) {
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

// over is the tenant's item, to follow the one that is there.
func (v Tenant) over(old item) item {
	return next(document(tenants, v.ID, v), old)
}

// next gives an item the revision after that of the one that is there.
func next(it, old item) item {
	it["rev"] = number(numberOf(old, "rev") + 1)
	return following(it, old)
}

// unchanged: the item is still the one that was read.
func unchanged(old item) condition {
	if old == nil {
		return absent
	}
	return revision(numberOf(old, "rev"))
}

// Create adds a tenant; ErrTenantExists or ErrTenantRemoved if its id is taken.
func (s Tenants) Create(ctx context.Context, v Tenant) (Tenant, error) {
	if err := v.Check(); err != nil {
		return v, err
	}
	if v.ID == flow.DefaultTenant {
		return v, ErrTenantExists
	}
	v.CreatedAt = s.t.Now().UTC()
	err := s.t.put(ctx, v.over(nil), absent)
	if old, ok := refusal(err); ok {
		if textOf(old, "doc") == "" {
			return v, ErrTenantRemoved
		}
		return v, ErrTenantExists
	}
	return v, err
}

// Update applies change to the tenant as it is. It may call it several times.
func (s Tenants) Update(ctx context.Context, id string, change func(*Tenant)) (Tenant, error) {
	for try := 0; ; try++ {
		v, old, err := s.get(ctx, id)
		if err != nil {
			return v, err
		}
		change(&v)
		v.ID = id
		if err := v.Check(); err != nil {
			return v, err
		}
		if old == nil {
			v.CreatedAt = s.t.Now().UTC()
		}
		err = s.t.put(ctx, v.over(old), unchanged(old))
		if _, ok := refusal(err); !ok {
			return v, err
		}
		if err := pause(ctx, try); err != nil {
			return v, err
		}
	}
}

// Remove removes a tenant that has no connections, and its API keys. A
// tombstone stays in its place, from which on nothing is made for it. Of a
// tenant that was removed before it revokes what keys are left, and returns
// ErrTenantRemoved. Its clients stay: see [ClientSecrets.Remove].
func (s Tenants) Remove(ctx context.Context, id string) error {
	if id == flow.DefaultTenant {
		return errors.New("the default tenant cannot be removed: every deployment has it")
	}
	for try := 0; ; try++ {
		v, old, err := s.get(ctx, id)
		if errors.Is(err, ErrTenantRemoved) {
			return cmp.Or(s.revokeKeys(ctx, id), err)
		}
		if err != nil {
			return err
		}
		if err := s.unused(ctx, id); err != nil {
			return err
		}
		err = s.bury(context.WithoutCancel(ctx), v, old)
		if err == nil {
			return s.revokeKeys(ctx, id)
		}
		if _, changed := refusal(err); !changed {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// bury puts the tombstone in the tenant's place. Connections are made only
// where there is none, so that those that are found afterwards are all there
// are: with them, the tenant is put back.
func (s Tenants) bury(ctx context.Context, v Tenant, old item) error {
	tombstone := next(at(tenants, v.ID), old)
	if err := s.t.put(ctx, tombstone, unchanged(old)); err != nil {
		return err
	}
	err := s.unused(ctx, v.ID)
	if err == nil {
		return nil
	}
	if back := s.t.put(ctx, v.over(tombstone), unchanged(tombstone)); back != nil {
		return errors.Join(err, fmt.Errorf("put the tenant back: %w", back))
	}
	return err
}

func (s Tenants) revokeKeys(ctx context.Context, id string) error {
	keys := s.t.APIKeys(nil)
	all, err := keys.List(ctx, id)
	for _, k := range all {
		if err == nil {
			err = keys.Revoke(ctx, id, k.ID)
		}
		if errors.Is(err, ErrNoAPIKey) {
			err = nil // somebody else did
		}
	}
	if err != nil {
		return fmt.Errorf("revoke the tenant's API keys: %w", err)
	}
	return nil
}

// unburied is what is checked where something is made for a tenant that must
// not outlive it; none for the default one, which cannot be removed.
func unburied(tenant string) []change {
	if tenant == flow.DefaultTenant {
		return nil
	}
	return []change{{check: at(tenants, tenant), condition: condition{expression: "attribute_not_exists(pk) OR attribute_exists(doc)"}}}
}

// buried reports whether that check was refused.
func buried(old item) bool { return textOf(old, "pk") == tenants }

func (s Tenants) unused(ctx context.Context, id string) error {
	found, _, err := s.t.List(ctx, id, connection.Filter{}, connection.Page{Limit: 1})
	if err == nil && len(found) > 0 {
		return ErrTenantInUse
	}
	return err
}
