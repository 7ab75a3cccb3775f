package conformance_test

import (
	"context"
	"testing"

	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/host"
)

func pools(adapter func(*fake.Store) host.Pool) func(*testing.T) {
	return func(t *testing.T) {
		conformance.Pool(t, func(*testing.T) host.Pool { return adapter(fake.New()) })
	}
}

func init() {
	mutants["a warm task is looked up, then removed"] = broken{"TakeWarmRaced",
		pools(func(s *fake.Store) host.Pool { return looksThenDrops{s} })}
	mutants["any server’s warm task"] = broken{"TakeWarmOfTheServer",
		pools(func(s *fake.Store) host.Pool { return anyServers{s} })}
	mutants["a second registration wins"] = broken{"ReadyWarmOnce",
		pools(func(s *fake.Store) host.Pool { return registersAnew{s} })}
	mutants["a drop of what is gone succeeds"] = broken{"DropWarmRacesTake",
		pools(func(s *fake.Store) host.Pool { return dropsTwice{s} })}
}

type looksThenDrops struct{ *fake.Store }

func (p looksThenDrops) TakeWarm(ctx context.Context, server string) (host.Warm, error) {
	all, err := p.WarmTasks(ctx)
	for _, w := range all {
		if w.Registered && w.Server == server {
			meanwhile()
			_ = p.DropWarm(ctx, w.ID)
			return w, err
		}
	}
	return host.Warm{}, host.ErrNoTask
}

type anyServers struct{ *fake.Store }

func (p anyServers) TakeWarm(ctx context.Context, _ string) (host.Warm, error) {
	for _, server := range []string{"drive", "mail"} {
		if w, err := p.Store.TakeWarm(ctx, server); err == nil {
			return w, nil
		}
	}
	return host.Warm{}, host.ErrNoTask
}

type registersAnew struct{ *fake.Store }

func (p registersAnew) ReadyWarm(ctx context.Context, w host.Warm) error {
	if err := p.Store.ReadyWarm(ctx, w); err != host.ErrExists {
		return err
	}
	return nil
}

type dropsTwice struct{ *fake.Store }

func (p dropsTwice) DropWarm(ctx context.Context, id string) error {
	_ = p.Store.DropWarm(ctx, id)
	return nil
}
