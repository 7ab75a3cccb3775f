package cloud

import (
	"context"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
)

// AuthServer implements authserver.Store.
type AuthServer struct{ t *Table }

var _ authserver.Store = AuthServer{}

// AuthServer is what signs MCP clients in.
func (t *Table) AuthServer() AuthServer { return AuthServer{t} }

// grantMemory is longer than any grant lives: its list entry, and its mark once
// it is deleted, are not written again when the grant's end moves.
const grantMemory = 400 * 24 * time.Hour

// vacant: there is no record, or the mark of one that was deleted.
var vacant = condition{expression: "attribute_not_exists(doc)"}

// clientPK is of the hash: an id may be a URL of any length.
func clientPK(id string) string { return join("OAC", token.Hash(token.Secret(id))) }

// registeredClients is the partition of the list of clients that were entered.
const registeredClients = "OACS"

// clientWrites are the changes that store a client.
func clientWrites(c authserver.Client, when condition) []change {
	it := document(clientPK(c.ID), only, c)
	if !c.ExpiresAt.IsZero() {
		it["ttl"] = until(c.ExpiresAt)
	}
	out := []change{{put: it, condition: when}}
	if c.Kind == authserver.Registered {
		out = append(out, change{put: at(registeredClients, c.ID)})
	}
	return out
}

// AddClient implements [authserver.Store].
func (s AuthServer) AddClient(ctx context.Context, c authserver.Client) error {
	return exists(s.t.transact(ctx, clientWrites(c, vacant)...))
}

// exists is the error of a put whose key is there already.
func exists(err error) error {
	if _, ok := refusal(err); ok {
		return authserver.ErrExists
	}
	return err
}

// SaveClient implements [authserver.Store].
func (s AuthServer) SaveClient(ctx context.Context, c authserver.Client) error {
	return s.t.transact(ctx, clientWrites(c, condition{})...)
}

// GetClient implements [authserver.Store].
func (s AuthServer) GetClient(ctx context.Context, id string) (authserver.Client, error) {
	var c authserver.Client
	it, err := s.t.get(ctx, clientPK(id), only)
	if err != nil {
		return c, err
	}
	return c, decode(it, &c, authserver.ErrNoClient)
}

// RegisteredClients implements [authserver.Store].
func (s AuthServer) RegisteredClients(ctx context.Context) ([]authserver.Client, error) {
	var out []authserver.Client
	err := s.t.query(ctx, query{pk: registeredClients}, func(it item) (bool, error) {
		c, err := s.GetClient(ctx, textOf(it, "sk"))
		switch {
		case err == authserver.ErrNoClient: // deleted at this moment
			return true, nil
		case err == nil && c.Kind == authserver.Registered:
			out = append(out, c)
		}
		return true, err
	})
	return out, err
}

// DeleteClient implements [authserver.Store]. The mark in its place tells a
// repeated request its own first copy.
func (s AuthServer) DeleteClient(ctx context.Context, id string) error {
	mark := at(clientPK(id), only)
	mark["ttl"] = until(s.t.Now())
	err := s.t.transact(ctx, change{put: mark, condition: present}, change{remove: at(registeredClients, id)})
	if _, ok := refusal(err); ok {
		return authserver.ErrNoClient
	}
	return err
}

func requestItem(r authserver.Request) item {
	it := document(join("OAR", r.ID), only, r)
	it["rev"], it["ttl"] = number(r.Revision), until(r.ExpiresAt)
	return it
}

// AddRequest implements [authserver.Store].
func (s AuthServer) AddRequest(ctx context.Context, r authserver.Request) error {
	return exists(s.t.put(ctx, requestItem(r), absent))
}

// GetRequest implements [authserver.Store].
func (s AuthServer) GetRequest(ctx context.Context, id string) (authserver.Request, error) {
	var r authserver.Request
	it, err := s.t.get(ctx, join("OAR", id), only)
	if err != nil {
		return r, err
	}
	return r, decode(it, &r, authserver.ErrNoRequest)
}

// UpdateRequest implements [authserver.Store].
func (s AuthServer) UpdateRequest(ctx context.Context, r authserver.Request) (authserver.Request, error) {
	seen := r.Revision
	r.Revision++
	err := s.t.put(ctx, requestItem(r), revision(seen))
	if old, ok := refusal(err); ok {
		if old == nil {
			return authserver.Request{}, authserver.ErrNoRequest
		}
		return authserver.Request{}, authserver.ErrChanged
	}
	if err != nil {
		return authserver.Request{}, err
	}
	return r, nil
}

func oauthGrantPK(id string) string { return join("OAG", id) }

func oauthGrantItem(g authserver.Grant) item {
	it := document(oauthGrantPK(g.ID), only, g)
	it["rev"], it["ttl"] = number(g.Revision), until(g.ExpiresAt)
	return it
}

// grantEntry is the list entry of a grant, which says no more than which one.
func grantEntry(g authserver.Grant) item {
	it := at(join("OAGS", g.Tenant, g.UserID), join(connection.Stamp(g.CreatedAt), g.ID))
	it["ttl"] = until(g.CreatedAt.Add(grantMemory))
	return it
}

// AddGrant implements [authserver.Store].
func (s AuthServer) AddGrant(ctx context.Context, g authserver.Grant) error {
	return exists(s.t.transact(ctx, change{put: oauthGrantItem(g), condition: absent}, change{put: grantEntry(g)}))
}

// GetGrant implements [authserver.Store].
func (s AuthServer) GetGrant(ctx context.Context, id string) (authserver.Grant, error) {
	g, _, err := s.grant(ctx, id)
	return g, err
}

// grant returns a grant and its item.
func (s AuthServer) grant(ctx context.Context, id string) (authserver.Grant, item, error) {
	var g authserver.Grant
	it, err := s.t.get(ctx, oauthGrantPK(id), only)
	if err == nil {
		err = decode(it, &g, authserver.ErrNoGrant)
	}
	return g, it, err
}

// UpdateGrant implements [authserver.Store]: the item is written only if it is
// still of the revision that change saw.
func (s AuthServer) UpdateGrant(ctx context.Context, id string, change func(*authserver.Grant) error) (authserver.Grant, error) {
	for try := 0; ; try++ {
		g, old, err := s.grant(ctx, id)
		if err != nil {
			return authserver.Grant{}, err
		}
		seen := g.Revision
		if err := change(&g); err != nil {
			return authserver.Grant{}, err
		}
		g.ID, g.Revision = id, seen+1
		err = s.t.put(ctx, following(oauthGrantItem(g), old), revision(seen))
		if _, raced := refusal(err); !raced {
			if err != nil {
				return authserver.Grant{}, err
			}
			return g, nil
		}
		if err := pause(ctx, try); err != nil {
			return authserver.Grant{}, err
		}
	}
}

// DeleteGrant implements [authserver.Store].
func (s AuthServer) DeleteGrant(ctx context.Context, id string) error {
	g, err := s.GetGrant(ctx, id)
	if err == authserver.ErrNoGrant {
		return nil
	}
	if err != nil {
		return err
	}
	mark, entry := at(oauthGrantPK(id), only), grantEntry(g)
	mark["ttl"] = entry["ttl"]
	err = s.t.transact(ctx, change{put: mark, condition: present}, change{remove: at(textOf(entry, "pk"), textOf(entry, "sk"))})
	if _, ok := refusal(err); ok {
		return nil // by somebody else, at this moment
	}
	return err
}

// Grants implements [authserver.Store].
func (s AuthServer) Grants(ctx context.Context, tenant, user string) ([]authserver.Grant, error) {
	var keys []item
	err := s.t.query(ctx, query{pk: join("OAGS", tenant, user)}, func(it item) (bool, error) {
		keys = append(keys, at(oauthGrantPK(split(textOf(it, "sk"))[1]), only))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	found, err := s.t.getAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	var out []authserver.Grant
	for _, k := range keys {
		var g authserver.Grant
		switch err := decode(found[textOf(k, "pk")], &g, authserver.ErrNoGrant); err {
		case nil:
			out = append(out, g)
		case authserver.ErrNoGrant: // it has ended
		default:
			return nil, err
		}
	}
	return out, nil
}

func consentKey(tenant, user, client, resource string) (pk, sk string) {
	return join("OAN", tenant, user), token.Hash(token.Secret(join(client, resource)))
}

// SaveConsent implements [authserver.Store].
func (s AuthServer) SaveConsent(ctx context.Context, c authserver.Consent) error {
	pk, sk := consentKey(c.Tenant, c.UserID, c.ClientID, c.Resource)
	it := document(pk, sk, c)
	it["ttl"] = until(c.ExpiresAt)
	return s.t.put(ctx, it, condition{})
}

// GetConsent implements [authserver.Store].
func (s AuthServer) GetConsent(ctx context.Context, tenant, user, client, resource string) (authserver.Consent, error) {
	var c authserver.Consent
	pk, sk := consentKey(tenant, user, client, resource)
	it, err := s.t.get(ctx, pk, sk)
	if err != nil {
		return c, err
	}
	return c, decode(it, &c, authserver.ErrNoConsent)
}

// DeleteUser implements [authserver.Store].
func (s AuthServer) DeleteUser(ctx context.Context, tenant, user string) error {
	grants, err := s.Grants(ctx, tenant, user)
	if err != nil {
		return err
	}
	for _, g := range grants {
		if err := s.DeleteGrant(ctx, g.ID); err != nil {
			return err
		}
	}
	return s.t.query(ctx, query{pk: join("OAN", tenant, user)}, func(it item) (bool, error) {
		return true, s.t.transact(ctx, change{remove: at(textOf(it, "pk"), textOf(it, "sk"))})
	})
}

// Spend implements [authserver.Store].
func (s AuthServer) Spend(ctx context.Context, what string, end time.Time) error {
	it := at(join("OAX", token.Hash(token.Secret(what))), only)
	it["ttl"] = until(end)
	err := s.t.put(ctx, it, absent)
	if _, ok := refusal(err); ok {
		return authserver.ErrSpent
	}
	return err
}

// Admit implements [authserver.Store].
func (s AuthServer) Admit(ctx context.Context, window string, most int, end time.Time) error {
	for try := 0; ; try++ {
		old, err := s.t.get(ctx, join("OAW", window), only)
		if err != nil {
			return err
		}
		n, unchanged := numberOf(old, "rev"), absent
		if old != nil {
			unchanged = revision(n)
		}
		if n >= int64(most) {
			return authserver.ErrTooMany
		}
		it := at(join("OAW", window), only)
		it["rev"], it["ttl"] = number(n+1), until(end)
		err = s.t.put(ctx, following(it, old), unchanged)
		if _, raced := refusal(err); !raced {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}
