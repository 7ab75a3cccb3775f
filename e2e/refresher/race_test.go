package refresher

import (
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/config"
)

// What a race is of.
const (
	racers    = 1000
	processes = 5
	// mostRequests is how many requests to its stores each may need, in the
	// mean, waiting included.
	mostRequests = 15
)

// TestRace: a thousand refreshers in five processes ask at once for the token
// of a connection whose token has run out. The provider is asked once, takes
// nothing for a reuse, and all get the one new token; and again, an hour later.
func TestRace(t *testing.T) {
	rounds := setting("PROOF_ROUNDS", 2)
	t.Run("SQLite", func(t *testing.T) { race(t, oneMachine(t), racers, rounds) })
	t.Run("DynamoDBLocal", func(t *testing.T) {
		race(t, deployment(t, dynamoDBLocal, config.StoreDynamoDB), racers, rounds)
	})
	t.Run("moto", func(t *testing.T) { race(t, deployment(t, moto, config.StoreDynamoDB), racers, 1) })
	t.Run("SecretsManager", func(t *testing.T) {
		race(t, deployment(t, moto, config.StoreSecretsManager), racers/10, 1)
	})
}

func race(t *testing.T, p place, racers, rounds int) {
	a := newAccount(t, p, strict)
	var all []*process
	for range processes {
		all = append(all, startProcess(t, p))
	}
	for round := range rounds {
		a.ahead += nextHour
		o := a.order()
		// The clocks stand still: how long an emulator takes to answer them all
		// must not decide who gives up.
		o.Askers, o.Ready, o.At = racers/processes, true, a.now()
		for _, c := range all {
			c.tell(o)
		}
		for _, c := range all {
			if _, ok := c.until("ready"); !ok {
				t.Fatal("a child ended by itself")
			}
		}
		begun := time.Now()
		for _, c := range all {
			c.tell(order{Do: "go"})
		}
		tokens, served, requests := map[string]int{}, 0, int64(0)
		for _, c := range all {
			r, ok := c.until("done")
			if !ok {
				t.Fatal("a child ended by itself")
			}
			requests += r.Requests
			for what, n := range r.Errors {
				t.Errorf("round %d: %d were refused: %s", round, n, what)
			}
			for got, n := range r.Tokens {
				tokens[got] += n
				served += n
			}
		}
		took := time.Since(begun)
		s := a.auth.seen(t)
		if s.Refreshes != round+1 || s.Refused != 0 {
			t.Errorf("round %d: the provider was asked %d times in all and refused %d, want %d and 0", round, s.Refreshes, s.Refused, round+1)
		}
		if served != racers || len(tokens) != 1 || tokens[s.Newest] != racers || !a.auth.accepts(t, s.Newest) {
			t.Errorf("round %d: %d of %d got one of %d tokens, %d of them the provider's newest", round, served, racers, len(tokens), tokens[s.Newest])
		}
		if len(s.Honoured) != 1 || !a.recoverable() {
			t.Errorf("round %d: the grant has %d living refresh tokens, want the one that is stored", round, len(s.Honoured))
		}
		if requests > int64(mostRequests*racers) {
			t.Errorf("round %d: %d requests to the stores, want at most %d a racer", round, requests, mostRequests)
		}
		t.Logf("round %d: %d got the one token in %v, with %.1f requests each", round, served, took.Round(time.Millisecond), float64(requests)/float64(racers))
		if t.Failed() {
			return
		}
	}
}
