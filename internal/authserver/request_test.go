package authserver_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// What was begun in one browser goes on in no other.
func TestConsentFixationAcrossBrowsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	r, err := w.Authorize(t.Context(), asking(c.ID), browser)
	ok(t, err)
	for _, other := range []string{"other", "", browser + "x"} {
		_, _, err := w.Request(t.Context(), r.ID, other)
		wantErr(t, err, authserver.ErrNoRequest)
		_, err = w.Allow(t.Context(), r.ID, other, ann, "", "con_1")
		wantErr(t, err, authserver.ErrNoRequest)
		_, err = w.Deny(t.Context(), r.ID, other)
		wantErr(t, err, authserver.ErrNoRequest)
	}
	_, err = w.Allow(t.Context(), r.ID, browser, ann, "", "con_1")
	ok(t, err)
	_, err = w.Finish(t.Context(), r.ID, "other", ann, "con_1")
	wantErr(t, err, authserver.ErrNoRequest)
	_, err = w.Finish(t.Context(), r.ID, browser, ann, "con_1")
	ok(t, err)
	// A request without a browser is nobody's.
	r, err = w.Authorize(t.Context(), asking(c.ID), "")
	ok(t, err)
	_, _, err = w.Request(t.Context(), r.ID, "")
	wantErr(t, err, authserver.ErrNoRequest)
}

// What one person allowed, another one who signs in after them does not finish.
func TestAnotherPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	r, err := w.Authorize(t.Context(), asking(c.ID), browser)
	ok(t, err)
	_, err = w.Finish(t.Context(), r.ID, browser, ann, "con_1")
	wantErr(t, err, authserver.ErrNoRequest) // nobody has allowed it
	_, err = w.Finish(t.Context(), r.ID, browser, authserver.User{Tenant: "default"}, "con_1")
	wantErr(t, err, authserver.ErrNoRequest) // nor does nobody finish it
	_, err = w.Allow(t.Context(), r.ID, browser, ann, "", "con_1")
	ok(t, err)
	for _, u := range []authserver.User{{Tenant: "default", ID: "bob"}, {Tenant: "acme", ID: "ann"}, {Tenant: "default"}, {}} {
		_, err := w.Allow(t.Context(), r.ID, browser, u, "", "con_1")
		wantErr(t, err, authserver.ErrNoRequest)
		_, err = w.Finish(t.Context(), r.ID, browser, u, "con_1")
		wantErr(t, err, authserver.ErrNoRequest)
	}
	_, err = w.Allow(t.Context(), r.ID, browser, ann, "flo_2", "") // who may choose again
	ok(t, err)
	if _, err := w.Finish(t.Context(), r.ID, browser, ann, ""); err == nil {
		t.Error("finished without a connection")
	}
	_, err = w.Finish(t.Context(), r.ID, browser, ann, "con_2")
	ok(t, err)
}

// A session that is for some servers gives access to no others.
func TestNarrowSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	narrow := authserver.User{Tenant: "default", ID: "ann", Servers: []string{"mail"}}
	r, err := w.Authorize(t.Context(), asking(c.ID), browser)
	ok(t, err)
	_, err = w.Allow(t.Context(), r.ID, browser, narrow, "", "con_1")
	wantCode(t, err, "access_denied")
	r, err = w.Authorize(t.Context(), with(asking(c.ID), "resource", base+"/mcp"), browser)
	ok(t, err)
	_, err = w.Allow(t.Context(), r.ID, browser, narrow, "", "")
	ok(t, err)
	to, err := w.Finish(t.Context(), r.ID, browser, narrow, "")
	ok(t, err)
	a, err := w.Token(t.Context(), with(taking(c.ID, query(t, to).Get("code")), "resource", base+"/mcp"), "")
	ok(t, err)
	g, err := w.Check(t.Context(), a.AccessToken, base+"/mcp")
	ok(t, err)
	if len(g.Servers) != 1 || g.Servers[0] != "mail" || g.Server != "" || g.Connection != "" || len(a.Scopes) != 0 {
		t.Errorf("grant %+v", g)
	}
}

func TestTwoFinishesMintOneCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	r, err := w.Authorize(t.Context(), asking(c.ID), browser)
	ok(t, err)
	_, err = w.Allow(t.Context(), r.ID, browser, ann, "", "con_1")
	ok(t, err)
	var finishers sync.WaitGroup
	codes := make(chan string, 16)
	for range cap(codes) {
		finishers.Go(func() {
			to, err := w.Finish(t.Context(), r.ID, browser, ann, "con_1")
			if err == nil {
				codes <- to
			} else if !errors.Is(err, authserver.ErrSpent) {
				t.Error(err)
			}
		})
	}
	finishers.Wait()
	grants, err := w.store.Grants(t.Context(), "default", "ann")
	ok(t, err)
	if len(codes) != 1 || len(grants) != 1 {
		t.Errorf("%d codes of %d grants", len(codes), len(grants))
	}
	for _, end := range []func() error{
		func() error { _, err := w.Deny(t.Context(), r.ID, browser); return err },
		func() error { _, err := w.Allow(t.Context(), r.ID, browser, ann, "", "con_1"); return err },
	} {
		wantErr(t, end(), authserver.ErrSpent)
	}
}

func TestRequestsExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	r, err := w.Authorize(t.Context(), asking(c.ID), browser)
	ok(t, err)
	w.pass(30*time.Minute - 1)
	_, _, err = w.Request(t.Context(), r.ID, browser)
	ok(t, err)
	w.pass(1)
	_, _, err = w.Request(t.Context(), r.ID, browser)
	wantErr(t, err, authserver.ErrNoRequest)
	_, err = w.Allow(t.Context(), r.ID, browser, ann, "", "con_1")
	wantErr(t, err, authserver.ErrNoRequest)
}

// A consent counts again for the same client, resource, redirect and scopes; and
// never where any program of the machine may say that it is that client.
func TestRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback, "https://client.example/other", "http://localhost/callback")
	connection := "con_1"
	remembered := func(change ...string) bool {
		t.Helper()
		q := asking(c.ID)
		for i := 0; i < len(change); i += 2 {
			q = with(q, change[i], change[i+1])
		}
		r, err := w.Authorize(t.Context(), q, browser)
		ok(t, err)
		_, client, err := w.Request(t.Context(), r.ID, browser)
		ok(t, err)
		yes, err := w.Remembered(t.Context(), r, client, ann, connection)
		ok(t, err)
		return yes
	}
	if remembered() {
		t.Error("before it was allowed")
	}
	w.code(t, with(asking(c.ID), "scope", "files.read"))
	w.code(t, with(asking(c.ID), "redirect_uri", "http://localhost:1/callback"))
	for _, test := range []struct {
		what   string
		want   bool
		change []string
	}{
		{"the same", true, []string{"scope", "files.read"}},
		{"more scopes", false, nil},
		{"another redirect", false, []string{"scope", "files.read", "redirect_uri", "https://client.example/other"}},
		{"a program of the machine", false, []string{"scope", "files.read", "redirect_uri", "http://localhost:1/callback"}},
		{"another resource", false, []string{"resource", mail}},
		{"another tenant's", false, []string{"scope", "files.read", "resource", base + "/t/acme/mcp/drive"}},
	} {
		if got := remembered(test.change...); got != test.want {
			t.Errorf("%s: %v", test.what, got)
		}
	}
	connection = "con_2"
	if remembered("scope", "files.read") {
		t.Error("by another connection")
	}
	connection = "con_1"
	w.pass(90 * 24 * time.Hour)
	if remembered("scope", "files.read") {
		t.Error("after 90 days")
	}
}

// A person who has allowed a request and then cancels it has given nothing that
// could count again.
func TestAllowedThenDeniedIsNotRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.enter(t, callback)
	r, err := w.Authorize(t.Context(), asking(c.ID), browser)
	ok(t, err)
	_, err = w.Allow(t.Context(), r.ID, browser, ann, "flo_1", "")
	ok(t, err)
	_, err = w.Deny(t.Context(), r.ID, browser)
	ok(t, err)
	if yes, err := w.Remembered(t.Context(), r, c, ann, "con_1"); yes || err != nil {
		t.Errorf("remembered %v, %v", yes, err)
	}
}

// A client that registered itself under somebody's name is never remembered.
func TestDynamicClientIsNotRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _ := w.register(t, `{"client_name":"Claude","redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"none"}`)
	w.code(t, asking(id))
	r, err := w.Authorize(t.Context(), asking(id), browser)
	ok(t, err)
	_, c, err := w.Request(t.Context(), r.ID, browser)
	ok(t, err)
	if yes, err := w.Remembered(t.Context(), r, c, ann, "con_1"); yes || err != nil {
		t.Errorf("remembered %v, %v", yes, err)
	}
}

func TestRedirectLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct {
		uris []string
		want string
	}{
		{[]string{callback}, callback},
		{[]string{callback, "https://client.example/other"}, ""},
		{[]string{"http://localhost/callback"}, ""},
	} {
		c := w.enter(t, test.uris...)
		r, err := w.Authorize(t.Context(), with(asking(c.ID), "redirect_uri"), browser)
		if r.RedirectURI != test.want || (test.want == "") != (err != nil) || err != nil && !strings.Contains(err.Error(), "redirect_uri is missing") {
			t.Errorf("%v: %q, %v", test.uris, r.RedirectURI, err)
		}
	}
}
