// Package page draws what a person sees: the list of servers, a connection, the
// consent page before the provider, and how it ended.
//
// A handler fills one of the views and renders it:
//
//	SignInView     nobody is signed in               → the tenant's login, or a link
//	LinkView       GET /l/{link}                     → POST claims it
//	ServersView    GET /mcp/servers                  → POST …/connect or …/key
//	SetupView      GET /mcp/servers/{name}/setup     a provider has no client yet
//	ConsentView    GET /c/{flow}                     → POST authorize or cancel
//	LeavingView    the answer to that POST           → the provider
//	PlacesView     GET /mcp/oauth/places/{flow}      which of several sites → POST
//	DoneView       GET /mcp/oauth/callback           → back to where it began
//	ConnectionView GET /mcp/connections/{id} → what one can do with it
//	AllView        GET /mcp/all                      one address for all of them
//	EndedView      the answer to …/disconnect        → the list
//	ErrorView      anything that failed              → what to do next
//	AccessView     GET /oauth/requests/{id}          an MCP client asks → POST allow or cancel
//	KeyView        the same, allowed                 → POST …/key
//	WaitView       the same, while others act        → asks again by itself
//
// Every page works without JavaScript; app.js only saves steps. [CSP] allows
// nothing inline, so neither do the templates. Text from providers, servers and
// users is escaped by html/template and freed of control characters here, for
// all pages at once.
package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"unicode"
)

//go:embed templates static
var files embed.FS

// View is one of the views of this package.
type View interface {
	// template is the file that draws the view.
	template() string
}

var views = []View{
	ServersView{}, ConnectionView{}, AllView{}, ConsentView{}, PlacesView{}, LinkView{}, LeavingView{},
	DoneView{}, EndedView{}, ErrorView{}, SetupView{}, SignInView{}, AccessView{}, KeyView{}, WaitView{},
}

// Pages holds the parsed templates and the static files. It is safe for
// concurrent use.
type Pages struct {
	templates map[string]*template.Template
	assets    assets
}

// New parses the embedded templates.
func New() (*Pages, error) {
	assets, err := loadAssets(files)
	if err != nil {
		return nil, err
	}
	p := &Pages{templates: make(map[string]*template.Template), assets: assets}
	base, err := template.New("layout.html").Funcs(assets.functions()).
		ParseFS(files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("parse the layout: %w", err)
	}
	for _, v := range views {
		name := v.template()
		t, err := base.Clone()
		if err != nil {
			return nil, fmt.Errorf("clone the layout: %w", err)
		}
		if t, err = t.ParseFS(files, "templates/"+name); err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		p.templates[name] = t
	}
	return p, nil
}

// Render writes the page. Nothing is written if the template fails, so that the
// caller can still answer with an error.
func (p *Pages) Render(w io.Writer, v View) error {
	var b bytes.Buffer
	if err := p.templates[v.template()].Execute(&b, v); err != nil {
		return fmt.Errorf("render %s: %w", v.template(), err)
	}
	if _, err := w.Write(bytes.Map(visible, b.Bytes())); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// visible drops what could make text look like something else: control
// characters, and the marks that reorder the text around them (Unicode UAX #9
// §2, embeddings, overrides and isolates). Names written from right to left
// need none of them, they stand in <bdi>.
func visible(r rune) rune {
	switch {
	case r == '\n' || r == '\t':
		return r
	case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
		return -1
	}
	return r
}
