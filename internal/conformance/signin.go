package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/signin"
)

// SignIns is the suite of signin.Store.
func SignIns(t *testing.T, newStore func(*testing.T) signin.Store) {
	for name, check := range map[string]func(*testing.T, signin.Store){
		"PutKeepsEveryField":        attemptKept,
		"PutRefusesATakenKey":       attemptNotReplaced,
		"PutRaced":                  attemptPutRaced,
		"Unknown":                   attemptUnknown,
		"Confirm":                   confirmAttempt,
		"ConfirmRefused":            confirmAttemptRefused,
		"ConfirmRaced":              confirmAttemptRaced,
		"TakeOnce":                  takeAttemptOnce,
		"TakeRefused":               takeAttemptRefused,
		"TakeRefusalLeavesIt":       takeAttemptRefusalLeavesIt,
		"TakeRaced":                 takeAttemptRaced,
		"TakeRacedByAnotherBrowser": takeAttemptRacedByAnIntruder,
		"TakeRacedByAConfirmation":  takeAttemptRacedByAConfirmation,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newStore(t))
		})
	}
}

func sampleAttempt() signin.Attempt {
	return signin.Attempt{
		ID: "sgn_1", Tenant: tenant, Method: flow.OIDC, Browser: "mine", ReturnPath: "/mcp/servers?server=drive", ProofHash: "proof",
		UserID: "ann", Issuer: "https://issuer.example", ClientID: "client", Nonce: "nonce", Verifier: "verifier", ExpiresAt: expiry,
	}
}

// unconfirmed is an attempt that nobody has confirmed yet.
func unconfirmed() signin.Attempt {
	a := sampleAttempt()
	a.Method, a.ProofHash, a.UserID = flow.LoginURL, "", ""
	return a
}

func wantAttempt(t *testing.T, s signin.Store, want signin.Attempt) {
	t.Helper()
	got, err := s.Attempt(t.Context(), want.ID)
	ok(t, err)
	same(t, got, want)
}

func attemptKept(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), sampleAttempt()))
	wantAttempt(t, s, sampleAttempt())
	got, err := s.TakeAttempt(t.Context(), "sgn_1", "mine", "proof", epoch)
	ok(t, err)
	same(t, got, sampleAttempt())
}

func attemptNotReplaced(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), sampleAttempt()))
	other := sampleAttempt()
	other.Browser = "theirs"
	wantErr(t, s.PutAttempt(t.Context(), other), flow.ErrExists)
	wantAttempt(t, s, sampleAttempt())
	_, err := s.TakeAttempt(t.Context(), "sgn_1", "mine", "proof", epoch)
	ok(t, err)
	wantErr(t, s.PutAttempt(t.Context(), other), flow.ErrExists) // what was taken stays taken
	_, err = s.Attempt(t.Context(), "sgn_1")
	wantErr(t, err, signin.ErrUsed)
}

func attemptPutRaced(t *testing.T, s signin.Store) {
	oneWins(t, 8, flow.ErrExists, func(int) error { return s.PutAttempt(t.Context(), sampleAttempt()) })
}

func attemptUnknown(t *testing.T, s signin.Store) {
	for _, id := range []string{"", "sgn_1"} {
		_, err := s.Attempt(t.Context(), id)
		wantErr(t, err, signin.ErrUnknown)
		_, err = s.ConfirmAttempt(t.Context(), tenant, id, "ann", "proof", epoch)
		wantErr(t, err, signin.ErrUnknown)
		_, err = s.TakeAttempt(t.Context(), id, "mine", "proof", epoch)
		wantErr(t, err, signin.ErrUnknown)
	}
}

func confirmAttempt(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), unconfirmed()))
	want := unconfirmed()
	want.UserID = "ann"
	for _, want.ProofHash = range []string{"first", "first", "second"} { // again, and by another proof
		got, err := s.ConfirmAttempt(t.Context(), tenant, "sgn_1", "ann", want.ProofHash, expiry.Add(-1))
		ok(t, err)
		same(t, got, want)
		wantAttempt(t, s, want)
	}
	_, err := s.TakeAttempt(t.Context(), "sgn_1", "mine", "first", epoch)
	wantErr(t, err, signin.ErrProof) // the second has taken its place
	got, err := s.TakeAttempt(t.Context(), "sgn_1", "mine", "second", epoch)
	ok(t, err)
	same(t, got, want)
	_, err = s.ConfirmAttempt(t.Context(), tenant, "sgn_1", "ann", "third", epoch)
	wantErr(t, err, signin.ErrUsed)
}

func confirmAttemptRefused(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), sampleAttempt()))
	for _, test := range []struct {
		tenant, user string
		now          time.Time
		want         error
	}{
		{"other", "ann", epoch, signin.ErrUnknown},
		{tenant, "ann", expiry, signin.ErrExpired}, // the last moment is before
		{tenant, "bob", epoch, signin.ErrOtherUser},
		{"other", "bob", expiry, signin.ErrUnknown},
	} {
		_, err := s.ConfirmAttempt(t.Context(), test.tenant, "sgn_1", test.user, "theirs", test.now)
		wantErr(t, err, test.want)
	}
	wantAttempt(t, s, sampleAttempt())
}

func confirmAttemptRaced(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), unconfirmed()))
	var winner atomic.Value
	oneWins(t, 16, signin.ErrOtherUser, func(i int) error {
		user := fmt.Sprint("user", i)
		_, err := s.ConfirmAttempt(t.Context(), tenant, "sgn_1", user, "proof of "+user, epoch)
		if err == nil {
			winner.Store(user)
		}
		return err
	})
	want := unconfirmed()
	want.UserID = winner.Load().(string)
	want.ProofHash = "proof of " + want.UserID
	wantAttempt(t, s, want)
}

func takeAttemptOnce(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), sampleAttempt()))
	_, err := s.TakeAttempt(t.Context(), "sgn_1", "mine", "proof", expiry.Add(-1))
	ok(t, err)
	for _, now := range []time.Time{epoch, expiry.Add(30 * time.Minute)} { // "used" for a good while
		_, err = s.TakeAttempt(t.Context(), "sgn_1", "mine", "proof", now)
		wantErr(t, err, signin.ErrUsed)
	}
}

var attemptRefusals = []struct {
	browser, proof string
	now            time.Time
	want           error
}{
	{"theirs", "proof", epoch, signin.ErrBrowser},
	{"", "proof", epoch, signin.ErrBrowser},
	{"theirs", "proof", expiry, signin.ErrBrowser},
	{"theirs", "wrong", epoch, signin.ErrBrowser},
	{"mine", "proof", expiry, signin.ErrExpired},
	{"mine", "wrong", expiry, signin.ErrExpired},
	{"mine", "wrong", epoch, signin.ErrProof},
	{"mine", "", epoch, signin.ErrProof},
}

func takeAttemptRefused(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), sampleAttempt()))
	for _, test := range attemptRefusals {
		got, err := s.TakeAttempt(t.Context(), "sgn_1", test.browser, test.proof, test.now)
		wantErr(t, err, test.want)
		same(t, got, signin.Attempt{})
	}
	other := unconfirmed()
	other.ID = "sgn_2"
	ok(t, s.PutAttempt(t.Context(), other))
	_, err := s.TakeAttempt(t.Context(), "sgn_2", "mine", "", epoch) // no proof is not the proof ""
	wantErr(t, err, signin.ErrProof)
}

func takeAttemptRefusalLeavesIt(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), sampleAttempt()))
	for _, test := range attemptRefusals {
		_, err := s.TakeAttempt(t.Context(), "sgn_1", test.browser, test.proof, test.now)
		wantErr(t, err, test.want)
	}
	got, err := s.TakeAttempt(t.Context(), "sgn_1", "mine", "proof", epoch)
	ok(t, err)
	same(t, got, sampleAttempt())
}

func takeAttemptRaced(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), sampleAttempt()))
	oneWins(t, 32, signin.ErrUsed, func(int) error {
		_, err := s.TakeAttempt(t.Context(), "sgn_1", "mine", "proof", epoch)
		return err
	})
}

func takeAttemptRacedByAnIntruder(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), sampleAttempt()))
	var took atomic.Int64
	race(32, func(i int) {
		if i%2 == 0 {
			_, err := s.TakeAttempt(t.Context(), "sgn_1", "theirs", "proof", epoch)
			if !errors.Is(err, signin.ErrBrowser) && !errors.Is(err, signin.ErrUsed) {
				t.Errorf("another browser: %v", err)
			}
			return
		}
		if _, err := s.TakeAttempt(t.Context(), "sgn_1", "mine", "proof", epoch); err == nil {
			took.Add(1)
		}
	})
	if took.Load() != 1 {
		t.Errorf("the browser that it belongs to got it %d times, want once", took.Load())
	}
}

// Whenever it is taken, it is taken with who was confirmed.
func takeAttemptRacedByAConfirmation(t *testing.T, s signin.Store) {
	ok(t, s.PutAttempt(t.Context(), unconfirmed()))
	tried := make(chan struct{})
	var once sync.Once
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	race(8, func(i int) {
		if i == 3 {
			<-tried
			_, err := s.ConfirmAttempt(t.Context(), tenant, "sgn_1", "ann", "proof", epoch)
			if err != nil {
				giveUp()
			}
			// Where the answer to the confirmation was lost, it was taken before it
			// was asked for again.
			if err != nil && !errors.Is(err, signin.ErrUsed) {
				t.Error(err)
			}
			return
		}
		for ctx.Err() == nil {
			got, err := s.TakeAttempt(t.Context(), "sgn_1", "mine", "proof", epoch)
			once.Do(func() { close(tried) })
			switch {
			case errors.Is(err, signin.ErrProof):
				continue // not yet
			case err == nil && got.UserID != "ann":
				t.Errorf("it was taken as %q's", got.UserID)
			case err != nil && !errors.Is(err, signin.ErrUsed):
				t.Error(err)
			}
			return
		}
	})
}
