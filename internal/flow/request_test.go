package flow_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/flow"
)

// TestReturnURL attacks the list https://app.example/done/ and
// https://app.example/exact.
func TestReturnURL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for raw, allowed := range map[string]bool{
		"":                                 true,
		"https://app.example/done/":        true,
		"https://app.example/done/a/b?c=d": true,
		"https://APP.example/done/1":       true, // RFC 3986 §6.2.2.1: a host has no case
		"HTTPS://app.example/done/1":       true,
		"https://app.example/exact":        true,
		"https://app.example/exact?a=b":    true,
		"https://app.example/done/%41":     true,

		"https://app.example/":                            false,
		"https://app.example":                             false,
		"https://app.example/done":                        false,
		"https://app.example/donexyz":                     false,
		"https://app.example/Done/":                       false,
		"https://app.example/exact/more":                  false,
		"http://app.example/done/1":                       false,
		"javascript://app.example/done/1":                 false,
		"javascript:alert(1)":                             false,
		"data:text/html,x":                                false,
		"//app.example/done/1":                            false,
		"/done/1":                                         false,
		"https:/app.example/done/1":                       false,
		"https:app.example/done/1":                        false,
		"https:///app.example/done/1":                     false,
		"https://app.example.evil/done/1":                 false,
		"https://app.example./done/1":                     false,
		"https://evil-app.example/done/1":                 false,
		"https://evil.example/done/1":                     false,
		"https://evil.example/https://app.example/done/1": false,
		"https://app.example:444/done/1":                  false,
		"https://app.example:443/done/1":                  false,
		"https://app.example@evil.example/done/1":         false,
		"https://user@app.example/done/1":                 false,
		"https://user:pw@app.example/done/1":              false,
		"https://@app.example/done/1":                     false,
		`https://app.example\@evil.example/done/1`:        false,
		`https://evil.example\.app.example/done/1`:        false,
		`https://app.example/done/\evil.example`:          false,
		`https://app.example/done/..\..\x`:                false,
		"https://app.example%2f@evil.example/done/1":      false,
		"https://app.example%00.evil.example/done/1":      false,
		"https://app.example/done/../admin":               false,
		"https://app.example/done/%2e%2e/admin":           false,
		"https://app.example/done/%2E./admin":             false,
		"https://app.example/done/.%2e/admin":             false,
		"https://app.example/done%2f..%2fadmin":           false,
		"https://app.example/done%2fadmin":                false,
		"https://app.example/done%2Fadmin":                false,
		"https://app.example/%64one/1":                    false,
		"https://app.example/done/#fragment":              false,
		"https://app.example/done/\t1":                    false,
		"https://app.example/done/\n1":                    false,
		" https://app.example/done/1":                     false,
		"https://app.example/done/%zz":                    false,
		"https://[::1]/done/1":                            false,
		"https://аpp.example/done/1":                      false, // a Cyrillic letter
	} {
		_, _, err := w.start.CreateLink(t.Context(), flow.LinkRequest{Tenant: tenant, UserID: user, ReturnURL: raw})
		r := w.request()
		r.ReturnURL = raw
		_, err2 := w.start.Start(t.Context(), r)
		if (err == nil) != allowed || (err2 == nil) != allowed || !allowed && !errors.Is(err, flow.ErrReturnURL) {
			t.Errorf("%q: %v, %v; allowed is %v", raw, err, err2, allowed)
		}
	}
}

// An entry without a path allows the front page, as it says, not the whole site.
func TestReturnURLWithoutPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenant.ReturnURLs = []string{"https://app.example"}
	for raw, allowed := range map[string]bool{
		"https://app.example": true, "https://app.example/": true, "https://app.example/?a=b": true,
		"https://app.example/redirect?to=https://evil.example": false,
	} {
		_, _, err := w.start.CreateLink(t.Context(), flow.LinkRequest{Tenant: tenant, UserID: user, ReturnURL: raw})
		if (err == nil) != allowed {
			t.Errorf("%q: %v; allowed is %v", raw, err, allowed)
		}
	}
	w.tenant.ReturnURLs = nil
	_, _, err := w.start.CreateLink(t.Context(), flow.LinkRequest{Tenant: tenant, UserID: user, ReturnURL: "https://app.example"})
	wantError(t, err, flow.ErrReturnURL)
}

// What a person types is refused before anybody is sent anywhere.
func TestParameters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		server, name, value string
		ok                  bool
	}{
		{"shop", "shop", "my-shop", true},
		{"shop", "shop", "", false},
		{"shop", "shop", "evil.example/", false},
		{"shop", "shop", "a.evil", false},
		{"shop", "shop", "my-shop\n", false},
		{"shop", "shop", "MY", false},
		{"shop", "shop", strings.Repeat("a", 41), false},
		{"shop", "other", "my-shop", false},
		{"regional", "region", "us", true},
		{"regional", "region", "", true}, // it has a default
		{"regional", "region", "eu|us", false},
		{"regional", "region", "euro", false},
	} {
		r := w.request()
		r.Server, r.Parameters = tt.server, map[string]string{tt.name: tt.value}
		f, err := w.start.Start(t.Context(), r)
		if (err == nil) != tt.ok || !tt.ok && !errors.Is(err, flow.ErrParameter) {
			t.Errorf("%s %s=%q: %v", tt.server, tt.name, tt.value, err)
		}
		if err != nil {
			continue
		}
		c, err := w.start.Consent(t.Context(), f.ID, anna)
		if err != nil || tt.server == "shop" && c.ProviderHost != "my-shop.shops.example" {
			t.Errorf("consent leads to %q: %v", c.ProviderHost, err)
		}
	}
}

// A link's parameters serve several servers: what a server does not ask for is
// no part of its connection.
func TestUndeclaredParametersAreDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.request()
	first := w.connected(r, "ada1")
	r.Parameters = map[string]string{"shop": "my-shop"}
	if again := w.connected(r, "ada1"); again.ID != first.ID || len(again.Parameters) != 0 {
		t.Errorf("a second connection of one account: %v", again.Parameters)
	}
}

func TestScopeOverride(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for scope, ok := range map[string]bool{
		"admin": true, "https://acme.example/auth/drive.readonly": true, "a:b!#[]^~": true,
		"": false, "a b": false, "a\"b": false, `a\b`: false, "a\nb": false, "ä": false, "a\x7f": false, strings.Repeat("s", 257): false,
	} {
		r := w.request()
		r.Scopes = []string{scope, scope}
		f, err := w.start.Start(t.Context(), r)
		if (err == nil) != ok || !ok && !errors.Is(err, flow.ErrScope) {
			t.Errorf("%q: %v", scope, err)
		}
		if ok && (len(f.Scopes[""]) != 1 || f.Scopes[""][0] != scope) {
			t.Errorf("%q: asked for %v", scope, f.Scopes)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.connected(w.request(), "ada1")
	for name, tt := range map[string]struct {
		change func(*flow.StartRequest)
		want   error
	}{
		"unknown server":       {func(r *flow.StartRequest) { r.Server = "nope" }, flow.ErrServer},
		"server with a key":    {func(r *flow.StartRequest) { r.Server = "search" }, flow.ErrAuthType},
		"unknown connection":   {func(r *flow.StartRequest) { r.ConnectionID = "con_nope" }, flow.ErrConnection},
		"another's connection": {func(r *flow.StartRequest) { r.UserID, r.ConnectionID = "eve", own.ID }, flow.ErrConnection},
		"another server's":     {func(r *flow.StartRequest) { r.Server, r.ConnectionID = "mail", own.ID }, flow.ErrConnection},
		"another tenant's":     {func(r *flow.StartRequest) { r.Tenant, r.ConnectionID = "other", own.ID }, flow.ErrConnection},
	} {
		r := w.request()
		tt.change(&r)
		if _, err := w.start.Start(t.Context(), r); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.client = flow.ErrNoClient
	_, err := w.start.Start(t.Context(), w.request())
	wantError(t, err, flow.ErrNoClient)
}

// Of two browsers that press the button at once, one is sent on; a second
// click in the same browser is no other browser.
func TestFirstBrowserBindsTheFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 50 {
		f := w.begin(w.request())
		browsers := []string{anna, bert, anna, bert}
		errs := make([]error, len(browsers))
		var all sync.WaitGroup
		for i, browser := range browsers {
			all.Go(func() { _, errs[i] = w.start.Authorize(t.Context(), f.ID, browser) })
		}
		all.Wait()
		won, lost := 0, 1
		if errs[won] != nil {
			won, lost = 1, 0
		}
		if errs[won] != nil || errs[won+2] != nil || !errors.Is(errs[lost], flow.ErrFlowClaimed) || !errors.Is(errs[lost+2], flow.ErrFlowClaimed) {
			t.Fatalf("anna and bert got %v", errs)
		}
		if _, err := w.start.Consent(t.Context(), f.ID, browsers[lost]); !errors.Is(err, flow.ErrFlowClaimed) {
			t.Errorf("the other browser sees the flow: %v", err)
		}
	}
}

// doubleClick authorizes once more while the first click is being stored.
type doubleClick struct {
	flow.Store
	again func()
}

func (s *doubleClick) UpdateFlow(ctx context.Context, f flow.Flow) (flow.Flow, error) {
	if again := s.again; again != nil {
		s.again = nil
		again()
	}
	return s.Store.UpdateFlow(ctx, f)
}

func TestDoubleClick(t *testing.T) {
	t.Parallel()
	for second, want := range map[string]error{anna: nil, bert: flow.ErrFlowClaimed} {
		w := newWorld(t)
		f := w.begin(w.request())
		s := &doubleClick{Store: w.store}
		w.start.Store = s
		s.again = func() {
			_, err := w.start.Authorize(t.Context(), f.ID, second)
			wantError(t, err, nil)
		}
		_, err := w.start.Authorize(t.Context(), f.ID, anna)
		wantError(t, err, want)
	}
}

// Without a browser there is nothing that the state could be bound to.
func TestNoBrowserNoState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.begin(w.request())
	_, err := w.start.Authorize(t.Context(), f.ID, "")
	wantError(t, err, flow.ErrNoSession)
	_, err = w.start.Cancel(t.Context(), f.ID, "")
	wantError(t, err, flow.ErrNoSession)
}

func TestFlowEnds(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	f := w.begin(w.request())
	cancelled, err := w.start.Cancel(ctx, f.ID, anna)
	if err != nil || cancelled.Status != flow.Denied {
		t.Fatalf("cancel: %s %v", cancelled.Status, err)
	}
	_, err = w.start.Authorize(ctx, f.ID, anna)
	wantError(t, err, flow.ErrFlowEnded)

	late := w.begin(w.request())
	w.pass(31 * 60e9)
	_, err = w.start.Authorize(ctx, late.ID, anna)
	wantError(t, err, flow.ErrFlowExpired)
	w.pass(10 * 60e9)
	if got, err := w.start.Look(ctx, late.ID); err != nil || got.Status != flow.Failed || got.Result.Code != "flow_expired" {
		t.Errorf("look: %s %v", got.Status, err)
	}
	_, err = w.start.Consent(ctx, "flo_nope", anna)
	wantError(t, err, flow.ErrFlowUnknown)
}
