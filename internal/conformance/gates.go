package conformance

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/refresh"
)

// Gates is the suite of refresh.Gates.
func Gates(t *testing.T, newGates func(*testing.T) refresh.Gates) {
	for name, check := range map[string]func(*testing.T, refresh.Gates){
		"GateUnknown":                 gateUnknown,
		"GateKeepsEveryField":         gateKeepsEveryField,
		"GateOpenedIsLikeNone":        gateOpened,
		"GateNamesAreApart":           gateNamesAreApart,
		"UpdateGateRaced":             updateGateRaced,
		"UpdateGateOneWins":           updateGateOneWins,
		"UpdateGateErrorChangesNone":  updateGateError,
		"UpdateGateSeesWhatIsWritten": updateGateSeesTheLast,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newGates(t))
		})
	}
}

// closed is a gate with every field set.
func closed() refresh.Gate {
	return refresh.Gate{Until: epoch.Add(time.Minute), Failures: 2, Verdict: "provider_down", Reason: "it fails \u2028<b>", Tokens: 7.25, At: epoch}
}

func setGate(t *testing.T, s refresh.Gates, name string, g refresh.Gate) {
	t.Helper()
	got, err := s.UpdateGate(t.Context(), name, func(stored *refresh.Gate) error {
		*stored = g
		return nil
	})
	ok(t, err)
	if !sameGate(got, g) {
		t.Errorf("%q was returned as %+v, want %+v", name, got, g)
	}
}

func wantGate(t *testing.T, s refresh.Gates, name string, want refresh.Gate) {
	t.Helper()
	got, err := s.Gate(t.Context(), name)
	ok(t, err)
	if !sameGate(got, want) {
		t.Errorf("gate %q is %+v, want %+v", name, got, want)
	}
}

func sameGate(a, b refresh.Gate) bool {
	times := a.Until.Equal(b.Until) && a.At.Equal(b.At)
	a.Until, a.At, b.Until, b.At = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return times && a == b
}

func gateUnknown(t *testing.T, s refresh.Gates) {
	wantGate(t, s, "acme", refresh.Gate{})
	_, err := s.UpdateGate(t.Context(), "acme", func(g *refresh.Gate) error {
		if *g != (refresh.Gate{}) {
			t.Errorf("a gate that is not there: %+v", *g)
		}
		return nil
	})
	ok(t, err)
}

func gateKeepsEveryField(t *testing.T, s refresh.Gates) {
	setGate(t, s, "acme", closed())
	wantGate(t, s, "acme", closed())
}

func gateOpened(t *testing.T, s refresh.Gates) {
	setGate(t, s, "acme", closed())
	setGate(t, s, "acme", refresh.Gate{})
	wantGate(t, s, "acme", refresh.Gate{})
	setGate(t, s, "acme", closed())
	wantGate(t, s, "acme", closed())
}

// gateNamesAreApart: whatever a name holds, it is nobody else's.
func gateNamesAreApart(t *testing.T, s refresh.Gates) {
	names := []string{"a", "A", "a#", "a%23", "a#b", "a/b", "a b", "ä", "a\x00", "'; DROP TABLE gates; --", strings.Repeat("x", 512)}
	for i, name := range names {
		setGate(t, s, name, refresh.Gate{Failures: i + 1, Until: epoch})
	}
	for i, name := range names {
		wantGate(t, s, name, refresh.Gate{Failures: i + 1, Until: epoch})
	}
}

// updateGateRaced: no update is lost, from the first on.
func updateGateRaced(t *testing.T, s refresh.Gates) {
	const n = 32
	race(n, func(int) {
		_, err := s.UpdateGate(t.Context(), "acme", func(g *refresh.Gate) error {
			g.Failures++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	wantGate(t, s, "acme", refresh.Gate{Failures: n})
}

var errTaken = errors.New("another one has it")

func updateGateOneWins(t *testing.T, s refresh.Gates) {
	setGate(t, s, "acme", refresh.Gate{Failures: 1, Until: epoch})
	oneWins(t, 16, errTaken, func(i int) error {
		_, err := s.UpdateGate(t.Context(), "acme", func(g *refresh.Gate) error {
			if g.Until.After(epoch) {
				return errTaken
			}
			g.Until, g.Reason = epoch.Add(time.Minute), fmt.Sprint(i)
			return nil
		})
		return err
	})
}

func updateGateError(t *testing.T, s refresh.Gates) {
	for _, before := range []refresh.Gate{{}, closed()} {
		if before.Failures > 0 {
			setGate(t, s, "acme", before)
		}
		_, err := s.UpdateGate(t.Context(), "acme", func(g *refresh.Gate) error {
			*g = refresh.Gate{Failures: 99}
			return errTaken
		})
		if err != errTaken {
			t.Errorf("error %v, want the change's own", err)
		}
		wantGate(t, s, "acme", before)
	}
}

func updateGateSeesTheLast(t *testing.T, s refresh.Gates) {
	for i := range 10 {
		_, err := s.UpdateGate(t.Context(), "acme", func(g *refresh.Gate) error {
			if g.Failures != i {
				t.Errorf("%d failures are seen, want %d", g.Failures, i)
			}
			g.Failures++
			return nil
		})
		ok(t, err)
		wantGate(t, s, "acme", refresh.Gate{Failures: i + 1})
	}
}
