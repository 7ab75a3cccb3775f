package flow_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
)

func TestStateIsForOneBrowserOnceInTime(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	q := w.consent(w.begin(w.request()), anna, "ada1")
	finish := func(q url.Values, browser string) error {
		f, err := w.fin.Finish(ctx, q, browser)
		w.noSecret(err)
		if err != nil && f.ID != "" {
			t.Errorf("a refused state tells the flow %s", f.ID)
		}
		return err
	}
	wantError(t, finish(q, bert), flow.ErrStateBrowser)
	wantError(t, finish(q, ""), flow.ErrStateBrowser)
	other := url.Values{"code": q["code"], "iss": q["iss"], "state": {strings.ToUpper(q.Get("state"))}}
	wantError(t, finish(other, anna), flow.ErrStateUnknown)
	other.Del("state")
	wantError(t, finish(other, anna), flow.ErrStateUnknown)
	for _, name := range []string{"code", "state", "iss", "error", "scope"} {
		polluted := url.Values{name: {q.Get(name), q.Get(name)}}
		for n, v := range q {
			if n != name {
				polluted[n] = v
			}
		}
		wantError(t, finish(polluted, anna), flow.ErrCallback)
	}
	wantError(t, finish(q, anna), nil)
	wantError(t, finish(q, anna), flow.ErrStateUsed)

	late := w.consent(w.begin(w.request()), anna, "ada1")
	w.pass(10 * time.Minute)
	wantError(t, finish(late, anna), flow.ErrStateExpired)
	wantError(t, finish(late, bert), flow.ErrStateBrowser)
	if n := w.acme.sent(); n != 1 {
		t.Errorf("%d codes were sent", n)
	}
}

// However many callbacks arrive with one state, or with two states of one
// flow, one code is exchanged.
func TestCallbacksRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.begin(w.request())
	answers := []url.Values{w.consent(f, anna, "ada1"), w.consent(f, anna, "ada1")} // Back, and the button again
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		good int
	)
	for i := range 20 {
		all.Go(func() {
			_, err := w.fin.Finish(t.Context(), answers[i%2], anna)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				good++
			}
		})
	}
	all.Wait()
	if good != 1 || w.acme.sent() != 1 || len(w.rows()) != 1 {
		t.Errorf("%d succeeded, %d codes were sent, %d connections", good, w.acme.sent(), len(w.rows()))
	}
}

// What the provider answers, at the redirect or to the code, ends the flow in
// the flow's words. A code is sent once at most.
func TestProviderAnswers(t *testing.T) {
	t.Parallel()
	callback := func(change func(q url.Values)) func(*world, url.Values) {
		return func(_ *world, q url.Values) { change(q) }
	}
	answer := func(status int, body string) func(*world, url.Values) {
		return func(w *world, _ url.Values) {
			w.acme.answer = func(*http.Request, url.Values) (int, string) { return status, body }
		}
	}
	failing := func(code string) func(*world, url.Values) {
		return callback(func(q url.Values) {
			q.Del("code")
			q.Set("error", code)
			q.Set("error_description", "<script>\x00"+strings.Repeat("x", 4000))
		})
	}
	for name, tt := range map[string]struct {
		change func(*world, url.Values)
		want   error
		sent   int
		status flow.Status
	}{
		"iss missing":         {callback(func(q url.Values) { q.Del("iss") }), flow.ErrIssuer, 0, flow.Failed},
		"iss of another":      {callback(func(q url.Values) { q.Set("iss", "https://evil.example") }), flow.ErrIssuer, 0, flow.Failed},
		"iss with a slash":    {callback(func(q url.Values) { q.Set("iss", "https://acme.example/") }), flow.ErrIssuer, 0, flow.Failed},
		"denied by another":   {callback(func(q url.Values) { q.Set("iss", "https://evil.example"); q.Set("error", "access_denied") }), flow.ErrIssuer, 0, flow.Failed},
		"denied":              {failing("access_denied"), flow.ErrDenied, 0, flow.Denied},
		"server error":        {failing("server_error"), flow.ErrProviderDown, 0, flow.Failed},
		"client refused":      {failing("unauthorized_client"), flow.ErrClient, 0, flow.Failed},
		"unknown error":       {failing("weird"), flow.ErrProvider, 0, flow.Failed},
		"error beside a code": {callback(func(q url.Values) { q.Set("error", "access_denied") }), flow.ErrDenied, 0, flow.Denied},
		"neither":             {callback(func(q url.Values) { q.Del("code") }), flow.ErrCallback, 0, flow.Failed},
		"another code":        {callback(func(q url.Values) { q.Set("code", "guess-"+canary) }), flow.ErrCode, 1, flow.Failed},
		"code refused":        {answer(400, `{"error":"invalid_grant","error_description":"code-`+canary+`-1"}`), flow.ErrCode, 1, flow.Failed},
		"client unknown":      {answer(401, `{"error":"invalid_client"}`), flow.ErrClient, 1, flow.Failed},
		"down":                {answer(503, ``), flow.ErrProviderDown, 1, flow.Failed},
		"slow down":           {answer(429, ``), flow.ErrProvider, 1, flow.Failed},
		"garbage":             {answer(200, "<html>canary"), flow.ErrProviderDown, 1, flow.Failed},
		"no token":            {answer(200, "{}"), flow.ErrProviderDown, 1, flow.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			q := w.consent(w.begin(w.request()), anna, "ada1")
			tt.change(w, q)
			f, err := w.fin.Finish(t.Context(), q, anna)
			w.noSecret(err)
			wantError(t, err, tt.want)
			var known *flow.Error
			if !errors.As(tt.want, &known) || f.Status != tt.status || f.Result.Code != known.Code || len(f.Result.Detail) > 1000 ||
				strings.ContainsAny(f.Result.Detail, "\x00") || strings.Contains(f.Result.Detail, canary) {
				t.Errorf("the flow ended %s, %+v", f.Status, f.Result)
			}
			if stored, err := w.store.GetFlow(t.Context(), f.ID); err != nil || stored.Status != tt.status {
				t.Errorf("stored: %s %v", stored.Status, err)
			}
			if w.acme.sent() != tt.sent || len(w.rows()) != 0 || w.grant.count() != 0 {
				t.Errorf("%d codes sent, %d rows, %d grants", w.acme.sent(), len(w.rows()), w.grant.count())
			}
			_, err = w.fin.Finish(t.Context(), q, anna)
			wantError(t, err, flow.ErrStateUsed)
		})
	}
}

func hang(r *http.Request, _ url.Values) (int, string) { <-r.Context().Done(); return 0, "" }

func TestSilentProviderIsAskedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q := w.consent(w.begin(w.request()), anna, "ada1")
		w.acme.answer = hang
		start := time.Now()
		f, err := w.fin.Finish(t.Context(), q, anna)
		wantError(t, err, flow.ErrTimeout)
		if w.acme.sent() != 1 || time.Since(start) > 30*time.Second || f.Result.Code != "exchange_timeout" {
			t.Errorf("%d sent in %v: %+v", w.acme.sent(), time.Since(start), f.Result)
		}
	})
}

// A grant is kept although nobody can say whose it is, even if the provider
// takes all the time there is to say nothing.
func TestSilentIdentityCostsTheLabelAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.acme.identity = hang
		start := time.Now()
		c := w.connected(w.request(), "ada1")
		if c.Account.Subject != "" || c.Status != "connected" {
			t.Errorf("row %s %+v", c.Status, c.Account)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Our client's secret may be gone between consent and callback.
func TestClientIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.consent(w.begin(w.request()), anna, "ada1")
	w.client = flow.ErrNoClient
	f, err := w.fin.Finish(t.Context(), q, anna)
	wantError(t, err, flow.ErrNoClient)
	if w.acme.sent() != 0 || f.Result.Code != "client_missing" {
		t.Errorf("%d sent, %+v", w.acme.sent(), f.Result)
	}
}

// FuzzCallback sends what it likes with a state that lives: nothing panics, no
// code is sent twice, and nobody but the browser gets anywhere.
func FuzzCallback(f *testing.F) {
	f.Add("code=x&iss=https://acme.example", true)
	f.Add("error=access_denied&iss=https://acme.example", true)
	f.Add("code=a&code=b", true)
	f.Add("state=&code=x", false)
	f.Add("%zz;&state=a&state=b&iss=", true)
	f.Fuzz(func(t *testing.T, raw string, mine bool) {
		w := newWorld(t)
		good := w.consent(w.begin(w.request()), anna, "ada1")
		q, _ := url.ParseQuery(raw)
		browser := bert
		if mine {
			browser = anna
			q.Set("state", good.Get("state"))
		}
		for range 2 {
			flowed, err := w.fin.Finish(t.Context(), q, browser)
			w.noSecret(err)
			if err == nil || !mine && flowed.ID != "" {
				t.Errorf("%q was accepted: %v", raw, err)
			}
		}
		if w.acme.sent() > 1 || len(w.rows()) > 0 {
			t.Errorf("%q: %d codes sent, %d connections", raw, w.acme.sent(), len(w.rows()))
		}
	})
}

// FuzzState guesses states.
func FuzzState(f *testing.F) {
	f.Add("")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("\x00' OR 1=1")
	f.Fuzz(func(t *testing.T, state string) {
		w := newWorld(t)
		q := w.consent(w.begin(w.request()), anna, "ada1")
		if q.Get("state") == state {
			return
		}
		q.Set("state", state)
		_, err := w.fin.Finish(t.Context(), q, anna)
		wantError(t, err, flow.ErrStateUnknown)
		if state != "" && strings.Contains(err.Error(), state) && len(state) > 8 {
			t.Errorf("the error repeats the state")
		}
	})
}
