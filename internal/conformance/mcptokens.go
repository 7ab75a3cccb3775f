package conformance

import (
	"fmt"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

func mcpToken(n int) host.MCPToken {
	return host.MCPToken{
		ID: fmt.Sprint("mcp_", n), Hash: fmt.Sprint("hash", n), Connection: key("con_1"), UserID: "ann", Server: "drive",
		CreatedAt: epoch.Add(time.Duration(n) * time.Second), ExpiresAt: expiry,
	}
}

func putTokens(t *testing.T, s host.Store, tokens ...host.MCPToken) {
	t.Helper()
	for _, token := range tokens {
		ok(t, s.PutMCPToken(t.Context(), token))
	}
}

func wantTokens(t *testing.T, s host.Store, k connection.Key, want ...host.MCPToken) {
	t.Helper()
	got, err := s.MCPTokens(t.Context(), k)
	ok(t, err)
	same(t, got, want)
}

func mcpTokenKeepsEveryField(t *testing.T, s host.Store) {
	putTokens(t, s, mcpToken(1), mcpToken(2))
	got, err := s.MCPTokenByHash(t.Context(), "hash1")
	ok(t, err)
	same(t, got, mcpToken(1))
	for _, hash := range []string{"hash3", "", "mcp_1"} {
		_, err = s.MCPTokenByHash(t.Context(), hash)
		wantErr(t, err, host.ErrNoToken)
	}
}

func mcpTokenTaken(t *testing.T, s host.Store) {
	oneWins(t, 8, host.ErrExists, func(int) error { return s.PutMCPToken(t.Context(), mcpToken(1)) })
	other := mcpToken(2)
	other.ID = mcpToken(1).ID
	wantErr(t, s.PutMCPToken(t.Context(), other), host.ErrExists)
	other = mcpToken(2)
	other.Hash = mcpToken(1).Hash
	wantErr(t, s.PutMCPToken(t.Context(), other), host.ErrExists)
	wantTokens(t, s, key("con_1"), mcpToken(1))
}

func mcpTokensOldestFirst(t *testing.T, s host.Store) {
	elsewhere := mcpToken(4)
	elsewhere.Connection.Tenant = "other"
	putTokens(t, s, mcpToken(3), mcpToken(1), mcpToken(2), elsewhere)
	wantTokens(t, s, key("con_1"), mcpToken(1), mcpToken(2), mcpToken(3))
	wantTokens(t, s, elsewhere.Connection, elsewhere)
	wantTokens(t, s, key("con_2"))
}

func deleteMCPToken(t *testing.T, s host.Store) {
	putTokens(t, s, mcpToken(1), mcpToken(2))
	elsewhere := connection.Key{Tenant: "other", ID: "con_1"}
	for _, k := range []connection.Key{key("con_2"), elsewhere} { // somebody else's
		wantErr(t, s.DeleteMCPToken(t.Context(), k, "mcp_1"), host.ErrNoToken)
	}
	wantTokens(t, s, key("con_1"), mcpToken(1), mcpToken(2))
	ok(t, s.DeleteMCPToken(t.Context(), key("con_1"), "mcp_1"))
	wantErr(t, s.DeleteMCPToken(t.Context(), key("con_1"), "mcp_1"), host.ErrNoToken)
	_, err := s.MCPTokenByHash(t.Context(), "hash1")
	wantErr(t, err, host.ErrNoToken)
	wantTokens(t, s, key("con_1"), mcpToken(2))
}

func deletedMCPTokenIsNotPutAgain(t *testing.T, s host.Store) {
	putTokens(t, s, mcpToken(1), mcpToken(2))
	ok(t, s.DeleteMCPToken(t.Context(), key("con_1"), "mcp_1"))
	sameID, sameHash := mcpToken(3), mcpToken(4)
	sameID.ID, sameHash.Hash = mcpToken(1).ID, mcpToken(1).Hash
	for _, again := range []host.MCPToken{mcpToken(1), sameID, sameHash} {
		wantErr(t, s.PutMCPToken(t.Context(), again), host.ErrExists)
		_, err := s.MCPTokenByHash(t.Context(), again.Hash)
		wantErr(t, err, host.ErrNoToken)
	}
	wantErr(t, s.DeleteMCPToken(t.Context(), key("con_1"), "mcp_1"), host.ErrNoToken)
	wantTokens(t, s, key("con_1"), mcpToken(2))
	ok(t, s.DeleteMCPTokens(t.Context(), key("con_1"))) // a deleted one is not in its way
	wantTokens(t, s, key("con_1"))
}

func deleteMCPTokens(t *testing.T, s host.Store) {
	other := mcpToken(3)
	other.Connection = key("con_2")
	putTokens(t, s, mcpToken(1), mcpToken(2), other)
	for range 2 { // the second has nothing to remove
		ok(t, s.DeleteMCPTokens(t.Context(), key("con_1")))
		wantTokens(t, s, key("con_1"))
		_, err := s.MCPTokenByHash(t.Context(), "hash1")
		wantErr(t, err, host.ErrNoToken)
	}
	wantTokens(t, s, other.Connection, other)
}
