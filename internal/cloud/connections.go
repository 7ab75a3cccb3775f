package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

var _ connection.Store = (*Table)(nil)

const (
	// dueIndex holds the keys of the connections that need attention.
	dueIndex = "due"
	// dueShards spreads them: a partition of an index takes 1,000 writes a
	// second.
	dueShards = 16
	// keepTombstone is how long the mark of a deleted connection stays: longer
	// than anything that was begun for it can still be under way.
	keepTombstone = 30 * 24 * time.Hour
)

func connectionPK(k connection.Key) string { return join("CON", k.Tenant, k.ID) }

// row is the item of a connection.
func row(c connection.Connection) item {
	it := at(connectionPK(c.Key), only)
	it["rev"] = number(c.Revision)
	if due := c.AttentionAt(); !due.IsZero() {
		shard := fnv.New32a()
		shard.Write([]byte(c.ID))
		it["due_shard"] = text(fmt.Sprint(shard.Sum32() % dueShards))
		it["due_at"] = text(dueKey(due))
	}
	// A renewal must write a kilobyte and no more: that is what a unit is. See
	// docs/decisions/0012.
	if len(c.Set.Access) > 0 {
		it["access"] = binary(c.Set.Access)
	}
	c.Set.Access, c.Key = nil, connection.Key{} // the sealed part is random, and the key is in pk
	doc, err := json.Marshal(c)
	if err != nil {
		panic(err) // plain data, which json.Marshal never refuses
	}
	it["doc"] = binary(rowFormat.Pack(doc))
	return it
}

// maxRow is the longest document of a row: that of an item is at most 400 KB,
// and packed.
const maxRow = 4 << 20

// connectionOf is the connection of an item; ErrNotFound of one without.
func connectionOf(it item) (connection.Connection, error) {
	var c connection.Connection
	packed := binaryOf(it, "doc")
	if packed == nil {
		// Rows that were written before they were packed, or none.
		err := decode(it, &c, connection.ErrNotFound)
		c.Trail = string(trail(it))
		return c, err
	}
	doc, err := rowFormat.Unpack(packed, maxRow)
	if err == nil {
		err = json.Unmarshal(doc, &c)
	}
	if err != nil {
		return connection.Connection{}, fmt.Errorf("read the row %s: %w", textOf(it, "pk"), err)
	}
	if c.Key, err = keyOf(it); err != nil {
		return connection.Connection{}, err
	}
	c.Set.Access, c.Trail = binaryOf(it, "access"), string(trail(it))
	return c, nil
}

// keyOf is the key of a row, or of its entry in the index.
func keyOf(it item) (connection.Key, error) {
	parts := split(textOf(it, "pk"))
	if len(parts) != 3 || parts[0] != "CON" {
		return connection.Key{}, fmt.Errorf("the item %q is no connection's", textOf(it, "pk"))
	}
	return connection.Key{Tenant: parts[1], ID: parts[2]}, nil
}

// tombstone is what stays of a connection: nothing of it, but its key is taken.
func (t *Table) tombstone(k connection.Key) item {
	it := at(connectionPK(k), only)
	it["ttl"] = number(t.Now().Add(keepTombstone).Unix())
	return it
}

// entries are the items by which lists find a connection, by partition key.
func entries(c connection.Connection) map[string]item {
	keys := []string{join("CONS", c.Tenant), join("USER", c.Tenant, c.UserID)}
	if c.InUse() {
		keys = append(keys, join("HELD", c.Tenant, c.Account.Subject))
	}
	if c.Proposal != nil {
		keys = append(keys, join("HELD", c.Tenant, c.Proposal.Granted.Account.Subject))
	}
	out := map[string]item{}
	for _, pk := range keys {
		it := at(pk, join(connection.Stamp(c.CreatedAt), c.ID))
		it["user_id"], it["server_name"], it["provider_id"] = text(c.UserID), text(c.Server), text(c.Provider)
		out[pk] = it
	}
	return out
}

// moved are the changes that make the list entries of a connection those of
// what it has become. Most writes change none.
func moved(before, after map[string]item) []change {
	var out []change
	for _, pk := range slices.Sorted(maps.Keys(before)) {
		if now, ok := after[pk]; !ok || textOf(now, "sk") != textOf(before[pk], "sk") {
			out = append(out, change{remove: at(pk, textOf(before[pk], "sk"))})
		}
	}
	for _, pk := range slices.Sorted(maps.Keys(after)) {
		now, was := after[pk], before[pk]
		for _, name := range []string{"sk", "user_id", "server_name", "provider_id"} {
			if was == nil || textOf(now, name) != textOf(was, name) {
				out = append(out, change{put: now})
				break
			}
		}
	}
	return out
}

// Create implements [connection.Store].
func (t *Table) Create(ctx context.Context, c connection.Connection) error {
	changes := append([]change{{put: row(c), condition: absent}}, moved(nil, entries(c))...)
	err := t.transact(ctx, append(changes, unburied(c.Tenant)...)...)
	if old, ok := refusal(err); ok {
		if buried(old) {
			return flow.ErrTenant // removed meanwhile: nobody would end its grant
		}
		return connection.ErrExists
	}
	return err
}

// Get implements [connection.Store].
func (t *Table) Get(ctx context.Context, k connection.Key) (connection.Connection, error) {
	it, err := t.get(ctx, connectionPK(k), only)
	if err != nil {
		return connection.Connection{}, err
	}
	return connectionOf(it)
}

// Update implements [connection.Store]: the row is written only if it is still
// of the revision that change saw.
func (t *Table) Update(ctx context.Context, k connection.Key, change func(*connection.Connection) error) (connection.Connection, error) {
	for try := 0; ; try++ {
		c, err := t.Get(ctx, k)
		if err != nil {
			return connection.Connection{}, err
		}
		c, err = t.replace(ctx, c, change)
		if _, raced := refusal(err); !raced {
			return c, err
		}
		if err := pause(ctx, try); err != nil {
			return connection.Connection{}, err
		}
	}
}

// UpdateFrom implements [connection.Store].
func (t *Table) UpdateFrom(ctx context.Context, seen connection.Connection, change func(*connection.Connection) error) (connection.Connection, error) {
	// What change does to the row must not show in what the caller has seen.
	c, err := t.replace(ctx, seen.Clone(), change)
	if _, stale := refusal(err); stale {
		return t.Update(ctx, seen.Key, change)
	}
	return c, err
}

// replace makes one change to the row that was seen, and returns what it has
// become; *refused if somebody has written since.
func (t *Table) replace(ctx context.Context, c connection.Connection, change func(*connection.Connection) error) (connection.Connection, error) {
	k, seen, writes, before := c.Key, c.Revision, []byte(c.Trail), entries(c)
	if err := change(&c); err != nil {
		return connection.Connection{}, err
	}
	c.Key, c.Revision = k, seen+1
	it := trailing(row(c), writes)
	if err := t.overwrite(ctx, it, seen, moved(before, entries(c))); err != nil {
		return connection.Connection{}, err
	}
	c.Trail = string(trail(it))
	return c, nil
}

// overwrite writes the item over the one of that revision, with what follows.
func (t *Table) overwrite(ctx context.Context, it item, seen int64, follow []change) error {
	return t.transact(ctx, append([]change{{put: it, condition: revision(seen)}}, follow...)...)
}

// Delete implements [connection.Store]. What stays is a tombstone.
func (t *Table) Delete(ctx context.Context, k connection.Key, check func(connection.Connection) error) error {
	for try := 0; ; try++ {
		c, err := t.Get(ctx, k)
		if err != nil {
			return err
		}
		before := entries(c)
		if err := check(c); err != nil {
			return err
		}
		err = t.overwrite(ctx, trailing(t.tombstone(k), []byte(c.Trail)), c.Revision, moved(before, nil))
		if _, raced := refusal(err); !raced {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// List implements [connection.Store].
func (t *Table) List(ctx context.Context, tenant string, f connection.Filter, p connection.Page) ([]connection.Connection, string, error) {
	after := ""
	if p.Cursor != "" {
		stamp, id, err := connection.ParseCursor(p.Cursor)
		if err != nil {
			return nil, "", err
		}
		after = join(stamp, id)
	}
	limit := p.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	for {
		keys, more, err := t.entriesAfter(ctx, tenant, f, after, limit)
		if err != nil {
			return nil, "", err
		}
		found, err := t.rows(ctx, tenant, keys, f)
		if err != nil {
			return nil, "", err
		}
		if !more {
			return found, "", nil
		}
		// All of a page may have gone between the two reads.
		if after = keys[len(keys)-1]; len(found) > 0 {
			last := split(after)
			stamp, err := time.Parse(time.RFC3339Nano, last[0])
			return found, connection.Cursor(stamp, last[1]), err
		}
	}
}

// entriesAfter returns the sort keys of at most limit list entries after the
// given one, in order, and whether there are more.
func (t *Table) entriesAfter(ctx context.Context, tenant string, f connection.Filter, after string, limit int) ([]string, bool, error) {
	lists := []string{join("CONS", tenant)}
	switch {
	case len(f.Subjects) > 0:
		lists = nil
		for _, subject := range f.Subjects {
			lists = append(lists, join("HELD", tenant, subject))
		}
	case f.UserID != "":
		lists = []string{join("USER", tenant, f.UserID)}
	}
	var keys []string
	for _, pk := range lists {
		n := 0
		err := t.query(ctx, query{pk: pk, after: after, filter: selecting(f)}, func(it item) (bool, error) {
			keys = append(keys, textOf(it, "sk"))
			n++
			return n <= limit, nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys) // one connection may be in several lists
	return keys[:min(limit, len(keys))], len(keys) > limit, nil
}

// selecting is the filter as far as list entries know.
func selecting(f connection.Filter) condition {
	c := condition{values: item{}}
	for _, a := range []struct{ name, value string }{{"user_id", f.UserID}, {"server_name", f.Server}, {"provider_id", f.Provider}} {
		if a.value == "" {
			continue
		}
		if c.expression != "" {
			c.expression += " AND "
		}
		c.expression += a.name + " = :" + a.name
		c.values[":"+a.name] = text(a.value)
	}
	return c
}

// rows reads the connections of list entries, in their order, leaving out what
// has changed or gone since.
func (t *Table) rows(ctx context.Context, tenant string, keys []string, f connection.Filter) ([]connection.Connection, error) {
	var order []string
	var wanted []item
	for _, sk := range keys {
		pk := connectionPK(connection.Key{Tenant: tenant, ID: split(sk)[1]})
		order, wanted = append(order, pk), append(wanted, at(pk, only))
	}
	there, err := t.getAll(ctx, wanted)
	if err != nil {
		return nil, err
	}
	var out []connection.Connection
	for _, pk := range order {
		c, err := connectionOf(there[pk])
		if err == nil && f.Matches(c) {
			out = append(out, c)
		} else if err != nil && !errors.Is(err, connection.ErrNotFound) {
			return nil, err
		}
	}
	return out, nil
}
