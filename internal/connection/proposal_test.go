package connection_test

import (
	"errors"
	"testing"
	"time"

	. "github.com/lanyardhq/lanyard/internal/connection"
)

func TestPropose(t *testing.T) {
	t.Parallel()
	c := connected()
	must(t, c.Propose(proposal("flo_1", "first")))
	if c.Status != Connected || c.Set.GrantVersion != "old" || len(c.Retired) != 0 {
		t.Errorf("a proposal changed what is in force: %+v", c)
	}
	must(t, c.Propose(proposal("flo_2", "second")))
	if c.Proposal.FlowID != "flo_2" || len(c.Retired) != 1 || c.Retired[0].Set.GrantVersion != "first" {
		t.Errorf("proposal %+v, retired %+v", c.Proposal, c.Retired)
	}
	if err := c.Promote("flo_1", now); !errors.Is(err, ErrNoProposal) {
		t.Errorf("a proposal that was replaced was promoted: %v", err)
	}
	if err := deleting(t).Propose(proposal("flo_1", "new")); !errors.Is(err, ErrGone) {
		t.Errorf("error %v, want %v", err, ErrGone)
	}
}

func TestPromote(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		start  *Connection
		flowID string
		at     time.Time
		want   error
	}{
		"of a new connection":   {pending(), "flo_1", now, nil},
		"at the last moment":    {pending(), "flo_1", now.Add(10 * time.Minute), nil},
		"too late":              {pending(), "flo_1", now.Add(10*time.Minute + 1), ErrNoProposal},
		"of another flow":       {pending(), "flo_2", now, ErrNoProposal},
		"of nothing":            {connected(), "flo_1", now, ErrNoProposal},
		"of one that goes away": {deleting(t), "flo_1", now, ErrGone},
	} {
		before := *test.start
		if err := test.start.Promote(test.flowID, test.at); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", name, err, test.want)
		} else if err != nil {
			wantSame(t, *test.start, before)
		} else if c := test.start; c.Status != Connected || c.Set.GrantVersion != "new" || c.Account.Subject != "new" ||
			c.Proposal != nil || len(c.Retired) != 0 || !c.ConnectedAt.Equal(test.at) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestPromoteRetiresTheOldSet(t *testing.T) {
	t.Parallel()
	c := connected()
	c.Status, c.Failure, c.RetryAt = ReconnectNeeded, &Failure{Count: 1}, now
	claim := acquire(t, c, "worker", now)
	must(t, c.Record(claim, Intent{ID: "next"}, now.Add(ttl)))
	must(t, c.Propose(proposal("flo_1", "new")))
	must(t, c.Promote("flo_1", now))
	if len(c.Retired) != 1 || c.Retired[0].Set.GrantVersion != "old" || c.Retired[0].Granted.Account.Subject != "old" {
		t.Errorf("retired %+v", c.Retired)
	}
	if c.Status != Connected || c.Failure != nil || !c.RetryAt.IsZero() || c.Intent != nil || c.Lease != nil || c.Fence <= claim.Fence {
		t.Errorf("what belonged to the old set is left: %+v", c)
	}
	if at := c.AttentionAt(); !at.Equal(c.CreatedAt) {
		t.Errorf("the retired set waits until %v", at)
	}
	must(t, c.Forget(set("other")))
	if len(c.Retired) != 1 {
		t.Error("another set was forgotten")
	}
	must(t, c.Forget(set("old")))
	if len(c.Retired) != 0 || !c.RenewAt.Equal(now) || !c.AttentionAt().Equal(now) {
		t.Errorf("retired %+v, to be planned at %v, attention at %v", c.Retired, c.RenewAt, c.AttentionAt())
	}
	if c.RenewAt = now.Add(time.Hour); !c.AttentionAt().Equal(c.RenewAt) {
		t.Errorf("attention at %v, not when it is renewed", c.AttentionAt())
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	late := now.Add(10*time.Minute + 1)
	reconnecting := connected()
	must(t, reconnecting.Propose(proposal("flo_1", "new")))
	for name, test := range map[string]struct {
		start  *Connection
		at     time.Time
		want   error
		status Status
	}{
		"a new connection goes":    {pending(), late, nil, Deleting},
		"one that had a set stays": {reconnecting, late, nil, Connected},
		"not before its time":      {pending(), now.Add(10 * time.Minute), ErrNoProposal, Pending},
		"nothing proposed":         {connected(), late, ErrNoProposal, Connected},
	} {
		err := test.start.Expire(test.at)
		if !errors.Is(err, test.want) || test.start.Status != test.status {
			t.Errorf("%s: error %v, status %s", name, err, test.start.Status)
		}
		if err == nil && (test.start.Proposal != nil || len(test.start.Retired) != 1 || test.start.Retired[0].Set.GrantVersion != "new") {
			t.Errorf("%s: what was proposed is not retired: %+v", name, test.start)
		}
	}
	if reconnecting.Set.GrantVersion != "old" {
		t.Error("the set in force was changed")
	}
}

func TestBeginDelete(t *testing.T) {
	t.Parallel()
	c := connected()
	must(t, c.Propose(proposal("flo_1", "new")))
	must(t, c.Record(acquire(t, c, "worker", now), Intent{ID: "next"}, now.Add(ttl)))
	if _, err := c.BeginDelete("deleter", now, ttl); !errors.Is(err, ErrLeased) || c.Status != Connected || c.Proposal == nil {
		t.Errorf("somebody is renewing: error %v, %+v", err, c)
	}
	claim, err := c.BeginDelete("deleter", now.Add(ttl), ttl)
	must(t, err)
	if c.Status != Deleting || c.Proposal != nil || len(c.Retired) != 1 || c.Intent == nil || claim.Fence != c.Fence {
		t.Errorf("claim %+v, %+v", claim, c)
	}
	if at := c.AttentionAt(); !at.Equal(now.Add(2 * ttl)) {
		t.Errorf("if the deleter dies, the row waits until %v", at)
	}
	again, err := c.BeginDelete("second", now.Add(3*ttl), ttl) // takes over from one that died
	must(t, err)
	if err := c.Release(claim); !errors.Is(err, ErrFenced) || again.Fence <= claim.Fence {
		t.Errorf("the first deleter was not fenced out: %v", err)
	}
}

func TestAttentionAt(t *testing.T) {
	t.Parallel()
	if at := connected().AttentionAt(); !at.IsZero() {
		t.Errorf("a healthy connection waits until %v", at)
	}
	if at := pending().AttentionAt(); !at.Equal(pending().Proposal.ConfirmBy) {
		t.Errorf("a pending one waits until %v", at)
	}
}

func TestDisplayLabel(t *testing.T) {
	t.Parallel()
	proposed := proposal("flo_1", "new")
	proposed.Granted.Account.Label = "proposed"
	account := Granted{Account: Account{Subject: "108", Label: "ann@example.com"}}
	for want, c := range map[string]Connection{
		"work":            {Label: "work", Granted: account},
		"ann@example.com": {Granted: account, Proposal: &proposed},
		"proposed":        {Proposal: &proposed},
		"108":             {Granted: Granted{Account: Account{Subject: "108"}}},
		"":                {},
	} {
		if got := c.DisplayLabel(); got != want {
			t.Errorf("label %q, want %q", got, want)
		}
	}
}
