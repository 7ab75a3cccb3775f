package authserver_test

import (
	"slices"
	"testing"
	"time"
)

// A whole sign-in, and what the client gets.
func TestSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	r, err := w.Authorize(t.Context(), asking(c.ID), browser)
	ok(t, err)
	seen, client, err := w.Request(t.Context(), r.ID, browser)
	ok(t, err)
	if client.ID != c.ID || seen.Resource != drive || seen.Server != "drive" || seen.Tenant != "default" || !slices.Equal(seen.Scopes, []string{"files.read", "files.write"}) {
		t.Errorf("request %+v of client %s", seen, client.ID)
	}
	_, err = w.Allow(t.Context(), r.ID, browser, ann, "flo_1", "")
	ok(t, err)
	to, err := w.Finish(t.Context(), r.ID, browser, ann, "con_1")
	ok(t, err)
	q := query(t, to)
	if q.Get("state") != "st4te" || q.Get("iss") != base || q.Has("error") {
		t.Errorf("the answer is %v", q)
	}
	a, err := w.Token(t.Context(), taking(c.ID, q.Get("code")), "")
	ok(t, err)
	if a.ExpiresIn != time.Hour || !slices.Equal(a.Scopes, []string{"files.read", "files.write"}) {
		t.Errorf("the answer is for %s and %v", a.ExpiresIn, a.Scopes)
	}
	g, err := w.Check(t.Context(), a.AccessToken, drive)
	ok(t, err)
	if g.Tenant != "default" || g.UserID != "ann" || g.ClientID != c.ID || g.Connection != "con_1" || g.Server != "drive" {
		t.Errorf("grant %+v", g)
	}
	w.wantLive(t, a.AccessToken, mail, false)
	w.wantLive(t, a.RefreshToken, drive, false)
	w.pass(time.Hour)
	w.wantLive(t, a.AccessToken, drive, false)
	b, err := w.Token(t.Context(), renewing(c.ID, a.RefreshToken), "")
	ok(t, err)
	w.wantLive(t, b.AccessToken, drive, true)
}
