package cloud

import (
	"context"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

func mcpHashPK(hash string) string { return join("MCT", hash) }

func mcpIDPK(id string) string { return join("MCTID", id) }

func mcpEntry(m host.MCPToken) item {
	return document(join("MCTS", m.Connection.Tenant, m.Connection.ID), join(connection.Stamp(m.CreatedAt), m.ID), m)
}

// PutMCPToken implements [host.Store].
func (t *Table) PutMCPToken(ctx context.Context, m host.MCPToken) error {
	byHash, byID, entry := document(mcpHashPK(m.Hash), only, m), at(mcpIDPK(m.ID), only), mcpEntry(m)
	for _, it := range []item{byHash, byID, entry} {
		it["ttl"] = until(m.ExpiresAt)
	}
	err := t.transact(ctx, change{put: byHash, condition: absent}, change{put: byID, condition: absent}, change{put: entry})
	if _, ok := refusal(err); ok {
		return host.ErrExists
	}
	return err
}

// MCPTokenByHash implements [host.Store].
func (t *Table) MCPTokenByHash(ctx context.Context, hash string) (host.MCPToken, error) {
	var m host.MCPToken
	it, err := t.get(ctx, mcpHashPK(hash), only)
	if err != nil {
		return m, err
	}
	return m, decode(it, &m, host.ErrNoToken)
}

// MCPTokens implements [host.Store].
func (t *Table) MCPTokens(ctx context.Context, k connection.Key) ([]host.MCPToken, error) {
	var out []host.MCPToken
	err := t.query(ctx, query{pk: join("MCTS", k.Tenant, k.ID)}, func(it item) (bool, error) {
		var m host.MCPToken
		err := decode(it, &m, host.ErrNoToken)
		out = append(out, m)
		return true, err
	})
	return out, err
}

// DeleteMCPToken implements [host.Store]. The marks of its id and of its hash
// stay where they were.
func (t *Table) DeleteMCPToken(ctx context.Context, k connection.Key, id string) error {
	tokens, err := t.MCPTokens(ctx, k)
	if err != nil {
		return err
	}
	for _, m := range tokens {
		if m.ID != id {
			continue
		}
		mark := at(mcpHashPK(m.Hash), only)
		mark["ttl"] = until(m.ExpiresAt)
		entry := mcpEntry(m)
		err := t.transact(ctx, change{put: mark, condition: present}, change{remove: at(textOf(entry, "pk"), textOf(entry, "sk"))})
		if _, ok := refusal(err); ok {
			return host.ErrNoToken // by somebody else, at this moment
		}
		return err
	}
	return host.ErrNoToken
}

// DeleteMCPTokens implements [host.Store].
func (t *Table) DeleteMCPTokens(ctx context.Context, k connection.Key) error {
	tokens, err := t.MCPTokens(ctx, k)
	if err != nil {
		return err
	}
	for _, m := range tokens {
		if err := t.DeleteMCPToken(ctx, k, m.ID); err != nil && err != host.ErrNoToken {
			return err
		}
	}
	return nil
}
