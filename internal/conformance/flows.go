package conformance

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// Flows is the suite of flow.Store.
func Flows(t *testing.T, newStore func(*testing.T) flow.Store) {
	for name, check := range map[string]func(*testing.T, flow.Store){
		"PutKeepsEveryField":         putKeepsEveryField,
		"PutRefusesATakenKey":        putRefusesATakenKey,
		"PutRaced":                   putRaced,
		"GetUnknown":                 getUnknownFlow,
		"ClaimLink":                  claimLink,
		"ClaimLinkRefused":           claimLinkRefused,
		"ClaimLinkRaced":             claimLinkRaced,
		"DeleteLink":                 deleteLink,
		"DeletedLinkIsNotPutAgain":   deletedLinkIsNotPutAgain,
		"DeleteLinkEndsItsSessions":  deleteLinkEndsItsSessions,
		"DeleteLinkRacedByASession":  deleteLinkRacedByASession,
		"DeleteUser":                 deleteUser,
		"DeleteSession":              deleteSession,
		"UpdateFlow":                 updateFlow,
		"UpdateFlowRefused":          updateFlowRefused,
		"UpdateFlowRaced":            updateFlowRaced,
		"TakeStateOnce":              takeStateOnce,
		"TakeStateRefused":           takeStateRefused,
		"TakeStateRefusalLeavesIt":   takeStateRefusalLeavesIt,
		"TakeStateRaced":             takeStateRaced,
		"TakeStateRacedByAnIntruder": takeStateRacedByAnIntruder,
		"TakenStateIsNotPutAgain":    takenStateIsNotPutAgain,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newStore(t))
		})
	}
}

var expiry = epoch.Add(10 * time.Minute)

func sampleLink() flow.Link {
	return flow.Link{
		ID: "lnk_1", Tenant: tenant, SecretHash: "hash", UserID: "ann", Servers: []string{"drive", "gmail"},
		ReturnURL: "https://app.example/done", Parameters: map[string]string{"shop": "acme"},
		CreatedAt: epoch, ExpiresAt: expiry,
	}
}

func sampleSession() flow.Session {
	return flow.Session{
		Hash: "session", Tenant: tenant, UserID: "ann", Browser: "mine", Servers: []string{"drive"}, LinkID: "lnk_1",
		Owner: true, Proven: true, Name: "ann@example.com", ReturnURL: "https://app.example/done", Parameters: map[string]string{"shop": "acme"}, ExpiresAt: expiry,
	}
}

func sampleFlow() flow.Flow {
	return flow.Flow{
		ID: "flo_1", Tenant: tenant, UserID: "ann", Server: "drive", Provider: "google",
		Scopes: map[string][]string{"scope": {"a", "b"}}, ReturnURL: "https://app.example/done",
		Found: &connection.Found{Issuer: "https://issuer.example", TokenEndpoint: "https://issuer.example/t", Resource: "https://mcp.example"}, ClientID: "client",
		Parameters: map[string]string{"shop": "acme"}, ConnectionID: "con_1", AllowOtherAccount: true, Confirm: true,
		Popup: true, Browser: "mine", Status: flow.Started,
		Result:    flow.Result{ConnectionID: "con_1", SetID: "set_1", Code: "c", Detail: "d", Missing: []string{"b"}},
		CreatedAt: epoch, ExpiresAt: expiry, Revision: 4,
	}
}

func sampleState() flow.State {
	return flow.State{
		Hash: "state", Tenant: tenant, FlowID: "flo_1", Browser: "mine", Verifier: "verifier", ClientID: "client",
		Variant: "eu", ExpiresAt: expiry,
	}
}

// putAll puts the samples, the link before the session that it opened.
func putAll(t *testing.T, s flow.Store) {
	t.Helper()
	ok(t, s.PutLink(t.Context(), sampleLink()))
	ok(t, s.PutSession(t.Context(), sampleSession()))
	ok(t, s.PutFlow(t.Context(), sampleFlow()))
	ok(t, s.PutState(t.Context(), sampleState()))
}

func putKeepsEveryField(t *testing.T, s flow.Store) {
	putAll(t, s)
	putKept(t, s)
}

func putRefusesATakenKey(t *testing.T, s flow.Store) {
	putAll(t, s)
	link, session, f, state := sampleLink(), sampleSession(), sampleFlow(), sampleState()
	link.UserID, session.UserID, f.UserID, state.Verifier = "eve", "eve", "eve", "eve"
	wantErr(t, s.PutLink(t.Context(), link), flow.ErrExists)
	wantErr(t, s.PutSession(t.Context(), session), flow.ErrExists)
	wantErr(t, s.PutFlow(t.Context(), f), flow.ErrExists)
	wantErr(t, s.PutState(t.Context(), state), flow.ErrExists)
	link.Tenant = "other"
	ok(t, s.PutLink(t.Context(), link)) // the same id in another tenant is another key
	putKept(t, s)
}

// putKept checks that the samples are there, unchanged.
func putKept(t *testing.T, s flow.Store) {
	t.Helper()
	link, err := s.GetLink(t.Context(), tenant, "lnk_1")
	ok(t, err)
	same(t, link, sampleLink())
	session, err := s.GetSession(t.Context(), "session")
	ok(t, err)
	same(t, session, sampleSession())
	f, err := s.GetFlow(t.Context(), "flo_1")
	ok(t, err)
	same(t, f, sampleFlow())
	state, err := s.TakeState(t.Context(), "state", "mine", epoch)
	ok(t, err)
	same(t, state, sampleState())
}

func putRaced(t *testing.T, s flow.Store) {
	for _, put := range []func() error{
		func() error { return s.PutLink(t.Context(), sampleLink()) },
		func() error { return s.PutSession(t.Context(), sampleSession()) },
		func() error { return s.PutFlow(t.Context(), sampleFlow()) },
		func() error { return s.PutState(t.Context(), sampleState()) },
	} {
		oneWins(t, 8, flow.ErrExists, func(int) error { return put() })
	}
}

func getUnknownFlow(t *testing.T, s flow.Store) {
	ok(t, s.PutLink(t.Context(), sampleLink()))
	for _, id := range [][2]string{{tenant, "lnk_2"}, {"other", "lnk_1"}} {
		_, err := s.GetLink(t.Context(), id[0], id[1])
		wantErr(t, err, flow.ErrLinkUnknown)
	}
	_, err := s.GetSession(t.Context(), "nothing")
	wantErr(t, err, flow.ErrNoSession)
	_, err = s.GetFlow(t.Context(), "nothing")
	wantErr(t, err, flow.ErrFlowUnknown)
}

func claimLink(t *testing.T, s flow.Store) {
	ok(t, s.PutLink(t.Context(), sampleLink()))
	want := sampleLink()
	want.Browser = "mine"
	for range 2 { // again from the same browser, too
		got, err := s.ClaimLink(t.Context(), tenant, "lnk_1", "mine", expiry.Add(-1))
		ok(t, err)
		same(t, got, want)
	}
	got, err := s.GetLink(t.Context(), tenant, "lnk_1")
	ok(t, err)
	same(t, got, want)
}

func claimLinkRefused(t *testing.T, s flow.Store) {
	claimed := sampleLink()
	claimed.ID, claimed.Browser = "lnk_2", "mine"
	ok(t, s.PutLink(t.Context(), sampleLink()))
	ok(t, s.PutLink(t.Context(), claimed))
	for _, test := range []struct {
		tenant, id, browser string
		now                 time.Time
		want                error
	}{
		{tenant, "lnk_2", "theirs", epoch, flow.ErrLinkClaimed},
		{tenant, "lnk_1", "mine", expiry, flow.ErrLinkExpired}, // the last moment is before
		{tenant, "lnk_2", "mine", expiry, flow.ErrLinkExpired}, // even to who had claimed it
		{tenant, "lnk_2", "theirs", expiry, flow.ErrLinkExpired},
		{tenant, "lnk_3", "mine", epoch, flow.ErrLinkUnknown},
		{"other", "lnk_1", "mine", epoch, flow.ErrLinkUnknown},
	} {
		_, err := s.ClaimLink(t.Context(), test.tenant, test.id, test.browser, test.now)
		wantErr(t, err, test.want)
	}
	got, err := s.GetLink(t.Context(), tenant, "lnk_1")
	ok(t, err)
	same(t, got, sampleLink())
}

func claimLinkRaced(t *testing.T, s flow.Store) {
	ok(t, s.PutLink(t.Context(), sampleLink()))
	var winner atomic.Value
	oneWins(t, 32, flow.ErrLinkClaimed, func(i int) error {
		browser := fmt.Sprint("browser", i)
		_, err := s.ClaimLink(t.Context(), tenant, "lnk_1", browser, epoch)
		if err == nil {
			winner.Store(browser)
		}
		return err
	})
	got, err := s.GetLink(t.Context(), tenant, "lnk_1")
	ok(t, err)
	same(t, got.Browser, winner.Load())
}

func updateFlow(t *testing.T, s flow.Store) {
	ok(t, s.PutFlow(t.Context(), sampleFlow()))
	f := sampleFlow()
	f.Status, f.Browser = flow.Exchanging, "theirs"
	got, err := s.UpdateFlow(t.Context(), f)
	ok(t, err)
	f.Revision++
	same(t, got, f)
	got, err = s.UpdateFlow(t.Context(), got) // what it returns can be updated on
	ok(t, err)
	f.Revision++
	same(t, got, f)
	got, err = s.GetFlow(t.Context(), f.ID)
	ok(t, err)
	same(t, got, f)
}

func updateFlowRefused(t *testing.T, s flow.Store) {
	ok(t, s.PutFlow(t.Context(), sampleFlow()))
	for _, revision := range []int64{3, 5, 0} {
		f := sampleFlow()
		f.Revision, f.Status = revision, flow.Failed
		_, err := s.UpdateFlow(t.Context(), f)
		wantErr(t, err, flow.ErrChanged)
	}
	unknown := sampleFlow()
	unknown.ID = "flo_2"
	_, err := s.UpdateFlow(t.Context(), unknown)
	wantErr(t, err, flow.ErrFlowUnknown)
	got, err := s.GetFlow(t.Context(), "flo_1")
	ok(t, err)
	same(t, got, sampleFlow())
}

func updateFlowRaced(t *testing.T, s flow.Store) {
	ok(t, s.PutFlow(t.Context(), sampleFlow()))
	oneWins(t, 32, flow.ErrChanged, func(i int) error {
		f := sampleFlow()
		f.Browser = fmt.Sprint("browser", i)
		_, err := s.UpdateFlow(t.Context(), f)
		return err
	})
}

func takeStateOnce(t *testing.T, s flow.Store) {
	ok(t, s.PutState(t.Context(), sampleState()))
	got, err := s.TakeState(t.Context(), "state", "mine", expiry.Add(-1))
	ok(t, err)
	same(t, got, sampleState())
	for _, now := range []time.Time{epoch, expiry.Add(30 * time.Minute)} { // "used" for a good while
		_, err = s.TakeState(t.Context(), "state", "mine", now)
		wantErr(t, err, flow.ErrStateUsed)
	}
}

func takeStateRefused(t *testing.T, s flow.Store) {
	ok(t, s.PutState(t.Context(), sampleState()))
	for _, test := range []struct {
		hash, browser string
		now           time.Time
		want          error
	}{
		{"nothing", "mine", epoch, flow.ErrStateUnknown},
		{"", "", epoch, flow.ErrStateUnknown},
		{"state", "theirs", epoch, flow.ErrStateBrowser},
		{"state", "", epoch, flow.ErrStateBrowser},
		{"state", "mine", expiry, flow.ErrStateExpired},
		{"state", "theirs", expiry, flow.ErrStateBrowser},
	} {
		got, err := s.TakeState(t.Context(), test.hash, test.browser, test.now)
		wantErr(t, err, test.want)
		same(t, got, flow.State{})
	}
}

func takeStateRefusalLeavesIt(t *testing.T, s flow.Store) {
	ok(t, s.PutState(t.Context(), sampleState()))
	_, err := s.TakeState(t.Context(), "state", "theirs", epoch)
	wantErr(t, err, flow.ErrStateBrowser)
	got, err := s.TakeState(t.Context(), "state", "mine", epoch)
	ok(t, err)
	same(t, got, sampleState())
}

func takeStateRaced(t *testing.T, s flow.Store) {
	ok(t, s.PutState(t.Context(), sampleState()))
	oneWins(t, 64, flow.ErrStateUsed, func(int) error {
		_, err := s.TakeState(t.Context(), "state", "mine", epoch)
		return err
	})
}

func takeStateRacedByAnIntruder(t *testing.T, s flow.Store) {
	ok(t, s.PutState(t.Context(), sampleState()))
	var taken atomic.Int64
	race(32, func(i int) {
		if i%2 == 0 {
			_, err := s.TakeState(t.Context(), "state", "theirs", epoch)
			if !errors.Is(err, flow.ErrStateBrowser) && !errors.Is(err, flow.ErrStateUsed) {
				t.Errorf("another browser: %v", err)
			}
			return
		}
		if _, err := s.TakeState(t.Context(), "state", "mine", epoch); err == nil {
			taken.Add(1)
		}
	})
	if taken.Load() != 1 {
		t.Errorf("the browser that it belongs to got it %d times, want once", taken.Load())
	}
}

func takenStateIsNotPutAgain(t *testing.T, s flow.Store) {
	ok(t, s.PutState(t.Context(), sampleState()))
	_, err := s.TakeState(t.Context(), "state", "mine", epoch)
	ok(t, err)
	wantErr(t, s.PutState(t.Context(), sampleState()), flow.ErrExists)
}
