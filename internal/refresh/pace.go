package refresh

import (
	"context"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

// Gate is what all renewers of a deployment share about one of our clients at
// one provider: whether it may be asked, and how often.
type Gate struct {
	// Until is when it may be asked again; zero: now. Failures counts how often
	// in a row it was closed because what is asked there fails: then, from Until
	// on, one asks for all. Verdict and Reason say why, the latter for a person.
	Until    time.Time        `json:"until,omitzero"`
	Failures int              `json:"failures,omitempty"`
	Verdict  provider.Verdict `json:"verdict,omitempty"`
	Reason   string           `json:"reason,omitempty"`
	// Tokens is what is left of a rationed provider's bucket as of At.
	Tokens float64   `json:"tokens,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// Gates keeps them by name, any text of at most 512 bytes. A gate may be
// forgotten a day after its Until and its At. Any call may fail with
// [connection.ErrUnavailable].
type Gates interface {
	// Gate returns the zero Gate for a name that is not there.
	Gate(ctx context.Context, name string) (Gate, error)
	// UpdateGate applies change to the gate as it is, atomically, as
	// connection.Store.Update does; one that is not there is the zero Gate. It
	// returns what is stored then. An error from change is returned as it is and
	// changes nothing. A change function must not call the store.
	UpdateGate(ctx context.Context, name string, change func(*Gate) error) (Gate, error)
}

// Held: a provider is not asked for now, because of what it answered to others.
type Held struct {
	Until time.Time
	// Verdict and Reason say why: what a failure of one's own would be called.
	Verdict provider.Verdict
	Reason  string
	// Spread is over how long those who wait for it should come back.
	Spread time.Duration
}

func (h *Held) Error() string { return "the provider is not asked for now: " + h.Reason }

// Pacer keeps renewals from hammering a provider that is down or asks for less.
type Pacer interface {
	// Closed returns why the provider may not be asked now; nil: it may. It
	// costs next to nothing, and takes nothing from a ration.
	Closed(ctx context.Context, c connection.Connection) *Held
	// Admit takes one renewal from the provider's ration, or returns *Held.
	Admit(ctx context.Context, c connection.Connection, ration *presets.RateLimit) error
	// Report tells what became of an admitted renewal: nil, that it worked.
	Report(ctx context.Context, c connection.Connection, e *provider.Error)
}

// Unpaced asks whenever it is asked to.
type Unpaced struct{}

// Closed implements [Pacer].
func (Unpaced) Closed(context.Context, connection.Connection) *Held { return nil }

// Admit implements [Pacer].
func (Unpaced) Admit(context.Context, connection.Connection, *presets.RateLimit) error { return nil }

// Report implements [Pacer].
func (Unpaced) Report(context.Context, connection.Connection, *provider.Error) {}

func (s *Service) pace() Pacer {
	if s.Pace == nil {
		return Unpaced{}
	}
	return s.Pace
}
