package conformance

import (
	"errors"
	"fmt"
	"testing"

	"github.com/lanyardhq/lanyard/internal/flow"
)

func wantGone(t *testing.T, s flow.Store, id string) {
	t.Helper()
	_, err := s.GetLink(t.Context(), tenant, id)
	wantErr(t, err, flow.ErrLinkUnknown)
	_, err = s.ClaimLink(t.Context(), tenant, id, "mine", epoch)
	wantErr(t, err, flow.ErrLinkUnknown)
}

func wantSession(t *testing.T, s flow.Store, hash string, want error) {
	t.Helper()
	if _, err := s.GetSession(t.Context(), hash); !errors.Is(err, want) {
		t.Errorf("session %s: error %v, want %v", hash, err, want)
	}
}

func deleteLink(t *testing.T, s flow.Store) {
	ok(t, s.PutLink(t.Context(), sampleLink()))
	wantErr(t, s.DeleteLink(t.Context(), "other", "lnk_1"), flow.ErrLinkUnknown)
	wantErr(t, s.DeleteLink(t.Context(), tenant, "lnk_2"), flow.ErrLinkUnknown)
	oneWins(t, 8, flow.ErrLinkUnknown, func(int) error { return s.DeleteLink(t.Context(), tenant, "lnk_1") })
	wantGone(t, s, "lnk_1")
}

func deletedLinkIsNotPutAgain(t *testing.T, s flow.Store) {
	ok(t, s.PutLink(t.Context(), sampleLink()))
	_, err := s.ClaimLink(t.Context(), tenant, "lnk_1", "mine", epoch)
	ok(t, err)
	ok(t, s.DeleteLink(t.Context(), tenant, "lnk_1"))
	for range 2 {
		wantErr(t, s.PutLink(t.Context(), sampleLink()), flow.ErrExists)
		wantErr(t, s.DeleteLink(t.Context(), tenant, "lnk_1"), flow.ErrLinkUnknown)
		wantGone(t, s, "lnk_1")
	}
	other := sampleLink()
	other.Tenant = "other"
	ok(t, s.PutLink(t.Context(), other)) // the same id in another tenant is another key
}

// sessionOf is a session that the link opened; "" is the owner's own.
func sessionOf(link, hash string) flow.Session {
	v := sampleSession()
	v.LinkID, v.Hash = link, hash
	return v
}

func deleteLinkEndsItsSessions(t *testing.T, s flow.Store) {
	other, elsewhere := sampleLink(), sampleLink()
	other.ID, elsewhere.Tenant = "lnk_2", "other"
	theirs := sessionOf("lnk_1", "theirs")
	theirs.Tenant = "other"
	ok(t, s.PutLink(t.Context(), sampleLink()))
	ok(t, s.PutLink(t.Context(), other))
	ok(t, s.PutLink(t.Context(), elsewhere))
	for _, v := range []flow.Session{sessionOf("lnk_1", "one"), sessionOf("lnk_1", "two"), sessionOf("lnk_2", "of another"), sessionOf("", "of none"), theirs} {
		ok(t, s.PutSession(t.Context(), v))
	}
	ok(t, s.DeleteLink(t.Context(), tenant, "lnk_1"))
	wantSession(t, s, "one", flow.ErrNoSession)
	wantSession(t, s, "two", flow.ErrNoSession)
	wantSession(t, s, "of another", nil)
	wantSession(t, s, "of none", nil)
	wantSession(t, s, "theirs", nil)
	wantErr(t, s.PutSession(t.Context(), sessionOf("lnk_1", "late")), flow.ErrLinkUnknown)
	wantErr(t, s.PutSession(t.Context(), sessionOf("lnk_3", "of no link")), flow.ErrLinkUnknown)
}

// However the two meet, no session outlives its link.
func deleteLinkRacedByASession(t *testing.T, s flow.Store) {
	ok(t, s.PutLink(t.Context(), sampleLink()))
	race(16, func(i int) {
		var err error
		if i == 7 {
			err = s.DeleteLink(t.Context(), tenant, "lnk_1")
		} else if err = s.PutSession(t.Context(), sessionOf("lnk_1", fmt.Sprint("session", i))); errors.Is(err, flow.ErrLinkUnknown) {
			err = nil
		}
		if err != nil {
			t.Error(err)
		}
	})
	for i := range 16 {
		wantSession(t, s, fmt.Sprint("session", i), flow.ErrNoSession)
	}
}

func deleteUser(t *testing.T, s flow.Store) {
	ok(t, s.DeleteUser(t.Context(), tenant, "ann")) // who has nothing
	putAll(t, s)
	bobs, elsewhere := sampleLink(), sampleLink()
	bobs.ID, bobs.UserID, elsewhere.Tenant = "lnk_2", "bob", "other"
	bob, hers := sessionOf("lnk_2", "bob's"), sessionOf("lnk_1", "elsewhere")
	bob.UserID, hers.Tenant = "bob", "other"
	ok(t, s.PutLink(t.Context(), bobs))
	ok(t, s.PutLink(t.Context(), elsewhere))
	for _, v := range []flow.Session{sessionOf("", "of no link"), bob, hers} {
		ok(t, s.PutSession(t.Context(), v))
	}
	for range 2 { // the second has nothing to remove
		ok(t, s.DeleteUser(t.Context(), tenant, "ann"))
		wantGone(t, s, "lnk_1")
		wantErr(t, s.PutLink(t.Context(), sampleLink()), flow.ErrExists)
		wantSession(t, s, "session", flow.ErrNoSession)
		wantSession(t, s, "of no link", flow.ErrNoSession)
	}
	wantSession(t, s, "bob's", nil)
	wantSession(t, s, "elsewhere", nil)
	_, err := s.GetLink(t.Context(), tenant, "lnk_2")
	ok(t, err)
	_, err = s.GetLink(t.Context(), "other", "lnk_1")
	ok(t, err)
}

func deleteSession(t *testing.T, s flow.Store) {
	putAll(t, s)
	ok(t, s.PutSession(t.Context(), sessionOf("", "another")))
	for range 2 { // the second has nothing to remove
		ok(t, s.DeleteSession(t.Context(), "session"))
		wantSession(t, s, "session", flow.ErrNoSession)
	}
	wantSession(t, s, "another", nil)
	_, err := s.GetLink(t.Context(), tenant, "lnk_1") // the link opens another one
	ok(t, err)
	ok(t, s.PutSession(t.Context(), sampleSession()))
	wantSession(t, s, "session", nil)
	ok(t, s.DeleteUser(t.Context(), tenant, "ann")) // finds what is left
}
