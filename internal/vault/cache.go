package vault

import (
	"context"
	"sync"
	"time"
)

// CachedKeys keeps data keys in memory for minutes, so that a busy tenant does
// not cost one call to the key service for each token. A key seals at most
// MaxUses values: far below where random 96-bit nonces would collide.
type CachedKeys struct {
	Keys Keys
	// TTL bounds how long a key is used after it was made or unwrapped.
	TTL     time.Duration
	MaxUses int
	Now     func() time.Time

	mu     sync.Mutex
	fresh  map[string]*dataKey // by tenant: for sealing
	opened map[string]*dataKey // by tenant and wrapped key: for opening
}

type dataKey struct {
	key, wrapped []byte
	until        time.Time
	uses         int
}

// maxOpened bounds the memory of the opened keys.
const maxOpened = 4096

// DataKey implements [Keys].
func (c *CachedKeys) DataKey(ctx context.Context, tenant string) ([]byte, []byte, error) {
	now := c.Now()
	c.mu.Lock()
	if k := c.fresh[tenant]; k != nil && now.Before(k.until) && k.uses < c.MaxUses {
		k.uses++
		c.mu.Unlock()
		return k.key, k.wrapped, nil
	}
	c.mu.Unlock()
	key, wrapped, err := c.Keys.DataKey(ctx, tenant)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fresh == nil {
		c.fresh = map[string]*dataKey{}
	}
	if len(c.fresh) >= maxOpened {
		clear(c.fresh)
	}
	c.fresh[tenant] = &dataKey{key: key, wrapped: wrapped, until: now.Add(c.TTL), uses: 1}
	return key, wrapped, nil
}

// Unwrap implements [Keys].
func (c *CachedKeys) Unwrap(ctx context.Context, tenant string, wrapped []byte) ([]byte, error) {
	// The tenant is part of the name: a key unwrapped for one tenant must not
	// open a value that claims to be another's.
	name := tenant + "\x00" + string(wrapped)
	now := c.Now()
	c.mu.Lock()
	if k := c.opened[name]; k != nil && now.Before(k.until) {
		c.mu.Unlock()
		return k.key, nil
	}
	c.mu.Unlock()
	key, err := c.Keys.Unwrap(ctx, tenant, wrapped)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened == nil {
		c.opened = map[string]*dataKey{}
	}
	if len(c.opened) >= maxOpened {
		clear(c.opened)
	}
	c.opened[name] = &dataKey{key: key, until: now.Add(c.TTL)}
	return key, nil
}
