package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

const twoSites = `[{"id": "id-north", "name": "The north <b>", "url": "https://north.demo.example"}, {"id": "id-south", "name": "The south", "url": "https://south.demo.example"}]`

// toPlaces connects an account that grants access to two sites, and returns the id
// of the flow that waits for the choice.
func (b *browser) toPlaces() string {
	b.s.t.Helper()
	b.s.provider.mu.Lock()
	b.s.provider.sites = twoSites
	b.s.provider.mu.Unlock()
	id := b.start("tracker")
	rec := b.get(b.s.answer(b.toProvider(id)))
	if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/mcp/oauth/places/"+id {
		b.s.t.Fatalf("callback: %d %s", rec.Code, excerpt(rec))
	}
	return id
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	ada := s.signedIn("ada")
	id := ada.toPlaces()
	at := "/mcp/oauth/places/" + id
	rec := ada.get(at)
	for range 2 { // it may be reloaded
		rec = ada.get(at)
		want(t, "the list", rec, 200, "")
	}
	body := rec.Body.String()
	for _, part := range []string{"Which <bdi>site</bdi>?", "ada@<wbr>demo.", "The north &lt;b&gt;", "north.demo.example", `value="id-south" required`, "Tracker"} {
		if !strings.Contains(body, part) {
			t.Errorf("the page lacks %q: %s", part, body)
		}
	}
	if on := ada.get("/c/" + id); on.Header().Get("Location") != at {
		t.Errorf("Back leads to %d %s", on.Code, excerpt(on))
	}
	if strings.Contains(body, " checked") {
		t.Error("a site is picked beforehand")
	}
	if strings.Contains(body, "canary") {
		t.Error("a secret is in the page")
	}
	if got := ada.get("/mcp/servers").Body.String(); !strings.Contains(got, "Not finished yet") || !strings.Contains(got, "or connect again") {
		t.Error("the list of servers does not say what is left to do")
	}
	want(t, "nothing picked", ada.post(at), 400, "place_unknown")
	back := ada.post(at, "place", "id-west")
	if want(t, "what is not on the list", back, 400, "place_unknown"); !strings.Contains(back.Body.String(), `href="`+at+`"`) {
		t.Error("no way back to the list")
	}

	rec = ada.post(at, "place", "id-south")
	con, ok := strings.CutPrefix(rec.Header().Get("Location"), "/mcp/connections/")
	if rec.Code != http.StatusSeeOther || !ok {
		t.Fatalf("picked: %d %s", rec.Code, excerpt(rec))
	}
	c, err := s.store.Get(t.Context(), connection.Key{Tenant: flow.DefaultTenant, ID: con})
	if err != nil || c.Place == nil || c.Place.ID != "id-south" || c.Status != connection.Connected {
		t.Errorf("%+v, %v", c, err)
	}
	if label := field(t, s.api("GET", "/api/v1/connections/"+con, ""), "label"); label != "ada@demo.example · south.demo.example" {
		t.Errorf("label %q", label)
	}
	if meta := s.api("GET", "/api/v1/connections/"+con+"/token", "").Body.String(); !strings.Contains(meta, `"site_id":"id-south"`) {
		t.Errorf("token: %s", strings.ReplaceAll(meta, "canary", ""))
	}
	// Back and again: where it ended, and nothing else.
	for what, rec := range map[string]string{"the page again": ada.get(at).Header().Get("Location"), "the form again": ada.post(at, "place", "id-north").Header().Get("Location")} {
		if rec != "/mcp/connections/"+con {
			t.Errorf("%s leads to %q", what, rec)
		}
	}
	if again, _ := s.store.Get(t.Context(), c.Key); again.Place.ID != "id-south" || again.Set.AccessVersion != c.Set.AccessVersion {
		t.Error("a second answer changed something")
	}
}

// What follows the form to the application is no redirect: browsers hold those
// against form-action.
func TestPlacesLeadBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.confirm = true
	s.provider.sites = twoSites
	started := s.api("POST", "/api/v1/mcp/servers/tracker/oauth/connect", `{"user_id":"ada","return_url":"https://app.test/done"}`)
	id := field(t, started, "flow_id")
	b := s.browser()
	want(t, "callback", b.get(s.answer(b.toProvider(id))), 303, "")
	at := "/mcp/oauth/places/" + id
	status := s.api("GET", "/api/v1/flows/"+id, "")
	if field(t, status, "status") != "picking" || field(t, status, "pick_url") != loopURL+at {
		t.Errorf("%s", status.Body)
	}
	want(t, "confirmed too early", s.api("POST", "/api/v1/flows/"+id+"/confirm", `{"user_id":"ada"}`), 409, "flow_not_pending")
	rec := b.post(at, "place", "id-south")
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), `href="https://app.test/done?flow_id=`+id+`&amp;status=pending" rel="noreferrer" data-follow`) {
		t.Errorf("%d %s", rec.Code, excerpt(rec))
	}
	status = s.api("POST", "/api/v1/flows/"+id+"/confirm", `{"user_id":"ada"}`)
	if want(t, "confirm", status, 200, ""); field(t, status, "status") != "connected" || field(t, status, "pick_url") != "" {
		t.Errorf("%s", status.Body)
	}
}

// A front end that keeps the redirect is told where to lead the person.
func TestPlacesOfAProgram(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.provider.sites = twoSites
	ada := s.signedIn("ada")
	id := ada.start("tracker")
	rec := ada.get("/api/v1" + s.answer(ada.toProvider(id)))
	if want(t, "callback", rec, 200, ""); field(t, rec, "status") != "picking" || field(t, rec, "pick_url") != loopURL+"/mcp/oauth/places/"+id ||
		!strings.Contains(rec.Body.String(), `"connected":false`) {
		t.Errorf("%s", rec.Body)
	}
}

// An MCP client's request goes by the list, and on from there.
func TestPlacesOfARequest(t *testing.T) {
	t.Parallel()
	for _, cancel := range []bool{false, true} {
		s := newSite(t, loopURL, "")
		s.provider.sites = twoSites
		ada, client := s.signedIn("ada"), s.enter(webRedirect)
		asked := ada.begins(s.asks(client, "tracker"))
		provider := leads(t, ada.post(asked, "action", "allow", "connection", "other"))
		rec := ada.led(s.answer(provider))
		at := rec.Header().Get("Location")
		if !strings.HasPrefix(at, "/mcp/oauth/places/flo_") {
			t.Fatalf("callback: %d %s", rec.Code, excerpt(rec))
		}
		if rec = ada.get(asked); rec.Header().Get("Location") != at {
			t.Errorf("the request's page leads to %q", rec.Header().Get("Location"))
		}
		fields := []string{"place", "id-north"}
		if cancel {
			fields = []string{"action", "cancel"}
		}
		rec = ada.post(at, fields...)
		on := rec.Header().Get("Location")
		if rec.Code != 303 || !strings.HasPrefix(on, asked+"?flow=") {
			t.Fatalf("%d %s", rec.Code, excerpt(rec))
		}
		if rec = ada.get(on); !cancel {
			s.answered(rec, webRedirect)
		} else if !strings.Contains(rec.Body.String(), "Access was not granted") {
			t.Errorf("%d %s", rec.Code, excerpt(rec))
		}
	}
}
