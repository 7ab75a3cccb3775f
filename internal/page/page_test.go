package page

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func newPages(t *testing.T) *Pages {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func same(s string) string { return s }

// hostile is added to every string of every view.
const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(1) style=x>{{.}}` + "`\u202e\u2066\x00\x1b" + `javascript:alert(1)`

func evil(s string) string { return s + hostile }

// evilURL makes every string an address that runs code when it is followed.
func evilURL(string) string { return "javascript:alert(1)" }

func render(t *testing.T, p *Pages, v View) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.Render(&b, v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// elements tokenizes a page and checks that what was opened is closed.
func elements(t *testing.T, page string) []xml.StartElement {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	void := append(slices.Clone(xml.HTMLAutoClose), "wbr")
	d.Strict, d.AutoClose, d.Entity = false, void, xml.HTMLEntity
	var all []xml.StartElement
	var open []string
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("tokenize: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			all = append(all, e.Copy())
			if !slices.Contains(void, e.Name.Local) {
				open = append(open, e.Name.Local)
			}
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != e.Name.Local {
				t.Fatalf("</%s> closes %v", e.Name.Local, open)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Fatalf("left open: %v", open)
	}
	return all
}

func attribute(e xml.StartElement, name string) (string, bool) {
	for _, a := range e.Attr {
		if strings.EqualFold(a.Name.Local, name) {
			return a.Value, true
		}
	}
	return "", false
}

func TestHostileTextStaysText(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	for _, text := range []func(string) string{evil, evilURL} {
		for name, v := range sampleViews(text) {
			page := render(t, p, v)
			for _, bad := range []string{"<script>alert", "<img src=x", "\u202e", "\u2066", "\x00", "\x1b"} {
				if strings.Contains(page, bad) {
					t.Errorf("%s: %q is in the page", name, bad)
				}
			}
			scripts := 0
			for _, e := range elements(t, page) {
				if e.Name.Local == "script" {
					scripts++
				}
				for _, a := range e.Attr {
					value := strings.ToLower(strings.TrimSpace(a.Value))
					if slices.Contains([]string{"href", "src", "action", "formaction"}, a.Name.Local) && strings.HasPrefix(value, "javascript:") {
						t.Errorf("%s: <%s %s=%q>", name, e.Name.Local, a.Name.Local, a.Value)
					}
				}
			}
			if scripts != 1 {
				t.Errorf("%s: %d scripts", name, scripts)
			}
		}
	}
}

// What the policy forbids must not be in the pages either: it would be lost
// without a word.
func TestNothingInline(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	for _, text := range []func(string) string{same, evil} {
		for name, v := range sampleViews(text) {
			for _, e := range elements(t, render(t, p, v)) {
				if e.Name.Local == "style" || e.Name.Local == "base" || e.Name.Local == "iframe" {
					t.Errorf("%s: <%s>", name, e.Name.Local)
				}
				if _, external := attribute(e, "src"); e.Name.Local == "script" && !external {
					t.Errorf("%s: an inline script", name)
				}
				for _, a := range e.Attr {
					key := strings.ToLower(a.Name.Local)
					if key == "style" || strings.HasPrefix(key, "on") || key == "srcdoc" {
						t.Errorf("%s: <%s %s=%q>", name, e.Name.Local, key, a.Value)
					}
				}
			}
		}
	}
}

func TestEveryPostHasCSRF(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	form := regexp.MustCompile(`(?s)<form\b[^>]*>.*?</form>`)
	posts := 0
	for name, v := range sampleViews(same) {
		for _, f := range form.FindAllString(render(t, p, v), -1) {
			if !strings.Contains(f, `method="post"`) {
				continue
			}
			posts++
			if strings.Count(f, `name="csrf" value="`) != 1 || !strings.Contains(f, `name="csrf" value="csrf-token"`) && name != "error-bare" {
				t.Errorf("%s: no csrf in %s", name, f)
			}
		}
	}
	if posts < 30 {
		t.Errorf("only %d forms were seen", posts)
	}
}

func TestFilesThatPagesUseExist(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	static := p.Static()
	seen := map[string]bool{}
	for name, v := range sampleViews(same) {
		for _, e := range elements(t, render(t, p, v)) {
			for _, key := range []string{"src", "href"} {
				address, ok := attribute(e, key)
				if !ok || seen[address] || key == "href" && e.Name.Local != "link" {
					continue
				}
				seen[address] = true
				w := httptest.NewRecorder()
				static.ServeHTTP(w, httptest.NewRequest(http.MethodGet, address, nil))
				if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
					t.Errorf("%s: %s answers %d, %v", name, address, w.Code, w.Header())
				}
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("the pages use %v", seen)
	}
}

// A person who cannot see the page finds each field by its label, and each
// reference by its id.
func TestLabelsAndReferences(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	for name, v := range sampleViews(same) {
		all := elements(t, render(t, p, v))
		ids, labelled := map[string]bool{}, map[string]bool{}
		for _, e := range all {
			if id, ok := attribute(e, "id"); ok {
				if ids[id] {
					t.Errorf("%s: id %q twice", name, id)
				}
				ids[id] = true
			}
			if id, ok := attribute(e, "for"); ok {
				labelled[id] = true
			}
		}
		headings := 0
		for _, e := range all {
			for _, key := range []string{"aria-labelledby", "aria-describedby", "for", "data-copy"} {
				if id, ok := attribute(e, key); ok && !ids[id] {
					t.Errorf("%s: %s=%q leads nowhere", name, key, id)
				}
			}
			id, _ := attribute(e, "id")
			kind, _ := attribute(e, "type")
			switch e.Name.Local {
			case "h1":
				headings++
			case "input", "select", "textarea":
				if kind != "hidden" && !labelled[id] {
					t.Errorf("%s: the field %q has no label", name, id)
				}
			case "img":
				if _, ok := attribute(e, "alt"); !ok {
					t.Errorf("%s: an image without alt", name)
				}
			}
		}
		if headings != 1 {
			t.Errorf("%s: %d h1", name, headings)
		}
	}
}

func TestPathsTakeOneSegment(t *testing.T) {
	t.Parallel()
	page := render(t, newPages(t), ConnectionView{ID: "../x?y", Tools: []Tool{{Name: "docs/create?a#b"}}})
	for _, want := range []string{
		`action="/mcp/connections/..%2Fx%3Fy/tools/docs%2Fcreate%3Fa%23b#result"`,
		`action="/mcp/connections/..%2Fx%3Fy/disconnect"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestServersSearch(t *testing.T) {
	t.Parallel()
	servers := sampleServers(same, make([]Scope, 3))
	for _, c := range []struct {
		query, starting      string
		wanted, mine, others int
	}{
		{"", "", 0, 2, 24},
		{" DRIVE ", "", 0, 1, 0},
		{"pull requests", "", 0, 0, 1},
		{"drive", "github", 1, 1, 0},
		{"", "slack", 1, 1, 24},
		{"nothing of that name", "", 0, 0, 0},
	} {
		v := ServersView{Servers: servers, Query: c.query, Starting: c.starting}
		if w, m, o := len(v.Wanted()), len(v.Mine()), len(v.Ready())+len(v.Unready()); w != c.wanted || m != c.mine || o != c.others {
			t.Errorf("query %q, starting %q: %d, %d, %d", c.query, c.starting, w, m, o)
		}
	}
}

func TestCardOffersWhatTheServerNeeds(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	servers := sampleServers(same, make([]Scope, 3))
	for name, want := range map[string][]string{
		"github":       {`action="/mcp/servers/github/connect"`},
		"google-drive": {`name="connection_id" value="con_2"`, `href="/mcp/connections/con_1"`, "Connect another account", "14 tools"},
		"brave":        {`action="/mcp/servers/brave/key"`, `name="env.BRAVE_API_KEY" type="password"`, `name="env.BRAVE_REGION" type="text"`},
		"shopify":      {`name="param.shop" value="acme"`, `pattern="[a-z0-9-]`},
		"linear":       {`href="/mcp/servers/linear/setup"`, "at mcp.linear.example"},
		"calendar":     {"Not available yet. Tell whoever sent you the link."},
		"time":         {`action="/mcp/servers/time/key"`, "Works without an account"},
	} {
		i := slices.IndexFunc(servers, func(c ServerCard) bool { return c.Name == name })
		page := render(t, p, ServersView{Servers: servers[i : i+1], ReturnURL: "https://app.example.com/"})
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%s: no %s", name, w)
			}
		}
		if name == "calendar" && (strings.Contains(page, "/setup") || strings.Contains(page, "a client at") || strings.Contains(page, "<form")) {
			t.Errorf("whoever came by a link is sent to the operator's page: %s", page)
		}
	}
}

// A template that fails must leave the response to the caller.
// What is said with a client has a default, or has to be said.
func TestSetupNamesTheClientsParameters(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	said := []ClientParameter{{"Host", "That of your own.", "forge.example", "FORGE_CLIENT_HOST", "--param host="}, {Label: "Base", Variable: "FORGE_CLIENT_BASE", Flag: "--param base="}}
	for command, want := range map[string][]string{
		"": {
			`<bdi>Host</bdi> (optional): add a line <code>FORGE_CLIENT_HOST=…</code> for another than <bdi>forge.example</bdi>. <bdi>That of your own.</bdi></p>`,
			`<bdi>Base</bdi>: add a line <code>FORGE_CLIENT_BASE=…</code>.</p>`,
		},
		"lanyard client set forge": {
			`<bdi>Host</bdi> (optional): add <code>--param host=…</code> for another than <bdi>forge.example</bdi>. <bdi>That of your own.</bdi></p>`,
			`<bdi>Base</bdi>: add <code>--param base=…</code>.</p>`,
		},
	} {
		page := render(t, p, SetupView{ProviderName: "Forge", Command: command, Parameters: said})
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%q: no %s in %s", command, w, page)
			}
		}
	}
}

func TestRenderWritesAllOrNothing(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	delete(p.assets, "logo.svg")
	var b bytes.Buffer
	if err := p.Render(&b, SignInView{}); err == nil || b.Len() > 0 {
		t.Errorf("error %v after %d bytes", err, b.Len())
	}
}

// No view's own fields take the place of what every page has around it.
func TestWhoIsSignedIn(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	for name, v := range sampleViews(same) {
		page := render(t, p, v)
		_, who, shown := strings.Cut(page, "Signed in as </span><bdi>")
		who, _, _ = strings.Cut(who, "</bdi>")
		if shown && who != "me" && who != "ada@example.com" || name == "connection" && !shown {
			t.Errorf("%s: signed in as %q", name, who)
		}
	}
}

// A link for one server shows its card, and nothing that would look for others.
func TestOneServerIsNotSearched(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	servers := sampleServers(same, make([]Scope, 3))
	for name, c := range map[string]struct {
		view   ServersView
		search bool
	}{
		"one, wanted":     {ServersView{Servers: servers[2:3], Starting: "github"}, false},
		"one":             {ServersView{Servers: servers[2:3]}, false},
		"one, not found":  {ServersView{Servers: servers[2:3], Query: "slack"}, true},
		"two, one wanted": {ServersView{Servers: servers[2:4], Starting: "github"}, true},
	} {
		page := render(t, p, c.view)
		if strings.Contains(page, `role="search"`) != c.search || strings.Contains(page, "Nothing matches") != c.search {
			t.Errorf("%s: search %v", name, !c.search)
		}
	}
}
