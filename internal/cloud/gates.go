package cloud

import (
	"context"
	"errors"
	"time"

	"github.com/lanyardhq/lanyard/internal/refresh"
)

var _ refresh.Gates = (*Table)(nil)

var errNoGate = errors.New("no such gate")

// Gate implements [refresh.Gates].
func (t *Table) Gate(ctx context.Context, name string) (refresh.Gate, error) {
	g, _, err := t.gate(ctx, name)
	return g, err
}

// gate returns a gate and its item.
func (t *Table) gate(ctx context.Context, name string) (refresh.Gate, item, error) {
	var g refresh.Gate
	it, err := t.get(ctx, join("GATE", name), only)
	if err == nil {
		err = decode(it, &g, errNoGate)
	}
	if err != nil && !errors.Is(err, errNoGate) {
		return refresh.Gate{}, nil, err
	}
	return g, it, nil
}

// UpdateGate implements [refresh.Gates]: the item is written only if it is
// still of the revision that change saw.
func (t *Table) UpdateGate(ctx context.Context, name string, change func(*refresh.Gate) error) (refresh.Gate, error) {
	for try := 0; ; try++ {
		g, old, err := t.gate(ctx, name)
		if err != nil {
			return refresh.Gate{}, err
		}
		if err := change(&g); err != nil {
			return refresh.Gate{}, err
		}
		unchanged := absent
		if old != nil {
			unchanged = revision(numberOf(old, "rev"))
		}
		it := document(join("GATE", name), only, g)
		it["rev"] = number(numberOf(old, "rev") + 1)
		last := t.Now()
		for _, end := range []time.Time{g.Until, g.At} {
			if end.After(last) {
				last = end
			}
		}
		it["ttl"] = until(last)
		err = t.put(ctx, following(it, old), unchanged)
		if _, raced := refusal(err); !raced {
			if err != nil {
				return refresh.Gate{}, err
			}
			return g, nil
		}
		if err := pause(ctx, try); err != nil {
			return refresh.Gate{}, err
		}
	}
}
