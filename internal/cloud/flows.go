package cloud

import (
	"context"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

var _ flow.Store = (*Table)(nil)

// usedMemory is how long a state that was taken is known as used.
const usedMemory = 25 * time.Hour

func linkPK(tenant, id string) string { return join("LNK", tenant, id) }

func sessionPK(hash string) string { return join("SES", hash) }

// owned is the entry by which [Table.DeleteUser] finds what is the user's.
func owned(tenant, user, kind, id string, expires time.Time) item {
	it := at(join("OWN", tenant, user), join(kind, id))
	it["ttl"] = until(expires)
	return it
}

// PutLink implements [flow.Store].
func (t *Table) PutLink(ctx context.Context, l flow.Link) error {
	it := document(linkPK(l.Tenant, l.ID), only, l)
	it["browser"], it["exp_at"], it["ttl"] = text(l.Browser), text(connection.Stamp(l.ExpiresAt)), until(l.ExpiresAt)
	return taken(t.transact(ctx, change{put: it, condition: absent}, change{put: owned(l.Tenant, l.UserID, "link", l.ID, l.ExpiresAt)}))
}

// taken is the error of a put whose key is there already.
func taken(err error) error {
	if _, ok := refusal(err); ok {
		return flow.ErrExists
	}
	return err
}

// link reads the link of an item; who claimed it stands beside the document.
func link(it item) (flow.Link, error) {
	var l flow.Link
	if err := decode(it, &l, flow.ErrLinkUnknown); err != nil {
		return flow.Link{}, err
	}
	l.Browser = textOf(it, "browser")
	return l, nil
}

// GetLink implements [flow.Store].
func (t *Table) GetLink(ctx context.Context, tenant, id string) (flow.Link, error) {
	it, err := t.get(ctx, linkPK(tenant, id), only)
	if err != nil {
		return flow.Link{}, err
	}
	return link(it)
}

// ClaimLink implements [flow.Store].
func (t *Table) ClaimLink(ctx context.Context, tenant, id, browser string, now time.Time) (flow.Link, error) {
	it, err := t.get(ctx, linkPK(tenant, id), only)
	if err != nil {
		return flow.Link{}, err
	}
	l, err := link(it)
	if err != nil {
		return flow.Link{}, err
	}
	it["browser"] = text(browser)
	err = t.put(ctx, it, condition{"attribute_exists(doc) AND exp_at > :now AND (browser = :nobody OR browser = :browser)", item{
		":now": text(connection.Stamp(now)), ":nobody": text(""), ":browser": text(browser),
	}})
	if old, ok := refusal(err); ok {
		l, err := link(old)
		switch {
		case err != nil:
			return flow.Link{}, err
		case !now.Before(l.ExpiresAt):
			return flow.Link{}, flow.ErrLinkExpired
		}
		return flow.Link{}, flow.ErrLinkClaimed
	}
	if err != nil {
		return flow.Link{}, err
	}
	l.Browser = browser
	return l, nil
}

// DeleteLink implements [flow.Store]. The sessions that the link opened end
// with it because [Table.GetSession] looks for it: one write ends them all.
func (t *Table) DeleteLink(ctx context.Context, tenant, id string) error {
	l, err := t.GetLink(ctx, tenant, id)
	if err != nil {
		return err
	}
	mark := at(linkPK(tenant, id), only)
	mark["ttl"] = until(l.ExpiresAt)
	err = t.transact(ctx, change{put: mark, condition: present}, change{remove: at(join("OWN", tenant, l.UserID), join("link", id))})
	if _, ok := refusal(err); ok {
		return flow.ErrLinkUnknown
	}
	return err
}

// DeleteUser implements [flow.Store].
func (t *Table) DeleteUser(ctx context.Context, tenant, user string) error {
	var found []item
	err := t.query(ctx, query{pk: join("OWN", tenant, user)}, func(it item) (bool, error) {
		found = append(found, it)
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, it := range found {
		sk := textOf(it, "sk")
		kind, id := split(sk)[0], split(sk)[1]
		if kind == "link" {
			if err := t.DeleteLink(ctx, tenant, id); err != nil && err != flow.ErrLinkUnknown {
				return err
			}
			continue
		}
		if err := t.removeSession(ctx, tenant, user, id); err != nil {
			return err
		}
	}
	return nil
}

// PutSession implements [flow.Store].
func (t *Table) PutSession(ctx context.Context, s flow.Session) error {
	it := document(sessionPK(s.Hash), only, s)
	it["ttl"] = until(s.ExpiresAt)
	changes := []change{{put: it, condition: absent}, {put: owned(s.Tenant, s.UserID, "session", s.Hash, s.ExpiresAt)}}
	if s.LinkID != "" {
		changes = append(changes, change{check: at(linkPK(s.Tenant, s.LinkID), only), condition: present})
	}
	err := t.transact(ctx, changes...)
	if old, ok := refusal(err); ok {
		if textOf(old, "pk") == sessionPK(s.Hash) {
			return flow.ErrExists
		}
		return flow.ErrLinkUnknown
	}
	return err
}

// GetSession implements [flow.Store].
func (t *Table) GetSession(ctx context.Context, hash string) (flow.Session, error) {
	var s flow.Session
	it, err := t.get(ctx, sessionPK(hash), only)
	if err == nil {
		err = decode(it, &s, flow.ErrNoSession)
	}
	if err == nil && s.LinkID != "" {
		if _, err = t.GetLink(ctx, s.Tenant, s.LinkID); err == flow.ErrLinkUnknown {
			err = flow.ErrNoSession
		}
	}
	if err != nil {
		return flow.Session{}, err
	}
	return s, nil
}

// DeleteSession implements [flow.Store].
func (t *Table) DeleteSession(ctx context.Context, hash string) error {
	var s flow.Session
	it, err := t.get(ctx, sessionPK(hash), only)
	if err != nil || it == nil {
		return err
	}
	if err := decode(it, &s, errNoDocument); err != nil {
		return err
	}
	return t.removeSession(ctx, s.Tenant, s.UserID, hash)
}

func (t *Table) removeSession(ctx context.Context, tenant, user, hash string) error {
	return t.transact(ctx, change{remove: at(sessionPK(hash), only)}, change{remove: at(join("OWN", tenant, user), join("session", hash))})
}

// flowItem is the item of a flow.
func flowItem(f flow.Flow) item {
	it := document(join("FLO", f.ID), only, f)
	it["rev"], it["ttl"] = number(f.Revision), until(f.ExpiresAt)
	return it
}

// PutFlow implements [flow.Store].
func (t *Table) PutFlow(ctx context.Context, f flow.Flow) error {
	return taken(t.put(ctx, flowItem(f), absent))
}

// GetFlow implements [flow.Store].
func (t *Table) GetFlow(ctx context.Context, id string) (flow.Flow, error) {
	var f flow.Flow
	it, err := t.get(ctx, join("FLO", id), only)
	if err != nil {
		return f, err
	}
	return f, decode(it, &f, flow.ErrFlowUnknown)
}

// UpdateFlow implements [flow.Store].
func (t *Table) UpdateFlow(ctx context.Context, f flow.Flow) (flow.Flow, error) {
	seen := f.Revision
	f.Revision++
	err := t.put(ctx, flowItem(f), revision(seen))
	if old, ok := refusal(err); ok {
		if old == nil {
			return flow.Flow{}, flow.ErrFlowUnknown
		}
		return flow.Flow{}, flow.ErrChanged
	}
	if err != nil {
		return flow.Flow{}, err
	}
	return f, nil
}

func statePK(hash string) string { return join("STA", hash) }

// PutState implements [flow.Store].
func (t *Table) PutState(ctx context.Context, s flow.State) error {
	it := document(statePK(s.Hash), only, s)
	it["browser"], it["exp_at"], it["ttl"] = text(s.Browser), text(connection.Stamp(s.ExpiresAt)), until(s.ExpiresAt)
	return taken(t.put(ctx, it, absent))
}

// TakeState implements [flow.Store]. The one write that takes the state leaves
// its mark in the same place, without the document: a state that was deleted
// could not be told from one that never was.
func (t *Table) TakeState(ctx context.Context, hash, browser string, now time.Time) (flow.State, error) {
	var s flow.State
	it, err := t.get(ctx, statePK(hash), only)
	if err != nil {
		return flow.State{}, err
	}
	if it == nil {
		return flow.State{}, flow.ErrStateUnknown
	}
	if err := decode(it, &s, flow.ErrStateUsed); err != nil {
		return flow.State{}, err
	}
	mark := at(statePK(hash), only)
	mark["ttl"] = number(now.Add(usedMemory).Unix())
	err = t.put(ctx, mark, condition{"attribute_exists(doc) AND browser = :browser AND exp_at > :now", item{
		":browser": text(browser), ":now": text(connection.Stamp(now)),
	}})
	old, no := refusal(err)
	switch {
	case err == nil:
		return s, nil
	case !no:
		return flow.State{}, err
	case old == nil:
		return flow.State{}, flow.ErrStateUnknown
	case textOf(old, "doc") == "":
		return flow.State{}, flow.ErrStateUsed
	case textOf(old, "browser") != browser:
		return flow.State{}, flow.ErrStateBrowser
	}
	return flow.State{}, flow.ErrStateExpired
}
