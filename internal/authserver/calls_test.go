package authserver_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

// counted notes each call of the store that a sign-in makes.
type counted struct {
	authserver.Store
	calls []string
}

func (c *counted) note(call string) { c.calls = append(c.calls, call) }

func (c *counted) GetClient(ctx context.Context, id string) (authserver.Client, error) {
	c.note("GetClient")
	return c.Store.GetClient(ctx, id)
}

func (c *counted) SaveClient(ctx context.Context, v authserver.Client) error {
	c.note("SaveClient")
	return c.Store.SaveClient(ctx, v)
}

func (c *counted) AddRequest(ctx context.Context, r authserver.Request) error {
	c.note("AddRequest")
	return c.Store.AddRequest(ctx, r)
}

func (c *counted) GetRequest(ctx context.Context, id string) (authserver.Request, error) {
	c.note("GetRequest")
	return c.Store.GetRequest(ctx, id)
}

func (c *counted) UpdateRequest(ctx context.Context, r authserver.Request) (authserver.Request, error) {
	c.note("UpdateRequest")
	return c.Store.UpdateRequest(ctx, r)
}

func (c *counted) AddGrant(ctx context.Context, g authserver.Grant) error {
	c.note("AddGrant")
	return c.Store.AddGrant(ctx, g)
}

func (c *counted) GetGrant(ctx context.Context, id string) (authserver.Grant, error) {
	c.note("GetGrant")
	return c.Store.GetGrant(ctx, id)
}

func (c *counted) UpdateGrant(ctx context.Context, id string, change func(*authserver.Grant) error) (authserver.Grant, error) {
	c.note("UpdateGrant")
	return c.Store.UpdateGrant(ctx, id, change)
}

func (c *counted) SaveConsent(ctx context.Context, v authserver.Consent) error {
	c.note("SaveConsent")
	return c.Store.SaveConsent(ctx, v)
}

func (c *counted) GetConsent(ctx context.Context, tenant, user, client, resource string) (authserver.Consent, error) {
	c.note("GetConsent")
	return c.Store.GetConsent(ctx, tenant, user, client, resource)
}

func (c *counted) Admit(ctx context.Context, window string, most int, until time.Time) error {
	c.note("Admit")
	return c.Store.Admit(ctx, window, most, until)
}

// What a sign-in costs, step by step: the page is shown once, and once more when
// the provider has answered.
func TestStoreCalls(t *testing.T) {
	t.Parallel()
	w, _ := published(t, reply(200, "application/json", documentOf(documentURL, "")))
	c := &counted{Store: w.store}
	w.Store = c
	total := 0
	step := func(name string, most int) {
		t.Helper()
		t.Logf("%-34s %2d  %s", name, len(c.calls), strings.Join(c.calls, " "))
		if len(c.calls) > most {
			t.Errorf("%s takes %d calls, want at most %d", name, len(c.calls), most)
		}
		total += len(c.calls)
		c.calls = nil
	}
	r, err := w.Authorize(t.Context(), asking(documentURL), browser)
	ok(t, err)
	step("authorize, a client never seen", 5)
	total = 0
	r, err = w.Authorize(t.Context(), asking(documentURL), browser)
	ok(t, err)
	step("authorize", 2)
	for range 2 {
		_, client, err := w.Request(t.Context(), r.ID, browser)
		ok(t, err)
		if _, err := w.Remembered(t.Context(), r, client, ann, "con_1"); err != nil {
			t.Fatal(err)
		}
		step("the page", 3)
	}
	_, err = w.Allow(t.Context(), r.ID, browser, ann, "flo_1", "")
	ok(t, err)
	step("allow", 3)
	to, err := w.Finish(t.Context(), r.ID, browser, ann, "con_1")
	ok(t, err)
	step("finish", 5)
	a, err := w.Token(t.Context(), taking(documentURL, query(t, to).Get("code")), "")
	ok(t, err)
	step("token, for a code", 2)
	t.Logf("a sign-in: %d calls", total)
	if total > 18 {
		t.Errorf("a sign-in takes %d calls, want at most 18", total)
	}
	_, err = w.Check(t.Context(), a.AccessToken, drive)
	ok(t, err)
	if !slices.Equal(c.calls, []string{"GetGrant"}) {
		t.Errorf("a bearer's check takes %v", c.calls)
	}
	step("a bearer's check", 1)
	w.renew(t, documentURL, a.RefreshToken)
	step("token, for a refresh token", 2)
}
