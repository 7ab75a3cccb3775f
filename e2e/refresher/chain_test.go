package refresher

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestKilledAtRandom kills processes that renew one connection one after the
// other, each at a random moment of its work on the stores: some in a renewal,
// some in the recovery from the kill before. No grant is lost but those whose
// answer lay nowhere else than in the process; of a provider with a grace
// window, none.
func TestKilledAtRandom(t *testing.T) {
	kills := setting("PROOF_CHAIN", 200)
	seed := setting("PROOF_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("PROOF_SEED=%d", seed)
	t.Run("strict", func(t *testing.T) {
		t.Parallel()
		chain(t, strict, kills, rand.New(rand.NewPCG(uint64(seed), 1)))
	})
	t.Run("grace", func(t *testing.T) {
		t.Parallel()
		if lost := chain(t, grace, (kills+2)/3, rand.New(rand.NewPCG(uint64(seed), 2))); lost > 0 {
			t.Errorf("%d grants were lost", lost)
		}
	})
}

// chain returns how many grants were lost, each for a good reason.
func chain(t *testing.T, h habit, kills int, dice *rand.Rand) (lost int) {
	a := newAccount(t, oneMachine(t), h)
	survivor := startProcess(t, a.place)
	a.ahead += nextHour
	whole := survivor.do(a.order())
	a.takeOver(whole, true)
	alive, inFlight, took := true, 0, 0
	where := map[string]int{}
	for killed := 0; killed < kills && !t.Failed(); {
		a.ahead += nextHour + leaseOut
		before := a.auth.seen(t)
		o := a.order()
		o.KillMoment = 1 + dice.Int64N(whole.Moments)
		r, died := startProcess(t, a.place).killedBy(o)
		if died {
			killed++
			where[r.Where]++
			was := alive
			alive = a.recoverable()
			answered := a.auth.seen(t).Renewed > before.Renewed
			if answered && r.Where == beforePut {
				inFlight++
			}
			if was && !alive {
				if lost++; !answered || r.Where != beforePut {
					t.Errorf("the grant is lost by a kill %s, answered %v", r.Where, answered)
				}
			}
			if dice.IntN(2) == 0 {
				continue // whoever recovers is killed, too
			}
			a.ahead += leaseOut
			took++
			r = survivor.do(a.order())
		}
		a.takeOver(r, alive)
		if !alive {
			a.reconnect()
			alive = true
		}
	}
	t.Logf("%d kills, %d takeovers by the other server: in %d the provider's answer was in flight, %d grants were lost; killed %v", kills, took, inFlight, lost, where)
	return lost
}
