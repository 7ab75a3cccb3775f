package connection_test

import (
	"errors"
	"testing"
	"time"

	. "github.com/lanyardhq/lanyard/internal/connection"
)

// picking is c with a proposal for which a place is to be picked.
func picking(c *Connection) *Connection {
	p := proposal("flo_1", "new")
	p.Places = []Place{{ID: "n", Label: "north"}, {ID: "s", Label: "south", Metadata: map[string]string{"site": "s"}}}
	if err := c.Propose(p); err != nil {
		panic(err)
	}
	return c
}

func fresh() *Connection {
	return &Connection{Key: connected().Key, Status: Pending, CreatedAt: now}
}

func TestPick(t *testing.T) {
	t.Parallel()
	late := now.Add(time.Hour)
	sealed := set("new")
	sealed.AccessVersion = "picked"
	c := picking(fresh())
	if err := c.Promote("flo_1", now); !errors.Is(err, ErrNoProposal) {
		t.Fatalf("promoted without a place: %v", err)
	}
	must(t, c.Pick("flo_1", "s", sealed, now, late))
	p := c.Proposal
	if p.Granted.Place.Label != "south" || len(p.Places) != 0 || p.Set.AccessVersion != "picked" || !p.ConfirmBy.Equal(late) || c.InUse() {
		t.Errorf("%+v", p)
	}
	if err := c.Pick("flo_1", "n", sealed, now, late); !errors.Is(err, ErrNoProposal) {
		t.Errorf("picked twice: %v", err)
	}
	must(t, c.Promote("flo_1", late))
	if c.Place == nil || c.Place.ID != "s" || c.Status != Connected {
		t.Errorf("%+v", c)
	}
}

// Whoever answers too late, for another flow or with something else changes nothing.
func TestPickRefused(t *testing.T) {
	t.Parallel()
	chosen := pending()
	for name, test := range map[string]struct {
		start       *Connection
		flow, place string
		at          time.Time
	}{
		"of another flow":       {picking(fresh()), "flo_2", "s", now},
		"not offered":           {picking(fresh()), "flo_1", "w", now},
		"nothing":               {picking(fresh()), "flo_1", "", now},
		"too late":              {picking(fresh()), "flo_1", "s", now.Add(10*time.Minute + 1)},
		"where none is offered": {chosen, "flo_1", "", now},
		"nothing proposed":      {connected(), "flo_1", "s", now},
		"goes away":             {deleting(t), "flo_1", "s", now},
	} {
		before := test.start.Clone()
		for what, err := range map[string]error{
			"pick":      test.start.Pick(test.flow, test.place, set("x"), test.at, test.at),
			"surrender": test.start.Surrender(test.flow, test.place, test.at),
		} {
			if !errors.Is(err, ErrNoProposal) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		wantSame(t, *test.start, before)
	}
	for _, c := range []*Connection{chosen, connected(), deleting(t)} {
		if err := c.Decline("flo_1", now); !errors.Is(err, ErrNoProposal) {
			t.Errorf("declined: %v", err)
		}
	}
}

// What is declined is revoked; what another connection took over is not.
func TestSurrenderAndDecline(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		start   *Connection
		end     func(*Connection) error
		status  Status
		retired int
	}{
		"a new one is surrendered": {picking(fresh()), func(c *Connection) error { return c.Surrender("flo_1", "s", now) }, Deleting, 0},
		"a new one is declined":    {picking(fresh()), func(c *Connection) error { return c.Decline("flo_1", now) }, Deleting, 1},
		"one in use is declined":   {picking(connected()), func(c *Connection) error { return c.Decline("flo_1", now) }, Connected, 1},
	} {
		must(t, test.end(test.start))
		if c := test.start; c.Status != test.status || len(c.Retired) != test.retired || c.Proposal != nil {
			t.Errorf("%s: %+v", name, c)
		}
		if err := test.end(test.start); !errors.Is(err, ErrNoProposal) {
			t.Errorf("%s, twice: %v", name, err)
		}
	}
}

func TestNamed(t *testing.T) {
	t.Parallel()
	account, north, nameless := Account{Label: "ann@example.com"}, &Place{ID: "n", Label: "north"}, &Place{ID: "x"}
	for want, g := range map[string]Granted{
		"ann@example.com · north": {Account: account, Place: north},
		"north":                   {Place: north},
		"ann@example.com":         {Account: account, Place: nameless},
		"":                        {Place: nameless},
	} {
		if got := g.Named(); got != want {
			t.Errorf("named %q, want %q", got, want)
		}
		if c := (Connection{Status: Pending, Proposal: &Proposal{Granted: g}}); c.DisplayLabel() != want {
			t.Errorf("a new one is called %q, want %q", c.DisplayLabel(), want)
		}
	}
	if at := (Granted{Place: north}); !at.At(&Place{ID: "n", Label: "renamed"}) || at.At(nil) || at.At(nameless) || (Granted{}).At(north) || !(Granted{}).At(nil) {
		t.Error("a place is told by its id")
	}
}
