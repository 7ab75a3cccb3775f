package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/token"
)

// TestWebhook: over a real connection, the scheme's own library takes it with
// each of two secrets, and with no other; what it says is what docs/webhooks.md
// describes.
func TestWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, fresh := notify.NewSecret(), notify.NewSecret()
	var got []byte
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		for i, secret := range []token.Secret{old, fresh, notify.NewSecret()} {
			v, err := standardwebhooks.NewWebhook(secret.Reveal())
			if err != nil {
				t.Error(err)
				return
			}
			if err := v.Verify(got, r.Header); (err == nil) != (i < 2) {
				t.Errorf("secret %d: %v", i, err)
			}
			changed := []byte(strings.Replace(string(got), "ada", "eve", 1))
			if v.Verify(changed, r.Header) == nil {
				t.Error("another body has the same signature")
			}
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.URL.RawQuery != "key="+canary {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		rw.WriteHeader(http.StatusAccepted)
	}))
	defer srv.Close()
	w.service.Transport, w.service.AllowLoopback = nil, true
	w.endpoints["default"] = notify.Endpoint{URL: srv.URL + "/?key=" + canary, Secrets: []token.Secret{fresh, old}, LinkKey: []byte("k")}
	c, e := dead("default")
	c.EndsAt = e.At.Add(time.Hour)
	if rest := w.service.Deliver(t.Context(), c, e); rest != nil {
		t.Fatalf("%+v is left\n%s", rest, w.log)
	}
	var m struct {
		Type string
		Data struct {
			ReconnectURL string    `json:"reconnect_url"`
			Expires      time.Time `json:"reconnect_expires_at"`
		}
	}
	if err := json.Unmarshal(got, &m); err != nil {
		t.Fatal(err)
	}
	stamp := func(at time.Time) string { b, _ := at.MarshalJSON(); return string(b) }
	want := `{"type":"connection.health_changed","timestamp":` + stamp(e.At) + `,"data":{"version":1,"event_id":"` + e.ID + `","connection_id":"con_default",` +
		`"tenant":"default","user_id":"ada","server":"notes","provider":"acme","label":"ada@acme.example","health":"reconnect","previous_health":"ok",` +
		`"code":"invalid_grant","reason":"the grant <was> revoked","ends_at":` + stamp(c.EndsAt) +
		`,"reconnect_url":"` + m.Data.ReconnectURL + `","reconnect_expires_at":` + stamp(m.Data.Expires) + `}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// The link is a good one, of that user and server.
	ref, ok := strings.CutPrefix(m.Data.ReconnectURL, "https://lanyard.test/l/")
	l, err := w.starter.FindLink(t.Context(), ref)
	if !ok || err != nil || l.UserID != "ada" || fmt.Sprint(l.Servers) != "[notes]" || !l.ExpiresAt.Equal(m.Data.Expires) || time.Until(l.ExpiresAt) < 6*24*time.Hour {
		t.Errorf("%v %+v", err, l)
	}
	// The bus has the same, and no link.
	if len(w.bus.got) != 1 || w.bus.got[0].kind != e.Type || !w.bus.got[0].at.Equal(e.At) {
		t.Fatalf("%+v", w.bus.got)
	}
	_, inner, _ := strings.Cut(want, `"data":`)
	inner, _, _ = strings.Cut(inner, `,"reconnect_url"`)
	if detail := string(w.bus.got[0].detail); detail != inner+"}" {
		t.Errorf("got  %s\nwant %s}", detail, inner)
	}
}

// TestDay: an endpoint that is down for good is tried for more than a day, with
// one id, one link and times of its own; then the event is given up.
func TestDay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(500)
		c, e := dead("default")
		began := time.Now()
		var pauses []time.Duration
		for next := &e; ; {
			rest := w.service.Deliver(t.Context(), c, *next)
			if rest == nil {
				break
			}
			pauses = append(pauses, time.Until(rest.NextAt))
			time.Sleep(time.Until(rest.NextAt))
			next = rest
		}
		listed := []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour}
		if len(pauses) != len(listed) {
			t.Fatalf("pauses %v", pauses)
		}
		together := true
		for i, p := range pauses {
			together = together && p == listed[i]
			if p < listed[i] || p > listed[i]*11/10 {
				t.Errorf("pause %d is %v, want %v and at most a tenth more", i, p, listed[i])
			}
		}
		if together {
			t.Error("what failed together is tried again together")
		}
		if day := time.Since(began); day < 24*time.Hour || day > 31*time.Hour {
			t.Errorf("given up after %v", day)
		}
		if !strings.Contains(w.log.String(), "an event was given up") || len(w.bus.got) != 1 {
			t.Errorf("published %d times\n%s", len(w.bus.got), w.log)
		}
		all := w.webhooks()
		times := map[string]bool{}
		for _, r := range all {
			if r.header.Get("Webhook-Id") != e.ID || w.link(r) != w.link(all[0]) || w.link(r) == "" {
				t.Errorf("id %s, link %s", r.header.Get("Webhook-Id"), w.link(r))
			}
			if at := r.header.Get("Webhook-Timestamp"); at != strconv.FormatInt(r.at.Unix(), 10) || times[at] {
				t.Errorf("sent at %v with the time %s", r.at.Unix(), at)
			}
			times[r.header.Get("Webhook-Timestamp")] = true
		}
		if len(all) != 8 {
			t.Errorf("%d webhooks", len(all))
		}
	})
}

func TestSecondTry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answers(500, 200)
	c, e := dead("default")
	rest := w.service.Deliver(t.Context(), c, e)
	if rest == nil || rest.Tries != 1 || !rest.Published || rest.Posted || rest.ID != e.ID {
		t.Fatalf("left is %+v", rest)
	}
	if rest = w.service.Deliver(t.Context(), c, *rest); rest != nil {
		t.Errorf("left is %+v", rest)
	}
	if len(w.webhooks()) != 2 || len(w.bus.got) != 1 {
		t.Errorf("%d webhooks, %d events on the bus", len(w.webhooks()), len(w.bus.got))
	}
}

// TestAnswers: what each answer of an endpoint means.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for status, delivered := range map[int]bool{200: true, 201: true, 204: true, 299: true, 410: true,
		301: false, 302: false, 303: false, 304: false, 307: false, 308: false, 400: false, 401: false, 404: false, 429: false, 500: false, 502: false} {
		w := newWorld(t)
		w.answers(status)
		c, e := dead("default")
		if rest := w.service.Deliver(t.Context(), c, e); (rest == nil) != delivered {
			t.Errorf("%d: left is %+v", status, rest)
		}
		if n := len(w.webhooks()); n != 1 {
			t.Errorf("%d: %d requests: a redirect was followed", status, n)
		}
		if gone := strings.Contains(w.log.String(), "gone for good"); gone != (status == 410) {
			t.Errorf("%d: %s", status, w.log)
		}
	}
}

// TestHangs: an endpoint that hangs costs 15 seconds, and then nothing for four
// times as long, whatever else there is to tell its tenant. Others are told.
func TestHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoints["acme"] = endpoint("acme")
		w.answer = func(_ int, r *http.Request) (int, error) {
			if r.URL.Host != "default.example" {
				return 204, nil
			}
			<-r.Context().Done()
			return 0, r.Context().Err()
		}
		for i := range 8 {
			c, e := dead("default")
			began := time.Now()
			if rest := w.service.Deliver(t.Context(), c, e); rest == nil || rest.Tries != 1 {
				t.Fatalf("left is %+v", rest)
			}
			if took, want := time.Since(began), []time.Duration{15 * time.Second, 0}[min(i, 1)]; took != want {
				t.Errorf("event %d took %v, want %v", i, took, want)
			}
		}
		c, e := dead("acme")
		if rest := w.service.Deliver(t.Context(), c, e); rest != nil {
			t.Errorf("another tenant: left is %+v", rest)
		}
		time.Sleep(time.Minute)
		w.answer = nil
		c, e = dead("default")
		if rest := w.service.Deliver(t.Context(), c, e); rest != nil || len(w.webhooks()) != 3 {
			t.Errorf("after a minute: left is %+v, %d webhooks", rest, len(w.webhooks()))
		}
	})
}

// TestEndlessAnswer: an answer without end is not read to its end.
func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var sent atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			n, err := rw.Write(make([]byte, 64<<10))
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	w.service.Transport, w.service.AllowLoopback = nil, true
	w.endpoints["default"] = notify.Endpoint{URL: srv.URL, Secrets: []token.Secret{notify.NewSecret()}}
	c, e := dead("default")
	if rest := w.service.Deliver(t.Context(), c, e); rest != nil {
		t.Errorf("left is %+v", rest)
	}
	srv.CloseClientConnections()
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

// TestTenants: each tenant's endpoint has its own events, signed with its own
// secret, and a tenant without one has none.
func TestTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints["acme"] = endpoint("acme")
	for _, tenant := range []string{"default", "acme", "nobody"} {
		c, e := dead(tenant)
		if rest := w.service.Deliver(t.Context(), c, e); rest != nil {
			t.Errorf("%s: left is %+v", tenant, rest)
		}
	}
	all := w.webhooks()
	if len(all) != 2 || len(w.bus.got) != 3 {
		t.Fatalf("%d webhooks, %d events on the bus", len(all), len(w.bus.got))
	}
	for i, tenant := range []string{"default", "acme"} {
		d := w.verify(all[i], w.endpoints[tenant].Secrets[0])
		if all[i].host != tenant+".example" || d["tenant"] != tenant || d["connection_id"] != "con_"+tenant {
			t.Errorf("%s got %v", all[i].host, d)
		}
	}
}

// TestApart: neither a broken bus nor a broken endpoint keeps the other one from
// its event, and what has it does not get it again.
func TestApart(t *testing.T) {
	t.Parallel()
	c, e := dead("default")
	t.Run("bus", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.bus.broken = true
		rest := w.service.Deliver(t.Context(), c, e)
		if rest == nil || rest.Published || !rest.Posted || len(w.webhooks()) != 1 {
			t.Fatalf("left is %+v, %d webhooks", rest, len(w.webhooks()))
		}
		w.bus.broken = false
		if rest = w.service.Deliver(t.Context(), c, *rest); rest != nil || len(w.webhooks()) != 1 || len(w.bus.got) != 1 {
			t.Errorf("left is %+v, %d webhooks, %d events on the bus", rest, len(w.webhooks()), len(w.bus.got))
		}
	})
	t.Run("endpoint", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.findErr = connection.ErrUnavailable
		rest := w.service.Deliver(t.Context(), c, e)
		if rest == nil || !rest.Published || rest.Posted || len(w.bus.got) != 1 {
			t.Fatalf("left is %+v, %d events on the bus", rest, len(w.bus.got))
		}
		w.findErr = nil
		if rest = w.service.Deliver(t.Context(), c, *rest); rest != nil || len(w.webhooks()) != 1 || len(w.bus.got) != 1 {
			t.Errorf("left is %+v, %d webhooks, %d events on the bus", rest, len(w.webhooks()), len(w.bus.got))
		}
	})
	t.Run("no bus", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.service.Bus = nil
		if rest := w.service.Deliver(t.Context(), c, e); rest != nil || len(w.webhooks()) != 1 {
			t.Errorf("left is %+v", rest)
		}
	})
}

// TestEndpointIsUnfit: an endpoint that somebody wrote by hand.
func TestEndpointIsUnfit(t *testing.T) {
	t.Parallel()
	for _, secrets := range [][]token.Secret{nil, {""}, {canary}, {"whsec_"}, {"whsec_" + canary}, {"whsec_c2hvcnQ="}, {notify.NewSecret(), canary},
		{token.Secret("whsec_" + strings.Repeat("YWJj", 22))}, {"whsec_" + notify.NewSecret()}} {
		w := newWorld(t)
		to := endpoint("default")
		to.Secrets = secrets
		w.endpoints["default"] = to
		c, e := dead("default")
		if rest := w.service.Deliver(t.Context(), c, e); rest == nil || len(w.webhooks()) != 0 {
			t.Errorf("left is %+v", rest)
		}
	}
	for range 20 {
		if err := notify.CheckSecret(notify.NewSecret()); err != nil {
			t.Error(err)
		}
	}
}

// TestTest: what whoever sets an endpoint is told of it.
// TestOneTrialAtATime: an endpoint that hangs takes the time of one trial of its
// tenant's, and of no other tenant's.
func TestOneTrialAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked, answer := make(chan bool), make(chan bool)
	w.answer = func(n int, _ *http.Request) (int, error) {
		if n == 0 {
			asked <- true
			<-answer
		}
		return 204, nil
	}
	first := make(chan error)
	go func() {
		_, err := w.service.Test(context.Background(), "default")
		first <- err
	}()
	<-asked
	if _, err := w.service.Test(t.Context(), "default"); !errors.Is(err, notify.ErrTrying) {
		t.Errorf("a second one meanwhile: %v", err)
	}
	answer <- true
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := w.service.Test(t.Context(), "default"); err != nil {
		t.Errorf("after it: %v", err)
	}
	if n := len(w.webhooks()); n != 2 {
		t.Errorf("%d were sent", n)
	}
}

func TestTest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answers(202)
	if status, err := w.service.Test(t.Context(), "default"); status != 202 || err != nil {
		t.Errorf("%d %v", status, err)
	}
	d := w.verify(w.webhooks()[0], w.endpoints["default"].Secrets[0])
	if d["type"] != notify.TestType || d["tenant"] != "default" || d["event_id"] != w.webhooks()[0].header.Get("Webhook-Id") || len(d) != 4 || len(w.bus.got) != 0 {
		t.Errorf("%v, %d events on the bus", d, len(w.bus.got))
	}
	w.answers(503)
	status, err := w.service.Test(t.Context(), "default")
	var refused *notify.Refusal
	if status != 0 || !errors.Is(err, notify.ErrRefused) || !errors.As(err, &refused) || refused.Status != 503 || !strings.Contains(err.Error(), "503") {
		t.Errorf("%d %v", status, err)
	}
	w.answer = func(int, *http.Request) (int, error) { return 0, &net.OpError{Op: "dial", Err: errBroken} }
	if _, err = w.service.Test(t.Context(), "default"); !errors.Is(err, notify.ErrUnreachable) || !errors.Is(err, errBroken) || strings.Contains(err.Error(), canary) {
		t.Error(err)
	}
	if _, err = w.service.Test(t.Context(), "nobody"); !errors.Is(err, notify.ErrNoEndpoint) {
		t.Error(err)
	}
}

// TestPrinted: an endpoint that is printed by mistake shows no signing secret.
func TestPrinted(t *testing.T) {
	t.Parallel()
	to := endpoint("default")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", to.Secrets[0])
	if text := fmt.Sprintf("%v %+v %#v %s", to.Secrets, to.Secrets, to.Secrets, log.String()); strings.Contains(text, to.Secrets[0].Reveal()) {
		t.Error(text)
	}
}
