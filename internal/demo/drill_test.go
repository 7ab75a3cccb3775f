package demo

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// clientAuth is the test client's client_secret_basic.
func clientAuth(secret string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(url.QueryEscape(testClient), url.QueryEscape(secret))
	return r.Header.Get("Authorization")
}

const testSecret = "s3cret + more%"

// drill calls /drill as the client.
func (s *site) drill(method, body string) answer {
	s.t.Helper()
	return s.do(http.DefaultClient, method, s.url+"/drill", body, "Authorization", clientAuth(testSecret), "Content-Type", "application/json")
}

func (s *site) status(a answer) DrillStatus {
	s.t.Helper()
	if a.StatusCode != http.StatusOK {
		s.t.Fatalf("drill: %d %s", a.StatusCode, a.body)
	}
	var d DrillStatus
	a.json(s.t, &d)
	return d
}

// TestBehaviours: each is what its words say, on the wire.
func TestBehaviours(t *testing.T) {
	t.Parallel()
	renewed := func(expiresIn string) func(*site, answer, string) {
		return func(s *site, a answer, old string) {
			var got struct {
				tokenAnswer
				ExpiresIn json.RawMessage `json:"expires_in"`
			}
			a.json(s.t, &got)
			if a.StatusCode != 200 || string(got.ExpiresIn) != expiresIn || got.RefreshToken == "" || got.RefreshToken == old {
				s.t.Errorf("%d, expires_in %s", a.StatusCode, got.ExpiresIn)
			}
			s.wantAPI(200, got.AccessToken)
		}
	}
	idle := func(status int, header, value, body string) func(*site, answer, string) {
		return func(s *site, a answer, old string) {
			if a.StatusCode != status || !strings.Contains(a.Header.Get(header), value) || !strings.Contains(a.body, body) {
				s.t.Errorf("%d, %s: %s, %s", a.StatusCode, header, a.Header.Get(header), a.body)
			}
			s.tokens(renewForm(old)) // it was not spent
		}
	}
	for name, check := range map[string]func(*site, answer, string){
		Rotates:           renewed("300"),
		"no-expiry":       renewed(""),
		"expiry-text":     renewed(`"soon"`),
		"expiry-zero":     renewed("0"),
		"expiry-negative": renewed("-3600"),
		"expiry-huge":     renewed("4102444800"),
		"no-rotation": func(s *site, a answer, old string) {
			var got map[string]any
			a.json(s.t, &got)
			if _, there := got["refresh_token"]; there || a.StatusCode != 200 {
				s.t.Error("a new refresh token")
			}
			s.wantAPI(200, got["access_token"].(string))
			s.tokens(renewForm(old))
		},
		"scope-narrowed": func(s *site, a answer, old string) {
			var got tokenAnswer
			a.json(s.t, &got)
			if got.Scope != "profile notes.read" || s.api("POST", "/notes", got.AccessToken, `{"text":"x"}`).StatusCode != 403 {
				s.t.Errorf("scope %q", got.Scope)
			}
			if again := s.tokens(renewForm(got.RefreshToken)); again.Scope != "profile notes.read notes.write" {
				s.t.Errorf("after the drill: %q", again.Scope)
			}
		},
		"server-error":    idle(500, "Content-Type", "text/plain", "internal error"),
		"unavailable":     idle(503, "Retry-After", "30", "maintenance"),
		"rate-limited":    idle(429, "Retry-After", "30", "too many"),
		"error-in-200":    idle(200, "Content-Type", "json", "temporarily_unavailable"),
		"html":            idle(200, "Content-Type", "html", "Sign in"),
		"html-502":        idle(502, "Content-Type", "html", "Bad Gateway"),
		"redirect":        idle(302, "Location", "http://127.0.0.1:", ""),
		"invalid-grant":   idle(400, "Content-Type", "json", `"invalid_grant"`),
		"scope-withdrawn": idle(400, "Content-Type", "json", `"invalid_scope"`),
		"invalid-client":  idle(401, "WWW-Authenticate", "Basic", `"invalid_client"`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			old := s.connect().RefreshToken
			s.status(s.drill("PUT", `{"behaviours":["`+name+`"],"times":1}`))
			form := renewForm(old, "client_id", testClient, "client_secret", testSecret)
			check(s, s.do(s.browser, "POST", s.url+"/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"), old)
		})
	}
}

// TestBehavioursWithoutAnAnswer: the client gets none, and the token is spent
// where the behaviour says so.
func TestBehavioursWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, spent := range map[string]bool{"timeout": false, "lost-after-rotation": true, "cut-off": true, "slow-body": true, "huge-body": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			old := s.connect().RefreshToken
			if _, err := s.StartDrill(Drill{Behaviours: []string{name}, Times: 1}); err != nil {
				t.Fatal(err)
			}
			impatient := http.Client{Timeout: time.Second}
			form := renewForm(old, "client_id", testClient, "client_secret", testSecret)
			resp, err := impatient.PostForm(s.url+"/token", form)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
				resp.Body.Close()
			}
			if name == "huge-body" {
				if err != nil || len(got) != 1<<20 {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			} else if err == nil || json.Valid(got) {
				t.Errorf("an answer: %v", err)
			}
			if name == "cut-off" && (!errors.Is(err, io.ErrUnexpectedEOF) || len(got) < 100) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			var about introspection
			s.post("/introspect", url.Values{"token": {old}}).json(t, &about)
			if about.Active == spent {
				t.Errorf("spent: %v, want %v", !about.Active, spent)
			}
		})
	}
}

// TestGrace: a spent token is forgiven for five minutes, and only by those who
// say so.
func TestGrace(t *testing.T) {
	t.Parallel()
	for name, same := range map[string]bool{"grace-new": false, "grace-same": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			first := s.connect().RefreshToken
			second := s.tokens(renewForm(first)).RefreshToken
			s.status(s.drill("PUT", `{"behaviours":["`+name+`"]}`))
			s.clock.advance(graceWindow - time.Second)
			again := s.tokens(renewForm(first))
			if (again.RefreshToken == second) != same {
				t.Errorf("the same successor: %v, want %v", !same, same)
			}
			s.wantAPI(200, again.AccessToken)
			s.tokens(renewForm(again.RefreshToken))
			if same { // the successor is spent now: nobody can say who has it
				s.wantError(s.post("/token", renewForm(first)), 400, "invalid_grant")
				return
			}
			s.tokens(renewForm(second))
			s.clock.advance(time.Second)
			s.wantError(s.post("/token", renewForm(first)), 400, "invalid_grant")
			s.wantError(s.post("/token", renewForm(again.RefreshToken)), 400, "invalid_grant")
		})
	}
}

// TestDrillCourse: what is played when, for whom and until when.
func TestDrillCourse(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	refresh := s.connect().RefreshToken
	renew := func(want int) {
		t.Helper()
		a := s.post("/token", renewForm(refresh))
		if a.StatusCode != want {
			t.Fatalf("%d, want %d", a.StatusCode, want)
		}
		if want == 200 {
			var out tokenAnswer
			a.json(t, &out)
			refresh = out.RefreshToken
		}
	}
	now := func(want string, played int) DrillStatus {
		t.Helper()
		d := s.status(s.drill("GET", ""))
		if d.Now != want || d.Played != played {
			t.Fatalf("now %q, played %d; want %q, %d", d.Now, d.Played, want, played)
		}
		return d
	}
	now("", 0)
	renew(200)

	s.status(s.drill("PUT", `{"behaviours":["server-error","rate-limited"],"times":2}`))
	for i, want := range []int{500, 500, 429, 429} {
		now([]string{"server-error", "rate-limited"}[i/2], i)
		renew(want)
	}
	now("", 4)
	renew(200)
	now("", 4) // what is answered as it should be is not counted

	if d := s.status(s.drill("PUT", `{"behaviours":["server-error","rate-limited"],"seconds":60}`)); !d.Until.Equal(s.clock.Now().Add(2 * time.Minute)) {
		t.Errorf("until %s", d.Until)
	}
	renew(500)
	s.clock.advance(59 * time.Second)
	renew(500)
	s.clock.advance(time.Second)
	renew(429)
	s.clock.advance(time.Minute)
	now("", 3)
	renew(200)

	s.status(s.drill("PUT", `{"behaviours":["unavailable"]}`))
	s.clock.advance(24 * time.Hour)
	renew(503)
	s.tokens(redeemForm(s.code("profile"))) // connecting is not drilled
	if d := s.status(s.drill("DELETE", "")); d.Now != "" || d.Played != 1 {
		t.Errorf("stopped: %+v", d)
	}
	now("", 0)
	renew(200)

	s.status(s.drill("PUT", `{"behaviours":["unavailable"],"account":"grace"}`))
	renew(200) // Ada's
	s.status(s.drill("PUT", `{"behaviours":["unavailable"],"account":"ada"}`))
	renew(503)
	s.wantError(s.post("/token", renewForm("demo_rt_unknown")), 400, "invalid_grant")
	s.restart()
	now("", 0)
}

func TestDrillRefusals(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for _, body := range []string{``, `{}`, `[]`, `null`, `{"behaviours":[]}`, `{"behaviours":["bogus"]}`, `{"behaviours":["html"],"x":1}`,
		`{"behaviours":["html"]} {}`, `{"behaviours":["html"],"times":-1}`, `{"behaviours":["html"],"times":1,"seconds":1}`,
		`{"behaviours":["html"],"times":1.5}`, `{"behaviours":["html"],"times":1000001}`, `{"behaviours":["html"],"seconds":-1}`,
		`{"behaviours":["html"],"seconds":604801}`, `{"behaviours":["html","html-502"]}`, `{"behaviours":["html"],"account":"bob"}`,
		`{"behaviours":["html"` + strings.Repeat(" ", maxDrillBody) + `]}`, `{"behaviours":["html"` + strings.Repeat(`,"html"`, maxPlays) + `],"times":1}`,
	} {
		s.wantError(s.drill("PUT", body), 400, "invalid_request")
	}
	s.wantError(s.do(http.DefaultClient, "PUT", s.url+"/drill", `{"behaviours":["html"]}`, "Authorization", clientAuth(testSecret)), 400, "invalid_request")
	// Nobody but the client may.
	for _, header := range []string{"", clientAuth("wrong"), "Bearer " + s.connect().AccessToken} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			s.wantError(s.do(http.DefaultClient, method, s.url+"/drill", `{"behaviours":["html"]}`, "Authorization", header, "Content-Type", "application/json"),
				401, "invalid_client")
		}
	}
	inQuery := "/drill?client_id=" + url.QueryEscape(testClient) + "&client_secret=" + url.QueryEscape(testSecret)
	s.wantError(s.do(http.DefaultClient, "GET", s.url+inQuery, ""), 401, "invalid_client")
	if d := s.status(s.drill("GET", "")); d.Now != "" {
		t.Errorf("a drill is on: %+v", d)
	}
}

// TestBehaviourNames: names are promises, and each says enough.
func TestBehaviourNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, b := range Behaviours() {
		names = append(names, b.Name)
		if b.Does == "" || b.Verdict == "" || b.play == nil {
			t.Errorf("%s says too little", b.Name)
		}
		if _, ok := behaviourOf(b.After); b.After != "" && !ok {
			t.Errorf("%s comes after %q, which there is not", b.Name, b.After)
		}
	}
	if all := slices.Compact(slices.Sorted(slices.Values(names))); len(all) != len(names) {
		t.Error("a name is there twice")
	}
}

func TestConsent(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	back, err := s.Consent("grace", s.url+"/authorize?"+authQuery().Encode())
	if err != nil || back.Get("state") != testState || back.Get("iss") != s.url {
		t.Fatalf("%v", err)
	}
	s.wantAPI(200, s.tokens(redeemForm(back.Get("code"))).AccessToken)
	for name, q := range map[string]url.Values{
		"client": authQuery("client_id", "x"), "redirect": authQuery("redirect_uri", "https://x.example"), "scope": authQuery("scope", "admin"),
	} {
		if back, err := s.Consent("ada", s.url+"/authorize?"+q.Encode()); err == nil {
			t.Errorf("%s: %v", name, back)
		}
	}
	if _, err := s.Consent("bob", s.url+"/authorize?"+authQuery().Encode()); err == nil {
		t.Error("there is no Bob")
	}
}
