package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// proved is a store of grants that can be asked whether it takes writes.
type proved struct {
	vault.GrantStore
	err   error
	asked int
}

func (p *proved) Prove(context.Context, connection.Key) error {
	p.asked++
	return p.err
}

// A store of grants that takes no writes costs no refresh token: the provider
// is not asked, and the next one to try finds everything as it was.
func TestNothingIsSpentWithoutAStore(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		store := &proved{GrantStore: w.service.Vault.Grants, err: errBroken}
		w.service.Vault.Grants = store
		time.Sleep(time.Hour)
		var down *refresh.Unavailable
		if _, err := w.token(w.service, k); !errors.As(err, &down) {
			t.Errorf("error %v", err)
		}
		w.sent(0)
		if c := w.row(k); c.Intent != nil || c.Lease != nil || c.Status != connection.Connected || c.Failure.Verdict != string(provider.Transient) {
			t.Errorf("status %s, intent %+v, lease %+v, failure %+v", c.Status, c.Intent, c.Lease, c.Failure)
		}
		store.err = nil
		time.Sleep(time.Minute)
		w.living(w.service, k)
		w.sent(1)
		if store.asked != 2 {
			t.Errorf("the store was asked %d times", store.asked)
		}
	})
}

// mishap is what befalls a process of the model: at the n-th of its writes it
// dies, before the write or after, or sleeps, and wakes when others have its
// lease.
type mishap struct {
	mu    sync.Mutex
	n     int
	after bool
	sleep time.Duration

	writes int
	dead   bool
}

func (m *mishap) fail(op string, done bool) error {
	m.mu.Lock()
	if op != "get" && !done {
		m.writes++
	}
	hit := op != "get" && m.writes == m.n && m.after == done
	if hit && m.sleep == 0 {
		m.dead = true
	}
	dead := m.dead
	m.mu.Unlock()
	if hit && m.sleep > 0 {
		time.Sleep(m.sleep)
	}
	if dead {
		return errBroken
	}
	return nil
}

// slots are those of a process that mishaps befall. A write that was under way
// arrives, whoever has given it up.
type slots struct {
	vault.Slots
	fail func(op string, done bool) error
}

func (s *slots) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	if err := s.fail("put", false); err != nil {
		return err
	}
	return errors.Join(s.Slots.Put(ctx, k, version, sealed), s.fail("put", true))
}

func (s *slots) Replace(ctx context.Context, k connection.Key, version string, fence int64, sealed []byte) error {
	if err := s.fail("put", false); err != nil {
		return err
	}
	return errors.Join(s.Slots.Replace(ctx, k, version, fence, sealed), s.fail("put", true))
}

func (s *slots) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	if err := s.fail("remove", false); err != nil {
		return err
	}
	return errors.Join(s.Slots.Remove(ctx, k, versions...), s.fail("remove", true))
}

func (s *slots) Spent(ctx context.Context, k connection.Key, version, store string) error {
	if err := s.fail("remove", false); err != nil {
		return err
	}
	return errors.Join(s.Slots.Spent(ctx, k, version, store), s.fail("remove", true))
}

// model lives through a random life of a connection: renewals by processes that
// die, sleep and come back, by a provider that answers late or not at all,
// reconnects that are confirmed and that are not, sweeps. It returns what the
// row named at some time and could not be read back, or was something else.
func model(t *testing.T, w *world, store vault.Slots, seed uint64) (wrong []string, renewals map[string]int) {
	r := rand.New(rand.NewPCG(seed, 4))
	var mu sync.Mutex // of r, which the provider asks, too
	pick := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n)
	}
	w.service.Vault.Grants = store
	w.acme.lenient = pick(2) == 0
	w.acme.on = func(path string, _ url.Values) (reply, bool) {
		switch pick(12) {
		case 0:
			return reply{status: 503}, true
		case 1:
			time.Sleep(30 * time.Second) // nobody waits for that, and it is spent
		}
		return reply{}, false
	}
	k := w.connect("acme", "ada1")
	renewals = map[string]int{}
	check := func(when string) {
		synctest.Wait()
		c := w.row(k)
		sets := []connection.Set{c.Set}
		if c.Proposal != nil {
			sets = append(sets, c.Proposal.Set)
		}
		for _, retired := range c.Retired {
			sets = append(sets, retired.Set)
		}
		for _, set := range sets {
			grant, err := w.service.Vault.Grant(t.Context(), user, c, set, "check")
			if set.GrantVersion != "" && (err != nil || grant.Hash() != set.TokenHash) {
				wrong = append(wrong, fmt.Sprintf("%s: version %s of fence %d: %v", when, set.GrantVersion, c.Fence, err))
			}
		}
		renewals[vault.Slot(c.Set.GrantVersion)]++
	}
	var busy sync.WaitGroup
	for i := range 120 {
		what := ""
		switch n := pick(10); {
		case n < 5:
			m := &mishap{n: 1 + pick(6), after: pick(2) == 0}
			switch pick(6) {
			case 0, 1:
				m.n = 1000 // never
			case 2, 3:
				m.sleep = time.Duration(1+pick(300)) * time.Second
			case 4:
				m.sleep = time.Duration(5+pick(30)) * time.Minute
			}
			s := w.process(m.fail)
			s.Vault.Grants = &slots{store, m.fail}
			version := w.row(k).Set.AccessVersion
			busy.Go(func() { _, _, _ = s.Renew(t.Context(), user, k, version, "token") })
			what = fmt.Sprintf("a renewal, %+v after %v, sleeping %v", m.n, m.after, m.sleep)
		case n == 5:
			what = "a proposal"
			w.propose(k, fmt.Sprint("flo_", i), "ada1")
		case n == 6:
			what = "a promotion"
			if p := w.row(k).Proposal; p != nil && time.Now().Before(p.ConfirmBy) {
				w.promote(k, p.FlowID)
			}
		case n == 7:
			what = "a sweep"
			busy.Go(func() { _ = w.service.Attend(t.Context(), k) })
		default:
			d := time.Duration(pick(150)) * time.Second
			what = fmt.Sprint("a pause of ", d)
			time.Sleep(d)
		}
		check(fmt.Sprintf("step %d, %s", i, what))
	}
	for range 40 { // whoever sleeps comes back
		time.Sleep(time.Minute)
		check("at the end")
	}
	busy.Wait()
	check("when all is over")
	return wrong, renewals
}

// telling is the first of the model's lives that are lived here: each planted
// mistake shows in some of the next ones.
const telling = 106

// TestSlotsKeepWhatIsNamed: whatever happens, everything that the row names can
// be read back, and is what it was when it was named.
func TestSlotsKeepWhatIsNamed(t *testing.T) {
	for seed := uint64(telling); seed < telling+12; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				wrong, renewals := model(t, w, w.store.Slots(), seed)
				for _, what := range wrong {
					t.Error(what)
				}
				if renewals["a"] == 0 || renewals["b"] == 0 {
					t.Errorf("the model renews too little: %v", renewals)
				}
			})
		})
	}
}

// unfenced keeps whatever comes last, and unchecked removes by slot.
type unfenced struct {
	vault.Slots
	mu sync.Mutex
	n  int64
}

func (s *unfenced) Replace(ctx context.Context, k connection.Key, version string, _ int64, sealed []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.Slots.Replace(ctx, k, version, s.n, sealed)
}

type unchecked struct {
	vault.Slots
	mu   sync.Mutex
	last map[string]string
}

func (s *unchecked) Replace(ctx context.Context, k connection.Key, version string, fence int64, sealed []byte) error {
	err := s.Slots.Replace(ctx, k, version, fence, sealed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.last[vault.Slot(version)] = version
	}
	return err
}

func (s *unchecked) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range versions {
		if there := s.last[vault.Slot(v)]; there != "" {
			_ = s.Slots.Remove(ctx, k, there)
		}
	}
	return s.Slots.Remove(ctx, k, versions...)
}

// TestSlotsModelFindsMistakes: the model is a test that can fail.
func TestSlotsModelFindsMistakes(t *testing.T) {
	for name, broken := range map[string]func(vault.Slots) vault.Slots{
		"no fence":                      func(s vault.Slots) vault.Slots { return &unfenced{Slots: s} },
		"a slot is emptied by its name": func(s vault.Slots) vault.Slots { return &unchecked{Slots: s, last: map[string]string{}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := 0
			for seed := uint64(telling); seed < telling+12 && found == 0; seed++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					wrong, _ := model(t, w, broken(w.store.Slots()), seed)
					found += len(wrong)
				})
			}
			if found == 0 {
				t.Error("nothing was found in the lives that the stores themselves are tried in")
			}
		})
	}
}
